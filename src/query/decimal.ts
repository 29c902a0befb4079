/**
 * Exact arithmetic on decimal texts, as PostgreSQL's `numeric` has it: no digit is lost, a scale is kept, NaN equals itself and is above all numbers. Floats
 * take part as the decimal of their shortest text, so that a sum does not depend on the order of its terms.
 */
import { invariant } from '../errors.js'

export type Decimal =
  /** The number units / 10^scale; `scale` is not negative and says how many fractional digits are printed. */
  { readonly kind: 'finite'; readonly units: bigint; readonly scale: number } | { readonly kind: 'infinity' | '-infinity' | 'nan' }

const NAN: Decimal = { kind: 'nan' }
const INFINITY: Decimal = { kind: 'infinity' }
const MINUS_INFINITY: Decimal = { kind: '-infinity' }
const ZERO: Decimal = { kind: 'finite', units: 0n, scale: 0 }

/** Digits, perhaps a fraction, perhaps an exponent of a float8. Longer exponents never come from a store and would be a way to ask for gigabytes. */
const DECIMAL_TEXT = /^([+-]?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d{1,4}))?$/

/** Whether `text` is a number that `parseDecimal` takes, the non-finite ones left out. */
export function isFiniteDecimal(text: string): boolean {
  return DECIMAL_TEXT.test(text)
}

/** Reads what PostgreSQL prints for integers, `numeric` and `float8`. A text of another form is a bug of the caller. */
export function parseDecimal(text: string): Decimal {
  if (text === 'NaN') return NAN
  if (text === 'Infinity') return INFINITY
  if (text === '-Infinity') return MINUS_INFINITY
  const match = DECIMAL_TEXT.exec(text)
  invariant(match, 'a decimal text of another form')
  const [, sign, whole = '', fraction = '', exponent = '0'] = match
  const digits = BigInt(whole + fraction)
  const units = sign === '-' ? -digits : digits
  const scale = fraction.length - Number(exponent)
  return scale >= 0 ? { kind: 'finite', units, scale } : { kind: 'finite', units: units * powerOfTen(-scale), scale: 0 }
}

/** As PostgreSQL prints a `numeric`: no exponent, all digits of the scale, no minus before zero. */
export function printDecimal(value: Decimal): string {
  if (value.kind !== 'finite') return value.kind === 'nan' ? 'NaN' : value.kind === 'infinity' ? 'Infinity' : '-Infinity'
  const negative = value.units < 0n
  const digits = (negative ? -value.units : value.units).toString().padStart(value.scale + 1, '0')
  const whole = digits.slice(0, digits.length - value.scale)
  const fraction = digits.slice(digits.length - value.scale)
  return `${negative ? '-' : ''}${whole}${fraction === '' ? '' : `.${fraction}`}`
}

/** Drops the zeros at the end of the fraction, and the point when nothing is left of it. */
export function trimDecimal(value: Decimal): Decimal {
  if (value.kind !== 'finite') return value
  let { units, scale } = value
  while (scale > 0 && units % 10n === 0n) {
    units /= 10n
    scale--
  }
  return { kind: 'finite', units, scale }
}

/** -Infinity, numbers, Infinity, NaN; zero has no sign and a scale makes no difference. */
export function compareDecimals(a: Decimal, b: Decimal): number {
  if (a.kind !== 'finite' || b.kind !== 'finite') return Math.sign(rank(a) - rank(b))
  const scale = Math.max(a.scale, b.scale)
  const [x, y] = [unitsAt(a, scale), unitsAt(b, scale)]
  return x === y ? 0 : x < y ? -1 : 1
}

/** Compares two decimal texts. Short ones go through doubles: up to 15 digits a double keeps decimals apart and in order. */
export function compareDecimalTexts(a: string, b: string): number {
  if (a.length <= 15 && b.length <= 15) {
    const [x, y] = [Number(a), Number(b)]
    if (x < y) return -1
    if (x > y) return 1
    if (x === y) return 0
  }
  return compareDecimals(parseDecimal(a), parseDecimal(b))
}

/** The sum, at the larger of the two scales; opposite infinities give NaN. */
export function addDecimals(a: Decimal, b: Decimal): Decimal {
  if (a.kind === 'finite' && b.kind === 'finite') {
    const scale = Math.max(a.scale, b.scale)
    return { kind: 'finite', units: unitsAt(a, scale) + unitsAt(b, scale), scale }
  }
  if (a.kind === 'finite') return b
  return b.kind === 'finite' || a.kind === b.kind ? a : NAN
}

/** The sum of all, at the largest scale among them; zero for none. */
export function sumDecimals(values: Iterable<Decimal>): Decimal {
  let sum = ZERO
  for (const value of values) sum = addDecimals(sum, value)
  return sum
}

/** The product; scales add, as in PostgreSQL. Infinity times zero is NaN. */
export function multiplyDecimals(a: Decimal, b: Decimal): Decimal {
  if (a.kind === 'finite' && b.kind === 'finite') return { kind: 'finite', units: a.units * b.units, scale: a.scale + b.scale }
  const sign = signOf(a) * signOf(b)
  return Number.isNaN(sign) || sign === 0 ? NAN : sign > 0 ? INFINITY : MINUS_INFINITY
}

/** The largest multiple of `step` that is not above `value`, at the scale of `step`; what is not finite stays. `step` is above zero. */
export function floorToStep(value: Decimal, step: Decimal): Decimal {
  invariant(step.kind === 'finite' && step.units > 0n, 'a grid needs a step above zero')
  if (value.kind !== 'finite') return value
  const scale = Math.max(value.scale, step.scale)
  const [x, y] = [unitsAt(value, scale), unitsAt(step, scale)]
  const remainder = ((x % y) + y) % y
  return { kind: 'finite', units: ((x - remainder) / y) * step.units, scale: step.scale }
}

/**
 * The quotient by a count above zero, rounded half away from zero to `fractionDigits` digits after the point, zeros at its end dropped. Averages take 16; those
 * of floats take what `floatQuotient` needs.
 */
export function divideDecimal(sum: Decimal, count: bigint, fractionDigits: number): Decimal {
  invariant(count > 0n, 'an average needs a count above zero')
  if (sum.kind !== 'finite') return sum
  const numerator = sum.units * powerOfTen(fractionDigits)
  const denominator = count * powerOfTen(sum.scale)
  const magnitude = (2n * (numerator < 0n ? -numerator : numerator) + denominator) / (2n * denominator)
  return trimDecimal({ kind: 'finite', units: numerator < 0n ? -magnitude : magnitude, scale: fractionDigits })
}

/** The double nearest to the quotient: it is taken with 400 fractional digits, more than the least double needs. */
export function floatQuotient(sum: Decimal, count: bigint): number {
  return Number(printDecimal(divideDecimal(sum, count, 400)))
}

/**
 * A double as PostgreSQL prints a float8: the shortest decimal strictly inside the interval that rounds to it (JavaScript also takes the interval's ends, as in
 * 1e23), in exponent form from 1e+15 on and below 1e-04, exponents with at least two digits.
 */
export function printFloat(value: number): string {
  if (!Number.isFinite(value)) return String(value)
  if (value === 0) return Object.is(value, -0) ? '-0' : '0'
  const { digits, exponent } = shortestDigits(Math.abs(value))
  const sign = value < 0 ? '-' : ''
  if (exponent < -4 || exponent >= 15) {
    const power = Math.abs(exponent).toString().padStart(2, '0')
    return `${sign}${digits.slice(0, 1)}${digits.length > 1 ? `.${digits.slice(1)}` : ''}e${exponent < 0 ? '-' : '+'}${power}`
  }
  if (exponent < 0) return `${sign}0.${'0'.repeat(-exponent - 1)}${digits}`
  const padded = digits.padEnd(exponent + 1, '0')
  return `${sign}${padded.slice(0, exponent + 1)}${padded.length > exponent + 1 ? `.${padded.slice(exponent + 1)}` : ''}`
}

/** The digits d1 d2 … of d1.d2… times 10^exponent. `value` is finite and above zero. */
function shortestDigits(value: number): { readonly digits: string; readonly exponent: number } {
  const shortest = digitsOf(value.toExponential())
  if (isStrictlyInside(shortest, value)) return shortest
  // JavaScript's shortest text lies on an end of the interval. With more digits some candidate lies inside; the nearest one is asked for first.
  for (let precision = shortest.digits.length; precision < 17; precision++) {
    const candidate = digitsOf(value.toExponential(precision - 1))
    for (const other of [candidate, neighbour(candidate, 1n), neighbour(candidate, -1n)]) if (isStrictlyInside(other, value)) return other
  }
  return digitsOf(value.toExponential(16))
}

function digitsOf(text: string): { readonly digits: string; readonly exponent: number } {
  const [mantissa = '', exponent = '0'] = text.split('e')
  const digits = mantissa.replace('.', '').replace(/0+$/, '')
  return { digits: digits === '' ? '0' : digits, exponent: Number(exponent) }
}

function neighbour(of: { readonly digits: string; readonly exponent: number }, step: bigint): { readonly digits: string; readonly exponent: number } {
  const digits = (BigInt(of.digits) + step).toString()
  return { digits, exponent: of.exponent + digits.length - of.digits.length }
}

/** Whether the decimal is nearer to `value` than to the doubles beside it, by exact arithmetic; a tie does not count. */
function isStrictlyInside(decimal: { readonly digits: string; readonly exponent: number }, value: number): boolean {
  const bits = new DataView(new ArrayBuffer(8))
  bits.setFloat64(0, value)
  const pattern = bits.getBigUint64(0)
  const biased = pattern >> 52n
  const fraction = pattern & 0xfffffffffffffn
  const mantissa = biased === 0n ? fraction : fraction | 0x10000000000000n
  // value = mantissa * 2^power. The doubles beside it are one unit away, below a power of two half a unit; so ends are counted in quarters of a unit.
  const power = (biased === 0n ? 1n : biased) - 1075n - 2n
  const low = 4n * mantissa - (fraction === 0n && biased > 1n ? 1n : 2n)
  const high = 4n * mantissa + 2n
  const tens = BigInt(decimal.exponent - decimal.digits.length + 1)
  const scaled = BigInt(decimal.digits) * (tens > 0n ? 10n ** tens : 1n) * (power < 0n ? 2n ** -power : 1n)
  const unit = (tens < 0n ? 10n ** -tens : 1n) * (power > 0n ? 2n ** power : 1n)
  return low * unit < scaled && scaled < high * unit
}

function unitsAt(value: { readonly units: bigint; readonly scale: number }, scale: number): bigint {
  return scale === value.scale ? value.units : value.units * powerOfTen(scale - value.scale)
}

function powerOfTen(exponent: number): bigint {
  return 10n ** BigInt(exponent)
}

function rank(value: Decimal): number {
  return { '-infinity': 0, finite: 1, infinity: 2, nan: 3 }[value.kind]
}

/** NaN for NaN. */
function signOf(value: Decimal): number {
  if (value.kind === 'finite') return value.units === 0n ? 0 : value.units < 0n ? -1 : 1
  return value.kind === 'nan' ? NaN : value.kind === 'infinity' ? 1 : -1
}
