/**
 * Series of the readable view as SQL: a row a group and bucket, with the parts of its measures as text. Which bucket a time is in is found by bounds that come as
 * one parameter, so that one statement serves all widths and zones. A nested series is these rows as JSON, for the gateway to combine and fill as it does at the root.
 */
import type { SeriesMeasure, SeriesPlan } from '../../query/plan.js'
import { groupValue, keyColumn, partColumns, valueParts } from './aggregate.js'
import type { Compilation } from './condition.js'
import { condition, fieldValue, fromTable, where } from './condition.js'
import type { Expression } from './expression.js'
import { encodingOf, jsonText, ordered, sortText, SQL_TYPES } from './expression.js'
import type { Fragment } from './fragment.js'
import { constant, join, name, parameter, sql } from './fragment.js'
import type { Json } from './object-json.js'
import { keyValues, type ViewScope } from './page.js'

/** The root form: columns are keys as JSON text, start, count and parts. */
export function seriesQuery(plan: SeriesPlan, scope: ViewScope, compiled: Compilation): Fragment {
  const { columns, from } = bucketRows(plan, scope, [], compiled)
  return sql`SELECT ${join(columns, ', ')}${from}`
}

/** The nested form: U+0003, a JSON list of the series' path and its rows (each a list of texts), U+0004. A null scope is an empty view. */
export function seriesJson(plan: SeriesPlan, scope: ViewScope | null, links: readonly Fragment[], compiled: Compilation): Json {
  const head = JSON.stringify([plan.path]).slice(0, -1)
  if (!scope) return [sql`(chr(3) || ${constant(`${head}]`)} || chr(4))`]
  const { columns, from } = bucketRows(plan, scope, links, compiled)
  const rows = sql`SELECT to_json(ARRAY[${join(columns, ', ')}]::text[])::text AS j${from}`
  return [sql`(chr(3) || ${constant(head)} || coalesce((SELECT string_agg(',' || r.j, '') FROM (${rows}) AS r), '') || ']' || chr(4))`]
}

/** The columns of a bucket, and all that stands behind them. */
function bucketRows(
  plan: SeriesPlan,
  scope: ViewScope,
  links: readonly Fragment[],
  compiled: Compilation,
): { readonly columns: readonly Fragment[]; readonly from: Fragment } {
  const points = pointsOf(plan, scope, links, compiled)
  const keys = points.keys.map((value, index) => jsonText({ ...value, sql: keyColumn(index) }))
  const start: Expression = { ...points.time, sql: name('g', 'b') }
  const columns = [...keys, sortText(start), sql`g.n::text`, ...plan.measures.flatMap((measure, index) => columnsOf(measure, index, plan, points, compiled))]
  const grouped = [...points.keys.map((_, index) => name('p', `k${index}`)), name('p', 'b')]
  const parts = plan.measures.flatMap((measure, index) => partsOf(measure, index, points))
  const inner = sql`SELECT ${join([...grouped, sql`count(*) AS n`, ...parts], ', ')} FROM (${points.rows}) AS p GROUP BY ${join(grouped, ', ')}`
  const order = [...keys.map((key) => sql`(${key}) COLLATE "C"`), start.sql]
  const limit = parameter({ kind: 'constant', value: plan.bucketsMax }, { kind: 'limit', plus: 1 }, 'bigint')
  return { columns, from: sql` FROM (${inner}) AS g ORDER BY ${join(order, ', ')} LIMIT ${limit}` }
}

/** Rows of the view in the range, as columns of `p`: group keys, bucket, time, the view's key, values by field, and what windows tell by measure. */
interface Points {
  readonly rows: Fragment
  readonly keys: readonly Expression[]
  readonly time: Expression
  /** Time and key: a total order. */
  readonly order: readonly Fragment[]
  readonly valueOf: (field: string) => Expression
}

function pointsOf(plan: SeriesPlan, scope: ViewScope, links: readonly Fragment[], compiled: Compilation): Points {
  const keys = plan.groupBy.flatMap((key) => (key.field === 'organization' ? [] : [groupValue(key, scope, compiled)]))
  const time = fieldValue(scope, plan.time, compiled)
  const viewKey = keyValues(scope, compiled)
  const fields = [...new Set(plan.measures.map(({ field }) => field))]
  const values = fields.map((field) => fieldValue(scope, field, compiled))
  const columns = [
    ...keys.map((value, index) => sql`${ordered(value)} AS ${name(`k${index}`)}`),
    sql`${bucketOf(plan, time)} AS b`,
    sql`${time.sql} AS t`,
    ...viewKey.map((value, index) => sql`${ordered(value)} AS ${name(`y${index}`)}`),
    ...values.map((value, index) => sql`${value.sql} AS ${name(`v${index}`)}`),
  ]
  const filter = where(scope, [...links, condition(plan.where, scope, compiled)], compiled)
  const rows = sql`SELECT ${join(columns, ', ')} FROM ${fromTable(scope)} WHERE ${filter}`
  const order = [name('p', 't'), ...viewKey.map((_, index) => name('p', `y${index}`))]
  const valueOf = (field: string): Expression => {
    const index = fields.indexOf(field)
    const value = values[index]
    if (!value) throw new Error('invariant: a measure is of a field of its plan')
    return { ...value, sql: name('p', `v${index}`), stored: null }
  }
  const points = { keys, time: { ...time, stored: null }, order, valueOf }
  return { ...points, rows: withPlaces(plan, rows, points) }
}

/**
 * Where the bucket of a time in the range starts: by division where all are of one length, which is a constant to the planner (0.27 us a row and 8,760 buckets), else by
 * search (0.49).
 */
function bucketOf({ bounds: operand }: SeriesPlan, time: Expression): Fragment {
  const bounds = parameter(operand, { kind: 'list', element: encodingOf(time.form, time.type) }, `${SQL_TYPES[time.form]}[]`)
  const stride = parameter(operand, { kind: 'stride' }, 'interval')
  return sql`CASE WHEN ${stride} IS NULL THEN (${bounds})[width_bucket(${time.sql}, ${bounds})] ELSE date_bin(${stride}, ${time.sql}, (${bounds})[1]) END`
}

/**
 * Columns that tell of a row's place among others, by measure: `r<index>`, and for a percentile how many there are, `s<index>`. By windows and not by arrays of all
 * values, which PostgreSQL would hold in memory. Rows without a value are a partition of their own, so that they do not stand between others.
 *
 * Without any, OFFSET keeps the rows apart from their groups: else the planner takes almost every row for a bucket of its own, as it would with `date_bin` in GROUP BY, and
 * sorts all of them instead of hashing their buckets.
 */
function withPlaces(plan: SeriesPlan, rows: Fragment, points: Omit<Points, 'rows'>): Fragment {
  const columns = plan.measures.flatMap((measure, index) => placesOf(measure, index, points))
  return columns.length === 0 ? sql`${rows} OFFSET 0` : sql`SELECT p.*, ${join(columns, ', ')} FROM (${rows}) AS p`
}

function placesOf(measure: SeriesMeasure, index: number, { keys, order, valueOf }: Omit<Points, 'rows'>): readonly Fragment[] {
  const value = valueOf(measure.field)
  const [r, s] = [name(`r${index}`), name(`s${index}`)]
  const group = [...keys.map((_, key) => name('p', `k${key}`)), sql`(${value.sql} IS NULL)`]
  const bucket = sql`PARTITION BY ${join([...group, name('p', 'b')], ', ')}`
  switch (measure.fn) {
    case 'sum':
    case 'avg':
    case 'min':
    case 'max':
      return []
    case 'first':
      return [sql`row_number() OVER (${bucket} ORDER BY ${join(order, ', ')}) AS ${r}`]
    case 'last': {
      const backward = order.map((term) => sql`${term} DESC`)
      return [sql`row_number() OVER (${bucket} ORDER BY ${join(backward, ', ')}) AS ${r}`]
    }
    case 'percentile':
      return [sql`row_number() OVER (${bucket} ORDER BY ${exactNumber(value)}) AS ${r}`, sql`count(*) OVER (${bucket}) AS ${s}`]
    case 'rate': {
      // What the counter grew by since the row before it, of whatever bucket.
      const number = exactNumber(value)
      const before = sql`lag(${number}) OVER (PARTITION BY ${join(group, ', ')} ORDER BY ${join(order, ', ')})`
      return [sql`(CASE WHEN ${number} >= ${before} THEN ${number} - ${before} WHEN ${before} IS NOT NULL THEN ${number} END) AS ${r}`]
    }
  }
}

/** Equal numbers print alike. */
function exactNumber(value: Expression): Fragment {
  if (value.form === 'float8') return sql`trim_scale((${value.sql})::double precision::text::numeric)`
  return value.form === 'numeric' ? sql`trim_scale(${value.sql})` : sql`(${value.sql})::numeric`
}

/** The aggregates that a measure needs, as columns of `g`. */
function partsOf(measure: SeriesMeasure, index: number, { valueOf }: Points): readonly Fragment[] {
  const value = valueOf(measure.field)
  const hasValue = sql` FILTER (WHERE ${value.sql} IS NOT NULL)`
  /** The one row with a value at this place. */
  const isAt = (place: Fragment): Fragment => sql`${value.sql} IS NOT NULL AND ${name('p', `r${index}`)} = ${place}`
  const [m, c, d] = [name(`m${index}`), name(`c${index}`), name(`d${index}`)]
  switch (measure.fn) {
    case 'sum':
    case 'avg':
    case 'min':
    case 'max':
      return valueParts(measure.fn, value, index)
    case 'first':
      return [sql`max(${value.sql}) FILTER (WHERE ${isAt(sql`1`)}) AS ${m}`, sql`min(p.t)${hasValue} AS ${c}`]
    case 'last':
      return [sql`max(${value.sql}) FILTER (WHERE ${isAt(sql`1`)}) AS ${m}`, sql`max(p.t)${hasValue} AS ${c}`]
    case 'percentile': {
      const number = exactNumber(value)
      const p = parameter(measure.p, { kind: 'value', type: { kind: 'builtin', name: 'Float' }, native: null }, 'numeric')
      const place = sql`(${p} * (${name('p', `s${index}`)} - 1))`
      const [low, high] = [sql`floor(${place}) + 1`, sql`ceil(${place}) + 1`]
      return [
        sql`max(${number}) FILTER (WHERE ${isAt(low)}) AS ${m}`,
        sql`max(${number}) FILTER (WHERE ${isAt(high)}) AS ${c}`,
        sql`count(${value.sql}) AS ${d}`,
      ]
    }
    case 'rate':
      return [sql`trim_scale(sum(${name('p', `r${index}`)})) AS ${m}`]
  }
}

/** The parts as text. */
function columnsOf(measure: SeriesMeasure, index: number, plan: SeriesPlan, { time, valueOf }: Points, compiled: Compilation): readonly Fragment[] {
  const [m, c, d] = [name('g', `m${index}`), name('g', `c${index}`), name('g', `d${index}`)]
  switch (measure.fn) {
    case 'sum':
    case 'avg':
    case 'min':
    case 'max':
      return partColumns(measure, index, plan, compiled)
    case 'first':
    case 'last':
      return [sortText({ ...valueOf(measure.field), sql: m }), sortText({ ...time, sql: c })]
    case 'percentile':
      return [sql`${m}::text`, sql`${c}::text`, sql`${d}::text`]
    case 'rate':
      return [sql`${m}::text`]
  }
}
