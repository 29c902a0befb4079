import { describe, expect, it } from '@jest/globals'
import type { BuiltinScalar, ValueType } from '../../src/query/catalog.js'
import type { Scalar } from '../../src/query/predicate.js'
import { listJson, operandSortKey, valueJson } from '../../src/query/value.js'

const builtin = (name: BuiltinScalar): ValueType => ({ kind: 'builtin', name })
const STATUS: ValueType = { kind: 'enum', name: 'Status', values: ['ACTIVE'] }

describe('the JSON of a value', () => {
  it('is a string wherever JavaScript would lose digits, and null where JSON has no form', () => {
    expect(['12.50', 'NaN', 'Infinity'].map((text) => valueJson(builtin('Decimal'), text))).toEqual(['"12.50"', 'null', 'null'])
    expect(['1e-05', '-0', '-Infinity'].map((text) => valueJson(builtin('Float'), text))).toEqual(['1e-05', '-0', 'null'])
    expect(valueJson(builtin('BigInt'), '9223372036854775807')).toBe('"9223372036854775807"')
    expect(valueJson(builtin('Int'), '7')).toBe('7')
  })

  it('has UTC for moments and no zone for the others, within the years 0001 to 9999', () => {
    const times = ['0001-01-01T00:00:00', '9999-12-31T23:59:59.999999', '10000-01-01T00:00:00', '0044-03-15T00:00:00 BC', 'infinity']
    expect(times.map((text) => valueJson(builtin('DateTime'), text))).toEqual([
      '"0001-01-01T00:00:00Z"',
      '"9999-12-31T23:59:59.999999Z"',
      'null',
      'null',
      'null',
    ])
    expect(valueJson(builtin('LocalDateTime'), '2026-03-01T22:14:03.5')).toBe('"2026-03-01T22:14:03.5"')
    expect(valueJson(builtin('Date'), '2026-03-01')).toBe('"2026-03-01"')
  })

  it('escapes text as PostgreSQL does, and leaves JSON as it is', () => {
    expect(valueJson(builtin('String'), '"\\\b\f\n\r\t\u001f\u007f/é😀\u2028')).toBe('"\\"\\\\\\b\\f\\n\\r\\t\\u001f\u007f/é😀\u2028"')
    expect(valueJson(builtin('JSON'), '{"a": 1}')).toBe('{"a": 1}')
  })

  it('is null for a list that holds what is null', () => {
    expect(listJson(builtin('Int'), ['1', '2'])).toBe('[1,2]')
    expect(listJson(builtin('Int'), [])).toBe('[]')
    expect(listJson(builtin('Int'), ['1', null])).toBe('null')
    expect(listJson(builtin('Float'), ['1', 'NaN'])).toBe('null')
    expect(listJson(builtin('JSON'), ['null'])).toBe('[null]')
    expect(listJson(builtin('Int'), null)).toBe('null')
  })
})

describe('an operand', () => {
  const refused = (type: ValueType, values: readonly Scalar[], native: string | null = null): void => {
    for (const value of values) expect([value, operandSortKey(type, native, value)]).toEqual([value, null])
  }

  it('is taken in the canonical form of its type only', () => {
    expect(operandSortKey(builtin('Float'), null, 1e23)).toBe('9.999999999999999e+22')
    expect(operandSortKey(builtin('Float'), null, -0)).toBe('0')
    expect(operandSortKey(builtin('DateTime'), null, '2024-02-29T23:59:59.5Z')).toBe('2024-02-29T23:59:59.5')
    for (const text of ['0', '-1', '0.5', '-0.05', '10', '120.01']) expect(operandSortKey(builtin('Decimal'), null, text)).toBe(text)
    refused(builtin('Decimal'), ['-0', '00', '1.0', '.5', '1.', '1e5', 'NaN', 1, ''])
    refused(builtin('BigInt'), ['-0', '01', '1.5', 1, '9'.repeat(1_100)])
    refused(builtin('Int'), ['1', 1.5, 2 ** 31, NaN])
    refused(builtin('Float'), ['1', Infinity, NaN])
    refused(builtin('Boolean'), ['true', 1])
    refused(builtin('DateTime'), [
      '2023-02-29T00:00:00Z',
      '2024-02-29T24:00:00Z',
      '2024-02-29T00:00:00',
      '2024-02-29T00:00:00.50Z',
      '0000-01-01T00:00:00Z',
      '2024-02-29T00:00:60Z',
    ])
    refused(builtin('LocalDateTime'), ['2024-02-29T00:00:00Z', '2024-02-29'])
    refused(builtin('Date'), ['2024-02-30', '2024-2-3', '10000-01-01', 'infinity'])
    refused(builtin('UUID'), ['FFFFFFFF-FFFF-4FFF-8FFF-FFFFFFFFFFFF', 'ffffffffffff4fff8fffffffffffffff'])
    refused(builtin('String'), ['a\0', '\ud800', 1, true])
    refused(STATUS, ['active', 'GONE', ''])
  })

  it('is an ID of an integer or uuid column only as that prints it, and any text where the value is one', () => {
    expect(operandSortKey(builtin('ID'), 'bigint', '9223372036854775807')).toBe('9223372036854775807')
    expect(operandSortKey(builtin('ID'), null, '041')).toBe('041')
    refused(builtin('ID'), ['041', '-0', ' 1', '9223372036854775808', '1e1', 41], 'bigint')
    refused(builtin('ID'), ['2147483648'], 'integer')
    refused(builtin('ID'), ['FFFFFFFF-FFFF-4FFF-8FFF-FFFFFFFFFFFF', 'x'], 'uuid')
  })
})
