/** Requests of nobody known that were refused: strangers cannot fill or stall a ledger, so they are counted. */
import type { Code } from '../errors.js'
import type { LedgerStore } from './ledger-store.js'
import type { LedgerParts } from './ledger.js'

/** Counts by code and interval. Memory is bounded by the number of codes: what could not be written waits in one frozen interval while the next one counts. */
export class RefusalCounter {
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
