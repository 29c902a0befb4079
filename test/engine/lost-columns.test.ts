import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { agreementOf, startTestGateway, type TestGateway } from '../support/gateway.js'

const CONTRACT = `
type Person @entity { key: ID! name: String! }
type Thing @entity { key: ID! deletedAt: DateTime labels: [String!] sizes: [Int!] codes: [ID!] kind: Kind }
type Reading @entity(key: ["day", "at", "amount"]) { day: Date! at: DateTime! amount: Decimal! note: String }
enum Kind { ONE TWO THREE }
`
// The role of \`unmarked\` speaks of a column that this store does not have.
const SQL = `
CREATE TABLE people (key int PRIMARY KEY, name text NOT NULL);
INSERT INTO people VALUES (1, 'Ana');
CREATE TABLE things (key int PRIMARY KEY, labels varchar(20)[], sizes smallint[], codes int[], kind int);
INSERT INTO things VALUES (1, '{p,q}', '{1,2}', '{7}', 1), (2, '{p}', '{1}', '{8}', 2), (3, NULL, NULL, NULL, 3);
CREATE TABLE readings (day date, at timestamptz, amount numeric, note text, PRIMARY KEY (day, at, amount));
INSERT INTO readings VALUES ('2026-02-03', '2026-02-03T01:02:03.5Z', '1.50', 'first'), ('2026-12-31', '2026-12-31T23:59:59Z', '2', 'second');
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET DateStyle = %L', current_database(), 'SQL, DMY'); END $$;
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET TimeZone = %L', current_database(), 'Asia/Kathmandu'); END $$;
`
const ana = { organization: 'aurora', roles: ['all'] }

let gateway: TestGateway
beforeAll(async () => {
  const all = { Person: { fields: 'all' }, Thing: { fields: 'all' }, Reading: { fields: 'all' } }
  const roles = {
    all: { read: all, crossOrganization: ['testing'] },
    unmarked: { read: { Thing: { fields: 'all', rows: { deletedAt: { isNull: true } } } } },
    marked: { read: { Thing: { fields: 'all', rows: { deletedAt: { isNull: false } } } } },
    kind: { read: { Thing: { fields: 'all', rows: { kind: { eq: { claim: 'kinds' } } } } } },
    kinds: { read: { Thing: { fields: 'all', rows: { kind: { in: { claim: 'kinds' } } } } } },
  }
  const bindings = { Thing: { fields: { kind: { column: 'kind', values: { 1: 'ONE', 2: 'TWO', 3: 'THREE' } } } } }
  gateway = await startTestGateway({
    world: {
      contract: CONTRACT,
      organizations: { aurora: { sql: SQL, roles, bindings }, borealis: { sql: SQL, bindings } },
      agreements: [agreementOf('borealis', 'aurora', { Person: { mask: { key: { pseudonym: {} }, name: { pseudonym: {} } } } })],
    },
  })
}, 120_000)
afterAll(() => gateway?.stop(), 60_000)

async function things(principal: Parameters<TestGateway['ask']>[0], where = '{}'): Promise<readonly string[]> {
  const { json } = await gateway.ask(principal, `{ things(organizations: ["aurora"], where: ${where}) { nodes { key } } }`)
  expect(json.errors).toBeUndefined()
  const { nodes } = (json.data as { things: { nodes: readonly { key: string }[] } }).things
  return nodes.map(({ key }) => key)
}

describe("a policy's condition", () => {
  it('grants nothing where it asks whether a column is null that the store does not have', async () => {
    expect(await things({ organization: 'aurora', roles: ['unmarked'] })).toEqual([])
    expect(await things({ organization: 'aurora', roles: ['marked'] })).toEqual([])
  })

  it('takes no list for `eq`, whatever way an enum is stored', async () => {
    const asking = (role: string, kinds: string | readonly string[]): Promise<readonly string[]> =>
      things({ organization: 'aurora', roles: [role], claims: { kinds } })
    expect(await asking('kind', 'TWO')).toEqual(['2'])
    expect(await asking('kind', ['ONE', 'TWO'])).toEqual([])
    expect(await asking('kinds', ['ONE', 'TWO'])).toEqual(['1', '2'])
  })
})

describe('lists', () => {
  it('are searched whatever their column is made of', async () => {
    expect(await things(ana, '{ labels: { contains: ["p", "q"] } }')).toEqual(['1'])
    expect(await things(ana, '{ sizes: { contains: [1] } }')).toEqual(['1', '2'])
    expect(await things(ana, '{ codes: { contains: ["8"] } }')).toEqual(['2'])
  })
})

describe('global ids of keys that are dates, times and decimals', () => {
  const first = Buffer.from(JSON.stringify(['Reading', 'aurora', '2026-02-03', '2026-02-03T01:02:03.5', '1.50'])).toString('base64url')

  it('do not depend on settings of the database, and find their row', async () => {
    const { json } = await gateway.ask(ana, '{ readings(organizations: ["aurora"]) { nodes { id note } } }')
    const { nodes } = (json.data as { readings: { nodes: readonly { id: string; note: string }[] } }).readings
    expect(nodes[0]).toEqual({ id: first, note: 'first' })
    const found = await gateway.ask(ana, 'query($ids: [ID!]!) { nodes(ids: $ids) { id ... on Reading { note } } }', { ids: nodes.map(({ id }) => id) })
    expect(found.json.data).toEqual({ nodes })
  })

  it('find nothing where they are forged, and fail nobody', async () => {
    const forged = [
      ['x', '2026-02-03T01:02:03.5', '1.50'],
      ['2026-02-03', 'infinity; DROP', '1.50'],
      ['2026-02-03', '2026-02-03T01:02:03.5', '1e9999999'],
    ]
    const ids = forged.map((key) => Buffer.from(JSON.stringify(['Reading', 'aurora', ...key])).toString('base64url'))
    const { json } = await gateway.ask(ana, 'query($ids: [ID!]!) { nodes(ids: $ids) { id } }', { ids })
    expect(json.errors).toBeUndefined()
    expect(json.data).toEqual({ nodes: [null, null, null] })
  })
})

describe('pseudonyms of a grantee for whom the owner has no key', () => {
  it('are null: the answer stays well-formed and holds no value', async () => {
    const owner = await gateway.ownerClient('borealis')
    await owner.query('DELETE FROM concordat.pseudonym_key')
    const { json } = await gateway.ask(ana, '{ people(organizations: ["borealis"]) { nodes { id key name } } }')
    const [node] = (json.data as { people: { nodes: readonly { id: string; key: null; name: null }[] } }).people.nodes
    expect(node).toMatchObject({ key: null, name: null })
    expect(Buffer.from(node?.id ?? '', 'base64url').toString()).toBe('["Person","borealis",null]')
  })
})
