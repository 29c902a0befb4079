/**
 * Which rows are nearest, of those that Milvus finds near in single precision: their scores are made anew, and more are asked for until no row that was not given could
 * belong to them.
 */
import type { VectorMetric } from '../../query/catalog.js'
import { scoreOf } from '../../query/score.js'

/** How many a search of Milvus gives at most. */
export const HITS_MAX = 16_384
/** Beyond those that are wanted, to see at once that the last of them is clearly nearer than what follows. */
const SPARE = 16

export function hitsFor(wanted: number, near: 'exact' | 'approximate'): number {
  return Math.min(HITS_MAX, near === 'exact' ? wanted + SPARE : 5 * wanted)
}

export function moreHits(hits: number): number | null {
  return hits >= HITS_MAX ? null : Math.min(HITS_MAX, hits * 4)
}

/** What is known of the hits of one search. */
export interface Hits {
  readonly metric: VectorMetric
  readonly target: readonly number[]
  /** As Milvus orders them; each with the score that it has here (`null`: none, or it is not wanted). */
  readonly scores: readonly (number | null)[]
  /** Milvus' own number of the farthest one. */
  readonly last: number
  /** The longest of their vectors. */
  readonly length: number
}

/** Whether the best `wanted` of the hits are the best of all rows, those that Milvus did not give included. */
export function isSettled({ metric, target, scores, last, length }: Hits, wanted: number): boolean {
  const best = scores.filter((score) => score !== null).sort((a, b) => b - a)
  const worst = best[wanted - 1]
  return worst !== undefined && worst > limitOf(metric, last, { target, length })
}

const UNIT = 2 ** -24

/**
 * What a row that Milvus ranks at `last` or below can score at most. A sum of n products in single precision is wrong by at most n units of the sum of their sizes; a few
 * more are for square roots and divisions. Of an inner product that depends on the length of a vector that was not given: twice the longest that was is taken.
 */
function limitOf(metric: VectorMetric, last: number, { target, length }: { readonly target: readonly number[]; readonly length: number }): number {
  const error = (2 * target.length + 16) * UNIT
  switch (metric) {
    case 'COSINE':
      return last + error
    case 'L2':
      return -Math.sqrt(Math.max(0, last)) * (1 - error)
    case 'INNER_PRODUCT':
      return last + error * lengthOf(target) * 2 * length
  }
}

export function lengthOf(vector: readonly number[]): number {
  return Math.sqrt(scoreOf('INNER_PRODUCT', vector, vector))
}
