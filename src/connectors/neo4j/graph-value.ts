/** Values of a request as the driver sends them, from their sort keys; and the sort keys of what it gives. */
import { Date as GraphDate, DateTime, LocalDateTime } from 'neo4j-driver'
import { invariant } from '../../errors.js'
import type { NativeType } from '../../query/binding.js'
import type { ValueType } from '../../query/catalog.js'
import { printFloat } from '../../query/decimal.js'

/** `native` is null where the stored value is a text whatever the property is. Of times: within the years that a calendar of four digits has, or cursors of stored ones. */
export function graphValue(type: ValueType, native: NativeType | null, sortKey: string): unknown {
  if (type.kind === 'enum') return sortKey
  switch (type.name) {
    case 'ID':
      return native === 'INTEGER' ? BigInt(sortKey) : sortKey
    case 'Int':
    case 'BigInt':
      return BigInt(sortKey)
    case 'Float':
      return Number(sortKey)
    case 'Boolean':
      return sortKey === 'true'
    case 'DateTime':
    case 'LocalDateTime':
    case 'Date':
      return timeOf(type.name, sortKey)
    case 'String':
    case 'UUID':
    case 'Decimal':
    case 'JSON':
    case 'Vector':
      return sortKey
  }
}

function timeOf(type: 'DateTime' | 'LocalDateTime' | 'Date', text: string): unknown {
  const [, yearText = '', month = '', day = '', hour = '0', minute = '0', second = '0', fraction = ''] =
    /^(\d+)-(\d\d)-(\d\d)(?:T(\d\d):(\d\d):(\d\d)(?:\.(\d+))?)?/.exec(text) ?? []
  const year = text.endsWith(' BC') ? 1n - BigInt(yearText) : BigInt(yearText)
  const [date, clock] = [[year, BigInt(month), BigInt(day)] as const, [BigInt(hour), BigInt(minute), BigInt(second), BigInt(fraction.padEnd(9, '0'))] as const]
  if (type === 'Date') return new GraphDate(...date)
  return type === 'LocalDateTime' ? new LocalDateTime(...date, ...clock) : new DateTime(...date, ...clock, 0n)
}

/** As the statement gives it: of integers the driver makes bigints. */
export function sortText(type: ValueType, of: unknown): string | null {
  if (of === null || of === undefined) return null
  if (typeof of === 'string') return of
  if (typeof of === 'bigint' || typeof of === 'boolean') return String(of)
  if (typeof of === 'number') return type.name === 'Float' ? printFloat(of) : String(of)
  if (of instanceof GraphDate) return dayText(of as GraphDate<bigint>) // the driver makes bigints
  invariant(of instanceof DateTime || of instanceof LocalDateTime, 'a value of a type that the statement lets through')
  return momentText(of as DateTime<bigint> | LocalDateTime<bigint>) // likewise
}

function dayText({ year, month, day }: GraphDate<bigint>): string {
  return withEra(year, `-${padded(month)}-${padded(day)}`)
}

/** ISO 8601 without zone, no zeros at the end of a fraction, years with at least four digits and perhaps an era. */
function momentText({ year, month, day, hour, minute, second, nanosecond }: DateTime<bigint> | LocalDateTime<bigint>): string {
  const fraction = padded(nanosecond, 9).replace(/0+$/, '')
  return withEra(year, `-${padded(month)}-${padded(day)}T${padded(hour)}:${padded(minute)}:${padded(second)}${fraction === '' ? '' : `.${fraction}`}`)
}

function withEra(year: bigint, rest: string): string {
  return `${padded(year > 0n ? year : 1n - year, 4)}${rest}${year > 0n ? '' : ' BC'}`
}

function padded(of: bigint, digits = 2): string {
  return String(of).padStart(digits, '0')
}
