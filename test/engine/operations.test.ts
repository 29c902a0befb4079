import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { agreementOf, startTestGateway, type TestGateway } from '../support/gateway.js'

const CONTRACT = `
type Thing @entity { key: ID! name: String! conf: JSON kind: Kind made: DateTime load: Float }
enum Kind { ONE TWO }
`
const SQL = `
CREATE TABLE things (key int PRIMARY KEY, name text NOT NULL, conf jsonb, kind text, made timestamptz, load float8);
INSERT INTO things (key, name, conf, kind, made) VALUES (1, 'a', '{"model":"small"}', 'ONE', '2026-01-01Z'), (2, 'b', '"abc"', 'TWO', NULL);
`
const ana = { organization: 'aurora', roles: ['all'] }

let gateway: TestGateway
beforeAll(async () => {
  const roles = { all: { read: { Thing: { fields: 'all' } }, crossOrganization: ['testing'], explain: true } }
  gateway = await startTestGateway({
    world: {
      contract: CONTRACT,
      organizations: { aurora: { sql: SQL, roles }, borealis: { sql: SQL } },
      agreements: [agreementOf('borealis', 'aurora', { Thing: { rows: { name: { eq: 'a' } }, allow: ['key', 'name', 'conf', 'made'] } })],
    },
  })
}, 120_000)
afterAll(() => gateway?.stop(), 60_000)

const keysOf = (json: { readonly data?: { readonly things: { readonly nodes: readonly { readonly key: string }[] } } }): readonly string[] =>
  (json.data?.things.nodes ?? []).map(({ key }) => key)

describe('arguments', () => {
  const literal = (value: string): string => `{ things(organizations: ["aurora"], where: { conf: { contains: ${value} } }) { nodes { key } } }`
  const variable = 'query($json: JSON) { things(organizations: ["aurora"], where: { conf: { contains: $json } }) { nodes { key } } }'

  it('find rows by a JSON value, written in the document or given as a variable', async () => {
    expect(keysOf((await gateway.ask(ana, literal('{ model: "small" }'))).json)).toEqual(['1'])
    expect(keysOf((await gateway.ask(ana, variable, { json: { model: 'small' } })).json)).toEqual(['1'])
    expect(keysOf((await gateway.ask(ana, literal('{ model: "large" }'))).json)).toEqual([])
  })

  it('take a JSON string as the string that it is, never as JSON text', async () => {
    for (const answer of [await gateway.ask(ana, literal('"abc"')), await gateway.ask(ana, variable, { json: 'abc' })]) {
      expect(answer.json.errors).toBeUndefined()
      expect(keysOf(answer.json)).toEqual(['2'])
    }
    expect(keysOf((await gateway.ask(ana, variable, { json: '{"model":"small"}' })).json)).toEqual([])
  })

  it('refuse null where a value is required, though the variable has a default', async () => {
    const documents = [
      'query($v: ID = "x") { node(id: $v) { id } }',
      'query($v: ID = "x") { thing(key: "1", organization: $v) { key } }',
      'query($v: ThingGroupField = KIND) { thingsAggregate(groupBy: [{ field: $v }]) { groups { count } } }',
      'query($v: Boolean = true) { things @include(if: $v) { nodes { key } } }',
    ]
    for (const document of documents) {
      const { status, json } = await gateway.ask(ana, document, { v: null })
      expect([document, status, json.errors?.[0]?.extensions.code]).toEqual([document, 400, 'BAD_USER_INPUT'])
    }
  })

  it('refuse a float literal that is infinite', async () => {
    const { status, json } = await gateway.ask(ana, '{ things(where: { load: { lt: 1e400 } }) { nodes { key } } }')
    expect([status, json.errors?.[0]?.extensions.code]).toEqual([400, 'BAD_USER_INPUT'])
  })
})

describe('orders', () => {
  it('count as conditions do: a statement has room for so many columns', async () => {
    const document = 'query($order: [ThingOrderBy!]) { things(orderBy: $order) { nodes { key } } }'
    const order = Array.from({ length: 2_000 }, () => ({ name: 'ASC' }))
    const { status, json } = await gateway.ask(ana, document, { order })
    expect([status, json.errors?.[0]?.extensions.code]).toEqual([400, 'QUERY_TOO_COSTLY'])
    const groups = 'query($order: [ThingGroupOrderBy!]) { thingsAggregate(orderBy: $order) { groups { count } } }'
    const grouped = await gateway.ask(ana, groups, { order: Array.from({ length: 2_000 }, () => ({ count: 'ASC' })) })
    expect(grouped.json.errors?.[0]?.extensions.code).toBe('QUERY_TOO_COSTLY')
  })
})

describe('explain', () => {
  it("shows the statements of the principal's own organization, and no other owner's", async () => {
    const { status, json } = await gateway.request(ana, '{ things { nodes { key } } }', { path: '/explain' })
    expect([status, json.extensions.explain?.statements.map(({ organization }) => organization)]).toEqual([200, ['aurora']])
    expect(json.extensions.sovereignty.served.map(({ organization }) => organization)).toEqual(['aurora', 'borealis'])
  })
})

describe('introspection', () => {
  it('answers all that stands under one response key, fragments included', async () => {
    const { json } = await gateway.ask(ana, '{ t: __type(name: "Thing") { name } ...Kind } fragment Kind on Query { t: __type(name: "Thing") { kind } }')
    expect(json.data).toEqual({ t: { name: 'Thing', kind: 'OBJECT' } })
  })
})

describe("an owner's ledger", () => {
  const last = async (): Promise<{ readonly rows: number; readonly contribution: string | null }> => {
    const client = await gateway.ledgerClient()
    const { rows } = await client.query<{ leaf: string }>(`SELECT leaf FROM concordat.ledger_entries WHERE ledger = 'borealis' ORDER BY "index" DESC LIMIT 1`)
    const { sections } = JSON.parse(rows[0]?.leaf ?? '{}') as { sections: readonly { rows: number; contribution: string | null }[] }
    const [section] = sections
    if (!section) throw new Error('the entry has no section')
    return section
  }

  it('counts and pins the row that a lookup gave, and no row where none was given', async () => {
    expect((await gateway.ask(ana, '{ thing(key: "1", organization: "borealis") { name } }')).json.data).toEqual({ thing: { name: 'a' } })
    expect(await last()).toMatchObject({ rows: 1, contribution: expect.any(String) })
    expect((await gateway.ask(ana, '{ thing(key: "2", organization: "borealis") { name } }')).json.data).toEqual({ thing: null })
    expect(await last()).toMatchObject({ rows: 0, contribution: null })
  })
})
