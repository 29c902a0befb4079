/** Fields of an answer, checked: as many values as rows, each of its type. */
import type { NativeType } from '../../query/binding.js'
import { type Message, messageOf, messagesOf } from './calls.js'
import { nonsense } from './driver-error.js'
import { INTEGER_BITS, type StoredValue } from './field-type.js'

export interface Rows {
  readonly count: number
  readonly stored: (row: number) => (column: string) => StoredValue
}

type Values = (row: number) => StoredValue

/** `columns`: those that were asked for. @throws GatewayError SOURCE_UNAVAILABLE for what was not. */
export function rowsOf(fieldsData: unknown, columns: readonly string[], count: number): Rows {
  const given = new Map(messagesOf(fieldsData).map((field) => [String(field.field_name), field]))
  const read = new Map<string, Values>()
  for (const name of count === 0 ? [] : columns) {
    const field = given.get(name)
    if (!field) throw nonsense('fewer fields than were asked for')
    read.set(name, valuesOf(field, count))
  }
  const stored = (row: number) => (column: string) => {
    const values = read.get(column)
    if (!values) throw new Error(`invariant: the column of a field was asked for`)
    return values(row)
  }
  return { count, stored }
}

/** Of the key that comes with a query. */
export function countOf(fieldsData: unknown, key: string): number {
  const field = messagesOf(fieldsData).find(({ field_name: name }) => name === key)
  if (!field) return 0
  const { native, items } = scalars(field)
  return items(native).length
}

function valuesOf(field: Message, count: number): Values {
  if (field.vectors !== undefined && field.vectors !== null) return vectors(messageOf(field.vectors), count)
  const { native, items } = scalars(field)
  const values = items(native)
  if (values.length !== count) throw nonsense('another number of values than rows')
  if (native !== 'Array') return (row) => scalarOf(native, values[row])
  const lists = values.map((value) => {
    const list = messageOf(value)
    const kind = list.data === undefined ? null : list[String(list.data)]
    return kind === null || kind === undefined ? [] : dataOf(messageOf(kind)).map(itemOf)
  })
  return (row) => lists[row] ?? []
}

function scalars(field: Message): { readonly native: NativeType; readonly items: (native: NativeType) => readonly unknown[] } {
  const held = messageOf(field.scalars)
  const name = typeof held.data === 'string' ? held.data : null
  return {
    native: String(field.type),
    items: (native) => (name === (DATA_OF[native] ?? 'int_data') ? dataOf(messageOf(held[name])) : name === null ? [] : mistyped()),
  }
}

/** Narrow integers are all `int_data`. */
const DATA_OF: Readonly<Record<NativeType, string>> = {
  Int64: 'long_data',
  VarChar: 'string_data',
  Bool: 'bool_data',
  Double: 'double_data',
  Float: 'float_data',
  Array: 'array_data',
}

function mistyped(): never {
  throw nonsense('values of another type')
}

function dataOf({ data }: Message): readonly unknown[] {
  return Array.isArray(data) ? data : mistyped()
}

function scalarOf(native: NativeType, value: unknown): StoredValue {
  if (INTEGER_BITS.has(native)) return integerText(value)
  if (native === 'VarChar' && typeof value === 'string') return value
  if (native === 'Bool' && typeof value === 'boolean') return value
  return (native === 'Double' || native === 'Float') && typeof value === 'number' ? value : mistyped()
}

/** Of any width, as text. */
function integerText(value: unknown): string {
  const text = typeof value === 'number' || typeof value === 'string' ? String(value) : ''
  return /^-?\d+$/.test(text) ? text : mistyped()
}

function itemOf(value: unknown): string {
  return typeof value === 'string' ? value : integerText(value)
}

function vectors({ dim, float_vector: floats }: Message, count: number): Values {
  const elements = dataOf(messageOf(floats))
  const dimensions = Number(dim)
  if (elements.length !== dimensions * count) throw nonsense('vectors of other dimensions')
  return (row) => elements.slice(row * dimensions, (row + 1) * dimensions).map((element) => (typeof element === 'number' ? element : mistyped()))
}
