/** Series over the readable view. Buckets are found row by row from what they are made of, not from the bounds that the gateway has reckoned. */
import { invariant } from '../../errors.js'
import type { ValueType } from '../../query/catalog.js'
import type { Decimal } from '../../query/decimal.js'
import { addDecimals, compareDecimals, multiplyDecimals, parseDecimal, printFloat, sumDecimals, trimDecimal } from '../../query/decimal.js'
import { parseWidth } from '../../query/duration.js'
import { fits, operandValue } from '../../query/evaluate.js'
import { compareSortKeys, compareText } from '../../query/order.js'
import type { SeriesMeasure, SeriesPlan } from '../../query/plan.js'
import type { Operand } from '../../query/predicate.js'
import { type BucketRow, bucketTexts, type SeriesParts } from '../../query/series.js'
import { compareKeys, groupKeyJson, measureParts } from './answer.js'
import { instantOf, msWall, offsetMs, parseWall, printWall, wallMs } from './calendar.js'
import type { Reading, ViewRow } from './row.js'

/** `Row.keys` of each group and bucket that has rows, in the order of their texts; at most one more than the plan's limit. */
export function seriesTexts(reading: Reading, plan: SeriesPlan, candidates: readonly ViewRow[]): (string | null)[][] {
  const groups = new Map<string, { readonly keys: readonly string[]; readonly rows: ViewRow[] }>()
  for (const row of candidates) {
    if (!fits(plan.where, row, reading.values)) continue
    const keys = plan.groupBy.map((key) => groupKeyJson(reading, key, row))
    const group = groups.get(JSON.stringify(keys)) ?? { keys, rows: [] }
    groups.set(JSON.stringify(keys), group)
    group.rows.push(row)
  }
  const buckets = [...groups.values()].flatMap(({ keys, rows }) => bucketRows(reading, plan, keys, rows))
  const type = timeType(reading, plan)
  buckets.sort((a, b) => compareAll(a.keys, b.keys) || compareSortKeys(type, a.start, b.start))
  return buckets.slice(0, plan.bucketsMax + 1).map((row) => bucketTexts(plan, row))
}

function compareAll(a: readonly string[], b: readonly string[]): number {
  return a.reduce((order, key, index) => order || compareText(key, b[index] ?? ''), 0)
}

function timeType(reading: Reading, plan: SeriesPlan): ValueType {
  const field = reading.entity(plan.type).fields.get(plan.time)
  invariant(field?.kind === 'value', 'a time is a value')
  return field.type
}

/** @param rows of one group */
function bucketRows(reading: Reading, plan: SeriesPlan, keys: readonly string[], rows: readonly ViewRow[]): BucketRow[] {
  const type = timeType(reading, plan)
  const inOrder = [...rows].sort((a, b) => compareSortKeys(type, timeOf(a, plan), timeOf(b, plan)) || compareKeys(a, a.keyTexts(), b.keyTexts()))
  const growths = plan.measures.map((measure) => (measure.fn === 'rate' ? growthsOf(inOrder, measure.field) : new Map<ViewRow, Decimal>()))
  const startOf = bucketStart(reading, plan, type)
  const buckets = new Map<string, ViewRow[]>()
  for (const row of inOrder) {
    const start = startOf(timeOf(row, plan))
    buckets.set(start, [...(buckets.get(start) ?? []), row])
  }
  return [...buckets].map(([start, own]) => ({
    keys,
    start,
    count: BigInt(own.length),
    measures: plan.measures.map((measure, index) => partsOf(reading, plan, measure, own, growths[index] ?? new Map())),
  }))
}

function timeOf(row: ViewRow, plan: SeriesPlan): string {
  return textValue(row, plan.time) ?? ''
}

function textValue(row: ViewRow, field: string): string | null {
  const value = row.value(field)
  invariant(value === null || typeof value === 'string', 'a measure is of a scalar')
  return value
}

/** What a counter grew by at a row, since the row before it that has a value. */
function growthsOf(rows: readonly ViewRow[], field: string): Map<ViewRow, Decimal> {
  const growths = new Map<ViewRow, Decimal>()
  let before: Decimal | null = null
  for (const row of rows) {
    const text = textValue(row, field)
    if (text === null) continue
    const value = parseDecimal(text)
    if (before) growths.set(row, compareDecimals(value, before) >= 0 ? addDecimals(value, multiplyDecimals(before, MINUS_ONE)) : value)
    before = value
  }
  return growths
}

const MINUS_ONE: Decimal = { kind: 'finite', units: -1n, scale: 0 }

/** @param rows of one bucket, in order */
function partsOf(reading: Reading, plan: SeriesPlan, measure: SeriesMeasure, rows: readonly ViewRow[], growths: ReadonlyMap<ViewRow, Decimal>): SeriesParts {
  const withValue = rows.filter((row) => textValue(row, measure.field) !== null)
  switch (measure.fn) {
    case 'sum':
    case 'avg':
    case 'min':
    case 'max':
      return measureParts(reading.entity(plan.type), measure, rows)
    case 'first':
    case 'last': {
      const row = measure.fn === 'first' ? withValue[0] : withValue.at(-1)
      return { kind: measure.fn, value: row ? textValue(row, measure.field) : null, time: row ? timeOf(row, plan) : null }
    }
    case 'percentile': {
      const values = withValue.map((row) => trimDecimal(parseDecimal(textValue(row, measure.field) ?? ''))).sort(compareDecimals)
      const p = parseDecimal(printFloat(Number(operandValue(measure.p, reading.values))))
      invariant(p.kind === 'finite', 'p is a fraction')
      const [place, unit] = [p.units * BigInt(values.length - 1), 10n ** BigInt(p.scale)]
      const [low, high] = [values[Number(place / unit)], values[Number((place + unit - 1n) / unit)]]
      return { kind: measure.fn, low: values.length > 0 ? (low ?? null) : null, high: values.length > 0 ? (high ?? null) : null, count: BigInt(values.length) }
    }
    case 'rate': {
      const own = rows.flatMap((row) => growths.get(row) ?? [])
      return { kind: measure.fn, increase: own.length === 0 ? null : trimDecimal(sumDecimals(own)) }
    }
  }
}

// --- buckets ---------------------------------------------------------------------------------------------------------------------------------------------------

const DAY = 86_400_000_000n

/** Gives the start of the bucket that a time lies in, as a sort key. */
function bucketStart(reading: Reading, plan: SeriesPlan, type: ValueType): (time: string) => string {
  const textOf = (operand: Operand | null): string | null => {
    const value = operand ? operandValue(operand, reading.values) : null
    return value === null ? null : String(value)
  }
  const width = parseWidth(textOf(plan.buckets.width) ?? '')
  invariant(width, 'a width that was checked')
  const zone = type.name === 'LocalDateTime' ? 'UTC' : (textOf(plan.buckets.timezone) ?? 'UTC')
  const given = textOf(plan.buckets.origin)
  const origin = given === null ? null : onWall(zone, micros(given.replace('Z', '')))
  if (width.kind === 'time') {
    const first = ofWall(zone, origin ?? micros('2000-01-03T00:00:00'))
    return (time) => print(first + down(micros(time) - first, width.micros) * width.micros)
  }
  const first = origin ?? micros(width.kind === 'days' ? '2000-01-03T00:00:00' : '2000-01-01T00:00:00')
  const place = (index: bigint): bigint =>
    ofWall(zone, width.kind === 'days' ? first + index * BigInt(width.count) * DAY : monthsLater(first, index * BigInt(width.count)))
  return (time) => {
    const wall = onWall(zone, micros(time))
    const near = width.kind === 'days' ? down(wall - first, BigInt(width.count) * DAY) : down(monthOf(wall) - monthOf(first), BigInt(width.count))
    // The last one that has begun; clocks that change may move it by a place.
    for (let index = near + 2n; ; index -= 1n) if (place(index) <= micros(time)) return print(place(index))
  }
}

function monthOf(wall: bigint): bigint {
  const { year, month } = msWall(Number(down(wall, 1_000_000n) * 1_000n))
  return BigInt(year * 12 + month - 1)
}

function monthsLater(wall: bigint, months: bigint): bigint {
  const seconds = down(wall, 1_000_000n)
  const at = Number(monthOf(wall) + months)
  const moved = wallMs({ ...msWall(Number(seconds * 1_000n)), year: Math.floor(at / 12), month: (at % 12) + 1 })
  return BigInt(moved) * 1_000n + wall - seconds * 1_000_000n
}

/** Of a sort key. */
function micros(time: string): bigint {
  const [, fraction = ''] = time.split('.')
  return BigInt(wallMs(parseWall(time))) * 1_000n + BigInt(fraction.padEnd(6, '0'))
}

function print(at: bigint): string {
  const seconds = down(at, 1_000_000n)
  const fraction = (at - seconds * 1_000_000n).toString().padStart(6, '0').replace(/0+$/, '')
  return printWall(msWall(Number(seconds * 1_000n))) + (fraction === '' ? '' : `.${fraction}`)
}

function onWall(zone: string, instant: bigint): bigint {
  return zone === 'UTC' ? instant : instant + BigInt(offsetMs(zone, Number(down(instant, 1_000_000n) * 1_000n))) * 1_000n
}

function ofWall(zone: string, wall: bigint): bigint {
  const seconds = down(wall, 1_000_000n)
  return zone === 'UTC' ? wall : BigInt(instantOf(zone, Number(seconds * 1_000n))) * 1_000n + wall - seconds * 1_000_000n
}

function down(value: bigint, by: bigint): bigint {
  const rest = value % by
  return (value - (rest < 0n ? rest + by : rest)) / by
}
