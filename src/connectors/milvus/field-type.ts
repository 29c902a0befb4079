/** Which types of Milvus hold which values of the contract, and the text forms of stored values (see query/value.ts). */
import type { ColumnBinding, NativeType } from '../../query/binding.js'
import type { BuiltinScalar, ValueField, ValueType } from '../../query/catalog.js'
import { printFloat } from '../../query/decimal.js'
import type { FieldValue } from '../../query/evaluate.js'
import { vectorText } from '../vector-text.js'

/** Names of data types as Milvus gives them. */
const HELD_BY: Readonly<Record<BuiltinScalar, readonly NativeType[]>> = {
  ID: ['VarChar', 'Int64', 'Int32', 'Int16', 'Int8'],
  String: ['VarChar'],
  Int: ['Int32', 'Int16', 'Int8'],
  BigInt: ['Int64', 'Int32', 'Int16', 'Int8'],
  Float: ['Double', 'Float'],
  Boolean: ['Bool'],
  Vector: ['FloatVector'],
  Decimal: [],
  DateTime: [],
  LocalDateTime: [],
  Date: [],
  UUID: [],
  JSON: [],
}

/** Those whose elements a list can be searched for by. */
const LISTS: ReadonlySet<string> = new Set(['ID', 'String', 'Int', 'BigInt'])

/** Empty where no field of Milvus holds such values. An enum's names are strings, or stand for integers. */
export function milvusTypesOf({ type, list }: Pick<ValueField, 'type' | 'list'>): readonly NativeType[] {
  if (type.kind === 'enum') return list ? ['VarChar'] : ['VarChar', 'Int64', 'Int32', 'Int16', 'Int8']
  return list && !LISTS.has(type.name) ? [] : HELD_BY[type.name]
}

export const INTEGER_BITS: ReadonlyMap<NativeType, bigint> = new Map([
  ['Int8', 8n],
  ['Int16', 16n],
  ['Int32', 32n],
  ['Int64', 64n],
])

/** The type as predicates know it: integers of any width are compared as bigint. */
export function comparedNative(native: NativeType): NativeType {
  return INTEGER_BITS.has(native) ? 'bigint' : 'text'
}

/** A value as `columns.ts` gives it. */
export type StoredValue = string | number | boolean | readonly (string | number)[]

type Column = Extract<ColumnBinding, { kind: 'column' }>

/** The sort key of a stored value, or of its items. */
export function storedSortKey(field: ValueField, { values, native }: Column, value: StoredValue): FieldValue {
  if (field.vector) return isItems(value) ? vectorText(value, field.vector) : null
  if (isItems(value)) return value.map(String)
  if (values) return values.get(String(value)) ?? null
  return typeof value === 'number' && isFloat(field.type, native) ? printFloat(value) : String(value)
}

function isFloat(type: ValueType, native: NativeType): boolean {
  return type.name === 'Float' || native === 'Double' || native === 'Float'
}

function isItems(value: StoredValue): value is readonly (string | number)[] {
  return typeof value === 'object'
}
