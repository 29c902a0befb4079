/**
 * Quick statements that come at one time share a flush: one caller's go to the store together, each bound to the values of its own request, behind one claims statement
 * and before one Sync. A flush is mostly system calls and a transaction: with 32 in flight on 10 connections a point lookup costs 45 us here and 26 in PostgreSQL, and
 * 106 and 90 in a flush of its own; a page of 50 rows costs a fifth less, gateway and PostgreSQL together.
 *
 * Where some are under way already, those gather that come in one turn of the event loop, or wait for the same connection; never more than a few milliseconds of work.
 * One that turns out to be held up, by a lock for instance, holds up its company for a quarter of a second at most: then each goes alone.
 */
import pg from 'pg'
import { Abort, type Signal } from '../../abort.js'
import type { GatewayError } from '../../errors.js'
import type { Answer, ExecuteOptions, Values } from '../connector.js'
import { Cancelling } from './cancelling.js'
import { ChunkBuilder } from './chunk-builder.js'
import type { AskedNative } from './connector.js'
import type { FlushStatement } from './flush.js'
import type { WirePool } from './wire-pool.js'
import type { Receiver, Wire } from './wire.js'

/** The one statement of a request for this store, and how it goes without company. */
export interface Quick {
  readonly native: AskedNative
  readonly caller: string
  readonly values: Values
  readonly options: ExecuteOptions
  alone(wire: Wire | null): Promise<readonly Answer[]>
}

export interface SharedFlushesParts {
  readonly pool: WirePool
  /** Claims for the longest of the deadlines, and the statement of each; nothing else. All are of one caller. */
  flushOf(asked: readonly Quick[]): readonly FlushStatement[]
  failure(error: unknown, signal: Signal): GatewayError
}

/** Statements that share a flush: more gain little, and each waits for those before it. */
const TOGETHER_MAX = 16
/** What they may be expected to take together. */
const TOGETHER_MS = 20
/** With fewer connections busy than this, a statement goes at once: it would gain nothing by waiting. */
const BUSY_MIN = 2
/** How long one of them may take before the others go without it. */
const HELD_UP_MS = 250
/** PostgreSQL's query_canceled, which is also what its time limit says. */
const QUERY_CANCELED = '57014'

export class SharedFlushes {
  /** Those that still take others in, by caller. */
  private readonly gathering = new Map<string, Party>()

  constructor(private readonly parts: SharedFlushesParts) {}

  /** @throws GatewayError as a statement that runs alone. An error of the store's in company is nobody's: each then goes alone. */
  execute(quick: Quick): Promise<readonly Answer[]> {
    const { pool } = this.parts
    const { native, caller } = quick
    const gathering = this.gathering.get(caller)
    const joined = gathering?.isLeft === false ? gathering : null
    if (!joined && pool.busy < BUSY_MIN) return quick.alone(null)
    const party = joined ?? this.gather(caller)
    party.expectedMs += native.pace.ms
    if (party.guests.size + 1 >= TOGETHER_MAX || party.expectedMs >= TOGETHER_MS) this.gathering.delete(caller)
    return party.join(quick)
  }

  private gather(caller: string): Party {
    const party = new Party(this.parts)
    this.gathering.set(caller, party)
    setImmediate(() => void this.send(caller, party))
    return party
  }

  private async send(caller: string, party: Party): Promise<void> {
    const { pool } = this.parts
    try {
      // Who comes while the party waits for a connection goes with it.
      const wire = pool.take() ?? (await pool.acquire(party.signal))
      if (this.gathering.get(caller) === party) this.gathering.delete(caller)
      party.start(wire)
    } catch (error) {
      if (this.gathering.get(caller) === party) this.gathering.delete(caller)
      party.fail(error)
    }
  }
}

interface Guest {
  readonly quick: Quick
  readonly builder: ChunkBuilder
  readonly resolve: (answers: readonly Answer[] | Promise<readonly Answer[]>) => void
  readonly reject: (error: GatewayError) => void
  /** Of `quick`'s signal. */
  readonly leave: () => void
}

class Party implements Receiver {
  /** Those that wait for their answer, in order. */
  readonly guests = new Set<Guest>()
  /** What they are expected to take. */
  expectedMs = 0
  /** All have left. */
  isLeft = false
  /** Only who waits for a connection needs one. */
  private left: Abort | null = null
  /** In the order of the flush, from when it was sent. */
  private sent: readonly Guest[] = []
  private current = -1
  private turnSinceMs = 0
  private wire: Wire | null = null
  private cancelling: Cancelling | null = null
  /** Each goes alone: an answer is larger than what is held here, or a statement is held up. */
  private isBroken = false
  private isHeldUp = false
  private watch: NodeJS.Timeout | null = null

  constructor(private readonly parts: SharedFlushesParts) {}

  /** Aborted once all have left. */
  get signal(): Signal {
    return (this.left ??= new Abort())
  }

  join(quick: Quick): Promise<readonly Answer[]> {
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.part(guest)
        reject(this.parts.failure(null, quick.options.signal))
        if (this.guests.size > 0) return
        // The statements of those who have left are cancelled only when there is nobody else.
        this.isLeft = true
        this.left?.abort(null)
        this.cancelling?.start()
      }
      const guest: Guest = { quick, builder: new ChunkBuilder(quick.native), resolve, reject, leave }
      this.guests.add(guest)
      quick.options.signal.addEventListener('abort', leave)
    })
  }

  start(wire: Wire): void {
    const { pool } = this.parts
    this.sent = [...this.guests]
    const [only] = this.sent
    if (!only) return pool.release(wire)
    if (this.sent.length === 1) {
      this.part(only)
      return only.resolve(only.quick.alone(wire))
    }
    this.wire = wire
    this.cancelling = new Cancelling(wire)
    this.turnSinceMs = performance.now()
    this.watch = setTimeout(this.lookForHeldUp, HELD_UP_MS)
    try {
      wire.send(this.parts.flushOf(this.sent.map(({ quick }) => quick)), this)
    } catch (error) {
      this.ended(error instanceof Error ? error : new Error('not sent', { cause: error }))
    }
  }

  fail(error: unknown): void {
    for (const guest of [...this.guests]) {
      this.part(guest)
      guest.reject(this.parts.failure(error, guest.quick.options.signal))
    }
  }

  row(bytes: Buffer, at: number, end: number): void {
    const guest = this.sent[this.current]
    if (!guest || this.isBroken) return
    guest.builder.row(bytes, at, end)
    if (guest.builder.bytes < guest.quick.options.bufferBytes) return
    // It must be read as fast as its reader takes it: alone.
    this.breakUp()
  }

  statementEnded(): void {
    const guest = this.sent[this.current]
    this.current += 1
    const now = performance.now()
    if (guest && !this.isBroken) {
      guest.quick.native.pace.note({ ms: now - this.turnSinceMs, busy: this.parts.pool.busy, bytes: guest.builder.bytes })
      if (this.guests.has(guest)) {
        this.part(guest)
        guest.resolve([{ first: guest.builder.take(), rest: null }])
      }
    }
    this.turnSinceMs = now
  }

  paused(): void {
    // Answers are small: there is nothing to wait for.
  }

  ended(error: Error | null): void {
    const { wire, cancelling, watch } = this
    cancelling?.over()
    if (watch) clearTimeout(watch)
    if (wire && !error && !cancelling?.isStarted) return this.parts.pool.release(wire)
    if (wire) this.parts.pool.drop(wire)
    const isNobodys = this.isBroken || (error instanceof pg.DatabaseError && error.code !== QUERY_CANCELED)
    if (isNobodys) void this.eachAlone()
    else this.fail(error)
  }

  private breakUp(): void {
    this.isBroken = true
    this.cancelling?.start()
  }

  /** Who it is cannot be told: PostgreSQL keeps small answers back until the last one. */
  private readonly lookForHeldUp = (): void => {
    if (this.guests.size > 1 && performance.now() - this.turnSinceMs >= HELD_UP_MS) {
      this.isHeldUp = true
      this.breakUp()
    } else this.watch = setTimeout(this.lookForHeldUp, HELD_UP_MS)
  }

  /** One after the other, so that they are no more of a burden than they were together; but nobody waits for one that is held up, and others may be held up as it is. */
  private async eachAlone(): Promise<void> {
    for (const guest of this.sent) {
      if (!this.guests.has(guest)) continue
      this.part(guest)
      const answering = guest.quick.alone(null)
      guest.resolve(answering)
      if (!this.isHeldUp) await answering.catch(() => undefined) // the guest's to know
    }
  }

  private part(guest: Guest): void {
    this.guests.delete(guest)
    guest.quick.options.signal.removeEventListener('abort', guest.leave)
  }
}
