/** The gateway is killed under load, again and again: whatever a client got whole is in the ledgers, they verify, and the stores are left alone. */
import { createHash } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import type pg from 'pg'
import { main } from '../../src/cli/concordat.js'
import { eventually } from '../support/eventually.js'
import { asking, makeTestGround, type AnswerBody, type TestGround } from '../support/gateway.js'
import { compileGateway, type CompiledGateway, type GatewayProcess } from '../support/gateway-process.js'
import { ANA, BO, CY, journeyWorld } from '../support/journey-world.js'

const ORGANIZATIONS = ['aurora', 'borealis', 'cascade'] as const
const CLIENTS = 18

let ground: TestGround
let compiled: CompiledGateway
let folder: string
let ledger: pg.Client
beforeAll(async () => {
  const gateway = { audit: { checkpoint: '100ms' } }
  ;[ground, compiled, folder] = await Promise.all([
    makeTestGround({ world: journeyWorld(), gateway }),
    compileGateway(),
    mkdtemp(join(tmpdir(), 'concordat-killed-')),
  ])
  ledger = await ground.ledgerClient()
}, 60_000)
afterAll(async () => {
  await compiled.remove()
  await ground.stop()
  await rm(folder, { recursive: true, force: true })
})

const QUERIES = [
  { principal: ANA, document: '{ agents(first: 5, orderBy: [{ name: ASC }]) { totalCount nodes { id name owner { name } } } }' },
  { principal: ANA, document: 'query Counted { agentsAggregate(groupBy: [{ field: STATUS }]) { groups { keys { status } count } } }' },
  { principal: BO, document: '{ agents(first: 3) { nodes { organization name } } }' },
  { principal: CY, document: '{ people(first: 3) { nodes { name agents(first: 2) { nodes { name } } } } }' },
  // Refused by Aurora, which is an answer too.
  { principal: BO, document: '{ agents(where: { budget: { gt: "1" } }) { nodes { name } } }' },
] as const

interface Told {
  readonly status: number
  readonly json: AnswerBody
}

/** Asks without a pause until told to stop; what came whole is kept, what broke off is not. */
async function client(number: number, place: () => GatewayProcess | null, isOver: () => boolean, told: Told[]): Promise<void> {
  for (let turn = number; !isOver(); turn += 1) {
    const { principal, document } = QUERIES[turn % QUERIES.length] ?? QUERIES[0]
    const gateway = place()
    try {
      if (!gateway) throw new Error('none runs')
      const { status, json } = await asking(gateway.url, ground).ask(principal, document)
      told.push({ status, json })
    } catch {
      await sleep(10)
    }
  }
}

interface Entry {
  readonly index: string
  readonly leaf: string
  readonly leaf_hash: Buffer
}

async function entriesOf(organization: string): Promise<readonly Entry[]> {
  const { rows } = await ledger.query<Entry>('SELECT "index", leaf, leaf_hash FROM concordat.ledger_entries WHERE ledger = $1 ORDER BY "index"', [organization])
  return rows
}

describe('a gateway that is killed under load', () => {
  it('has recorded every answer that a client got whole, and its ledgers verify', async () => {
    const moments = fc.sample(fc.integer({ min: 50, max: 700 }), 3)
    const told: Told[] = []
    let running: GatewayProcess | null = null
    let isOver = false
    const clients = Array.from({ length: CLIENTS }, (_unused, number) =>
      client(
        number,
        () => running,
        () => isOver,
        told,
      ),
    )
    for (const moment of moments) {
      running = await compiled.serve(ground.config)
      const before = told.length
      await eventually(() => expect(told.length).toBeGreaterThan(before + CLIENTS), 10_000)
      await sleep(moment)
      expect(await running.end('SIGKILL')).toBe('SIGKILL')
      running = null
    }
    const last = await compiled.serve(ground.config)
    running = last
    const before = told.length
    await eventually(() => expect(told.length).toBeGreaterThan(before + 100), 10_000)
    isOver = true
    await Promise.all(clients)
    expect(await last.end('SIGTERM')).toBe(0)
    // Nothing was amiss for any of the processes, and none of them found a ledger in disorder.
    expect(last.log.map(({ event }) => event)).not.toContain('ledger-refused')
    expect({ moments, statuses: [...new Set(told.map(({ status }) => status))].sort() }).toEqual({ moments, statuses: [200, 403] })

    const entries = new Map(await Promise.all(ORGANIZATIONS.map(async (id) => [id as string, await entriesOf(id)] as const)))
    for (const [organization, rows] of entries) {
      expect(rows.map(({ index }) => Number(index))).toEqual([...rows.keys()])
      for (const { leaf, leaf_hash } of rows) expect(sha256(Buffer.concat([Buffer.of(0), Buffer.from(leaf)]))).toEqual(leaf_hash)
      const { rows: state } = await ledger.query('SELECT size FROM concordat.ledger_state WHERE ledger = $1', [organization])
      expect(state).toEqual([{ size: String(rows.length) }])
    }
    expect({ moments, lost: told.filter((answer) => !isRecorded(answer, entries)) }).toEqual({ moments, lost: [] })
    await expectVerified(entries, told)
  }, 90_000)

  it('leaves no statement behind in a store beyond its deadline, however long it would have run', async () => {
    const [holder, looker] = await Promise.all([ground.ownerClient('borealis'), ground.ownerClient('borealis')])
    const gateway = await compiled.serve(ground.config)
    await holder.query('BEGIN; LOCK TABLE agent IN ACCESS EXCLUSIVE MODE')
    try {
      const cut = Promise.allSettled([1, 2, 3].map(() => asking(gateway.url, ground).ask(ANA, QUERIES[0].document)))
      const asked = `SELECT pid FROM pg_stat_activity WHERE application_name = 'concordat' AND state <> 'idle'`
      await eventually(async () => expect((await looker.query(asked)).rowCount).toBe(3))
      await gateway.end('SIGKILL')
      expect((await cut).map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected'])
      // The table is still locked: they have not run to their end.
      await eventually(async () => expect((await looker.query(asked)).rows).toEqual([]), 4_000)
    } finally {
      await holder.query('ROLLBACK')
    }
  })
})

/** An answer is recorded when the leaf of its receipt is there, with its request, and each owner that served has its own entry of it. */
function isRecorded({ json }: Told, entries: ReadonlyMap<string, readonly Entry[]>): boolean {
  const { requestId, sovereignty } = json.extensions
  const { receipt } = sovereignty
  const found = entries.get(receipt?.ledger ?? '')?.find(({ leaf_hash }) => leaf_hash.toString('base64') === receipt?.leaf)
  if (!found || !receipt) return false
  const entry = JSON.parse(found.leaf) as LedgerEntry
  if (entry.requestId !== requestId || entry.id !== receipt.entry) return false
  const others = entry.sections.filter(({ organization }) => organization !== receipt.ledger)
  const served = sovereignty.served.map(({ organization }) => organization).filter((organization) => organization !== receipt.ledger)
  const hasAllOwners = served.every((organization) => others.some((section) => section.organization === organization))
  return (
    hasAllOwners && others.every(({ organization, requestId: own }) => entries.get(organization)?.some(({ leaf }) => leaf.includes(`"requestId":"${own}"`)))
  )
}

interface LedgerEntry {
  readonly id: string
  readonly requestId: string
  readonly sections: readonly { readonly organization: string; readonly requestId: string }[]
}

/** Exports each ledger, whole, with the command of a compliance officer, and verifies it with the key of its owner and a receipt of the last client. */
async function expectVerified(entries: ReadonlyMap<string, readonly Entry[]>, told: readonly Told[]): Promise<void> {
  for (const organization of ORGANIZATIONS) {
    const on = ['--config', ground.config, '--organization', organization]
    const bundle = join(folder, `${organization}.jsonl`)
    const key = join(folder, `${organization}.vkey`)
    await writeFile(key, await concordat('audit', 'key', ...on))
    await concordat('audit', 'export', ...on, '--out', bundle)
    const receipts = told.flatMap(({ json }) => json.extensions.sovereignty.receipt ?? [])
    const receipt = receipts.findLast(({ ledger: name }) => name === organization)
    const verified = JSON.parse(await concordat('audit', 'verify', bundle, '--key', key, '--receipt', receipt?.leaf ?? '', '--json')) as Verified
    expect(verified).toMatchObject({ verified: true, complete: true, trusted: true, problems: [] })
    expect(verified.entries).toBeGreaterThanOrEqual(entries.get(organization)?.length ?? Infinity)
    // The file outside of the database is not behind what was last signed in it.
    const filed = Number((await readFile(join(dirname(ground.config), 'checkpoints', organization), 'utf8')).split('\n')[1])
    expect(filed).toBeGreaterThanOrEqual(entries.get(organization)?.length ?? Infinity)
  }
}

interface Verified {
  readonly entries: number
}

async function concordat(...args: readonly string[]): Promise<string> {
  let [output, errors] = ['', '']
  const context = { write: (text: string) => void (output += text), writeError: (text: string) => void (errors += text), environment: {} }
  const code = await main(args, { ...context, onStop: () => () => undefined })
  expect({ code, errors }).toEqual({ code: 0, errors: '' })
  return output
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest()
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
