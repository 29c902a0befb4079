/** From merged rows to the JSON text of a root field. Row texts pass through as the store wrote them. Pure. */
import { byteText, type ByteText, textOf } from '../connectors/texts.js'
import type { ConnectionField, ListPlan, PageInfoField, RowSelection, SeriesPlan, Traversal } from '../query/plan.js'
import { valueJson } from '../query/value.js'
import type { Page } from './merge.js'
import type { Pieces } from './pieces.js'

export interface PageFacts {
  readonly page: Page
  /** Null while an owner is missing. */
  readonly totalCount: number | null
  /** A cursor was given. */
  readonly hasStart: boolean
  readonly cursorOf: (row: number) => string
}

/** Writes the JSON text of a connection. The columns of texts stand in the order of the `nodes` and `edges.node` selections. */
export function writeConnection(list: ListPlan, facts: PageFacts, out: Pieces): void {
  let column = 0
  let separator = '{'
  for (const field of list.fields) {
    out.ascii(`${separator}"${field.responseKey}":`)
    separator = ','
    switch (field.kind) {
      case 'typename':
        out.add(byteText(JSON.stringify(connectionName(list))))
        break
      case 'totalCount':
        out.ascii(facts.totalCount === null ? 'null' : String(facts.totalCount))
        break
      case 'nodes':
        out.ascii('[')
        out.addAll(facts.page.joined(column))
        out.ascii(']')
        column += 1
        break
      case 'edges':
        out.add(listText(edgeTexts(field, list, column, facts)))
        column += nodesIn(field)
        break
      case 'pageInfo':
        out.add(pageInfoText(field.fields, list, facts))
    }
  }
  out.ascii(list.fields.length === 0 ? '{}' : '}')
}

export interface EdgeFacts extends Pick<PageFacts, 'cursorOf'> {
  readonly page: Pick<Page, 'count' | 'at' | 'keysOf'>
}

/** The type of a list's answer in the API. */
export function connectionName({ type, search }: ListPlan): string {
  return `${type}${search ? 'Nearest' : 'Connection'}`
}

/** The score of a row of a search, which is its first sort value. */
export function scoreOf(keys: readonly (string | null)[]): ByteText {
  return valueJson({ kind: 'builtin', name: 'Float' }, keys[0] ?? null) as ByteText // the brand: ASCII
}

export interface PageInfoFacts extends Pick<PageFacts, 'cursorOf' | 'hasStart'> {
  readonly page: Pick<Page, 'count' | 'hasMore'>
}

type EdgesField = Extract<ConnectionField, { kind: 'edges' }>

/** How many columns of texts the edges take. */
export function nodesIn(field: EdgesField): number {
  return field.fields.filter((edge) => edge.kind === 'node').length
}

/** @param first column of the first node. */
export function edgeTexts(field: EdgesField, list: ListPlan, first: number, { page, cursorOf }: EdgeFacts): readonly ByteText[] {
  return Array.from({ length: page.count }, (_, row) => {
    let next = first
    const members = field.fields.map((edge) => {
      switch (edge.kind) {
        case 'typename':
          return member(edge.responseKey, byteText(JSON.stringify(`${list.type}${list.search ? 'Nearest' : ''}Edge`)))
        case 'cursor':
          return member(edge.responseKey, byteText(JSON.stringify(cursorOf(row))))
        case 'score':
          return member(edge.responseKey, scoreOf(page.keysOf(row)))
        case 'node':
          return member(edge.responseKey, page.at(next++, row))
      }
    })
    return objectText(members)
  })
}

export function pageInfoText(fields: readonly PageInfoField[], list: ListPlan, { page, hasStart, cursorOf }: PageInfoFacts): ByteText {
  const cursor = (row: number): ByteText => (page.count > 0 ? byteText(JSON.stringify(cursorOf(row))) : NULL)
  const members = fields.map((field) => {
    switch (field.kind) {
      case 'typename':
        return member(field.responseKey, byteText('"PageInfo"'))
      case 'hasNextPage':
        return member(field.responseKey, byteText(String(list.backward ? hasStart : page.hasMore)))
      case 'hasPreviousPage':
        return member(field.responseKey, byteText(String(list.backward ? page.hasMore : hasStart)))
      case 'startCursor':
        return member(field.responseKey, cursor(0))
      case 'endCursor':
        return member(field.responseKey, cursor(page.count - 1))
    }
  })
  return objectText(members)
}

export const NULL: ByteText = byteText('null')

/** Response keys are GraphQL names: nothing in them needs escaping. */
export function member(responseKey: string, text: ByteText): ByteText {
  return `"${responseKey}":${text}` as ByteText // the brand: ASCII, and bytes
}

export function objectText(members: readonly ByteText[]): ByteText {
  return `{${members.join(',')}}` as ByteText // the brand: of bytes and ASCII
}

export function listText(items: readonly ByteText[]): ByteText {
  return `[${items.join(',')}]` as ByteText // the brand: of bytes and ASCII
}

/** Response path of a list's `totalCount`, where it is asked for. */
export function totalCountKeys(list: ListPlan): readonly string[] {
  return list.fields.flatMap((field) => (field.kind === 'totalCount' ? [field.responseKey] : []))
}

// --- nested cursors --------------------------------------------------------------------------------------------------------------------------------------------

/** Lists below the root list by path. */
export function nestedLists(list: ListPlan): ReadonlyMap<string, ListPlan> {
  return factsOf(list).nested
}

/** Series below the root list by path, whose rows the store leaves for us to combine and fill. */
export function nestedSeries(list: ListPlan): ReadonlyMap<string, SeriesPlan> {
  return factsOf(list).series
}

/** Whether rows of this list carry cursors of nested lists, which the store leaves for us to seal. */
export function hasNestedCursors(list: ListPlan): boolean {
  return factsOf(list).sealing
}

/** Whether sort values are needed beside the rows of one owner alone. */
export function needsKeys(list: ListPlan): boolean {
  return list.search !== null || selectsCursor(list)
}

/** Whether the list itself shows cursors. */
export function selectsCursor({ fields }: ListPlan): boolean {
  return fields.some(
    (field) =>
      (field.kind === 'edges' && field.fields.some((edge) => edge.kind === 'cursor')) ||
      (field.kind === 'pageInfo' && field.fields.some((info) => info.kind === 'startCursor' || info.kind === 'endCursor')),
  )
}

interface ListFacts {
  readonly nested: ReadonlyMap<string, ListPlan>
  readonly series: ReadonlyMap<string, SeriesPlan>
  readonly sealing: boolean
}

/** A plan never changes, and lives as long as its document is kept. */
const FACTS = new WeakMap<ListPlan, ListFacts>()

function factsOf(list: ListPlan): ListFacts {
  const known = FACTS.get(list)
  if (known) return known
  const nested = new Map<string, ListPlan>()
  const series = new Map<string, SeriesPlan>()
  collectNested(list, nested, series)
  const made = { nested, series, sealing: [...nested.values()].some(selectsCursor) }
  FACTS.set(list, made)
  return made
}

function collectNested(list: ListPlan, into: Map<string, ListPlan>, series: Map<string, SeriesPlan>): void {
  const visitRow = (row: RowSelection): void => {
    for (const field of row.fields) {
      if (field.kind === 'toOne') visitRow(field.row)
      if (field.kind === 'series') series.set(field.series.path, field.series)
      if (field.kind === 'traversal') for (const own of nodesOf(field.traversal)) visitRow(own)
      if (field.kind === 'list') {
        into.set(field.list.path, field.list)
        collectNested(field.list, into, series)
      }
    }
  }
  for (const field of list.fields) {
    if (field.kind === 'nodes') visitRow(field.row)
    if (field.kind === 'edges') for (const edge of field.fields) if (edge.kind === 'node') visitRow(edge.row)
  }
}

function nodesOf({ fields }: Traversal): readonly RowSelection[] {
  return fields.flatMap((field) => (field.kind === 'edges' ? field.fields.flatMap((edge) => (edge.kind === 'node' ? [edge.row] : [])) : []))
}

/** Replaces each raw cursor (U+0001, JSON list of path and texts, U+0002) by its sealed text. A raw control character cannot be in JSON otherwise. */
export function sealNested(text: ByteText, seal: (path: string, texts: readonly (string | null)[]) => string): ByteText {
  return text.replace(RAW_CURSOR, (_match, json: string) => {
    const [path, ...texts] = JSON.parse(textOf(json as ByteText)) as [string, ...(string | null)[]] // a piece of bytes; written by our own statement
    return JSON.stringify(seal(path, texts))
  }) as ByteText // the brand: a sealed cursor is ASCII
}

const RAW_CURSOR = /\u0001([^\u0002]*)\u0002/g
