/** From an authorized plan to one SQL statement, whatever its depth. Pure. */
import { invariant } from '../../errors.js'
import type { EntityType } from '../../query/catalog.js'
import type { AggregatePlan, AuthorizedPlan, ListPlan } from '../../query/plan.js'
import { aggregateQuery } from './aggregate.js'
import type { Compilation } from './condition.js'
import { compilation, fromTable, openView } from './condition.js'
import { sortText } from './expression.js'
import type { Fragment, Parameter } from './fragment.js'
import { join, name, render, sql } from './fragment.js'
import { formatted } from './object-json.js'
import { pageOf, sortTerms, type ViewScope } from './page.js'
import { rowJson } from './row.js'
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
  const { list, withKeys } = plan.plan
  const hasTotal = list.fields.some((field) => field.kind === 'totalCount')
  const scope = openView(list.type, compiled)
  if (!scope) return { kind: 'empty', hasTotal, aggregate: null }
  return listStatement(list, scope, { hasTotal, withKeys }, compiled)
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
