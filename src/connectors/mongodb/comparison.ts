/** One comparison of a field with a value: what the server is asked, in expressions that hold the value as a literal. */
import { Double } from 'mongodb'
import type { NativeType } from '../../query/binding.js'
import type { ValueField, ValueType } from '../../query/catalog.js'
import type { CompareOp, Scalar } from '../../query/predicate.js'
import { parseJson } from '../../query/json-value.js'
import { operandSortKey } from '../../query/value.js'
import { likeRegex } from '../like-regex.js'
import { idNative } from './bson-type.js'
import { containsExpression } from './json-contains.js'
import { bsonOf } from './operand.js'
import { allOf, anyOf, isKnown, literal, negated, type Template } from './template.js'

/** When a condition is TRUE and when it is FALSE; where neither holds it is unknown. */
export interface Truth {
  readonly isTrue: Template
  readonly isFalse: Template
}

export const UNKNOWN: Truth = { isTrue: false, isFalse: false }

/** A field as it is compared: its value in the pipeline's document (null, never missing), and the BSON type that it has, or null where that is text whatever it was. */
export interface Compared {
  readonly field: ValueField
  readonly value: Template
  readonly native: NativeType | null
}

export function comparison(of: Compared, op: CompareOp, scalar: Scalar): Truth {
  const sortKey = sortKeyOf(of, scalar)
  if (sortKey === null || isBeyondBigint(of, op, sortKey)) return UNKNOWN
  const isTrue = allOf([isKnown(of.value), compared(of.field.type, of.native, op, of.value, sortKey)])
  return { isTrue, isFalse: allOf([isKnown(of.value), negated(isTrue)]) }
}

export function membership(of: Compared, scalars: readonly Scalar[]): Truth {
  const each = scalars.map((scalar) => comparison(of, '=', scalar))
  return { isTrue: anyOf(each.map(({ isTrue }) => isTrue)), isFalse: each.includes(UNKNOWN) ? false : allOf(each.map(({ isFalse }) => isFalse)) }
}

/** Every element of the operand is an element of the stored list. */
export function holdsAll(of: Compared, scalars: readonly Scalar[]): Truth {
  const items = { $ifNull: [of.value, []] }
  const each = scalars.map((scalar): Template | null => {
    const sortKey = sortKeyOf(of, scalar)
    return sortKey === null
      ? null
      : { $anyElementTrue: [{ $map: { input: items, as: 'item', in: compared(of.field.type, of.native, '=', '$$item', sortKey) } }] }
  })
  const isTrue = each.includes(null) ? false : allOf([isKnown(of.value), ...each])
  return { isTrue, isFalse: negated(isTrue) }
}

export function textComparison(
  of: Compared,
  term: { readonly kind: 'like' | 'startsWith' | 'contains' | 'jsonContains'; readonly fold?: boolean },
  scalar: Scalar,
): Truth {
  const text = sortKeyOf(of, scalar)
  if (text === null) return UNKNOWN
  const isTrue = allOf([isKnown(of.value), fitting(of.value, term, text)])
  return { isTrue, isFalse: allOf([isKnown(of.value), negated(isTrue)]) }
}

function fitting(value: Template, { kind, fold = false }: Parameters<typeof textComparison>[1], text: string): Template {
  switch (kind) {
    case 'like':
      return { $regexMatch: { input: value, regex: literal(likeRegex(text, fold)), options: 's' } }
    case 'startsWith':
      return { $eq: [{ $substrCP: [{ $ifNull: [value, ''] }, 0, [...text].length] }, literal(text)] }
    case 'contains':
      return { $gte: [{ $indexOfCP: [value, literal(text)] }, 0] }
    case 'jsonContains':
      return containsExpression(value, parseJson(text))
  }
}

/** Null: the operand is not canonical for the field, and matches nothing. */
function sortKeyOf({ field, native }: Compared, scalar: Scalar): string | null {
  const sortKey = operandSortKey(field.type, idNative(native), scalar)
  return sortKey !== null && native === 'objectId' && !/^[0-9a-f]{24}$/.test(sortKey) ? null : sortKey
}

/** NaN is above all numbers in the contract and below them in MongoDB. */
export function compared(type: ValueType, native: NativeType | null, op: CompareOp, value: Template, sortKey: string): Template {
  const operand = bsonOf(type, native, sortKey)
  if (!operand.exact && op === '=') return false
  const closest = operand.exact ? op : op === '<' || op === '<=' ? '<=' : '>'
  const plain = { [OPERATORS[closest]]: [value, literal(operand.value)] }
  if (op === '=' || !hasNaN(type)) return plain
  return op === '<' || op === '<=' ? allOf([negated(isNaN(value)), plain]) : anyOf([isNaN(value), plain])
}

export const OPERATORS: Readonly<Record<CompareOp, string>> = { '=': '$eq', '<': '$lt', '<=': '$lte', '>': '$gt', '>=': '$gte' }

export function hasNaN(type: ValueType): boolean {
  return type.name === 'Float' || type.name === 'Decimal'
}

export function isNaN(value: Template): Template {
  return { $eq: [value, literal(new Double(NaN))] }
}

const BIGINT_MIN = -(2n ** 63n)
const BIGINT_MAX = 2n ** 63n - 1n

/** Where no long at all could fit, there is nothing to compare: that is unknown, as in memory. */
function isBeyondBigint({ field, native }: Compared, op: CompareOp, sortKey: string): boolean {
  if (field.type.name !== 'BigInt' || (native !== 'int' && native !== 'long')) return false
  const operand = BigInt(sortKey)
  const fits = {
    '=': operand >= BIGINT_MIN && operand <= BIGINT_MAX,
    '<': operand > BIGINT_MIN,
    '<=': operand >= BIGINT_MIN,
    '>': operand < BIGINT_MAX,
    '>=': operand <= BIGINT_MAX,
  }
  return !fits[op]
}
