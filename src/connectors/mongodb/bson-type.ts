/** Which BSON types hold which values of the contract, and how a stored value is read: one of another type than the binding says is null. */
import { Binary } from 'mongodb'
import type { ColumnBinding, NativeType } from '../../query/binding.js'
import type { BuiltinScalar, ValueField, ValueType } from '../../query/catalog.js'
import { operandSortKey } from '../../query/value.js'
import { bsonOf } from './operand.js'
import { allOf, literal, type Template } from './template.js'

export type BsonType = 'string' | 'int' | 'long' | 'double' | 'decimal' | 'bool' | 'date' | 'objectId' | 'uuid' | 'json'

/** The first is meant where a binding names none. */
const HELD_BY: Readonly<Record<BuiltinScalar, readonly BsonType[]>> = {
  ID: ['string', 'int', 'long', 'objectId', 'uuid'],
  String: ['string'],
  Int: ['int'],
  Float: ['double'],
  Boolean: ['bool'],
  BigInt: ['long', 'int'],
  Decimal: ['decimal', 'int', 'long'],
  DateTime: ['date'],
  LocalDateTime: ['date'],
  Date: ['date'],
  UUID: ['uuid'],
  JSON: ['json'],
  Vector: [],
}

/** BSON types that can hold an enum: names as strings, or other values that `values` maps. */
const ENUM_HELD_BY: readonly BsonType[] = ['string', 'int', 'long']

export function bsonTypesOf(type: ValueType): readonly BsonType[] {
  return type.kind === 'enum' ? ENUM_HELD_BY : HELD_BY[type.name]
}

/** Names of PostgreSQL's types say which texts an ID over the column can have (see `operandSortKey`). */
export function idNative(native: NativeType | null): NativeType | null {
  return native === 'int' ? 'integer' : native === 'long' ? 'bigint' : native
}

/** Any member name may stand in a path; only names that a field path of MongoDB would read otherwise need `$getField`. */
export function pathOf(column: string): Template {
  const steps = column.split('.')
  if (steps.every(isPlainName)) return `$${column}`
  return steps.reduce<Template>((input, step) => ({ $getField: { field: literal(step), input } }), '$$ROOT')
}

export function isPlainName(name: string): boolean {
  return /^[A-Za-z_]\w*$/.test(name) && name !== '__proto__'
}

/** The contract's value of a field, or null. Never missing. */
export function storedValue(field: ValueField, bound: ColumnBinding | undefined): Template {
  if (!bound) return null
  if (bound.kind === 'constant') {
    const text = bound.value === null ? null : operandSortKey(field.type, null, bound.value)
    return text === null ? null : literal(bsonOf(field.type, null, text).value)
  }
  const input = pathOf(bound.column)
  if (!bound.array) return element(field.type, bound, input)
  return {
    $let: {
      vars: { list: input },
      in: { $cond: [{ $isArray: '$$list' }, { $map: { input: '$$list', as: 'item', in: element(field.type, bound, '$$item') } }, null] },
    },
  }
}

type Column = Extract<ColumnBinding, { kind: 'column' }>

function element(type: ValueType, { native, values }: Column, input: Template): Template {
  const own = typedValue(native, input)
  if (values) return { $switch: { branches: [...values].map(([stored, name]) => mapped(native, own, stored, name)), default: null } }
  if (type.kind === 'enum') return { $let: { vars: { name: own }, in: { $cond: [{ $in: ['$$name', literal(type.values)] }, '$$name', null] } } }
  return type.name === 'Date' ? wholeDay(own) : own
}

function mapped(native: NativeType, input: Template, stored: string, name: string): Template {
  return { case: { $eq: [input, literal(native === 'string' ? stored : Number(stored))] }, then: literal(name) }
}

/** A time of day means that this is no date. */
function wholeDay(input: Template): Template {
  const isWhole = { $eq: [{ $mod: [{ $toLong: '$$day' }, 86_400_000] }, 0] }
  return { $let: { vars: { day: input }, in: { $cond: [{ $and: [{ $ne: ['$$day', null] }, isWhole] }, '$$day', null] } } }
}

const UUID_RANGE = [new Binary(Buffer.alloc(16), 4), new Binary(Buffer.alloc(16, 0xff), 4)] as const

/** The value where it is of the BSON type that the binding says, else null: where it is missing, too. */
export function typedValue(native: NativeType, input: Template): Template {
  return { $let: { vars: { own: { $ifNull: [input, null] } }, in: { $cond: [isOfType(native), '$$own', null] } } }
}

function isOfType(native: NativeType): Template {
  const isOf = (name: string): Template => ({ $eq: [{ $type: '$$own' }, name] })
  if (native === 'json') return { $in: [{ $type: '$$own' }, ['object', 'array']] }
  if (native !== 'uuid') return isOf(native)
  // Binary data are ordered by length, then subtype: between these are UUIDs (subtype 4) only.
  return allOf([isOf('binData'), { $gte: ['$$own', literal(UUID_RANGE[0])] }, { $lte: ['$$own', literal(UUID_RANGE[1])] }])
}
