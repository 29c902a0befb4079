/** Values and names as they stand in an expression of Milvus 2.3, which has no parameters: the only place where a value becomes text of a query. */
import { invariant } from '../../errors.js'

/**
 * A string literal. All but plain ASCII is escaped by its number, so that no character of a value is ever read as anything else.
 *
 * INVARIANT: the text is well-formed; others match nothing, and are sorted out before.
 */
export function textLiteral(text: string): string {
  invariant(!/\p{Surrogate}/u.test(text), 'a text without lone surrogates')
  return `"${text.replace(/[^\x20-\x7e]|["\\]/gu, escaped)}"`
}

function escaped(character: string): string {
  const point = character.codePointAt(0) ?? 0
  return point > 0xffff ? `\\U${hex(point, 8)}` : `\\u${hex(point, 4)}`
}

function hex(point: number, digits: number): string {
  return point.toString(16).padStart(digits, '0')
}

/** An int64 but the least one, which the server cannot read: its digits without the sign are too many. */
export function integerLiteral(value: bigint): string {
  invariant(value > -(2n ** 63n) && value < 2n ** 63n, 'an integer that has a literal')
  return value.toString()
}

/** A finite double, with an exponent, so that it is never taken for an integer. */
export function floatLiteral(value: number): string {
  invariant(Number.isFinite(value), 'a finite number')
  return (value + 0).toExponential()
}

/** Words of the expression language, whatever their case. */
const WORDS: ReadonlySet<string> = new Set(
  'and or not in like exists true false json_contains json_contains_all json_contains_any array_contains array_contains_all array_contains_any array_length'.split(
    ' ',
  ),
)

/** Whether a field of this name can stand in an expression as it is. */
export function isPlainName(name: string): boolean {
  return /^[A-Za-z_]\w*$/.test(name) && !WORDS.has(name.toLowerCase())
}

/** A field's name, as the collection's schema has it. */
export function nameText(name: string): string {
  invariant(isPlainName(name), 'a name that was checked when it was bound')
  return name
}
