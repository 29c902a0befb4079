/** From the documents that a pipeline gives to the JSON texts of rows. */
import { invariant } from '../../errors.js'
import { operandValue } from '../../query/evaluate.js'
import type { ListPlan, PageInfoField } from '../../query/plan.js'
import { jsonString } from '../../query/value.js'
import type { Values } from '../connector.js'
import { fieldJson, sortText } from './bson-text.js'
import type { FieldShape, ListShape, RowShape } from './pipeline.js'

/** A document of a list; see `ListShape`. */
export interface ListDocument {
  readonly n: readonly Slots[]
  readonly s: readonly unknown[]
}
type Slots = Readonly<Record<string, unknown>>

export interface RowContext {
  readonly values: Values
  readonly organization: string
}

export function rowJson({ fields }: RowShape, slots: Slots, context: RowContext): string {
  return objectJson(fields, (field) => shapeJson(field, slots, context))
}

/** Sort values, then the view's key. */
export function sortTexts(shape: ListShape, { s }: ListDocument): readonly (string | null)[] {
  return shape.sort.map(({ field }, index) => sortText(field.type, s[index]))
}

function shapeJson(field: FieldShape, slots: Slots, context: RowContext): string {
  switch (field.kind) {
    case 'text':
      return field.json
    case 'id': {
      const key = field.slots.map(({ slot, field: { type } }) => sortText(type, slots[slot]))
      return jsonString(Buffer.from(JSON.stringify([field.type, context.organization, ...key])).toString('base64url'))
    }
    case 'value':
      return fieldJson(field.value.field, slots[field.value.slot])
    case 'toOne': {
      const found = slots[field.slot]
      return Array.isArray(found) && found.length > 0 ? rowJson(field.row, found[0] as Slots, context) : 'null' // documents, as the pipeline makes them
    }
    case 'list': {
      const found = slots[field.slot]
      if (!Array.isArray(found)) return 'null'
      return connectionJson(field.list, found as readonly ListDocument[], totalOf(slots[field.totalSlot]), context) // documents, as the pipeline makes them
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
        return `[${rows.map((row) => objectJson(field.fields, (edge) => (edge.kind === 'node' ? node(edge, row) : edge.kind === 'cursor' ? rawCursor(shape, row) : jsonString(`${plan.type}Edge`)))).join(',')}]`
      case 'pageInfo':
        return objectJson(field.fields, ({ kind }) => pageInfoJson(kind, shape, { rows, isCut }))
    }
  })
}

function pageInfoJson(
  kind: PageInfoField['kind'],
  shape: ListShape,
  { rows, isCut }: { readonly rows: readonly ListDocument[]; readonly isCut: boolean },
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
      return first ? rawCursor(shape, first) : 'null'
    case 'endCursor':
      return last ? rawCursor(shape, last) : 'null'
  }
}

function isNext({ backward }: ListPlan): boolean {
  return !backward
}

/** For the gateway to seal: see `Chunk`. */
function rawCursor(shape: ListShape, document: ListDocument): string {
  return `\x01${JSON.stringify([shape.plan.path, ...sortTexts(shape, document)])}\x02`
}

function objectJson<Selected extends { readonly responseKey: string }>(fields: readonly Selected[], textOf: (field: Selected) => string): string {
  return `{${fields.map((field) => `${jsonString(field.responseKey)}:${textOf(field)}`).join(',')}}`
}
