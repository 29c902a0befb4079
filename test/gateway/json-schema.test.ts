import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from '@jest/globals'
import { Ajv2020 } from 'ajv/dist/2020.js'
import fc from 'fast-check'
import { schemaCheck } from '../../src/gateway/json-schema.js'
import { parsePolicyYaml } from '../../src/gateway/policy-yaml.js'
import { times } from '../support/times.js'

const schemaOf = (name: string): object => JSON.parse(readFileSync(`schema/json/${name}.schema.json`, 'utf8')) as object
const contentsIn = (folder: string): unknown[] =>
  readdirSync(folder)
    .filter((name) => name.endsWith('.yaml'))
    .map((name) => parsePolicyYaml(readFileSync(`${folder}/${name}`, 'utf8')).content)

/** Masks and forms that the demo has no use for. */
const RICH_AGREEMENT = {
  agreement: 'a',
  version: 1,
  grantor: 'b',
  grantee: 'c',
  purposes: ['d'],
  from: '2026-01-01T00:00:00Z',
  until: '2027-01-01T00:00:00Z',
  jurisdictions: { stored: ['DE'], gateway: ['CA-QC'], grantee: ['NO'] },
  require: ['dpop'],
  actors: [{ issuer: 'https://x.example', class: 'robot' }],
  types: {
    T: {
      rows: { or: [{ a: { eq: 1 } }, { not: { b: {} } }] },
      allow: ['key'],
      mask: {
        a: null,
        b: { null: {} },
        c: { constant: 1.5 },
        d: { redact: { keepLast: 4, nulls: 'reveal' } },
        e: { pseudonym: {} },
        f: { generalize: { unit: 'DAY' } },
      },
    },
  },
}

/** Something in the content replaced, added or taken out. */
type Change = { readonly at: number; readonly kind: 'replace' | 'remove' | 'add' | 'double'; readonly name: string; readonly value: unknown }

const changes: fc.Arbitrary<Change> = fc.record({
  at: fc.nat(400),
  kind: fc.constantFrom('replace' as const, 'remove' as const, 'add' as const, 'double' as const),
  name: fc.constantFrom('fields', 'rows', 'allow', 'mask', 'subject', 'class', 'step', 'unit', 'nulls', 'x', '1', 'and', 'type', 'constructor', '__proto__'),
  value: fc.oneof(
    fc.jsonValue({ maxDepth: 2 }),
    fc.constantFrom(
      0,
      1,
      16,
      17,
      1.5,
      '',
      'all',
      'DE',
      'DE-',
      'a b',
      'DAY',
      'x'.repeat(41),
      '😀'.repeat(500),
      '😀'.repeat(501),
      'reveal',
      null,
      [],
      {},
      [[], []],
      [{}, {}],
    ),
  ),
})

function changed(content: unknown, { at, kind, name, value }: Change): unknown {
  const copy = structuredClone(content)
  const places: { readonly holder: Record<string, unknown> | unknown[]; readonly key: string }[] = []
  const walk = (holder: unknown): void => {
    if (typeof holder !== 'object' || holder === null) return
    for (const key of Object.keys(holder)) {
      places.push({ holder: holder as Record<string, unknown>, key })
      walk((holder as Record<string, unknown>)[key])
    }
  }
  walk(copy)
  const place = places[at % Math.max(places.length, 1)]
  if (place === undefined) return value
  const { holder, key } = place
  const define = (to: string, what: unknown) => Object.defineProperty(holder, to, { value: what, enumerable: true, configurable: true, writable: true })
  if (kind === 'replace') define(key, value)
  else if (Array.isArray(holder)) {
    if (kind === 'remove') holder.splice(Number(key), 1)
    else holder.push(kind === 'add' ? value : structuredClone(holder[Number(key)]))
  } else if (kind === 'remove') Reflect.deleteProperty(holder, key)
  else if (kind === 'add') define(name, value)
  return copy
}

describe('the check of policy files', () => {
  it.each<[string, unknown[]]>([
    ['role', contentsIn('schema/demo/roles')],
    ['agreement', [RICH_AGREEMENT, ...contentsIn('schema/demo/agreements')]],
  ])('refuses by the schema `%s` what a validator of JSON Schema refuses, and nothing else', (name, contents) => {
    const ours = schemaCheck(schemaOf(name))
    const validate = new Ajv2020({ strict: true, strictRequired: false, allowUnionTypes: true }).compile(schemaOf(name))
    for (const content of contents) expect([ours(content), validate(content)]).toEqual([[], true])
    let refused = 0
    fc.assert(
      fc.property(fc.constantFrom(...contents), fc.array(changes, { minLength: 1, maxLength: 3 }), (content, some) => {
        const after = some.reduce(changed, content)
        const mistakes = ours(after)
        if (mistakes.length > 0) refused += 1
        expect(mistakes.length === 0).toBe(validate(after))
      }),
      { numRuns: times(1_000) },
    )
    // Neither side of the comparison is empty.
    expect([refused > times(100), refused < times(960)]).toEqual([true, true])
  })

  it('says where', () => {
    const ours = schemaCheck(schemaOf('agreement'))
    expect(ours({ ...RICH_AGREEMENT, jurisdictions: { stored: ['DE', 'de'], gateway: [], grantee: ['NO'] } })).toEqual([
      { path: ['jurisdictions', 'stored', 1], problem: expect.stringContaining('does not match') },
      { path: ['jurisdictions', 'gateway'], problem: 'is below minItems 1' },
    ])
  })

  it.each<[string, unknown]>([
    ['another keyword', { patternProperties: {} }],
    ['another keyword below', { properties: { a: { items: { format: 'date' } } } }],
    ['another keyword in a definition that nothing uses', { $defs: { a: { format: 'date' } } }],
    ['another type', { type: 'file' }],
    ['a reference to nothing', { $ref: '#/$defs/nothing', $defs: {} }],
    ['a reference to elsewhere', { $ref: 'https://example.org/schema' }],
    ['something else in place of a schema', { items: true }],
  ])('refuses a schema with %s', (_, schema) => {
    expect(() => schemaCheck(schema)).toThrow('the schema')
  })
})
