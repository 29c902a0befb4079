import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { GATEWAY_ROLE, grantReading } from '../support/gateway.js'
import { PineconeStub } from '../support/pinecone-stub.js'
import { withClient } from '../support/postgres.js'
import { AGENTS, describeParts, heldApart, type PartsPlace, TEAMS } from './parts-suite.js'

const MOVED = `
  CREATE TABLE vectors (agent text PRIMARY KEY, value real[]); CREATE TABLE bios (of_agent uuid PRIMARY KEY, "te""xt" text);`
/** Vectors and bios of agents that are not there: those that are nearest of all. */
const ORPHANS = `
  INSERT INTO vectors SELECT ('00000000-0000-4000-9000-' || lpad(n::text, 12, '0')), ARRAY[1, 0]::real[] FROM generate_series(1, 30) n;
  INSERT INTO bios VALUES ('00000000-0000-4000-9000-000000000001', 'of nobody');`
const MOVE = `
  INSERT INTO vectors SELECT key::text, embedding FROM agent WHERE embedding IS NOT NULL; INSERT INTO bios SELECT key, bio FROM agent WHERE bio IS NOT NULL;
  ALTER TABLE agent DROP COLUMN embedding, DROP COLUMN bio;`

function bindings(place: string): Readonly<Record<string, unknown>> {
  const part = (table: string, key: string, column: string): unknown => ({ table: `${place}.public.${table}`, key: [key], column })
  return { Agent: { fields: { embedding: part('vectors', 'agent', 'value'), bio: part('bios', 'of_agent', 'te"xt') } } }
}

describeParts('another store', async (postgres): Promise<PartsPlace> => {
  const vectors = await postgres.createDatabase()
  return {
    sql: `${TEAMS}${AGENTS} ALTER TABLE agent DROP COLUMN embedding, DROP COLUMN bio;`,
    bindings: bindings('vectors'),
    moreStores: { alpha: { vectors: { kind: 'postgres', url: vectors.url(GATEWAY_ROLE) } } },
    fill: () =>
      withClient(vectors.url(), async (client) => {
        await client.query(`${AGENTS}${MOVED}${MOVE} DROP TABLE agent; ${ORPHANS}`)
        await grantReading(client)
      }),
    stop: () => Promise.resolve(),
  }
})

describeParts('other tables of the same store', (): Promise<PartsPlace> =>
  Promise.resolve({
    sql: `${TEAMS}${AGENTS}${MOVED}${MOVE}${ORPHANS}`,
    bindings: bindings('main'),
    moreStores: {},
    fill: () => Promise.resolve(),
    stop: () => Promise.resolve(),
  }),
)

describeParts(
  'namespaces of a stub of Pinecone',
  async (postgres): Promise<PartsPlace> => {
    const stub = await PineconeStub.start()
    const folder = await mkdtemp(join(tmpdir(), 'concordat-parts-'))
    const url = join(folder, 'url')
    await writeFile(url, stub.url) // it has a key
    const index = await stub.createIndex({ name: 'agents', dimension: 2, metric: 'cosine' })
    const part = (namespace: string, column: string): unknown => ({ table: `pinecone.agents.${namespace}`, key: ['id'], column })
    return {
      sql: `${TEAMS}${AGENTS} ALTER TABLE agent DROP COLUMN embedding, DROP COLUMN bio;`,
      bindings: { Agent: { fields: { embedding: part('vectors', 'values'), bio: part('bios', 'text') } } },
      moreStores: { alpha: { pinecone: { kind: 'pinecone', url: { file: url } } } },
      fill: async () => {
        for (const { key, embedding, bio } of await heldApart(postgres)) {
          if (embedding) index.upsert('vectors', [{ id: key, values: embedding }])
          if (bio !== null) index.upsert('bios', [{ id: key, values: [1, 1], metadata: { text: bio } }])
        }
        // What is no key of an agent at all is none of one.
        index.upsert('vectors', [
          { id: 'agent 7', values: [1, 0] },
          { id: '\x01"\\', values: [1, 0] },
        ])
      },
      stop: async () => {
        await stub.stop()
        await rm(folder, { recursive: true })
      },
    }
  },
  'of all',
)
