/**
 * Vectors of texts by feature hashing (Weinberger et al., 2009): each word adds one or takes one away at the place that its digest says, and the sum is made a unit
 * vector. Texts with words in common are near to each other; what words mean it does not know. It stands in for a language model, which a demo cannot bring along.
 */
import { createHash } from 'node:crypto'

/** As the contract of the demo says. */
export const DIMENSIONS = 32

/** Null for a text without words. Elements have four decimals. */
export function featureHash(text: string): readonly number[] | null {
  const sums = Array.from({ length: DIMENSIONS }, () => 0)
  for (const word of text.toLowerCase().match(/[\p{Letter}\p{Number}]+/gu) ?? []) {
    const digest = createHash('md5').update(word).digest()
    const place = digest.readUInt32BE(0) % DIMENSIONS
    sums[place] = (sums[place] ?? 0) + (digest.readUInt8(4) % 2 === 0 ? 1 : -1)
  }
  const length = Math.hypot(...sums)
  return length === 0 ? null : sums.map((sum) => Math.round((sum / length) * 10_000) / 10_000 + 0)
}
