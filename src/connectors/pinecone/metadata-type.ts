/** Which values of a record hold which values of the contract, and the text forms of stored values (see query/value.ts). What is of another type reads as null. */
import type { ColumnBinding, NativeType } from '../../query/binding.js'
import type { BuiltinScalar, ValueField } from '../../query/catalog.js'
import { printFloat } from '../../query/decimal.js'
import type { FieldValue } from '../../query/evaluate.js'
import { vectorText } from '../vector-text.js'

/** The record's own id and values, and the types of metadata: a number is a double, and lists are of strings. */
export type RecordType = 'id' | 'values' | 'string' | 'number' | 'boolean'

/** Integers beyond 2^53 have no double of their own, so that `BigInt` and `Decimal` are held by nothing. */
const HELD_BY: Readonly<Record<BuiltinScalar, RecordType | null>> = {
  ID: 'string',
  String: 'string',
  Int: 'number',
  Float: 'number',
  Boolean: 'boolean',
  Vector: 'values',
  BigInt: null,
  Decimal: null,
  DateTime: null,
  LocalDateTime: null,
  Date: null,
  UUID: null,
  JSON: null,
}

/** Null where nothing in a record holds such values. Names of an enum are strings, or stand for integers. */
export function recordTypeOf({ type, list }: Pick<ValueField, 'type' | 'list'>, values: ReadonlyMap<string, string> | null): RecordType | null {
  const held = type.kind === 'builtin' ? HELD_BY[type.name] : values && [...values.keys()].every(isInteger) ? 'number' : 'string'
  return list && held !== 'string' ? null : held
}

function isInteger(text: string): boolean {
  return /^(0|-?[1-9]\d{0,14})$/.test(text)
}

/** Of metadata that the index does not filter by, the type stands behind this word. */
const UNINDEXED = 'unindexed '

export function nativeOf(held: RecordType, isFilterable: boolean): NativeType {
  return isFilterable ? held : `${UNINDEXED}${held}`
}

/** Null: nothing can be asked for by it. */
export function filterTypeOf(native: NativeType): NativeType | null {
  return native.startsWith(UNINDEXED) ? null : native
}

/** What a record has under a name, before it has been looked at; undefined where there is nothing. */
export type StoredValue = unknown

type Column = Extract<ColumnBinding, { kind: 'column' }>

/** The sort key of a stored value, or of its items. */
export function storedSortKey(field: ValueField, { values, native, array }: Column, value: StoredValue): FieldValue {
  if (field.vector) return Array.isArray(value) ? vectorText(value, field.vector) : null
  if (array) return Array.isArray(value) && value.every(isText) ? value : null
  const text = scalarText(native.replace(UNINDEXED, ''), value)
  if (text === null) return null
  if (field.type.kind === 'enum') return values ? (values.get(text) ?? null) : field.type.values.includes(text) ? text : null
  return field.type.name === 'Int' && !isInt(value) ? null : text
}

function scalarText(held: string, value: StoredValue): string | null {
  if (typeof value === 'string') return held !== 'number' && held !== 'boolean' && isText(value) ? value : null
  if (typeof value === 'boolean') return held === 'boolean' ? String(value) : null
  return held === 'number' && typeof value === 'number' && Number.isFinite(value) ? printFloat(value + 0) : null
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && !/\0|\p{Surrogate}/u.test(value)
}

function isInt(value: StoredValue): boolean {
  return typeof value === 'number' && Number.isInteger(value) && value >= -(2 ** 31) && value < 2 ** 31
}
