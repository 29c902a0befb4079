/** Groups of the readable view as SQL. A root aggregate returns keys and parts of measures as text; a nested one is whole JSON. */
import { invariant } from '../../errors.js'
import type { ValueField, ValueType } from '../../query/catalog.js'
import type { AggregatePlan, GroupKey, GroupOrder, Having, Measure, MeasureFunction, TimeUnit } from '../../query/plan.js'
import type { Compilation } from './condition.js'
import { condition, conjunction, FALSE, fieldValue, fromTable, openView, relationLink, relationOf, TRUE, where } from './condition.js'
import type { Expression } from './expression.js'
import { constantValue, encodingOf, jsonOf, jsonText, ordered, plainForm, sortText, SQL_TYPES } from './expression.js'
import type { Fragment } from './fragment.js'
import { constant, EMPTY, join, name, parameter, sql } from './fragment.js'
import { asked, formatted, type Json, type Member, objectJson } from './object-json.js'
import { keyValues, type ViewScope } from './page.js'

/** One group: its keys as values, and each measure's parts. Columns of the inner query `g`. */
interface Grouped {
  readonly keys: readonly { readonly key: GroupKey; readonly value: Expression | null }[]
  readonly inner: Fragment
}

/** The root form: a row a group, columns: keys as JSON text, count, parts of measures. */
export function aggregateQuery(plan: AggregatePlan, scope: ViewScope, compiled: Compilation): Fragment {
  const grouped = groupedQuery(plan, scope, [], compiled)
  const columns = [
    ...grouped.keys.flatMap(({ value }, index) => (value ? [jsonText({ ...value, sql: keyColumn(index) })] : [])),
    sql`g.n::text`,
    ...plan.measures.flatMap((measure, index) => partColumns(measure, index, plan, compiled)),
  ]
  return sql`SELECT ${join(columns, ', ')} FROM (${grouped.inner}) AS g${groupTail(plan, grouped, compiled)}`
}

/** The nested form: `{"groups":[…]}` as the plan's fields say. A null scope is an empty view. */
export function aggregateJson(plan: AggregatePlan, scope: ViewScope | null, links: readonly Fragment[], compiled: Compilation): Json {
  const grouped = scope ? groupedQuery(plan, scope, links, compiled) : emptyGroups(plan, compiled)
  const groups = plan.fields.filter((field) => field.kind === 'groups')
  // Columns have numbers, since PostgreSQL cuts a name that is as long as a response key may be.
  const members = plan.fields.map((field): Member => {
    if (field.kind === 'typename') return { key: field.responseKey, value: [JSON.stringify(`${plan.type}Aggregate`)] }
    return { key: field.responseKey, value: grouped ? ['[', sql`string_agg(${name('r', `f${groups.indexOf(field)}`)}, ',')`, ']'] : ['[]'] }
  })
  if (!grouped || groups.length === 0) return objectJson(members)
  const rows = groups.map((field, index) => sql`${formatted(groupJson(plan, field.fields, grouped, compiled))} AS ${name(`f${index}`)}`)
  const inner = sql`SELECT ${join(rows, ', ')} FROM (${grouped.inner}) AS g${groupTail(plan, grouped, compiled)}`
  return asked(objectJson(members), (value) => sql`(SELECT ${value} FROM (${inner}) AS r)`)
}

/** An empty table has one group where no keys are asked for, and none with keys: null. */
function emptyGroups(plan: AggregatePlan, compiled: Compilation): Grouped | null {
  if (plan.groupBy.length > 0) return null
  const parts = plan.measures.flatMap((measure, index) => {
    const column = name(`m${index}`)
    switch (measure.fn) {
      case 'countDistinct':
        return [sql`0::bigint AS ${column}`]
      case 'sum':
        return [sql`NULL::numeric AS ${column}`]
      case 'avg':
        return [sql`NULL::numeric AS ${column}`, sql`0::bigint AS ${name(`c${index}`)}`]
      case 'min':
      case 'max':
        return [sql`${constantValue(valueField(measure, plan, compiled), null).sql} AS ${column}`]
    }
  })
  return { keys: [], inner: sql`SELECT ${join([sql`0::bigint AS n`, ...parts], ', ')}` }
}

export function measureTypename(type: string, fn: MeasureFunction): string {
  const suffix = { sum: 'Sum', avg: 'Avg', min: 'Extreme', max: 'Extreme', countDistinct: 'CountDistinct' } as const
  return `${type}${suffix[fn]}`
}

function groupedQuery(plan: AggregatePlan, scope: ViewScope, links: readonly Fragment[], compiled: Compilation): Grouped {
  const keys = plan.groupBy.map((key) => ({ key, value: key.field === 'organization' ? null : groupValue(key, scope, compiled) }))
  const keyColumns = keys.flatMap(({ value }, index) =>
    value ? [sql`${value.form === 'text' ? sql`${value.sql} COLLATE "C"` : value.sql} AS ${name(`k${index}`)}`] : [],
  )
  const parts = plan.measures.flatMap((measure, index) => measureParts(measure, index, scope, compiled))
  const filter = where(scope, [...links, condition(plan.where, scope, compiled)], compiled)
  const places = keyColumns.map((_column, index) => ({ parts: [{ kind: 'text' as const, text: String(index + 1) }] }))
  const hasOrganizationOnly = keys.length > 0 && keyColumns.length === 0
  // Grouped by organization alone, an empty view has no group; without keys it has one.
  const groupBy = keyColumns.length > 0 ? sql` GROUP BY ${join(places, ', ')}` : hasOrganizationOnly ? sql` HAVING count(*) > 0` : EMPTY
  return { keys, inner: sql`SELECT ${join([...keyColumns, sql`count(*) AS n`, ...parts], ', ')} FROM ${fromTable(scope)} WHERE ${filter}${groupBy}` }
}

export function keyColumn(index: number): Fragment {
  return name('g', `k${index}`)
}

export function groupValue(key: GroupKey, scope: ViewScope, compiled: Compilation): Expression {
  const value = fieldValue(scope, key.field, compiled)
  const bounds = TIME_BOUNDS.get(value.form)
  if (!bounds) return { ...value, stored: null }
  const [first, end] = bounds
  // Times that have no JSON form, infinite ones among them, are one group with the nulls.
  const isPrinted = (time: Fragment): Fragment => sql`${time} >= ${first} AND ${time} < ${end}`
  const start = key.unit === null ? value.sql : startOfUnit(key.unit, key.timezone ?? 'UTC', value)
  // In a zone the year 1 may begin before it does in UTC.
  const isStartPrinted = value.form === 'timestamptz' && key.timezone !== null ? sql` AND (${value.sql} >= '0002-01-02Z' OR ${isPrinted(start)})` : EMPTY
  return { ...value, stored: null, nullable: true, sql: sql`(CASE WHEN ${isPrinted(value.sql)}${isStartPrinted} THEN ${start} END)` }
}

const TIME_BOUNDS: ReadonlyMap<Expression['form'], readonly [first: Fragment, end: Fragment]> = new Map([
  ['timestamptz', [sql`'0001-01-01Z'::timestamptz`, sql`'10000-01-01Z'::timestamptz`]],
  ['timestamp', [sql`'0001-01-01'::timestamp`, sql`'10000-01-01'::timestamp`]],
  ['date', [sql`'0001-01-01'::date`, sql`'10000-01-01'::date`]],
])

function startOfUnit(unit: TimeUnit, zone: string, value: Expression): Fragment {
  const truncate = constant(TRUNCATE[unit])
  if (value.form === 'timestamptz') return sql`date_trunc(${truncate}, ${value.sql}, ${constant(zone)})`
  return value.form === 'date' ? sql`date_trunc(${truncate}, (${value.sql})::timestamp)::date` : sql`date_trunc(${truncate}, ${value.sql})`
}

const TRUNCATE: Readonly<Record<TimeUnit, string>> = { HOUR: 'hour', DAY: 'day', WEEK: 'week', MONTH: 'month', QUARTER: 'quarter', YEAR: 'year' }

/** The aggregates that a measure needs, as columns `m<index>` and, for the count of an average, `c<index>`. */
function measureParts(measure: Measure, index: number, scope: ViewScope, compiled: Compilation): readonly Fragment[] {
  const column = name(`m${index}`)
  if (measure.fn === 'countDistinct') return [sql`count(DISTINCT ${distinctValue(measure, scope, compiled)}) AS ${column}`]
  return valueParts(measure.fn, fieldValue(scope, measure.field, compiled), index)
}

export function valueParts(fn: Exclude<MeasureFunction, 'countDistinct'>, value: Expression, index: number): readonly Fragment[] {
  const column = name(`m${index}`)
  switch (fn) {
    case 'sum':
      return [sql`${exactSum(value)} AS ${column}`]
    case 'avg':
      return [sql`${exactSum(value)} AS ${column}`, sql`count(${value.sql}) AS ${name(`c${index}`)}`]
    case 'min':
      return [sql`${definite(value, sql`min(${extremal(value)})`)} AS ${column}`]
    case 'max':
      return [sql`${definite(value, sql`max(${extremal(value)})`)} AS ${column}`]
  }
}

/** Of values that are equal but print differently, the first one met would be taken: so zero has no sign, and a decimal has the largest scale of its group. */
function extremal(value: Expression): Fragment {
  return value.form === 'float8' ? sql`(${value.sql})::double precision + 0` : ordered(value)
}

function definite(value: Expression, extreme: Fragment): Fragment {
  return value.form === 'numeric' ? sql`round(${extreme}, coalesce(max(scale(${value.sql})), 0))` : extreme
}

/**
 * Floats are summed as numerics of their shortest text: a sum of floats would depend on the order of the rows, and so on the plan.
 *
 * A float that is the one nearest to n millionths, n of at most 15 digits, has just that number as its shortest text, since no two decimals of 15 digits share a
 * float. So n is counted as an integer, and only the others go through their text: 0.24 us a value against 0.43 by text (0.55 where all are others).
 */
export function exactSum(value: Expression): Fragment {
  if (value.form !== 'float8') return sql`sum(${value.sql})`
  const float = sql`(${value.sql})::double precision`
  const millionths = sql`(${float} * 1e6::double precision)::bigint`
  // CASE holds back the product, which overflows for the greatest floats.
  const isShort = sql`CASE WHEN ${float} > -1e9 AND ${float} < 1e9 THEN ${millionths} / 1e6::double precision = ${float} ELSE FALSE END`
  const short = sql`trim_scale(sum(${millionths}) FILTER (WHERE ${isShort}) * 0.000001)`
  const others = sql`sum((${float}::text)::numeric) FILTER (WHERE NOT ${isShort})`
  return sql`CASE WHEN count(${value.sql}) > 0 THEN coalesce(${short}, 0) + coalesce(${others}, 0) END`
}

function distinctValue(measure: Measure, scope: ViewScope, compiled: Compilation): Fragment {
  const field = compiled.plan.catalog.entities.get(scope.view.type)?.fields.get(measure.field)
  if (field?.kind === 'value') return fieldValue(scope, measure.field, compiled).sql
  // A relation counts its visible targets, by their key as the caller sees it.
  const target = relationOf(measure.field, scope, compiled).target
  const to = openView(target, compiled)
  if (!to) return sql`NULL::text`
  const keys = keyValues(to, compiled).map((value) => sql`(${value.sql})::text`)
  const [first, ...rest] = keys
  invariant(first, 'an entity has a key')
  const key = rest.length === 0 ? first : sql`to_json(ARRAY[${join(keys, ', ')}])::text`
  return sql`(SELECT ${key} FROM ${fromTable(to)} WHERE ${where(to, relationLink(measure.field, scope, to, compiled), compiled)})`
}

export function partColumns(measure: Measure, index: number, plan: Pick<AggregatePlan, 'type'>, compiled: Compilation): readonly Fragment[] {
  const column = name('g', `m${index}`)
  if (measure.fn === 'avg') return [sql`${column}::text`, sql`${name('g', `c${index}`)}::text`]
  if (measure.fn === 'min' || measure.fn === 'max') return [sortText(extreme(measure, index, plan, compiled))]
  return [sql`${column}::text`]
}

function extreme(measure: Measure, index: number, plan: Pick<AggregatePlan, 'type'>, compiled: Compilation): Expression {
  const { type } = valueField(measure, plan, compiled)
  return { sql: name('g', `m${index}`), form: plainForm(type), array: false, nullable: true, type, stored: null }
}

function valueField(measure: Measure, plan: Pick<AggregatePlan, 'type'>, compiled: Compilation): ValueField {
  const field = compiled.plan.catalog.entities.get(plan.type)?.fields.get(measure.field)
  invariant(field?.kind === 'value', `\`${plan.type}.${measure.field}\` is a value`)
  return field
}

// --- having, order, limit --------------------------------------------------------------------------------------------------------------------------------------

function groupTail(plan: AggregatePlan, grouped: Grouped, compiled: Compilation): Fragment {
  const having = havingCondition(plan.having, plan, compiled)
  const keys = grouped.keys.flatMap(({ value }, index) => (value ? [{ value: { ...value, sql: keyColumn(index) }, index }] : []))
  const ties = keys.map(({ value }) => sql`(${jsonText(value)}) COLLATE "C"`)
  const order = [...plan.order.flatMap((term) => groupOrderTerm(term, plan, grouped, compiled)), ...ties]
  const limit = parameter(plan.limit, { kind: 'limit', plus: 0 }, 'bigint')
  return sql`${having === TRUE ? EMPTY : sql` WHERE ${having}`}${order.length === 0 ? EMPTY : sql` ORDER BY ${join(order, ', ')}`} LIMIT ${limit}`
}

function groupOrderTerm(term: GroupOrder, plan: AggregatePlan, grouped: Grouped, compiled: Compilation): readonly Fragment[] {
  const direction = { parts: [{ kind: 'text' as const, text: `${term.descending ? ' DESC' : ' ASC'} NULLS ${term.nulls === 'first' ? 'FIRST' : 'LAST'}` }] }
  const { by } = term
  switch (by.kind) {
    case 'count':
      return [sql`g.n${direction}`]
    case 'measure':
      return [sql`${ordered(released(by.measure, plan, compiled))}${direction}`]
    case 'key': {
      const index = grouped.keys.findIndex(({ key }) => key.field === by.field)
      const value = grouped.keys[index]?.value
      return value ? [sql`${ordered({ ...value, sql: keyColumn(index) })}${direction}`] : [] // one owner: its organization is one value
    }
  }
}

const BIG_INT: ValueType = { kind: 'builtin', name: 'BigInt' }
const DECIMAL: ValueType = { kind: 'builtin', name: 'Decimal' }

/** A measure as the caller sees it: NULL where its JSON is null, so that conditions and orders act on nothing else. */
function released(of: 'count' | Measure, plan: AggregatePlan, compiled: Compilation): Expression {
  const base = { array: false, nullable: true, stored: null }
  if (of === 'count') return { ...base, form: 'numeric', type: BIG_INT, sql: sql`g.n::numeric` }
  const index = indexOf(of, plan)
  const column = name('g', `m${index}`)
  switch (of.fn) {
    case 'countDistinct':
      return { ...base, form: 'numeric', type: BIG_INT, sql: sql`${column}::numeric` }
    case 'min':
    case 'max':
      return extreme(of, index, plan, compiled)
    case 'sum': {
      const { type } = valueField(of, plan, compiled)
      if (type.name === 'Float') return { ...base, form: 'float8', type, sql: nearestFloat(column) }
      return { ...base, form: 'numeric', type: type.name === 'Decimal' ? DECIMAL : BIG_INT, sql: finite(sql`${column}::numeric`) }
    }
    case 'avg': {
      const { type } = valueField(of, plan, compiled)
      const count = sql`nullif(${name('g', `c${index}`)}, 0)::numeric`
      if (type.name === 'Float') return { ...base, form: 'float8', type, sql: nearestFloat(sql`(round(${column}, 400) / ${count})`) }
      return { ...base, form: 'numeric', type: DECIMAL, sql: finite(average(sql`${column}::numeric`, count)) }
    }
  }
}

/** Rounded half away from zero to 16 fractional digits; a division that rounds by itself first could round twice. */
function average(sum: Fragment, count: Fragment): Fragment {
  return sql`trim_scale(sign(${sum}) * div(abs(${sum}) * 20000000000000000 + ${count}, 2 * ${count}) * 0.0000000000000001)`
}

/** NULL for NaN and the infinities, which are not zero away from themselves. */
function finite(number: Fragment): Fragment {
  return sql`(SELECT CASE WHEN x.v - x.v = 0 THEN x.v END FROM (SELECT ${number} AS v) AS x)`
}

/** 2^1024 - 2^970: from here on a number is nearer to infinity than to the greatest double. */
const BEYOND_FLOATS = constant((2n ** 1024n - 2n ** 970n).toString())
/** Half of the least double: up to here a number is nearest to zero. */
const LEAST_HALF = constant('2.47032822920623272088284396434e-324')

/** The double nearest to a numeric, NULL beyond all doubles: PostgreSQL's own cast fails there, and where nothing but zero is near. */
function nearestFloat(number: Fragment): Fragment {
  const isZero = sql`abs(x.v) <= ${LEAST_HALF}::numeric`
  const nearest = sql`CASE WHEN abs(x.v) < ${BEYOND_FLOATS}::numeric THEN CASE WHEN ${isZero} THEN 0 ELSE x.v::double precision END END`
  return sql`(SELECT ${nearest} FROM (SELECT ${number} AS v) AS x)`
}

function indexOf(measure: Measure, plan: AggregatePlan): number {
  const index = plan.measures.findIndex((candidate) => candidate.fn === measure.fn && candidate.field === measure.field)
  invariant(index >= 0, 'a measure of the plan')
  return index
}

function havingCondition(having: Having, plan: AggregatePlan, compiled: Compilation): Fragment {
  switch (having.kind) {
    case 'all':
      return TRUE
    case 'none':
      return FALSE
    case 'and':
    case 'or': {
      const terms = having.terms.map((term) => havingCondition(term, plan, compiled))
      if (having.kind === 'and') return terms.every((term) => term === TRUE) ? TRUE : sql`(${conjunction(terms)})`
      return terms.length === 0 ? FALSE : sql`(${join(terms, ' OR ')})`
    }
    case 'not':
      return sql`((${havingCondition(having.term, plan, compiled)}) IS NOT TRUE)`
    case 'isNull':
      return sql`(${released(having.of, plan, compiled).sql} IS NULL)`
    case 'compare':
    case 'in': {
      const value = released(having.of, plan, compiled)
      const element = encodingOf(value.form, value.type)
      const type = SQL_TYPES[value.form]
      if (having.kind === 'in') return sql`(${value.sql} = ANY (${parameter(having.operand, { kind: 'list', element }, `${type}[]`)}))`
      const operator = { parts: [{ kind: 'text' as const, text: having.op }] }
      return sql`(${ordered(value)} ${operator} ${parameter(having.operand, element, type)})`
    }
  }
}

// --- nested JSON of one group ----------------------------------------------------------------------------------------------------------------------------------

function groupJson(
  plan: AggregatePlan,
  fields: Extract<AggregatePlan['fields'][number], { kind: 'groups' }>['fields'],
  grouped: Grouped,
  compiled: Compilation,
): Json {
  return objectJson(
    fields.map((field): Member => {
      switch (field.kind) {
        case 'typename':
          return { key: field.responseKey, value: [JSON.stringify(`${plan.type}Group`)] }
        case 'count':
          return { key: field.responseKey, value: ['"', sql`g.n`, '"'] }
        case 'keys':
          return {
            key: field.responseKey,
            value: objectJson(field.fields.map((leaf): Member => ({ key: leaf.responseKey, value: keyJson(leaf.key, plan, grouped, compiled) }))),
          }
        default: {
          const fn = field.kind
          const members = field.fields.map((leaf): Member => {
            if (leaf.field === '__typename') return { key: leaf.responseKey, value: [JSON.stringify(measureTypename(plan.type, fn))] }
            return { key: leaf.responseKey, value: releasedJson({ fn, field: leaf.field }, plan, compiled) }
          })
          return { key: field.responseKey, value: objectJson(members) }
        }
      }
    }),
  )
}

function keyJson(key: string, plan: AggregatePlan, grouped: Grouped, compiled: Compilation): Json {
  if (key === '__typename') return [JSON.stringify(`${plan.type}GroupKeys`)]
  const index = grouped.keys.findIndex((candidate) => candidate.key.field === key)
  if (index < 0) return ['null']
  const value = grouped.keys[index]?.value
  return value ? jsonOf({ ...value, sql: keyColumn(index) }) : [JSON.stringify(compiled.plan.organization)]
}

/** Of sums and averages NULL is all that has no JSON form, so nothing is asked of them twice. */
function releasedJson(measure: Measure, plan: AggregatePlan, compiled: Compilation): Json {
  const value = released(measure, plan, compiled)
  if (measure.fn === 'min' || measure.fn === 'max') return jsonOf(value)
  return [value.form === 'float8' ? sql`coalesce((${value.sql})::text, 'null')` : sql`coalesce('"' || (${value.sql})::text || '"', 'null')`]
}
