import type { Wire } from './wire.js'

/** How long a cancelled flush may take to end. */
const CANCELLED_WAIT_MS = 1_000
/** Between cancel requests for one flush. */
const CANCEL_AGAIN_MS = 40

/** The cancelling of what runs on a wire, should it come to that. Who uses it drops the wire then: see `docs/decisions`, 4. */
export class Cancelling {
  isStarted = false
  private isOver = false
  private hangUp: NodeJS.Timeout | null = null

  constructor(private readonly wire: Wire) {}

  start(): void {
    if (this.isOver || this.isStarted) return
    this.isStarted = true
    // A server that waits for us to read takes no notice of a cancel request: what still comes is read, and dropped by the receiver.
    this.wire.resume()
    // A server that cannot be reached any more answers to no cancel request either: nobody waits for it beyond this.
    this.hangUp = setTimeout(() => this.wire.destroy(), CANCELLED_WAIT_MS)
    void this.repeat()
  }

  /** The flush has ended. */
  over(): void {
    this.isOver = true
    if (this.hangUp) clearTimeout(this.hangUp)
  }

  /** A request that arrives before the statement has begun is lost on the server, so it is repeated; the connection is closed in any case. */
  private async repeat(): Promise<void> {
    const until = performance.now() + CANCELLED_WAIT_MS
    while (!this.isOver && performance.now() < until) {
      await this.wire.cancel().catch(() => undefined)
      if (!this.isOver) await new Promise((resolve) => setTimeout(resolve, CANCEL_AGAIN_MS))
    }
  }
}
