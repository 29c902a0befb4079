import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Frontier, includes, inclusionRanges, leafHash } from '../../src/audit/merkle.js'
import { parseKey, formatKey, signCheckpoint, verifyCheckpoint } from '../../src/audit/checkpoint.js'
import type { Receipt } from '../../src/audit/ledger.js'
import { startTestPostgres, withClient, type TestPostgres } from '../support/postgres.js'
import { append, codeOf, ground, open, record, type Ground } from './fixture.js'
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

describe('processes', () => {
  it('that race give each other dense places in one tree', async () => {
    const on = await ground(postgres)
    const writers = [1, 2, 3].map(() => startWriter(writer, on, { inFlight: 16, count: 300 }))
    await Promise.all(writers.map(({ ready }) => ready))
    for (const { go } of writers) go()
    expect(await Promise.all(writers.map(({ ended }) => ended))).toEqual([0, 0, 0])
    const receipts = writers.flatMap((one) => one.receipts)
    expect(receipts).toHaveLength(1800)
    const indices = receipts.filter(({ ledger }) => ledger === 'borealis').map(({ index }) => index)
    expect(indices.sort((a, b) => a - b)).toEqual([...Array(900).keys()])
    // They took turns: no process had all of its entries in one run.
    expect(writers.every(({ receipts: own }) => own.some(({ index }) => index >= 300))).toBe(true)
    await expectDurable(on, receipts, 900)
  })

  it('killed in the middle have told no receipt without its durable entry, and leave a tree that holds', async () => {
    const on = await ground(postgres)
    for (let round = 0; round < 4; round++) {
      const killed = startWriter(writer, on, { inFlight: 32, count: 1_000_000 })
      await killed.ready
      killed.go()
      await killed.told(150 + round * 77)
      killed.child.kill('SIGKILL')
      expect(await killed.ended).toBe('SIGKILL')
      expect(killed.receipts.length).toBeGreaterThan(100)
      await expectDurable(on, killed.receipts)
    }
    const after = await open(on)
    expect(after.events.map(({ kind }) => kind)).toEqual(['ledger-admitted', 'ledger-admitted', 'ledger-admitted'])
    expect(await codeOf(after.ledger.append(record()))).toBe('none')
    await after.end()
  })
})

describe('a database that fails', () => {
  it('gives AUDIT_UNAVAILABLE at once when it is stopped, and no receipt for what it does not hold', async () => {
    const own = await startTestPostgres()
    const on = await ground(own)
    const audit = await open(on, { limits: { timeoutMs: 1_000 } })
    await append(audit, 10)
    const codes: Promise<string>[] = []
    const appending = setInterval(() => codes.push(codeOf(audit.ledger.append(record()))), 2)
    await sleep(100)
    await own.stop()
    const started = Date.now()
    expect(await codeOf(audit.ledger.append(record()))).toBe('AUDIT_UNAVAILABLE')
    expect(Date.now() - started).toBeLessThan(1_500)
    clearInterval(appending)
    expect(new Set(await Promise.all(codes))).toEqual(new Set(['none', 'AUDIT_UNAVAILABLE']))
    expect(await codeOf(audit.ledger.currentEpoch())).toBe('AUDIT_UNAVAILABLE')
    expect(await codeOf(audit.ledger.adoptEpoch('sha256:x'))).toBe('AUDIT_UNAVAILABLE')
    await audit.end()
  })

  it('gives AUDIT_UNAVAILABLE within the deadline when it freezes, and recovers by itself', async () => {
    const on = await ground(postgres)
    const audit = await open(on, { limits: { timeoutMs: 400 }, checkpointMs: 60_000 })
    await append(audit, 5)
    const backends = await withClient(on.url, async (client) => {
      const { rows } = await client.query<{ pid: number }>(
        `SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'`,
      )
      return rows.map(({ pid }) => pid)
    })
    for (const pid of backends) process.kill(pid, 'SIGSTOP')
    const started = Date.now()
    expect(await Promise.all([1, 2, 3].map(() => codeOf(audit.ledger.append(record()))))).toEqual(Array(3).fill('AUDIT_UNAVAILABLE'))
    expect(Date.now() - started).toBeLessThan(900)
    for (const pid of backends) process.kill(pid, 'SIGCONT')
    await eventually(async () => expect(await codeOf(audit.ledger.append(record()))).toBe('none'))
    await audit.end()
  })

  it('gives no receipt when the wait for the standby was cancelled: the commit is then here alone', async () => {
    const own = await startTestPostgres({ wal_level: 'replica', max_wal_senders: '2' })
    const on = await ground(own)
    const audit = await open(on, { checkpointMs: 60_000 })
    await append(audit, 3)
    await withClient(on.url, async (client) => {
      await client.query(`ALTER SYSTEM SET synchronous_standby_names = 'nobody'`)
      await client.query('SELECT pg_reload_conf()')
      await sleep(200)
      const code = codeOf(audit.ledger.append(record()))
      let cancelled = 0
      await eventually(async () => {
        const { rowCount } = await client.query(`SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'`)
        cancelled += rowCount ?? 0
        expect(cancelled).toBeGreaterThan(0)
      })
      expect(await code).toBe('AUDIT_UNAVAILABLE')
      // And it was for the warning: the entry is there, on this one server.
      expect((await client.query(`SELECT size FROM concordat.ledger_state WHERE ledger = 'aurora'`)).rows).toEqual([{ size: '4' }])
      await client.query(`ALTER SYSTEM RESET synchronous_standby_names`)
      await client.query('SELECT pg_reload_conf()')
      await sleep(200)
      expect(await codeOf(audit.ledger.append(record()))).toBe('none')
    })
    await audit.end()
    await own.stop()
  })
})

describe('checkpoints', () => {
  it('are signed soon after an entry, in the file and in the database, and once more at the end', async () => {
    const on = await ground(postgres)
    const audit = await open(on, { checkpointMs: 50 })
    expect(await filed(on)).toBe(0)
    await append(audit, 7)
    await eventually(async () => expect(await filed(on)).toBe(7))
    await eventually(async () => expect((await audit.store.checkpoint('aurora'))?.size).toBe(7))
    const slow = await open(on, { checkpointMs: 60_000 })
    await append(slow, 5)
    await audit.end()
    expect(await filed(on)).toBe(12)
    await slow.end()
    expect(await filed(on)).toBe(12)
  })

  it('fit together from one start to the next, and no smaller one replaces a larger', async () => {
    const on = await ground(postgres)
    for (const size of [300, 600]) {
      const audit = await open(on)
      await append(audit, 300)
      await audit.end()
      expect(await filed(on)).toBe(size)
      expect(audit.events.map(({ kind }) => kind)).toEqual(Array(3).fill('ledger-admitted'))
    }
  })

  it('stop the ledger when the database was set back behind the file', async () => {
    const on = await ground(postgres)
    const audit = await open(on)
    await append(audit, 20)
    await audit.end()
    await setBack(on, 12)
    await expectRefused(on, 'aurora', /12 entries, but a checkpoint of 20/)
  })

  it('stop the ledger when the database was set back and has grown another history since', async () => {
    const on = await ground(postgres)
    const audit = await open(on)
    await append(audit, 20)
    await audit.end()
    const file = await readFile(join(on.checkpoints, 'aurora'), 'utf8')
    await setBack(on, 12)
    // Somebody started it without the file, as a restore on another machine would.
    await rm(join(on.checkpoints, 'aurora'))
    const forked = await open(on)
    expect(forked.events).toContainEqual({ kind: 'ledger-adopted', ledger: 'aurora', size: 12 })
    await append(forked, 30)
    await forked.end()
    await writeFile(join(on.checkpoints, 'aurora'), file)
    await expectRefused(on, 'aurora', /does not begin with the 20/)
  })

  it('stop the ledger when an entry that they cover was changed, together with its hash', async () => {
    const on = await ground(postgres)
    const audit = await open(on)
    await append(audit, 20)
    await audit.end()
    await rewrite(on, 19)
    await expectRefused(on, 'aurora', /is not the one that was signed/)
  })

  it('stop the ledger when nodes of the tree are gone', async () => {
    const on = await ground(postgres)
    const audit = await open(on)
    await append(audit, 20)
    await audit.end()
    const file = await readFile(join(on.checkpoints, 'aurora'), 'utf8')
    const again = await open(on)
    await append(again, 20)
    await again.end()
    await tamper(on, `DELETE FROM concordat.ledger_entries WHERE ledger = 'aurora' AND "index" = 33`)
    await writeFile(join(on.checkpoints, 'aurora'), file)
    await expectRefused(on, 'aurora', /lacks nodes/)
  })

  it('stop the ledger when file or database hold one that is not of its key', async () => {
    const on = await ground(postgres)
    const audit = await open(on)
    await append(audit, 5)
    await audit.end()
    const path = join(on.checkpoints, 'aurora')
    await rename(path, `${path}.kept`)
    await writeFile(path, (await readFile(`${path}.kept`, 'utf8')).replace('\n5\n', '\n4\n'))
    await expectRefused(on, 'aurora', /checkpoint file cannot be used/)
    await rename(`${path}.kept`, path)
    const borealis = on.signers.get('borealis')
    if (borealis === undefined) throw new Error('borealis has a key')
    await withClient(on.url, (client) =>
      client.query(`UPDATE concordat.ledger_checkpoints SET note = $1 WHERE ledger = 'aurora'`, [
        signCheckpoint({ size: 5, root: leafHash(Buffer.alloc(0)) }, borealis),
      ]),
    )
    await expectRefused(on, 'aurora', /checkpoint in the database cannot be used/)
  })

  it('stop the ledger of a running process when the database is set back under it', async () => {
    const on = await ground(postgres)
    const audit = await open(on, { checkpointMs: 60_000 })
    await append(audit, 20)
    await setBack(on, 12)
    const codes = await Promise.all([codeOf(audit.ledger.append(record())), codeOf(audit.ledger.append(record()))])
    expect(codes).toEqual(['AUDIT_UNAVAILABLE', 'AUDIT_UNAVAILABLE'])
    expect(audit.ledger.obstacle()).toMatch(/fewer entries/)
    await audit.end()
    expect(audit.events.at(-1)).toMatchObject({ kind: 'ledger-refused' })
    expect(await filed(on)).toBe(0)
  })

  it('wait for a database that is not there yet', async () => {
    const own = await startTestPostgres()
    const on = await ground(own)
    await own.stop()
    const audit = await open(on, { limits: { timeoutMs: 300 } })
    expect(audit.events.map(({ kind }) => kind)).toEqual(Array(3).fill('checkpoint-delayed'))
    expect(audit.ledger.obstacle()).toMatch(/not been checked/)
    expect(await codeOf(audit.ledger.append(record()))).toBe('AUDIT_UNAVAILABLE')
    await audit.end()
  })

  it('come under a public key that is one line', async () => {
    const on = await ground(postgres)
    const audit = await open(on)
    await append(audit, 1)
    await audit.end()
    const signer = on.signers.get('aurora')
    if (signer === undefined) throw new Error('aurora has a key')
    expect(verifyCheckpoint(await readFile(join(on.checkpoints, 'aurora'), 'utf8'), parseKey(formatKey(signer))).size).toBe(1)
  })
})

/** Every receipt's entry is in the database, where it says, and proven by the tree. */
async function expectDurable(on: Ground, receipts: readonly Receipt[], size?: number): Promise<void> {
  const audit = await open(on)
  for (const ledger of new Set(receipts.map((receipt) => receipt.ledger))) {
    const state = await audit.store.state(ledger)
    if (size !== undefined) expect(state.size).toBe(size)
    const tree = audit.store.tree(ledger, state.size)
    const entries = new Map<number, string>()
    for await (const { index, text } of audit.store.entries(ledger, {}, state.size)) entries.set(index, text)
    expect([...entries.keys()]).toEqual([...Array(state.size).keys()])
    const root = state.frontier.root()
    for (const receipt of receipts.filter((one) => one.ledger === ledger)) {
      const text = entries.get(receipt.index) ?? ''
      const leaf = leafHash(Buffer.from(text))
      expect(leaf.toString('base64')).toBe(receipt.leaf)
      expect(JSON.parse(text).id).toBe(receipt.entry)
      const proof = await tree.hashes(inclusionRanges(receipt.index, state.size))
      expect(includes({ index: receipt.index, size: state.size, leaf, proof, root })).toBe(true)
    }
  }
  await audit.end()
}

/** As a restore of an older backup would leave it: fewer entries, and the state that belonged to them. */
async function setBack(on: Ground, size: number): Promise<void> {
  await tamper(on, `DELETE FROM concordat.ledger_entries WHERE ledger = 'aurora' AND "index" >= ${size}`)
  await tamper(on, `DELETE FROM concordat.ledger_checkpoints WHERE ledger = 'aurora' AND size > ${size}`)
  await makeConsistent(on)
}

/** Another text in a leaf, and all hashes to go with it: what who owns the database can do. */
async function rewrite(on: Ground, index: number): Promise<void> {
  const entry = `ledger = 'aurora' AND "index" = ${index}`
  await tamper(on, `UPDATE concordat.ledger_entries SET leaf = replace(leaf, '"subject":"subject', '"subject":"other') WHERE ${entry}`)
  await tamper(on, `UPDATE concordat.ledger_entries SET leaf_hash = sha256('\\x00'::bytea || convert_to(leaf, 'UTF8')) WHERE ${entry}`)
  await makeConsistent(on)
}

/** Makes the state that of the entries that are there (of which there are too few for stored subtrees). */
async function makeConsistent(on: Ground): Promise<void> {
  await withClient(on.url, async (client) => {
    const { rows } = await client.query<{ leaf_hash: Buffer }>(`SELECT leaf_hash FROM concordat.ledger_entries WHERE ledger = 'aurora' ORDER BY "index"`)
    const frontier = Frontier.empty()
    for (const row of rows) frontier.append(row.leaf_hash)
    await client.query(`UPDATE concordat.ledger_state SET size = $1, frontier = $2 WHERE ledger = 'aurora'`, [frontier.size, frontier.bytes()])
  })
}

/** What only a superuser can do. */
async function tamper(on: Ground, sql: string): Promise<void> {
  await withClient(on.url, async (client) => {
    await client.query('SET session_replication_role = replica')
    await client.query(sql)
  })
}

async function expectRefused(on: Ground, organization: string, reason: RegExp): Promise<void> {
  const audit = await open(on)
  const refusals = audit.events.filter((event) => event.kind === 'ledger-refused')
  expect(refusals).toEqual([{ kind: 'ledger-refused', ledger: organization, reason: expect.stringMatching(reason) }])
  expect(await codeOf(audit.ledger.append(record()))).toBe('AUDIT_UNAVAILABLE')
  expect(audit.ledger.obstacle()).toMatch(reason)
  expect(await codeOf(audit.keeper.checkpoint(organization))).not.toBe('none')
  await audit.end()
}

/** Size of the checkpoint in aurora's file. */
async function filed(on: Ground): Promise<number> {
  const signer = on.signers.get('aurora')
  if (signer === undefined) throw new Error('aurora has a key')
  return verifyCheckpoint(await readFile(join(on.checkpoints, 'aurora'), 'utf8'), signer).size
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

async function eventually(claim: () => Promise<void>): Promise<void> {
  const end = Date.now() + 5_000
  for (;;) {
    try {
      await claim()
      return
    } catch (error) {
      if (Date.now() > end) throw error
      await sleep(25)
    }
  }
}
