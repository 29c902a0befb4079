/** Starts of hours, days, weeks and so on, over sort keys of times, in the proleptic Gregorian calendar as PostgreSQL has it. */
import { invariant } from '../../errors.js'
import type { TimeUnit } from '../../query/plan.js'

/** A date and time of day; the year is astronomical (0 is 1 BC), months and days count from 1. Below the hour only `rest` tells, as text. */
export interface Wall {
  readonly year: number
  readonly month: number
  readonly day: number
  readonly hour: number
  readonly rest: string
}

/** `date_trunc` of a time, or of a date (which has no `T`), without regard to zones. */
export function startOfUnit(sortKey: string, unit: TimeUnit): string {
  const start = printWall(startOf(parseWall(sortKey), unit))
  return sortKey.includes('T') ? start : start.replace(/T[0-9:]+/, '')
}

/** The start of the unit in the zone, as UTC. The time lies in the years 0001 to 9999; the start may not. */
export function startOfUnitIn(zone: string, sortKey: string, unit: TimeUnit): string {
  if (zone === 'UTC') return startOfUnit(sortKey, unit)
  const at = wallMs(parseWall(sortKey))
  const offset = offsetMs(zone, at)
  const start = startOf(msWall(at + offset), unit)
  // An hour stays in its own offset, since it may exist twice; other units begin where the zone says.
  return printWall(msWall(unit === 'HOUR' ? wallMs(start) - offset : instantOf(zone, wallMs(start))))
}

function startOf({ year, month, day, hour }: Wall, unit: TimeUnit): Wall {
  const midnight = { year, month, day, hour: 0, rest: ':00:00' }
  switch (unit) {
    case 'HOUR':
      return { ...midnight, hour }
    case 'DAY':
      return midnight
    case 'WEEK': {
      const days = wallMs(midnight) / DAY_MS
      // Day 0, 1970-01-01, was a Thursday; weeks begin on Monday.
      return msWall((days - ((((days + 3) % 7) + 7) % 7)) * DAY_MS)
    }
    case 'MONTH':
      return { ...midnight, day: 1 }
    case 'QUARTER':
      return { ...midnight, month: month - ((month - 1) % 3), day: 1 }
    case 'YEAR':
      return { ...midnight, month: 1, day: 1 }
  }
}

const DAY_MS = 86_400_000

export function parseWall(sortKey: string): Wall {
  const match = /^(\d+)-(\d\d)-(\d\d)(?:T(\d\d)(:[0-9:.]+))?( BC)?$/.exec(sortKey)
  invariant(match, 'a time has the form of a sort key')
  const [, year, month, day, hour = '00', rest = ':00:00', era] = match
  return { year: era ? 1 - Number(year) : Number(year), month: Number(month), day: Number(day), hour: Number(hour), rest }
}

export function printWall({ year, month, day, hour, rest }: Wall): string {
  const digits = (value: number, length: number): string => value.toString().padStart(length, '0')
  return `${digits(year > 0 ? year : 1 - year, 4)}-${digits(month, 2)}-${digits(day, 2)}T${digits(hour, 2)}${rest}${year > 0 ? '' : ' BC'}`
}

/** Milliseconds since 1970 as if the wall clock were UTC; what is below a second is left out. */
export function wallMs({ year, month, day, hour, rest }: Wall): number {
  // A day count of our own: years go beyond those of Date. March begins the year, so that leap days are at its end.
  const shifted = month > 2 ? year : year - 1
  const era = Math.floor(shifted / 400)
  const ofEra = shifted - era * 400
  const ofYear = Math.floor((153 * ((month + 9) % 12) + 2) / 5) + day - 1
  const days = era * 146_097 + ofEra * 365 + Math.floor(ofEra / 4) - Math.floor(ofEra / 100) + ofYear - 719_468
  const [, minute, second] = rest.split(':')
  return days * DAY_MS + ((hour * 60 + Number(minute)) * 60 + Math.floor(Number(second))) * 1_000
}

export function msWall(ms: number): Wall {
  const days = Math.floor(ms / DAY_MS)
  const seconds = (ms - days * DAY_MS) / 1_000
  const era = Math.floor((days + 719_468) / 146_097)
  const ofEra = days + 719_468 - era * 146_097
  const yearOfEra = Math.floor((ofEra - Math.floor(ofEra / 1_460) + Math.floor(ofEra / 36_524) - Math.floor(ofEra / 146_096)) / 365)
  const ofYear = ofEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100))
  const shiftedMonth = Math.floor((5 * ofYear + 2) / 153)
  const month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
  const [minute, second] = [Math.floor(seconds / 60) % 60, seconds % 60].map((value) => value.toString().padStart(2, '0'))
  return {
    year: era * 400 + yearOfEra + (month <= 2 ? 1 : 0),
    month,
    day: ofYear - Math.floor((153 * shiftedMonth + 2) / 5) + 1,
    hour: Math.floor(seconds / 3_600),
    rest: `:${minute}:${second}`,
  }
}

/** What the zone adds to UTC at an instant. */
export function offsetMs(zone: string, instantMs: number): number {
  const parts = new Map(
    formatOf(zone)
      .formatToParts(instantMs)
      .map(({ type, value }) => [type, value]),
  )
  const read = (type: Intl.DateTimeFormatPartTypes): number => Number(parts.get(type))
  const year = parts.get('era') === 'BC' ? 1 - read('year') : read('year')
  return wallMs({ year, month: read('month'), day: read('day'), hour: read('hour'), rest: `:${parts.get('minute')}:${parts.get('second')}` }) - instantMs
}

function formatOf(zone: string): Intl.DateTimeFormat {
  const two = '2-digit'
  return new Intl.DateTimeFormat('en-u-ca-gregory', {
    timeZone: zone,
    hourCycle: 'h23',
    era: 'short',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: two,
    minute: two,
    second: two,
  })
}

/** The instant of a wall clock: one that the clocks skip counts as before the change, one that comes twice as after it (PostgreSQL's rule). */
export function instantOf(zone: string, localMs: number): number {
  const [before, after] = [offsetMs(zone, localMs - DAY_MS), offsetMs(zone, localMs + DAY_MS)]
  if (offsetMs(zone, localMs - after) === after) return localMs - after
  return localMs - before
}
