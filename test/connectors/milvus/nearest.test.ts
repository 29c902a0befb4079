import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { isSettled } from '../../../src/connectors/milvus/nearest.js'
import { scoreOf } from '../../../src/query/score.js'

/** As a store computes in single precision, rounding after every step. */
function singleNumber(metric: 'COSINE' | 'L2' | 'INNER_PRODUCT', a: readonly number[], b: readonly number[]): number {
  const sum = (of: (x: number, y: number) => number): number => a.reduce((total, x, index) => Math.fround(total + Math.fround(of(x, b[index] ?? 0))), 0)
  const dot = sum((x, y) => x * y)
  if (metric === 'INNER_PRODUCT') return dot
  if (metric === 'L2') return sum((x, y) => Math.fround(x - y) * Math.fround(x - y))
  return Math.fround(dot / Math.fround(Math.sqrt(Math.fround(sum((x) => x * x) * sum((_, y) => y * y)))))
}

describe('hits of a search in single precision', () => {
  const element = fc.integer({ min: -1_000, max: 1_000 }).map((number) => Math.fround(1 + number / 1e7))
  const vector = fc.array(element, { minLength: 8, maxLength: 8 })

  it('are enough only where no row that was not given could be among the nearest', () => {
    const metrics = fc.constantFrom('COSINE' as const, 'L2' as const, 'INNER_PRODUCT' as const)
    const tally = { settled: 0, open: 0, misordered: 0 }
    fc.assert(
      fc.property(metrics, vector, fc.array(vector, { minLength: 20, maxLength: 40 }), fc.integer({ min: 1, max: 8 }), (metric, target, rows, wanted) => {
        const nearFirst = metric === 'L2' ? 1 : -1
        const ranked = rows
          .map((row) => ({ row, number: singleNumber(metric, row, target), score: scoreOf(metric, row, target) }))
          .sort((a, b) => (a.number - b.number) * nearFirst)
        const given = ranked.slice(0, 12)
        const length = Math.max(...given.map(({ row }) => Math.sqrt(scoreOf('INNER_PRODUCT', row, row))))
        const isEnough = isSettled({ metric, target, scores: given.map(({ score }) => score), last: given.at(-1)?.number ?? NaN, length }, wanted)
        tally[isEnough ? 'settled' : 'open'] += 1
        const best = (of: typeof ranked): readonly number[] => of.map(({ score }) => score).sort((a, b) => b - a).slice(0, wanted) // prettier-ignore
        if (isEnough) expect(best(given)).toEqual(best(ranked))
        else if (JSON.stringify(best(given)) !== JSON.stringify(best(ranked))) tally.misordered += 1
      }),
      { numRuns: 2_000, seed: 11 },
    )
    // Vectors this close to each other are told apart by no search in single precision: the test has cases of each kind.
    expect(tally.open).toBeGreaterThan(100)
    expect(tally.misordered).toBeGreaterThan(0)
  })

  it('are enough where rows lie far apart, and not where the last wanted one is as near as what may follow', () => {
    const scores = [0, -1, -2, -3]
    const hits = { metric: 'L2' as const, target: [0, 0], scores, last: 9, length: 1 }
    expect([isSettled(hits, 3), isSettled(hits, 4), isSettled(hits, 5)]).toEqual([true, false, false])
    expect(isSettled({ ...hits, scores: [0, null, null, -3] }, 2)).toBe(false)
  })
})
