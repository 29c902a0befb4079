/** The total order of a view's rows, and where a page starts in it. */
import { invariant } from '../../errors.js'
import { operandValue } from '../../query/evaluate.js'
import type { ValueField } from '../../query/catalog.js'
import type { ListPlan, OrderKey, PageStart } from '../../query/plan.js'
import type { Operand } from '../../query/predicate.js'
import type { Values } from '../connector.js'
import { codePoints, compared, type Compared, isText } from './comparison.js'
import { allOf, anyOf, type Cypher, cypher, FALSE, join, NULL, place, TRUE } from './cypher.js'
import type { Reader } from './reader.js'

/** One term, in the direction of reading. Nulls and NaN have ranks of their own. */
export interface SortTerm extends Compared {
  readonly descending: boolean
  readonly nullsFirst: boolean
  /** A text that the statement made. */
  readonly isMade: boolean
}

export interface Ordered {
  readonly terms: readonly SortTerm[]
  /** How many of them are the caller's; the key follows. */
  readonly own: number
}

/** The caller's order, then the view's key; a list that goes backward is read from its end. */
export function orderOf(list: ListPlan, reader: Reader): Ordered {
  const own = list.order.map((key) => ownTerm(key, reader, list.backward))
  const key = reader.key.map((field): SortTerm => ({
    ...reader.compared(field, 'view'),
    descending: list.backward,
    nullsFirst: list.backward,
    isMade: reader.isMade(field),
  }))
  return { terms: [...own, ...key], own: own.length }
}

function ownTerm(key: OrderKey, reader: Reader, backward: boolean): SortTerm {
  const { compared: of, isMade } = orderValue(key, reader)
  // An ID is a text, whatever holds it: owners are merged by its digits.
  const isNumber = of.field.type.name === 'ID' && of.native === 'INTEGER'
  return {
    ...of,
    ...(isNumber && { native: null, value: cypher`toString(${of.value})` }),
    descending: key.descending !== backward,
    nullsFirst: (key.nulls === 'first') !== backward,
    isMade,
  }
}

function orderValue({ path, ...key }: OrderKey, reader: Reader): { readonly compared: Compared; readonly isMade: boolean } {
  const [step, ...rest] = path
  if (step === undefined) return { compared: reader.compared(key.field, 'view'), isMade: reader.isMade(key.field) }
  const found = reader.isAbsent(step) ? null : reader.step(step, 'view')
  if (!found) return { compared: { field: targetField(path, key.field, reader), native: null, value: NULL }, isMade: false }
  const { target, pattern } = found
  const inner = orderValue({ ...key, path: rest }, target)
  const first = cypher`head(COLLECT { MATCH ${pattern} WHERE ${target.isRow()} RETURN ${inner.compared.value} AS x ORDER BY ${keyOf(target)} LIMIT 1 })`
  return { compared: { ...inner.compared, value: cypher`CASE WHEN ${reader.isShown(step)} THEN ${first} END` }, isMade: inner.isMade }
}

/** The least of several, where a relation to one has them. */
export function keyOf(reader: Reader): Cypher {
  return join(
    reader.key.map((field) => reader.rawValue(field)),
    ', ',
  )
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

/** Of a value that has a name in the statement. */
function rank({ field, descending, nullsFirst }: SortTerm, of: Cypher): Cypher {
  const isNull = cypher`WHEN ${of} IS NULL THEN ${[String(nullsFirst ? RANK_FIRST : RANK_LAST)]}`
  const isNaN = field.type.name === 'Float' ? cypher` WHEN isNaN(${of}) THEN ${[String(descending ? RANK_BELOW : RANK_ABOVE)]}` : []
  return cypher`CASE ${isNull}${isNaN} ELSE ${[String(RANK_VALUE)]} END`
}

/** Both zeros are one. */
function sorted({ field, native, isMade }: SortTerm, of: Cypher): Cypher {
  if (field.type.name === 'Float') return cypher`${of} + 0.0`
  return isMade && isText(field.type, native) ? codePoints(of) : of
}

/** @param names of the terms' values. */
export function orderBy({ terms, own }: Ordered, names: readonly Cypher[]): Cypher {
  return join(
    terms.map((term, index) => {
      const of = names[index] ?? NULL
      const by = cypher`${sorted(term, of)}${[term.descending ? ' DESC' : '']}`
      return index < own ? cypher`${rank(term, of)}, ${by}` : by // a key is never null
    }),
    ', ',
  )
}

/** Lexicographic, term by term; see `PageStart` for the sides. */
export function isBeyond({ terms, own }: Ordered, names: readonly Cypher[], start: PageStart): Cypher {
  return place('page start', (values) => {
    const operands: readonly (Operand | null)[] = [
      ...start.values.map((operand, index) => (start.nulls[index] ? null : operand)),
      ...(start.side === 'same' ? start.key : []),
    ]
    return operands.reduceRight<Cypher>(
      (after, operand, index) => {
        const term = terms[index]
        const of = names[index]
        invariant(term && of && (index < own || start.side === 'same'), 'a cursor has a value for each term')
        return afterTerm({ ...term, value: of }, operand && textOf(operand, values), after)
      },
      start.side === 'after' ? TRUE : FALSE,
    )
  })
}

function textOf(operand: Operand, values: Values): string {
  const value = operandValue(operand, values)
  invariant(value !== null && typeof value !== 'object', 'a cursor has the values that it needs')
  return String(value)
}

/** After the cursor's value in this term, or the same in it and `after` in those that follow. */
function afterTerm(term: SortTerm, text: string | null, after: Cypher): Cypher {
  const { descending, nullsFirst, field } = term
  const isNaN = field.type.name === 'Float' && text === 'NaN'
  const at = text === null ? (nullsFirst ? RANK_FIRST : RANK_LAST) : isNaN ? (descending ? RANK_BELOW : RANK_ABOVE) : RANK_VALUE
  const own = rank(term, term.value)
  const isLater = cypher`${own} > ${[String(at)]}`
  const isSameRank = cypher`${own} = ${[String(at)]}`
  if (text === null || at !== RANK_VALUE) return anyOf([isLater, allOf([isSameRank, after])])
  const beyond = cypher`coalesce(${compared(term, descending ? '<' : '>', text)}, false)`
  const same = allOf([cypher`coalesce(${compared(term, '=', text)}, false)`, after])
  return anyOf([isLater, allOf([isSameRank, anyOf([beyond, same])])])
}
