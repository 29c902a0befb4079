/** The values of one request: what an operand holds, what must hold of it, and what all of them cost. */
import { GatewayError } from '../errors.js'
import type { Operand, Scalar } from '../query/predicate.js'
import type { BoundPlan, CostNode } from './bound-plan.js'
import { checkText } from './input.js'
import type { EngineLimits, Run } from './run.js'

export function operandValue(operand: Operand, slots: readonly (Scalar | readonly Scalar[] | null)[]): Scalar | readonly Scalar[] | null {
  if (operand.kind === 'constant') return operand.value
  return operand.kind === 'slot' ? (slots[operand.index] ?? null) : null
}

export function namesOf(operand: Operand | null, slots: readonly (Scalar | readonly Scalar[] | null)[]): readonly string[] | null {
  const value = operand ? operandValue(operand, slots) : null
  return value === null ? null : [value].flat().map(String)
}

/** What must hold of values in every request, whatever plan serves it. */
export function checkValues(bound: BoundPlan, slots: readonly (Scalar | readonly Scalar[] | null)[], limits: EngineLimits): void {
  let listValues = 0
  for (const [index, value] of slots.entries()) {
    checkText(value)
    if (Array.isArray(value) && bound.slots[index]?.kind !== 'derived') listValues += value.length
  }
  if (listValues > limits.listValues) throw new GatewayError('QUERY_TOO_COSTLY', `more than ${limits.listValues} values in lists`)
  for (const { operand, kind, argument } of bound.checks) {
    const value = operandValue(operand, slots)
    if (kind === 'likePattern') {
      if (/(^|[^\\])(\\\\)*\\$/.test(String(value))) throw new GatewayError('BAD_USER_INPUT', 'a pattern ends in a lone backslash', { argument })
    } else if (kind === 'ids') {
      if (Array.isArray(value) && value.length > limits.pageRows) throw new GatewayError('BAD_USER_INPUT', `more than ${limits.pageRows} ids`, { argument })
    } else if (typeof kind === 'object') {
      // The canonical text has a comma between two elements, and none elsewhere. A row's own vector is not here yet.
      if (value !== null && String(value).split(',').length !== kind.dimensions)
        throw new GatewayError('BAD_USER_INPUT', `not a vector of ${kind.dimensions} dimensions`, { argument })
    } else if (kind === 'nearestRows') {
      if (typeof value !== 'number' || value < 1 || value > limits.pageRows)
        throw new GatewayError('BAD_USER_INPUT', `not between 1 and ${limits.pageRows}`, { argument })
    } else if (kind === 'steps') {
      if (typeof value !== 'number' || value < 1 || value > limits.steps)
        throw new GatewayError('BAD_USER_INPUT', `not between 1 and ${limits.steps}`, { argument })
    } else if (kind === 'fraction') {
      if (typeof value !== 'number' || value < 0 || value > 1) throw new GatewayError('BAD_USER_INPUT', 'not between 0 and 1', { argument })
    } else {
      const max = kind === 'rows' ? limits.pageRows : limits.nestedRows
      if (typeof value !== 'number' || value < 0 || value > max) throw new GatewayError('BAD_USER_INPUT', `not between 0 and ${max}`, { argument })
    }
  }
}

export function costOf({ bound, slots }: Run): number {
  const cost = (node: CostNode): number =>
    rowsAsked(operandValue(node.rows, slots)) * (1 + node.nested.reduce((sum, inner) => sum + cost(inner), 0)) + node.fixed
  return bound.cost.reduce((sum, node) => sum + cost(node), 0)
}

/** A number of rows, or the ids of rows. */
function rowsAsked(value: ReturnType<typeof operandValue>): number {
  if (typeof value === 'object') return value?.length ?? 0
  return typeof value === 'number' ? value : 1
}
