/** How near a row is to what a search is for. */
import type { VectorMetric } from '../../query/catalog.js'
import { printFloat } from '../../query/decimal.js'
import { operandValue } from '../../query/evaluate.js'
import type { Search } from '../../query/plan.js'
import type { Reading, ViewRow } from './row.js'

/** The score's sort key; null where the row has none. */
export function searchScore(reading: Reading, { field, metric, to }: Search, row: ViewRow): string | null {
  const target = operandValue(to, reading.values)
  const own = row.value(field)
  if (typeof own !== 'string' || typeof target !== 'string') return null
  const score = scoreOf(metric, elementsOf(own), elementsOf(target))
  return Number.isFinite(score) ? printFloat(score + 0) : null
}

/** As single precision holds them, whatever digits they were printed with. */
function elementsOf(vector: string): readonly number[] {
  return (JSON.parse(vector) as readonly number[]).map(Math.fround)
}

function scoreOf(metric: VectorMetric, a: readonly number[], b: readonly number[]): number {
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
