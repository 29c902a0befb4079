/** The connector contract over pgvector's own types and distances, in a real server. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import pg from 'pg'
import { connectorContract } from '../connectors/contract.js'
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

for (const type of ['vector', 'halfvec'])
  connectorContract(`postgres with columns of ${type}`, (data) => makeStores({ createDatabase }, data, OPTIONS), {
    declared: `${QUOTED}.${type}(3)`,
    native: `${QUOTED}.${type}`,
  })

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
})
