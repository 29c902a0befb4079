/** One flush on one wire: from its rows to answers, no faster than they are read, and its end in every way in which it can end. */
import { GatewayError } from '../../errors.js'
import type { Answer, Chunk, ExecuteOptions } from '../connector.js'
import { Cancelling } from './cancelling.js'
import { ChunkBuilder, type RowShape } from './chunk-builder.js'
import type { FlushStatement } from './flush.js'
import type { Pace } from './pace.js'
import type { WirePool } from './wire-pool.js'
import type { Receiver, Wire } from './wire.js'

export interface Flush {
  readonly statements: readonly FlushStatement[]
  /** Statements in front that are not asked for their rows. */
  readonly head: number
  /** Of the statements behind them. What follows gives no rows. */
  readonly shapes: readonly RowShape[]
}

export interface ExecutionParts {
  readonly wire: Wire
  readonly pool: WirePool
  readonly options: ExecuteOptions
  /** Of the statement, where there is one; notes how it went. */
  readonly pace: Pace | null
  /** The driver's error in our words. */
  readonly failure: (error: unknown) => GatewayError
}

/** @throws GatewayError as `failure` makes them. */
export function execution(flush: Flush, parts: ExecutionParts): Promise<readonly Answer[]> {
  return new Promise((resolve, reject) => {
    new Execution(flush, parts, resolve, reject).start(flush.statements)
  })
}

class Execution implements Receiver {
  private readonly answers: readonly OpenAnswer[]
  /** Of the statement whose rows come now. */
  private current: number
  /** Of rows that nobody has taken yet. */
  private unreadBytes = 0
  private bytes = 0
  private sinceMs = 0
  private isHandedOver = false
  private isPaused = false
  /** Nothing comes any more, and the wire is not ours. */
  private isOver = false
  /** Why nobody gets any more rows. */
  private failure: Error | null = null
  private readonly cancelling: Cancelling

  constructor(
    flush: Flush,
    private readonly parts: ExecutionParts,
    private readonly resolve: (answers: readonly Answer[]) => void,
    private readonly reject: (error: Error) => void,
  ) {
    this.current = -flush.head
    this.cancelling = new Cancelling(parts.wire)
    this.answers = flush.shapes.map((shape) => new OpenAnswer(shape))
  }

  start(statements: readonly FlushStatement[]): void {
    const { wire, pool, options } = this.parts
    if (options.signal.aborted) {
      pool.release(wire)
      return this.reject(this.parts.failure(null))
    }
    options.signal.addEventListener('abort', this.abort)
    this.sinceMs = performance.now()
    try {
      wire.send(statements, this)
    } catch (error) {
      this.ended(error instanceof Error ? error : new Error('not sent', { cause: error }))
    }
  }

  // --- what the wire tells ---------------------------------------------------------------------------------------------------------------------------------------

  row(bytes: Buffer, at: number, end: number): void {
    const answer = this.answers[this.current]
    if (!answer || this.failure || this.cancelling.isStarted) return
    const { bufferBytes } = this.parts.options
    answer.builder.row(bytes, at, end)
    this.unreadBytes += end - at
    this.bytes += end - at
    if (!this.isHandedOver) {
      if (this.unreadBytes >= bufferBytes) this.handOver()
    } else if (answer.builder.bytes >= bufferBytes) answer.cut()
  }

  statementEnded(): void {
    const answer = this.answers[this.current]
    if (answer) answer.isEnded = true
    this.current += 1
  }

  paused(): void {
    if (!this.isHandedOver || this.isOver || this.failure || this.cancelling.isStarted) return
    this.giveWaiting()
    if (this.unreadBytes < this.parts.options.bufferBytes) return
    this.isPaused = true
    this.parts.wire.pause()
    this.refuseSkipping()
  }

  ended(error: Error | null): void {
    const { wire, pool, options } = this.parts
    this.isOver = true
    const took = { ms: performance.now() - this.sinceMs, busy: pool.busy, bytes: this.bytes }
    if (error || this.cancelling.isStarted) this.parts.pace?.noteCut(took)
    else this.parts.pace?.note(took)
    options.signal.removeEventListener('abort', this.abort)
    this.cancelling.over()
    // A cancel request hits a connection, not a query: one that may still be on its way must not find the next caller's query there, so a connection that was
    // asked to cancel is closed. So is one whose flush failed, since it may be in a failed transaction.
    if (error || this.cancelling.isStarted) {
      pool.drop(wire)
      this.fail(this.parts.failure(error))
    } else {
      pool.release(wire)
      if (this.isHandedOver) this.giveWaiting()
      else this.handOver()
    }
  }

  // --- what readers ask ------------------------------------------------------------------------------------------------------------------------------------------

  private next(answer: OpenAnswer): Promise<IteratorResult<Chunk>> {
    answer.isRead = true
    if (this.failure) return Promise.reject(this.failure)
    const given = answer.take()
    if (!given) {
      return new Promise((resolve, reject) => {
        answer.waiter = { resolve, reject }
        this.refuseSkipping()
      })
    }
    this.unreadBytes -= given.bytes
    if (this.isPaused && this.unreadBytes < this.parts.options.bufferBytes) {
      this.isPaused = false
      this.parts.wire.resume()
    }
    return Promise.resolve(given.result)
  }

  /** A reader goes before the end. */
  private leave(): Promise<IteratorResult<Chunk>> {
    this.fail(new GatewayError('CANCELLED', 'the answers were left before their end'))
    this.cancelling.start()
    return Promise.resolve(DONE)
  }

  private restOf(answer: OpenAnswer): AsyncIterable<Chunk> {
    const iterator: AsyncIterator<Chunk> = { next: () => this.next(answer), return: () => this.leave() }
    return { [Symbol.asyncIterator]: () => iterator }
  }

  private handOver(): void {
    this.isHandedOver = true
    this.unreadBytes = 0
    this.resolve(
      this.answers.map((answer) => ({
        first: answer.builder.take(),
        rest: answer.isEnded ? null : this.restOf(answer),
      })),
    )
  }

  private giveWaiting(): void {
    for (const answer of this.answers) {
      const given = answer.waiter ? answer.take() : null
      if (!given) continue
      this.unreadBytes -= given.bytes
      answer.waiter?.resolve(given.result)
      answer.waiter = null
    }
  }

  /** Whoever waits for a later answer while nobody reads an earlier one, and there is no more room for it, would wait for ever. */
  private refuseSkipping(): void {
    if (!this.isPaused) return
    const waiting = this.answers.findIndex(({ waiter }) => waiter !== null)
    if (!this.answers.some((answer, index) => index < waiting && !answer.isRead && answer.hasNews)) return
    this.fail(new Error('invariant: the answers of a request are read in their order'))
    this.cancelling.start()
  }

  // --- ends ------------------------------------------------------------------------------------------------------------------------------------------------------

  private readonly abort = (): void => {
    // Who waits for the first rows waits until the store has stopped.
    if (this.isHandedOver) this.fail(this.parts.failure(null))
    this.cancelling.start()
  }

  private fail(error: Error): void {
    if (this.failure) return
    this.failure = error
    if (!this.isHandedOver) return this.reject(error)
    for (const answer of this.answers) {
      answer.waiter?.reject(error)
      answer.waiter = null
      answer.forget()
    }
  }
}

interface Given {
  readonly result: IteratorResult<Chunk>
  readonly bytes: number
}

const DONE: IteratorResult<Chunk> = { done: true, value: undefined }
const END: Given = { result: DONE, bytes: 0 }

/** An answer that has not been read to its end. */
class OpenAnswer {
  readonly builder: ChunkBuilder
  isEnded = false
  isRead = false
  waiter: { resolve(result: IteratorResult<Chunk>): void; reject(error: Error): void } | null = null
  private readonly chunks: Given[] = []

  constructor(shape: RowShape) {
    this.builder = new ChunkBuilder(shape)
  }

  get hasNews(): boolean {
    return this.chunks.length > 0 || this.builder.hasNews
  }

  /** Closes a chunk that is large enough. */
  cut(): void {
    const { bytes } = this.builder
    this.chunks.push({ result: { done: false, value: this.builder.take() }, bytes })
  }

  /** The next chunk, though it be small, or the end; null where the store has to be waited for. */
  take(): Given | null {
    if (this.chunks.length === 0 && this.builder.hasNews) this.cut()
    return this.chunks.shift() ?? (this.isEnded ? END : null)
  }

  forget(): void {
    this.chunks.length = 0
    if (this.builder.hasNews) this.builder.take()
  }
}
