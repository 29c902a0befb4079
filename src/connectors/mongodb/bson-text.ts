/** The text forms of stored values, which are those of every store (see query/value.ts). Values come as the driver reads them with `promoteValues: false`. */
import { Binary, Decimal128, Double, Int32, Long, ObjectId } from 'mongodb'
import { invariant } from '../../errors.js'
import type { ValueType } from '../../query/catalog.js'
import { parseDecimal, printDecimal, printFloat } from '../../query/decimal.js'
import { jsonString } from '../../query/value.js'

/** The sort key of a value that the pipeline gave. */
export function sortText(type: ValueType, value: unknown): string | null {
  if (value === null || value === undefined) return null
  if (type.name === 'JSON') return jsonOf(value)
  if (value instanceof Date) return momentText(value, type.name === 'Date')
  return scalarText(value)
}

function scalarText(value: unknown): string {
  if (typeof value === 'string') return value
  if (typeof value === 'boolean') return String(value)
  if (typeof value === 'number' || value instanceof Double) return printFloat(Number(value))
  if (value instanceof Int32 || value instanceof Long) return value.toString()
  if (value instanceof Decimal128) return decimalText(value)
  if (value instanceof ObjectId) return value.toHexString()
  invariant(value instanceof Binary, 'a value of a type that the pipeline lets through')
  return uuidText(value)
}

/** Without an exponent. */
function decimalText(value: Decimal128): string {
  return printDecimal(parseDecimal(value.toString()))
}

function uuidText(value: Binary): string {
  return Buffer.from(value.value())
    .toString('hex')
    .replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

/** As PostgreSQL prints it: ISO 8601 without zone, no zeros at the end of a fraction, years with at least four digits and perhaps an era. */
function momentText(at: Date, isDay: boolean): string {
  if (Number.isNaN(at.getTime())) return 'infinity'
  const year = at.getUTCFullYear()
  const iso = at.toISOString()
  const rest = iso.slice(iso.indexOf('-', 1), -1)
  const time = isDay ? rest.slice(0, 6) : rest.replace(/\.?0+$/, (zeros) => (zeros.startsWith('.') ? '' : rest.includes('.') ? '' : zeros))
  return `${String(year > 0 ? year : 1 - year).padStart(4, '0')}${time}${year > 0 ? '' : ' BC'}`
}

/** Compact; numbers keep their digits, and what JSON does not know is its text. */
function jsonOf(value: unknown): string {
  if (value === null || value === undefined) return 'null'
  if (typeof value === 'string') return jsonString(value)
  if (typeof value === 'boolean') return String(value)
  if (Array.isArray(value)) return `[${value.map(jsonOf).join(',')}]`
  if (value instanceof Date) return jsonString(Number.isNaN(value.getTime()) ? '' : value.toISOString())
  if (typeof value === 'number' || value instanceof Double || value instanceof Int32 || value instanceof Long || value instanceof Decimal128) {
    const text = scalarText(value)
    return /^-?\d/.test(text) ? text : 'null'
  }
  if (value instanceof ObjectId) return jsonString(value.toHexString())
  if (Object.getPrototypeOf(value) !== Object.prototype) return 'null'
  return `{${Object.entries(value)
    .map(([name, inner]) => `${jsonString(name)}:${jsonOf(inner)}`)
    .join(',')}}`
}
