import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { randomBytes } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { exportLedger } from '../../src/audit/export.js'
import { IntentClosed } from '../../src/audit/ledger.js'
import { saltedDigest } from '../../src/audit/record.js'
import { verifyBundle } from '../../src/audit/verify.js'
import { auditList } from '../../src/cli/audit.js'
import { startTestPostgres, withClient, type TestPostgres } from '../support/postgres.js'
import { codeOf, disclosure, ending, ground, intent, open, record, type Ground, type OpenAudit } from './fixture.js'
import { compileWriter, startWriter } from './process.js'

let postgres: TestPostgres
let writer: string
beforeAll(async () => {
  ;[postgres, writer] = await Promise.all([startTestPostgres(), compileWriter()])
})
afterAll(async () => {
  await postgres.stop()
  await rm(join(writer, '../../..'), { recursive: true, force: true })
})

describe('a streamed answer', () => {
  it('has an intent before its first byte and an outcome after its last, in every ledger concerned', async () => {
    const on = await ground(postgres)
    const audit = await open(on)
    const begun = await audit.ledger.begin(intent())
    expect([...begun.receipts.keys()].sort()).toEqual(['aurora', 'borealis'])
    expect(await openIntents(on)).toBe(2)
    const [began] = await entries(audit, 'aurora')
    expect(began).toMatchObject({
      v: 2,
      kind: 'request-intent',
      id: begun.receipts.get('aurora')?.entry,
      lease: expect.any(String),
      principal: { subject: 'ana', roles: ['analyst'], token: expect.any(String) },
      document: expect.any(String),
      sections: [
        { organization: 'aurora', requestId: null, cost: 25, source: { kind: 'roles' }, stores: ['main'], types: [{ type: 'Agent' }] },
        { organization: 'borealis', requestId: expect.any(String), source: { kind: 'agreement' } },
      ],
    })
    for (const key of ['rows', 'contribution', 'outcome', 'code', 'durationMs']) {
      expect(began).not.toHaveProperty(key)
      expect(began.sections[0]).not.toHaveProperty(key)
    }
    const receipts = await begun.end({ ...ending(3), outcome: 'truncated' })
    expect(await openIntents(on)).toBe(0)
    const [, ended] = await entries(audit, 'aurora')
    expect(ended).toMatchObject({
      kind: 'request-outcome',
      id: receipts.get('aurora')?.entry,
      intent: began.id,
      requestId: began.requestId,
      outcome: 'truncated',
      durationMs: 1_234,
      sections: [
        { organization: 'aurora', requestId: null, rows: 3, outcome: 'truncated' },
        { organization: 'borealis', requestId: began.sections[1].requestId, rows: 3 },
      ],
    })
    const [hers, herEnd] = await entries(audit, 'borealis')
    expect(hers).toMatchObject({ kind: 'disclosure-intent', requestId: began.sections[1].requestId, sections: [{ source: { kind: 'agreement' } }] })
    expect(herEnd).toMatchObject({ kind: 'disclosure-outcome', intent: hers.id, requestId: hers.requestId, sections: [{ rows: 3, outcome: 'truncated' }] })
    for (const word of ['aurora-only', 'analyst', began.requestId, '"cost":50', 'id.aurora.example', '1234']) {
      expect(JSON.stringify([hers, herEnd])).not.toContain(word)
    }
    const salt = await saltOf(on, 'borealis', 1)
    expect(herEnd.sections[0].contribution).toBe(
      saltedDigest({ salt, pinned: 'contribution', sha256: ending(3).owners[0]?.contribution?.digest() ?? Buffer.alloc(0) }),
    )
    await audit.end()
  })

  it('is exported, verified and listed like any other', async () => {
    const on = await ground(postgres)
    const audit = await open(on)
    await audit.ledger.append(record())
    const begun = await audit.ledger.begin(intent('ben'))
    await begun.end(ending())
    await audit.ledger.append(record())
    const lines: string[] = []
    await exportLedger({ organization: 'aurora', filter: {}, subject: 'olivia' }, { ...audit, now: Date.now, random: randomBytes }, async (line) => {
      lines.push(line)
    })
    const key = on.signers.get('aurora') ?? null
    expect(await verifyBundle(streamed(lines.join('')), { key, receipt: null, problemsMax: 9 })).toMatchObject({ verified: true, complete: true, entries: 4 })
    const printed: string[] = []
    for (const organization of ['aurora', 'borealis']) {
      await auditList({ organization, filter: { subject: 'ben' }, rowsMax: 9, json: false }, audit.store, (text) => printed.push(text))
    }
    expect(printed.join('')).toMatch(/ended \S+: answered {2}aurora: 3 rows; borealis: 3 rows\n.*began aurora: Agent under analyst v7; borealis: Agent under/)
    expect(printed.join('')).toMatch(/ended \S+: answered 3 rows\n.*began Agent under borealis-aurora-operations v3\n$/)
    await audit.end()
  })

  it('is judged when it begins: its outcome is taken whatever policies are in force by then', async () => {
    const on = await ground(postgres)
    const audit = await open(on)
    const begun = await audit.ledger.begin(intent())
    await audit.ledger.adoptEpoch('sha256:next')
    expect(await codeOf(audit.ledger.begin(intent()))).toBe('POLICY_STALE')
    expect(await codeOf(audit.ledger.append(record()))).toBe('POLICY_STALE')
    // Together with others in one batch.
    const codes = await Promise.all([codeOf(begun.end(ending())), codeOf(audit.ledger.append(record(disclosure(), 1))), codeOf(audit.ledger.append(record()))])
    expect(codes).toEqual(['none', 'none', 'POLICY_STALE'])
    expect(await openIntents(on)).toBe(0)
    await audit.end()
  })

  it('stays open while its process renews its lease', async () => {
    const on = await ground(postgres)
    const [serving, other] = await Promise.all([open(on, { limits: { leaseMs: 1_500, renewMs: 200, sweepMs: 60_000 } }), open(on)])
    const begun = await serving.ledger.begin(intent())
    for (let round = 0; round < 6; round++) {
      await sleep(500)
      await other.ledger.sweep()
    }
    expect(await openIntents(on)).toBe(2)
    await begun.end(ending())
    expect(await outcomes(other, 'aurora')).toEqual(['answered'])
    await Promise.all([serving.end(), other.end()])
  })

  it('can be ended after its lease has expired, unless somebody has closed it: then the ledger says unknown, and so does its process', async () => {
    const on = await ground(postgres)
    // As if it was held up: it comes to no renewal.
    const [held, other] = await Promise.all([open(on, { limits: { leaseMs: 500, renewMs: 60_000, sweepMs: 60_000 } }), open(on)])
    const [first, second] = await Promise.all([held.ledger.begin(intent()), held.ledger.begin(intent())])
    await sleep(700)
    await first.end(ending())
    await other.ledger.sweep()
    await expect(second.end(ending())).rejects.toBeInstanceOf(IntentClosed)
    for (const ledger of ['aurora', 'borealis']) expect(await outcomes(other, ledger)).toEqual(['answered', 'unknown'])
    await Promise.all([held.end(), other.end()])
  })

  it('of a process that was killed is closed as unknown exactly once, by whoever looks', async () => {
    const on = await ground(postgres)
    const killed = startWriter(writer, on, { inFlight: 8, count: 40, intents: { leaseMs: 1_000 } })
    await killed.ready
    killed.go()
    await killed.told(80)
    killed.child.kill('SIGKILL')
    expect(await killed.ended).toBe('SIGKILL')
    const sweepers = await Promise.all([1, 2, 3].map(() => open(on, { limits: { sweepMs: 60_000 } })))
    await sleep(1_100)
    await Promise.all(sweepers.map(({ ledger }) => ledger.sweep()))
    await Promise.all(sweepers.map(({ ledger }) => ledger.sweep()))
    const [audit] = sweepers
    for (const ledger of ['aurora', 'borealis']) {
      const all = await entries(audit!, ledger)
      const intents = all.filter(({ kind }) => kind.endsWith('-intent')).map(({ id }) => id)
      const closed = all.filter(({ kind }) => kind.endsWith('-outcome'))
      expect(intents).toHaveLength(40)
      expect(closed.map((entry) => entry.intent).sort()).toEqual(intents.sort())
      for (const { sections } of closed) expect(sections[0]).toMatchObject({ rows: null, outcome: 'unknown', contribution: null })
    }
    expect(await openIntents(on)).toBe(0)
    // Its lease is gone as well.
    expect(await withClient(on.url, async (client) => (await client.query('SELECT FROM concordat.process_leases')).rowCount)).toBe(0)
    await Promise.all(sweepers.map((sweeper) => sweeper.end()))
  })

  it('whose outcome could not be confirmed is closed by its own process, though it lives on', async () => {
    const on = await ground(postgres)
    const audit = await open(on, { limits: { timeoutMs: 400, sweepMs: 200 } })
    const [begun, other] = await Promise.all([audit.ledger.begin(intent()), audit.ledger.begin(intent())])
    await withClient(on.url, async (client) => {
      await client.query('BEGIN')
      await client.query('SELECT pg_advisory_xact_lock(1668247139, 2)')
      expect(await codeOf(begun.end(ending()))).toBe('AUDIT_UNAVAILABLE')
      await client.query('COMMIT')
    })
    await eventually(async () => expect(await outcomes(audit, 'aurora')).toEqual(['unknown']))
    await other.end(ending())
    expect(await outcomes(audit, 'borealis')).toEqual(['unknown', 'answered'])
    await audit.end()
  })
})

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- what a leaf holds is what these tests are about
async function entries(audit: OpenAudit, ledger: string): Promise<any[]> {
  const found = []
  for await (const { text } of audit.store.entries(ledger, {}, (await audit.store.state(ledger)).size)) found.push(JSON.parse(text))
  return found
}

/** How each ended stream went, in the ledger's order. */
async function outcomes(audit: OpenAudit, ledger: string): Promise<string[]> {
  return (await entries(audit, ledger)).filter(({ kind }) => kind.endsWith('-outcome')).map(({ sections }) => sections[0].outcome)
}

async function openIntents(on: Ground): Promise<number> {
  return withClient(on.url, async (client) => (await client.query('SELECT FROM concordat.open_intents')).rowCount ?? 0)
}

async function saltOf(on: Ground, ledger: string, index: number): Promise<Buffer> {
  return withClient(on.url, async (client) => {
    const { rows } = await client.query(`SELECT salt FROM concordat.ledger_entries WHERE ledger = $1 AND "index" = $2`, [ledger, index])
    return rows[0].salt as Buffer
  })
}

async function* streamed(text: string): AsyncGenerator<Buffer> {
  yield Buffer.from(text)
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

async function eventually(claim: () => Promise<void>): Promise<void> {
  const end = Date.now() + 8_000
  for (;;) {
    try {
      await claim()
      return
    } catch (error) {
      if (Date.now() > end) throw error
      await sleep(50)
    }
  }
}
