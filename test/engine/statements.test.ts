import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { setTimeout as delay } from 'node:timers/promises'
import { lawsWorld } from '../laws/world.js'
import type { TestClaims, TestGateway } from '../support/gateway.js'
import { startTestGateway } from '../support/gateway.js'
import type { TestPostgres } from '../support/postgres.js'
import { startTestPostgres } from '../support/postgres.js'
import { asksForData, dataOf, executedBy as reached, LOGGING, type Reached } from '../support/statement-log.js'

const chief: TestClaims = { organization: 'alpha', roles: ['chief'] }
const OWNERS = ['alpha', 'beta', 'gamma', 'delta'] as const

describe("what reaches the owners' databases", () => {
  let postgres: TestPostgres
  let gateway: TestGateway

  beforeAll(async () => {
    postgres = await startTestPostgres(LOGGING)
    gateway = await startTestGateway({ world: lawsWorld(), postgres, gateway: { limits: { cost: 10_000_000, deadline: '20s' } } })
  }, 60_000)
  afterAll(async () => {
    await gateway.stop()
    await postgres.stop()
  })

  const executedBy = (work: () => Promise<unknown>): Promise<Reached> => reached({ gateway, postgres, owners: OWNERS }, work)

  it('is one statement for each root field and owner, however deep, and one transaction for each owner', async () => {
    const document = `{
      deep: people(first: 50) { totalCount nodes { name tasks(first: 20) { totalCount nodes { title owner { name tasks(first: 20) { nodes { project { name tasks(first: 5) { totalCount nodes { key } } } } } }
        } pageInfo { hasNextPage endCursor } } tasksAggregate(groupBy: [{ field: STATUS }]) { groups { count } }
        taskSeries(range: { from: "2026-01-01T00:00:00Z", to: "2026-02-01T00:00:00Z" }, bucket: "P1W") { buckets { count rate { priority } } } } }
      wide: tasks(where: { owner: { tasks: { some: { priority: { gt: 1 } } } } }, orderBy: [{ owner: { team: ASC } }]) { totalCount edges { cursor node { key } } }
      sums: tasksAggregate(groupBy: [{ field: STATUS }]) { groups { count max { priority } } }
      series: taskSeries(range: { from: "2026-01-01T00:00:00Z", to: "2026-02-01T00:00:00Z" }, bucket: "P1D", fill: LINEAR) { buckets { count first { priority } } }
    }`
    await gateway.ask(chief, '{ tasks { totalCount } }')
    for (let round = 0; round < 2; round++) {
      const { statements, connections } = await executedBy(async () => {
        const { json } = await gateway.ask(chief, document)
        expect(json.errors?.map(({ extensions }) => extensions.code)).toEqual(undefined)
      })
      for (const organization of ['alpha', 'beta', 'gamma']) {
        const own = statements.filter((each) => each.organization === organization)
        // With a series: planned for its values each time.
        expect(dataOf(statements, organization).filter(({ name }) => name === '<unnamed>')).toHaveLength(2)
        expect(dataOf(statements, organization)).toHaveLength(4)
        expect(own.map((each) => (asksForData(each) ? 'data' : each.name))).toEqual([
          'concordat_begin',
          'concordat_caller',
          'data',
          'data',
          'data',
          'data',
          'concordat_commit',
        ])
        expect(new Set(own.map(({ transaction }) => transaction)).size).toBe(1)
      }
      expect(statements.filter(({ organization }) => organization === 'delta')).toEqual([])
      expect(connections).toEqual([])
    }
  })

  it("is one statement with the caller's organization before it, in one transaction, for a single root field", async () => {
    for (const document of ['{ tasks(first: 30) { nodes { key owner { name } } } }', '{ tasksAggregate { groups { count } } }', '{ tasks { totalCount } }']) {
      const { statements } = await executedBy(() => gateway.ask(chief, document))
      for (const organization of ['alpha', 'beta', 'gamma']) {
        const own = statements.filter((each) => each.organization === organization)
        expect(own.map((each) => (asksForData(each) ? 'data' : each.name))).toEqual(['concordat_caller', 'data'])
        expect(new Set(own.map(({ transaction }) => transaction)).size).toBe(1)
      }
    }
  })

  it('is one statement for ids of many rows, and nothing for ids of owners that may not be asked', async () => {
    const id = (organization: string, key: string): string => Buffer.from(JSON.stringify(['Task', organization, key])).toString('base64url')
    const ids = ['alpha', 'beta', 'delta', 'nobody'].flatMap((organization) => ['1', '95', '96', '97', '1', '8'].map((key) => id(organization, key)))
    const { statements, connections } = await executedBy(() =>
      gateway.ask(chief, 'query($ids: [ID!]!) { nodes(ids: $ids) { id ... on Task { title } } }', { ids }),
    )
    expect(OWNERS.map((organization) => dataOf(statements, organization).length)).toEqual([1, 1, 0, 0])
    expect(connections).toEqual([])
  })

  it('is nothing at owners that the operation does not name, may not ask or has left out', async () => {
    const counts = async (document: string): Promise<readonly number[]> => {
      const { statements } = await executedBy(() => gateway.ask(chief, document))
      return OWNERS.map((organization) => dataOf(statements, organization).length)
    }
    expect(await counts('{ tasks(organizations: ["beta"]) { totalCount } }')).toEqual([0, 1, 0, 0])
    expect(await counts('{ tasks(organizations: []) { totalCount } }')).toEqual([0, 0, 0, 0])
    expect(await counts('query @sovereignty(onForbidden: EXCLUDE) { tasks(orderBy: [{ seen: ASC }]) { totalCount } }')).toEqual([1, 1, 0, 0])
    expect(await counts('{ projects { totalCount } }')).toEqual([1, 0, 0, 0]) // beta gives none of them, gamma declares that it has none
  })

  it('is nothing at all where the operation is refused, even by the last of its owners', async () => {
    for (const document of [
      '{ people { totalCount } tasks(orderBy: [{ seen: ASC }]) { totalCount } }',
      '{ people { totalCount } tasks(organizations: ["delta"]) { totalCount } }',
      '{ people { totalCount } tasksAggregate { groups { countDistinct { title } } } }',
      '{ people { totalCount } tasks(after: "c1.AAAA") { totalCount } }',
      '{ people(first: 1000) { nodes { tasks(first: 100) { nodes { owner { tasks(first: 100) { totalCount } } } } } } }',
    ]) {
      const { statements } = await executedBy(async () => {
        const { json } = await gateway.ask(chief, document)
        expect(json.data).toBeUndefined()
      })
      expect(statements).toEqual([])
    }
  })

  it('is one statement for each further page', async () => {
    let after: string | null = null
    for (let page = 0; page < 3; page++) {
      const { statements } = await executedBy(async () => {
        const { json } = await gateway.ask(
          chief,
          'query($after: String) { tasks(first: 10, after: $after, orderBy: [{ status: ASC }]) { nodes { key } pageInfo { endCursor } } }',
          { after },
        )
        after = json.data.tasks.pageInfo.endCursor as string
      })
      expect(['alpha', 'beta', 'gamma'].map((organization) => dataOf(statements, organization).length)).toEqual([1, 1, 1])
    }
  })

  it('reads one state of the database for all root fields of an operation', async () => {
    const [blocker, writer] = [await gateway.ownerClient('alpha'), await gateway.ownerClient('alpha')]
    await blocker.query('BEGIN; LOCK TABLE projects IN ACCESS EXCLUSIVE MODE')
    const asked = gateway.ask(
      chief,
      '{ a: tasks(organizations: ["alpha"]) { totalCount } b: projects(organizations: ["alpha"]) { totalCount } c: tasks(organizations: ["alpha"], first: 1) { totalCount } }',
    )
    await delay(150)
    await writer.query(`INSERT INTO tasks (key, title, status, created_at) VALUES (7000, 'later', 'OPEN', now())`)
    await blocker.query('COMMIT')
    const { json } = await asked
    expect(json.data.c.totalCount).toBe(json.data.a.totalCount)
    const after = await gateway.ask(chief, '{ tasks(organizations: ["alpha"]) { totalCount } }')
    expect(after.json.data.tasks.totalCount).toBe(json.data.a.totalCount + 1)
    await writer.query('DELETE FROM tasks WHERE key = 7000')
  })

  it("can be seen beforehand by whoever may ask: the own organization's, with places for values, and nothing is asked", async () => {
    const document = 'query($v: ID!) { tasks(where: { key: { ne: $v, notIn: ["literal-secret"] } }, first: 17) { nodes { key } } people { totalCount } }'
    const { statements } = await executedBy(async () => {
      const { status, json, text } = await gateway.request(chief, document, { path: '/explain', variables: { v: 'variable-secret' } })
      expect(status).toBe(200)
      expect(json.data).toBeUndefined()
      expect(json.extensions.explain?.statements.map(({ organization }) => organization)).toEqual(['alpha', 'alpha'])
      for (const each of json.extensions.explain?.statements ?? []) expect(each.text).toContain('$1')
      for (const value of ['literal-secret', 'variable-secret', 'hr.jobs', 'full_name']) expect(text).not.toContain(value)
    })
    expect(statements).toEqual([])
    const worker: TestClaims = { organization: 'alpha', roles: ['worker'], claims: { team: 'red' } }
    const refused = await gateway.request(worker, document, { path: '/explain', variables: { v: 'x' } })
    expect({ status: refused.status, codes: refused.json.errors?.map(({ extensions }) => extensions.code) }).toEqual({ status: 403, codes: ['FORBIDDEN'] })
  })
})
