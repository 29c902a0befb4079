/** One comparison of a field with a value, in Cypher's own logic: NULL is unknown. */
import type { NativeType } from '../../query/binding.js'
import type { ValueField, ValueType } from '../../query/catalog.js'
import { fitsOrder } from '../../query/order.js'
import type { CompareOp, Scalar } from '../../query/predicate.js'
import { operandSortKey } from '../../query/value.js'
import { likeRegex } from '../like-regex.js'
import { type Cypher, cypher, isKnown, NULL, value } from './cypher.js'
import { graphValue } from './graph-value.js'
import { idNative } from './native-type.js'

/** A field as it is compared: its value, and the type that it has, or null where that is a text whatever it was. */
export interface Compared {
  readonly field: ValueField
  readonly value: Cypher
  readonly native: NativeType | null
}

export function comparison(of: Compared, op: CompareOp, scalar: Scalar): Cypher {
  const sortKey = sortKeyOf(of, scalar)
  return sortKey === null || isBeyondInteger(of, op, sortKey) ? NULL : compared(of, op, sortKey)
}

/** What is no value of the field's type is unknown, and so is whether a value equals it. */
export function membership(of: Compared, scalars: readonly Scalar[]): Cypher {
  const sortKeys = scalars.map((scalar) => sortKeyOf(of, scalar))
  const list = sortKeys.map((sortKey) => (sortKey === null || isBeyondInteger(of, '=', sortKey) ? null : graphValue(of.field.type, of.native, sortKey)))
  return cypher`(${of.value} IN ${value(list)})`
}

/** Every element of the operand is an element of the stored list. */
export function holdsAll(of: Compared, scalars: readonly Scalar[]): Cypher {
  const elements = scalars.map((scalar) => sortKeyOf(of, scalar))
  const list = elements.flatMap((sortKey) => (sortKey === null ? [] : [graphValue(of.field.type, of.native, sortKey)]))
  const holds = cypher`all(x IN ${value(list)} WHERE x IN ${of.value})`
  return cypher`(CASE WHEN ${isKnown(of.value)} THEN ${elements.includes(null) ? cypher`CASE WHEN ${holds} THEN null ELSE false END` : holds} END)`
}

export function textComparison(
  of: Compared,
  { kind, fold = false }: { readonly kind: 'like' | 'startsWith' | 'contains'; readonly fold?: boolean },
  scalar: Scalar,
): Cypher {
  const text = sortKeyOf(of, scalar)
  if (text === null) return NULL
  switch (kind) {
    case 'like':
      return cypher`(${of.value} =~ ${value(`(?s)${likeRegex(text, fold)}`)})`
    case 'startsWith':
      return cypher`(${of.value} STARTS WITH ${value(text)})`
    case 'contains':
      return cypher`(${of.value} CONTAINS ${value(text)})`
  }
}

/** Null: the operand is not canonical for the field, and matches nothing. */
function sortKeyOf({ field, native }: Compared, scalar: Scalar): string | null {
  return operandSortKey(field.type, idNative(native), scalar)
}

/** Of a value that is canonical, or that a store gave for a cursor. */
export function compared({ field: { type }, value: of, native }: Compared, op: CompareOp, sortKey: string): Cypher {
  if (isNumberBeyond(type, sortKey)) return numberBeyond(of, op, sortKey)
  if (type.name === 'Float') return floatCompared(of, op, sortKey)
  if (op !== '=' && isText(type, native) && /[\u{e000}-\u{10ffff}]/u.test(sortKey)) return cypher`(${codePoints(of)} ${[op]} ${value(pointsOf(sortKey))})`
  return cypher`(${of} ${[op]} ${value(graphValue(type, native, sortKey))})`
}

// --- numbers ---------------------------------------------------------------------------------------------------------------------------------------------------

/** Beyond 64 bits: all stored ones are below, or above. */
function isNumberBeyond(type: ValueType, sortKey: string): boolean {
  return type.name === 'BigInt' && BigInt.asIntN(64, BigInt(sortKey)) !== BigInt(sortKey)
}

function numberBeyond(of: Cypher, op: CompareOp, sortKey: string): Cypher {
  const order = sortKey.startsWith('-') ? 1 : -1
  return cypher`(CASE WHEN ${isKnown(of)} THEN ${[String(fitsOrder(op, order))]} END)`
}

/** NaN is above all numbers; no operand is one. */
function floatCompared(of: Cypher, op: CompareOp, sortKey: string): Cypher {
  const plain = cypher`(${of} ${[op]} ${value(Number(sortKey))})`
  return op === '>' || op === '>=' ? cypher`(${plain} OR isNaN(${of}))` : plain
}

/** Where no integer at all could fit, there is nothing to compare: that is unknown, as in memory. */
function isBeyondInteger({ field, native }: Compared, op: CompareOp, sortKey: string): boolean {
  if (field.type.name !== 'BigInt' || native !== 'INTEGER') return false
  const operand = BigInt(sortKey)
  const fits = {
    '=': operand >= INTEGER_MIN && operand <= INTEGER_MAX,
    '<': operand > INTEGER_MIN,
    '<=': operand >= INTEGER_MIN,
    '>': operand < INTEGER_MAX,
    '>=': operand <= INTEGER_MAX,
  }
  return !fits[op]
}

const INTEGER_MIN = -(2n ** 63n)
const INTEGER_MAX = 2n ** 63n - 1n

// --- texts -----------------------------------------------------------------------------------------------------------------------------------------------------

export function isText(type: ValueType, native: NativeType | null): boolean {
  return type.kind === 'enum' || type.name === 'String' || (type.name === 'ID' && native !== 'INTEGER')
}

/**
 * Neo4j compares a stored text with a parameter, and texts that it made, by units of UTF-16, of which those of characters beyond U+FFFF are below U+E000. Where that could tell, lists of characters are
 * compared, of which those beyond U+FFFF stand behind one that is above all others.
 */
export function codePoints(of: Cypher): Cypher {
  const at = cypher`substring(${of}, i, 1)`
  const isBeyond = cypher`${at} > ${value(LAST_BELOW)} AND ${at} < ${value(FIRST_ABOVE)}`
  const each = cypher`CASE WHEN ${isBeyond} THEN ${value(LAST)} + ${at} ELSE ${at} END`
  return cypher`(CASE WHEN ${isKnown(of)} THEN [i IN range(0, size(${of}) - 1) | ${each}] END)`
}

function pointsOf(text: string): readonly string[] {
  return [...text].map((point) => (point.length > 1 ? `${LAST}${point}` : point))
}

const [LAST_BELOW, FIRST_ABOVE, LAST] = ['\u{d7ff}', '\u{e000}', '\u{ffff}']
