/**
 * The scalar types of the API, and how their values come in: `parseInput` takes what a variable holds, `parseLiteral` what stands in the document. Both give the
 * canonical form that `query/predicate.ts` describes, so that equal values are equal texts, and no digit is lost on the way.
 *
 * The engine calls these two and not the methods of the `GraphQLScalarType`s, which check in the same way but keep JSON and vectors as values (stitching needs it so), and
 * cannot tighten `String` and `ID`, whose types belong to graphql-js.
 */
import type { ValueNode } from 'graphql'
import { GraphQLError, GraphQLScalarType, Kind, valueFromASTUntyped } from 'graphql'
import type { BuiltinScalar } from '../query/catalog.js'
import { parseWidth } from '../query/duration.js'
import type { Scalar } from '../query/predicate.js'

/** Scalars of arguments: those of fields, and what no field holds. */
export type InputScalar = BuiltinScalar | 'Duration'

/** Digits of a number: PostgreSQL's numeric takes far more, but nobody means them. */
const DIGITS_MAX = 1_000
/** Levels of a JSON value: PostgreSQL and our own recursion end somewhere beyond. */
const JSON_DEPTH_MAX = 100

/**
 * The canonical form of a variable's value (not null).
 *
 * @throws GraphQLError whose message says what is accepted; it names no value.
 */
export function parseInput(scalar: InputScalar, value: unknown): Scalar {
  switch (scalar) {
    case 'String':
      return typeof value === 'string' ? text(value) : refuse('`String` must be a string')
    case 'ID':
      return typeof value === 'string' ? text(value) : safeInteger(value, '`ID` must be a string or an integer that JavaScript holds exactly')
    case 'Boolean':
      return typeof value === 'boolean' ? value : refuse('`Boolean` must be true or false')
    case 'Int':
      return int(value)
    case 'Float':
      return float(value)
    case 'BigInt':
      return typeof value === 'string' ? bigint(value) : safeInteger(value, '`BigInt` must be a string of digits, or an integer that JavaScript holds exactly')
    case 'Decimal':
      return typeof value === 'string'
        ? decimal(value)
        : safeInteger(value, '`Decimal` must be a string such as "12.50", or an integer that JavaScript holds exactly')
    case 'DateTime':
    case 'LocalDateTime':
    case 'Date':
    case 'UUID':
    case 'Duration':
      return typeof value === 'string' ? TEXTUAL[scalar](value) : refuse(`\`${scalar}\` must be a string`)
    case 'JSON':
      return jsonText(value, 0)
    case 'Vector':
      return vectorText(value)
  }
}

/**
 * The canonical form of a literal (not null, not a variable). Numbers are read from the digits of the document.
 *
 * @throws GraphQLError whose message says what is accepted; it names no value.
 */
export function parseLiteral(scalar: InputScalar, node: ValueNode): Scalar {
  if (scalar === 'JSON') return jsonLiteral(node, 0)
  if (scalar === 'Vector') return vectorText(node.kind === Kind.LIST ? node.values.map(numberOf) : null)
  switch (node.kind) {
    case Kind.INT:
      if (scalar === 'ID') return node.value
      if (scalar === 'BigInt') return bigint(node.value)
      if (scalar === 'Decimal') return decimal(node.value)
      return parseInput(scalar, Number(node.value))
    case Kind.FLOAT:
      if (scalar === 'Decimal') return decimal(node.value)
      // An Int or BigInt written as 1.0 or 1e3 is no integer literal, whatever its value.
      return scalar === 'Float' ? float(Number(node.value)) : parseInput(scalar, Number.NaN)
    case Kind.STRING:
      return parseInput(scalar, node.value)
    case Kind.BOOLEAN:
      return parseInput(scalar, node.value)
    case Kind.NULL:
    case Kind.ENUM:
    case Kind.LIST:
    case Kind.OBJECT:
    case Kind.VARIABLE:
      return parseInput(scalar, undefined)
  }
}

function refuse(message: string): never {
  throw new GraphQLError(message)
}

/** PostgreSQL's text holds neither U+0000 nor half of a surrogate pair; replaced or cut they would match something else. */
function text(value: string): string {
  if (value.includes('\0')) refuse('a string must not have the character U+0000')
  if (/\p{Surrogate}/u.test(value)) refuse('a string must be well-formed Unicode, without lone surrogates')
  return value
}

function safeInteger(value: unknown, message: string): string {
  return typeof value === 'number' && Number.isSafeInteger(value) ? bigint(String(value)) : refuse(message)
}

function int(value: unknown): number {
  const fits = typeof value === 'number' && Number.isInteger(value) && value >= -(2 ** 31) && value < 2 ** 31
  // Minus zero becomes zero.
  return fits ? value + 0 : refuse('`Int` must be an integer of 32 bits')
}

function float(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) ? value + 0 : refuse('`Float` must be a finite number')
}

function bigint(value: string): string {
  const [, sign, whole = ''] = /^([+-]?)(\d+)$/.exec(value) ?? []
  if (whole === '' || whole.length > DIGITS_MAX) return refuse(`\`BigInt\` must be an integer in decimal digits, at most ${DIGITS_MAX}`)
  return signed(sign, whole.replace(/^0+(?=\d)/, ''))
}

function decimal(value: string): string {
  const [, sign, whole = '', fraction = ''] = /^([+-]?)(\d+)(?:\.(\d+))?$/.exec(value) ?? []
  if (whole === '' || whole.length + fraction.length > DIGITS_MAX)
    return refuse(`\`Decimal\` must be a decimal number without an exponent, at most ${DIGITS_MAX} digits`)
  const kept = fraction.replace(/0+$/, '')
  return signed(sign, whole.replace(/^0+(?=\d)/, '') + (kept === '' ? '' : `.${kept}`))
}

function signed(sign: string | undefined, digits: string): string {
  return sign === '-' && digits !== '0' ? `-${digits}` : digits
}

const TEXTUAL = { DateTime: dateTime, LocalDateTime: localDateTime, Date: date, UUID: uuid, Duration: duration } as const

const DATE = /^(\d{4})-(\d\d)-(\d\d)$/
const LOCAL = /^(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?$/
const OFFSET = /^(.*?)(?:[Zz]|([+-])(\d\d):(\d\d))$/s

/** RFC 3339 with an offset, to UTC; microseconds, as PostgreSQL keeps them. */
function dateTime(value: string): string {
  const message = '`DateTime` must be a time of RFC 3339 with an offset, in the years 0001 to 9999, with at most 6 digits of a second'
  const [, local = '', sign, hours = '00', minutes = '00'] = OFFSET.exec(value) ?? []
  const time = localTime(local)
  if (!time || Number(hours) > 23 || Number(minutes) > 59) return refuse(message)
  const offsetMs = (sign === '-' ? -1 : 1) * (Number(hours) * 60 + Number(minutes)) * 60_000
  const utc = new Date(time.ms - offsetMs)
  return isYearInRange(utc) ? `${utc.toISOString().slice(0, 19)}${time.fraction}Z` : refuse(message)
}

function localDateTime(value: string): string {
  const time = localTime(value)
  if (!time) return refuse('`LocalDateTime` must be a date and time without an offset, such as 2026-03-01T22:14:03.5, in the years 0001 to 9999')
  return `${new Date(time.ms).toISOString().slice(0, 19)}${time.fraction}`
}

function date(value: string): string {
  const [, year, month, day] = DATE.exec(value) ?? []
  return dayOf(year, month, day) === null ? refuse('`Date` must be a day such as 2026-03-01, in the years 0001 to 9999') : value
}

/** Milliseconds since 1970 as if the time were UTC, whole seconds; `fraction` has its point and no trailing zeros. Null: no such time. */
function localTime(value: string): { readonly ms: number; readonly fraction: string } | null {
  const [, year, month, day, hour, minute, second, digits = ''] = LOCAL.exec(value) ?? []
  const start = dayOf(year, month, day)
  // No leap seconds: PostgreSQL has none, and would make it the next minute.
  if (start === null || Number(hour) > 23 || Number(minute) > 59 || Number(second) > 59) return null
  const fraction = digits.replace(/0+$/, '')
  return { ms: start + ((Number(hour) * 60 + Number(minute)) * 60 + Number(second)) * 1_000, fraction: fraction === '' ? '' : `.${fraction}` }
}

/** The start of a day in milliseconds since 1970, or null where there is no such day. */
function dayOf(year: string | undefined, month: string | undefined, day: string | undefined): number | null {
  const at = new Date(0)
  // Date.UTC would read the years 0 to 99 as 1900 to 1999.
  at.setUTCFullYear(Number(year), Number(month) - 1, Number(day))
  const exists = at.getUTCFullYear() === Number(year) && at.getUTCMonth() === Number(month) - 1 && at.getUTCDate() === Number(day)
  return exists && isYearInRange(at) ? at.getTime() : null
}

function isYearInRange(at: Date): boolean {
  return at.getUTCFullYear() >= 1 && at.getUTCFullYear() <= 9999
}

function uuid(value: string): string {
  const fits = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i.test(value)
  return fits ? value.toLowerCase() : refuse('`UUID` must be 32 hexadecimal digits in the groups 8-4-4-4-12')
}

/** A JSON list of the numbers as float4 holds them, which is what stores compute with; the dimension is checked where the field is known. */
function vectorText(value: unknown): string {
  if (!Array.isArray(value) || value.length === 0) return refuse('`Vector` must be a list of numbers')
  return `[${value.map(vectorElement).join(',')}]`
}

function vectorElement(value: unknown): string {
  const element = typeof value === 'number' ? Math.fround(value) : Number.NaN
  // Minus zero becomes zero.
  return Number.isFinite(element) ? String(element + 0) : refuse('`Vector` must be a list of finite numbers that single precision holds')
}

function numberOf(node: ValueNode): number {
  return node.kind === Kind.INT || node.kind === Kind.FLOAT ? Number(node.value) : Number.NaN
}

function duration(value: string): string {
  return parseWidth(value)
    ? value
    : refuse(
        '`Duration` must be a length of ISO 8601 above zero: one of years, months, weeks and days, such as P1D, or of hours, minutes and seconds, such as PT15M',
      )
}

/** Compact JSON of a value that came from JSON. */
function jsonText(value: unknown, depth: number): string {
  if (depth > JSON_DEPTH_MAX) return refuse(`\`JSON\` must not be nested deeper than ${JSON_DEPTH_MAX} levels`)
  if (typeof value === 'string') return JSON.stringify(text(value))
  if (typeof value === 'number') return JSON.stringify(float(value))
  if (typeof value === 'boolean' || value === null) return String(value)
  if (Array.isArray(value)) return `[${value.map((item) => jsonText(item, depth + 1)).join(',')}]`
  if (typeof value !== 'object') return refuse('`JSON` must be a JSON value')
  return `{${Object.entries(value)
    .map(([key, item]) => `${JSON.stringify(text(key))}:${jsonText(item, depth + 1)}`)
    .join(',')}}`
}

/** Compact JSON of a literal; numbers keep their text. */
function jsonLiteral(node: ValueNode, depth: number): string {
  if (depth > JSON_DEPTH_MAX) return refuse(`\`JSON\` must not be nested deeper than ${JSON_DEPTH_MAX} levels`)
  switch (node.kind) {
    case Kind.NULL:
      return 'null'
    case Kind.BOOLEAN:
      return String(node.value)
    case Kind.STRING:
      return JSON.stringify(text(node.value))
    case Kind.INT:
    case Kind.FLOAT:
      return jsonNumber(node.value)
    case Kind.LIST:
      return `[${node.values.map((item) => jsonLiteral(item, depth + 1)).join(',')}]`
    case Kind.OBJECT:
      return `{${node.fields.map((field) => `${JSON.stringify(field.name.value)}:${jsonLiteral(field.value, depth + 1)}`).join(',')}}`
    case Kind.ENUM:
      return refuse('`JSON` must be a JSON value; write names in quotes')
    case Kind.VARIABLE:
      return refuse('`JSON` must be one literal or one variable; a variable cannot stand inside it')
  }
}

/** The grammar of numbers is the same in GraphQL and JSON; beyond these limits PostgreSQL's jsonb would fail. */
function jsonNumber(digits: string): string {
  const exponent = Number(/[eE](.*)$/.exec(digits)?.[1] ?? 0)
  if (digits.length > DIGITS_MAX || Math.abs(exponent) > DIGITS_MAX) return refuse(`a number in \`JSON\` must have at most ${DIGITS_MAX} digits`)
  return digits
}

const DESCRIPTIONS = {
  BigInt: 'An integer of any size, as a string of decimal digits.',
  Decimal: 'A decimal number, as a string; no digit is lost.',
  DateTime: 'A moment of RFC 3339, in UTC, to the microsecond: `2026-03-01T22:14:03.120511Z`.',
  LocalDateTime: 'A date and time whose zone is not known: `2026-03-01T22:14:03.120511`.',
  Date: 'A day: `2026-03-01`.',
  UUID: 'A UUID in lower case.',
  JSON: 'A JSON value; its numbers keep their text.',
  Vector: 'A list of finite numbers, each as single precision holds it.',
  Duration:
    'A length of ISO 8601: hours, minutes and seconds of fixed length (`PT1H`, `PT15M`), or one unit of the calendar, as long as it is in a time zone (`P1D`, `P1W`, `P3M`, `P1Y`).',
} as const

/** The scalar types that GraphQL does not have by itself. */
export const SCALAR_TYPES: readonly GraphQLScalarType[] = (['BigInt', 'Decimal', 'DateTime', 'LocalDateTime', 'Date', 'UUID', 'JSON', 'Vector'] as const).map(
  scalarType,
)

/** Of APIs that have series. */
export const DURATION_TYPE: GraphQLScalarType = scalarType('Duration')

function scalarType(name: keyof typeof DESCRIPTIONS): GraphQLScalarType {
  return new GraphQLScalarType<unknown, unknown>({
    name,
    description: DESCRIPTIONS[name],
    parseValue: (value) => {
      const canonical = parseInput(name, value)
      return name === 'JSON' || name === 'Vector' ? value : canonical
    },
    parseLiteral: (node) => {
      const canonical = parseLiteral(name, node)
      return name === 'JSON' || name === 'Vector' ? valueFromASTUntyped(node) : canonical
    },
  })
}
