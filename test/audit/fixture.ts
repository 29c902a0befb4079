/** What the audit's tests share: a migrated database, keys, open ledgers and entries to append. */
import { generateKeyPairSync, randomBytes, randomUUID } from 'node:crypto'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { openAudit, type Audit } from '../../src/audit/audit.js'
import type { CheckpointEvent } from '../../src/audit/checkpoint-keeper.js'
import { checkpointSigner, type CheckpointSigner } from '../../src/audit/checkpoint.js'
import { Contribution } from '../../src/audit/contribution.js'
import { sha256 } from '../../src/audit/digest.js'
import type { Ending } from '../../src/audit/intent.js'
import { LEASE, type IntentRecord, type LedgerLimits, type LedgerRecord, type Receipt } from '../../src/audit/ledger.js'
import { migrate, MIGRATIONS } from '../../src/audit/migrate.js'
import { ownerTerms } from '../../src/audit/owner-terms.js'
import { entriesOf, type Disclosure } from '../../src/audit/record.js'
import { withClient, type TestPostgres } from '../support/postgres.js'

export const ORGANIZATIONS = ['aurora', 'borealis', 'cascade'] as const

export const LIMITS: LedgerLimits = { timeoutMs: 5_000, queueMax: 10_000, batchMax: 2_000, refusalsMs: 50, ...LEASE }

export interface Ground {
  readonly url: string
  readonly signers: ReadonlyMap<string, CheckpointSigner>
  /** A new folder. */
  readonly checkpoints: string
}

/** A database of its own, migrated, with keys and a folder for checkpoints. */
export async function ground(postgres: TestPostgres): Promise<Ground> {
  const url = (await postgres.createDatabase()).url()
  await withClient(url, (client) => migrate(client, { directory: MIGRATIONS }))
  const signers = new Map(
    ORGANIZATIONS.map((organization) => [organization as string, checkpointSigner(organization, generateKeyPairSync('ed25519').privateKey)]),
  )
  return { url, signers, checkpoints: await mkdtemp(join(tmpdir(), 'concordat-checkpoints-')) }
}

export interface OpenAudit extends Audit {
  readonly pool: pg.Pool
  readonly events: CheckpointEvent[]
  /** `stop`, and the pool's end. */
  end(): Promise<void>
}

/** As one gateway process opens it. */
export async function open(on: Ground, options: { readonly limits?: Partial<LedgerLimits>; readonly checkpointMs?: number } = {}): Promise<OpenAudit> {
  const pool = new pg.Pool({ connectionString: on.url, max: 4 })
  pool.on('error', () => undefined)
  pool.on('connect', (client) => client.on('error', () => undefined)) // as in `main.ts`: it may be ended in the very moment in which it came about
  const events: CheckpointEvent[] = []
  const audit = await openAudit({
    pool,
    signers: on.signers,
    checkpoints: on.checkpoints,
    checkpointMs: options.checkpointMs ?? 100,
    limits: { ...LIMITS, ...options.limits },
    now: Date.now,
    process: randomUUID(),
    random: randomBytes,
    report: (event) => events.push(event),
  })
  return {
    ...audit,
    pool,
    events,
    end: async () => {
      await audit.stop()
      await pool.end()
    },
  }
}

export function disclosure(subject = 'ana', owners: readonly string[] = ['aurora', 'borealis']): Disclosure {
  return {
    requestId: randomUUID(),
    time: Date.now(),
    principal: { subject, organization: 'aurora', issuer: 'https://id.aurora.example', roles: ['analyst'], actors: [], tokenId: 'jti' },
    purpose: 'operations',
    operationName: null,
    documentSha256: sha256('{ agents { nodes { name } } }'),
    variablesText: '{}',
    outcome: 'answered',
    code: null,
    durationMs: 3,
    cost: 50,
    owners: owners.map((organization) => ({
      terms: ownerTerms({
        organization,
        source:
          organization === 'aurora'
            ? { kind: 'roles', roles: ['analyst'], version: 7, digest: 'sha256:roles' }
            : { kind: 'agreement', agreement: `${organization}-aurora-operations`, version: 3, digest: 'sha256:agreement' },
        types: [{ type: 'Agent', fields: ['key', 'name'] }],
        stores: ['main'],
        jurisdictions: { stored: ['CA'], gateway: 'DE', grantee: 'DE' },
        predicateText: null,
      }),
      rows: 2,
      contribution: Contribution.of(['{"name":"Night watch"}', '{"name":"Receipt sorter"}']),
    })),
  }
}

export function record(of: Disclosure = disclosure(), epoch = 0): LedgerRecord {
  return { epoch, entries: entriesOf(of, { tokenKey: Buffer.alloc(32, 7), random: randomBytes }) }
}

/** As the beginning of a streamed answer. */
export function intent(subject = 'ana', epoch = 0): IntentRecord {
  const { outcome: _outcome, code: _code, durationMs: _durationMs, owners, ...rest } = disclosure(subject)
  return { epoch, intent: { ...rest, owners: owners.map(({ terms }) => ({ terms, cost: 25 })) }, parts: { tokenKey: Buffer.alloc(32, 7), random: randomBytes } }
}

/** As its end, with so many rows of each owner. */
export function ending(rows = 3): Ending {
  const texts = Array.from({ length: rows }, (_, at) => `{"at":${at}}`)
  const given = { rows, contribution: Contribution.of(texts) }
  return { time: Date.now(), outcome: 'answered', code: null, durationMs: 1_234, owners: [given, given] }
}

/** Appends so many requests at once; each concerns aurora and borealis. */
export async function append(audit: Audit, count: number): Promise<ReadonlyMap<string, Receipt>[]> {
  return Promise.all(Array.from({ length: count }, (_, at) => audit.ledger.append(record(disclosure(`subject ${at}`)))))
}

/** The code a promise fails with; 'none' when it does not. */
export async function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'none',
    (error: unknown) => (typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : String(error)),
  )
}
