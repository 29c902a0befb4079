/**
 * The ledgers of all organizations: append only, one Merkle tree each.
 *
 * Requests in flight share one commit: while one batch is being made durable the next one gathers, and it starts when that one has ended. Whoever gets a receipt
 * has an entry that is durable; whoever gets an error may have one or not, and must give no data.
 */
import { GatewayError, type Code } from '../errors.js'
import { NotDurable, type LedgerStore, type PlacedEntry, type Placement, type PolicyEpoch, type TreeState } from './ledger-store.js'
import type { SealedEntry } from './record.js'

/** What proves that an entry is in a ledger. */
export interface Receipt {
  /** UUIDv7 of the entry. */
  readonly entry: string
  /** The organization whose ledger it is. */
  readonly ledger: string
  /** Base64 of the leaf's SHA-256 hash. */
  readonly leaf: string
  /** Place in the tree. It tells how active a ledger is: it never leaves for another organization. */
  readonly index: number
}

/** The entries of one request, by ledger. All become durable together, or none. */
export interface LedgerRecord {
  /** The policy epoch in which the request was authorized. */
  readonly epoch: number
  readonly entries: ReadonlyMap<string, SealedEntry>
}

export interface Ledger {
  /**
   * Makes the entries durable.
   *
   * @returns a receipt for each ledger.
   * @throws StaleEpoch when the policies have changed since the request was authorized: nothing is written; authorize afresh.
   * @throws GatewayError AUDIT_UNAVAILABLE when that could not be confirmed in time.
   */
  append(record: LedgerRecord): Promise<ReadonlyMap<string, Receipt>>
  /** Counts a refusal of somebody unknown. Neither waits nor fails. */
  countRefusal(code: Code): void
  /** The policies in force. @throws GatewayError AUDIT_UNAVAILABLE */
  currentEpoch(): Promise<PolicyEpoch>
  /**
   * Puts policies in force, for all processes: another digest starts another epoch. To be called when policies were loaded, not when an append was stale, or two
   * processes with different files would go on displacing each other.
   *
   * @throws GatewayError AUDIT_UNAVAILABLE
   */
  adoptEpoch(digest: string): Promise<PolicyEpoch>
}

/** The entries were authorized under policies that are no longer in force. */
export class StaleEpoch extends GatewayError {
  constructor(readonly current: number) {
    super('POLICY_STALE', 'the policies have changed since this request was authorized')
    this.name = 'StaleEpoch'
  }
}

export interface LedgerLimits {
  /** How long an append may wait for its receipt. */
  readonly timeoutMs: number
  /** Appends that wait or are under way, at most. */
  readonly queueMax: number
  /** Entries of one commit, at most. */
  readonly batchMax: number
  /** How often counted refusals are written. */
  readonly refusalsMs: number
}

export interface LedgerParts {
  readonly store: LedgerStore
  readonly limits: LedgerLimits
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number
  /** A UUID of this process's run. */
  readonly process: string
}

export class PostgresLedger implements Ledger {
  private readonly queue = new Set<Pending>()
  private pendingCount = 0
  private flushing: Promise<void> | null = null
  private closed = false
  /** Why each ledger takes no entries; one without a reason takes them. Ledgers that are not here are not known. */
  private readonly standing = new Map<string, string | null>()
  /** The largest size of each tree that this process knows to be durable. A smaller one later is a database that was set back. */
  private readonly sizes = new Map<string, number>()
  private readonly refusals: RefusalCounter

  constructor(private readonly parts: LedgerParts) {
    this.refusals = new RefusalCounter(parts)
  }

  /** Lets a ledger take entries: its tree is consistent with the last checkpoint held outside of the database. */
  admit(ledger: string): void {
    this.standing.set(ledger, null)
  }

  /** Keeps a ledger from taking entries, for the reason given. */
  refuse(ledger: string, reason: string): void {
    this.standing.set(ledger, reason)
  }

  /** Why a ledger takes no entries; null when it does. */
  refusalOf(ledger: string): string | null {
    const reason = this.standing.get(ledger)
    return reason === undefined ? 'it is not known here' : reason
  }

  /** Why some ledger takes no entries, for readiness; null when all do. */
  obstacle(): string | null {
    if (this.closed) return 'the ledger is closed'
    for (const [ledger, reason] of this.standing) if (reason !== null) return `the ledger of \`${ledger}\`: ${reason}`
    return null
  }

  append(record: LedgerRecord): Promise<ReadonlyMap<string, Receipt>> {
    const obstacle = this.obstacleOf(record)
    if (obstacle !== null) return Promise.reject(new GatewayError('AUDIT_UNAVAILABLE', obstacle))
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.fail(pending, new GatewayError('AUDIT_UNAVAILABLE', 'the ledger took too long')), this.parts.limits.timeoutMs)
      const pending: Pending = { record, resolve, reject, timer, settled: false }
      this.queue.add(pending)
      this.pendingCount += 1
      this.flushing ??= this.flushAll()
    })
  }

  countRefusal(code: Code): void {
    this.refusals.count(code)
  }

  async currentEpoch(): Promise<PolicyEpoch> {
    return this.parts.store.epoch().catch(unavailable)
  }

  async adoptEpoch(digest: string): Promise<PolicyEpoch> {
    return this.parts.store.adoptEpoch(digest).catch(unavailable)
  }

  /** Takes nothing more, and ends when what was taken is durable or has failed. */
  async close(): Promise<void> {
    this.closed = true
    await this.flushing
    await this.refusals.close()
  }

  private obstacleOf(record: LedgerRecord): string | null {
    if (this.closed) return 'the ledger is closed'
    if (this.pendingCount >= this.parts.limits.queueMax) return 'too many entries wait for the ledger'
    for (const ledger of record.entries.keys()) {
      const reason = this.refusalOf(ledger)
      if (reason !== null) return `the ledger of \`${ledger}\`: ${reason}`
    }
    return null
  }

  /** One batch after the other until nobody waits. Never rejects. */
  private async flushAll(): Promise<void> {
    // Whoever appends in the same turn of the event loop joins the first batch.
    await Promise.resolve()
    while (this.queue.size > 0) await this.flush(this.takeBatch())
    this.flushing = null
  }

  private takeBatch(): Pending[] {
    const batch: Pending[] = []
    let entries = 0
    for (const pending of this.queue) {
      entries += pending.record.entries.size
      if (batch.length > 0 && entries > this.parts.limits.batchMax) break
      this.queue.delete(pending)
      batch.push(pending)
    }
    return batch
  }

  private async flush(batch: readonly Pending[]): Promise<void> {
    let verdicts: Verdict[] = []
    try {
      await this.parts.store.commit((state) => {
        verdicts = this.judge(batch, state)
        return verdicts.flatMap((verdict) => (verdict.kind === 'place' ? verdict.placed : []))
      })
    } catch (error) {
      for (const pending of batch) this.fail(pending, asUnavailable(error))
      return
    }
    for (const verdict of verdicts) {
      if (verdict.kind === 'place') this.succeed(verdict)
      else this.fail(verdict.pending, verdict.error)
    }
  }

  /** Decides each request of the batch alone, and gives those that pass their places. */
  private judge(batch: readonly Pending[], state: Parameters<Placement>[0]): Verdict[] {
    const next = new Map<string, number>()
    for (const [ledger, tree] of state.trees) next.set(ledger, tree.size)
    return batch.map((pending): Verdict => {
      const { epoch, entries } = pending.record
      // Nobody waits for these any more; without a receipt an entry would only say what did not happen.
      if (pending.settled) return { kind: 'refuse', pending, error: new GatewayError('AUDIT_UNAVAILABLE', 'the ledger took too long') }
      if (epoch !== state.epoch) return { kind: 'refuse', pending, error: new StaleEpoch(state.epoch) }
      const obstacle = this.obstacleAt([...entries.keys()], state.trees)
      if (obstacle !== null) return { kind: 'refuse', pending, error: new GatewayError('AUDIT_UNAVAILABLE', obstacle) }
      const placed = [...entries].map(([ledger, sealed]): PlacedEntry => {
        const index = next.get(ledger) ?? 0
        next.set(ledger, index + 1)
        return { ledger, index, sealed }
      })
      return { kind: 'place', pending, placed }
    })
  }

  /** A ledger may have been refused while the entry waited, and the database may have been set back since the last batch. */
  private obstacleAt(ledgers: readonly string[], trees: ReadonlyMap<string, TreeState>): string | null {
    for (const ledger of ledgers) {
      if ((trees.get(ledger)?.size ?? 0) < (this.sizes.get(ledger) ?? 0)) this.refuse(ledger, SET_BACK)
      const reason = this.refusalOf(ledger)
      if (reason !== null) return `the ledger of \`${ledger}\`: ${reason}`
    }
    return null
  }

  private succeed({ pending, placed }: Verdict & { readonly kind: 'place' }): void {
    const receipts = new Map<string, Receipt>()
    for (const { ledger, index, sealed } of placed) {
      this.sizes.set(ledger, Math.max(this.sizes.get(ledger) ?? 0, index + 1))
      receipts.set(ledger, { entry: sealed.entry.id, ledger, leaf: sealed.leafHash.toString('base64'), index })
    }
    if (this.settle(pending)) pending.resolve(receipts)
  }

  private fail(pending: Pending, error: GatewayError): void {
    if (this.settle(pending)) pending.reject(error)
  }

  private settle(pending: Pending): boolean {
    if (pending.settled) return false
    pending.settled = true
    clearTimeout(pending.timer)
    this.queue.delete(pending)
    this.pendingCount -= 1
    return true
  }
}

export const SET_BACK = 'the database holds fewer entries than this process has seen durable'

interface Pending {
  readonly record: LedgerRecord
  readonly resolve: (receipts: ReadonlyMap<string, Receipt>) => void
  readonly reject: (error: GatewayError) => void
  readonly timer: NodeJS.Timeout
  settled: boolean
}

type Verdict =
  | { readonly kind: 'place'; readonly pending: Pending; readonly placed: readonly PlacedEntry[] }
  | { readonly kind: 'refuse'; readonly pending: Pending; readonly error: GatewayError }

function asUnavailable(error: unknown): GatewayError {
  const detail = error instanceof NotDurable ? error.message : 'the ledger failed'
  return new GatewayError('AUDIT_UNAVAILABLE', detail, { cause: error })
}

function unavailable(error: unknown): never {
  throw asUnavailable(error)
}

/** Counts by code and interval. Memory is bounded by the number of codes: what could not be written waits in one frozen interval while the next one counts. */
class RefusalCounter {
  private counts = new Map<Code, number>()
  private fromMs = 0
  private frozen: Parameters<LedgerStore['addRefusals']>[0] | null = null
  private timer: NodeJS.Timeout | null = null
  private writing: Promise<void> | null = null

  constructor(private readonly parts: LedgerParts) {}

  count(code: Code): void {
    // Intervals of one process never begin at one time, even when the clock steps back: the store would take the second for the first.
    if (this.counts.size === 0) this.fromMs = Math.max(this.parts.now(), this.fromMs + 1)
    this.counts.set(code, (this.counts.get(code) ?? 0) + 1)
    this.schedule()
  }

  async close(): Promise<void> {
    if (this.timer !== null) clearTimeout(this.timer)
    await this.writing
    await this.write()
    // A frozen interval went first.
    await this.write()
  }

  private schedule(): void {
    this.timer ??= setTimeout(() => {
      this.timer = null
      this.writing = this.write().then(() => {
        this.writing = null
        if (this.counts.size > 0 || this.frozen !== null) this.schedule()
      })
    }, this.parts.limits.refusalsMs).unref()
  }

  /** Never rejects: what is not confirmed is tried again, and the store takes an interval once. */
  private async write(): Promise<void> {
    if (this.frozen === null) {
      if (this.counts.size === 0) return
      this.frozen = { process: this.parts.process, fromMs: this.fromMs, toMs: this.parts.now(), counts: this.counts }
      this.counts = new Map()
    }
    await this.parts.store.addRefusals(this.frozen).then(
      () => (this.frozen = null),
      () => undefined,
    )
  }
}
