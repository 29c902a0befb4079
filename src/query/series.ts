/**
 * Series over several owners. As with aggregates, a store gives parts that can be combined without loss: those of all owners are combined by group and bucket, then
 * released, then empty buckets are filled.
 */
import { invariant } from '../errors.js'
import type { Released, Take } from './aggregate.js'
import {
  combineParts,
  fieldType,
  keysJson,
  type MeasureParts,
  member,
  nullable,
  partTexts,
  present,
  quotient,
  readParts,
  releasedParts,
  shown,
  sumOf,
} from './aggregate.js'
import type { EntityType } from './catalog.js'
import { ORGANIZATION_FIELD } from './catalog.js'
import type { Decimal } from './decimal.js'
import { addDecimals, multiplyDecimals, parseDecimal, printDecimal, printFloat } from './decimal.js'
import { fillBuckets } from './fill.js'
import { compareSortKeys, compareText } from './order.js'
import type { BucketField, SeriesMeasure, SeriesPlan } from './plan.js'
import { jsonString, valueJson } from './value.js'

/** What a store gives for one measure of one bucket; in `Row.keys` as the texts of its members after `kind`, in this order. */
export type SeriesParts =
  | MeasureParts
  /** The value, and the time of its row, as sort keys; both null over no values. */
  | { readonly kind: 'first' | 'last'; readonly value: string | null; readonly time: string | null }
  /** The values at the places beside p, which is between them, and how many values there are. */
  | { readonly kind: 'percentile'; readonly low: Decimal | null; readonly high: Decimal | null; readonly count: bigint }
  /** The sum of what the counter grew by; null where no row has one before it. */
  | { readonly kind: 'rate'; readonly increase: Decimal | null }

/** One bucket of one group that has rows. */
export interface BucketRow {
  /** JSON texts in the order of `groupBy`, the organization included. */
  readonly keys: readonly string[]
  /** A bound of the plan, as a sort key. */
  readonly start: string
  readonly count: bigint
  /** In the order of `measures`. */
  readonly measures: readonly SeriesParts[]
}

/** The buckets of a request. */
export interface BucketTimes {
  /** Sort keys: starts in order, and the end of the last one. */
  readonly bounds: readonly string[]
  /** Places of the starts. */
  readonly indexOf: ReadonlyMap<string, number>
  /** Microseconds of each bound. */
  readonly micros: readonly bigint[]
  readonly fromMicros: bigint
  readonly toMicros: bigint
}

/** A bucket of one owner, from `Row.keys`. */
export function readBucket(plan: SeriesPlan, texts: readonly (string | null)[], organization: string): BucketRow {
  let next = 0
  const take: Take = () => {
    const text = texts[next++]
    invariant(text !== undefined, 'a bucket lacks parts')
    return text
  }
  const keys = plan.groupBy.map((key) => (key.field === ORGANIZATION_FIELD ? jsonString(organization) : present(take())))
  const start = present(take())
  const count = BigInt(present(take()))
  const measures = plan.measures.map((measure) => readSeriesParts(measure, take))
  invariant(next === texts.length, 'a bucket has parts that nobody asked for')
  return { keys, start, count, measures }
}

function readSeriesParts({ fn }: SeriesMeasure, take: Take): SeriesParts {
  switch (fn) {
    case 'first':
    case 'last':
      return { kind: fn, value: take(), time: take() }
    case 'percentile':
      return { kind: fn, low: nullable(take(), parseDecimal), high: nullable(take(), parseDecimal), count: BigInt(present(take())) }
    case 'rate':
      return { kind: fn, increase: nullable(take(), parseDecimal) }
    case 'sum':
    case 'avg':
    case 'min':
    case 'max':
      return readParts(fn, take)
  }
}

/** `Row.keys` of a bucket: what `readBucket` reads. */
export function bucketTexts(plan: SeriesPlan, row: BucketRow): (string | null)[] {
  const keys = row.keys.filter((_, index) => plan.groupBy[index]?.field !== ORGANIZATION_FIELD)
  return [...keys, row.start, row.count.toString(), ...row.measures.flatMap(seriesPartTexts)]
}

function seriesPartTexts(parts: SeriesParts): (string | null)[] {
  switch (parts.kind) {
    case 'first':
    case 'last':
      return [parts.value, parts.time]
    case 'percentile':
      return [nullable(parts.low, printDecimal), nullable(parts.high, printDecimal), parts.count.toString()]
    case 'rate':
      return [nullable(parts.increase, printDecimal)]
    default:
      return partTexts(parts)
  }
}

/** Groups with their buckets by start. */
interface Series {
  readonly keys: readonly string[]
  readonly buckets: Map<string, BucketRow>
}

/**
 * The JSON text of the series, ordered by the texts of their keys. Without `groupBy` there is exactly one, over no rows as well.
 *
 * INVARIANT: with `percentile` no two owners share a group (the planner refuses that as NOT_EXACT). Rows of owners come in the order of their organizations.
 *
 * @param pOf gives the value of a measure's `p`
 */
export function seriesJson(
  plan: SeriesPlan,
  entity: EntityType,
  { rows, times, pOf }: { readonly rows: readonly BucketRow[]; readonly times: BucketTimes; readonly pOf: (measure: SeriesMeasure) => number },
): string {
  const all = combinedSeries(plan, entity, rows).map((series) => {
    const texts = plan.fields.map((field) => {
      switch (field.kind) {
        case 'typename':
          return member(field.responseKey, jsonString(`${plan.type}Series`))
        case 'keys':
          return member(field.responseKey, keysJson(plan, series, field.fields))
        case 'buckets':
          return member(field.responseKey, bucketsJson(plan, field.fields, releasedBuckets(plan, entity, series, { times, pOf }), times))
      }
    })
    return `{${texts.join(',')}}`
  })
  return `[${all.join(',')}]`
}

/** How many buckets the series list, over all groups. */
export function listedBuckets(plan: SeriesPlan, rows: readonly BucketRow[], { bounds }: BucketTimes): number {
  if (plan.fill === null) return rows.length
  return new Set(rows.map(({ keys }) => JSON.stringify(keys))).size * (bounds.length - 1)
}

function combinedSeries(plan: SeriesPlan, entity: EntityType, rows: readonly BucketRow[]): readonly Series[] {
  const combined = new Map<string, Series>()
  if (plan.groupBy.length === 0) combined.set('[]', { keys: [], buckets: new Map() })
  for (const row of rows) {
    const name = JSON.stringify(row.keys)
    const series = combined.get(name) ?? { keys: row.keys, buckets: new Map<string, BucketRow>() }
    combined.set(name, series)
    const other = series.buckets.get(row.start)
    series.buckets.set(row.start, other ? combineRows(plan, entity, [other, row]) : row)
  }
  return [...combined.values()].sort((a, b) => compareKeys(a.keys, b.keys))
}

function compareKeys(a: readonly string[], b: readonly string[]): number {
  for (const [index, key] of a.entries()) {
    const order = compareText(key, b[index] ?? '')
    if (order !== 0) return order
  }
  return 0
}

function combineRows(plan: SeriesPlan, entity: EntityType, [a, b]: readonly [BucketRow, BucketRow]): BucketRow {
  const measures = plan.measures.map(({ field }, index): SeriesParts => {
    const [x, y] = [a.measures[index], b.measures[index]]
    invariant(x && y && x.kind === y.kind, 'buckets of one plan have the same measures')
    switch (x.kind) {
      case 'first':
      case 'last':
        return chosen(fieldType(entity, plan.time), x, y as typeof x)
      case 'percentile':
        throw new Error('invariant: percentiles of two owners cannot be combined')
      case 'rate':
        return { kind: x.kind, increase: sumOf(x.increase, (y as typeof x).increase) }
      default:
        return combineParts(entity, field, [x, y as MeasureParts]) // of the same kind, above
    }
  })
  return { ...a, count: a.count + b.count, measures }
}

/** Of rows of one time the earlier organization's is the first, and the later one's the last. */
function chosen<Parts extends Extract<SeriesParts, { kind: 'first' | 'last' }>>(type: Released['type'], x: Parts, y: Parts): Parts {
  if (x.time === null || y.time === null) return x.time === null ? y : x
  const order = compareSortKeys(type, x.time, y.time)
  return x.kind === 'first' ? (order <= 0 ? x : y) : order <= 0 ? y : x
}

// --- released buckets ------------------------------------------------------------------------------------------------------------------------------------------

/** A bucket as the caller sees it. */
export interface ReleasedBucket {
  /** Of the bounds. */
  readonly index: number
  readonly count: bigint
  /** In the order of `measures`. */
  readonly measures: readonly Released[]
}

interface ReleaseContext {
  readonly times: BucketTimes
  readonly pOf: (measure: SeriesMeasure) => number
}

function releasedBuckets(plan: SeriesPlan, entity: EntityType, { buckets }: Series, context: ReleaseContext): readonly ReleasedBucket[] {
  const { indexOf, micros } = context.times
  const released = [...buckets.values()].map((row): ReleasedBucket => {
    const index = indexOf.get(row.start)
    invariant(index !== undefined, 'a bucket starts at a bound')
    const measures = plan.measures.map((measure, place) => {
      const parts = row.measures[place]
      invariant(parts, 'a bucket has every measure of its plan')
      return shown(releasedMeasure(entity, measure, parts, index, context))
    })
    return { index, count: row.count, measures }
  })
  released.sort((a, b) => a.index - b.index)
  const types = plan.measures.map((measure) => measureType(entity, measure))
  return plan.fill === null ? released : fillBuckets(plan.fill, released, { types, micros })
}

function releasedMeasure(entity: EntityType, measure: SeriesMeasure, parts: SeriesParts, index: number, { times, pOf }: ReleaseContext): Released {
  const { field } = measure
  switch (parts.kind) {
    case 'first':
    case 'last':
      return { type: fieldType(entity, field), sortKey: parts.value }
    case 'percentile': {
      const value = interpolated(parts, pOf(measure))
      return value ? quotient(entity, field, value, 1n) : { type: measureType(entity, measure), sortKey: null }
    }
    case 'rate': {
      if (!parts.increase) return { type: measureType(entity, measure), sortKey: null }
      return quotient(entity, field, multiplyDecimals(parts.increase, whole(1_000_000n)), microsInRange(index, times))
    }
    default:
      return releasedParts(entity, field, parts)
  }
}

/** Of a bucket at an end of the range only that part has rows. */
function microsInRange(index: number, { micros, fromMicros, toMicros }: BucketTimes): bigint {
  const [start, end] = [micros[index], micros[index + 1]]
  invariant(start !== undefined && end !== undefined, 'a bucket has bounds')
  return (end < toMicros ? end : toMicros) - (start > fromMicros ? start : fromMicros)
}

/** Between two values, at the fraction of p's place; the first where p stands on it. */
function interpolated({ low, high, count }: Extract<SeriesParts, { kind: 'percentile' }>, p: number): Decimal | null {
  if (!low || !high) return null
  const exact = parseDecimal(printFloat(p))
  invariant(exact.kind === 'finite', 'p is a fraction')
  const [units, scale] = [exact.units * (count - 1n), exact.scale]
  const fraction = units % 10n ** BigInt(scale)
  if (fraction === 0n) return low
  return addDecimals(low, multiplyDecimals(addDecimals(high, multiplyDecimals(low, whole(-1n))), { kind: 'finite', units: fraction, scale }))
}

function whole(units: bigint): Decimal {
  return { kind: 'finite', units, scale: 0 }
}

function measureType(entity: EntityType, { fn, field }: SeriesMeasure): Released['type'] {
  switch (fn) {
    case 'first':
    case 'last':
      return fieldType(entity, field)
    case 'sum':
    case 'min':
    case 'max':
      return releasedParts(entity, field, fn === 'sum' ? { kind: fn, sum: null } : { kind: fn, value: null }).type
    case 'avg':
    case 'percentile':
    case 'rate':
      return releasedParts(entity, field, { kind: 'avg', sum: null, count: 0n }).type
  }
}

// --- JSON ------------------------------------------------------------------------------------------------------------------------------------------------------

const MEASURE_TYPES = { sum: 'Sum', avg: 'Avg', percentile: 'Avg', rate: 'Avg', min: 'Extreme', max: 'Extreme', first: 'Extreme', last: 'Extreme' } as const

function bucketsJson(plan: SeriesPlan, fields: readonly BucketField[], buckets: readonly ReleasedBucket[], { bounds }: BucketTimes): string {
  const texts = buckets.map((bucket) => `{${fields.map((field) => member(field.responseKey, bucketFieldJson(plan, field, bucket, bounds))).join(',')}}`)
  return `[${texts.join(',')}]`
}

function bucketFieldJson({ type }: SeriesPlan, field: BucketField, { index, count, measures }: ReleasedBucket, bounds: readonly string[]): string {
  switch (field.kind) {
    case 'typename':
      return jsonString(`${type}Bucket`)
    case 'start':
      return jsonString(`${bounds[index] ?? ''}Z`)
    case 'end':
      return jsonString(`${bounds[index + 1] ?? ''}Z`)
    case 'count':
      return jsonString(count.toString())
    case 'measures': {
      const leaves = field.fields.map(({ responseKey, measure }) => {
        if (measure === null) return member(responseKey, jsonString(type + MEASURE_TYPES[field.fn]))
        const released = measures[measure]
        invariant(released, 'a bucket has every measure of its plan')
        return member(responseKey, valueJson(released.type, released.sortKey))
      })
      return `{${leaves.join(',')}}`
    }
  }
}
