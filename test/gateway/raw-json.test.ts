import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { RawJson, type RawPlace, type RawPlaces } from '../../src/gateway/raw-json.js'

/** JSON as a store may write it: spaces anywhere, escapes, numbers that JavaScript cannot hold. */
const space = fc.constantFrom('', ' ', '\n', ' \t ')
const numberText = fc.constantFrom('1.0', '12345678901234567890.500', '1e400', '-0.0', '0', '7', '1E+2')
const { json } = fc.letrec<{ json: string }>((tie) => ({
  json: fc.oneof(
    { maxDepth: 4 },
    numberText,
    fc.string({ unit: 'binary' }).map((text) => JSON.stringify(text)),
    fc.constantFrom('true', 'false', '"\\"}]"', '"\\\\"', '"\\u0001"', '{}', '[]'),
    fc.array(tie('json'), { maxLength: 3 }).chain((items) => space.map((gap) => `[${gap}${items.join(`${gap},${gap}`)}${gap}]`)),
    fc
      .array(fc.tuple(fc.string(), tie('json')), { maxLength: 3 })
      .chain((members) => space.map((gap) => `{${gap}${members.map(([key, value]) => `${JSON.stringify(key)}${gap}:${gap}${value}`).join(',')}${gap}}`)),
  ),
}))

const places: RawPlaces = new Map<string, RawPlace>([
  ['here', 'here'],
  ['items', 'items'],
  ['inside', new Map<string, RawPlace>([['here', 'here']])],
])

describe('JSON values that keep their text', () => {
  it('come out as the store wrote them, whatever they hold', () => {
    fc.assert(
      fc.property(json, json, json, space, (one, two, three, gap) => {
        const raw = new RawJson()
        const text = `{${gap}"here"${gap}:${gap}${one}${gap},"other":"${gap === '' ? 'x' : 'y'}","items":[${gap}${two},${gap}null],"inside":[{"here":${three}},null,{"else":1}]}`
        const out = raw.stringify(raw.parse(text, places))
        expect(out).toBe(`{"here":${one},"other":"${gap === '' ? 'x' : 'y'}","items":[${two},null],"inside":[{"here":${three}},null,{"else":1}]}`)
      }),
    )
  })

  it('are told from lists and objects around them by their place only', () => {
    const raw = new RawJson()
    expect(raw.stringify(raw.parse('{"here":[1.0,{"here":2.0}],"items":[[1.0],{"a":2.0}],"inside":{"here":3.0,"x":4.0}}', places))).toBe(
      '{"here":[1.0,{"here":2.0}],"items":[[1.0],{"a":2.0}],"inside":{"here":3.0,"x":4}}',
    )
  })

  it('cannot be had by a text that looks like the token of one', () => {
    const raw = new RawJson()
    const parsed = raw.parse('{"here":1.0,"other":"00000000-0000-4000-8000-000000000000:0"}', places) as { here: string; other: string }
    expect(parsed.here).toMatch(/^[0-9a-f-]{36}:0$/)
    expect(raw.stringify(parsed)).toBe('{"here":1.0,"other":"00000000-0000-4000-8000-000000000000:0"}')
    const other = new RawJson()
    other.parse('{"here":2.0}', places)
    expect(other.stringify(parsed)).toContain(parsed.here)
  })
})
