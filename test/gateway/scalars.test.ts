import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { parseValue } from 'graphql'
import { parseInput, parseLiteral, SCALAR_TYPES } from '../../src/gateway/scalars.js'
import type { BuiltinScalar } from '../../src/query/catalog.js'

const literal = (scalar: BuiltinScalar, text: string) => parseLiteral(scalar, parseValue(text))

/** A lone half of a surrogate pair; a literal cannot hold one. */
const LONE = '\ud83d'

describe('parseInput', () => {
  it.each<[BuiltinScalar, unknown, unknown]>([
    ['String', 'it’s 😀', 'it’s 😀'],
    ['String', '', ''],
    ['ID', 'a-1', 'a-1'],
    ['ID', 7, '7'],
    ['ID', '007', '007'],
    ['Boolean', false, false],
    ['Int', 2147483647, 2147483647],
    ['Int', -2147483648, -2147483648],
    ['Int', -0, 0],
    ['Float', 0.1, 0.1],
    ['Float', -0, 0],
    ['Float', 1e308, 1e308],
    ['BigInt', '9223372036854775808', '9223372036854775808'],
    ['BigInt', '+007', '7'],
    ['BigInt', '-0', '0'],
    ['BigInt', '-00', '0'],
    ['BigInt', Number.MAX_SAFE_INTEGER, '9007199254740991'],
    ['BigInt', `-${'9'.repeat(1_000)}`, `-${'9'.repeat(1_000)}`],
    ['Decimal', '012.3400', '12.34'],
    ['Decimal', '-0.000', '0'],
    ['Decimal', '-0.5', '-0.5'],
    ['Decimal', '+1.0', '1'],
    ['Decimal', '100', '100'],
    ['Decimal', 12, '12'],
    ['Decimal', '0.1234567890123456789012345678901234567890', '0.123456789012345678901234567890123456789'],
    ['DateTime', '2026-03-01T22:14:03.120511Z', '2026-03-01T22:14:03.120511Z'],
    ['DateTime', '2026-03-01T22:14:03.120500z', '2026-03-01T22:14:03.1205Z'],
    ['DateTime', '2026-03-01t22:14:03+00:00', '2026-03-01T22:14:03Z'],
    ['DateTime', '2026-03-01T00:30:00+02:00', '2026-02-28T22:30:00Z'],
    ['DateTime', '2023-12-31T23:00:00.000001-01:30', '2024-01-01T00:30:00.000001Z'],
    ['DateTime', '0001-01-01T00:00:00Z', '0001-01-01T00:00:00Z'],
    ['DateTime', '0099-01-01T00:00:00Z', '0099-01-01T00:00:00Z'],
    ['DateTime', '9999-12-31T23:59:59.999999Z', '9999-12-31T23:59:59.999999Z'],
    ['DateTime', '2024-02-29T00:00:00Z', '2024-02-29T00:00:00Z'],
    ['LocalDateTime', '2026-03-01T22:14:03.50', '2026-03-01T22:14:03.5'],
    ['LocalDateTime', '2026-03-01T22:14:03.000', '2026-03-01T22:14:03'],
    ['Date', '2024-02-29', '2024-02-29'],
    ['UUID', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'],
    ['JSON', { b: [1, 'x', null, true], a: {} }, '{"b":[1,"x",null,true],"a":{}}'],
    ['JSON', JSON.parse('{"__proto__":{"x":1}}'), '{"__proto__":{"x":1}}'],
    ['JSON', 'text', '"text"'],
    ['JSON', null, 'null'],
  ])('reads %s %j as %j', (scalar, value, canonical) => {
    expect(parseInput(scalar, value)).toBe(canonical)
  })

  it.each<[BuiltinScalar, unknown]>([
    ['String', 1],
    ['String', ['a']],
    ['String', 'a\0b'],
    ['String', LONE],
    ['ID', 'a\0b'],
    ['ID', LONE],
    ['ID', 1.5],
    ['ID', 2 ** 53],
    ['ID', true],
    ['Boolean', 'true'],
    ['Boolean', 1],
    ['Int', 2147483648],
    ['Int', 1.5],
    ['Int', '1'],
    ['Float', Infinity],
    ['Float', NaN],
    ['Float', '1.5'],
    ['BigInt', ''],
    ['BigInt', ' 1'],
    ['BigInt', '1\n'],
    ['BigInt', '1e3'],
    ['BigInt', '0x10'],
    ['BigInt', '1_000'],
    ['BigInt', '1.0'],
    ['BigInt', '٣'],
    ['BigInt', 2 ** 53],
    ['BigInt', 1n],
    ['BigInt', '9'.repeat(1_001)],
    ['Decimal', 0.5],
    ['Decimal', '.5'],
    ['Decimal', '5.'],
    ['Decimal', '1e3'],
    ['Decimal', 'NaN'],
    ['Decimal', 'Infinity'],
    ['Decimal', '1,5'],
    ['Decimal', `0.${'9'.repeat(1_000)}`],
    ['DateTime', 0],
    ['DateTime', 'now'],
    ['DateTime', 'infinity'],
    ['DateTime', '2026-03-01'],
    ['DateTime', '2026-03-01T22:14:03'],
    ['DateTime', '2026-03-01 22:14:03Z'],
    ['DateTime', '2026-03-01T22:14Z'],
    ['DateTime', '2026-03-01T22:14:03.Z'],
    ['DateTime', '2026-03-01T22:14:03.1234567Z'],
    ['DateTime', '2026-03-01T22:14:03+0100'],
    ['DateTime', '2026-03-01T22:14:03+24:00'],
    ['DateTime', '2026-03-01T22:14:03+01:60'],
    ['DateTime', '2026-02-30T00:00:00Z'],
    ['DateTime', '2023-02-29T00:00:00Z'],
    ['DateTime', '2026-13-01T00:00:00Z'],
    ['DateTime', '2026-03-01T24:00:00Z'],
    ['DateTime', '2026-03-01T22:60:00Z'],
    ['DateTime', '2016-12-31T23:59:60Z'],
    ['DateTime', '0000-12-31T00:00:00Z'],
    ['DateTime', '0001-01-01T00:00:00+00:01'],
    ['DateTime', '9999-12-31T23:59:59-00:01'],
    ['DateTime', '10000-01-01T00:00:00Z'],
    ['DateTime', '-2026-01-01T00:00:00Z'],
    ['DateTime', '2026-03-01T22:14:03Z\n'],
    ['LocalDateTime', '2026-03-01T22:14:03Z'],
    ['LocalDateTime', '2026-03-01T22:14:03+01:00'],
    ['Date', '2026-3-1'],
    ['Date', '2026-02-29'],
    ['Date', '2026-02-28T00:00:00Z'],
    ['Date', '0000-01-01'],
    ['UUID', 'a0eebc999c0b4ef8bb6d6bb9bd380a11'],
    ['UUID', '{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'],
    ['JSON', undefined],
    ['JSON', NaN],
    ['JSON', { a: 'a\0b' }],
    ['JSON', { 'a\0b': 1 }],
    ['JSON', [LONE]],
  ])('refuses %s %j', (scalar, value) => {
    expect(() => parseInput(scalar, value)).toThrow(new RegExp(scalar === 'String' || scalar === 'JSON' || scalar === 'ID' ? 'must' : `\`${scalar}\` must`))
  })

  it('reads JSON down to 100 levels, and survives any depth', () => {
    const nested = (levels: number): unknown => JSON.parse('['.repeat(levels) + ']'.repeat(levels))
    expect(parseInput('JSON', nested(101))).toBe('['.repeat(101) + ']'.repeat(101))
    for (const levels of [102, 100_000]) expect(() => parseInput('JSON', nested(levels))).toThrow('levels')
  })

  it('reads its own canonical form as itself', () => {
    const canonical = fc.oneof(
      fc.bigInt().map((value) => ['BigInt', parseInput('BigInt', String(value))] as const),
      fc.tuple(fc.bigInt(), fc.nat()).map(([whole, fraction]) => ['Decimal', parseInput('Decimal', `${whole}.${fraction}`)] as const),
      fc
        .date({ min: new Date('0001-01-02T00:00:00Z'), max: new Date('9999-12-30T00:00:00Z'), noInvalidDate: true })
        .map((value) => ['DateTime', parseInput('DateTime', value.toISOString())] as const),
    )
    fc.assert(fc.property(canonical, ([scalar, value]) => expect(parseInput(scalar, value)).toBe(value)))
  })

  it('gives a moment the same text in whatever offset it is written', () => {
    const moments = fc.date({ min: new Date('1000-01-01T00:00:00Z'), max: new Date('9000-01-01T00:00:00Z'), noInvalidDate: true })
    fc.assert(
      fc.property(moments, fc.integer({ min: -1439, max: 1439 }), (moment, minutes) => {
        const local = new Date(moment.getTime() + minutes * 60_000).toISOString().slice(0, -1)
        const pad = (value: number) => String(Math.floor(value)).padStart(2, '0')
        const offset = `${minutes < 0 ? '-' : '+'}${pad(Math.abs(minutes) / 60)}:${pad(Math.abs(minutes) % 60)}`
        expect(parseInput('DateTime', local + offset)).toBe(parseInput('DateTime', moment.toISOString()))
      }),
    )
  })

  it('gives JSON that means the same', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => {
        const clean = JSON.stringify(value)
        fc.pre(!clean.includes('\\u0000') && !/\\ud[89ab]/i.test(clean))
        expect(JSON.parse(String(parseInput('JSON', JSON.parse(clean))))).toEqual(JSON.parse(clean))
      }),
    )
  })
})

describe('parseLiteral', () => {
  it.each<[BuiltinScalar, string, unknown]>([
    ['String', '"a\\u00e9"', 'aé'],
    ['String', '"""a\n  b"""', 'a\nb'],
    ['ID', '12', '12'],
    ['ID', '"x"', 'x'],
    ['Boolean', 'true', true],
    ['Int', '-3', -3],
    ['Float', '3', 3],
    ['Float', '1.5e3', 1500],
    ['BigInt', '123456789012345678901234567890', '123456789012345678901234567890'],
    ['BigInt', '"-5"', '-5'],
    ['Decimal', '123456789012345678901234567890.10', '123456789012345678901234567890.1'],
    ['Decimal', '5', '5'],
    ['DateTime', '"2026-03-01T22:14:03Z"', '2026-03-01T22:14:03Z'],
    ['JSON', '{ b: [1.10, -0, 1e3, "x\\"y", null, true], a: {} }', '{"b":[1.10,-0,1e3,"x\\"y",null,true],"a":{}}'],
    ['JSON', '123456789012345678901234567890', '123456789012345678901234567890'],
  ])('reads %s %s as %j', (scalar, text, canonical) => {
    expect(literal(scalar, text)).toBe(canonical)
  })

  it.each<[BuiltinScalar, string]>([
    ['String', '1'],
    ['String', 'NAME'],
    ['String', '"a\\u0000b"'],
    ['ID', '1.5'],
    ['ID', '"\\u0000"'],
    ['Int', '2147483648'],
    ['Int', '1.0'],
    ['Int', '"1"'],
    ['Float', '1e400'],
    ['Float', '"1"'],
    ['Boolean', '"true"'],
    ['BigInt', '1.0'],
    ['BigInt', '1e3'],
    ['Decimal', '1e3'],
    ['Decimal', 'true'],
    ['Date', '2026'],
    ['UUID', '[]'],
    ['DateTime', '{}'],
    ['JSON', '{ a: NAME }'],
    ['JSON', '{ a: $x }'],
    ['JSON', '"\\u0000"'],
    ['JSON', '1e1001'],
    ['JSON', '1e-1001'],
    ['JSON', '1'.repeat(1_001)],
    ['JSON', '['.repeat(102) + ']'.repeat(102)],
  ])('refuses %s %s', (scalar, text) => {
    expect(() => literal(scalar, text)).toThrow(/must|cannot/)
  })
})

describe('SCALAR_TYPES', () => {
  it('check as the parsers do, and keep JSON as a value', () => {
    const byName = new Map(SCALAR_TYPES.map((type) => [type.name, type]))
    expect(byName.get('BigInt')?.parseValue('007')).toBe('7')
    expect(byName.get('Decimal')?.parseLiteral(parseValue('1.50'))).toBe('1.5')
    expect(byName.get('JSON')?.parseValue({ a: [1] })).toEqual({ a: [1] })
    expect(byName.get('JSON')?.parseLiteral(parseValue('{ a: [1] }'))).toEqual({ a: [1] })
    expect(() => byName.get('JSON')?.parseValue(['\0'])).toThrow('U+0000')
    expect(byName.get('JSON')?.serialize('text')).toBe('text')
  })
})
