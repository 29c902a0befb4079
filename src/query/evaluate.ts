/**
 * What a predicate means, on rows in memory. A caller's `where` is two-valued over rows of the readable view; a policy's condition is three-valued over the owner's
 * raw rows (see `predicate.ts`). Stores must agree with this.
 */
import { invariant } from '../errors.js'
import type { NativeType } from './binding.js'
import type { EntityType, ValueField } from './catalog.js'
import { jsonContains, parseJson } from './json-value.js'
import { compareSortKeys, fitsOrder } from './order.js'
import type { CompareOp, Operand, Predicate, Scalar } from './predicate.js'
import { operandSortKey } from './value.js'

/** The sort key of a value (of a JSON value its text), a list of them, or null. */
export type FieldValue = string | null | readonly (string | null)[]

/** A row as a predicate sees it: of the readable view, or raw. */
export interface FieldRow {
  readonly entity: EntityType
  readonly id: string
  value(field: string): FieldValue
  /** The type of the field's column, or null where the value is a text whatever the column is. */
  native(field: string): NativeType | null
  /** False where the owner's binding has nothing for the field; absent: every field has. */
  isBound?(field: string): boolean
  /** Rows that a relation, to one or to many, leads to. */
  related(field: string): readonly FieldRow[]
}

/** The values of a request, as `Values` of connectors/connector.ts has them. */
export interface OperandValues {
  readonly slots: readonly (Scalar | readonly Scalar[] | null)[]
  readonly claims: ReadonlyMap<string, Scalar | readonly Scalar[]>
  readonly steps?: readonly (readonly Scalar[])[]
}

/** Null is unknown. */
export type Truth = boolean | null

/** Whether a row fits a caller's condition: what is unknown does not fit, and `not` is an exact complement. */
export function fits(where: Predicate, row: FieldRow, values: OperandValues): boolean {
  return evaluate(where, row, { values, unknown: false }) ?? false
}

/** What a policy's condition says of a row, in Kleene's logic. */
export function truthOf(condition: Predicate, row: FieldRow, values: OperandValues): Truth {
  return evaluate(condition, row, { values, unknown: null })
}

/** The value of an operand; null where a slot has none or a claim is missing. */
export function operandValue(operand: Operand, values: OperandValues): Scalar | readonly Scalar[] | null {
  switch (operand.kind) {
    case 'constant':
      return operand.value
    case 'slot':
      return values.slots[operand.index] ?? null
    case 'claim': {
      const claim = values.claims.get(operand.name) ?? null
      // An empty list of a token must not widen access: `notIn` of it would be true.
      return claim !== null && isList(claim) && claim.length === 0 ? null : claim
    }
    case 'step':
      return values.steps?.[operand.index] ?? null
  }
}

/** `unknown` is what an unknown comparison counts as: this alone tells the two logics apart. */
interface Logic {
  readonly values: OperandValues
  readonly unknown: false | null
}

function evaluate(predicate: Predicate, row: FieldRow, logic: Logic): Truth {
  switch (predicate.kind) {
    case 'all':
      return true
    case 'none':
      return false
    case 'and':
      return all(predicate.terms.map((term) => evaluate(term, row, logic)))
    case 'or':
      return any(predicate.terms.map((term) => evaluate(term, row, logic)))
    case 'not':
      return negation(evaluate(predicate.term, row, logic))
    case 'isTrue':
      return evaluate(predicate.term, row, logic) === true
    case 'isFalse':
      return evaluate(predicate.term, row, logic) === false
    case 'isNull':
      // A policy that asks for null means the owner's column: a binding that lost it must not make the answer true.
      return row.isBound?.(predicate.field) === false ? logic.unknown : row.value(predicate.field) === null
    case 'related':
      if (row.isBound?.(predicate.field) === false) return logic.unknown
      return row.related(predicate.field).some((target) => evaluate(predicate.where, target, logic) === true)
    case 'linked':
      throw new Error('invariant: rows in memory need no steps')
    case 'idIn':
      return idIn(row.id, operandValue(predicate.operand, logic.values)) ?? logic.unknown
    case 'in':
    case 'compare':
    case 'like':
    case 'startsWith':
    case 'contains':
    case 'listContains':
    case 'jsonContains':
      return comparison(predicate, row, operandValue(predicate.operand, logic.values)) ?? logic.unknown
  }
}

function all(truths: readonly Truth[]): Truth {
  return truths.includes(false) ? false : truths.includes(null) ? null : true
}

function any(truths: readonly Truth[]): Truth {
  return truths.includes(true) ? true : truths.includes(null) ? null : false
}

function negation(truth: Truth): Truth {
  return truth === null ? null : !truth
}

function idIn(id: string, operand: Scalar | readonly Scalar[] | null): Truth {
  return operand === null ? null : listOf(operand).includes(id)
}

type Comparison = Extract<Predicate, { kind: 'compare' | 'in' | 'like' | 'startsWith' | 'contains' | 'listContains' | 'jsonContains' }>

/** Unknown where the row's value is null, or the operand is missing, of another shape, or not canonical for the field's type. */
function comparison(term: Comparison, row: FieldRow, operand: Scalar | readonly Scalar[] | null): Truth {
  const field = row.entity.fields.get(term.field)
  invariant(field?.kind === 'value', `\`${term.field}\` is a value field`)
  const value = row.value(term.field)
  const sortKey = (scalar: Scalar): string | null => operandSortKey(field.type, row.native(term.field), scalar)
  if (operand === null) return null
  const compare = (op: CompareOp, scalar: Scalar): Truth => {
    const truth = compared(field, op, [value, sortKey(scalar)])
    const isBigint = field.type.name === 'BigInt' && row.native(term.field) === 'bigint'
    return truth === false && isBigint && !someBigintFits(op, BigInt(String(scalar))) ? null : truth
  }
  if (term.kind === 'in') return any(listOf(operand).map((scalar) => compare('=', scalar)))
  if (term.kind === 'listContains') return holdsAll(field, value, listOf(operand).map(sortKey))
  if (isList(operand)) return null
  if (term.kind === 'compare') return compare(term.op, operand)
  const text = sortKey(operand)
  if (text === null || value === null || isList(value)) return null
  switch (term.kind) {
    case 'like':
      return term.fold ? matchesLike(foldAscii(value), foldAscii(text)) : matchesLike(value, text)
    case 'startsWith':
      return value.startsWith(text)
    case 'contains':
      return value.includes(text)
    case 'jsonContains':
      return isBeyondJsonb(value) ? null : jsonContains(parseJson(value), parseJson(text))
  }
}

/** A `json` column can hold what `jsonb` refuses: escapes of U+0000 and of lone surrogates, and numbers of too many digits. Such a text fits nothing. */
function isBeyondJsonb(text: string): boolean {
  return /\\u0000|\\ud[89ab]..(?!\\ud[c-f])|(?<!\\ud[89ab]..)\\ud[c-f]|e[+-]?\d{4}|\d{1000}/i.test(text)
}

function compared(field: ValueField, op: CompareOp, [value, operand]: readonly [FieldValue, string | null]): Truth {
  if (value === null || operand === null || isList(value)) return null
  return fitsOrder(op, compareSortKeys(field.type, value, operand))
}

/** Nulls among the elements of a stored list equal nothing. */
function holdsAll(field: ValueField, value: FieldValue, elements: readonly (string | null)[]): Truth {
  if (value === null || !isList(value)) return null
  return all(elements.map((element) => (element === null ? null : value.some((own) => own !== null && compareSortKeys(field.type, own, element) === 0))))
}

const BIGINT_MIN = -(2n ** 63n)
const BIGINT_MAX = 2n ** 63n - 1n

/** Where no bigint at all could fit, there is nothing to compare: that is unknown, as it is for a value that is not canonical. */
function someBigintFits(op: CompareOp, operand: bigint): boolean {
  switch (op) {
    case '=':
      return operand >= BIGINT_MIN && operand <= BIGINT_MAX
    case '<':
      return operand > BIGINT_MIN
    case '<=':
      return operand >= BIGINT_MIN
    case '>':
      return operand < BIGINT_MAX
    case '>=':
      return operand <= BIGINT_MAX
  }
}

function listOf(operand: Scalar | readonly Scalar[]): readonly Scalar[] {
  return isList(operand) ? operand : [operand]
}

function isList<Item>(value: Scalar | null | readonly Item[]): value is readonly Item[] {
  return typeof value === 'object' && value !== null
}

function foldAscii(text: string): string {
  return text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase())
}

/** SQL LIKE: `%` any text, `_` one code point, `\` takes the next character as it is. Only the last `%` is ever tried anew, so the time is bounded by the product of the lengths. */
export function matchesLike(text: string, pattern: string): boolean {
  const points = [...text]
  const parts = likeParts(pattern)
  let [at, part] = [0, 0]
  let retry: { readonly part: number; at: number } | null = null
  while (at < points.length) {
    const current = parts[part]
    if (current?.kind === 'any') {
      retry = { part: part + 1, at }
      part++
    } else if (current && (current.kind === 'one' || (current.kind === 'point' && current.point === points[at]))) {
      at++
      part++
    } else if (retry) {
      retry.at++
      ;[at, part] = [retry.at, retry.part]
    } else return false
  }
  return parts.slice(part).every(({ kind }) => kind === 'any')
}

type LikePart = { readonly kind: 'any' | 'one' } | { readonly kind: 'point'; readonly point: string }

function likeParts(pattern: string): LikePart[] {
  const parts: LikePart[] = []
  let escaped = false
  for (const point of pattern) {
    if (!escaped && point === '\\') escaped = true
    else {
      parts.push(escaped || (point !== '%' && point !== '_') ? { kind: 'point', point } : { kind: point === '%' ? 'any' : 'one' })
      escaped = false
    }
  }
  invariant(!escaped, 'a pattern ends in a lone backslash')
  return parts
}
