import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals'
import pg from 'pg'
import { includes, inclusionRanges, leafHash } from '../../src/audit/merkle.js'
import { migrate, MIGRATIONS } from '../../src/audit/migrate.js'
import { startTestPostgres, withClient, type TestPostgres } from '../support/postgres.js'
import { append, codeOf, disclosure, ground, open, record, type Ground, type OpenAudit } from './fixture.js'

let postgres: TestPostgres
beforeAll(async () => {
  postgres = await startTestPostgres()
})
afterAll(async () => {
  await postgres.stop()
})

describe('the ledger', () => {
  it('gives a receipt for each ledger concerned, for an entry that is in the database', async () => {
    const on = await ground(postgres)
    const audit = await open(on)
    const receipts = await audit.ledger.append(record(disclosure('ana', ['aurora', 'borealis'])))
    expect([...receipts.keys()].sort()).toEqual(['aurora', 'borealis'])
    await withClient(on.url, async (client) => {
      for (const [ledger, receipt] of receipts) {
        const { rows } = await client.query('SELECT * FROM concordat.ledger_entries WHERE ledger = $1', [ledger])
        expect(rows).toHaveLength(1)
        expect(rows[0]).toMatchObject({ index: '0', entry_id: receipt.entry, subject: 'ana', purpose: 'operations' })
        expect(leafHash(Buffer.from(rows[0].leaf)).toString('base64')).toBe(receipt.leaf)
        expect(rows[0].leaf_hash.toString('base64')).toBe(receipt.leaf)
        expect(rows[0].salt).toHaveLength(32)
        expect(rows[0].at.toISOString()).toBe(JSON.parse(rows[0].leaf).time)
      }
    })
    await audit.end()
  })

  it('lets requests in flight share a commit, and gives each dense places in every ledger', async () => {
    const on = await ground(postgres)
    const audit = await open(on, { checkpointMs: 60_000 })
    const before = await commits(on)
    const receipts = await append(audit, 600)
    expect((await commits(on)) - before).toBeLessThan(20)
    for (const ledger of ['aurora', 'borealis']) {
      expect(receipts.map((receipt) => receipt.get(ledger)?.index).sort((a, b) => Number(a) - Number(b))).toEqual([...Array(600).keys()])
    }
    await expectTreesToHold(audit, { aurora: 600, borealis: 600, cascade: 0 })
    await audit.end()
  })

  it('keeps two processes on one ledger in one tree', async () => {
    const on = await ground(postgres)
    const [first, second] = await Promise.all([open(on), open(on)])
    const rounds = Array.from({ length: 10 }, () => Promise.all([append(first, 30), append(second, 30)]))
    const receipts = (await Promise.all(rounds)).flat(2)
    const indices = receipts.map((receipt) => receipt.get('aurora')?.index).sort((a, b) => Number(a) - Number(b))
    expect(indices).toEqual([...Array(600).keys()])
    await expectTreesToHold(first, { aurora: 600, borealis: 600 })
    await expectTreesToHold(second, { aurora: 600, borealis: 600 })
    await Promise.all([first.end(), second.end()])
  })

  it('commits in one round trip while nobody else writes, and reads first when somebody did', async () => {
    const on = await ground(postgres)
    const [first, second] = await Promise.all([open(on, { checkpointMs: 60_000 }), open(on, { checkpointMs: 60_000 })])
    const query = jest.spyOn(pg.Client.prototype, 'query')
    const trips = async (audit: OpenAudit): Promise<number> => {
      const before = query.mock.calls.length
      await audit.ledger.append(record())
      return query.mock.calls.length - before
    }
    expect([await trips(first), await trips(first), await trips(first), await trips(first)]).toEqual([2, 2, 1, 1])
    expect(await trips(second)).toBe(2)
    // What the first believes no longer holds: it looks in vain once, and believes itself again once it found everything as it had left it.
    expect([await trips(first), await trips(first), await trips(first)]).toEqual([3, 2, 1])
    await first.ledger.adoptEpoch('sha256:other')
    expect(await codeOf(first.ledger.append(record()))).toBe('POLICY_STALE')
    expect(await codeOf(first.ledger.append(record(disclosure(), 1)))).toBe('none')
    query.mockRestore()
    await expectTreesToHold(first, { aurora: 9, borealis: 9 })
    await Promise.all([first.end(), second.end()])
  })

  it('goes on without prepared statements where the server does not keep them', async () => {
    const audit = await open(await ground(postgres), { checkpointMs: 60_000 })
    await append(audit, 3)
    for (const sql of ['DEALLOCATE ALL', 'SELECT 1']) {
      // All connections of the pool at once.
      const clients = await Promise.all(Array.from({ length: 4 }, () => audit.pool.connect()))
      for (const client of clients) await client.query(sql)
      for (const client of clients) client.release()
      expect(await codeOf(audit.ledger.append(record()))).toBe('none')
    }
    await expectTreesToHold(audit, { aurora: 5, borealis: 5 })
    await audit.end()
  })

  it('refuses entries of another epoch alone, and takes the others of the same batch', async () => {
    const on = await ground(postgres)
    const audit = await open(on)
    const other = await open(on)
    expect(await audit.ledger.adoptEpoch('sha256:first')).toEqual({ epoch: 1, digest: 'sha256:first' })
    expect(await other.ledger.adoptEpoch('sha256:first')).toEqual({ epoch: 1, digest: 'sha256:first' })
    expect(await other.ledger.adoptEpoch('sha256:second')).toEqual({ epoch: 2, digest: 'sha256:second' })
    expect(await audit.ledger.currentEpoch()).toEqual({ epoch: 2, digest: 'sha256:second' })
    const codes = await Promise.all([0, 1, 2, 3, 2].map((epoch) => codeOf(audit.ledger.append(record(disclosure(), epoch)))))
    expect(codes).toEqual(['POLICY_STALE', 'POLICY_STALE', 'none', 'POLICY_STALE', 'none'])
    await expect(audit.ledger.append(record(disclosure(), 1))).rejects.toMatchObject({ name: 'StaleEpoch', current: 2 })
    expect((await audit.store.state('aurora')).size).toBe(2)
    await Promise.all([audit.end(), other.end()])
  })

  it('takes no entry of an organization whose ledger is not kept here', async () => {
    const audit = await open(await ground(postgres))
    expect(await codeOf(audit.ledger.append(record(disclosure('ana', ['delta']))))).toBe('AUDIT_UNAVAILABLE')
    expect((await audit.store.state('aurora')).size).toBe(0)
    await audit.end()
  })

  it('refuses at once when too many wait, and keeps the others', async () => {
    const audit = await open(await ground(postgres), { limits: { queueMax: 5 } })
    const codes = await Promise.all(Array.from({ length: 8 }, () => codeOf(audit.ledger.append(record()))))
    expect(codes).toEqual(['none', 'none', 'none', 'none', 'none', 'AUDIT_UNAVAILABLE', 'AUDIT_UNAVAILABLE', 'AUDIT_UNAVAILABLE'])
    expect(await codeOf(audit.ledger.append(record()))).toBe('none')
    await audit.end()
  })

  it('splits what is more than one commit may hold', async () => {
    const audit = await open(await ground(postgres), { limits: { batchMax: 7 } })
    await append(audit, 50)
    await expectTreesToHold(audit, { aurora: 50, borealis: 50 })
    await audit.end()
  })

  it('gives no receipt in time while another holds the lock, and works again when it is free', async () => {
    const on = await ground(postgres)
    const audit = await open(on, { limits: { timeoutMs: 300 } })
    await withClient(on.url, async (client) => {
      await client.query('BEGIN')
      await client.query('SELECT pg_advisory_xact_lock(1668247139, 2)')
      const started = Date.now()
      expect(await Promise.all([codeOf(audit.ledger.append(record())), codeOf(audit.ledger.append(record()))])).toEqual([
        'AUDIT_UNAVAILABLE',
        'AUDIT_UNAVAILABLE',
      ])
      expect(Date.now() - started).toBeLessThan(1_000)
      await client.query('COMMIT')
    })
    await eventually(async () => expect(await codeOf(audit.ledger.append(record()))).toBe('none'))
    await audit.end()
  })

  it('survives any string that a token can hold', async () => {
    const on = await ground(postgres)
    const audit = await open(on)
    const subjects = ['nul \0 byte', 'half \ud800 surrogate', '"quotes" \\ {braces},', 'emoji 🜁', '', "'; DROP TABLE x; --"]
    await Promise.all(subjects.map((subject) => audit.ledger.append(record(disclosure(subject)))))
    for (const subject of subjects) {
      const found = await audit.store.newest('aurora', { subject }, 10)
      expect(found.map(({ text }) => JSON.parse(text).principal.subject)).toEqual([subject])
    }
    await expectTreesToHold(audit, { aurora: subjects.length })
    await audit.end()
  })

  it('takes nothing more once closed, and finishes what it took', async () => {
    const on = await ground(postgres)
    const audit = await open(on)
    const taken = append(audit, 20)
    const ended = audit.end()
    expect(await codeOf(audit.ledger.append(record()))).toBe('AUDIT_UNAVAILABLE')
    expect(await taken).toHaveLength(20)
    await ended
  })

  it('counts refusals of strangers by code without waiting, and once', async () => {
    const on = await ground(postgres)
    const audit = await open(on, { limits: { refusalsMs: 20 } })
    for (let at = 0; at < 1000; at++) audit.ledger.countRefusal(at % 4 === 0 ? 'BAD_REQUEST' : 'UNAUTHENTICATED')
    await eventually(async () => expect(await refusals(on)).toEqual({ BAD_REQUEST: 250, UNAUTHENTICATED: 750 }))
    audit.ledger.countRefusal('BAD_REQUEST')
    await audit.end()
    expect(await refusals(on)).toEqual({ BAD_REQUEST: 251, UNAUTHENTICATED: 750 })
  })
})

describe('the gateway database', () => {
  it('is migrated once, by several at the same time', async () => {
    const url = (await postgres.createDatabase()).url()
    const applied = await Promise.all(Array.from({ length: 4 }, () => withClient(url, (client) => migrate(client, { directory: MIGRATIONS }))))
    expect(applied.filter((names) => names.length > 0)).toHaveLength(1)
  })

  it('refuses a migration that has changed, and one that this version does not know', async () => {
    const { url } = await ground(postgres)
    await withClient(url, async (client) => {
      await client.query(`UPDATE concordat.migrations SET checksum = 'another' WHERE name = '0001-ledger.sql'`)
      await expect(migrate(client, { directory: MIGRATIONS })).rejects.toThrow('has changed')
      await client.query(`DELETE FROM concordat.migrations`)
      await client.query(`INSERT INTO concordat.migrations VALUES ('9999-later.sql', '')`)
      await expect(migrate(client, { directory: MIGRATIONS })).rejects.toThrow()
    })
  })

  it('lets nobody change or remove an entry by a slip, and the serving role not at all', async () => {
    const on = await ground(postgres)
    const role = `gateway_${Date.now()}`
    await withClient(on.url, async (client) => {
      await client.query(`CREATE ROLE ${pg.escapeIdentifier(role)} LOGIN`)
      await migrate(client, { directory: MIGRATIONS, gatewayRole: role })
    })
    const serving = { ...on, url: on.url.replace(/^(postgres(?:ql)?:\/\/)[^@/]*@/, `$1${role}@`) }
    const audit = await open(serving)
    expect((await audit.pool.query('SELECT current_user AS name')).rows[0].name).toBe(role)
    await append(audit, 300)
    audit.ledger.countRefusal('UNAUTHENTICATED')
    await audit.ledger.adoptEpoch('sha256:x')
    for (const change of [
      `UPDATE concordat.ledger_entries SET subject = 'x'`,
      'DELETE FROM concordat.ledger_entries',
      'TRUNCATE concordat.ledger_entries',
      'DELETE FROM concordat.ledger_subtrees',
      'DELETE FROM concordat.ledger_state',
      'ALTER TABLE concordat.ledger_entries DISABLE TRIGGER ALL',
    ]) {
      expect(await codeOf(audit.pool.query(change))).toBe('42501')
    }
    await audit.end()
    await withClient(on.url, async (client) => {
      for (const change of [
        `UPDATE concordat.ledger_entries SET subject = 'x'`,
        'DELETE FROM concordat.ledger_subtrees',
        'TRUNCATE concordat.ledger_entries',
      ]) {
        expect(await codeOf(client.query(change))).toBe('42501')
      }
    })
  })
})

/** Every entry's proof leads to the root that the state gives, also over several stored levels' borders. */
async function expectTreesToHold(audit: OpenAudit, sizes: Readonly<Record<string, number>>): Promise<void> {
  for (const [ledger, size] of Object.entries(sizes)) {
    const state = await audit.store.state(ledger)
    expect(state.size).toBe(size)
    const root = state.frontier.root()
    const tree = audit.store.tree(ledger, size)
    let index = 0
    for await (const entry of audit.store.entries(ledger, {}, size)) {
      expect(entry.index).toBe(index)
      const proof = await tree.hashes(inclusionRanges(index, size))
      if (!includes({ index, size, leaf: leafHash(Buffer.from(entry.text)), proof, root })) throw new Error(`entry ${index} of ${ledger} is not proven`)
      index += 1
    }
    expect(index).toBe(size)
  }
}

async function commits(on: Ground): Promise<number> {
  return withClient(on.url, async (client) => {
    const { rows } = await client.query(`SELECT count(DISTINCT xmin::text)::int AS count FROM concordat.ledger_entries`)
    return rows[0].count as number
  })
}

async function refusals(on: Ground): Promise<Record<string, number>> {
  return withClient(on.url, async (client) => {
    const { rows } = await client.query<{ code: string; count: number }>(
      `SELECT code, sum(count)::int AS count FROM concordat.refusal_counts GROUP BY code ORDER BY code`,
    )
    return Object.fromEntries(rows.map(({ code, count }) => [code, count]))
  })
}

async function eventually(claim: () => Promise<void>): Promise<void> {
  const end = Date.now() + 5_000
  for (;;) {
    try {
      await claim()
      return
    } catch (error) {
      if (Date.now() > end) throw error
      await new Promise((resolve) => setTimeout(resolve, 25))
    }
  }
}
