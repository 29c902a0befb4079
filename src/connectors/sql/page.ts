/** Pages of a view: the total order of its rows, where a page starts, and how far it goes. */
import { invariant } from '../../errors.js'
import type { ListPlan, OrderKey, PageStart } from '../../query/plan.js'
import type { Operand } from '../../query/predicate.js'
import type { Compilation, Scope } from './condition.js'
import { condition, conjunction, fieldValue, fromTable, openView, relationLink, relationOf, where } from './condition.js'
import type { Expression } from './expression.js'
import { encodingOf, ordered, sortParameter } from './expression.js'
import type { Fragment } from './fragment.js'
import { EMPTY, join, parameter, sql } from './fragment.js'
import { isScored, scored, scoreValue } from './search.js'

export type ViewScope = Extract<Scope, { kind: 'view' }>

export function isAbsent(field: string, scope: ViewScope): boolean {
  return scope.view.fields.get(field)?.kind === 'absent'
}

export function keyValues(scope: ViewScope, compiled: Compilation): readonly Expression[] {
  const entity = compiled.plan.catalog.entities.get(scope.view.type)
  invariant(entity, `type \`${scope.view.type}\``)
  return entity.key.map((field) => fieldValue(scope, field, compiled))
}

export interface SortTerm {
  readonly value: Expression
  readonly descending: boolean
  readonly nullsFirst: boolean
}

/** The caller's order, then the key: a total order of the owner's view. Backward pages read it from the end. */
export function sortTerms(list: ListPlan, scope: ViewScope, compiled: Compilation): { readonly order: readonly SortTerm[]; readonly key: readonly SortTerm[] } {
  const turn = (term: SortTerm): SortTerm => (list.backward ? { ...term, descending: !term.descending, nullsFirst: !term.nullsFirst } : term)
  const order = list.order.map((key) =>
    turn({ value: list.search ? scoreValue(scope) : orderValue(key, scope, compiled), descending: key.descending, nullsFirst: key.nulls === 'first' }),
  )
  const key = keyValues(scope, compiled).map((value) => turn({ value, descending: false, nullsFirst: false }))
  return { order, key }
}

function orderValue(key: OrderKey, scope: ViewScope, compiled: Compilation): Expression {
  const [step, ...rest] = key.path
  if (step === undefined) {
    const value = fieldValue(scope, key.field, compiled)
    // An ID is a text, whatever holds it: owners are merged by its digits. (The key that closes the order is compared within its owner only.)
    return value.type.name === 'ID' && value.form === 'bigint' ? { ...value, form: 'text', sql: sql`(${value.sql})::text` } : value
  }
  const to = openView(relationOf(step, scope, compiled).target, compiled)
  if (!to || isAbsent(step, scope)) {
    const field = targetField(key, scope, compiled)
    return { sql: sql`NULL::text`, form: 'text', array: false, nullable: true, type: field, stored: null }
  }
  const inner = orderValue({ ...key, path: rest }, to, compiled)
  return {
    ...inner,
    nullable: true,
    stored: null,
    sql: sql`(SELECT ${inner.sql} FROM ${fromTable(to)} WHERE ${where(to, relationLink(step, scope, to, compiled), compiled)})`,
  }
}

function targetField(key: OrderKey, scope: ViewScope, compiled: Compilation): Expression['type'] {
  let type = scope.view.type
  for (const step of key.path) {
    const relation = compiled.plan.catalog.entities.get(type)?.fields.get(step)
    invariant(relation && relation.kind !== 'value', 'a relation')
    type = relation.target
  }
  const field = compiled.plan.catalog.entities.get(type)?.fields.get(key.field)
  invariant(field?.kind === 'value', 'a value')
  return field.type
}

export function orderBy(terms: readonly SortTerm[]): Fragment {
  return join(
    terms.map((term) => {
      const direction = { parts: [{ kind: 'text' as const, text: `${term.descending ? ' DESC' : ' ASC'} NULLS ${term.nullsFirst ? 'FIRST' : 'LAST'}` }] }
      // A key is never null, and a plain index is built NULLS LAST ascending: say only what the index says.
      return term.value.nullable ? sql`${ordered(term.value)}${direction}` : sql`${ordered(term.value)}${term.descending ? sql` DESC` : EMPTY}`
    }),
    ', ',
  )
}

/**
 * Rows after the cursor's place in the order: lexicographic, term by term. Of the owners, those before the cursor's owner go strictly after its sort values, those
 * after it also take rows that equal them, and the cursor's own goes on by key. (Backward pages come with the order turned, sides included.)
 */
export function afterStart(start: PageStart, terms: { readonly order: readonly SortTerm[]; readonly key: readonly SortTerm[] }): Fragment {
  const steps = [
    ...terms.order.map((term, index) => ({ term, operand: start.values[index], isNull: start.nulls[index] ?? false })),
    ...(start.side === 'same' ? terms.key.map((term, index) => ({ term, operand: start.key[index], isNull: false })) : []),
  ]
  let condition: Fragment = start.side === 'after' ? sql`TRUE` : sql`FALSE`
  for (const { term, operand, isNull } of steps.reverse()) {
    const { value } = term
    if (isNull) {
      const beyond = term.nullsFirst ? sql`${value.sql} IS NOT NULL` : sql`FALSE`
      condition = sql`(${beyond} OR (${value.sql} IS NULL AND ${condition}))`
      continue
    }
    invariant(operand, 'a cursor has a value for each term')
    const { beyond, same } = placeOf(term, operand)
    const orNull = value.nullable && !term.nullsFirst ? sql` OR ${value.sql} IS NULL` : EMPTY
    condition = sql`(${beyond}${orNull} OR (${same} AND ${condition}))`
  }
  return condition
}

/** Whether a row's value comes after the cursor's in the order of the term, and whether it is the same. */
function placeOf({ value, descending }: SortTerm, operand: Operand): { readonly beyond: Fragment; readonly same: Fragment } {
  if (value.form === 'bigint' && value.type.name === 'BigInt') {
    // The cursor's row may be another owner's, and its value one that no bigint holds.
    const same = sql`${value.sql} = ${parameter(operand, encodingOf(value.form, value.type), 'bigint')}`
    if (descending) return { beyond: sql`${value.sql} <= ${parameter(operand, { kind: 'atMost', by: -1 }, 'bigint')}`, same }
    return { beyond: sql`${value.sql} >= ${parameter(operand, { kind: 'atLeast', by: 1 }, 'bigint')}`, same }
  }
  const place = sortParameter(value, operand)
  const left = ordered(value)
  return { beyond: descending ? sql`${left} < ${place}` : sql`${left} > ${place}`, same: sql`${value.sql} = ${place}` }
}

/** `fromTable`, WHERE, ORDER BY and LIMIT of a page. `plus` rows more than the page tell whether there are more. */
export function pageOf(
  list: ListPlan,
  scope: ViewScope,
  links: readonly Fragment[],
  plus: number,
  compiled: Compilation,
): { readonly tail: Fragment; readonly filter: Fragment } {
  const terms = sortTerms(list, scope, compiled)
  const start = compiled.plan.starts.get(list.path)
  const filter = where(scope, [...links, condition(list.where, scope, compiled)], compiled)
  const limit = parameter(list.limit, { kind: 'limit', plus }, 'bigint')
  const tail = sql` ORDER BY ${orderBy([...terms.order, ...terms.key])} LIMIT ${limit}`
  const beyond = start ? [afterStart(start, terms)] : []
  if (list.search)
    return { tail: sql` FROM ${scored(list.search, filter, limit, scope, compiled)} WHERE ${conjunction([isScored(scope), ...beyond])}${tail}`, filter }
  return { tail: sql` FROM ${fromTable(scope)} WHERE ${conjunction([filter, ...beyond])}${tail}`, filter }
}
