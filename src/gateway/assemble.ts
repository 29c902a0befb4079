/** From merged rows to the JSON text of a root field. Row texts pass through as the store wrote them. Pure. */
import type { Catalog } from '../query/catalog.js'
import type { ConnectionField, ListPlan, PageInfoField, RowSelection } from '../query/plan.js'
import type { OwnedRow } from './merge.js'

export interface PageFacts {
  readonly rows: readonly OwnedRow[]
  readonly hasMore: boolean
  /** Null while an owner is missing. */
  readonly totalCount: number | null
  /** A cursor was given. */
  readonly hasStart: boolean
  readonly cursorOf: (row: OwnedRow) => string
}

/** The JSON text of a connection. `texts` of a row stand in the order of the `nodes` and `edges.node` selections. */
export function connectionText(list: ListPlan, facts: PageFacts): string {
  let next = 0
  const members = list.fields.map((field): string => {
    switch (field.kind) {
      case 'typename':
        return member(field.responseKey, JSON.stringify(`${list.type}Connection`))
      case 'totalCount':
        return member(field.responseKey, facts.totalCount === null ? 'null' : String(facts.totalCount))
      case 'nodes': {
        const column = next++
        return member(field.responseKey, `[${facts.rows.map((row) => row.texts[column] ?? 'null').join(',')}]`)
      }
      case 'edges': {
        const first = next
        next += field.fields.filter((edge) => edge.kind === 'node').length
        return member(field.responseKey, `[${facts.rows.map((row) => edgeText(field, list, row, first, facts)).join(',')}]`)
      }
      case 'pageInfo':
        return member(field.responseKey, pageInfoText(field.fields, list, facts))
    }
  })
  return `{${members.join(',')}}`
}

function edgeText(field: Extract<ConnectionField, { kind: 'edges' }>, list: ListPlan, row: OwnedRow, first: number, facts: PageFacts): string {
  let next = first
  const members = field.fields.map((edge) => {
    switch (edge.kind) {
      case 'typename':
        return member(edge.responseKey, JSON.stringify(`${list.type}Edge`))
      case 'cursor':
        return member(edge.responseKey, JSON.stringify(facts.cursorOf(row)))
      case 'node':
        return member(edge.responseKey, row.texts[next++] ?? 'null')
    }
  })
  return `{${members.join(',')}}`
}

function pageInfoText(fields: readonly PageInfoField[], list: ListPlan, facts: PageFacts): string {
  const first = facts.rows[0]
  const last = facts.rows.at(-1)
  const members = fields.map((field) => {
    switch (field.kind) {
      case 'typename':
        return member(field.responseKey, '"PageInfo"')
      case 'hasNextPage':
        return member(field.responseKey, String(list.backward ? facts.hasStart : facts.hasMore))
      case 'hasPreviousPage':
        return member(field.responseKey, String(list.backward ? facts.hasMore : facts.hasStart))
      case 'startCursor':
        return member(field.responseKey, first ? JSON.stringify(facts.cursorOf(first)) : 'null')
      case 'endCursor':
        return member(field.responseKey, last ? JSON.stringify(facts.cursorOf(last)) : 'null')
    }
  })
  return `{${members.join(',')}}`
}

/** Response keys are GraphQL names: nothing in them needs escaping. */
export function member(responseKey: string, text: string): string {
  return `"${responseKey}":${text}`
}

/** Response path of a list's `totalCount`, where it is asked for. */
export function totalCountKeys(list: ListPlan): readonly string[] {
  return list.fields.flatMap((field) => (field.kind === 'totalCount' ? [field.responseKey] : []))
}

// --- nested cursors --------------------------------------------------------------------------------------------------------------------------------------------

/** Lists below the root list by path, with how many texts of a cursor are sort values. */
export function nestedLists(list: ListPlan): ReadonlyMap<string, ListPlan> {
  const lists = new Map<string, ListPlan>()
  const visitRow = (row: RowSelection): void => {
    for (const field of row.fields) {
      if (field.kind === 'toOne') visitRow(field.row)
      if (field.kind === 'list') {
        lists.set(field.list.path, field.list)
        visitList(field.list)
      }
    }
  }
  const visitList = (inner: ListPlan): void => {
    for (const field of inner.fields) {
      if (field.kind === 'nodes') visitRow(field.row)
      if (field.kind === 'edges') for (const edge of field.fields) if (edge.kind === 'node') visitRow(edge.row)
    }
  }
  visitList(list)
  return lists
}

/** Whether rows of this list carry cursors of nested lists, which the store leaves for us to seal. */
export function hasNestedCursors(list: ListPlan): boolean {
  return [...nestedLists(list).values()].some((inner) =>
    inner.fields.some(
      (field) =>
        (field.kind === 'edges' && field.fields.some((edge) => edge.kind === 'cursor')) ||
        (field.kind === 'pageInfo' && field.fields.some((info) => info.kind === 'startCursor' || info.kind === 'endCursor')),
    ),
  )
}

/** Replaces each raw cursor (U+0001, JSON list of path and texts, U+0002) by its sealed text. A raw control character cannot be in JSON otherwise. */
export function sealNested(text: string, seal: (path: string, texts: readonly (string | null)[]) => string): string {
  return text.replace(RAW_CURSOR, (_match, json: string) => {
    const [path, ...texts] = JSON.parse(json) as [string, ...(string | null)[]] // written by our own statement
    return JSON.stringify(seal(path, texts))
  })
}

const RAW_CURSOR = /\u0001([^\u0002]*)\u0002/g

/** Number of values in the key of a list's type. */
export function keyLength(list: ListPlan, catalog: Catalog): number {
  return catalog.entities.get(list.type)?.key.length ?? 1
}
