/** How near a row is to what a search is for. */
import { operandValue } from '../../query/evaluate.js'
import type { Search } from '../../query/plan.js'
import { elementsOf, scoreText } from '../../query/score.js'
import type { Reading, ViewRow } from './row.js'

/** The score's sort key; null where the row has none. */
export function searchScore(reading: Reading, { field, metric, to }: Search, row: ViewRow): string | null {
  const target = operandValue(to, reading.values)
  const own = row.value(field)
  if (typeof own !== 'string' || typeof target !== 'string') return null
  return scoreText(metric, elementsOf(own), elementsOf(target))
}
