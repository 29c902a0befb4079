import { describe, expect, it } from '@jest/globals'
import type { ValueType } from '../../src/query/catalog.js'
import { fillBuckets } from '../../src/query/fill.js'
import type { Fill } from '../../src/query/plan.js'

const builtin = (name: 'Int' | 'BigInt' | 'Decimal' | 'Float' | 'String' | 'DateTime'): ValueType => ({ kind: 'builtin', name })

/** Values of one measure, `-` for a bucket without rows, null for one whose rows have no value. */
function filled(fill: Fill, type: ValueType, values: readonly (string | null)[], micros?: readonly bigint[]): readonly (string | null)[] {
  const buckets = values.flatMap((sortKey, index) => (sortKey === '-' ? [] : [{ index, count: 1n, measures: [{ type, sortKey }] }]))
  const times = micros ?? Array.from({ length: values.length + 1 }, (_, index) => BigInt(index) * 3_600_000_000n)
  const all = fillBuckets(fill, buckets, { types: [type], micros: times })
  expect(all.map(({ count }) => count)).toEqual(values.map((value) => (value === '-' ? 0n : 1n)))
  return all.map(({ measures }) => measures[0]?.sortKey ?? null)
}

describe('an empty bucket', () => {
  it('is null, whatever stands beside it', () => {
    expect(filled('NULL', builtin('Int'), ['-', '1', '-', '2', '-'])).toEqual([null, '1', null, '2', null])
  })

  it('has the last value that is known before it', () => {
    expect(filled('PREVIOUS', builtin('String'), ['-', 'a', '-', null, '-', '-', 'b'])).toEqual([null, 'a', 'a', null, 'a', 'a', 'b'])
  })

  it('has a value on the line between two known ones, and none beyond them', () => {
    expect(filled('LINEAR', builtin('Float'), ['-', '1', '-', '-', '-', '2', '-'])).toEqual([null, '1', '1.25', '1.5', '1.75', '2', null])
    expect(filled('LINEAR', builtin('Decimal'), ['1', '-', '-', '2.00'])).toEqual(['1', '1.3333333333333333', '1.6666666666666667', '2.00'])
  })

  it('has whole numbers between whole numbers, halves away from zero', () => {
    expect(filled('LINEAR', builtin('Int'), ['0', '-', '1'])).toEqual(['0', '1', '1'])
    expect(filled('LINEAR', builtin('BigInt'), ['0', '-', '-1'])).toEqual(['0', '-1', '-1'])
    expect(filled('LINEAR', builtin('BigInt'), ['9007199254740993', '-', '9007199254740995'])).toEqual([
      '9007199254740993',
      '9007199254740994',
      '9007199254740995',
    ])
  })

  it('goes by the time between the starts, so that a short day counts as one', () => {
    expect(filled('LINEAR', builtin('Float'), ['0', '-', '3'], [0n, 1n, 3n, 4n])).toEqual(['0', '1', '3'])
  })

  it('has nothing between texts or times, and looks past a bucket without a value', () => {
    expect(filled('LINEAR', builtin('String'), ['a', '-', 'b'])).toEqual(['a', null, 'b'])
    expect(filled('LINEAR', builtin('DateTime'), ['2026-01-01T00:00:00', '-', '2026-01-02T00:00:00'])[1]).toBeNull()
    expect(filled('LINEAR', builtin('Int'), ['0', '-', null, '-', '4'])).toEqual(['0', '1', null, '3', '4'])
  })
})
