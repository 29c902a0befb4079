import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { createHash, createHmac } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type pg from 'pg'
import type { TestAnswer, TestClaims, TestGateway } from '../support/gateway.js'
import { LEDGER_ROLE, startTestGateway } from '../support/gateway.js'
import { lawsWorld } from './world.js'

const chief: TestClaims = { organization: 'alpha', roles: ['chief'] }
const stranger: TestClaims = { organization: 'delta', roles: ['chief'] }

let gateway: TestGateway
let ledger: pg.Client

beforeAll(async () => {
  gateway = await startTestGateway({ world: lawsWorld(), gateway: { audit: { timeout: '400ms', refusals: '1s' }, limits: { concurrentPerPrincipal: 4 } } })
  ledger = await gateway.ledgerClient()
}, 60_000)
afterAll(() => gateway.stop())

interface Leaf {
  readonly id: string
  readonly kind: string
  readonly requestId: string
  readonly outcome: string
  readonly code: string | null
  readonly operation: string | null
  readonly principal: { readonly subject: string; readonly organization: string }
  readonly sections: readonly {
    readonly organization?: string
    readonly requestId?: string | null
    readonly rows: number
    readonly contribution: string | null
    readonly outcome: string
  }[]
}

/** The entry that an answer's receipt names; its hash is that of the receipt and of the leaf itself. */
async function entryOf(answer: TestAnswer): Promise<Leaf> {
  const receipt = answer.json.extensions.sovereignty?.receipt
  if (!receipt) throw new Error(`an answer without a receipt: ${answer.text}`)
  const { rows } = await ledger.query<{ leaf: string; hash: string }>(
    `SELECT leaf, encode(leaf_hash, 'base64') AS hash FROM concordat.ledger_entries WHERE ledger = $1 AND entry_id = $2`,
    [receipt.ledger, receipt.entry],
  )
  const [row] = rows
  if (!row) throw new Error(`there is no entry for the receipt ${JSON.stringify(receipt)}`)
  expect(row.hash).toBe(receipt.leaf)
  expect(createHash('sha256').update('\0').update(row.leaf).digest('base64')).toBe(receipt.leaf)
  return JSON.parse(row.leaf) as Leaf
}

describe('an answer and its entry', () => {
  it.each<[string, TestClaims, string, { status: number; outcome: string; code: string | null }]>([
    ['data of several owners', chief, 'query Many { tasks { totalCount nodes { key } } }', { status: 200, outcome: 'answered', code: null }],
    ['no rows', chief, 'query None { tasks(where: { or: [] }) { nodes { key } } }', { status: 200, outcome: 'answered', code: null }],
    ['the schema', chief, '{ __schema { queryType { name } } }', { status: 200, outcome: 'answered', code: null }],
    ['a document that does not parse', chief, '{ tasks', { status: 400, outcome: 'refused', code: 'GRAPHQL_PARSE_FAILED' }],
    ['a document that does not fit', chief, '{ nothing }', { status: 400, outcome: 'refused', code: 'GRAPHQL_VALIDATION_FAILED' }],
    ['a field that is denied', chief, '{ tasks(orderBy: [{ day: ASC }]) { totalCount } }', { status: 403, outcome: 'refused', code: 'FIELD_NOT_USABLE' }],
    [
      'an organization without agreement',
      chief,
      '{ tasks(organizations: ["delta"]) { totalCount } }',
      { status: 403, outcome: 'refused', code: 'NO_AGREEMENT' },
    ],
    [
      'too much',
      chief,
      '{ tasks(first: 1000) { nodes { owner { tasks(first: 100) { totalCount } } } } }',
      { status: 400, outcome: 'refused', code: 'QUERY_TOO_COSTLY' },
    ],
    ['somebody without roles', stranger, '{ tasks { totalCount } }', { status: 403, outcome: 'refused', code: 'FORBIDDEN' }],
  ])('agree where the answer is %s', async (_what, principal, document, expected) => {
    const answer = await gateway.ask(principal, document)
    const entry = await entryOf(answer)
    expect({ status: answer.status, outcome: entry.outcome, code: entry.code }).toEqual(expected)
    expect(entry).toMatchObject({ kind: 'request', requestId: answer.json.extensions.requestId, principal: { organization: principal.organization } })
    if (expected.code !== null) expect(answer.json.data).toBeUndefined()
  })

  it('stand in the ledger of every owner that was asked, with its own rows only', async () => {
    const answer = await gateway.ask(chief, 'query Secret { tasks(first: 100) { nodes { organization } } }')
    const entry = await entryOf(answer)
    const given = (organization: string): number =>
      (answer.json.data.tasks.nodes as { organization: string }[]).filter((node) => node.organization === organization).length
    expect(entry.sections.map(({ organization, rows }) => [organization, rows])).toEqual(['alpha', 'beta', 'gamma'].map((id) => [id, given(id)]))
    for (const { organization, requestId } of entry.sections.filter((section) => section.organization !== 'alpha')) {
      const { rows } = await ledger.query<{ leaf: string }>(
        `SELECT leaf FROM concordat.ledger_entries WHERE ledger = $1 AND leaf::jsonb ->> 'requestId' = $2`,
        [organization, requestId],
      )
      expect(rows).toHaveLength(1)
      const theirs = JSON.parse(rows[0]?.leaf ?? '') as Leaf
      expect(theirs).toMatchObject({
        kind: 'disclosure',
        ledger: organization,
        purpose: 'testing',
        principal: { subject: 'somebody@alpha.example', organization: 'alpha' },
      })
      expect(theirs.sections.map(({ rows: count }) => count)).toEqual([given(organization ?? '')])
      for (const other of ['alpha"', 'beta', 'gamma', 'Secret', entry.requestId].filter((word) => word !== organization && word !== 'alpha"')) {
        if (organization !== other) expect(rows[0]?.leaf).not.toContain(other)
      }
    }
    const { rowCount } = await ledger.query(`SELECT FROM concordat.ledger_entries WHERE ledger = 'delta' AND kind = 'disclosure'`)
    expect(rowCount).toBe(0)
  })

  it("agree on what was given: the entry pins the texts of each owner's rows, in the order of the answer", async () => {
    const answer = await gateway.ask(chief, '{ tasks(first: 100, orderBy: [{ status: ASC }]) { nodes { organization key } } }')
    const entry = await entryOf(answer)
    const { rows } = await ledger.query<{ salt: Buffer }>('SELECT salt FROM concordat.ledger_entries WHERE entry_id = $1', [entry.id])
    const texts = [...answer.text.matchAll(/\{"organization":"(\w+)","key":"[^"]*"\}/g)]
    expect(texts).toHaveLength((answer.json.data.tasks.nodes as unknown[]).length)
    for (const { organization, contribution } of entry.sections) {
      const own = texts.filter(([, owner]) => owner === organization).map(([text]) => text)
      const hash = createHash('sha256')
        .update(`[${own.join(',')}]`)
        .digest()
      expect(contribution).toBe(
        createHmac('sha256', rows[0]?.salt ?? '')
          .update('contribution\0')
          .update(hash)
          .digest('base64'),
      )
    }
  })

  it('are counted where nobody is known', async () => {
    const answers = await Promise.all([1, 2, 3].map(() => gateway.ask(null, '{ tasks { totalCount } }')))
    for (const { status, json } of answers) {
      expect(status).toBe(401)
      expect(json.data).toBeUndefined()
      expect(json.extensions.sovereignty?.receipt).toBeUndefined()
    }
    const count = async (): Promise<number> => {
      const { rows } = await ledger.query<{ sum: string | null }>(`SELECT sum(count) FROM concordat.refusal_counts WHERE code = 'UNAUTHENTICATED'`)
      return Number(rows[0]?.sum ?? 0)
    }
    for (let waited = 0; waited < 5_000 && (await count()) < 3; waited += 50) await delay(50)
    expect(await count()).toBe(3)
  })
})

describe('without a durable entry', () => {
  const document = '{ tasks(first: 3) { totalCount nodes { key title } } }'
  const database = (): string => gateway.database('gateway')

  async function expectNothing(answer: TestAnswer): Promise<void> {
    expect({ status: answer.status, codes: answer.json.errors?.map(({ extensions }) => extensions.code), data: answer.json.data }).toEqual({
      status: 503,
      codes: ['AUDIT_UNAVAILABLE'],
      data: undefined,
    })
    expect(answer.text).not.toContain('title')
    expect(answer.headers.get('retry-after')).toBe('1')
  }

  /** Everything is answered again. */
  beforeEach(async () => {
    for (let waited = 0; waited < 10_000; waited += 50) {
      if ((await gateway.ask(chief, document)).status === 200) return
      await delay(50)
    }
    throw new Error('the gateway does not recover')
  })

  it('there is no answer while the ledgers may not be written', async () => {
    await ledger.query(`REVOKE INSERT ON concordat.ledger_entries FROM ${LEDGER_ROLE}`)
    try {
      for (const asked of [document, '{ nothing }', '{ tasks(orderBy: [{ day: ASC }]) { totalCount } }', '{ __typename }'])
        await expectNothing(await gateway.ask(chief, asked))
    } finally {
      await ledger.query(`GRANT INSERT ON concordat.ledger_entries TO ${LEDGER_ROLE}`)
    }
  })

  it('there is no answer while the database is down', async () => {
    const admin = await gateway.connect('postgres')
    await admin.query(`ALTER DATABASE ${database()} ALLOW_CONNECTIONS false`)
    await admin.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND usename = $2`, [database(), LEDGER_ROLE])
    try {
      const answers = await Promise.all([document, '{ nothing }', document].map((asked) => gateway.ask(chief, asked)))
      for (const answer of answers) await expectNothing(answer)
    } finally {
      await admin.query(`ALTER DATABASE ${database()} ALLOW_CONNECTIONS true`)
    }
  })

  it('there is no answer while another one holds the ledgers, and no entry comes later for one that was given up', async () => {
    await ledger.query('BEGIN; LOCK TABLE concordat.ledger_entries IN ACCESS EXCLUSIVE MODE')
    const started = performance.now()
    const answer = await gateway.ask(chief, document)
    expect(performance.now() - started).toBeLessThan(1_500)
    await expectNothing(answer)
    await ledger.query('COMMIT')
  })

  it('no entry is missing for an answer that came while the database went away and came back', async () => {
    const admin = await gateway.connect('postgres')
    const answers: TestAnswer[] = []
    const people = Array.from({ length: 6 }, (_unused, index): TestClaims => ({ ...chief, subject: `person-${index}` }))
    let isOver = false
    const asking = people.map(async (person) => {
      while (!isOver) answers.push(await gateway.ask(person, document))
    })
    for (let round = 0; round < 6; round++) {
      await delay(60)
      await admin.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND usename = $2`, [database(), LEDGER_ROLE])
    }
    await delay(200)
    isOver = true
    await Promise.all(asking)
    const given = answers.filter(({ json }) => json.data !== undefined)
    expect(given.length).toBeGreaterThan(5)
    for (const answer of given) expect((await entryOf(answer)).outcome).toBe('answered')
    for (const answer of answers.filter(({ json }) => json.data === undefined)) await expectNothing(answer)
  })
})
