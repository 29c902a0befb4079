/** Rows that are some steps away: breadth first over readable rows. */
import { invariant } from '../../errors.js'
import { operandValue } from '../../query/evaluate.js'
import type { Traversal } from '../../query/plan.js'
import type { Reading, ViewRow } from './row.js'

export interface Reached {
  readonly row: ViewRow
  /** The least number of steps. */
  readonly depth: number
}

/** All but the start. Null where a relation of the step is absent: of that the caller may not even know where it leads. */
export function rowsReached(reading: Reading, traversal: Traversal, start: ViewRow): Reached[] | null {
  if (!isWalkable(reading, traversal)) return null
  const { type, via, direction } = traversal
  const out = (row: ViewRow): readonly ViewRow[] => via.reduce<readonly ViewRow[]>((rows, field) => rows.flatMap((each) => each.related(field)), [row])
  const back = (row: ViewRow): readonly ViewRow[] => reading.viewRows(type).filter((other) => out(other).includes(row))
  const depths = new Map([[start, 0]])
  let edge: readonly ViewRow[] = [start]
  for (let depth = 1; depth <= depthMax(reading, traversal) && edge.length > 0; depth += 1) {
    const next = edge.flatMap((row) => [...(direction === 'in' ? [] : out(row)), ...(direction === 'out' ? [] : back(row))])
    edge = [...new Set(next)].filter((row) => !depths.has(row))
    for (const row of edge) depths.set(row, depth)
  }
  return [...depths].flatMap(([row, depth]) => (depth > 0 ? [{ row, depth }] : []))
}

function isWalkable(reading: Reading, { type, via }: Traversal): boolean {
  let at = type
  return via.every((field) => {
    const relation = reading.plan.catalog.entities.get(at)?.fields.get(field)
    const shown = reading.plan.views.get(at)?.fields.get(field)
    if (!relation || relation.kind === 'value' || !shown || shown.kind === 'absent') return false
    at = relation.target
    return true
  })
}

function depthMax({ values }: Reading, { depth }: Traversal): number {
  const steps = operandValue(depth, values)
  invariant(typeof steps === 'number' && steps >= 1, 'a depth is a number')
  return steps
}
