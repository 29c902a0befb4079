/**
 * The ledgers of all organizations: append only, one Merkle tree each.
 *
 * Requests in flight share one commit: while one batch is being made durable the next one gathers, and it starts when that one has ended. Whoever gets a receipt
 * has an entry that is durable; whoever gets an error may have one or not, and must give no data.
 */
import { GatewayError, invariant, type Code } from '../errors.js'
import { outcomesOf, sealedIntent, unknownOutcome, type Ending, type IntentDisclosure, type SealedIntent } from './intent.js'
import {
  NotDurable,
  type Belief,
  type IntentName,
  type IntentsAsked,
  type LedgerStore,
  type Phase,
  type PlacedEntry,
  type PolicyEpoch,
  type TreeState,
} from './ledger-store.js'
import type { EntryParts, SealedEntry } from './record.js'
import { RefusalCounter } from './refusal-counter.js'
import type { Random } from './uuid.js'

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

/** A request whose answer is about to stream. */
export interface IntentRecord {
  /** The policy epoch in which the request was authorized. */
  readonly epoch: number
  readonly intent: IntentDisclosure
  readonly parts: EntryParts
}

/** A stream whose intent is durable. */
export interface Begun {
  /** Of the intent's entries, by ledger. */
  readonly receipts: ReadonlyMap<string, Receipt>
  /**
   * Makes the outcome durable, whatever policies are in force by then. To be called once; what is never ended, or could not be, is closed as `unknown`.
   *
   * @returns a receipt for each ledger.
   * @throws IntentClosed when it was closed as `unknown` already, because this process had not renewed its lease for too long.
   * @throws GatewayError AUDIT_UNAVAILABLE when that could not be confirmed in time. In both cases the stream must not be completed.
   */
  end(ending: Ending): Promise<ReadonlyMap<string, Receipt>>
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
  /**
   * Makes the intent of an answer that will stream durable.
   *
   * @throws as `append`.
   */
  begin(record: IntentRecord): Promise<Begun>
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

/** Others have taken this process for gone, and have closed the intent as `unknown`. */
export class IntentClosed extends GatewayError {
  constructor() {
    super('AUDIT_UNAVAILABLE', 'the intent was closed as unknown')
    this.name = 'IntentClosed'
  }
}

export interface LeaseLimits {
  /** How long a process that has open intents is taken to be alive after it has renewed. */
  readonly leaseMs: number
  /** Between two renewals; a fraction of `leaseMs`. */
  readonly renewMs: number
  /** How often each process looks for intents of processes that are gone. */
  readonly sweepMs: number
}

/** A process may be held up for ten seconds before its streams are closed as `unknown`; one that is gone shows in the ledger within half a minute. */
export const LEASE: LeaseLimits = { leaseMs: 15_000, renewMs: 5_000, sweepMs: 15_000 }

export interface LedgerLimits extends LeaseLimits {
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
  readonly random: Random
  /** Requests of this process that may append soon. */
  readonly underWay: () => number
}

/** Requests under way from which on a batch waits for others, … */
const MANY = 16
/** … until it has the entries of so large a part of them, … */
const MANY_BATCHES = 8
/** … but no longer than this. */
const LINGER_MS = 3

export class PostgresLedger implements Ledger {
  private readonly queue = new Set<Pending>()
  private pendingCount = 0
  private flushing: Promise<void> | null = null
  /** Ends the wait for a larger batch. */
  private enough: (() => void) | null = null
  private closed = false
  /** Why each ledger takes no entries; one without a reason takes them. Ledgers that are not here are not known. */
  private readonly standing = new Map<string, string | null>()
  /** The largest size of each tree that this process knows to be durable. A smaller one later is a database that was set back. */
  private readonly sizes = new Map<string, number>()
  private readonly refusals: RefusalCounter
  private readonly intents: IntentKeeper

  constructor(private readonly parts: LedgerParts) {
    this.refusals = new RefusalCounter(parts)
    this.intents = new IntentKeeper(parts, (abandoned) => this.closeExpired(abandoned))
  }

  /** From now on, intents of processes that are gone are closed as `unknown`. */
  start(): void {
    this.intents.start()
  }

  /** Closes the intents whose processes are gone, at most one commit's. For `start`, which calls it every so often. @throws NotDurable */
  async sweep(): Promise<void> {
    await this.intents.sweep()
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
    return this.add({ epoch: record.epoch, entries: record.entries, phase: WHOLE })
  }

  async begin({ epoch, intent, parts }: IntentRecord): Promise<Begun> {
    const { process, limits } = this.parts
    const sealed = sealedIntent(intent, { ...parts, lease: process })
    const names = namesOf(sealed)
    this.intents.open(names)
    try {
      const receipts = await this.add({ epoch, entries: sealed.entries, phase: { kind: 'intent', lease: { process, leaseMs: limits.leaseMs } } })
      return { receipts, end: (ending) => this.end(sealed, ending, parts.random) }
    } catch (error) {
      // Without a receipt it may be there all the same.
      this.intents.settle(names, error instanceof StaleEpoch ? 'closed' : 'abandoned')
      throw error
    }
  }

  private async end(sealed: SealedIntent, ending: Ending, random: Random): Promise<ReadonlyMap<string, Receipt>> {
    const names = namesOf(sealed)
    try {
      const receipts = await this.add({ epoch: null, entries: outcomesOf(sealed, ending, random), phase: { kind: 'outcomes', of: names } })
      this.intents.settle(names, 'closed')
      return receipts
    } catch (error) {
      // Also when it was closed already: perhaps not in all of its ledgers.
      this.intents.settle(names, 'abandoned')
      throw error
    }
  }

  private add(record: Submission): Promise<ReadonlyMap<string, Receipt>> {
    const obstacle = this.obstacleOf(record)
    if (obstacle !== null) return Promise.reject(new GatewayError('AUDIT_UNAVAILABLE', obstacle))
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.fail(pending, new GatewayError('AUDIT_UNAVAILABLE', 'the ledger took too long')), this.parts.limits.timeoutMs)
      const pending: Pending = { record, resolve, reject, timer, settled: false }
      this.queue.add(pending)
      this.pendingCount += 1
      this.flushing ??= this.flushAll()
      if (this.enough && this.isEnough()) this.enough()
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
    this.enough?.()
    await this.flushing
    await this.intents.stop()
    await this.refusals.close()
  }

  private obstacleOf(record: Pick<LedgerRecord, 'entries'>): string | null {
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
    while (this.queue.size > 0) {
      await this.gathered()
      await this.flush(this.takeBatch())
    }
    this.flushing = null
  }

  /**
   * Whoever appends in the same turn of the event loop joins the batch. While many requests are under way, a batch of one or two waits for others, if only for as long
   * as a disk takes: a commit costs this process and PostgreSQL together half a millisecond, of which an entry is a tenth.
   */
  private async gathered(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve))
    if (this.isEnough()) return
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, LINGER_MS)
      this.enough = () => {
        clearTimeout(timer)
        resolve()
      }
    })
    this.enough = null
  }

  private isEnough(): boolean {
    const underWay = this.parts.underWay()
    return underWay < MANY || this.queue.size >= underWay / MANY_BATCHES || this.closed
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
    const ended = batch.flatMap(({ record: { phase } }) => (phase.kind === 'outcomes' ? phase.of : []))
    const asked: IntentsAsked = ended.length === 0 ? { kind: 'none' } : { kind: 'named', names: ended }
    try {
      await this.parts.store.commit((belief) => {
        // Only what was read can refuse an entry for its epoch: whoever brings a new one may be right. And intents have more to write than entries.
        if (!belief.isRead && batch.some(({ record }) => record.phase.kind !== 'whole' || record.epoch !== belief.epoch)) return null
        verdicts = this.judge(batch, belief)
        return verdicts.flatMap((verdict) => (verdict.kind === 'place' ? verdict.placed : []))
      }, asked)
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
  private judge(batch: readonly Pending[], state: Belief): Verdict[] {
    const places = new Places(state.trees)
    const open = new Set(state.open.map(keyOf))
    return batch.map((pending): Verdict => {
      const { epoch, entries, phase } = pending.record
      // Nobody waits for these any more; without a receipt an entry would only say what did not happen.
      if (pending.settled) return { kind: 'refuse', pending, error: new GatewayError('AUDIT_UNAVAILABLE', 'the ledger took too long') }
      if (epoch !== null && epoch !== state.epoch) return { kind: 'refuse', pending, error: new StaleEpoch(state.epoch) }
      const obstacle = this.obstacleAt(entries.keys(), state.trees)
      if (obstacle !== null) return { kind: 'refuse', pending, error: new GatewayError('AUDIT_UNAVAILABLE', obstacle) }
      if (phase.kind === 'outcomes' && !phase.of.every((name) => open.has(keyOf(name)))) return { kind: 'refuse', pending, error: new IntentClosed() }
      const placed: PlacedEntry[] = []
      for (const [ledger, sealed] of entries) placed.push(places.place({ ledger, sealed, phase: phaseOf(phase, ledger) }))
      return { kind: 'place', pending, placed }
    })
  }

  /** One commit: an outcome `unknown` for each intent that is still open under the lock, whoever else looks for them. */
  private async closeExpired(abandoned: readonly IntentName[]): Promise<void> {
    const { store, limits, now, random } = this.parts
    await store.commit(
      (belief) => {
        if (!belief.isRead) return null
        const places = new Places(belief.trees)
        return belief.open.flatMap((intent) => {
          const sealed = unknownOutcome(intent.text, { timeMs: now(), random })
          if (sealed === null || this.obstacleAt([intent.ledger], belief.trees) !== null) return []
          return [places.place({ ledger: intent.ledger, sealed, phase: { kind: 'outcome', of: intent.id } })]
        })
      },
      { kind: 'expired', abandoned, intentsMax: limits.batchMax },
    )
  }

  /** A ledger may have been refused while the entry waited, and the database may have been set back since the last batch. */
  private obstacleAt(ledgers: Iterable<string>, trees: ReadonlyMap<string, TreeState>): string | null {
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
      receipts.set(ledger, { entry: sealed.id, ledger, leaf: sealed.leafHash.toString('base64'), index })
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

/** What waits for a commit. An epoch of null: it was judged when its intent was. */
interface Submission extends Pick<LedgerRecord, 'entries'> {
  readonly epoch: number | null
  readonly phase: Exclude<Phase, { readonly kind: 'outcome' }> | { readonly kind: 'outcomes'; readonly of: readonly IntentName[] }
}

const WHOLE: Phase & { readonly kind: 'whole' } = { kind: 'whole' }

function phaseOf(phase: Submission['phase'], ledger: string): Phase {
  if (phase.kind !== 'outcomes') return phase
  const name = phase.of.find((candidate) => candidate.ledger === ledger)
  invariant(name !== undefined, 'an outcome has an intent in its ledger')
  return { kind: 'outcome', of: name.id }
}

/** Dense places after the trees' ends. */
class Places {
  private readonly next = new Map<string, number>()

  constructor(trees: ReadonlyMap<string, TreeState>) {
    for (const [ledger, tree] of trees) this.next.set(ledger, tree.size)
  }

  place(entry: Omit<PlacedEntry, 'index'>): PlacedEntry {
    const { ledger, sealed, phase } = entry
    const index = this.next.get(ledger) ?? 0
    this.next.set(ledger, index + 1)
    return { ledger, index, sealed, phase }
  }
}

function namesOf({ entries }: SealedIntent): IntentName[] {
  return [...entries].map(([ledger, { id }]) => ({ ledger, id }))
}

/** Ids and names of organizations hold no space. */
function keyOf({ ledger, id }: IntentName): string {
  return `${id} ${ledger}`
}

interface Pending {
  readonly record: Submission
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

/** The open intents of this process: renews its lease while there are some, and looks for those of others that did not renew. */
class IntentKeeper {
  private readonly opened = new Set<string>()
  /** Of this process, but nobody will end them any more. Bounded by what may wait: each was a submission, and the next sweep takes them. */
  private abandoned = new Map<string, IntentName>()
  private renewing: NodeJS.Timeout | null = null
  private sweeping: NodeJS.Timeout | null = null
  private under: Promise<void> = Promise.resolve()
  private stopped = false

  constructor(
    private readonly parts: LedgerParts,
    private readonly close: (abandoned: readonly IntentName[]) => Promise<void>,
  ) {}

  start(): void {
    if (this.stopped) return
    this.sweeping = setTimeout(() => {
      // What fails is tried again.
      this.under = this.sweep().catch(() => undefined)
      void this.under.then(() => this.start())
    }, this.parts.limits.sweepMs).unref()
  }

  async stop(): Promise<void> {
    this.stopped = true
    if (this.renewing !== null) clearTimeout(this.renewing)
    if (this.sweeping !== null) clearTimeout(this.sweeping)
    await this.under
  }

  open(names: readonly IntentName[]): void {
    for (const name of names) this.opened.add(keyOf(name))
    this.schedule()
  }

  settle(names: readonly IntentName[], as: 'closed' | 'abandoned'): void {
    for (const name of names) {
      this.opened.delete(keyOf(name))
      if (as === 'abandoned') this.abandoned.set(keyOf(name), name)
    }
  }

  async sweep(): Promise<void> {
    const names = [...this.abandoned]
    // A look without the writers' lock: nearly always there is nothing.
    if (names.length === 0 && !(await this.parts.store.hasExpired())) return
    await this.close(names.map(([, name]) => name))
    for (const [key] of names) this.abandoned.delete(key)
  }

  /** The intents themselves renew the lease when they are opened. */
  private schedule(): void {
    if (this.stopped || this.opened.size === 0) return
    this.renewing ??= setTimeout(() => {
      this.renewing = null
      if (this.opened.size === 0) return
      const { process, limits, store } = this.parts
      // One that fails is made up for by the next; if none comes through, the lease expires as it should.
      void store.renew({ process, leaseMs: limits.leaseMs }).catch(() => undefined)
      this.schedule()
    }, this.parts.limits.renewMs).unref()
  }
}
