/**
 * The text forms of values. A value has one text for sorting and comparing (its sort key: see `Row.keys` of connectors/connector.ts), and one for the answer
 * (its JSON). Both are the same in every store.
 */
import type { NativeType } from './binding.js'
import type { ValueType } from './catalog.js'
import { printFloat } from './decimal.js'
import type { Scalar } from './predicate.js'

/** The JSON text of a value that has this sort key; of a JSON value, whose text is its own. What has no JSON form (NaN, infinities, years outside 0001 to 9999) is null. */
export function valueJson(type: ValueType, sortKey: string | null): string {
  if (sortKey === null) return 'null'
  if (type.kind === 'enum') return jsonString(sortKey)
  switch (type.name) {
    case 'String':
    case 'ID':
    case 'UUID':
      return jsonString(sortKey)
    case 'BigInt':
    case 'Decimal':
      return NON_FINITE.has(sortKey) ? 'null' : jsonString(sortKey)
    case 'Int':
    case 'Float':
      return NON_FINITE.has(sortKey) ? 'null' : sortKey
    case 'Boolean':
    case 'JSON':
    case 'Vector':
      return sortKey
    case 'DateTime':
      return isCommonEra(sortKey) ? jsonString(`${sortKey}Z`) : 'null'
    case 'LocalDateTime':
    case 'Date':
      return isCommonEra(sortKey) ? jsonString(sortKey) : 'null'
  }
}

const NON_FINITE: ReadonlySet<string> = new Set(['NaN', 'Infinity', '-Infinity'])

/** Four digits of a year and no era: neither infinite nor before 0001 or after 9999. */
function isCommonEra(sortKey: string): boolean {
  return /^\d{4}-/.test(sortKey) && !sortKey.endsWith(' BC')
}

/** A JSON string with the escapes of PostgreSQL's `to_json`, which are those of `JSON.stringify` for well-formed text. */
export function jsonString(text: string): string {
  return JSON.stringify(text)
}

/** The JSON text of a list: null where the list is null or holds what is null in JSON, since the contract's lists hold no nulls. (A JSON null is a value.) */
export function listJson(type: ValueType, sortKeys: readonly (string | null)[] | null): string {
  if (sortKeys === null || sortKeys.includes(null)) return 'null'
  const items = sortKeys.map((sortKey) => valueJson(type, sortKey))
  return items.includes('null') && type.name !== 'JSON' ? 'null' : `[${items.join(',')}]`
}

/**
 * An operand as the sort key to compare with, or null when it is not in the canonical form of the type (see `Scalar`): it then matches nothing. The gateway
 * makes arguments canonical; claims come as the token has them, so a claim of another type, an impossible date or ill-formed text ends here.
 *
 * `native` is the column's own type, or null where the value is a text whatever the column is (a pseudonym): an ID over a bigint has only the texts that
 * the bigint prints.
 */
export function operandSortKey(type: ValueType, native: NativeType | null, value: Scalar): string | null {
  if (type.kind === 'enum') return typeof value === 'string' && type.values.includes(value) ? value : null
  switch (type.name) {
    case 'Int':
      return typeof value === 'number' && Number.isInteger(value) && value >= -(2 ** 31) && value < 2 ** 31 ? String(value + 0) : null
    case 'Float':
      return typeof value === 'number' && Number.isFinite(value) ? printFloat(value + 0) : null
    case 'Boolean':
      return typeof value === 'boolean' ? String(value) : null
    case 'BigInt':
      return canonical(value, INTEGER)
    case 'Decimal':
      return canonical(value, DECIMAL)
    case 'UUID':
      return canonical(value, UUID)
    case 'DateTime':
      return typeof value === 'string' && value.endsWith('Z') && isTime(value.slice(0, -1)) ? value.slice(0, -1) : null
    case 'LocalDateTime':
      return typeof value === 'string' && isTime(value) ? value : null
    case 'Date':
      return typeof value === 'string' && isDay(value) ? value : null
    case 'ID':
      return typeof value === 'string' && isStorableText(value) && isCanonicalId(native, value) ? value : null
    case 'String':
    case 'JSON':
      return typeof value === 'string' && isStorableText(value) ? value : null
    case 'Vector':
      return null // vectors are searched for, and never compared
  }
}

/** The canonical scalar that a key's text is. What is none stays a text, and matches nothing. */
export function keyScalar(type: ValueType, text: string): Scalar {
  if (type.name === 'Int') return /^(0|-?[1-9]\d{0,9})$/.test(text) ? Number(text) : text
  if (type.name === 'Boolean') return text === 'true' ? true : text === 'false' ? false : text
  return type.name === 'DateTime' ? `${text}Z` : text
}

/** Digits of a number that an operand may have, as `gateway/scalars.ts` takes them. */
const DIGITS_MAX = 1_000
const INTEGER = /^(?:0|-?[1-9]\d*)$/
const DECIMAL = /^(?:0|-?(?:[1-9]\d*|0(?=\.))(?:\.\d*[1-9])?)$/
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
const DAY = /^(\d{4})-(\d\d)-(\d\d)$/
const TIME = /^([01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{0,5}[1-9])?$/

function canonical(value: Scalar, form: RegExp): string | null {
  return typeof value === 'string' && value.length <= DIGITS_MAX + 2 && form.test(value) ? value : null
}

/** No U+0000 and no lone surrogate: a store could not hold it, or would hold something else. */
function isStorableText(text: string): boolean {
  return !text.includes('\0') && !/\p{Surrogate}/u.test(text)
}

function isTime(text: string): boolean {
  return text[10] === 'T' && isDay(text.slice(0, 10)) && TIME.test(text.slice(11))
}

function isDay(text: string): boolean {
  const [, year, month, day] = DAY.exec(text) ?? []
  const at = new Date(0)
  // Date.UTC would read the years 0 to 99 as 1900 to 1999.
  at.setUTCFullYear(Number(year), Number(month) - 1, Number(day))
  return Number(year) >= 1 && at.getUTCFullYear() === Number(year) && at.getUTCMonth() === Number(month) - 1 && at.getUTCDate() === Number(day)
}

/** Whether a column of this type prints the text for some value. */
function isCanonicalId(native: NativeType | null, text: string): boolean {
  const bits = INTEGER_BITS.get(native ?? '')
  if (bits !== undefined) return text.length <= 20 && INTEGER.test(text) && BigInt.asIntN(bits, BigInt(text)) === BigInt(text)
  return native !== 'uuid' || UUID.test(text)
}

const INTEGER_BITS: ReadonlyMap<NativeType, number> = new Map([
  ['smallint', 16],
  ['integer', 32],
  ['bigint', 64],
])
