/** One comparison of a field with a value: what Milvus is asked, or what is known without asking. No field of a row is null there. */
import type { ColumnBinding, NativeType } from '../../query/binding.js'
import type { ValueField } from '../../query/catalog.js'
import { compareSortKeys, fitsOrder } from '../../query/order.js'
import type { CompareOp, Scalar } from '../../query/predicate.js'
import { operandSortKey } from '../../query/value.js'
import { comparedNative, INTEGER_BITS } from './field-type.js'
import { ALWAYS, allOf, anyOf, type Filter, negated, NEVER, textFilter } from './filter.js'
import { floatLiteral, integerLiteral, nameText, textLiteral } from './literal.js'

/** When a condition is TRUE and when it is FALSE; where neither holds it is unknown. */
export interface Truth {
  readonly isTrue: Filter
  readonly isFalse: Filter
}

export const UNKNOWN: Truth = { isTrue: NEVER, isFalse: NEVER }

/** A field as it is compared. `shown`: in which rows it has its value; in others it is null. */
export interface Compared {
  readonly field: ValueField
  readonly column: Extract<ColumnBinding, { kind: 'column' }>
  readonly shown: Filter
}

export function comparison(of: Compared, op: CompareOp, scalar: Scalar): Truth {
  const sortKey = sortKeyOf(of, scalar)
  if (sortKey === null || isBeyondBigint(of, op, sortKey)) return UNKNOWN
  const { values } = of.column
  if (!values) return shownTruth(of, compared(of, op, sortKey))
  const stored = (fits: boolean): readonly string[] =>
    [...values].flatMap(([text, name]) => (fitsOrder(op, compareSortKeys(of.field.type, name, sortKey)) === fits ? [text] : []))
  return { isTrue: allOf([of.shown, oneOf(of.column, stored(true))]), isFalse: allOf([of.shown, oneOf(of.column, stored(false))]) }
}

/** Thousands of values are one list of literals. */
export function membership(of: Compared, scalars: readonly Scalar[]): Truth {
  if (scalars.length === 0) return { isTrue: NEVER, isFalse: ALWAYS }
  const isPlain = !of.column.values && (of.column.native === 'VarChar' || INTEGER_BITS.has(of.column.native))
  if (!isPlain) {
    const each = scalars.map((scalar) => comparison(of, '=', scalar))
    return { isTrue: anyOf(each.map(({ isTrue }) => isTrue)), isFalse: allOf(each.map(({ isFalse }) => isFalse)) }
  }
  const sortKeys = scalars.map((scalar) => sortKeyOf(of, scalar))
  const known = sortKeys.filter((sortKey) => sortKey !== null && !isBeyondBigint(of, '=', sortKey))
  const truth = shownTruth(of, oneOf(of.column, known.map(String)))
  return known.length === sortKeys.length ? truth : { isTrue: truth.isTrue, isFalse: NEVER }
}

/** Every element of the operand is an element of the stored list. */
export function holdsAll(of: Compared, scalars: readonly Scalar[]): Truth {
  const sortKeys = scalars.map((scalar) => sortKeyOf(of, scalar))
  const held = sortKeys.flatMap((sortKey) => (sortKey === null ? [] : [holds(of.column, sortKey)]))
  return {
    isTrue: held.length === sortKeys.length ? allOf([of.shown, ...held]) : NEVER,
    isFalse: allOf([of.shown, anyOf(held.map(negated))]),
  }
}

/** Whether the field has a value in the row. */
export function isKnown({ column, shown }: Compared): Filter {
  return column.values ? allOf([shown, oneOf(column, [...column.values.keys()])]) : shown
}

function shownTruth({ shown }: Compared, fits: Filter): Truth {
  return { isTrue: allOf([shown, fits]), isFalse: allOf([shown, negated(fits)]) }
}

/** Null: the operand is not canonical for the field, and matches nothing. */
function sortKeyOf({ field, column }: Compared, scalar: Scalar): string | null {
  return operandSortKey(field.type, comparedNative(column.native), scalar)
}

function compared({ field, column }: Compared, op: CompareOp, sortKey: string): Filter {
  const { native } = column
  const bits = INTEGER_BITS.get(native)
  if (bits !== undefined) return comparedInteger(column, op, BigInt(sortKey), bits)
  if (native === 'Bool')
    return anyOf(['true', 'false'].map((text) => (fitsOrder(op, compareSortKeys(field.type, text, sortKey)) ? asked(column, '=', text) : NEVER)))
  if (native === 'VarChar') return asked(column, op, textLiteral(sortKey))
  return native === 'Float' ? comparedSingle(column, op, Number(sortKey)) : comparedFloat(column, op, Number(sortKey))
}

/** Beyond what the field can hold it is known without asking. */
function comparedInteger(column: Compared['column'], op: CompareOp, operand: bigint, bits: bigint): Filter {
  const [least, most] = [-(2n ** (bits - 1n)), 2n ** (bits - 1n) - 1n]
  if (operand > most) return op === '<' || op === '<=' ? ALWAYS : NEVER
  if (operand < least) return op === '>' || op === '>=' ? ALWAYS : NEVER
  if (operand > -(2n ** 63n)) return asked(column, op, integerLiteral(operand))
  // The least int64 has no literal.
  const isLeast = asked(column, '<', integerLiteral(operand + 1n))
  return op === '<' ? NEVER : op === '>=' ? ALWAYS : op === '>' ? negated(isLeast) : isLeast
}

/** NaN is above all numbers in the contract, and fits no comparison in Milvus. */
function comparedFloat(column: Compared['column'], op: CompareOp, operand: number): Filter {
  const literal = floatLiteral(operand)
  return op === '>' || op === '>=' ? negated(asked(column, op === '>' ? '<=' : '<', literal)) : asked(column, op, literal)
}

const SINGLE_MAX = 3.4028234663852886e38

/** Milvus rounds the operand to the field's single precision, which would make it equal to values that it is not. */
function comparedSingle(column: Compared['column'], op: CompareOp, operand: number): Filter {
  const rounded = Math.fround(Math.max(-SINGLE_MAX, Math.min(SINGLE_MAX, operand)))
  if (rounded === operand) return comparedFloat(column, op, operand)
  if (op === '=') return NEVER
  const isBelow = comparedFloat(column, rounded > operand ? '<' : '<=', rounded)
  return op === '<' || op === '<=' ? isBelow : negated(isBelow)
}

function holds(column: Compared['column'], sortKey: string): Filter {
  const literal = itemLiteral(column.native, sortKey)
  return literal === null ? NEVER : textFilter(`array_contains(${nameText(column.column)}, ${literal})`)
}

/** Whether the field holds one of these: texts of strings, or of integers. */
export function oneOf(column: Compared['column'], texts: readonly string[]): Filter {
  const least = texts.some((text) => INTEGER_BITS.has(column.native) && text === LEAST) ? [comparedInteger(column, '=', BigInt(LEAST), 64n)] : []
  const literals = texts.flatMap((text) => itemLiteral(column.native, text) ?? [])
  return anyOf([...least, literals.length === 0 ? NEVER : textFilter(`${nameText(column.column)} in [${literals.join(', ')}]`)])
}

const LEAST = String(-(2n ** 63n))

/** Null: no field of this type holds it, or it has no literal. */
function itemLiteral(native: NativeType, text: string): string | null {
  const bits = INTEGER_BITS.get(native)
  if (bits === undefined) return textLiteral(text)
  const value = BigInt(text)
  return value > -(2n ** 63n) && BigInt.asIntN(Number(bits), value) === value ? integerLiteral(value) : null
}

function asked({ column }: Compared['column'], op: CompareOp, literal: string): Filter {
  return textFilter(`${nameText(column)} ${op === '=' ? '==' : op} ${literal}`)
}

const [BIGINT_MIN, BIGINT_MAX] = [-(2n ** 63n), 2n ** 63n - 1n]

/** Where no int64 at all could fit, there is nothing to compare: that is unknown, as in memory. */
function isBeyondBigint({ field }: Compared, op: CompareOp, sortKey: string): boolean {
  if (field.type.name !== 'BigInt') return false
  const operand = BigInt(sortKey)
  switch (op) {
    case '=':
      return operand < BIGINT_MIN || operand > BIGINT_MAX
    case '<':
      return operand <= BIGINT_MIN
    case '<=':
      return operand < BIGINT_MIN
    case '>':
      return operand >= BIGINT_MAX
    case '>=':
      return operand > BIGINT_MAX
  }
}
