import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { agreementOf, startTestGateway, type TestGateway } from '../support/gateway.js'

const SQL =
  "CREATE TABLE things (key int PRIMARY KEY, name text NOT NULL, note text); INSERT INTO things SELECT n, repeat('x', 2000), 'a' FROM generate_series(1, 40) n;"
const ana = { organization: 'aurora', roles: ['all'] }

let gateway: TestGateway
beforeAll(async () => {
  const terms = { Thing: { allow: ['key', 'name'] } }
  gateway = await startTestGateway({
    world: {
      contract: 'type Thing @entity { key: ID! name: String! note: String }',
      organizations: {
        aurora: { sql: SQL, roles: { all: { read: { Thing: { fields: 'all' } }, crossOrganization: ['testing'] } } },
        borealis: { sql: SQL },
        cascade: { sql: SQL },
      },
      agreements: [agreementOf('borealis', 'aurora', terms), agreementOf('cascade', 'aurora', terms)],
    },
    gateway: { limits: { answer: '64KiB' } },
  })
}, 120_000)
afterAll(() => gateway?.stop(), 60_000)

interface Section {
  readonly outcome: string
  readonly code: string | null
  readonly rows: number
  readonly contribution: string | null
  readonly types: readonly { readonly fields: readonly string[]; readonly decisions: Readonly<Record<string, string>> }[]
}

async function sections(ledger: string): Promise<readonly Section[]> {
  const client = await gateway.ledgerClient()
  const { rows } = await client.query<{ leaf: string }>(`SELECT leaf FROM concordat.ledger_entries WHERE ledger = $1 ORDER BY "index"`, [ledger])
  return rows.flatMap(({ leaf }) => (JSON.parse(leaf) as { sections: readonly Section[] }).sections)
}

describe("an owner's ledger", () => {
  it('has the refusal of an owner that the caller chose to leave out', async () => {
    const before = await sections('borealis')
    const { json } = await gateway.ask(ana, 'query @sovereignty(onForbidden: EXCLUDE) { things(where: { note: { eq: "a" } }, first: 1) { nodes { key } } }')
    expect(json.extensions.sovereignty.leftOut.map(({ organization }) => organization)).toEqual(['borealis', 'cascade'])
    const added = (await sections('borealis')).slice(before.length)
    expect(added).toMatchObject([{ outcome: 'refused', code: 'FIELD_NOT_USABLE', rows: 0, types: [{ fields: ['note'], decisions: { note: 'deny' } }] }])
  })

  it('has what was asked of it, though the answer was too large to be sent', async () => {
    const before = await sections('borealis')
    const { json } = await gateway.ask(ana, '{ things(organizations: ["borealis"]) { nodes { key name } } }')
    expect([json.data, json.errors?.[0]?.extensions.code]).toEqual([undefined, 'QUERY_TOO_COSTLY'])
    expect((await sections('borealis')).slice(before.length)).toMatchObject([{ outcome: 'failed', code: null, rows: 0, contribution: null }])
  })

  it('has what was asked of it, though another owner failed and the caller wanted all or nothing', async () => {
    const owner = await gateway.ownerClient('cascade')
    await owner.query('ALTER TABLE things RENAME TO others')
    const before = await sections('borealis')
    const { json } = await gateway.ask(ana, 'query @sovereignty(onUnavailable: FAIL) { things(first: 1) { nodes { key name } } }')
    expect([json.data, json.errors?.[0]?.extensions]).toEqual([undefined, { code: 'SOURCE_UNAVAILABLE', organization: 'cascade' }])
    const added = (await sections('borealis')).slice(before.length)
    expect(added).toMatchObject([{ outcome: 'failed', code: null, rows: 0, contribution: null, types: [{ fields: ['key', 'name'] }] }])
    expect(JSON.stringify(added)).not.toContain('cascade')
  })
})
