/** Random series of tasks over `createdAt`: what they ask, their text, the fields that they touch, and what must come of them by PostgreSQL's own calendar. */
import fc from 'fast-check'
import type pg from 'pg'
import type { AggregateSpec, Documents, Printer, Use } from './documents.js'
import { Enum, literal, usesOfAggregate } from './documents.js'
import { building, enumOf, groupKeySql, measureOutput, measureSql, OUTPUT, place, scalarOf, whereSql } from './oracle.js'
import type { Viewer } from './world.js'

export interface SeriesSpec extends Pick<AggregateSpec, 'type' | 'where' | 'groupBy'> {
  /** Fields by function, which for a percentile has its fraction: `percentile 0.5`. */
  readonly measures: Readonly<Record<string, readonly string[]>>
  readonly range: { readonly from: string; readonly to: string }
  readonly bucket: string
  readonly timezone?: string
  readonly origin?: string
  readonly isFilled: boolean
}

const RANGES: readonly SeriesSpec['range'][] = [
  { from: '2025-12-31T23:59:59.999999Z', to: '2026-02-01T00:00:00Z' },
  { from: '2026-02-01T00:00:00Z', to: '2026-02-01T00:00:00.000001Z' },
  { from: '2026-01-01T00:00:00Z', to: '2026-04-02T00:00:00Z' },
  { from: '2025-10-10T12:34:56Z', to: '2026-03-15T12:00:00.500001Z' },
]
/** With PostgreSQL's words for the same. */
const UNITS: Readonly<Record<string, readonly [unit: string, step: string]>> = {
  P1D: ['day', '1 day'],
  P1W: ['week', '7 days'],
  P1M: ['month', '1 month'],
  P3M: ['quarter', '3 months'],
  P1Y: ['year', '1 year'],
}
const WIDTHS: Readonly<Record<string, string>> = {
  PT6H: '6 hours',
  PT90M: '90 minutes',
  PT24H: '24 hours',
  PT100H: '100 hours',
  'PT12H0.5S': '12 hours 0.5 seconds',
}
const ORIGINS = ['2026-01-01T00:30:00Z', '2031-06-01T12:00:00.25Z'] as const

/** Measures and groups are those of a drawn aggregate. */
export function seriesOf(documents: Documents): fc.Arbitrary<SeriesSpec> {
  return fc
    .record({
      aggregate: documents.aggregate('Task'),
      range: fc.constantFrom(...RANGES),
      bucket: fc.constantFrom(...Object.keys(UNITS), ...Object.keys(WIDTHS)),
      timezone: fc.option(fc.constantFrom('Europe/Berlin', 'America/New_York', 'Asia/Kathmandu'), { nil: undefined, freq: 3 }),
      origin: fc.option(fc.constantFrom(...ORIGINS), { nil: undefined, freq: 1 }),
      more: fc.constantFrom(['min', 'max'], ['first', 'last']),
      others: fc.constantFrom(['sum', 'avg'], ['percentile 0.5', 'rate'], ['percentile 0.95', 'rate'], ['percentile 1', 'avg']),
      isFilled: fc.boolean(),
    })
    .map(({ aggregate: { where, groupBy, measures }, origin, timezone, more, others, ...rest }) => {
      const named: Record<string, readonly string[]> = {}
      for (const [fn, fields] of Object.entries(measures)) {
        const name = { min: more[0], max: more[1], sum: others[0], avg: others[1] }[fn]
        if (name !== undefined) named[name] = fields
      }
      const place = { ...(timezone !== undefined && { timezone }), ...(origin !== undefined && rest.bucket in WIDTHS && { origin }) }
      return { type: 'Task', groupBy, measures: named, ...(where && { where }), ...place, ...rest }
    })
}

export function isByOrganization({ groupBy }: SeriesSpec): boolean {
  return groupBy.some(({ field }) => field === 'organization')
}

export function hasPercentile({ measures }: SeriesSpec): boolean {
  return Object.keys(measures).some((fn) => fn.startsWith('percentile'))
}

/** Arguments and selection of `taskSeries`. */
export function printSeries(series: SeriesSpec, printer: Printer, more: readonly (readonly [string, string, unknown])[] = []): string {
  const { type, where, groupBy, measures, range, bucket, timezone, origin, isFilled } = series
  const given = printer.arguments([
    ['where', `${type}Where`, where],
    ['range', 'TimeRange!', range],
    ['bucket', 'Duration!', bucket],
    ['timezone', 'String!', timezone],
    ['origin', 'DateTime', origin],
    ['fill', 'Fill', isFilled ? new Enum('NULL') : undefined],
    ...more,
  ])
  const keys = groupBy.map(({ field, unit, timezone: zone }) =>
    literal({ field: new Enum(enumOf(field)), ...(unit && { unit }), ...(zone !== undefined && { timezone: zone }) }),
  )
  const selected = Object.entries(measures).map(([fn, fields]) => {
    const [name, p] = fn.split(' ')
    return `${p === undefined ? name : `${name}(p: ${p})`} { ${fields.join(' ')} }`
  })
  const selectedKeys = groupBy.length === 0 ? '' : `keys { ${groupBy.map(({ field }) => field).join(' ')} }`
  return `(groupBy: [${keys.join(', ')}], ${given.slice(1)} { ${selectedKeys} buckets { start end count ${selected.join(' ')} } }`
}

export function usesOfSeries({ type, where, groupBy, measures }: SeriesSpec): readonly Use[] {
  const time = (['range', 'group', 'order'] as const).map((how): Use => ({ type, field: 'createdAt', how }))
  return [...time, ...usesOfAggregate({ type, groupBy, measures, ...(where && { where }) })]
}

// --- expected --------------------------------------------------------------------------------------------------------------------------------------------------

/** The series as the API shows them. */
export async function expectedSeries(oracle: pg.Client, viewer: Viewer, series: SeriesSpec, owners: readonly string[]): Promise<readonly unknown[]> {
  const build = building(viewer)
  const alias = build.alias()
  const { type, groupBy, range } = series
  const [from, to] = [place(range.from, 'timestamptz', build), place(range.to, 'timestamptz', build)]
  const { startOf, endOf, starts } = calendarSql(series, { from, to })
  const keys = groupBy.map(({ field, unit, timezone }) => ({ field, sql: groupKeySql(type, field, { unit, timezone }, alias) }))
  const measures = Object.entries(series.measures).flatMap(([fn, fields]) => fields.map((field) => ({ fn, field })))
  const points = `SELECT ${alias}.*, ${[...keys.map(({ sql }, index) => `${sql} AS k${index},`), `${startOf(`${alias}."createdAt"`)} AS b`].join(' ')}
    FROM ${build.schema}.${type} ${alias} WHERE ${alias}.organization = ANY (${place(owners, 'text[]', build)})
    AND ${alias}."createdAt" >= ${from} AND ${alias}."createdAt" < ${to} AND ${whereSql(type, series.where, alias, build)}`
  const names = keys.map((_key, index) => `p.k${index}`)
  const grown = measures.flatMap(({ fn, field }, index) => (fn === 'rate' ? [`${growthSql(exactSql(field), names)} AS r${index}`] : []))
  const width = `extract(epoch FROM least(${endOf('p.b')}, ${to}) - greatest(p.b, ${from}))::numeric`
  const columns = measures.map(({ fn, field }, index) => `${partSql(fn, field, { index, width, build })} AS m${index}`)
  const group = [...names, 'p.b']
  const inner = `SELECT ${[...group, 'count(*) AS n', ...columns].join(', ')} FROM (SELECT ${['p.*', ...grown].join(', ')} FROM (${points}) AS p) AS p GROUP BY ${group.join(', ')}`
  const keyJson = keys.map(
    ({ field }, index) => `to_json(${field === 'organization' ? `g.k${index}` : (OUTPUT[scalarOf(type, field)] ?? String)(`g.k${index}`)}) AS k${index}`,
  )
  const outer = [
    `iso(g.b) AS s`,
    `iso(${endOf('g.b')}) AS e`,
    'g.n::text AS n',
    ...measures.map(({ fn, field }, index) => `to_json(${outputOf(fn, field)(`g.m${index}`)}) AS m${index}`),
  ]
  const found = await oracle.query<Record<string, unknown>>(`SELECT ${[...keyJson, ...outer].join(', ')} FROM (${inner}) AS g ORDER BY g.b`, build.parameters)
  const every = await oracle.query<{ s: string; e: string }>(
    `SELECT iso(b) AS s, iso(${endOf('b')}) AS e FROM (SELECT ${starts} AS b) AS x WHERE ${endOf('b')} > $1::timestamptz AND b < $2::timestamptz`,
    [range.from, range.to],
  )
  const all = new Map<string, { readonly keys: Record<string, unknown>; readonly rows: Record<string, unknown>[] }>()
  if (keys.length === 0) all.set('[]', { keys: {}, rows: [] })
  for (const row of found.rows) {
    const name = keys.map((_key, index) => JSON.stringify(row[`k${index}`]))
    const one = all.get(JSON.stringify(name)) ?? { keys: Object.fromEntries(keys.map(({ field }, index) => [field, row[`k${index}`]])), rows: [] }
    all.set(JSON.stringify(name), one)
    one.rows.push(row)
  }
  const bucketOf = (row: Record<string, unknown>): Record<string, unknown> => {
    const bucket: Record<string, unknown> = { start: row['s'], end: row['e'], count: row['n'] ?? '0' }
    measures.forEach(({ fn, field }, index) => {
      const [name = ''] = fn.split(' ')
      bucket[name] = { ...(bucket[name] as object | undefined), [field]: row[`m${index}`] ?? null }
    })
    return bucket
  }
  const rowsOf = (rows: readonly Record<string, unknown>[]): readonly Record<string, unknown>[] =>
    series.isFilled ? every.rows.map((each) => rows.find(({ s }) => s === each.s) ?? { ...each }) : rows
  return [...all]
    .sort(([a], [b]) => compareNames(JSON.parse(a) as string[], JSON.parse(b) as string[]))
    .map(([, { keys: shown, rows }]) => ({ ...(keys.length > 0 && { keys: shown }), buckets: rowsOf(rows).map(bucketOf) }))
}

/** By the JSON texts of the keys, as bytes. */
function compareNames(a: readonly string[], b: readonly string[]): number {
  return a.reduce((order, name, index) => order || Buffer.compare(Buffer.from(name), Buffer.from(b[index] ?? '')), 0)
}

interface CalendarSql {
  readonly startOf: (time: string) => string
  readonly endOf: (start: string) => string
  /** A set of starts that has all those of the range. */
  readonly starts: string
}

function calendarSql({ bucket, timezone = 'UTC', origin }: SeriesSpec, { from, to }: { readonly from: string; readonly to: string }): CalendarSql {
  const unit = UNITS[bucket]
  if (unit) {
    const local = (time: string): string => `(${time} AT TIME ZONE '${timezone}')`
    return {
      startOf: (time) => `date_trunc('${unit[0]}', ${time}, '${timezone}')`,
      endOf: (start) => `((${local(start)} + interval '${unit[1]}') AT TIME ZONE '${timezone}')`,
      starts: `generate_series(date_trunc('${unit[0]}', ${local(from)}), ${local(to)}, interval '${unit[1]}') AT TIME ZONE '${timezone}'`,
    }
  }
  const width = `interval '${WIDTHS[bucket]}'`
  const first = origin === undefined ? `(timestamp '2000-01-03' AT TIME ZONE '${timezone}')` : `timestamptz '${origin}'`
  const startOf = (time: string): string => `date_bin(${width}, ${time}, ${first})`
  return { startOf, endOf: (start) => `(${start} + ${width})`, starts: `generate_series(${startOf(from)}, ${to}, ${width})` }
}

const ORDER = 'p."createdAt", p.organization COLLATE "C", p.sort_number, p.sort_text COLLATE "C"'

function exactSql(field: string): string {
  return scalarOf('Task', field) === 'Float' ? `p."${field}"::text::numeric` : `p."${field}"::numeric`
}

/** Counters of two owners are two counters. */
function growthSql(value: string, keys: readonly string[]): string {
  const before = `lag(${value}) OVER (PARTITION BY ${[...keys, 'p.organization', `${value} IS NULL`].join(', ')} ORDER BY ${ORDER})`
  return `CASE WHEN ${value} < ${before} THEN ${value} ELSE ${value} - ${before} END`
}

function partSql(
  fn: string,
  field: string,
  { index, width, build }: { readonly index: number; readonly width: string; readonly build: Parameters<typeof measureSql>[4] },
): string {
  const hasValue = `FILTER (WHERE p."${field}" IS NOT NULL)`
  const [name, p] = fn.split(' ')
  if (name === 'first') return `(array_agg(p."${field}" ORDER BY ${ORDER}) ${hasValue})[1]`
  if (name === 'last') return `(array_agg(p."${field}" ORDER BY ${ORDER}) ${hasValue})[count(p."${field}")]`
  if (name === 'rate') return `sum(p.r${index})::numeric(400, 60) / min(${width})`
  if (name !== 'percentile') return measureSql('Task', fn, field, 'p', build)
  const place = `(count(p."${field}") - 1) * ${p}::numeric`
  const at = (which: string): string => `(array_agg(${exactSql(field)} ORDER BY ${exactSql(field)}) ${hasValue})[${which}(${place})::integer + 1]`
  return `(${at('floor')} + (${at('ceil')} - ${at('floor')}) * (${place} - floor(${place})))`
}

function outputOf(fn: string, field: string): (column: string) => string {
  const like = { first: 'min', last: 'max', rate: 'avg' }[fn] ?? (fn.startsWith('percentile') ? 'avg' : fn)
  return measureOutput('Task', like, field)
}
