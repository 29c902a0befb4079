/** How near rows are to what a search is for, as SQL: computed once for each row that may be seen and fits. */
import { invariant } from '../../errors.js'
import type { VectorMetric } from '../../query/catalog.js'
import type { AuthorizedPlan, Search } from '../../query/plan.js'
import { type Compilation, fieldValue, fromTable } from './condition.js'
import type { Expression } from './expression.js'
import { type Fragment, join, name, parameter, sql } from './fragment.js'
import type { ViewScope } from './page.js'

/** The score of the row, in the table expression that `scored` makes. Plus zero: minus zero becomes zero. */
export function scoreValue(scope: ViewScope): Expression {
  const value = sql`(${scoreColumn(scope)} + 0)`
  return { sql: value, form: 'float8', array: false, nullable: false, type: { kind: 'builtin', name: 'Float' }, stored: null }
}

/** A row without a score is none that is near. */
export function isScored(scope: ViewScope): Fragment {
  return sql`${scoreColumn(scope)} - ${scoreColumn(scope)} = 0`
}

/**
 * FROM of a search: the rows of the view that fit, under the table's own alias, with the score of each beside its columns. OFFSET 0 keeps the planner from computing it
 * again wherever it is named. (Beside each row, by LATERAL, 3,000 took 9.7 ms, and 7.3 so.)
 */
export function scored(search: Search, filter: Fragment, bound: Fragment, scope: ViewScope, compiled: Compilation): Fragment {
  const columns = columnsOf(scope).map((column) => name(scope.alias, column))
  const vector = fieldValue(scope, search.field, compiled)
  const score = sql`${scoreOf(search, vector)} AS ${name(scoreName(scope))}`
  // An index gives rows about in the order of their distance: of more than are wanted the nearest are taken.
  const end = compiled.byIndex ? sql`ORDER BY ${distanceOf(search, vector)} LIMIT 5 * ${bound}` : sql`OFFSET 0`
  return sql`(SELECT ${join([...columns, score], ', ')} FROM ${fromTable(scope)} WHERE ${filter} ${end}) AS ${name(scope.alias)}`
}

/**
 * Whether an index over the vectors of all rows may answer a search. What it finds is shaped by rows that the caller may not see, so it serves principals of the owner
 * alone; and a field that is shown in some rows only has none.
 */
export function hasIndex({ plan, views, organization, caller, starts }: AuthorizedPlan): boolean {
  if (plan.kind !== 'list' || plan.list.search === null || caller !== organization || starts.has(plan.list.path)) return false
  const { type, search } = plan.list
  const view = views.get(type)
  if (!view || view.source === 'empty' || view.fields.get(search.field)?.kind !== 'plain') return false
  const column = view.source.columns.get(search.field)
  return column?.kind === 'column' && (column.nearBy ?? []).includes(search.metric)
}

function scoreColumn(scope: ViewScope): Fragment {
  return name(scope.alias, scoreName(scope))
}

/** Every column that a statement can speak of. */
function columnsOf({ table }: ViewScope): readonly string[] {
  const bound = [...table.columns.values()].flatMap((column) => (column.kind === 'column' ? [column.column] : []))
  const keys = [...table.relations.values()].flatMap(({ columns }) => columns.map(({ column }) => column))
  return [...new Set([...bound, ...keys])]
}

/** A name that is no column's. */
function scoreName(scope: ViewScope): string {
  const taken = columnsOf(scope)
  let candidate = 'score'
  while (taken.includes(candidate)) candidate += '_'
  return candidate
}

/** In float8; NULL or not finite where there is no score. */
function scoreOf(search: Search, value: Expression): Fragment {
  invariant(value.form === 'vector', 'a search is for a vector')
  const { metric, to } = search
  if (value.vector === 'array')
    return arrayScore(metric, sql`(${value.sql})::double precision[]`, parameter(to, { kind: 'vector', as: 'array' }, 'double precision[]'))
  if (!value.vector) return sql`NULL::double precision` // the field is bound to no column
  const distance = distanceOf(search, value)
  return metric === 'COSINE' ? sql`1 - ${distance}` : sql`- ${distance}`
}

/** pgvector's distance, by which it orders. */
function distanceOf({ metric, to }: Search, { vector, sql: column }: Expression): Fragment {
  invariant(typeof vector === 'object', 'a type of pgvector')
  const { schema } = vector
  const type = schema === null ? name('vector') : name(schema, 'vector')
  const operator = schema === null ? DISTANCES[metric] : sql`OPERATOR(${name(schema)}.${DISTANCES[metric]})`
  // A half vector as well: what single precision holds, half may not. The text is read once, and not for each row (of 3,000 rows that took 0.6 s).
  return sql`((${column})::${type} ${operator} (SELECT (${parameter(to, { kind: 'vector', as: 'text' }, 'text')})::${type}))`
}

const DISTANCES: Readonly<Record<VectorMetric, Fragment>> = { COSINE: sql`<=>`, L2: sql`<->`, INNER_PRODUCT: sql`<#>` }

/** As pgvector defines its distances, for stores that do not have it. */
function arrayScore(metric: VectorMetric, own: Fragment, target: Fragment): Fragment {
  const pairs = sql`unnest(${own}, ${target}) AS u(a, b)`
  switch (metric) {
    case 'COSINE': {
      const sums = sql`SELECT sum(u.a * u.b) AS d, sum(u.a * u.a) * sum(u.b * u.b) AS n FROM ${pairs}`
      return sql`(SELECT CASE WHEN v.n > 0 THEN 1 - (1 - greatest(-1, least(1, v.d / sqrt(v.n)))) END FROM (${sums}) AS v)`
    }
    case 'L2':
      return sql`(SELECT - sqrt(sum((u.a - u.b) * (u.a - u.b))) FROM ${pairs})`
    case 'INNER_PRODUCT':
      return sql`(SELECT sum(u.a * u.b) FROM ${pairs})`
  }
}
