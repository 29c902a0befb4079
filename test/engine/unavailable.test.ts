import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals'
import { setTimeout as delay } from 'node:timers/promises'
import type pg from 'pg'
import { lawsWorld } from '../laws/world.js'
import type { TestAnswer, TestClaims, TestGateway } from '../support/gateway.js'
import { startTestGateway } from '../support/gateway.js'
import type { TestPostgres } from '../support/postgres.js'
import { startTestPostgres } from '../support/postgres.js'

const chief: TestClaims = { organization: 'alpha', roles: ['chief'] }
const DOWN = { message: 'An organization did not answer.', extensions: { code: 'SOURCE_UNAVAILABLE', organization: 'beta' } }
const INCOMPLETE = 'This number needs an organization that did not answer.'

let postgres: TestPostgres
let gateway: TestGateway
let admin: pg.Client

beforeAll(async () => {
  postgres = await startTestPostgres()
  gateway = await startTestGateway({ world: lawsWorld(), postgres })
  admin = await gateway.connect('postgres')
}, 60_000)
afterAll(async () => {
  await gateway.stop()
  await postgres.stop()
})

async function down(organization: string, from: TestGateway = gateway): Promise<void> {
  await admin.query(`ALTER DATABASE ${from.database(organization)} ALLOW_CONNECTIONS false`)
  await admin.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1`, [from.database(organization)])
}

async function up(organization: string, from: TestGateway = gateway): Promise<void> {
  await admin.query(`ALTER DATABASE ${from.database(organization)} ALLOW_CONNECTIONS true`)
}

/** Errors in any order of the same path. */
function errorsOf({ json }: TestAnswer): unknown[] {
  return [...(json.errors ?? [])]
}

describe('while an organization is down', () => {
  afterEach(() => up('beta'))

  it("lists have the others' rows, an error without a path says so, and every number that needs it is null", async () => {
    const document = `{
      tasks(first: 100, orderBy: [{ status: ASC }]) { totalCount nodes { organization } pageInfo { hasNextPage } }
      few: tasks(first: 1) { nodes { organization } count: totalCount again: totalCount }
      each: tasksAggregate(groupBy: [{ field: ORGANIZATION }]) { groups { keys { organization } count } }
      all: tasksAggregate { groups { count } }
      home: tasks(organizations: ["alpha"]) { totalCount }
      homes: tasksAggregate(organizations: ["alpha", "gamma"]) { groups { count } }
    }`
    const whole = await gateway.ask(chief, document)
    await down('beta')
    const answer = await gateway.ask(chief, document)
    expect(answer.status).toBe(200)
    const nodes = whole.json.data.tasks.nodes as { organization: string }[]
    expect(answer.json.data).toEqual({
      tasks: { totalCount: null, nodes: nodes.filter(({ organization }) => organization !== 'beta'), pageInfo: { hasNextPage: false } },
      few: { nodes: [{ organization: 'alpha' }], count: null, again: null },
      each: { groups: (whole.json.data.each.groups as { keys: { organization: string } }[]).filter(({ keys }) => keys.organization !== 'beta') },
      all: null,
      home: whole.json.data.home,
      homes: whole.json.data.homes,
    })
    const incomplete = (...path: string[]) => ({ message: INCOMPLETE, path, extensions: { code: 'INCOMPLETE', organization: 'beta' } })
    expect(errorsOf(answer)).toEqual([DOWN, incomplete('tasks', 'totalCount'), incomplete('few', 'count'), incomplete('few', 'again'), incomplete('all')])
    const { served, failed, leftOut } = answer.json.extensions.sovereignty
    expect(served.map(({ organization }) => organization)).toEqual(['alpha', 'gamma'])
    expect({ failed, leftOut }).toEqual({ failed: [{ organization: 'beta', code: 'SOURCE_UNAVAILABLE' }], leftOut: [] })
  })

  it('onUnavailable: EXCLUDE gives no error for it but for the numbers, and lists it', async () => {
    await down('beta')
    const answer = await gateway.ask(chief, 'query @sovereignty(onUnavailable: EXCLUDE) { tasks(first: 2) { totalCount nodes { organization } } }')
    expect(answer.status).toBe(200)
    expect(answer.json.data.tasks).toEqual({ totalCount: null, nodes: [{ organization: 'alpha' }, { organization: 'alpha' }] })
    expect(errorsOf(answer)).toEqual([{ message: INCOMPLETE, path: ['tasks', 'totalCount'], extensions: { code: 'INCOMPLETE', organization: 'beta' } }])
    expect(answer.json.extensions.sovereignty.failed).toEqual([{ organization: 'beta', code: 'SOURCE_UNAVAILABLE' }])
    const numberless = await gateway.ask(chief, 'query @sovereignty(onUnavailable: EXCLUDE) { tasks(first: 2) { nodes { organization } } }')
    expect(numberless.json.errors).toBeUndefined()
  })

  it('onUnavailable: FAIL gives nothing', async () => {
    await down('beta')
    const answer = await gateway.ask(chief, 'query @sovereignty(onUnavailable: FAIL) { tasks { nodes { key } } }')
    expect({ status: answer.status, data: answer.json.data }).toEqual({ status: 503, data: undefined })
    expect(errorsOf(answer)).toEqual([DOWN])
    const untouched = await gateway.ask(chief, 'query @sovereignty(onUnavailable: FAIL) { tasks(organizations: ["alpha"]) { totalCount } }')
    expect(untouched.status).toBe(200)
  })

  it('its own rows by key and by id are null, with the error', async () => {
    const first = await gateway.ask(chief, '{ tasks(organizations: ["beta"], first: 1) { nodes { id key } } }')
    const [{ id, key }] = first.json.data.tasks.nodes as [{ id: string; key: string }]
    await down('beta')
    const answer = await gateway.ask(
      chief,
      'query($id: ID!, $key: ID!) { task(key: $key, organization: "beta") { key } node(id: $id) { id } nodes(ids: [$id]) { id } }',
      { id, key },
    )
    expect(answer.json.data).toEqual({ task: null, node: null, nodes: [null] })
    expect(errorsOf(answer)).toEqual([DOWN])
  })

  it('a page that goes on without it is an error there, for its rows would be lost for ever', async () => {
    const first = await gateway.ask(chief, '{ tasks(first: 5, orderBy: [{ status: ASC }]) { pageInfo { endCursor } } }')
    const after = first.json.data.tasks.pageInfo.endCursor as string
    const document =
      'query($after: String) { tasks(first: 5, after: $after, orderBy: [{ status: ASC }]) { totalCount nodes { key } } other: people(first: 1) { nodes { organization } } }'
    await down('beta')
    const answer = await gateway.ask(chief, document, { after })
    expect(answer.status).toBe(200)
    expect(answer.json.data).toEqual({ tasks: null, other: { nodes: [{ organization: 'alpha' }] } })
    expect(errorsOf(answer)).toEqual([DOWN, { ...DOWN, path: ['tasks'] }])
    await up('beta')
    const again = await gateway.ask(chief, document, { after })
    expect(again.json.errors).toBeUndefined()
    expect(again.json.data.tasks.nodes).toHaveLength(5)
  })

  it('a first page without it stays without it, until there is a new first page', async () => {
    await down('beta')
    const document = 'query($after: String) { tasks(first: 30, after: $after) { totalCount nodes { organization } pageInfo { hasNextPage endCursor } } }'
    let { json } = await gateway.ask(chief, document)
    await up('beta')
    const organizations = new Set((json.data.tasks.nodes as { organization: string }[]).map((node) => node.organization))
    while (json.data.tasks.pageInfo.hasNextPage) {
      ;({ json } = await gateway.ask(chief, document, { after: json.data.tasks.pageInfo.endCursor }))
      expect(json.errors).toBeUndefined()
      for (const { organization } of json.data.tasks.nodes as { organization: string }[]) organizations.add(organization)
      // It takes no part, so the answer does not say that it served.
      expect(json.extensions.sovereignty.served.map(({ organization }) => organization)).toEqual(['alpha', 'gamma'])
    }
    expect(organizations).toEqual(new Set(['alpha', 'gamma']))
    const fresh = await gateway.ask(chief, '{ tasks(first: 1000) { nodes { organization } } }')
    expect((fresh.json.data.tasks.nodes as { organization: string }[]).some(({ organization }) => organization === 'beta')).toBe(true)
  })

  it('the home organization is no exception', async () => {
    await down('alpha')
    try {
      const answer = await gateway.ask(chief, '{ tasks(first: 3) { nodes { organization } } }')
      expect(answer.status).toBe(200)
      expect(answer.json.data.tasks.nodes).toEqual([{ organization: 'beta' }, { organization: 'beta' }, { organization: 'beta' }])
      expect(answer.json.extensions.sovereignty.failed).toEqual([{ organization: 'alpha', code: 'SOURCE_UNAVAILABLE' }])
    } finally {
      await up('alpha')
    }
  })

  it("nothing of the database's own words reaches the client or the log", async () => {
    await down('beta')
    const { text } = await gateway.ask(chief, '{ tasks { nodes { key } } }')
    const said = text + JSON.stringify(gateway.log.filter(({ event }) => event === 'failed'))
    for (const word of ['not currently accepting connections', gateway.database('beta'), postgres.socketDirectory, 'concordat_gateway'])
      expect(said).not.toContain(word)
  })

  it('comes back without a restart', async () => {
    await down('beta')
    await gateway.ask(chief, '{ tasks { totalCount } }')
    await up('beta')
    const { json } = await gateway.ask(chief, '{ tasks { totalCount } }')
    expect(json.errors).toBeUndefined()
  })
})

describe('while an organization changes its tables', () => {
  const document = '{ tasks(first: 200, where: { priority: { gte: 2 } }) { totalCount nodes { organization key title priority } } }'

  it('answers go on where what is bound still fits, also with statements that were prepared before', async () => {
    const owner = await gateway.ownerClient('beta')
    const before = await gateway.ask(chief, document)
    await owner.query(
      'ALTER TABLE hr.jobs ALTER COLUMN prio TYPE integer, ALTER COLUMN label TYPE varchar(100), ADD COLUMN more text; ALTER TABLE hr.jobs DROP COLUMN more',
    )
    for (let again = 0; again < 5; again++) {
      const after = await gateway.ask(chief, document)
      expect(after.json.errors).toBeUndefined()
      expect(after.json.data).toEqual(before.json.data)
    }
    await owner.query('ALTER TABLE hr.jobs ALTER COLUMN prio TYPE smallint')
  })

  it('it is missing where a bound column is gone, and comes back with the column', async () => {
    const owner = await gateway.ownerClient('beta')
    const before = await gateway.ask(chief, document)
    await owner.query('ALTER TABLE hr.jobs RENAME COLUMN label TO title')
    const during = await gateway.ask(chief, document)
    expect(errorsOf(during)[0]).toEqual(DOWN)
    expect((during.json.data.tasks.nodes as { organization: string }[]).some(({ organization }) => organization === 'gamma')).toBe(true)
    expect(during.text).not.toContain('label')
    await owner.query('ALTER TABLE hr.jobs RENAME COLUMN title TO label')
    expect((await gateway.ask(chief, document)).json.data).toEqual(before.json.data)
  })

  it("it is missing while its owner has taken the gateway's rights", async () => {
    const owner = await gateway.ownerClient('beta')
    await owner.query('REVOKE SELECT ON hr.jobs FROM concordat_gateway')
    const during = await gateway.ask(chief, document)
    expect(errorsOf(during)[0]).toEqual(DOWN)
    await owner.query('GRANT SELECT ON hr.jobs TO concordat_gateway')
    expect((await gateway.ask(chief, document)).json.errors).toBeUndefined()
  })
})

describe('an organization that was down when the gateway started', () => {
  it('is missing until it can be reached, and then takes part', async () => {
    const late = await startTestGateway({
      world: lawsWorld(),
      postgres,
      beforeStart: async ({ database }) => {
        await admin.query(`ALTER DATABASE ${database('beta')} ALLOW_CONNECTIONS false`)
      },
    })
    try {
      const document = '{ tasks(first: 100) { totalCount nodes { organization } } }'
      const missing = await late.ask(chief, document)
      expect(missing.status).toBe(200)
      expect(missing.json.data.tasks.totalCount).toBeNull()
      expect(errorsOf(missing)[0]).toEqual(DOWN)
      // What policy denies is denied all the same.
      const denied = await late.ask(
        chief,
        '{ tasks(first: 100, where: { day: { isNull: true } }, organizations: ["alpha", "beta"]) { nodes { organization } } }',
      )
      expect(denied.json.errors?.map(({ extensions }) => extensions.code)).toContain('FIELD_NOT_USABLE')
      await up('beta', late)
      for (let waited = 0; waited < 10_000; waited += 50) {
        const { json } = await late.ask(chief, document)
        if (!json.errors) break
        await delay(50)
      }
      const whole = await late.ask(chief, document)
      expect(whole.json.errors).toBeUndefined()
      expect((whole.json.data.tasks.nodes as { organization: string }[]).some(({ organization }) => organization === 'beta')).toBe(true)
    } finally {
      await late.stop()
    }
  }, 30_000)
})
