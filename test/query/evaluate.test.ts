import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'

import type { BuiltinScalar, EntityType, Field, ValueType } from '../../src/query/catalog.js'
import type { FieldRow, FieldValue } from '../../src/query/evaluate.js'
import { fits, matchesLike, truthOf } from '../../src/query/evaluate.js'
import { jsonContains, parseJson } from '../../src/query/json-value.js'
import type { Predicate, Scalar } from '../../src/query/predicate.js'

const STATUS: ValueType = { kind: 'enum', name: 'Status', values: ['ACTIVE', 'PAUSED'] }
const field = (name: string, type: BuiltinScalar | ValueType, list = false): [string, Field] => [
  name,
  { kind: 'value', name, description: null, type: typeof type === 'string' ? { kind: 'builtin', name: type } : type, list, required: false, vector: null },
]
const entity: EntityType = {
  name: 'Agent',
  description: null,
  key: ['key'],
  singular: 'agent',
  plural: 'agents',
  fields: new Map([
    field('key', 'ID'),
    field('name', 'String'),
    field('runs', 'Int'),
    field('status', STATUS),
    field('tags', 'String', true),
    field('at', 'DateTime'),
    field('configuration', 'JSON'),
    ['owner', { kind: 'toOne', name: 'owner', description: null, target: 'Agent' }],
  ]),
  seriesTime: null,
}
const row = (values: Readonly<Record<string, FieldValue>>, owners: readonly FieldRow[] = []): FieldRow => ({
  entity,
  id: 'an-id',
  value: (name) => values[name] ?? null,
  native: (name) => (name === 'key' ? 'bigint' : 'text'),
  related: () => owners,
})
const values = (claims: Readonly<Record<string, Scalar | readonly Scalar[]>> = {}) => ({ slots: [], claims: new Map(Object.entries(claims)) })
const eq = (name: string, value: Scalar): Predicate => ({ kind: 'compare', field: name, op: '=', operand: { kind: 'constant', value } })
const not = (term: Predicate): Predicate => ({ kind: 'not', term })
const claimed = (name: string, claim: string): Predicate => ({ kind: 'compare', field: name, op: '=', operand: { kind: 'claim', name: claim } })

describe("a caller's where", () => {
  it('takes a null value as fitting nothing, and not as an exact complement', () => {
    const nobody = row({ name: null })
    expect([fits(eq('name', 'x'), nobody, values()), fits(not(eq('name', 'x')), nobody, values())]).toEqual([false, true])
    expect(fits({ kind: 'isNull', field: 'name' }, nobody, values())).toBe(true)
  })

  it('matches an ID over a bigint only by the digits that the bigint prints', () => {
    expect(['41', '041', '41 ', '4.1e1'].map((key) => fits(eq('key', key), row({ key: '41' }), values()))).toEqual([true, false, false, false])
  })

  it('finds no related row where there is none', () => {
    const related: Predicate = { kind: 'related', field: 'owner', where: { kind: 'all' } }
    expect([fits(related, row({}), values()), fits(related, row({}, [row({})]), values())]).toEqual([false, true])
  })

  it('knows nothing, in a policy, of a relation that the binding does not give, also under a negation', () => {
    const related: Predicate = { kind: 'related', field: 'owner', where: { kind: 'all' } }
    const unbound: FieldRow = { ...row({}, [row({})]), isBound: (name) => name !== 'owner' }
    expect([related, not(related), not(not(related))].map((predicate) => truthOf(predicate, unbound, values()))).toEqual([null, null, null])
  })

  it('finds nothing in an empty list', () => {
    expect(fits({ kind: 'in', field: 'name', operand: { kind: 'constant', value: [] } }, row({ name: 'x' }), values())).toBe(false)
  })
})

describe("a policy's condition", () => {
  it('is unknown where a value is null, and stays so under not', () => {
    expect([truthOf(eq('name', 'x'), row({}), values()), truthOf(not(eq('name', 'x')), row({}), values())]).toEqual([null, null])
    expect(truthOf({ kind: 'isFalse', term: eq('name', 'x') }, row({}), values())).toBe(false)
  })

  it("is Kleene's: a false term decides a conjunction, a true one a disjunction", () => {
    const unknown = eq('name', 'x')
    expect(truthOf({ kind: 'and', terms: [unknown, { kind: 'none' }] }, row({}), values())).toBe(false)
    expect(truthOf({ kind: 'or', terms: [unknown, { kind: 'all' }] }, row({}), values())).toBe(true)
    expect(truthOf({ kind: 'or', terms: [unknown, { kind: 'none' }] }, row({}), values())).toBe(null)
  })

  it('is unknown where a claim is missing, of another shape or type, or not canonical', () => {
    const subject = row({ key: '41', name: 'x', runs: '3', status: 'ACTIVE', at: '2026-02-28T00:00:00' })
    const truths = (name: string, claims: readonly (Scalar | readonly Scalar[])[]) =>
      claims.map((claim) => truthOf(claimed(name, 'c'), subject, values({ c: claim })))
    expect(truthOf(claimed('name', 'c'), subject, values())).toBe(null)
    expect(truths('name', ['x', 'y', ['x'], 3, true, 'x\0', 'x\ud800'])).toEqual([true, false, null, null, null, null, null])
    expect(truths('key', ['41', '42', '041', 41, '9223372036854775808'])).toEqual([true, false, null, null, null])
    expect(truths('runs', [3, 4, '3', 3.5, 2 ** 31])).toEqual([true, false, null, null, null])
    expect(truths('status', ['ACTIVE', 'PAUSED', 'active', 'GONE'])).toEqual([true, false, null, null])
    expect(truths('at', ['2026-02-28T00:00:00Z', '2026-02-28T00:00:00', '2026-02-30T00:00:00Z', '2026-02-28T00:00:00.0Z', 'infinity'])).toEqual([
      true,
      null,
      null,
      null,
      null,
    ])
  })

  it('takes a claim that is a scalar as a list of one', () => {
    const condition: Predicate = { kind: 'in', field: 'name', operand: { kind: 'claim', name: 'c' } }
    const subject = row({ name: 'x' })
    expect([['x', 'y'], 'x', ['y'], [], ['y', 3]].map((c) => truthOf(condition, subject, values({ c })))).toEqual([true, true, false, null, null])
  })
})

describe('lists', () => {
  it('hold every element asked for, whatever nulls are beside', () => {
    const holds = (tags: FieldValue, elements: readonly string[]): boolean =>
      fits({ kind: 'listContains', field: 'tags', operand: { kind: 'constant', value: elements } }, row({ tags }), values())
    expect([holds(['a', 'b'], ['b', 'a', 'a']), holds(['a', null], ['a']), holds(['a'], ['a', 'b']), holds(null, []), holds([], [])]).toEqual([
      true,
      true,
      false,
      false,
      true,
    ])
  })
})

describe('LIKE', () => {
  it('agrees with a regular expression over code points', () => {
    const pattern = fc.array(fc.constantFrom('a', 'b', '%', '_', '\\%', '\\_', '\\\\', '\\a', '😀', '\n')).map((parts) => parts.join(''))
    const text = fc.array(fc.constantFrom('a', 'b', '%', '_', '\\', '😀', '\n')).map((parts) => parts.join(''))
    fc.assert(
      fc.property(text, pattern, (candidate, like) => {
        const source = like.replace(/\\(.)|([%_])|([^%_\\])/gsu, (_, escaped: string | undefined, wild: string | undefined, plain: string | undefined) =>
          wild === '%' ? '.*' : wild === '_' ? '.' : `\\u{${((escaped ?? plain ?? '').codePointAt(0) ?? 0).toString(16)}}`,
        )
        expect(matchesLike(candidate, like)).toBe(new RegExp(`^${source}$`, 'su').test(candidate))
      }),
    )
  })

  it('takes no more than the product of the lengths', () => {
    const started = performance.now()
    expect(matchesLike('a'.repeat(3_000), `${'a%'.repeat(500)}b`)).toBe(false)
    expect(performance.now() - started).toBeLessThan(2_000)
  })

  it('folds ASCII letters only', () => {
    const like = (pattern: string): boolean =>
      fits({ kind: 'like', field: 'name', operand: { kind: 'constant', value: pattern }, fold: true }, row({ name: 'Ärger K' }), values())
    expect([like('ÄRGER k'), like('ärger k')]).toEqual([true, false])
  })
})

describe('JSON containment', () => {
  // Each line was asked of PostgreSQL 15 with `@>`.
  it.each([
    ['{"a": 1, "b": {"c": [1, 2]}}', '{"b":{"c":[2]}}', true],
    ['{"a": 1}', '{"a":1.0}', true],
    ['{"a": 12345678901234567890.10}', '{"a":12345678901234567890.1}', true],
    ['{"a": 12345678901234567890}', '{"a":12345678901234567891}', false],
    ['["a", "b"]', '"a"', true],
    ['"a"', '["a"]', false],
    ['{"x": ["a"]}', '{"x":"a"}', false],
    ['[[1, 2], 3]', '[[1]]', true],
    ['[[1, 2], 3]', '[1]', false],
    ['[1, 1]', '[1,1,1]', true],
    ['{"a": null}', '{"a":null}', true],
    ['{"a": null}', '{"b":null}', false],
    ['{}', '{}', true],
    ['[]', '{}', false],
    ['null', 'null', true],
    ['{"a": "\\u00e9\\n\\""}', '{"a":"é\\n\\""}', true],
    ['{"a": 1}', '{"a":2,"a":1}', true],
    ['[{"a": 1, "b": 2}]', '[{"a":1},{"b":2}]', true],
  ])('%s @> %s is %s', (whole, part, expected) => {
    expect(jsonContains(parseJson(whole), parseJson(part))).toBe(expected)
  })
})
