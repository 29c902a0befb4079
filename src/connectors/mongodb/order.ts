/** The total order of a view's rows, and where a page starts in it. */
import { invariant } from '../../errors.js'
import type { NativeType } from '../../query/binding.js'
import type { ValueField } from '../../query/catalog.js'
import { operandValue } from '../../query/evaluate.js'
import type { ListPlan, OrderKey, PageStart } from '../../query/plan.js'
import type { Operand } from '../../query/predicate.js'
import type { Values } from '../connector.js'
import { hasNaN, isNaN } from './comparison.js'
import { bsonOf } from './operand.js'
import type { Reader } from './reader.js'
import { allOf, anyOf, literal, Place, type Stage, type Template } from './template.js'

/** One term, in the direction of reading. Nulls and NaN have ranks of their own, since MongoDB has them below all values. */
export interface SortTerm {
  readonly field: ValueField
  readonly native: NativeType | null
  readonly value: Template
  readonly descending: boolean
  readonly nullsFirst: boolean
}

export interface Ordered {
  readonly terms: readonly SortTerm[]
  /** How many of them are the caller's; the key follows. */
  readonly own: number
}

/** The caller's order, then the view's key; a list that goes backward is read from its end. */
export function orderOf(list: ListPlan, reader: Reader): Ordered {
  const own = list.order.map((key) => ownTerm(key, reader, list.backward))
  const key = reader.key.map((field): SortTerm => ({ ...reader.compared(field, 'view'), descending: list.backward, nullsFirst: list.backward }))
  return { terms: [...own, ...key], own: own.length }
}

function ownTerm(key: OrderKey, reader: Reader, backward: boolean): SortTerm {
  const { field, native, value } = orderValue(key, reader)
  // An ID is a text, whatever holds it: owners are merged by its digits.
  const isNumber = field.type.name === 'ID' && (native === 'int' || native === 'long')
  return {
    field,
    native: isNumber ? null : native,
    value: isNumber ? { $toString: value } : value,
    descending: key.descending !== backward,
    nullsFirst: (key.nulls === 'first') !== backward,
  }
}

function orderValue({ path, ...key }: OrderKey, reader: Reader): Pick<SortTerm, 'field' | 'native' | 'value'> {
  const [step, ...rest] = path
  if (step === undefined) return reader.compared(key.field, 'view')
  const found = reader.isAbsent(step)
    ? null
    : reader.lookup(step, 'view', (target) => {
        const inner = orderValue({ ...key, path: rest }, target)
        return { stages: [{ $limit: 1 }, { $replaceWith: { x: inner.value } }], result: inner }
      })
  if (!found) return { field: targetField(path, key.field, reader), native: null, value: null }
  reader.lookups.push(found.stage)
  return { ...found.result, value: { $ifNull: [{ $getField: { field: 'x', input: { $arrayElemAt: [found.found, 0] } } }, null] } }
}

function targetField(path: readonly string[], field: string, reader: Reader): ValueField {
  const entity = path.reduce((from, step) => {
    const relation = from.fields.get(step)
    const target = relation && relation.kind !== 'value' ? reader.plan.catalog.entities.get(relation.target) : undefined
    invariant(target, 'an order goes through relations')
    return target
  }, reader.entity)
  const definition = entity.fields.get(field)
  invariant(definition?.kind === 'value', 'an order goes by a value')
  return definition
}

const [RANK_FIRST, RANK_BELOW, RANK_VALUE, RANK_ABOVE, RANK_LAST] = [0, 1, 2, 3, 4]

function rank({ value, field, descending, nullsFirst }: SortTerm): Template {
  const known = hasNaN(field.type) ? { $cond: [isNaN(value), descending ? RANK_BELOW : RANK_ABOVE, RANK_VALUE] } : RANK_VALUE
  return { $cond: [{ $eq: [value, null] }, nullsFirst ? RANK_FIRST : RANK_LAST, known] }
}

/** Adds `s`, leaves out what lies before the page's start, and sorts. */
export function sortStages(ordered: Ordered, start: PageStart | undefined): Stage[] {
  const { terms } = ordered
  const sorted = Object.fromEntries(terms.flatMap((term, index) => [[`r${index}`, rank(term)], [`v${index}`, term.value]])) // prettier-ignore
  const by = Object.fromEntries(terms.flatMap(({ descending }, index) => [[`s.r${index}`, 1], [`s.v${index}`, descending ? -1 : 1]])) // prettier-ignore
  return [
    { $set: { s: sorted } },
    ...(start ? [{ $match: { $expr: new Place('page start', (values) => beyond(ordered, start, values)) } }] : []),
    { $sort: by },
  ]
}

/** Lexicographic, term by term; see `PageStart` for the sides. */
function beyond({ terms, own }: Ordered, start: PageStart, values: Values): Template {
  const operands: readonly (Operand | null)[] = [
    ...start.values.map((operand, index) => (start.nulls[index] ? null : operand)),
    ...(start.side === 'same' ? start.key : []),
  ]
  return operands.reduceRight<Template>((after, operand, index) => {
    const term = terms[index]
    invariant(term && (index < own || start.side === 'same'), 'a cursor has a value for each term')
    return afterTerm(term, index, operand && textOf(operand, values), after)
  }, start.side === 'after')
}

function textOf(operand: Operand, values: Values): string {
  const value = operandValue(operand, values)
  invariant(value !== null && typeof value !== 'object', 'a cursor has the values that it needs')
  return String(value)
}

/** After the cursor's value in this term, or the same in it and `after` in those that follow. */
function afterTerm({ field, native, descending, nullsFirst }: SortTerm, index: number, text: string | null, after: Template): Template {
  const at = text === null ? (nullsFirst ? RANK_FIRST : RANK_LAST) : hasNaN(field.type) && text === 'NaN' ? (descending ? RANK_BELOW : RANK_ABOVE) : RANK_VALUE
  const [rankPath, valuePath] = [`$s.r${index}`, `$s.v${index}`]
  const isSameRank = { $eq: [rankPath, at] }
  const isLater = { $gt: [rankPath, at] }
  if (text === null || at !== RANK_VALUE) return anyOf([isLater, allOf([isSameRank, after])])
  const operand = bsonOf(field.type, native, text)
  // Of an operand between two values: the lower one comes before it.
  const operator = operand.exact ? (descending ? '$lt' : '$gt') : descending ? '$lte' : '$gt'
  const isBeyond = { [operator]: [valuePath, literal(operand.value)] }
  const isSame = operand.exact ? allOf([{ $eq: [valuePath, literal(operand.value)] }, after]) : false
  return anyOf([isLater, allOf([isSameRank, anyOf([isBeyond, isSame])])])
}
