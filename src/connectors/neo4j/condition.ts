/** Predicates as Cypher's own conditions, in which NULL is unknown. */
import { operandValue } from '../../query/evaluate.js'
import { parseGlobalId } from '../../query/global-id.js'
import type { Operand, Predicate, Scalar } from '../../query/predicate.js'
import { keyScalar } from '../../query/value.js'
import { type Compared, comparison, holdsAll, membership, textComparison } from './comparison.js'
import { allOf, anyOf, type Cypher, cypher, FALSE, NULL, not, place, TRUE } from './cypher.js'
import { unclaimed } from './unclaimed.js'

/** The rows that a predicate speaks of: of the readable view, or raw. */
export interface Scope {
  readonly type: string
  readonly organization: string
  /** The entity's key. */
  readonly key: readonly string[]
  /** Unknown counts as false in a caller's condition, and `not` is its exact complement; in a policy's it stays unknown. */
  readonly logic: 'twoValued' | 'threeValued'
  compared(field: string): Compared
  /** False where the owner's binding has nothing for the field. */
  isBound(field: string): boolean
  /** Whether a related row fits. */
  related(field: string, where: Predicate): Cypher
}

/** TRUE where the predicate is; what else it is in a policy's condition, NULL may be. */
export function condition(predicate: Predicate, scope: Scope): Cypher {
  switch (predicate.kind) {
    case 'all':
      return TRUE
    case 'none':
      return FALSE
    case 'and':
      return allOf(predicate.terms.map((term) => condition(term, scope)))
    case 'or':
      return anyOf(predicate.terms.map((term) => condition(term, scope)))
    case 'not':
      return not(condition(predicate.term, scope))
    case 'isTrue':
      return known(condition(predicate.term, scope))
    case 'isFalse':
      return known(not(condition(predicate.term, scope)))
    case 'isNull':
      return scope.isBound(predicate.field) ? cypher`(${scope.compared(predicate.field).value} IS NULL)` : closed(NULL, scope)
    case 'related':
      return scope.isBound(predicate.field) ? scope.related(predicate.field, predicate.where) : closed(NULL, scope)
    case 'linked':
    case 'jsonContains':
      throw unclaimed(predicate.kind, scope.organization)
    case 'idIn': {
      const keys = scope.key.map((field) => scope.compared(field))
      return closed(
        placed(predicate.operand, (operand) => ids(operand, keys, scope)),
        scope,
      )
    }
    case 'compare':
    case 'in':
    case 'like':
    case 'startsWith':
    case 'contains':
    case 'listContains': {
      const of = scope.compared(predicate.field)
      return closed(
        placed(predicate.operand, (operand) => compared(predicate, of, operand)),
        scope,
      )
    }
  }
}

function closed(of: Cypher, { logic }: Scope): Cypher {
  return logic === 'twoValued' ? known(of) : of
}

function known(of: Cypher): Cypher {
  return of === TRUE || of === FALSE ? of : of === NULL ? FALSE : cypher`coalesce(${of}, false)`
}

type Comparison = Extract<Predicate, { kind: 'compare' | 'in' | 'like' | 'startsWith' | 'contains' | 'listContains' }>

function compared(term: Comparison, of: Compared, operand: Scalar | readonly Scalar[]): Cypher {
  const list = isList(operand) ? operand : [operand]
  if (term.kind === 'in') return membership(of, list)
  if (term.kind === 'listContains') return holdsAll(of, list)
  if (isList(operand)) return NULL
  return term.kind === 'compare' ? comparison(of, term.op, operand) : textComparison(of, term, operand)
}

/** Every part of an id must be the exact text of the key's value. */
function ids(operand: Scalar | readonly Scalar[], keys: readonly Compared[], scope: Scope): Cypher {
  const found = (isList(operand) ? operand : [operand]).flatMap((scalar): Cypher[] => {
    const id = typeof scalar === 'string' ? parseGlobalId(scalar) : null
    if (id?.type !== scope.type || id.organization !== scope.organization || id.key.length !== keys.length) return []
    return [known(allOf(keys.map((key, index) => comparison(key, '=', keyScalar(key.field.type, id.key[index] ?? '')))))]
  })
  return anyOf(found)
}

/** Unknown where there is no operand. */
function placed(operand: Operand, make: (value: Scalar | readonly Scalar[]) => Cypher): Cypher {
  const label = operand.kind === 'slot' ? `slot ${operand.index}` : operand.kind === 'claim' ? 'claim' : 'constant'
  return place(label, (values) => {
    const value = operandValue(operand, values)
    return value === null ? NULL : make(value)
  })
}

function isList(value: Scalar | readonly Scalar[]): value is readonly Scalar[] {
  return typeof value === 'object'
}
