/** Connections to one store. The one that was used last is used first, so that what is not needed can go. */
import type { Signal } from '../../abort.js'
import { GatewayError } from '../../errors.js'
import { Wire, type WireOptions } from './wire.js'

export interface PoolLimits {
  /** Connections. */
  readonly max: number
  /** Requests that may wait for a connection to become free; one more is refused as SOURCE_BUSY. */
  readonly waitingMax: number
  /** How long opening a connection may take. */
  readonly connectMs: number
  /** After which an unused connection is closed. */
  readonly idleMs: number
}

interface Waiter {
  resolve(wire: Wire): void
  reject(error: unknown): void
}

export class WirePool {
  /** Last used last. */
  private readonly idle: Wire[] = []
  private readonly waiting = new Set<Waiter>()
  /** Those that were not given up. */
  private readonly wires = new Set<Wire>()
  /** Those that are still being closed too. */
  private readonly connected = new Set<Wire>()
  private opening = 0
  private idleTimer: NodeJS.Timeout | null = null
  private isClosing = false
  private allClosed: () => void = () => undefined

  constructor(
    private readonly store: string,
    private readonly limits: PoolLimits,
    private readonly options: WireOptions,
  ) {}

  /** Connections, those that are being opened included. */
  get size(): number {
    return this.wires.size + this.opening
  }

  /** Connections that somebody has or waits for. */
  get busy(): number {
    return this.size - this.idle.length
  }

  /** One that is idle, at once: no promise and no listener on the way of most requests. */
  take(): Wire | null {
    for (;;) {
      const wire = this.idle.pop()
      if (!wire) return null
      if (wire.isUsable) return wire
      this.drop(wire)
    }
  }

  /** @throws GatewayError SOURCE_BUSY; the reason of `signal`; what opening a connection threw. */
  acquire(signal: Signal): Promise<Wire> {
    return new Promise((resolve, reject) => {
      const wire = this.isClosing ? null : this.take()
      if (wire) return resolve(wire)
      if (this.isClosing) return reject(new Error('the store is closed'))
      if (signal.aborted) return reject(signal.reason as unknown)
      const isOpened = this.size < this.limits.max
      // Who waits for a connection that is being opened does not wait for others to be ready.
      if (!isOpened && this.waiting.size - this.opening >= this.limits.waitingMax) {
        return reject(new GatewayError('SOURCE_BUSY', `store \`${this.store}\` has too many requests waiting`))
      }
      const leave = (): void => {
        this.waiting.delete(waiter)
        reject(signal.reason as unknown)
      }
      const waiter: Waiter = {
        resolve: (given) => {
          signal.removeEventListener('abort', leave)
          resolve(given)
        },
        reject: (error) => {
          signal.removeEventListener('abort', leave)
          reject(error)
        },
      }
      signal.addEventListener('abort', leave)
      this.waiting.add(waiter)
      if (isOpened) this.open()
    })
  }

  /** Takes back what works. */
  release(wire: Wire): void {
    if (this.isClosing || !wire.isUsable) return this.drop(wire)
    const waiter = this.next()
    if (waiter) return waiter.resolve(wire)
    wire.idleSinceMs = performance.now()
    this.idle.push(wire)
    this.idleTimer ??= this.closeIdleAfter(this.limits.idleMs)
  }

  /** Ends what nobody may use again, and gives its place to those who wait. */
  drop(wire: Wire): void {
    this.wires.delete(wire)
    wire.end()
    this.openForWaiting()
  }

  /** Resolves when all connections are closed: idle ones now, the others when their requests have ended. Who waits for one is refused. */
  async close(): Promise<void> {
    this.isClosing = true
    if (this.idleTimer) clearTimeout(this.idleTimer)
    for (const waiter of this.waiting) waiter.reject(new Error('the store is closed'))
    this.waiting.clear()
    for (const wire of this.idle.splice(0)) this.drop(wire)
    if (this.connected.size + this.opening > 0) await new Promise<void>((resolve) => (this.allClosed = resolve))
  }

  private next(): Waiter | null {
    const [waiter] = this.waiting
    if (!waiter) return null
    this.waiting.delete(waiter)
    return waiter
  }

  private openForWaiting(): void {
    if (this.isClosing) return
    for (let missing = this.waiting.size - this.opening; missing > 0 && this.size < this.limits.max; missing -= 1) this.open()
  }

  private open(): void {
    this.opening += 1
    Wire.open(this.options).then(
      (wire) => {
        this.opening -= 1
        wire.onClosed = () => this.forget(wire)
        this.wires.add(wire)
        if (!wire.isClosed) this.connected.add(wire)
        this.release(wire)
        this.endIfClosed()
      },
      (error: unknown) => {
        this.opening -= 1
        this.next()?.reject(error) // each attempt fails one of those who wait
        this.openForWaiting()
        this.endIfClosed()
      },
    )
  }

  private forget(wire: Wire): void {
    this.connected.delete(wire)
    const at = this.idle.indexOf(wire)
    if (at >= 0) this.idle.splice(at, 1)
    if (this.wires.delete(wire)) this.openForWaiting()
    this.endIfClosed()
  }

  private endIfClosed(): void {
    if (this.isClosing && this.connected.size + this.opening === 0) this.allClosed()
  }

  /** One timer for all of them: the first of `idle` is the one that was unused the longest. */
  private closeIdleAfter(waitMs: number): NodeJS.Timeout {
    return setTimeout(() => {
      const now = performance.now()
      const kept = this.idle.findIndex((wire) => wire.idleSinceMs + this.limits.idleMs > now)
      const unused = this.idle.splice(0, kept < 0 ? this.idle.length : kept)
      const [oldest] = this.idle
      this.idleTimer = oldest ? this.closeIdleAfter(oldest.idleSinceMs + this.limits.idleMs - now) : null
      for (const wire of unused) this.drop(wire)
    }, waitMs).unref()
  }
}
