/** Groups of the readable view as SQL. A root aggregate returns keys and parts of measures as text; a nested one is whole JSON. */
import { invariant } from '../../errors.js'
import type { ValueField } from '../../query/catalog.js'
import type { AggregatePlan, GroupKey, GroupOrder, Having, Measure, MeasureFunction, TimeUnit } from '../../query/plan.js'
import type { Compilation, Scope } from './condition.js'
import { condition, conjunction, FALSE, fieldValue, fromTable, openView, relationLink, relationOf, TRUE, where } from './condition.js'
import type { Expression } from './expression.js'
import { jsonText, ordered, plainForm, sortText } from './expression.js'
import type { Fragment } from './fragment.js'
import { constant, EMPTY, join, name, parameter, sql } from './fragment.js'
import type { Member } from './row.js'
import { keyValues, objectJson } from './row.js'

type ViewScope = Extract<Scope, { kind: 'view' }>

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
export function aggregateJson(plan: AggregatePlan, scope: ViewScope | null, links: readonly Fragment[], compiled: Compilation): Fragment {
  const members = plan.fields.map((field): Member => {
    if (field.kind === 'typename') return { key: field.responseKey, value: JSON.stringify(`${plan.type}Aggregate`) }
    return { key: field.responseKey, value: name('a', `f_${field.responseKey}`) }
  })
  const groups = plan.fields.filter((field) => field.kind === 'groups')
  if (!scope) return emptyAggregateJson(plan)
  const grouped = groupedQuery(plan, scope, links, compiled)
  const rows = groups.map((field) => sql`${groupJson(plan, field.fields, grouped, compiled)} AS ${name(`f_${field.responseKey}`)}`)
  const selected = rows.length === 0 ? sql`1 AS one` : join(rows, ', ')
  const inner = sql`SELECT ${selected} FROM (${grouped.inner}) AS g${groupTail(plan, grouped, compiled)}`
  const lists = groups.map(
    (field) => sql`'[' || coalesce(string_agg(${name('r', `f_${field.responseKey}`)}, ','), '') || ']' AS ${name(`f_${field.responseKey}`)}`,
  )
  return sql`(SELECT ${objectJson(members)} FROM (SELECT ${lists.length === 0 ? sql`1 AS one` : join(lists, ', ')} FROM (${inner}) AS r) AS a)`
}

/** Without groups an empty table still has one: a count of zero. */
function emptyAggregateJson(plan: AggregatePlan): Fragment {
  const isOne = plan.groupBy.length === 0
  return objectJson(
    plan.fields.map((field): Member => {
      if (field.kind === 'typename') return { key: field.responseKey, value: JSON.stringify(`${plan.type}Aggregate`) }
      if (!isOne) return { key: field.responseKey, value: '[]' }
      const group = field.fields.map((part) => {
        if (part.kind === 'typename') return `${JSON.stringify(part.responseKey)}:${JSON.stringify(`${plan.type}Group`)}`
        if (part.kind === 'count') return `${JSON.stringify(part.responseKey)}:"0"`
        const typename = part.kind === 'keys' ? `${plan.type}GroupKeys` : measureTypename(plan.type, part.kind)
        const inner = part.fields.map((leaf) => {
          const isTypename = ('key' in leaf ? leaf.key : leaf.field) === '__typename'
          return `${JSON.stringify(leaf.responseKey)}:${isTypename ? JSON.stringify(typename) : part.kind === 'countDistinct' ? '"0"' : 'null'}`
        })
        return `${JSON.stringify(part.responseKey)}:{${inner.join(',')}}`
      })
      return { key: field.responseKey, value: `[{${group.join(',')}}]` }
    }),
  )
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

function keyColumn(index: number): Fragment {
  return name('g', `k${index}`)
}

function groupValue(key: GroupKey, scope: ViewScope, compiled: Compilation): Expression {
  const value = fieldValue(scope, key.field, compiled)
  if (key.unit === null) return { ...value, stored: null }
  const unit = constant(TRUNCATE[key.unit])
  const zone = key.timezone ?? 'UTC'
  switch (value.form) {
    case 'timestamptz':
      // Infinite times have no unit; they count as null.
      return { ...value, nullable: true, sql: sql`(CASE WHEN isfinite(${value.sql}) THEN date_trunc(${unit}, ${value.sql}, ${constant(zone)}) END)` }
    case 'timestamp':
      return { ...value, nullable: true, sql: sql`(CASE WHEN isfinite(${value.sql}) THEN date_trunc(${unit}, ${value.sql}) END)` }
    case 'date':
      return { ...value, nullable: true, sql: sql`(CASE WHEN isfinite(${value.sql}) THEN date_trunc(${unit}, (${value.sql})::timestamp)::date END)` }
    default:
      invariant(false, 'a unit is for times')
  }
}

const TRUNCATE: Readonly<Record<TimeUnit, string>> = { HOUR: 'hour', DAY: 'day', WEEK: 'week', MONTH: 'month', QUARTER: 'quarter', YEAR: 'year' }

/** The aggregates that a measure needs, as columns `m<index>` and, for the count of an average, `c<index>`. */
function measureParts(measure: Measure, index: number, scope: ViewScope, compiled: Compilation): readonly Fragment[] {
  const column = name(`m${index}`)
  if (measure.fn === 'countDistinct') return [sql`count(DISTINCT ${distinctValue(measure, scope, compiled)}) AS ${column}`]
  const value = fieldValue(scope, measure.field, compiled)
  switch (measure.fn) {
    case 'sum':
      return [sql`sum(${exact(value)}) AS ${column}`]
    case 'avg':
      return [sql`sum(${exact(value)}) AS ${column}`, sql`count(${value.sql}) AS ${name(`c${index}`)}`]
    case 'min':
      return [sql`min(${ordered(value)}) AS ${column}`]
    case 'max':
      return [sql`max(${ordered(value)}) AS ${column}`]
  }
}

/** Floats are summed as numerics of their shortest text: a sum of floats would depend on the order of the rows, and so on the plan. */
function exact(value: Expression): Fragment {
  return value.form === 'float8' ? sql`((${value.sql})::double precision::text)::numeric` : value.sql
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
  return sql`(SELECT ${key} FROM ${fromTable(to)} WHERE ${conjunction(relationLink(measure.field, scope, to, compiled))})`
}

function partColumns(measure: Measure, index: number, plan: AggregatePlan, compiled: Compilation): readonly Fragment[] {
  const column = name('g', `m${index}`)
  if (measure.fn === 'avg') return [sql`${column}::text`, sql`${name('g', `c${index}`)}::text`]
  if (measure.fn === 'min' || measure.fn === 'max') return [sortText(extreme(measure, index, plan, compiled))]
  return [sql`${column}::text`]
}

function extreme(measure: Measure, index: number, plan: AggregatePlan, compiled: Compilation): Expression {
  const { type } = valueField(measure, plan, compiled)
  return { sql: name('g', `m${index}`), form: plainForm(type), array: false, nullable: true, type, stored: null }
}

function valueField(measure: Measure, plan: AggregatePlan, compiled: Compilation): ValueField {
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

function groupOrderTerm(term: GroupOrder, plan: AggregatePlan, grouped: Grouped, _compiled: Compilation): readonly Fragment[] {
  const direction = { parts: [{ kind: 'text' as const, text: `${term.descending ? ' DESC' : ' ASC'} NULLS ${term.nulls === 'first' ? 'FIRST' : 'LAST'}` }] }
  const { by } = term
  switch (by.kind) {
    case 'count':
      return [sql`g.n${direction}`]
    case 'measure':
      return [sql`${measureValue(by.measure, plan)}${direction}`]
    case 'key': {
      const index = grouped.keys.findIndex(({ key }) => key.field === by.field)
      const value = grouped.keys[index]?.value
      return value ? [sql`${ordered({ ...value, sql: keyColumn(index) })}${direction}`] : [] // one owner: its organization is one value
    }
  }
}

/** The number as it is released: an average has 16 fractional digits, rounded half away from zero. */
function measureValue(measure: Measure, plan: AggregatePlan): Fragment {
  const index = indexOf(measure, plan)
  const column = name('g', `m${index}`)
  if (measure.fn !== 'avg') return column
  return sql`round((${column} * 1.000000000000000000000000) / nullif(${name('g', `c${index}`)}, 0), 16)`
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
      return sql`(${having.of === 'count' ? sql`g.n` : measureValue(having.of, plan)} IS NULL)`
    case 'compare':
    case 'in': {
      const value = having.of === 'count' ? sql`g.n` : measureValue(having.of, plan)
      const isFloat = having.of !== 'count' && valueField(having.of, plan, compiled).type.name === 'Float'
      const element = isFloat ? ({ kind: 'floatDecimal' } as const) : ({ kind: 'decimal' } as const)
      if (having.kind === 'in') return sql`(${value} = ANY (${parameter(having.operand, { kind: 'list', element }, 'numeric[]')}))`
      const operator = { parts: [{ kind: 'text' as const, text: having.op }] }
      return sql`(${value} ${operator} ${parameter(having.operand, element, 'numeric')})`
    }
  }
}

// --- nested JSON of one group ----------------------------------------------------------------------------------------------------------------------------------

function groupJson(
  plan: AggregatePlan,
  fields: Extract<AggregatePlan['fields'][number], { kind: 'groups' }>['fields'],
  grouped: Grouped,
  compiled: Compilation,
): Fragment {
  return objectJson(
    fields.map((field): Member => {
      switch (field.kind) {
        case 'typename':
          return { key: field.responseKey, value: JSON.stringify(`${plan.type}Group`) }
        case 'count':
          return { key: field.responseKey, value: sql`('"' || g.n || '"')` }
        case 'keys':
          return {
            key: field.responseKey,
            value: objectJson(field.fields.map((leaf): Member => ({ key: leaf.responseKey, value: keyJson(leaf.key, plan, grouped, compiled) }))),
          }
        default: {
          const fn = field.kind
          const members = field.fields.map((leaf): Member => {
            if (leaf.field === '__typename') return { key: leaf.responseKey, value: JSON.stringify(measureTypename(plan.type, fn)) }
            return { key: leaf.responseKey, value: measureJson({ fn, field: leaf.field }, plan, compiled) }
          })
          return { key: field.responseKey, value: objectJson(members) }
        }
      }
    }),
  )
}

function keyJson(key: string, plan: AggregatePlan, grouped: Grouped, compiled: Compilation): Fragment | string {
  if (key === '__typename') return JSON.stringify(`${plan.type}GroupKeys`)
  const index = grouped.keys.findIndex((candidate) => candidate.key.field === key)
  if (index < 0) return 'null'
  const value = grouped.keys[index]?.value
  return value ? jsonText({ ...value, sql: keyColumn(index) }) : JSON.stringify(compiled.plan.organization)
}

function measureJson(measure: Measure, plan: AggregatePlan, compiled: Compilation): Fragment {
  const value = measureValue(measure, plan)
  if (measure.fn === 'countDistinct') return sql`('"' || ${value} || '"')`
  if (measure.fn === 'min' || measure.fn === 'max') return jsonText(extreme(measure, indexOf(measure, plan), plan, compiled))
  const { type } = valueField(measure, plan, compiled)
  if (type.name === 'Float') return jsonText({ sql: sql`(${value})::double precision`, form: 'float8', array: false, nullable: true, type, stored: null })
  const number = measure.fn === 'avg' ? sql`trim_scale(${value})` : value
  return sql`coalesce('"' || nullif(nullif(nullif((${number})::text, 'NaN'), 'Infinity'), '-Infinity') || '"', 'null')`
}
