/** The rows of a statement in their order, cut to the page, as JSON. */
import { invariant } from '../../errors.js'
import type { ValueType } from '../../query/catalog.js'
import { operandValue } from '../../query/evaluate.js'
import { compareSortKeys, orderComparator } from '../../query/order.js'
import type { PageStart, RowSelection } from '../../query/plan.js'
import type { Operand } from '../../query/predicate.js'
import { elementsOf, scoreOf, scoreText } from '../../query/score.js'
import { jsonString, listJson, valueJson } from '../../query/value.js'
import type { Chunk, Values } from '../connector.js'
import { byteText, Texts } from '../texts.js'
import { INTEGER_BITS } from './field-type.js'
import type { Reading } from './reading.js'
import { rowId, ShownRow, type SourceRow, valueField } from './row.js'
import { allRows, type Asking, countRows, firstRows, nearRows } from './rows.js'

interface SortedRow {
  readonly row: ShownRow
  /** Sort values, without the key. */
  readonly sort: readonly (string | null)[]
  readonly key: string
}

/** `fits` false: no row can. */
export async function answerOf(asking: Asking, values: Values, fits: boolean): Promise<Chunk> {
  const { reading } = asking
  const totalCount = reading.hasTotal ? (fits ? await countRows(asking) : 0) : null
  const rows = fits ? await pageRows(asking, values) : []
  const keyed = reading.withKeys ? rows.map(({ sort, key }) => [...sort, key]) : []
  return {
    count: rows.length,
    texts: reading.selections.map((selection) => Texts.of(rows.map(({ row }) => byteText(rowJson(reading, selection, row))))),
    keys: (keyed[0] ?? []).map((_, column) => keyed.map((keys) => keys[column] ?? null)),
    totalCount,
  }
}

/** One row more than the page, which tells whether there are more; a list that goes backward is read from its end. */
async function pageRows(asking: Asking, values: Values): Promise<readonly SortedRow[]> {
  const { reading } = asking
  const { list, start } = reading
  const limit = operandValue(list.limit, values)
  invariant(typeof limit === 'number' && limit >= 0, 'a limit is a number')
  if (reading.search === null && list.order.length === 0 && !list.backward) return byKey(asking, values, limit + 1)
  const order = orderOf(reading, values)
  const rows = reading.search ? await scoredRows(asking, order, limit + 1) : (await allRows(asking)).map((row) => sorted(reading, row, values))
  const left = rows.filter((row) => isLeft(start, row, order))
  return left.sort((a, b) => compareRows(a, b, order) * order.direction).slice(0, limit + 1)
}

/** Milvus itself reads in the order of the key. */
async function byKey(asking: Asking, values: Values, limit: number): Promise<readonly SortedRow[]> {
  const { start } = asking.reading
  if (start?.side === 'before') return []
  const [key] = start?.side === 'same' ? start.key : []
  const rows = await firstRows(asking, limit, key === undefined ? null : textOf(key, values))
  return rows.map((row) => sorted(asking.reading, row, values))
}

/** A row without a score is none that is near. */
async function scoredRows(asking: Asking, order: Order, wanted: number): Promise<readonly SortedRow[]> {
  const { reading } = asking
  const { search, start } = reading
  const to = search && operandValue(search.to, order.values)
  if (!search || search.column === null || typeof to !== 'string') return []
  const target = elementsOf(to)
  // Nothing is near to what has no direction.
  if (search.metric === 'COSINE' && !Number.isFinite(scoreOf(search.metric, target, target))) return []
  const scored = (source: SourceRow): SortedRow | null => {
    const row = shown(reading, source, order.values)
    // As it is shown: the filter has left out rows whose vector is not, and this would too.
    const vector = row.text(search.field)
    const score = vector === null ? null : scoreText(search.metric, elementsOf(vector), target)
    return score === null ? null : { row, sort: [score], key: source.keyText() }
  }
  const scoreOfRow = (row: SourceRow): number | null => {
    const found = scored(row)
    return found && isLeft(start, found, order) ? Number(found.sort[0]) : null
  }
  const rows = await nearRows(asking, search, { target, wanted, scoreOfRow })
  return rows.map(scored).filter((row) => row !== null)
}

function shown({ view }: Reading, row: SourceRow, values: Values): ShownRow {
  return new ShownRow(row, view, values)
}

function sorted(reading: Reading, source: SourceRow, values: Values): SortedRow {
  const row = shown(reading, source, values)
  return { row, sort: reading.list.order.map(({ field }) => row.text(field)), key: source.keyText() }
}

// --- order -----------------------------------------------------------------------------------------------------------------------------------------------------

type Compare<Item> = (a: Item, b: Item) => number

const FLOAT: ValueType = { kind: 'builtin', name: 'Float' }
const INTEGER: ValueType = { kind: 'builtin', name: 'BigInt' }

function sortComparator({ list, context, search }: Reading): Compare<readonly (string | null)[]> {
  return orderComparator(
    list.order.map(({ field, descending, nulls }) => ({ type: search ? FLOAT : valueField(context.entity, field).type, descending, nulls })),
  )
}

/** Keys go by the order of their column, which for integers is not that of their texts. */
function keyComparator({ context: { entity }, key }: Reading): Compare<string> {
  const type = INTEGER_BITS.has(key.native) ? INTEGER : valueField(entity, entity.key[0] ?? '').type
  return (a, b) => compareSortKeys(type, a, b)
}

interface Order {
  readonly bySort: Compare<readonly (string | null)[]>
  readonly byKeys: Compare<string>
  /** -1: read from the end. */
  readonly direction: 1 | -1
  readonly values: Values
}

function orderOf(reading: Reading, values: Values): Order {
  return { bySort: sortComparator(reading), byKeys: keyComparator(reading), direction: reading.list.backward ? -1 : 1, values }
}

function compareRows(a: SortedRow, b: SortedRow, { bySort, byKeys }: Order): number {
  return bySort(a.sort, b.sort) || byKeys(a.key, b.key)
}

/** Whether a row comes after the page's start, if it has one, in the direction of reading; see `PageStart`. */
function isLeft(start: PageStart | null, { sort, key }: SortedRow, { bySort, byKeys, direction, values }: Order): boolean {
  if (!start) return true
  const at = start.values.map((operand, index) => (start.nulls[index] ? null : textOf(operand, values)))
  const order = bySort(sort, at) * direction
  if (order !== 0) return order > 0
  const [own] = start.key
  if (start.side !== 'same' || !own) return start.side === 'after'
  return byKeys(key, textOf(own, values)) * direction > 0
}

function textOf(operand: Operand, values: Values): string {
  const value = operandValue(operand, values)
  invariant(value !== null && typeof value !== 'object', 'a cursor has the values that it needs')
  return String(value)
}

// --- rows ------------------------------------------------------------------------------------------------------------------------------------------------------

function rowJson({ organization, context }: Reading, { type, fields }: RowSelection, row: ShownRow): string {
  const texts = fields.map((field) => {
    switch (field.kind) {
      case 'typename':
        return [field.responseKey, jsonString(type)]
      case 'organization':
        return [field.responseKey, jsonString(organization)]
      case 'id':
        return [field.responseKey, rowId(row)]
      case 'value':
        return [field.responseKey, fieldJson(row, field.field, context.entity)]
      case 'absent':
      case 'toOne':
      case 'list':
      case 'aggregate':
      case 'series':
      case 'reference':
        return [field.responseKey, 'null'] // others than absent ones were refused
    }
  })
  return `{${texts.map(([responseKey = '', json]) => `${jsonString(responseKey)}:${json}`).join(',')}}`
}

function fieldJson(row: ShownRow, field: string, entity: Reading['context']['entity']): string {
  const { type } = valueField(entity, field)
  const value = row.value(field)
  return typeof value === 'string' || value === null ? valueJson(type, value) : listJson(type, value)
}
