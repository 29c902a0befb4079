/** How a statement went lately: how much of the store's time it took, and how much it gave. Whoever shares a flush with it waits for it. */
export class Pace {
  #runs = 0
  #ms: number
  #bytes = 0

  private constructor(ms: number | null) {
    this.#ms = ms ?? 0
    this.#runs = ms === null ? 0 : RUNS_MIN
  }

  /** Of a statement that finds one row by its key: taken as quick until it is known better. */
  static ofLookup(): Pace {
    return new Pace(LOOKUP_MS)
  }

  static unknown(): Pace {
    return new Pace(null)
  }

  /**
   * `ms` from its turn to its end, while `busy` connections had something to do, and bytes of its rows. Those that run at one time wait for each other: were their time
   * counted whole, statements would look slow for no other reason than that each has a connection of its own. What took longer once counts soon, and is forgotten slowly.
   */
  note({ ms: wholeMs, busy, bytes }: { readonly ms: number; readonly busy: number; readonly bytes: number }): void {
    const ms = wholeMs / Math.max(1, busy)
    const share = this.#runs === 0 ? 1 : ms > this.#ms ? RISE : FALL
    this.#runs = Math.min(this.#runs + 1, RUNS_MIN)
    this.#ms += share * (ms - this.#ms)
    this.#bytes += share * (bytes - this.#bytes)
  }

  /** It was cut off after so long, and would have gone on: that makes nothing quick, however early it was. */
  noteCut({ ms: wholeMs, busy }: { readonly ms: number; readonly busy: number }): void {
    const ms = wholeMs / Math.max(1, busy)
    if (ms > this.#ms) this.#ms += RISE * (ms - this.#ms)
  }

  /** What it is expected to take. */
  get ms(): number {
    return this.#ms
  }

  /** Known well enough, and short. */
  get isQuick(): boolean {
    return this.#runs >= RUNS_MIN && this.#ms <= QUICK_MS && this.#bytes <= QUICK_BYTES
  }
}

const RUNS_MIN = 3
const LOOKUP_MS = 1
const QUICK_MS = 20
const QUICK_BYTES = 64 * 1024
const RISE = 0.5
const FALL = 0.1
