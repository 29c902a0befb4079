/** Masks as the owner's store applies them (see `Mask`). */
import { createHmac } from 'node:crypto'
import { invariant } from '../../errors.js'
import type { ValueType } from '../../query/catalog.js'
import { floorToStep, parseDecimal, printDecimal, printFloat } from '../../query/decimal.js'
import { compareSortKeys } from '../../query/order.js'
import type { Mask, TimeUnit } from '../../query/plan.js'
import { operandSortKey } from '../../query/value.js'
import { startOfUnit } from './calendar.js'

/** The sort key of the masked value. Nulls are masked too, unless the mask reveals them. `keyOf` gives the owner's key for a grantee. */
export function maskedValue(mask: Mask, type: ValueType, value: string | null, keyOf: (grantee: string) => Buffer): string | null {
  if (mask.kind === 'null') return null
  if (mask.kind === 'constant') return operandSortKey(type, null, mask.value)
  if (value === null && mask.revealNulls) return null
  switch (mask.kind) {
    case 'redact': {
      const points = [...(value ?? '')]
      return points.length > mask.keepLast ? `***${points.slice(points.length - mask.keepLast).join('')}` : '***'
    }
    case 'pseudonym': {
      // A separator that differs keeps null apart from every value.
      const text = value === null ? `${mask.domain}\x1e` : `${mask.domain}\x1f${value}`
      return `p-${createHmac('sha256', keyOf(mask.grantee)).update(text, 'utf8').digest('hex').slice(0, 32)}`
    }
    case 'generalize':
      return generalized(type, value ?? '0', mask.step)
    case 'generalizeTime':
      return generalizedTime(type, value ?? (isDate(type) ? '1970-01-01' : '1970-01-01T00:00:00'), mask.unit)
  }
}

const INT_MIN = '-2147483648'

/** An Int whose grid begins below the least Int is that one. */
function generalized(type: ValueType, value: string, step: string): string {
  const text = printDecimal(floorToStep(parseDecimal(value), parseDecimal(step)))
  invariant(type.kind === 'builtin', 'a grid is for numbers')
  if (type.name === 'Float') return printFloat(Number(text))
  return type.name === 'Int' && Number(text) < Number(INT_MIN) ? INT_MIN : text
}

const LEAST_TIME = '4713-01-01T00:00:00 BC'
const LAST_DAY = '294276-12-31'

/** Clamped first, so that every unit has a start that PostgreSQL's types can hold; nobody sees those times, but rows are ordered by them. */
function generalizedTime(type: ValueType, value: string, unit: TimeUnit): string {
  const least = isDate(type) ? LEAST_TIME.replace('T00:00:00', '') : LEAST_TIME
  if (compareSortKeys(type, value, least) < 0) return startOfUnit(least, unit)
  if (isDate(type) && compareSortKeys(type, value, LAST_DAY) > 0) return startOfUnit(LAST_DAY, unit)
  return value === 'infinity' ? value : startOfUnit(value, unit)
}

function isDate(type: ValueType): boolean {
  return type.kind === 'builtin' && type.name === 'Date'
}
