/** From the documents that a store gives to the JSON texts of rows, for stores that give lists and rows within rows as they are. */
import { invariant } from '../errors.js'
import { operandValue } from '../query/evaluate.js'
import type { ValueField, ValueType } from '../query/catalog.js'
import type { ConnectionField, EdgeField, ListPlan, PageInfoField, Traversal, TraversalEdgeField } from '../query/plan.js'
import type { Operand } from '../query/predicate.js'
import { jsonString, listJson, valueJson } from '../query/value.js'
import type { Values } from './connector.js'

/** A field of a row: where its value stands in the document, and what its text is made of. */
export type FieldShape =
  | { readonly kind: 'text'; readonly responseKey: string; readonly json: string }
  | { readonly kind: 'id'; readonly responseKey: string; readonly slots: readonly ValueShape[]; readonly type: string }
  | { readonly kind: 'value'; readonly responseKey: string; readonly value: ValueShape }
  | { readonly kind: 'toOne'; readonly responseKey: string; readonly slot: string; readonly row: RowShape }
  | { readonly kind: 'list'; readonly responseKey: string; readonly slot: string; readonly totalSlot: string; readonly list: ListShape }
  | { readonly kind: 'traversal'; readonly responseKey: string; readonly slot: string; readonly traversal: TraversalShape }

export interface ValueShape {
  readonly field: ValueField
  readonly slot: string
}

export interface RowShape {
  readonly fields: readonly FieldShape[]
}

/** Documents of a list are `{ n: [a row for each selection], s: [sort values, then the key's] }`. */
export interface ListShape {
  readonly plan: ListPlan
  readonly rows: ReadonlyMap<ConnectionField | EdgeField, { readonly index: number; readonly row: RowShape }>
  readonly sort: readonly { readonly field: ValueField }[]
  readonly isContinued: boolean
  readonly limit: Operand
}

/** Documents of a traversal are `{ n: [a row for each selection], d: steps }`. */
export interface TraversalShape {
  readonly plan: Traversal
  readonly rows: ReadonlyMap<TraversalEdgeField, { readonly index: number; readonly row: RowShape }>
}

/** What the documents of a whole answer are. */
export interface DocumentShape {
  readonly shape: ListShape
  /** The first document is `{ n }`, the number of rows that fit; none where there is no row. */
  readonly hasTotal: boolean
  readonly withKeys: boolean
}

/** A document of a list; see `ListShape`. */
export interface ListDocument {
  readonly n: readonly Slots[]
  readonly s: readonly unknown[]
}
type Slots = Readonly<Record<string, unknown>>

export interface RowContext {
  readonly values: Values
  readonly organization: string
  /** The sort key of a value as the store gave it. */
  readonly sortText: (type: ValueType, value: unknown) => string | null
}

export function rowJson({ fields }: RowShape, slots: Slots, context: RowContext): string {
  return objectJson(fields, (field) => shapeJson(field, slots, context))
}

/** Sort values, then the view's key. */
export function sortTexts(shape: ListShape, { s }: ListDocument, { sortText }: RowContext): readonly (string | null)[] {
  return shape.sort.map(({ field }, index) => sortText(field.type, s[index]))
}

/** The JSON text of a field's value. */
function fieldJson({ type, list }: ValueField, value: unknown, { sortText }: RowContext): string {
  if (!list || !Array.isArray(value)) return valueJson(type, sortText(type, value))
  return listJson(type, value.map((item: unknown) => sortText(type, item))) // prettier-ignore
}

function shapeJson(field: FieldShape, slots: Slots, context: RowContext): string {
  switch (field.kind) {
    case 'text':
      return field.json
    case 'id': {
      const key = field.slots.map(({ slot, field: { type } }) => context.sortText(type, slots[slot]))
      return jsonString(Buffer.from(JSON.stringify([field.type, context.organization, ...key])).toString('base64url'))
    }
    case 'value':
      return fieldJson(field.value.field, slots[field.value.slot], context)
    case 'toOne': {
      const found = slots[field.slot]
      return Array.isArray(found) && found.length > 0 ? rowJson(field.row, found[0] as Slots, context) : 'null' // documents, as the pipeline makes them
    }
    case 'list': {
      const found = slots[field.slot]
      if (!Array.isArray(found)) return 'null'
      return connectionJson(field.list, found as readonly ListDocument[], totalOf(slots[field.totalSlot]), context) // documents, as the pipeline makes them
    }
    case 'traversal': {
      const found = slots[field.slot]
      return Array.isArray(found) ? traversalJson(field.traversal, found as readonly ReachedDocument[], context) : 'null' // documents, as the statement makes them
    }
  }
}

/** Without a document there was nothing to count. */
export function totalOf(found: unknown): number {
  const [document] = Array.isArray(found) ? (found as readonly { readonly n: unknown }[]) : []
  return document ? Number(document.n) : 0
}

function connectionJson(shape: ListShape, found: readonly ListDocument[], totalCount: number, context: RowContext): string {
  const { plan, rows: selections, limit: operand } = shape
  const limit = operandValue(operand, context.values)
  invariant(typeof limit === 'number', 'a limit is a number')
  const isCut = found.length > limit
  const rows = found.slice(0, limit)
  if (plan.backward) rows.reverse()
  const node = (of: Parameters<typeof selections.get>[0], document: ListDocument): string => {
    const selection = selections.get(of)
    invariant(selection, 'a selection has a place')
    return rowJson(selection.row, document.n[selection.index] ?? {}, context)
  }
  return objectJson(plan.fields, (field) => {
    switch (field.kind) {
      case 'typename':
        return jsonString(`${plan.type}Connection`)
      case 'totalCount':
        return String(totalCount)
      case 'nodes':
        return `[${rows.map((row) => node(field, row)).join(',')}]`
      case 'edges':
        return `[${rows.map((row) => objectJson(field.fields, (edge) => (edge.kind === 'node' ? node(edge, row) : edge.kind === 'cursor' ? rawCursor(shape, row, context) : jsonString(`${plan.type}Edge`)))).join(',')}]`
      case 'pageInfo':
        return objectJson(field.fields, ({ kind }) => pageInfoJson(kind, shape, { rows, isCut }, context))
    }
  })
}

interface ReachedDocument {
  readonly n: readonly Slots[]
  readonly d: unknown
}

function traversalJson({ plan, rows }: TraversalShape, found: readonly ReachedDocument[], context: RowContext): string {
  const member = (field: TraversalEdgeField, { n, d }: ReachedDocument): string => {
    if (field.kind === 'typename') return jsonString(`${plan.type}RelatedEdge`)
    if (field.kind === 'depth') return String(d)
    const selection = rows.get(field)
    invariant(selection, 'a selection has a place')
    return rowJson(selection.row, n[selection.index] ?? {}, context)
  }
  return objectJson(plan.fields, (field) => {
    if (field.kind === 'typename') return jsonString(`${plan.type}Related`)
    return `[${found.map((document) => objectJson(field.fields, (edge) => member(edge, document))).join(',')}]`
  })
}

function pageInfoJson(
  kind: PageInfoField['kind'],
  shape: ListShape,
  { rows, isCut }: { readonly rows: readonly ListDocument[]; readonly isCut: boolean },
  context: RowContext,
): string {
  const [first, last] = [rows[0], rows.at(-1)]
  switch (kind) {
    case 'typename':
      return jsonString('PageInfo')
    case 'hasNextPage':
      return String(isNext(shape.plan) ? isCut : shape.isContinued)
    case 'hasPreviousPage':
      return String(isNext(shape.plan) ? shape.isContinued : isCut)
    case 'startCursor':
      return first ? rawCursor(shape, first, context) : 'null'
    case 'endCursor':
      return last ? rawCursor(shape, last, context) : 'null'
  }
}

function isNext({ backward }: ListPlan): boolean {
  return !backward
}

/** For the gateway to seal: see `Chunk`. */
function rawCursor(shape: ListShape, document: ListDocument, context: RowContext): string {
  return `\x01${JSON.stringify([shape.plan.path, ...sortTexts(shape, document, context)])}\x02`
}

function objectJson<Selected extends { readonly responseKey: string }>(fields: readonly Selected[], textOf: (field: Selected) => string): string {
  return `{${fields.map((field) => `${jsonString(field.responseKey)}:${textOf(field)}`).join(',')}}`
}
