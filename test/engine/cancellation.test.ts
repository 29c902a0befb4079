import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals'
import { setTimeout as delay } from 'node:timers/promises'
import type pg from 'pg'
import { lawsWorld } from '../laws/world.js'
import type { TestAnswer, TestClaims, TestGateway } from '../support/gateway.js'
import { startTestGateway } from '../support/gateway.js'

const chief: TestClaims = { organization: 'alpha', roles: ['chief'] }
const DEADLINE_MS = 1_500
/** From the end of a request to the end of its statement in PostgreSQL. */
const PROMISED_MS = 250

describe('a statement that is no longer waited for', () => {
  let gateway: TestGateway
  let watcher: pg.Client
  let blocker: pg.Client

  beforeAll(async () => {
    gateway = await startTestGateway({
      world: lawsWorld(),
      gateway: { limits: { deadline: `${DEADLINE_MS}ms`, concurrentPerPrincipal: 500 } },
      store: { pool: { max: 3, queue: 2 } },
    })
    watcher = await gateway.connect('postgres')
    blocker = await gateway.ownerClient('alpha')
    await gateway.ask(chief, '{ tasks { totalCount } }')
  }, 60_000)
  afterAll(() => gateway.stop())
  afterEach(async () => {
    await blocker.query('ROLLBACK')
  })

  /** Whoever reads projects waits. */
  async function block(): Promise<void> {
    await blocker.query('BEGIN; LOCK TABLE projects IN ACCESS EXCLUSIVE MODE')
  }

  async function running(): Promise<number> {
    const { rows } = await watcher.query<{ count: number }>(
      `SELECT count(*)::int AS count FROM pg_stat_activity WHERE datname = $1 AND usename = 'concordat_gateway' AND state <> 'idle'`,
      [gateway.database('alpha')],
    )
    return rows[0]?.count ?? 0
  }

  async function until(condition: () => Promise<boolean>, timeoutMs: number): Promise<number> {
    const since = performance.now()
    while (!(await condition())) {
      if (performance.now() - since > timeoutMs) throw new Error(`not within ${timeoutMs} ms`)
      await delay(3)
    }
    return performance.now() - since
  }

  it('is cancelled in PostgreSQL within 250 ms when the client goes away', async () => {
    const took: number[] = []
    for (let attempt = 0; attempt < 3; attempt++) {
      await block()
      const client = new AbortController()
      const asked = gateway.request(chief, '{ projects(organizations: ["alpha"]) { totalCount } }', { signal: client.signal })
      asked.catch(() => undefined)
      await until(async () => (await running()) === 1, 600)
      client.abort()
      took.push(await until(async () => (await running()) === 0, 600))
      await expect(asked).rejects.toThrow()
      await blocker.query('ROLLBACK')
    }
    // The best of three: other programs of this machine are no part of the promise.
    expect(Math.min(...took)).toBeLessThan(PROMISED_MS)
  })

  it("is cancelled in PostgreSQL within 250 ms when the deadline passes, and the others' data are given", async () => {
    const took: number[] = []
    for (let attempt = 0; attempt < 3; attempt++) {
      await block()
      const since = performance.now()
      const { status, json } = await gateway.ask(chief, '{ tasks(first: 3) { nodes { key project { name } } } projects { totalCount nodes { key } } }')
      const answeredMs = performance.now() - since
      took.push(await until(async () => (await running()) === 0, 600))
      expect(status).toBe(200)
      expect(answeredMs).toBeGreaterThanOrEqual(DEADLINE_MS - 50)
      expect(json.errors?.filter(({ path }) => !path)).toEqual([
        { message: 'An organization did not answer in time.', extensions: { code: 'SOURCE_TIMEOUT', organization: 'alpha' } },
      ])
      expect(json.data.projects).toEqual({ totalCount: null, nodes: [] })
      expect(json.data.tasks.nodes.map(({ key }: { key: string }) => key)).toHaveLength(3)
      await blocker.query('ROLLBACK')
    }
    expect(Math.min(...took)).toBeLessThan(PROMISED_MS)
  })

  it("is cancelled alone: nobody else's statement on the same few connections ends with it", async () => {
    await block()
    let isOver = false
    const others: TestAnswer[] = []
    const asking = [0, 1].map(async (index) => {
      while (!isOver) others.push(await gateway.ask({ ...chief, subject: `other-${index}` }, '{ tasks(organizations: ["alpha"], first: 5) { nodes { key } } }'))
    })
    for (let round = 0; round < 40; round++) {
      const client = new AbortController()
      const asked = gateway.request(chief, '{ projects(organizations: ["alpha"]) { totalCount } }', { signal: client.signal })
      asked.catch(() => undefined)
      await delay(round % 20)
      client.abort()
    }
    isOver = true
    await Promise.all(asking)
    expect(others.length).toBeGreaterThan(5)
    for (const { json } of others) {
      // With three connections somebody may have to wait too long for one, but nobody's statement is cut off.
      const codes = (json.errors ?? []).map(({ extensions }) => extensions.code)
      expect(codes.filter((code) => code !== 'SOURCE_BUSY')).toEqual([])
    }
    expect(others.filter(({ json }) => json.data?.tasks.nodes.length === 5).length).toBeGreaterThan(5)
    await until(async () => (await running()) === 0, 600)
  })

  it('is not even begun for more requests than may wait, which are told so at once', async () => {
    await block()
    const waiting = Array.from({ length: 5 }, (_unused, index) =>
      gateway.ask({ ...chief, subject: `waiting-${index}` }, '{ projects(organizations: ["alpha"]) { totalCount } }'),
    )
    await until(async () => (await running()) === 3, 600)
    await delay(100) // the others have come to wait
    const since = performance.now()
    const { json } = await gateway.ask({ ...chief, subject: 'late' }, '{ projects(organizations: ["alpha"]) { totalCount } }')
    expect(performance.now() - since).toBeLessThan(DEADLINE_MS / 2)
    expect(json.errors?.map(({ extensions }) => extensions.code)).toEqual(['SOURCE_BUSY', 'INCOMPLETE'])
    for (const { json: late } of await Promise.all(waiting))
      expect(late.errors?.map(({ extensions }) => extensions.code)).toEqual(['SOURCE_TIMEOUT', 'INCOMPLETE'])
    await blocker.query('ROLLBACK')
    const after = await gateway.ask(chief, '{ projects(organizations: ["alpha"]) { totalCount } }')
    expect(after.json.errors).toBeUndefined()
  })

  it('leaves an entry even where the client has gone', async () => {
    await block()
    const ledger = await gateway.ledgerClient()
    const client = new AbortController()
    const asked = gateway.request({ ...chief, subject: 'gone' }, 'query Gone { projects(organizations: ["alpha"]) { totalCount } }', { signal: client.signal })
    asked.catch(() => undefined)
    await until(async () => (await running()) === 1, 600)
    client.abort()
    const entries = async (): Promise<readonly { outcome: string; code: string }[]> => {
      const { rows } = await ledger.query<{ outcome: string; code: string }>(
        `SELECT leaf::jsonb ->> 'outcome' AS outcome, leaf::jsonb ->> 'code' AS code FROM concordat.ledger_entries WHERE ledger = 'alpha' AND subject = 'gone'`,
      )
      return rows
    }
    await until(async () => (await entries()).length > 0, 2_000)
    expect(await entries()).toEqual([{ outcome: 'refused', code: 'CANCELLED' }])
  })
})
