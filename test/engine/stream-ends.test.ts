import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import type pg from 'pg'
import { issueToken } from '../../src/cli/token.js'
import { agreementOf, type AnswerBody, startTestGateway, type TestClaims, type TestGateway, type TestWorld } from '../support/gateway.js'
import { eventually } from '../support/eventually.js'

const MANY = 150_000
const reader: TestClaims = { organization: 'alpha', roles: ['reader'] }

const organization = (rows: number) => ({
  sql: `CREATE TABLE items (key bigint PRIMARY KEY, name text COLLATE "C" NOT NULL);
    INSERT INTO items SELECT n, repeat('é', 60) || n FROM generate_series(1, ${rows}) AS n; CREATE INDEX ON items (name, key)`,
  roles: { reader: { read: { Item: { fields: 'all' } }, crossOrganization: ['testing'] } },
})
const world: TestWorld = {
  contract: 'type Item @entity { key: ID!  name: String! }',
  organizations: { alpha: organization(MANY), beta: organization(10) },
  agreements: [agreementOf('beta', 'alpha', { Item: { allow: ['key', 'name'] } })],
}
const LONG = `{ items(first: ${MANY}, organizations: ["alpha"]) { nodes { key name } } }`

interface Leaf {
  readonly id: string
  readonly kind: string
  readonly intent?: string
  readonly outcome?: string
  readonly code?: string | null
}

let gateway: TestGateway
let ledger: pg.Client
let admin: pg.Client

beforeAll(async () => {
  gateway = await startTestGateway({
    world,
    gateway: {
      limits: { pageRows: 1_000_000, cost: 5_000_000, buffered: '64KiB', concurrentPerPrincipal: 2 },
      reload: '100ms',
      clockTolerance: '0s',
      audit: { timeout: '20s' },
    },
  })
  ledger = await gateway.ledgerClient()
  admin = await gateway.connect('postgres')
}, 60_000)
afterAll(() => gateway.stop())

async function leaves(): Promise<readonly Leaf[]> {
  const { rows } = await ledger.query<{ leaf: string }>(`SELECT leaf FROM concordat.ledger_entries WHERE ledger = 'alpha' ORDER BY "index"`)
  return rows.map(({ leaf }) => JSON.parse(leaf) as Leaf)
}

async function busyBackends(): Promise<number> {
  const { rows } = await admin.query<{ count: string }>(`SELECT count(*) FROM pg_stat_activity WHERE application_name = 'concordat' AND state <> 'idle'`)
  return Number(rows[0]?.count)
}

async function tokenFor(lifetimeSeconds: number): Promise<string> {
  const { privateJwk, issuer } = gateway.party('alpha')
  const claims = { audience: 'https://gateway.example/graphql', subject: 'soon@alpha.example', roles: ['reader'], purposes: ['testing'], claims: {} }
  return issueToken({ privateJwk, issuer, ...claims, lifetimeSeconds, nowMs: Date.now() })
}

/** A reader that takes a little at a time, for longer than any test here. */
async function openSlowly(token: string, document = LONG): Promise<{ readonly response: IncomingMessage; readonly ended: Promise<'whole' | 'broken off'> }> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const asking = httpRequest(`${gateway.url}/graphql`, { method: 'POST', headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` } })
    asking.on('response', resolve)
    asking.on('error', reject)
    asking.end(JSON.stringify({ query: document }))
  })
  const ended = new Promise<'whole' | 'broken off'>((resolve) => {
    response.once('error', () => resolve('broken off'))
    response.once('end', () => resolve('whole'))
  })
  response.on('data', () => {
    response.pause()
    setTimeout(() => response.resume(), 60)
  })
  return { response, ended }
}

async function lastOutcome(): Promise<Leaf | undefined> {
  return (await leaves()).filter(({ kind }) => kind === 'request-outcome').at(-1)
}

describe('an answer that streams', () => {
  it('ends soon after the token that asked for it', async () => {
    const { ended } = await openSlowly(await tokenFor(2))
    expect(await Promise.race([ended, delay(8_000, 'still going on')])).toBe('broken off')
    await eventually(async () => expect(await lastOutcome()).toMatchObject({ outcome: 'truncated', code: 'UNAUTHENTICATED' }), 2_000)
    await eventually(async () => expect(await busyBackends()).toBe(0), 1_500)
  }, 20_000)

  it('ends soon after an agreement has ended, though it be read by nobody meanwhile', async () => {
    const agreementEndsMs = Math.ceil(Date.now() / 1_000) * 1_000 + 3_000
    await gateway.writeAgreement(
      agreementOf('beta', 'alpha', { Item: { allow: ['key', 'name'] } }, { version: 2, until: new Date(agreementEndsMs).toISOString().replace('.000', '') }),
    )
    await eventually(() => expect(gateway.log.filter(({ event }) => event === 'policies-loaded').length).toBeGreaterThan(1), 2_000)
    const { response, ended } = await openSlowly(await gateway.token(reader))
    response.removeAllListeners('data')
    response.pause()
    await eventually(async () => expect(await lastOutcome()).toMatchObject({ outcome: 'truncated', code: 'POLICY_STALE' }), 9_000)
    expect(Date.now()).toBeGreaterThanOrEqual(agreementEndsMs)
    await eventually(async () => expect(await busyBackends()).toBe(0), 1_500)
    response.resume()
    expect(await ended).toBe('broken off')
  }, 20_000)

  it('is whole once its data are given, though policies are found to have changed while its outcome is recorded', async () => {
    const { response, ended } = await openSlowly(await gateway.token(reader))
    response.removeAllListeners('data')
    response.pause()
    const writer = await gateway.ledgerClient()
    await writer.query('BEGIN; LOCK TABLE concordat.policy_epoch IN ACCESS EXCLUSIVE MODE')
    await delay(2_500) // a look at the policies is under way
    const pieces: Buffer[] = []
    response.on('data', (piece: Buffer) => pieces.push(piece))
    response.resume()
    const all = (): Buffer => Buffer.concat(pieces)
    await eventually(() => expect(all().subarray(-3).toString()).toBe(']}}'), 5_000) // all data, and nothing of what comes with the outcome
    await writer.query('UPDATE concordat.policy_epoch SET epoch = epoch + 1; COMMIT')
    expect(await ended).toBe('whole')
    const { id, ...outcome } = (await lastOutcome())!
    expect(outcome).toMatchObject({ outcome: 'answered', code: null })
    expect((JSON.parse(all().toString()) as AnswerBody).extensions.sovereignty.receipt?.entry).toBe(id)
  }, 20_000)

  it('holds a seat of its principal until it has ended', async () => {
    const token = await gateway.token(reader)
    const [first, second] = [await openSlowly(token), await openSlowly(token)]
    const refused = await gateway.ask(reader, '{ items(first: 1, organizations: ["alpha"]) { nodes { key } } }')
    expect([refused.status, refused.json.errors?.[0]?.extensions.code]).toEqual([429, 'TOO_MANY_REQUESTS'])
    first.response.destroy()
    await eventually(async () => expect((await gateway.ask(reader, '{ items(first: 1, organizations: ["alpha"]) { nodes { key } } }')).status).toBe(200), 2_000)
    second.response.destroy()
    await eventually(async () => expect(await busyBackends()).toBe(0), 2_000)
  })

  it('has one outcome, whole or not', async () => {
    const whole = await gateway.ask(reader, `{ items(first: 2000, organizations: ["alpha"]) { nodes { key name } } }`)
    expect(whole.headers.get('content-length')).toBeNull()
    await eventually(async () => expect((await leaves()).filter(({ kind }) => kind === 'request-outcome')).toHaveLength(6), 2_000)
    const all = await leaves()
    const intents = all.filter(({ kind }) => kind === 'request-intent').map(({ id }) => id)
    const outcomes = all.filter(({ kind }) => kind === 'request-outcome')
    expect(outcomes.map(({ intent }) => intent).sort()).toEqual([...intents].sort())
    expect(outcomes.map(({ outcome }) => outcome).sort()).toEqual(['answered', 'answered', 'truncated', 'truncated', 'truncated', 'truncated'])
    // Nobody has tried to add a second one, either.
    const causes = gateway.log.filter(({ event }) => event === 'failed').map(({ cause }) => (cause as { readonly code?: string }).code)
    expect(causes.filter((code) => code !== 'POLICY_STALE' && code !== 'UNAUTHENTICATED' && code !== 'CANCELLED')).toEqual([])
  })
})
