/** Pages of rows without relations, for stores whose rows the gateway puts in order and writes as JSON. */
import { invariant } from '../errors.js'
import type { EntityType, ValueType } from '../query/catalog.js'
import { type FieldRow, operandValue } from '../query/evaluate.js'
import { compareSortKeys, orderComparator } from '../query/order.js'
import type { ListPlan, PageStart, ReadableView, RowSelection } from '../query/plan.js'
import type { Operand } from '../query/predicate.js'
import { jsonString, listJson, operandSortKey, valueJson } from '../query/value.js'
import type { Chunk, Values } from './connector.js'
import { rowId, ShownRow, valueField } from './shown-row.js'
import { byteText, Texts } from './texts.js'

/** What a page is made for. */
export interface PageReading {
  readonly organization: string
  readonly entity: EntityType
  readonly view: ReadableView
  readonly list: ListPlan
  readonly start: PageStart | null
  readonly withKeys: boolean
  readonly selections: readonly RowSelection[]
  /** Keys go by the order of their column, which for integers is not that of their texts. */
  readonly keyType: ValueType
}

export interface SortedRow {
  readonly row: ShownRow
  /** Sort values, without the key. */
  readonly sort: readonly (string | null)[]
  readonly key: string
}

export function chunkOf(reading: PageReading, rows: readonly SortedRow[], totalCount: number | null): Chunk {
  const keyed = reading.withKeys ? rows.map(({ sort, key }) => [...sort, key]) : []
  return {
    count: rows.length,
    texts: reading.selections.map((selection) => Texts.of(rows.map(({ row }) => byteText(rowJson(reading, selection, row))))),
    keys: (keyed[0] ?? []).map((_, column) => keyed.map((keys) => keys[column] ?? null)),
    totalCount,
  }
}

/** The row of each key, in their order; of a key that has none, that of nulls, as the view shows them. */
export function rowsOfKeys(reading: PageReading, rows: readonly ShownRow[], keys: Operand, values: Values): Chunk {
  const { entity, view } = reading
  const { type } = valueField(entity, entity.key[0] ?? '')
  const nothing = new ShownRow(nullRow(entity), view, values)
  const held = new Map(rows.map((row) => [keyText(row), row]))
  const wanted = operandValue(keys, values)
  invariant(typeof wanted === 'object' && wanted !== null, 'keys are a list')
  const sorted = wanted.map((scalar) => {
    const key = operandSortKey(type, null, scalar) ?? ''
    return { row: held.get(key) ?? nothing, sort: [], key }
  })
  return chunkOf(reading, sorted, null)
}

function nullRow(entity: EntityType): FieldRow {
  return { entity, id: '', value: () => null, native: () => null, related: () => [] }
}

export function keyText({ source, entity }: ShownRow): string {
  const text = source.value(entity.key[0] ?? '')
  invariant(typeof text === 'string', 'a key is a value')
  return text
}

/** Rows of a page: one more than it shows, which tells whether there are more. */
export function wantedRows({ list }: Pick<PageReading, 'list'>, values: Values): number {
  const limit = operandValue(list.limit, values)
  invariant(typeof limit === 'number' && limit >= 0, 'a limit is a number')
  return limit + 1
}

// --- order -----------------------------------------------------------------------------------------------------------------------------------------------------

type Compare<Item> = (a: Item, b: Item) => number

const FLOAT: ValueType = { kind: 'builtin', name: 'Float' }

export interface Order {
  readonly bySort: Compare<readonly (string | null)[]>
  readonly byKeys: Compare<string>
  /** -1: read from the end. */
  readonly direction: 1 | -1
  readonly values: Values
}

export function orderOf({ list, entity, keyType }: PageReading, values: Values): Order {
  const keys = list.order.map(({ field, descending, nulls }) => ({ type: list.search ? FLOAT : valueField(entity, field).type, descending, nulls }))
  return { bySort: orderComparator(keys), byKeys: (a, b) => compareSortKeys(keyType, a, b), direction: list.backward ? -1 : 1, values }
}

/** The first of the rows that are left after the page's start; a list that goes backward is read from its end. */
export function cut(rows: readonly SortedRow[], start: PageStart | null, order: Order, limit: number): readonly SortedRow[] {
  return rows
    .filter((row) => isLeft(start, row, order))
    .sort((a, b) => compareRows(a, b, order) * order.direction)
    .slice(0, limit)
}

function compareRows(a: SortedRow, b: SortedRow, { bySort, byKeys }: Order): number {
  return bySort(a.sort, b.sort) || byKeys(a.key, b.key)
}

/** Whether a row comes after the page's start, if it has one, in the direction of reading; see `PageStart`. */
export function isLeft(start: PageStart | null, { sort, key }: SortedRow, { bySort, byKeys, direction, values }: Order): boolean {
  if (!start) return true
  const at = start.values.map((operand, index) => (start.nulls[index] ? null : textOf(operand, values)))
  const order = bySort(sort, at) * direction
  if (order !== 0) return order > 0
  const [own] = start.key
  if (start.side !== 'same' || !own) return start.side === 'after'
  return byKeys(key, textOf(own, values)) * direction > 0
}

/** Of a cursor. */
export function textOf(operand: Operand, values: Values): string {
  const value = operandValue(operand, values)
  invariant(value !== null && typeof value !== 'object', 'a cursor has the values that it needs')
  return String(value)
}

// --- rows ------------------------------------------------------------------------------------------------------------------------------------------------------

function rowJson({ organization, entity }: PageReading, { type, fields }: RowSelection, row: ShownRow): string {
  const texts = fields.map((field) => {
    switch (field.kind) {
      case 'typename':
        return [field.responseKey, jsonString(type)]
      case 'organization':
        return [field.responseKey, jsonString(organization)]
      case 'id':
        return [field.responseKey, rowId(row)]
      case 'value':
        return [field.responseKey, fieldJson(row, field.field, entity)]
      case 'reference':
        return [field.responseKey, `\u0005${JSON.stringify([field.name, keyText(row)])}\u0006`]
      case 'absent':
      case 'toOne':
      case 'list':
      case 'aggregate':
      case 'series':
      case 'traversal':
        return [field.responseKey, 'null'] // others than absent ones were refused
    }
  })
  return `{${texts.map(([responseKey = '', json]) => `${jsonString(responseKey)}:${json}`).join(',')}}`
}

function fieldJson(row: ShownRow, field: string, entity: EntityType): string {
  const { type } = valueField(entity, field)
  const value = row.value(field)
  return typeof value === 'string' || value === null ? valueJson(type, value) : listJson(type, value)
}
