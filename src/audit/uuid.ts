/** UUIDs of version 7 (RFC 9562, section 5.7): 48 bits of milliseconds, then 74 bits that this file draws at random. */

/** Fills with bytes nobody can guess; `crypto.randomBytes` in production, a fixed sequence in tests. */
export type Random = (bytes: number) => Uint8Array

/**
 * A UUIDv7 whose 74 free bits are all random. Two of one millisecond have no order, so they tell nothing about how many were made between them: what a ledger
 * shows its owner is made so.
 *
 * @param timeMs milliseconds since the Unix epoch.
 */
export function uuidV7(timeMs: number, random: Random): string {
  return format(timeMs, tailOf(random))
}

/**
 * A source of UUIDv7 that only grow, also within a millisecond and when the clock steps back (RFC 9562, section 6.2, method 2: the free bits count up by a
 * random step). For the request ids of one process.
 */
export function uuidSource(parts: { readonly now: () => number; readonly random: Random }): () => string {
  let lastMs = 0
  let tail = 0n
  return () => {
    const nowMs = parts.now()
    if (nowMs > lastMs) {
      lastMs = nowMs
      tail = tailOf(parts.random)
    } else {
      tail += stepOf(parts.random)
      if (tail >= TAIL_END) {
        // The millisecond is used up: borrow the next one.
        lastMs += 1
        tail = tailOf(parts.random)
      }
    }
    return format(lastMs, tail)
  }
}

const TAIL_END = 1n << 74n

function tailOf(random: Random): bigint {
  return BigInt(`0x${Buffer.from(random(10)).toString('hex')}`) & (TAIL_END - 1n)
}

/** From 1 to 2^40. */
function stepOf(random: Random): bigint {
  return BigInt(`0x${Buffer.from(random(5)).toString('hex')}`) + 1n
}

function format(timeMs: number, tail: bigint): string {
  const time = Math.trunc(timeMs).toString(16).padStart(12, '0')
  const high = (0x7000n | (tail >> 62n)).toString(16)
  const low = ((1n << 63n) | (tail & ((1n << 62n) - 1n))).toString(16)
  return `${time.slice(0, 8)}-${time.slice(8)}-${high}-${low.slice(0, 4)}-${low.slice(4)}`
}
