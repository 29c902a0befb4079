import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import pg from 'pg'
import type { TestClaims, TestGateway } from '../support/gateway.js'
import { grantReading, startTestGateway } from '../support/gateway.js'
import { times } from '../support/times.js'

/** Names that PostgreSQL can hold (at most 63 bytes) and nobody should have. */
const NAMES = [
  'plain',
  'Mixed Case',
  'a"b',
  "o'brien",
  'back\\slash',
  '$1',
  '%s %1$s %%',
  'x"; DROP TABLE victims; --',
  "'; DROP TABLE victims; --",
  '😀 ünïcode \u202e',
  'new\nline\ttab',
  'select',
  '{"json":1}',
  'a.b.c',
  '\u0001["x"]\u0002',
  '\u0003["x"]\u0004',
  'n'.repeat(63),
] as const

const SPAN = 'range: { from: "2026-03-01T00:00:00Z", to: "2026-03-02T00:00:00Z" }, bucket: "P1D"'

const MAIN = 'we"ird.sch\'ema $1'
const asker: TestClaims = { organization: 'alpha', roles: ['reader'] }

let gateway: TestGateway
let owner: pg.Client

const quoted = (name: string): string => pg.escapeIdentifier(name)
const dotted = (name: string): string => `"${name.replaceAll('"', '""')}"`

beforeAll(async () => {
  const types = NAMES.map(
    (_name, index) =>
      `type Odd${index} @entity @series(time: "at") { key: ID! text: String! kind: Kind! at: DateTime other: Odd${index} others: [Odd${index}!] @inverse(of: "other") }`,
  )
  const tables = NAMES.map(
    (
      name,
    ) => `CREATE TABLE ${quoted(MAIN)}.${quoted(name)} (${quoted(`k${name}`.slice(0, 60))} text PRIMARY KEY, ${quoted(`t${name}`.slice(0, 60))} text NOT NULL,
      ${quoted(`e${name}`.slice(0, 60))} text NOT NULL, ${quoted(`r${name}`.slice(0, 60))} text);
      INSERT INTO ${quoted(MAIN)}.${quoted(name)} VALUES ('1', ${pg.escapeLiteral(name)}, ${pg.escapeLiteral(name)}, NULL), ('2', 'decoy', 'other', '1');`,
  )
  const bindings = NAMES.map((name, index) => [
    `Odd${index}`,
    {
      table: `main.${dotted(MAIN)}.${dotted(name)}`,
      fields: {
        key: `k${name}`.slice(0, 60),
        text: `t${name}`.slice(0, 60),
        kind: { column: `e${name}`.slice(0, 60), values: { [name]: 'NAMED', other: 'OTHER' } },
        other: `r${name}`.slice(0, 60),
        at: { constant: '2026-03-01T00:00:00Z' },
      },
    },
  ])
  gateway = await startTestGateway({
    world: {
      contract: `${types.join('\n')}
        enum Kind { NAMED OTHER }
        type Note @entity @series(time: "at") { key: ID! at: DateTime text: String! tags: [String!] meta: JSON team: String }`,
      organizations: {
        alpha: {
          sql: `CREATE TABLE victims (); CREATE SCHEMA ${quoted(MAIN)}; ${tables.join('\n')}
            CREATE TABLE note (key text PRIMARY KEY, text text NOT NULL, tags text[], meta jsonb, team text);`,
          bindings: { ...Object.fromEntries(bindings), Note: { fields: { at: { constant: '2026-03-01T00:00:00Z' } } } },
          roles: {
            reader: { read: Object.fromEntries([...NAMES.map((_name, index) => [`Odd${index}`, { fields: 'all' }]), ['Note', { fields: 'all' }]]) },
            member: { read: { Note: { fields: 'all', rows: { team: { eq: { claim: 'team' } } } } } },
          },
        },
      },
    },
    gateway: { limits: { answer: '64MiB', aliases: 200, fields: 2_000, tokens: 20_000, document: '1MiB', body: '4MiB', rootFields: 100, cost: 1_000_000 } },
  })
  owner = await gateway.ownerClient('alpha')
  await grantReading(owner)
}, 60_000)
afterAll(async () => {
  const { rows } = await owner.query<{ name: string | null }>(`SELECT to_regclass('victims') AS name`)
  await gateway.stop()
  expect(rows[0]?.name).toBe('victims')
})

describe('any string survives as an identifier', () => {
  it.each(NAMES.map((name, index) => [name, index] as const))('such as %j', async (name, index) => {
    const type = `odd${index}`
    const many = `${type}s`
    const document = `query($text: String!) {
      all: ${many}(orderBy: [{ text: DESC }]) { totalCount nodes { id key text kind other { key text } others(first: 1) { nodes { key } edges { cursor } pageInfo { endCursor } } othersAggregate { groups { count } }
        othersSeries(${SPAN}, groupBy: [{ field: TEXT }]) { keys { text } buckets { count last { text } } } } }
      series: ${type}Series(${SPAN}, groupBy: [{ field: TEXT }]) { keys { text } buckets { first { text } } }
      some: ${many}(where: { text: { eq: $text }, kind: { eq: NAMED }, others: { some: { kind: { in: [OTHER] } } } }, first: 1) { nodes { key } pageInfo { endCursor } }
      groups: ${many}Aggregate(groupBy: [{ field: KIND }, { field: TEXT }]) { groups { keys { kind text } count } }
    }`
    const { json } = await gateway.ask(asker, document, { text: name })
    expect(json.errors).toBeUndefined()
    const nodes = json.data.all.nodes as { key: string }[]
    expect(nodes.find(({ key }) => key === '1')).toMatchObject({
      text: name,
      kind: 'NAMED',
      other: null,
      others: { nodes: [{ key: '2' }], edges: [{ cursor: expect.stringMatching(/^c1\.[\w-]+$/) }] },
      othersAggregate: { groups: [{ count: '1' }] },
    })
    expect(nodes.find(({ key }) => key === '2')).toMatchObject({ text: 'decoy', kind: 'OTHER', other: { key: '1', text: name } })
    expect(nodes.find(({ key }) => key === '1')).toMatchObject({
      othersSeries: [{ keys: { text: 'decoy' }, buckets: [{ count: '1', last: { text: 'decoy' } }] }],
    })
    expect(json.data.series).toContainEqual({ keys: { text: name }, buckets: [{ first: { text: name } }] })
    expect(json.data.some.nodes).toEqual([{ key: '1' }])
    expect(json.data.groups.groups).toContainEqual({ keys: { kind: 'NAMED', text: name }, count: '1' })
    const next = await gateway.ask(asker, `query($after: String) { ${many}(first: 1, after: $after, where: { text: { eq: "decoy" } }) { nodes { key } } }`, {
      after: null,
    })
    expect(next.json.data[many].nodes).toEqual([{ key: '2' }])
  })
})

/** Whatever PostgreSQL's text can hold, with a leaning to what means something to somebody. */
const texts = fc.oneof(
  { weight: 3, arbitrary: fc.string({ unit: 'binary', maxLength: 12 }).filter((text) => !text.includes('\0') && !/\p{Surrogate}/u.test(text)) },
  {
    weight: 3,
    arbitrary: fc
      .array(
        fc.constantFrom(
          "'",
          '"',
          '\\',
          '%',
          '_',
          '$1',
          '$$',
          '{',
          '}',
          ',',
          'NULL',
          '--',
          '/*',
          ';',
          '\n',
          '\u0001',
          '\u0002',
          '\u001f',
          '😀',
          '\ud7ff',
          '\ue000',
          '\u{10ffff}',
          'a',
          'A',
          'é',
          'e\u0301',
          '<script>',
          '%s',
          '\\u0000',
          "E'",
          'x',
        ),
        { maxLength: 6 },
      )
      .map((parts) => parts.join('')),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom("' OR '1'='1", "'; DROP TABLE victims; --", '{"$ne":null}', '__proto__', 'constructor', '\\', '%', '_', '""', ' ', ''),
  },
)

/** As a literal of a document: a quoted string. */
const literal = (text: string): string => JSON.stringify(text)

describe('any string survives as a value', () => {
  it('stored, asked for in every operator, ordered, paged and grouped', async () => {
    const property = fc.asyncProperty(fc.uniqueArray(texts, { minLength: 2, maxLength: 12 }), fc.boolean(), async (given, asVariables) => {
      await owner.query('TRUNCATE note')
      await owner.query('INSERT INTO note SELECT t, t, ARRAY[t], to_jsonb(ARRAY[t]) FROM unnest($1::text[]) AS t', [given])
      const declared: string[] = []
      const variables: Record<string, string> = {}
      const value = (text: string): string => {
        if (!asVariables) return literal(text)
        const name = `v${declared.length}`
        declared.push(`$${name}: String!`)
        variables[name] = text
        return `$${name}`
      }
      const fields = given.map((text, index) => {
        const points = [...text]
        const [head, middle] = [points.slice(0, 2).join(''), points.slice(1, 3).join('')]
        const like = text.replace(/[\\%_]/g, (character) => `\\${character}`)
        return `eq${index}: notes(where: { text: { eq: ${value(text)} } }) { nodes { text tags meta } }
          in${index}: notes(where: { text: { in: [${value(text)}] } }) { totalCount }
          ne${index}: notes(where: { text: { ne: ${value(text)} } }) { totalCount }
          starts${index}: notes(where: { text: { startsWith: ${value(head)} } }) { nodes { text } }
          contains${index}: notes(where: { text: { contains: ${value(middle)} } }) { nodes { text } }
          like${index}: notes(where: { text: { like: ${value(like)} } }) { nodes { text } }
          tag${index}: notes(where: { tags: { contains: [${value(text)}] } }) { nodes { text } }`
      })
      const all = `ordered: notes(orderBy: [{ text: ASC }], first: 3) { edges { cursor node { id key text } } } groups: notesAggregate(groupBy: [{ field: TEXT }]) { groups { keys { text } count } }`
      const body = [...fields, all].join('\n')
      const { json } = await gateway.ask(asker, `query${declared.length > 0 ? `(${declared.join(', ')})` : ''} { ${body} }`, variables)
      expect(json.errors).toBeUndefined()
      const shown = (nodes: { text: string }[]): string[] => nodes.map(({ text }) => text).sort()
      given.forEach((text, index) => {
        const [head, middle] = [[...text].slice(0, 2).join(''), [...text].slice(1, 3).join('')]
        expect(json.data[`eq${index}`].nodes).toEqual([{ text, tags: [text], meta: [text] }])
        expect(json.data[`in${index}`]).toEqual({ totalCount: 1 })
        expect(json.data[`ne${index}`]).toEqual({ totalCount: given.length - 1 })
        expect(shown(json.data[`starts${index}`].nodes)).toEqual(given.filter((each) => each.startsWith(head)).sort())
        expect(shown(json.data[`contains${index}`].nodes)).toEqual(given.filter((each) => each.includes(middle)).sort())
        expect(json.data[`like${index}`].nodes).toEqual([{ text }])
        expect(json.data[`tag${index}`].nodes).toEqual([{ text }])
      })
      const inOrder = [...given].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
      const edges = json.data.ordered.edges as { cursor: string; node: { id: string; key: string; text: string } }[]
      expect(edges.map(({ node }) => node.text)).toEqual(inOrder.slice(0, 3))
      expect(new Map((json.data.groups.groups as { keys: { text: string }; count: string }[]).map(({ keys, count }) => [keys.text, count]))).toEqual(
        new Map(given.map((text) => [text, '1'])),
      )
      const [first] = edges
      const further = await gateway.ask(
        asker,
        `query($after: String!, $id: ID!, $key: ID!) { notes(orderBy: [{ text: ASC }], first: 3, after: $after) { nodes { text } } node(id: $id) { ... on Note { text } } note(key: $key, organization: "alpha") { text } }`,
        { after: first?.cursor, id: first?.node.id, key: first?.node.key },
      )
      expect(further.json.errors).toBeUndefined()
      expect(further.json.data).toEqual({
        notes: { nodes: inOrder.slice(1, 4).map((text) => ({ text })) },
        node: { text: inOrder[0] },
        note: { text: inOrder[0] },
      })
    })
    await fc.assert(property, { numRuns: times(15) })
  }, 120_000)

  it('as a claim in a condition of policy', async () => {
    const property = fc.asyncProperty(fc.uniqueArray(texts, { minLength: 2, maxLength: 6 }), async (given) => {
      await owner.query('TRUNCATE note')
      await owner.query('INSERT INTO note SELECT t, t, NULL, NULL, t FROM unnest($1::text[]) AS t', [given])
      for (const team of given) {
        const { json } = await gateway.ask({ organization: 'alpha', roles: ['member'], claims: { team } }, '{ notes { nodes { text team } } }')
        expect(json.data.notes.nodes).toEqual([{ text: team, team }])
      }
    })
    await fc.assert(property, { numRuns: times(6) })
  }, 60_000)

  it('but text that no store can hold is refused, wherever it stands', async () => {
    for (const text of ['\0', 'a\0b', '\ud800', 'x\udc00']) {
      for (const [type, place] of [
        ['String!', '{ text: { eq: $v } }'],
        ['String!', '{ text: { startsWith: $v } }'],
        ['[String!]!', '{ text: { in: $v } }'],
        ['[String!]!', '{ tags: { contains: $v } }'],
        ['JSON!', '{ meta: { contains: $v } }'],
        ['NoteWhere!', '$v'],
      ] as const) {
        const value = type === '[String!]!' ? [text] : type === 'NoteWhere!' ? { not: { or: [{ text: { ne: text } }] } } : text
        const { status, json } = await gateway.ask(asker, `query($v: ${type}) { notes(where: ${place}) { totalCount } }`, { v: value })
        expect({ status, codes: json.errors?.map(({ extensions }) => extensions.code) }).toEqual({ status: 400, codes: ['BAD_USER_INPUT'] })
      }
      const { json } = await gateway.ask(asker, `{ notes(where: { text: { eq: ${JSON.stringify(text)} } }) { totalCount } }`)
      expect(json.data).toBeUndefined()
    }
  })

  it('in every other place where a string can stand, without a failure of the server', async () => {
    const hostile = [
      "'; DROP TABLE victims; --",
      '\\',
      '\u0001',
      '😀',
      '__proto__',
      'constructor',
      '{"$ne":null}',
      'WyJOb3RlIiwiYWxwaGEiLCInIl0',
      'x'.repeat(5_000),
    ]
    for (const text of hostile) {
      const answers = await Promise.all([
        gateway.ask(asker, 'query($v: ID!) { node(id: $v) { id } }', { v: text }),
        gateway.ask(asker, 'query($v: [ID!]!) { nodes(ids: $v) { id } }', { v: [text] }),
        gateway.ask(asker, 'query($v: ID!) { note(key: $v, organization: "alpha") { id } }', { v: text }),
        gateway.ask(asker, 'query($v: ID!) { note(key: "1", organization: $v) { id } }', { v: text }),
        gateway.ask(asker, 'query($v: [ID!]) { notes(organizations: $v) { totalCount } }', { v: [text] }),
        gateway.ask(asker, 'query($v: String!) { notes(after: $v) { totalCount } }', { v: text }),
        gateway.ask(asker, `{ notesAggregate(groupBy: [{ field: TEXT, timezone: ${JSON.stringify(text)} }]) { groups { count } } }`),
        gateway.ask(asker, `query($v: String!) { noteSeries(${SPAN}, timezone: $v) { buckets { count } } }`, { v: text }),
        gateway.ask(asker, `query($v: Duration!) { noteSeries(${SPAN.replace('"P1D"', '$v')}) { buckets { count } } }`, { v: text }),
        gateway.ask(asker, '{ notes { totalCount } }', { [text]: text }),
        gateway.request(asker, 'query A { __typename }', { operationName: text }),
        gateway.ask({ ...asker, purposes: [text] }, '{ notes { totalCount } }'),
        gateway.ask({ ...asker, roles: [text] }, '{ notes { totalCount } }'),
        gateway.ask({ ...asker, subject: text }, '{ notes { totalCount } }'),
      ])
      for (const [index, { status, json }] of answers.entries()) {
        expect({
          index,
          text,
          broken: status >= 500 || (json.errors ?? []).some(({ extensions }) => ['INTERNAL', 'SOURCE_UNAVAILABLE'].includes(extensions.code)),
        }).toEqual({ index, text, broken: false })
      }
    }
  }, 60_000)
})
