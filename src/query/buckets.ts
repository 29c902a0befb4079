/**
 * Where the buckets of a series lie. They are reckoned here once for all owners, so that stores need no zones of their own, and buckets of several owners are the same
 * ones whatever zones their servers know. Pure.
 */
import { GatewayError } from '../errors.js'
import { parseWidth, type Width } from './duration.js'
import { DAY_MICROS, floored, isTimezone, microsOf, textOfMicros, Zone } from './zone.js'

export interface BucketSpec {
  /** Canonical DateTimes. */
  readonly from: string
  readonly to: string
  /** A Duration. */
  readonly width: string
  readonly timezone: string
  readonly origin: string | null
}

export interface BucketLimits {
  readonly bucketsMax: number
  /** Names the series, for refusals. */
  readonly path: string
}

/** A Monday, of which the years, months and weeks of most calendars can be counted. */
const ORIGIN = microsOf('2000-01-03T00:00:00')
const ORIGIN_OF_MONTHS = microsOf('2000-01-01T00:00:00')

/**
 * Where each bucket that touches the range starts, then where the last one ends: canonical LocalDateTimes, in UTC, strictly ascending.
 *
 * @throws GatewayError BAD_USER_INPUT; QUERY_TOO_COSTLY where there are more than `bucketsMax`
 */
export function bucketBounds(spec: BucketSpec, { bucketsMax, path }: BucketLimits): readonly string[] {
  const refusal: Refusal = (detail, argument) => new GatewayError('BAD_USER_INPUT', detail, { argument: `${path}.${argument}` })
  const [from, to] = [microsOf(spec.from), microsOf(spec.to)]
  if (from >= to) throw refusal('the range is empty: `from` must be before `to`', 'range')
  const width = parseWidth(spec.width)
  if (!width) throw refusal('a width must be one unit of the calendar, or hours, minutes and seconds, and not zero', 'bucket')
  if (!isTimezone(spec.timezone)) throw refusal('unknown time zone', 'timezone')
  const zone = new Zone(spec.timezone)
  const { startOf, near } = gridOf(width, zone, spec.origin === null ? null : zone.wallOf(microsOf(spec.origin)), refusal)
  // Where the clocks change, a bucket may lie one place beside where a calendar without zones has it.
  let index = near(from)
  while (startOf(index) > from) index -= 1n
  while (startOf(index + 1n) <= from) index += 1n
  const bounds: bigint[] = [startOf(index)]
  for (let last = bounds[0] ?? from; last < to;) {
    index += 1n
    const next = startOf(index)
    if (next <= last) continue // days that a zone has left out
    bounds.push((last = next))
    if (bounds.length > bucketsMax + 1) throw new GatewayError('QUERY_TOO_COSTLY', `more than ${bucketsMax} buckets`, { argument: `${path}.bucket` })
  }
  return bounds.map((bound) => {
    const text = textOfMicros(bound)
    if (text === null) throw refusal(OUTSIDE, 'bucket')
    return text
  })
}

type Refusal = (detail: string, argument: 'range' | 'bucket' | 'timezone' | 'origin') => GatewayError

const OUTSIDE = 'a bucket lies outside the years 0001 to 9999'
const LAST_MONTH = 10_000n * 12n

/** A bucket for every whole number. */
interface Grid {
  readonly startOf: (index: bigint) => bigint
  /** The bucket of an instant, or one near it. */
  readonly near: (instant: bigint) => bigint
}

/** @param origin on the wall */
function gridOf(width: Width, zone: Zone, origin: bigint | null, refusal: Refusal): Grid {
  switch (width.kind) {
    case 'time': {
      const first = zone.instantOf(origin ?? ORIGIN)
      return { startOf: (index) => first + index * width.micros, near: (instant) => floored(instant - first, width.micros) }
    }
    case 'days': {
      const first = origin ?? ORIGIN
      const micros = BigInt(width.count) * DAY_MICROS
      return { startOf: (index) => zone.instantOf(first + index * micros), near: (instant) => floored(zone.wallOf(instant) - first, micros) }
    }
    case 'months': {
      const first = wallDay(origin ?? ORIGIN_OF_MONTHS)
      if (first.day > 28) throw refusal('months are counted from a day that every month has, the 28th at most', 'origin')
      const count = BigInt(width.count)
      return {
        startOf: (index) => {
          const month = first.month + index * count
          if (month < 0n || month > LAST_MONTH) throw refusal(OUTSIDE, 'bucket')
          return zone.instantOf(wallMicros({ ...first, month }))
        },
        near: (instant) => floored(wallDay(zone.wallOf(instant)).month - first.month, count),
      }
    }
  }
}

/** Months since the year 0. */
interface WallDay {
  readonly month: bigint
  readonly day: number
  readonly ofDay: bigint
}

function wallDay(wall: bigint): WallDay {
  const ofDay = wall - floored(wall, DAY_MICROS) * DAY_MICROS
  const at = new Date(Number((wall - ofDay) / 1_000n))
  return { month: BigInt(at.getUTCFullYear()) * 12n + BigInt(at.getUTCMonth()), day: at.getUTCDate(), ofDay }
}

function wallMicros({ month, day, ofDay }: WallDay): bigint {
  const year = floored(month, 12n)
  const at = new Date(0)
  at.setUTCFullYear(Number(year), Number(month - year * 12n), day)
  return BigInt(at.getTime()) * 1_000n + ofDay
}
