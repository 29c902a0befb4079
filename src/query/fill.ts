/** What stands in empty buckets. It acts on released values, once owners are combined, and so is the same for every store. Pure. */
import { invariant } from '../errors.js'
import type { Released } from './aggregate.js'
import { AVERAGE_DIGITS } from './aggregate.js'
import type { ValueType } from './catalog.js'
import type { Decimal } from './decimal.js'
import { addDecimals, divideDecimal, floatQuotient, multiplyDecimals, parseDecimal, printDecimal, printFloat } from './decimal.js'
import type { Fill } from './plan.js'
import type { ReleasedBucket } from './series.js'

interface FillContext {
  /** Of each measure. */
  readonly types: readonly ValueType[]
  /** Microseconds of each bucket's start, then of the last one's end. */
  readonly micros: readonly bigint[]
}

/** Every bucket of the range, in order. One that has rows stays as it is, also where it has no value. */
export function fillBuckets(fill: Fill, buckets: readonly ReleasedBucket[], { types, micros }: FillContext): readonly ReleasedBucket[] {
  const byIndex = new Map(buckets.map((bucket) => [bucket.index, bucket]))
  const columns = types.map((type, measure) => {
    const known = buckets.flatMap(({ index, measures }): Known[] => {
      const sortKey = measures[measure]?.sortKey ?? null
      return sortKey === null ? [] : [{ index, sortKey }]
    })
    return { type, filler: fillerOf(fill, type, known, micros) }
  })
  return micros.slice(0, -1).map((_, index): ReleasedBucket => {
    return byIndex.get(index) ?? { index, count: 0n, measures: columns.map(({ type, filler }): Released => ({ type, sortKey: filler(index) })) }
  })
}

/** A bucket's value. */
interface Known {
  readonly index: number
  readonly sortKey: string
}

/** Gives what stands in the empty buckets, which are asked for in their order. */
function fillerOf(fill: Fill, type: ValueType, known: readonly Known[], micros: readonly bigint[]): (index: number) => string | null {
  if (fill === 'NULL' || (fill === 'LINEAR' && !isNumber(type))) return () => null
  let next = 0
  return (index) => {
    while ((known[next]?.index ?? Infinity) < index) next += 1
    const [before, after] = [known[next - 1], known[next]]
    if (!before) return null
    if (fill === 'PREVIOUS') return before.sortKey
    return after ? between(type, [before, after], index, micros) : null
  }
}

const NUMBERS: ReadonlySet<string> = new Set(['Int', 'BigInt', 'Decimal', 'Float'])

function isNumber(type: ValueType): boolean {
  return type.kind === 'builtin' && NUMBERS.has(type.name)
}

/** On the straight line between two values over the time from start to start, rounded as the type has it. */
function between(type: ValueType, [before, after]: readonly [Known, Known], index: number, micros: readonly bigint[]): string {
  const [start, at, end] = [micros[before.index], micros[index], micros[after.index]]
  invariant(start !== undefined && at !== undefined && end !== undefined, 'a bucket has bounds')
  const [low, high] = [parseDecimal(before.sortKey), parseDecimal(after.sortKey)]
  const weighted = addDecimals(multiplyDecimals(low, whole(end - at)), multiplyDecimals(high, whole(at - start)))
  if (type.name === 'Float') return printFloat(floatQuotient(weighted, end - start) + 0)
  return printDecimal(divideDecimal(weighted, end - start, type.name === 'Decimal' ? AVERAGE_DIGITS : 0))
}

function whole(units: bigint): Decimal {
  return { kind: 'finite', units, scale: 0 }
}
