/** How near a row is to what a search is for, as SQL: computed once for a row, beside it. */
import { invariant } from '../../errors.js'
import type { VectorMetric } from '../../query/catalog.js'
import type { ListPlan, Search } from '../../query/plan.js'
import { type Compilation, fieldValue } from './condition.js'
import type { Expression } from './expression.js'
import { type Fragment, name, parameter, sql } from './fragment.js'
import type { ViewScope } from './page.js'

const SCORE = 'score'

/** The score of the row, of the table expression that `scoredBeside` adds. */
export function scoreValue(scope: ViewScope): Expression {
  const column = name(scoreAlias(scope), SCORE)
  return { sql: column, form: 'float8', array: false, nullable: false, type: { kind: 'builtin', name: 'Float' }, stored: null }
}

/** FROM of a search: the view's table, and the row's score beside it. OFFSET 0 keeps the planner from computing it again wherever it is named. */
export function scoredBeside(from: Fragment, list: ListPlan, scope: ViewScope, compiled: Compilation): Fragment {
  const { search } = list
  if (!search) return from
  const score = scoreOf(search, fieldValue(scope, search.field, compiled))
  // Plus zero: minus zero becomes zero.
  const finite = sql`SELECT (CASE WHEN x.s - x.s = 0 THEN x.s + 0 END) AS ${name(SCORE)} FROM (SELECT ${score} AS s) AS x OFFSET 0`
  return sql`${from} CROSS JOIN LATERAL (${finite}) AS ${name(scoreAlias(scope))}`
}

/** A row without a score is none that is near. */
export function isScored(list: ListPlan, scope: ViewScope): readonly Fragment[] {
  return list.search ? [sql`${scoreValue(scope).sql} IS NOT NULL`] : []
}

function scoreAlias({ alias }: ViewScope): string {
  return `${alias}_near`
}

/** In float8; NULL or not finite where there is no score. */
function scoreOf({ metric, to }: Search, value: Expression): Fragment {
  invariant(value.form === 'vector', 'a search is for a vector')
  if (value.vector === 'array')
    return arrayScore(metric, sql`(${value.sql})::double precision[]`, parameter(to, { kind: 'vector', as: 'array' }, 'double precision[]'))
  if (!value.vector) return sql`NULL::double precision` // the field is bound to no column
  const { schema } = value.vector
  const type = schema === null ? name('vector') : name(schema, 'vector')
  // A half vector as well: what single precision holds, half may not.
  const [own, target] = [sql`(${value.sql})::${type}`, sql`(${parameter(to, { kind: 'vector', as: 'text' }, 'text')})::${type}`]
  const distance = (operator: Fragment): Fragment => sql`(${own} ${schema === null ? operator : sql`OPERATOR(${name(schema)}.${operator})`} ${target})`
  switch (metric) {
    case 'COSINE':
      return sql`1 - ${distance(sql`<=>`)}`
    case 'L2':
      return sql`- ${distance(sql`<->`)}`
    case 'INNER_PRODUCT':
      return sql`- ${distance(sql`<#>`)}`
  }
}

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
