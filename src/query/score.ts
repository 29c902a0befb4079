/** How near a vector is to another: the score of a search (see `Search` of plan.ts), the same in every store that leaves it to the gateway's process. */
import type { VectorMetric } from './catalog.js'
import { printFloat } from './decimal.js'

/** The score's sort key; null where there is none. */
export function scoreText(metric: VectorMetric, own: readonly number[], target: readonly number[]): string | null {
  const score = scoreOf(metric, own, target)
  return Number.isFinite(score) ? printFloat(score + 0) : null
}

/** Of a vector's JSON text, as single precision holds them, whatever digits they were printed with. */
export function elementsOf(vector: string): readonly number[] {
  return (JSON.parse(vector) as readonly number[]).map(Math.fround)
}

/** In double precision, element by element; not finite where there is no score. */
export function scoreOf(metric: VectorMetric, a: readonly number[], b: readonly number[]): number {
  const sum = (of: (x: number, y: number) => number): number => a.reduce((total, x, index) => total + of(x, b[index] ?? Number.NaN), 0)
  switch (metric) {
    case 'COSINE': {
      const cosine = sum((x, y) => x * y) / Math.sqrt(sum((x) => x * x) * sum((_, y) => y * y))
      return 1 - (1 - Math.max(-1, Math.min(1, cosine)))
    }
    case 'L2':
      return -Math.sqrt(sum((x, y) => (x - y) * (x - y)))
    case 'INNER_PRODUCT':
      return sum((x, y) => x * y)
  }
}
