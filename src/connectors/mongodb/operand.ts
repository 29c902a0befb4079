/** Values of a request as BSON, from their sort keys. */
import { Binary, Decimal128, Double, Long, MaxKey, MinKey, ObjectId } from 'mongodb'
import type { NativeType } from '../../query/binding.js'
import type { ValueType } from '../../query/catalog.js'
import { parseDecimal, type Decimal } from '../../query/decimal.js'

/** A BSON value to compare with. Where `exact` is false no stored value equals the operand, and `value` is the greatest that can be stored below it. */
export interface Operand {
  readonly value: unknown
  readonly exact: boolean
}

/** `native` is null where the stored value is a text whatever the column is. */
export function bsonOf(type: ValueType, native: NativeType | null, sortKey: string): Operand {
  if (type.kind === 'enum') return { value: sortKey, exact: true }
  switch (type.name) {
    case 'String':
    case 'JSON':
    case 'Vector':
      return { value: sortKey, exact: true }
    case 'ID':
      return idOf(native, sortKey)
    case 'UUID':
      return { value: uuidOf(sortKey), exact: true }
    case 'Boolean':
      return { value: sortKey === 'true', exact: true }
    case 'Float':
      return { value: new Double(Number(sortKey)), exact: true }
    case 'Int':
    case 'BigInt':
    case 'Decimal':
      return numberOf(parseDecimal(sortKey))
    case 'DateTime':
    case 'LocalDateTime':
    case 'Date':
      return momentOf(sortKey)
  }
}

function idOf(native: NativeType | null, text: string): Operand {
  switch (native) {
    case 'int':
    case 'long':
      return { value: Long.fromString(text), exact: true }
    case 'objectId':
      return { value: new ObjectId(text), exact: true }
    case 'uuid':
      return { value: uuidOf(text), exact: true }
    default:
      return { value: text, exact: true }
  }
}

function uuidOf(text: string): Binary {
  return new Binary(Buffer.from(text.replaceAll('-', ''), 'hex'), Binary.SUBTYPE_UUID)
}

const DIGITS = 34

/** Decimal128 has 34 digits: what has more lies between two of them. */
function numberOf(decimal: Decimal): Operand {
  if (decimal.kind !== 'finite')
    return { value: Decimal128.fromString({ infinity: 'Infinity', '-infinity': '-Infinity', nan: 'NaN' }[decimal.kind]), exact: true }
  let { units } = decimal
  let exponent = -decimal.scale
  let exact = true
  while (String(units < 0n ? -units : units).length > DIGITS) {
    const rest = ((units % 10n) + 10n) % 10n
    exact &&= rest === 0n
    units = (units - rest) / 10n
    exponent += 1
  }
  const isLong = exponent === 0 && BigInt.asIntN(64, units) === units
  return { value: isLong ? Long.fromBigInt(units) : Decimal128.fromString(`${units}E${exponent}`), exact }
}

/** BSON times have milliseconds; those that JavaScript's do not reach are before or after all of them. */
function momentOf(text: string): Operand {
  if (text === 'infinity') return { value: new MaxKey(), exact: false }
  if (text === '-infinity') return { value: new MinKey(), exact: false }
  const [, yearText = '', month, day, hour = '0', minute = '0', second = '0', fraction = ''] =
    /^(\d+)-(\d\d)-(\d\d)(?:T(\d\d):(\d\d):(\d\d)(?:\.(\d+))?)?/.exec(text) ?? []
  const year = text.endsWith(' BC') ? 1 - Number(yearText) : Number(yearText)
  const at = new Date(0)
  at.setUTCFullYear(year, Number(month) - 1, Number(day))
  at.setUTCHours(Number(hour), Number(minute), Number(second), Number(fraction.slice(0, 3).padEnd(3, '0')))
  if (Number.isNaN(at.getTime())) return { value: year < 0 ? new MinKey() : new MaxKey(), exact: false }
  return { value: at, exact: fraction.length <= 3 }
}
