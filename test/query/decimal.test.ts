import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'

import type { Decimal } from '../../src/query/decimal.js'
import {
  addDecimals,
  compareDecimals,
  compareDecimalTexts,
  divideDecimal,
  floatQuotient,
  floorToStep,
  multiplyDecimals,
  parseDecimal,
  printDecimal,
  printFloat,
  sumDecimals,
  trimDecimal,
} from '../../src/query/decimal.js'

const text = (value: Decimal): string => printDecimal(value)
const decimals = fc.tuple(fc.bigInt({ min: -(10n ** 30n), max: 10n ** 30n }), fc.nat(25)).map(([units, scale]): Decimal => ({ kind: 'finite', units, scale }))

describe('decimal texts', () => {
  it('survive being read and printed, digit by digit', () => {
    fc.assert(fc.property(decimals, (value) => expect(parseDecimal(text(value))).toEqual(value)))
    for (const same of ['0.00', '-0.05', '12345678901234567890.10', 'NaN', 'Infinity', '-Infinity']) expect(text(parseDecimal(same))).toBe(same)
  })

  it('may have the exponent of a float8', () => {
    expect(text(parseDecimal('1.5e-07'))).toBe('0.00000015')
    expect(text(parseDecimal('1.2345678901234568e+17'))).toBe('123456789012345680')
  })

  it('are refused in any other form', () => {
    for (const other of ['', '1.', '.5', ' 1', '1e99999', '0x10', '1,5', '--1']) expect(() => parseDecimal(other)).toThrow('invariant')
  })

  it('compare alike as texts and as numbers, -0 as 0 and NaN above all', () => {
    fc.assert(fc.property(decimals, decimals, (a, b) => expect(compareDecimalTexts(text(a), text(b))).toBe(compareDecimals(a, b))))
    expect(compareDecimalTexts('-0', '0')).toBe(0)
    expect(compareDecimalTexts('NaN', 'Infinity')).toBe(1)
    expect(compareDecimalTexts('NaN', 'NaN')).toBe(0)
  })
})

describe('decimal arithmetic', () => {
  it('adds without losing a digit, in any order, at the largest scale', () => {
    fc.assert(
      fc.property(fc.array(decimals), (values) => {
        expect(sumDecimals([...values].reverse())).toEqual(sumDecimals(values))
      }),
    )
    expect(text(addDecimals(parseDecimal('0.10'), parseDecimal('0.2')))).toBe('0.30')
    expect(text(sumDecimals(['1e+300', '1', '-1e+300'].map(parseDecimal)))).toBe('1')
    expect(text(sumDecimals(['1', 'NaN'].map(parseDecimal)))).toBe('NaN')
    expect(text(sumDecimals(['Infinity', '1'].map(parseDecimal)))).toBe('Infinity')
    expect(text(sumDecimals(['Infinity', '-Infinity'].map(parseDecimal)))).toBe('NaN')
  })

  it('multiplies with scales added', () => {
    expect(text(multiplyDecimals(parseDecimal('125000'), parseDecimal('0.01')))).toBe('1250.00')
    expect(text(multiplyDecimals(parseDecimal('-Infinity'), parseDecimal('-2')))).toBe('Infinity')
  })

  it('floors to a grid, also below zero, at the scale of the step', () => {
    const floor = (value: string, step: string): string => text(floorToStep(parseDecimal(value), parseDecimal(step)))
    expect(floor('1250.75', '1000')).toBe('1000')
    expect(floor('-0.01', '1000')).toBe('-1000')
    expect(floor('-3.70', '0.5')).toBe('-4.0')
    expect(floor('2000.00', '1000')).toBe('2000')
    expect(floor('2999.99999999999999999999999999', '1000')).toBe('2000')
    expect(floor('NaN', '1000')).toBe('NaN')
  })

  it('rounds averages half away from zero', () => {
    expect(text(divideDecimal(parseDecimal('1'), 3n, 16))).toBe('0.3333333333333333')
    expect(text(divideDecimal(parseDecimal('-2'), 3n, 16))).toBe('-0.6666666666666667')
    expect(text(divideDecimal(parseDecimal('5'), 2n, 0))).toBe('3')
    expect(text(divideDecimal(parseDecimal('-5'), 2n, 0))).toBe('-3')
    expect(text(divideDecimal(parseDecimal('10.00'), 4n, 16))).toBe('2.5')
    expect(floatQuotient(parseDecimal('3e-320'), 3n)).toBe(1e-320)
  })

  it('drops zeros after the point only', () => {
    expect(text(trimDecimal(parseDecimal('100.00')))).toBe('100')
    expect(text(trimDecimal(parseDecimal('0.10')))).toBe('0.1')
  })
})

describe('printFloat', () => {
  it('prints what reads back as the same double', () => {
    fc.assert(fc.property(fc.double({ noNaN: true }), (value) => expect(Number(printFloat(value))).toBe(value)))
  })

  it('prints as PostgreSQL does', () => {
    const expected = [
      '0',
      '-0',
      '0.1',
      '0.0001',
      '1e-05',
      '100000000000000',
      '1e+15',
      '1.2345678901234568e+17',
      '9.999999999999999e+22',
      '5e-324',
      '1.7976931348623157e+308',
    ]
    expect([0, -0, 0.1, 0.0001, 0.00001, 1e14, 1e15, Number('123456789012345678'), 1e23, 5e-324, Number.MAX_VALUE].map(printFloat)).toEqual(expected)
    expect([NaN, Infinity, -Infinity].map(printFloat)).toEqual(['NaN', 'Infinity', '-Infinity'])
  })
})
