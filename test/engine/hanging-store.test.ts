import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { startTestGateway, type TestGateway } from '../support/gateway.js'
import { startTestPostgres, type TestPostgres } from '../support/postgres.js'

const ana = { organization: 'aurora', roles: ['all'] }
const DEADLINE_MS = 500

let postgres: TestPostgres
let gateway: TestGateway
beforeAll(async () => {
  postgres = await startTestPostgres()
  const roles = { all: { read: { Thing: { fields: 'all' } } } }
  const sql = 'CREATE TABLE things (key int PRIMARY KEY, name text NOT NULL); INSERT INTO things VALUES (1, $$a$$)'
  gateway = await startTestGateway({
    postgres,
    world: { contract: 'type Thing @entity { key: ID! name: String! }', organizations: { aurora: { sql, roles, store: { pool: { max: 1 } } } } },
    gateway: { limits: { deadline: `${DEADLINE_MS}ms` } },
  })
}, 120_000)
afterAll(async () => {
  await gateway?.stop()
  await postgres?.stop()
}, 60_000)

describe('a store that does not even answer to a cancel request', () => {
  it('is not waited for, and its connection is not used again', async () => {
    const document = '{ things { nodes { key } } }'
    const { json } = await gateway.ask(ana, document)
    expect(json.data).toEqual({ things: { nodes: [{ key: '1' }] } })
    const owner = await gateway.ownerClient('aurora')
    const { rows } = await owner.query<{ pid: number }>(
      `SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'concordat' AND backend_type = 'client backend'`,
    )
    const pids = rows.map(({ pid }) => pid)
    expect(pids.length).toBeGreaterThan(0)
    for (const pid of pids) process.kill(pid, 'SIGSTOP')
    const startedMs = performance.now()
    try {
      const late = await gateway.ask(ana, document)
      expect(late.json.errors?.[0]?.extensions).toEqual({ code: 'SOURCE_TIMEOUT', organization: 'aurora' })
      expect(performance.now() - startedMs).toBeLessThan(DEADLINE_MS + 4_000)
      // On a new connection.
      expect((await gateway.ask(ana, document)).json.data).toEqual({ things: { nodes: [{ key: '1' }] } })
    } finally {
      for (const pid of pids) process.kill(pid, 'SIGCONT')
    }
  }, 30_000)
})
