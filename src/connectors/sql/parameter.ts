/** The text of a parameter's value. Total: what a column's type cannot hold becomes null, which fits nothing, or is clamped where an order is asked. */
import { parseGlobalId } from '../../query/global-id.js'
import type { Operand, Scalar } from '../../query/predicate.js'
import { operandSortKey } from '../../query/value.js'
import { microsOf } from '../../query/zone.js'
import type { Values } from '../connector.js'
import type { Encoding, Parameter } from './fragment.js'

export function encodeParameters(parameters: readonly Parameter[], values: Values): (string | null)[] {
  return parameters.map((parameter) => encode(valueOf(parameter.operand, values), parameter.encoding))
}

/** The value of an operand; null where a slot has none or a claim is missing. */
export function valueOf(operand: Operand, values: Values): Scalar | readonly Scalar[] | null {
  switch (operand.kind) {
    case 'constant':
      return operand.value
    case 'slot':
      return values.slots[operand.index] ?? null
    case 'claim': {
      const claim = values.claims.get(operand.name) ?? null
      return Array.isArray(claim) && claim.length === 0 ? null : claim // an empty list never widens access, so `notIn` of it grants nothing
    }
    case 'step':
      return values.steps?.[operand.index] ?? null
  }
}

function encode(value: Scalar | readonly Scalar[] | null, encoding: Encoding): string | null {
  if (value === null || encoding.kind === 'null') return null
  if (encoding.kind === 'list') return arrayLiteral([value].flat() as Scalar[], encoding.element)
  if (encoding.kind === 'stride') return strideText([value].flat() as Scalar[])
  if (encoding.kind === 'globalId') return globalIdParts([value].flat() as Scalar[], encoding)
  if (encoding.kind === 'stored' && typeof value === 'object' && !encoding.many) return null
  if (encoding.kind === 'stored') return storedList([value].flat() as Scalar[], encoding)
  return typeof value === 'object' ? null : encodeScalar(value, encoding) // a list where a scalar is needed fits nothing
}

function encodeScalar(value: Scalar, encoding: Encoding): string | null {
  const text = String(value)
  switch (encoding.kind) {
    case 'text':
      return typeof value === 'string' && isStorable(text) ? text : null
    case 'prefixPattern':
      return isStorable(text) ? `${escapePattern(text)}%` : null
    case 'substringPattern':
      return isStorable(text) ? `%${escapePattern(text)}%` : null
    case 'prefixEnd':
      return prefixEnd(text)
    case 'int':
      return /^-?\d{1,10}$/.test(text) && Number(text) >= -2147483648 && Number(text) <= 2147483647 ? text : null
    case 'value':
      return valueText(value, encoding)
    case 'atMost':
    case 'atLeast':
      return typeof value === 'string' ? clamped(text, encoding.kind, encoding.by) : null
    case 'decimal':
      return /^-?\d{1,1000}(\.\d{1,1000})?$/.test(text) ? text : null
    case 'limit':
      return String(Number(value) + encoding.plus)
    case 'vector':
      return /^\[[-+.,e\d]+\]$/.test(text) ? (encoding.as === 'array' ? `{${text.slice(1, -1)}}` : text) : null
    case 'list':
    case 'stride':
    case 'globalId':
    case 'stored':
    case 'null':
      return null // handled above: these take lists
  }
}

/** U+0000 cannot be stored, and half a surrogate pair would become U+FFFD on the way and equal another text. */
function isStorable(text: string): boolean {
  return !/[\0\p{Surrogate}]/u.test(text)
}

/** As PostgreSQL reads it. Arguments are canonical; claims are as the token has them, so all that is not ends here. */
function valueText(value: Scalar, { type, native }: Extract<Encoding, { kind: 'value' }>): string | null {
  const sortKey = operandSortKey(type, native, value)
  if (sortKey === null || (native === 'bigint' && !inBigint(sortKey))) return null
  return type.kind === 'builtin' && type.name === 'DateTime' ? `${sortKey}Z` : sortKey
}

const BIGINT_MIN = -(2n ** 63n)
const BIGINT_MAX = 2n ** 63n - 1n

function inBigint(text: string): boolean {
  if (!/^-?\d{1,19}$/.test(text)) return false
  const value = BigInt(text)
  return value >= BIGINT_MIN && value <= BIGINT_MAX
}

function clamped(text: string, side: 'atMost' | 'atLeast', by: bigint | number): string | null {
  if (operandSortKey({ kind: 'builtin', name: 'BigInt' }, null, text) === null) return null
  const value = BigInt(text) + BigInt(by)
  if (side === 'atMost') return value < BIGINT_MIN ? null : String(value > BIGINT_MAX ? BIGINT_MAX : value)
  return value > BIGINT_MAX ? null : String(value < BIGINT_MIN ? BIGINT_MIN : value)
}

function escapePattern(text: string): string {
  return text.replace(/[\\%_]/g, (character) => `\\${character}`)
}

/** The least text above all with this prefix, in code point order; null for an empty prefix or one of U+10FFFF only: then nothing bounds it from above. */
export function prefixEnd(prefix: string): string | null {
  if (!isStorable(prefix)) return null
  const points = [...prefix]
  while (points.length > 0) {
    const last = points.pop()?.codePointAt(0) ?? 0
    if (last < 0x10ffff) return points.join('') + String.fromCodePoint(last === 0xd7ff ? 0xe000 : last + 1)
  }
  return null
}

function storedList(given: readonly Scalar[], { names, values }: Extract<Encoding, { kind: 'stored' }>): string {
  return literalOf(given.flatMap((name): readonly (string | null)[] => (typeof name === 'string' && names.includes(name) ? (values.get(name) ?? []) : [null])))
}

function globalIdParts(ids: readonly Scalar[], encoding: Extract<Encoding, { kind: 'globalId' }>): string {
  const parts = ids.flatMap((id) => {
    const parsed = parseGlobalId(String(id))
    const isOurs = parsed?.type === encoding.type && parsed.organization === encoding.organization && parsed.key.length === encoding.parts
    const part = isOurs ? parsed.key[encoding.part] : undefined
    return [part === undefined ? null : encodeScalar(part, encoding.element)]
  })
  return literalOf(parts) // nulls stay, so that the parts of a composite key keep their places
}

/** What the element type cannot hold stays as NULL: it equals nothing, and a policy's `notIn` becomes unknown rather than true. */
function arrayLiteral(values: readonly Scalar[], element: Encoding): string {
  return literalOf(values.map((value) => encodeScalar(value, element)))
}

/** `hours:minutes:seconds`, since PostgreSQL 14 reads no large number of any one unit but hours. */
function strideText(times: readonly Scalar[]): string | null {
  const micros = times.map((time) => microsOf(String(time)))
  const [first, second] = micros
  if (first === undefined || second === undefined) return null
  const stride = second - first
  if (micros.some((at, index) => at !== first + BigInt(index) * stride)) return null
  const digits = (value: bigint, count: number): string => value.toString().padStart(count, '0')
  const seconds = stride / 1_000_000n
  const clock = [seconds / 3_600n, (seconds / 60n) % 60n, seconds % 60n].map((part) => digits(part, 2)).join(':')
  return `${clock}.${digits(stride % 1_000_000n, 6)}`
}

/** PostgreSQL's array text: every element quoted. */
export function literalOf(elements: readonly (string | null)[]): string {
  return `{${elements.map((element) => (element === null ? 'NULL' : `"${element.replace(/["\\]/g, (character) => `\\${character}`)}"`)).join(',')}}`
}
