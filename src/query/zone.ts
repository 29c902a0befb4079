/** Time zones, and times as microseconds since 1970. Reads the zones that the runtime has; pure otherwise. */
import { invariant } from '../errors.js'

export const DAY_MICROS = 86_400_000_000n

/** Microseconds since 1970 of a canonical DateTime or LocalDateTime; the latter as if its clock were that of UTC. */
export function microsOf(text: string): bigint {
  const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?Z?$/.exec(text)
  invariant(match, 'a canonical time')
  const [, seconds = '', fraction = ''] = match
  return BigInt(Date.parse(`${seconds}Z`)) * 1_000n + BigInt(fraction.padEnd(6, '0'))
}

/** A canonical LocalDateTime; null outside the years 0001 to 9999, where no time has a text. */
export function textOfMicros(micros: bigint): string | null {
  const rest = micros - floored(micros, 1_000_000n) * 1_000_000n
  const ms = Number((micros - rest) / 1_000n)
  if (ms < YEAR_1_MS || ms >= YEAR_10000_MS) return null
  const fraction = rest === 0n ? '' : `.${rest.toString().padStart(6, '0').replace(/0+$/, '')}`
  return new Date(ms).toISOString().slice(0, 19) + fraction
}

const YEAR_1_MS = Date.parse('0001-01-01T00:00:00Z')
const YEAR_10000_MS = Date.parse('+010000-01-01T00:00:00Z')

/** The whole quotient, down. */
export function floored(value: bigint, by: bigint): bigint {
  const quotient = value / by
  return value % by < 0n ? quotient - 1n : quotient
}

export function isTimezone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name })
    return /^[A-Za-z][A-Za-z0-9_+\-/]*$/.test(name)
  } catch {
    return false
  }
}

/** As `7/23/1811, GMT+00:53:28` has it; nothing after `GMT` is none. */
const OFFSET = /GMT(?:([+-])(\d\d):(\d\d)(?::(\d\d))?)?$/

/** The clock on the wall in one zone. */
export class Zone {
  readonly #format: Intl.DateTimeFormat | null
  readonly #offsets = new Map<bigint, bigint>()

  /** @param name passes `isTimezone` */
  constructor(name: string) {
    this.#format = name === 'UTC' ? null : new Intl.DateTimeFormat('en', { timeZone: name, timeZoneName: 'longOffset' })
  }

  /** What the wall shows at an instant. */
  wallOf(instant: bigint): bigint {
    return instant + this.#offsetAt(instant)
  }

  /** The instant at which the wall shows this. What the clocks skip counts as before the change, what they show twice as after it: PostgreSQL's rule. */
  instantOf(wall: bigint): bigint {
    const [before, after] = [this.#offsetAt(wall - DAY_MICROS), this.#offsetAt(wall + DAY_MICROS)]
    if (before === after || this.#offsetAt(wall - after) === after) return wall - after
    return wall - before
  }

  #offsetAt(instant: bigint): bigint {
    if (!this.#format) return 0n
    const seconds = floored(instant, 1_000_000n)
    const known = this.#offsets.get(seconds)
    if (known !== undefined) return known
    // A quarter of the time that the parts of a date take.
    const [, sign, hours = '0', minutes = '0', ofMinute = '0'] = OFFSET.exec(this.#format.format(Number(seconds * 1_000n))) ?? []
    const magnitude = BigInt(Number(hours) * 3_600 + Number(minutes) * 60 + Number(ofMinute)) * 1_000_000n
    const offset = sign === '-' ? -magnitude : magnitude
    this.#offsets.set(seconds, offset)
    return offset
  }
}
