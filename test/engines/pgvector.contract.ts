/** The connector contract over pgvector's own types and distances, in a real server. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import pg from 'pg'
import { connectorContract } from '../connectors/contract.js'
import { contractData } from '../connectors/contract-data.js'
import { makeStores } from '../connectors/postgres/contract-store.js'
import { agreementOf, startTestGateway, type TestGateway, type TestWorld } from '../support/gateway.js'
import { type TestDatabase, type TestPostgres, withClient } from '../support/postgres.js'
import { start } from './pgvector.js'

/** Not on the search path, and a name that has to be quoted. */
const SCHEMA = 'ext "of" vectors'
const QUOTED = pg.escapeIdentifier(SCHEMA)

let directory: string
let server: Awaited<ReturnType<typeof start>>
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'concordat-pgvector-'))
  server = await start({ directory })
}, 300_000)
afterAll(async () => {
  await server?.stop()
  await rm(directory, { recursive: true, force: true })
}, 60_000)

async function createDatabase(): Promise<TestDatabase> {
  const name = `test_${randomUUID().replaceAll('-', '')}`
  await withClient(server.url, (client) => client.query(`CREATE DATABASE ${name}`))
  return { name, url: (user) => server.urlOf(name, user) }
}

// This build has no ICU.
const OPTIONS = { collation: '"C"', extensionSchema: SCHEMA }

for (const type of ['vector', 'halfvec']) {
  const data = contractData({ declared: `${QUOTED}.${type}(3)`, native: `${QUOTED}.${type}` })
  connectorContract(`postgres with columns of ${type}`, () => makeStores({ createDatabase }, data, OPTIONS), { data })
}

describe('a gateway over stores with pgvector', () => {
  const CONTRACT = `type Item @entity { key: ID! embedding: Vector @vector(model: "m", dimensions: 3) half: Vector @vector(model: "n", dimensions: 2, metric: L2) }`
  const roles = { reader: { read: { Item: { fields: 'all' } }, crossOrganization: ['testing'] } }
  const sqlOf = (columns: string, rows: string): string =>
    `CREATE EXTENSION vector; CREATE TABLE items (key int PRIMARY KEY, ${columns}); INSERT INTO items VALUES ${rows};`
  const world = (borealis: string): TestWorld => ({
    contract: CONTRACT,
    organizations: {
      aurora: { sql: sqlOf('embedding vector(3), half halfvec(2)', `(1, '[1,0,0]', '[1,1]'), (2, '[0,1,0]', '[2,2]'), (3, NULL, NULL)`), roles },
      borealis: { sql: borealis },
    },
    agreements: [agreementOf('borealis', 'aurora', { Item: { allow: ['key', 'embedding'] } })],
  })
  const ana = { organization: 'aurora', roles: ['reader'] }
  const asked = async (gateway: TestGateway): Promise<unknown> => {
    const document = `{ itemsNearest(to: { vector: [1, 0, 0] }, k: 3) { edges { score node { organization key embedding } } }
      halves: itemsNearest(to: { vector: [2, 2] }, field: HALF, k: 1, organizations: ["aurora"]) { edges { score node { key half } } } }`
    return (await gateway.ask(ana, document)).json.data
  }
  const postgres = (): TestPostgres => ({ createDatabase, url: server.urlOf, socketDirectory: '', pid: 0, logFile: '', stop: () => Promise.resolve() })

  it('merges searches over vectors of pgvector and arrays, and takes half precision', async () => {
    const borealis = `CREATE TABLE items (key int PRIMARY KEY, embedding real[], half real[]); INSERT INTO items VALUES (1, '{0,1,0}', NULL), (2, '{3,0,0}', NULL);`
    const gateway = await startTestGateway({ world: world(borealis), postgres: postgres() })
    try {
      expect(await asked(gateway)).toEqual({
        itemsNearest: {
          edges: [
            { score: 1, node: { organization: 'aurora', key: '1', embedding: [1, 0, 0] } },
            { score: 1, node: { organization: 'borealis', key: '2', embedding: [3, 0, 0] } },
            { score: 0, node: { organization: 'aurora', key: '2', embedding: [0, 1, 0] } },
          ],
        },
        halves: { edges: [{ score: 0, node: { key: '2', half: [2, 2] } }] },
      })
    } finally {
      await gateway.stop()
    }
  }, 120_000)

  it('does not search vectors of other dimensions, or of no declared ones', async () => {
    for (const column of ['embedding vector(4)', 'embedding vector']) {
      const gateway = await startTestGateway({ world: world(sqlOf(`${column}, half halfvec(2)`, `(1, NULL, NULL)`)), postgres: postgres() })
      try {
        const { json } = await gateway.ask(ana, '{ itemsNearest(to: { vector: [1, 0, 0] }, k: 3) { edges { score } } }')
        expect([json.data, json.errors?.[0]?.extensions]).toMatchObject([undefined, { code: 'FIELD_NOT_USABLE', organization: 'borealis' }])
      } finally {
        await gateway.stop()
      }
    }
  }, 120_000)

  it("answers the owner's own people by an index, says so, and gives k rows wherever there are as many; partners get exact answers", async () => {
    // What is hidden from Ana is nearest to what she looks for: 3,000 rows, beyond what an index looks at first.
    const rows = `SELECT n, format('[%s,1,0]', n)::vector, NULL FROM generate_series(1, 4000) AS n`
    const sql = `CREATE EXTENSION vector; CREATE TABLE items (key int PRIMARY KEY, embedding vector(3), half halfvec(2)); INSERT INTO items ${rows};
      CREATE INDEX ON items USING hnsw (embedding vector_l2_ops); ANALYZE items;`
    const types = { Item: { rows: { embedding: { isNull: false } }, allow: ['key', 'embedding'] } }
    const gateway = await startTestGateway({
      world: {
        contract: CONTRACT.replace('key: ID!', 'key: ID! number: Int'),
        organizations: {
          aurora: {
            sql,
            bindings: { Item: { fields: { number: 'key' } } },
            roles: {
              all: { read: { Item: { fields: 'all' } }, crossOrganization: ['testing'], explain: true },
              few: { read: { Item: { fields: 'all', rows: { number: { gt: 3000 } } } } },
            },
          },
          borealis: { sql, bindings: { Item: { fields: { number: 'key' } } } },
        },
        agreements: [agreementOf('borealis', 'aurora', types)],
      },
      postgres: postgres(),
    })
    try {
      const document =
        'query($k: Int!, $only: [ID!]) { near: itemsNearest(to: { vector: [1, 1, 0] }, metric: L2, k: $k, organizations: $only) { edges { node { key } } } }'
      const ask = async (role: string, k: number, only: readonly string[]): Promise<{ keys: readonly number[]; approximate: unknown }> => {
        const { json } = await gateway.ask({ organization: 'aurora', roles: [role] }, document, { k, only })
        const edges = json.data?.near.edges as readonly { readonly node: { readonly key: string } }[]
        const { approximate } = json.extensions.sovereignty as { readonly approximate?: unknown }
        return { keys: edges.map(({ node }) => Number(node.key)), approximate }
      }
      const from = (first: number, count: number): readonly number[] => Array.from({ length: count }, (_, index) => first + index)
      const said = [{ organization: 'aurora', search: 'near' }]
      expect(await ask('all', 5, ['aurora'])).toEqual({ keys: from(1, 5), approximate: said })
      for (const k of [1, 10, 1_000]) expect(await ask('few', k, ['aurora'])).toEqual({ keys: from(3_001, k), approximate: said })
      expect(await ask('all', 5, ['borealis'])).toEqual({ keys: from(1, 5), approximate: undefined })
      expect((await ask('all', 4, ['aurora', 'borealis'])).keys).toEqual([1, 1, 2, 2])
      const explained = await gateway.request({ organization: 'aurora', roles: ['all'] }, document, { path: '/explain', variables: { k: 1, only: ['aurora'] } })
      expect(explained.json.extensions.explain?.statements[0]?.text).toMatch(/ORDER BY .*<->.* LIMIT/)
    } finally {
      await gateway.stop()
    }
  }, 120_000)
})
