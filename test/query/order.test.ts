import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'

import type { BuiltinScalar } from '../../src/query/catalog.js'
import { compareSortKeys, compareText, orderComparator } from '../../src/query/order.js'

const builtin = (name: BuiltinScalar) => ({ kind: 'builtin', name }) as const
const strictlyAscending = (name: BuiltinScalar, texts: readonly string[]): void => {
  for (const [i, a] of texts.entries()) {
    for (const [j, b] of texts.entries()) expect([a, b, compareSortKeys(builtin(name), a, b)]).toEqual([a, b, Math.sign(i - j)])
  }
}

describe('compareText', () => {
  it('agrees with the byte order of UTF-8 on any string', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (a, b) => {
        expect(compareText(a, b)).toBe(Math.sign(Buffer.compare(Buffer.from(a), Buffer.from(b))))
      }),
    )
  })

  it('puts astral characters above U+FFFF, where JavaScript puts them below U+E000', () => {
    expect(['😀', '\u{fffd}', '\u{e000}', 'z', '', '\u{10000}'].sort(compareText)).toEqual(['', 'z', '\u{e000}', '\u{fffd}', '\u{10000}', '😀'])
  })
})

describe('compareSortKeys', () => {
  it('compares numbers as numbers, however long and in whatever form', () => {
    strictlyAscending('Decimal', [
      '-Infinity',
      '-100',
      '-9.5',
      '0',
      '0.000000000000000000001',
      '9',
      '10',
      '12345678901234567890',
      '12345678901234567890.1',
      'Infinity',
      'NaN',
    ])
    strictlyAscending('BigInt', ['-9223372036854775808', '-9223372036854775807', '9223372036854775806', '9223372036854775807'])
    strictlyAscending('Float', ['-Infinity', '-1e+300', '-5e-324', '0', '5e-324', '0.1', '2e-01', '1e+15', 'Infinity', 'NaN'])
    expect(compareSortKeys(builtin('Decimal'), '1.50', '1.5')).toBe(0)
    expect(compareSortKeys(builtin('Float'), '-0', '0')).toBe(0)
    expect(compareSortKeys(builtin('Float'), 'NaN', 'NaN')).toBe(0)
  })

  it('compares times over eras, long years, fractions and infinities', () => {
    strictlyAscending('DateTime', [
      '-infinity',
      '4713-01-01T00:00:00 BC',
      '0044-03-15T00:00:00 BC',
      '0044-03-15T00:00:00.5 BC',
      '0001-12-31T23:59:59 BC',
      '0001-01-01T00:00:00',
      '2026-03-01T22:14:03',
      '2026-03-01T22:14:03.12',
      '2026-03-01T22:14:03.120511',
      '2026-03-01T22:14:03.13',
      '10000-01-01T00:00:00',
      '294276-12-31T23:59:59.999999',
      'infinity',
    ])
    strictlyAscending('Date', ['-infinity', '4713-01-01 BC', '0001-12-31 BC', '0001-01-01', '9999-12-31', '10000-01-01', 'infinity'])
  })

  it('puts false before true', () => strictlyAscending('Boolean', ['false', 'true']))
})

describe('orderComparator', () => {
  const rows = [
    ['b', '1'],
    ['a', '2'],
    [null, '0'],
    ['a', '10'],
  ] as const

  it('goes by one key after the other, each in its own direction', () => {
    const compare = orderComparator([
      { type: builtin('String'), descending: false, nulls: 'last' },
      { type: builtin('Int'), descending: true, nulls: 'last' },
    ])
    expect([...rows].sort(compare)).toEqual([
      ['a', '10'],
      ['a', '2'],
      ['b', '1'],
      [null, '0'],
    ])
  })

  it('puts nulls where the key says, whatever the direction', () => {
    for (const descending of [false, true]) {
      expect([...rows].sort(orderComparator([{ type: builtin('String'), descending, nulls: 'first' }]))[0]).toEqual([null, '0'])
      expect([...rows].sort(orderComparator([{ type: builtin('String'), descending, nulls: 'last' }]))[3]).toEqual([null, '0'])
    }
  })
})
