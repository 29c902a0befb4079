/**
 * The order of rows, as every store and the merge over owners must have it: text by code point, numbers as numbers, NaN above all of them, nulls where the key
 * says. It works on sort-key texts (see `Row.keys` of connectors/connector.ts), so that nothing is lost on the way from the store.
 */
import type { ValueType } from './catalog.js'
import { compareDecimalTexts } from './decimal.js'
import type { CompareOp } from './predicate.js'

/** What the comparator must know of one key of an order. */
export interface SortKey {
  readonly type: ValueType
  readonly descending: boolean
  readonly nulls: 'first' | 'last'
}

/** Compares rows by their sort-key texts, which stand in the order of `keys`; texts after those of the keys are left to the caller. */
export function orderComparator(keys: readonly SortKey[]): (a: readonly (string | null)[], b: readonly (string | null)[]) => number {
  return (a, b) => {
    for (const [index, key] of keys.entries()) {
      const order = compareNullable(key, a[index] ?? null, b[index] ?? null)
      if (order !== 0) return order
    }
    return 0
  }
}

/** Compares by one key of an order, nulls included. */
export function compareNullable(key: SortKey, a: string | null, b: string | null): number {
  if (a === null && b === null) return 0
  if (a === null) return key.nulls === 'first' ? -1 : 1
  if (b === null) return key.nulls === 'first' ? 1 : -1
  const order = compareSortKeys(key.type, a, b)
  return key.descending ? -order : order
}

/** Compares two values of one type by their sort-key texts; JSON and vectors have no order and compare as their texts. */
export function compareSortKeys(type: ValueType, a: string, b: string): number {
  if (type.kind === 'enum') return compareText(a, b)
  switch (type.name) {
    case 'Int':
    case 'BigInt':
    case 'Decimal':
    case 'Float':
      return compareDecimalTexts(a, b)
    case 'DateTime':
    case 'LocalDateTime':
    case 'Date':
      return compareTimes(a, b)
    case 'ID':
    case 'String':
    case 'Boolean':
    case 'UUID':
    case 'JSON':
      return compareText(a, b)
    case 'Vector':
      return compareText(a, b)
  }
}

/** Code point order, which is the byte order of UTF-8; JavaScript's `<` compares UTF-16 units and puts astral characters below U+E000 to U+FFFF. */
export function compareText(a: string, b: string): number {
  const length = Math.min(a.length, b.length)
  for (let index = 0; index < length; index++) {
    const x = a.charCodeAt(index)
    const y = b.charCodeAt(index)
    if (x !== y) return codePointRank(x) - codePointRank(y) < 0 ? -1 : 1
  }
  return Math.sign(a.length - b.length)
}

/** Moves surrogates (0xD800 to 0xDFFF) above the units that follow them, since they stand for code points above U+FFFF. */
function codePointRank(unit: number): number {
  if (unit < 0xd800) return unit
  return unit >= 0xe000 ? unit - 0x800 : unit + 0x2000
}

/** Times and dates as PostgreSQL's `to_json` prints them: ISO 8601, years with at least four digits, `BC` after a space, `infinity` and `-infinity`. */
function compareTimes(a: string, b: string): number {
  const [x, y] = [timeParts(a), timeParts(b)]
  return x.year === y.year ? compareText(x.rest, y.rest) : x.year < y.year ? -1 : 1
}

function timeParts(text: string): { readonly year: number; readonly rest: string } {
  if (text === 'infinity') return { year: Infinity, rest: '' }
  if (text === '-infinity') return { year: -Infinity, rest: '' }
  const end = text.indexOf('-')
  const year = Number(text.slice(0, end))
  // 1 BC is the year before 1 AD. Months and what follows run forward in both.
  return text.endsWith(' BC') ? { year: 1 - year, rest: text.slice(end, -3) } : { year, rest: text.slice(end) }
}

/** Whether two values, of which the first is `order` against the second (below zero: before it), fit the operator. */
export function fitsOrder(op: CompareOp, order: number): boolean {
  switch (op) {
    case '=':
      return order === 0
    case '<':
      return order < 0
    case '<=':
      return order <= 0
    case '>':
      return order > 0
    case '>=':
      return order >= 0
  }
}
