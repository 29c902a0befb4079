/** From an authorized plan to one SQL statement, whatever its depth. Pure. */
import { invariant } from '../../errors.js'
import type { EntityType } from '../../query/catalog.js'
import type { ColumnBinding, TableBinding } from '../../query/binding.js'
import type { AggregatePlan, AuthorizedPlan, ListPlan, ReadableView, RowSelection, StepPlan } from '../../query/plan.js'
import { ALL, type Operand } from '../../query/predicate.js'
import { aggregateQuery } from './aggregate.js'
import type { Compilation } from './condition.js'
import { compilation, condition, fromTable, inverseShown, joinKey, keyFields, keyList, keyMembership, openView, plainColumn, where } from './condition.js'
import { type Expression, sortText } from './expression.js'
import type { Fragment, Parameter } from './fragment.js'
import { join, name, parameter, render, sql } from './fragment.js'
import { formatted } from './object-json.js'
import { pageOf, sortTerms, type ViewScope } from './page.js'
import { relationJson, rowJson } from './row.js'
import { seriesQuery } from './series.js'

/** A statement ready for its values. Columns: `total` and a mark that a row is there (where `hasTotal`), texts, and keys where the plan asks for them. */
export interface SqlStatement {
  readonly kind: 'statement'
  readonly text: string
  readonly parameters: readonly Parameter[]
  /** How many columns are row texts. */
  readonly texts: number
  readonly hasTotal: boolean
}

/** The view is an empty table: nothing to ask, and the answer is known. */
export interface EmptyAnswer {
  readonly kind: 'empty'
  readonly hasTotal: boolean
  /** An aggregate over no rows may still have a group. */
  readonly aggregate: { readonly plan: AggregatePlan; readonly entity: EntityType } | null
}

/** @param byIndex the statement may miss rows; see `hasIndex` of `search.ts`. */
export function compileStatement(plan: AuthorizedPlan, byIndex = false): SqlStatement | EmptyAnswer {
  const compiled = compilation(plan, byIndex)
  if (plan.plan.kind === 'aggregate') {
    const { aggregate } = plan.plan
    const scope = openView(aggregate.type, compiled)
    if (scope) return { kind: 'statement', ...render(aggregateQuery(aggregate, scope, compiled)), texts: 0, hasTotal: false }
    const entity = plan.catalog.entities.get(aggregate.type)
    invariant(entity, `type \`${aggregate.type}\``)
    return { kind: 'empty', hasTotal: false, aggregate: { plan: aggregate, entity } }
  }
  if (plan.plan.kind === 'series') {
    const { series } = plan.plan
    const scope = openView(series.type, compiled)
    if (!scope) return { kind: 'empty', hasTotal: false, aggregate: null }
    return { kind: 'statement', ...render(seriesQuery(series, scope, compiled)), texts: 0, hasTotal: false }
  }
  if (plan.plan.kind === 'keys') return keysStatement(plan.plan, compiled)
  if (plan.plan.kind === 'attached') return attachedStatement(plan.plan, compiled)
  if (plan.plan.kind === 'outer') return outerStatement(plan.plan, compiled)
  const { list, withKeys } = plan.plan
  const hasTotal = list.fields.some((field) => field.kind === 'totalCount')
  const scope = openView(list.type, compiled)
  if (!scope) return { kind: 'empty', hasTotal, aggregate: null }
  return listStatement(list, scope, { hasTotal, withKeys }, compiled)
}

function keysStatement({ type, where: fitting, of, limit }: Extract<StepPlan, { kind: 'keys' }>, compiled: Compilation): SqlStatement | EmptyAnswer {
  const scope = openView(type, compiled)
  if (!scope) return { kind: 'empty', hasTotal: false, aggregate: null }
  const parts = joinKey(of, scope, compiled)
  const filter = where(
    scope,
    [
      condition(fitting, scope, compiled),
      ...(of === null ? [] : [inverseShown(of, scope, compiled)]),
      ...parts.filter(({ nullable }) => nullable).map((part) => sql`${part.sql} IS NOT NULL`),
    ],
    compiled,
  )
  const key = join(parts.map(sortText), ', ')
  const query = sql`SELECT DISTINCT ${key} FROM ${fromTable(scope)} WHERE ${filter} LIMIT ${parameter(limit, { kind: 'limit', plus: 1 }, 'bigint')}`
  return { kind: 'statement', ...render(query), texts: 0, hasTotal: false }
}

/** The row itself is found by its key. */
function attachedRows(row: RowSelection, keys: readonly Operand[], compiled: Compilation): SqlStatement | EmptyAnswer {
  const scope = openView(row.type, compiled)
  if (!scope) return { kind: 'empty', hasTotal: false, aggregate: null }
  const parts = joinKey(null, scope, compiled)
  const columns = [formatted(rowJson(row, scope, compiled)), ...parts.map(sortText)]
  const filter = where(scope, [keyMembership(parts, keys)], compiled)
  return { kind: 'statement', ...render(sql`SELECT ${join(columns, ', ')} FROM ${fromTable(scope)} WHERE ${filter}`), texts: 1, hasTotal: false }
}

/** The keys are a table, which the row joins where there is one. */
function outerStatement({ row, keys }: Extract<StepPlan, { kind: 'outer' }>, compiled: Compilation): SqlStatement | EmptyAnswer {
  const scope = openView(row.type, compiled)
  invariant(scope, 'what is joined lies in a table')
  const parts = joinKey(null, scope, compiled)
  const alias = compiled.alias()
  const from = tableOfKeys(alias, parts, keys)
  const link = where(
    scope,
    parts.map((part, index) => sql`${part.sql} = ${name(alias, keyColumn(index))}`),
    compiled,
  )
  const query = sql`SELECT ${formatted(rowJson(row, scope, compiled))} FROM ${from} LEFT JOIN ${fromTable(scope)} ON ${link} ORDER BY ${name(alias, 'n')}`
  return { kind: 'statement', ...render(query), texts: 1, hasTotal: false }
}

/** Keys by `keyColumn`, numbered by `n`. */
function tableOfKeys(alias: string, parts: readonly Expression[], keys: readonly Operand[]): Fragment {
  const lists = parts.map((part, index) => keyList(part, keys[index] ?? { kind: 'constant', value: [] }))
  const columns = [...parts.map((_, index) => name(keyColumn(index))), name('n')]
  return sql`unnest(${join(lists, ', ')}) WITH ORDINALITY AS ${name(alias)}(${join(columns, ', ')})`
}

/** The keys are a table, whose rows have the field's relation and nothing else. */
function attachedStatement({ type, field, keys }: Extract<StepPlan, { kind: 'attached' }>, compiled: Compilation): SqlStatement | EmptyAnswer {
  if (field.kind === 'toOne') return attachedRows(field.row, keys, compiled)
  const table = keysTable(type, field.field, compiled)
  const view: ReadableView = { type, source: table, rows: ALL, fields: new Map([[field.field, { kind: 'plain' }]]) }
  const scope: ViewScope = { kind: 'view', view, table, alias: compiled.alias() }
  const from = tableOfKeys(scope.alias, joinKey(field.field, scope, compiled), keys)
  const query = sql`SELECT ${formatted(relationJson(field, scope, compiled))} FROM ${from} ORDER BY ${name(scope.alias, 'n')}`
  return { kind: 'statement', ...render(query), texts: 1, hasTotal: false }
}

/** Of the types that the store itself has for the key. */
function keysTable(type: string, fieldName: string, compiled: Compilation): TableBinding {
  const relation = compiled.plan.catalog.entities.get(type)?.fields.get(fieldName)
  invariant(relation?.kind === 'toMany', `\`${type}.${fieldName}\` is a list`)
  const source = compiled.plan.views.get(relation.target)?.source
  invariant(source && source !== 'empty', `\`${relation.target}\` is in this store`)
  const held = source.relations.get(relation.inverse)?.columns ?? []
  const columns = keyFields(type, compiled).flatMap((field, index): [string, ColumnBinding][] => {
    const column = held[index]
    return column ? [[field.name, plainColumn({ ...column, column: keyColumn(index), nullable: true })]] : []
  })
  return { kind: 'table', type, store: source.store, schema: '', table: '', columns: new Map(columns), relations: new Map() }
}

function keyColumn(index: number): string {
  return `k${index}`
}

interface ListColumns {
  readonly hasTotal: boolean
  readonly withKeys: boolean
}

function listStatement(list: ListPlan, scope: ViewScope, { hasTotal, withKeys }: ListColumns, compiled: Compilation): SqlStatement {
  const rows = list.fields.flatMap((field) => {
    if (field.kind === 'nodes') return [field.row]
    return field.kind === 'edges' ? field.fields.flatMap((edge) => (edge.kind === 'node' ? [edge.row] : [])) : []
  })
  const texts = rows.map((row) => formatted(rowJson(row, scope, compiled)))
  const keys = withKeys ? keyTexts(list, scope, compiled) : []
  const { tail, filter } = pageOf(list, scope, [], 1, compiled)
  if (!hasTotal) return { kind: 'statement', ...render(sql`SELECT ${join([...texts, ...keys], ', ')}${tail}`), texts: texts.length, hasTotal }
  const page = [sql`'1' AS present`, ...[...texts, ...keys].map((column, index): Fragment => sql`${column} AS ${name(`c${index}`)}`)]
  const count = sql`SELECT count(*) AS total FROM ${fromTable(scope)} WHERE ${filter}`
  // One row is there even where the page is empty: it carries the count.
  const whole = sql`SELECT w.total::text, p.* FROM (${count}) AS w LEFT JOIN (SELECT ${join(page, ', ')}${tail}) AS p ON TRUE`
  return { kind: 'statement', ...render(whole), texts: texts.length, hasTotal }
}

function keyTexts(list: ListPlan, scope: ViewScope, compiled: Compilation): readonly Fragment[] {
  const { order, key } = sortTerms(list, scope, compiled)
  return [...order, ...key].map((term) => sortText(term.value))
}
