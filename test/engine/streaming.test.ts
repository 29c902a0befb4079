import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { createHash, createHmac } from 'node:crypto'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type pg from 'pg'
import { lawsWorld } from '../laws/world.js'
import { agreementOf, startTestGateway, type AnswerBody, type TestClaims, type TestGateway, type TestWorld } from '../support/gateway.js'

const MANY = 150_000
const alpha: TestClaims = { organization: 'alpha', roles: ['reader'] }

/** `alpha` has far more rows than any buffer holds; `beta` has some, mixed among them by name. */
const world: TestWorld = {
  contract: 'type Item @entity { key: ID!  name: String!  note: String }',
  organizations: Object.fromEntries(
    [
      ['alpha', MANY],
      ['beta', 3_000],
    ].map(([organization, rows]) => [
      organization,
      {
        sql: `CREATE TABLE items (key bigint PRIMARY KEY, name text COLLATE "C" NOT NULL, note text);
              INSERT INTO items SELECT n, 'item ' || lpad((n * 7919 % 1000003)::text, 7, '0'), repeat('é', 40) FROM generate_series(1, ${rows}) AS n;
              CREATE INDEX ON items (name, key)`,
        roles: { reader: { read: { Item: { fields: 'all' } }, crossOrganization: ['testing'] } },
      },
    ]),
  ),
  agreements: [agreementOf('beta', 'alpha', { Item: { allow: ['key', 'name'] } })],
}

interface Leaf {
  readonly id: string
  readonly kind: string
  readonly outcome?: string
  readonly code?: string | null
  readonly sections: readonly { readonly organization?: string; readonly rows?: number; readonly contribution?: string | null }[]
}

let gateway: TestGateway
let ledger: pg.Client
let admin: pg.Client

beforeAll(async () => {
  gateway = await startTestGateway({
    world,
    gateway: { limits: { pageRows: 1_000_000, cost: 5_000_000, buffered: '64KiB', answer: '256KiB', stall: '7s' }, reload: '200ms' },
  })
  ledger = await gateway.ledgerClient()
  admin = await gateway.connect('postgres')
}, 90_000)
afterAll(() => gateway.stop())

async function leaves(organization = 'alpha'): Promise<readonly { readonly leaf: Leaf; readonly salt: Buffer }[]> {
  const { rows } = await ledger.query<{ leaf: string; salt: Buffer }>('SELECT leaf, salt FROM concordat.ledger_entries WHERE ledger = $1 ORDER BY "index"', [
    organization,
  ])
  return rows.map(({ leaf, salt }) => ({ leaf: JSON.parse(leaf) as Leaf, salt }))
}

const lastOf = async (organization?: string) => (await leaves(organization)).at(-1)!

/** A request whose answer is read by hand. */
async function open(document: string): Promise<IncomingMessage> {
  const token = await gateway.token(alpha)
  return new Promise((resolve, reject) => {
    const asking = httpRequest(`${gateway.url}/graphql`, { method: 'POST', headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` } })
    asking.on('response', resolve)
    asking.on('error', reject)
    asking.end(JSON.stringify({ query: document }))
  })
}

async function busyBackends(): Promise<number> {
  const { rows } = await admin.query<{ count: string }>(`SELECT count(*) FROM pg_stat_activity WHERE application_name = 'concordat' AND state <> 'idle'`)
  return Number(rows[0]?.count)
}

const eventually = async (check: () => Promise<boolean>, withinMs: number): Promise<boolean> => {
  for (const until = performance.now() + withinMs; performance.now() < until; await delay(50)) if (await check()) return true
  return check()
}

describe('an answer larger than its buffer', () => {
  it('is what one that is held would be, with the same members in the same order', async () => {
    const document = `{ many: items(first: ${MANY}, organizations: ["alpha"]) { totalCount nodes { key name } pageInfo { hasNextPage hasPreviousPage } } one: item(key: "7", organization: "alpha") { name } }`
    const { status, text, headers, json } = await gateway.ask(alpha, document)
    expect(status).toBe(200)
    expect(headers.get('content-length')).toBeNull()
    expect(json.data.many).toMatchObject({ totalCount: MANY, pageInfo: { hasNextPage: false, hasPreviousPage: false } })
    expect((json.data.many.nodes as { key: string }[]).map(({ key }) => key)).toEqual(Array.from({ length: MANY }, (_, index) => String(index + 1)))
    expect(json.data.one).toEqual({ name: json.data.many.nodes[6].name })
    expect(text).toMatch(/^\{"data":\{"many":\{"totalCount":150000,"nodes":\[\{"key":"1",/)
  })

  it('has an intent before its first byte and an outcome that pins what was sent, in the ledger of each owner', async () => {
    const { text, json } = await gateway.ask(alpha, '{ items(first: 50000, orderBy: [{ name: ASC }]) { nodes { organization key name } } }')
    const nodes = json.data.items.nodes as { organization: string; key: string; name: string }[]
    expect(nodes).toHaveLength(50_000)
    expect(nodes.map(({ name }) => name)).toEqual(nodes.map(({ name }) => name).sort())
    const byOwner = (organization: string): string[] =>
      [...text.matchAll(/\{"organization":"(\w+)","key":"\d+","name":"[^"]*"\}/g)].flatMap(([row, owner]) => (owner === organization ? [row] : []))
    const home = (await leaves()).slice(-2)
    expect(home.map(({ leaf }) => leaf.kind)).toEqual(['request-intent', 'request-outcome'])
    const outcome = home[1]!
    expect(outcome.leaf).toMatchObject({ outcome: 'answered', code: null })
    expect(json.extensions.sovereignty.receipt?.entry).toBe(outcome.leaf.id)
    for (const section of outcome.leaf.sections) {
      const rows = byOwner(section.organization!)
      expect(section.rows).toBe(rows.length)
      const hash = createHash('sha256')
        .update(`[${rows.join(',')}]`)
        .digest()
      expect(section.contribution).toBe(createHmac('sha256', outcome.salt).update('contribution\0').update(hash).digest('base64'))
    }
    const partner = (await leaves('beta')).slice(-2)
    expect(partner.map(({ leaf }) => leaf.kind)).toEqual(['disclosure-intent', 'disclosure-outcome'])
    expect(partner[1]!.leaf.sections[0]!.rows).toBe(byOwner('beta').length)
  })

  it('goes on where a page of it ended, over all owners', async () => {
    const page =
      'query ($after: String) { items(first: 2000, after: $after, orderBy: [{ name: DESC }]) { edges { cursor node { name } } pageInfo { hasNextPage endCursor } } }'
    const names: string[] = []
    let after: string | null = null
    for (let count = 0; count < 3; count += 1) {
      const { json }: { json: AnswerBody } = await gateway.ask(alpha, page, { after })
      names.push(...(json.data.items.edges as { node: { name: string } }[]).map(({ node }) => node.name))
      expect(json.data.items.pageInfo.hasNextPage).toBe(true)
      expect(json.data.items.edges.at(-1).cursor).toBe(json.data.items.pageInfo.endCursor)
      after = json.data.items.pageInfo.endCursor as string
    }
    expect(names).toHaveLength(6_000)
    expect(names).toEqual([...names].sort().reverse())
  })

  it('has several lists, of whose rows none needs all that their owners would give', async () => {
    const list = (order: string): string => `items(first: 5000, orderBy: [{ name: ${order} }]) { nodes { organization name } pageInfo { hasNextPage } }`
    const { json } = await gateway.ask(alpha, `{ up: ${list('ASC')} down: ${list('DESC')} again: ${list('ASC')} }`)
    const names = (list: { nodes: { name: string }[] }): string[] => list.nodes.map(({ name }) => name)
    const { up, down, again } = json.data
    expect([names(up).length, names(down).length, up.pageInfo.hasNextPage, down.pageInfo.hasNextPage]).toEqual([5_000, 5_000, true, true])
    expect(names(up)).toEqual([...names(up)].sort())
    expect(names(down)).toEqual([...names(down)].sort().reverse())
    expect(again).toEqual(up)
    expect(await eventually(async () => (await busyBackends()) === 0, 1_500)).toBe(true)
  })

  it('gives no connection away where a page cannot go on without an owner that fails', async () => {
    const page =
      'query ($after: String, $first: Int!) { items(first: $first, after: $after, orderBy: [{ name: ASC }]) { nodes { name } pageInfo { endCursor } } one: item(key: "7", organization: "alpha") { name } }'
    const { json: first } = await gateway.ask(alpha, page, { first: 5 })
    const beta = await gateway.ownerClient('beta')
    await beta.query('REVOKE SELECT ON items FROM concordat_gateway')
    try {
      const { json } = await gateway.ask(alpha, page, { first: 50_000, after: first.data.items.pageInfo.endCursor as string })
      expect(json.data).toEqual({ items: null, one: first.data.one as unknown })
      expect(json.errors?.map(({ extensions, path }) => [extensions.code, extensions.organization, path])).toContainEqual([
        'SOURCE_UNAVAILABLE',
        'beta',
        ['items'],
      ])
      expect(await eventually(async () => (await busyBackends()) === 0, 1_500)).toBe(true)
    } finally {
      await beta.query('GRANT SELECT ON items TO concordat_gateway')
    }
  })

  it('is refused where what comes first depends on rows that come later', async () => {
    const { status, json } = await gateway.ask(alpha, '{ items(first: 50000, organizations: ["alpha"]) { pageInfo { hasNextPage } nodes { key } } }')
    expect([status, json.errors?.[0]?.extensions.code]).toEqual([400, 'QUERY_TOO_COSTLY'])
    expect(await eventually(async () => (await busyBackends()) === 0, 1_500)).toBe(true)
  })

  it('ends at the store within a second when its reader goes, and its ledger says so', async () => {
    const response = await open(`{ items(first: ${MANY}, organizations: ["alpha"]) { nodes { key name note } } }`)
    await new Promise((resolve) => response.once('data', resolve))
    response.pause()
    await delay(200)
    expect(await busyBackends()).toBeGreaterThan(0)
    response.destroy()
    expect(await eventually(async () => (await busyBackends()) === 0, 1_000)).toBe(true)
    expect(await eventually(async () => (await lastOf()).leaf.kind === 'request-outcome', 2_000)).toBe(true)
    expect((await lastOf()).leaf).toMatchObject({ outcome: 'truncated', code: 'CANCELLED' })
  })

  it('is broken off when its reader takes nothing of it for too long', async () => {
    const response = await open(`{ items(first: ${MANY}, organizations: ["alpha"]) { nodes { key name note } } }`)
    response.on('error', () => undefined)
    await new Promise((resolve) => response.once('data', resolve))
    response.pause()
    expect(await eventually(async () => (await busyBackends()) === 0, 12_000)).toBe(true)
    expect(await eventually(async () => (await lastOf()).leaf.outcome === 'truncated', 2_000)).toBe(true)
    response.destroy()
  })

  it('is broken off when its store fails midway: nobody takes a part for the whole', async () => {
    const response = await open(`{ items(first: ${MANY}, organizations: ["alpha"]) { nodes { key name note } } }`)
    await new Promise((resolve) => response.once('data', resolve))
    response.pause()
    await admin.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'concordat' AND state <> 'idle'`)
    const ended = new Promise<string>((resolve) => {
      response.once('error', () => resolve('broken off'))
      response.once('end', () => resolve('whole'))
    })
    response.resume()
    expect(await ended).toBe('broken off')
    expect(await eventually(async () => (await lastOf()).leaf.outcome === 'truncated', 2_000)).toBe(true)
    expect((await lastOf()).leaf.code).toBe('SOURCE_UNAVAILABLE')
  })

  it('ends within five seconds once policies change', async () => {
    const response = await open(`{ items(first: ${MANY}, organizations: ["alpha"]) { nodes { key name note } } }`)
    const ended = new Promise<string>((resolve) => {
      response.once('error', () => resolve('broken off'))
      response.once('end', () => resolve('whole'))
    })
    // A reader that takes a little at a time, for far longer than five seconds.
    response.on('data', () => {
      response.pause()
      setTimeout(() => response.resume(), 60)
    })
    await delay(500)
    const since = performance.now()
    gateway.writeRoles('alpha', { reader: { read: { Item: { fields: ['key', 'name'] } } } }, 2)
    expect(await eventually(async () => (await lastOf()).leaf.outcome === 'truncated', 5_000)).toBe(true)
    expect(performance.now() - since).toBeLessThan(5_000)
    expect((await lastOf()).leaf.code).toBe('POLICY_STALE')
    expect(await ended).toBe('broken off')
  }, 30_000)
})

describe('answers of any size', () => {
  it('are the same, byte for byte, whether they are held or stream', async () => {
    const chief: TestClaims = { organization: 'alpha', roles: ['chief'] }
    const documents = [
      '{ tasks(first: 100) { totalCount nodes { id key title } pageInfo { hasNextPage endCursor } } }',
      '{ tasks(first: 70, orderBy: [{ title: DESC }]) { edges { cursor node { organization title owner { name } } } pageInfo { startCursor endCursor hasNextPage } } people { nodes { name tasks(first: 3) { nodes { key } pageInfo { endCursor } } } } }',
      '{ sums: tasksAggregate(groupBy: [{ field: STATUS }]) { groups { count } } tasks(first: 100, orderBy: [{ status: ASC }]) { nodes { key status } } organizations { id } }',
    ]
    const folder = mkdtempSync(join(tmpdir(), 'concordat-stream-'))
    const file = join(folder, 'cursor.key')
    writeFileSync(file, Buffer.alloc(32, 7).toString('base64url'))
    const answers: string[][] = []
    for (const buffered of ['1MiB', '1KiB']) {
      const each = await startTestGateway({
        world: lawsWorld(),
        gateway: { limits: { buffered, cost: 1_000_000 }, cursorKey: { file } },
      })
      try {
        const texts: string[] = []
        const streamed: boolean[] = []
        for (const document of documents) {
          const { text, headers } = await each.ask(chief, document)
          texts.push(text.slice(0, text.indexOf(',"extensions"')))
          streamed.push(headers.get('content-length') === null)
        }
        answers.push(texts)
        expect(streamed.includes(true)).toBe(buffered === '1KiB')
      } finally {
        await each.stop()
      }
    }
    expect(answers[1]).toEqual(answers[0])
  }, 120_000)
})
