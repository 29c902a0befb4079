/** The audit as one part: ledgers, their checkpoints, and what a start and an end need. */
import type { Pool } from 'pg'
import { CheckpointKeeper, type CheckpointEvent } from './checkpoint-keeper.js'
import type { CheckpointSigner } from './checkpoint.js'
import { LedgerStore } from './ledger-store.js'
import { PostgresLedger, type LedgerLimits } from './ledger.js'
import type { Random } from './uuid.js'

export interface AuditParts {
  /** Connections to the gateway's own database, migrated. The ledger uses one or two at a time. Not in `pipeline` mode: a hung connection could not be ended. */
  readonly pool: Pool
  /** By organization: whose ledgers this process writes. */
  readonly signers: ReadonlyMap<string, CheckpointSigner>
  /** Folder of the checkpoint files; apart from the database. */
  readonly checkpoints: string
  /** Between two checkpoints, at most. 1,000 or less keeps the promise of a checkpoint at most a second behind. */
  readonly checkpointMs: number
  readonly limits: LedgerLimits
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number
  /** A UUID of this process's run. */
  readonly process: string
  readonly random: Random
  readonly report: (event: CheckpointEvent) => void
}

export interface Audit {
  readonly ledger: PostgresLedger
  readonly keeper: CheckpointKeeper
  readonly store: LedgerStore
  /** Takes nothing more, waits for what was taken, signs the last checkpoints. The pool is its maker's to end. */
  stop(): Promise<void>
}

/** Opens the ledgers. Those whose tree could be checked take entries when this returns; `ledger.obstacle()` says what is wrong with the others. */
export async function openAudit(parts: AuditParts): Promise<Audit> {
  const store = new LedgerStore(parts.pool, parts.limits.timeoutMs)
  const ledger = new PostgresLedger({ store, limits: parts.limits, now: parts.now, process: parts.process, random: parts.random, underWay: () => 0 })
  const keeper = new CheckpointKeeper({
    store,
    signers: parts.signers,
    directory: parts.checkpoints,
    ledger,
    process: parts.process,
    intervalMs: parts.checkpointMs,
    report: parts.report,
  })
  await keeper.start()
  ledger.start()
  return {
    ledger,
    keeper,
    store,
    stop: async () => {
      await ledger.close()
      await keeper.stop()
    },
  }
}
