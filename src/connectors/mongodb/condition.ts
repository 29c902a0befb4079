/** Predicates as expressions. Each is compiled to when it is TRUE and when it is FALSE, so that MongoDB's own logic, in which null is false, decides nothing. */
import { operandValue } from '../../query/evaluate.js'
import { parseGlobalId } from '../../query/global-id.js'
import type { Operand, Predicate, Scalar } from '../../query/predicate.js'
import { keyScalar } from '../../query/value.js'
import type { Values } from '../connector.js'
import { type Compared, comparison, holdsAll, membership, textComparison, type Truth, UNKNOWN } from './comparison.js'
import { allOf, anyOf, isKnown, negated, Place, type Template } from './template.js'
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
  related(field: string, where: Predicate): Template
}

/** When the predicate is TRUE. */
export function isTrue(predicate: Predicate, scope: Scope): Template {
  return truth(predicate, scope).isTrue
}

function truth(predicate: Predicate, scope: Scope): Truth {
  const three = threeValued(predicate, scope)
  return scope.logic === 'threeValued' ? three : { isTrue: three.isTrue, isFalse: negated(three.isTrue) }
}

function threeValued(predicate: Predicate, scope: Scope): Truth {
  switch (predicate.kind) {
    case 'all':
      return { isTrue: true, isFalse: false }
    case 'none':
      return { isTrue: false, isFalse: true }
    case 'and':
    case 'or': {
      const terms = predicate.terms.map((term) => truth(term, scope))
      const [whenTrue, whenFalse] = predicate.kind === 'and' ? [allOf, anyOf] : [anyOf, allOf]
      return { isTrue: whenTrue(terms.map((term) => term.isTrue)), isFalse: whenFalse(terms.map((term) => term.isFalse)) }
    }
    case 'not': {
      const { isTrue, isFalse } = truth(predicate.term, scope)
      return { isTrue: isFalse, isFalse: isTrue }
    }
    case 'isTrue':
    case 'isFalse': {
      const inner = truth(predicate.term, scope)
      const holds = predicate.kind === 'isTrue' ? inner.isTrue : inner.isFalse
      return { isTrue: holds, isFalse: negated(holds) }
    }
    case 'isNull': {
      if (!scope.isBound(predicate.field)) return UNKNOWN
      const known = isKnown(scope.compared(predicate.field).value)
      return { isTrue: negated(known), isFalse: known }
    }
    case 'related': {
      if (!scope.isBound(predicate.field)) return UNKNOWN
      const exists = scope.related(predicate.field, predicate.where)
      return { isTrue: exists, isFalse: negated(exists) }
    }
    case 'linked':
      throw unclaimed('linked', scope.organization)
    case 'idIn': {
      const keys = scope.key.map((field) => scope.compared(field))
      return placed(predicate.operand, (operand) => ids(operand, keys, scope))
    }
    case 'compare':
    case 'in':
    case 'like':
    case 'startsWith':
    case 'contains':
    case 'listContains':
    case 'jsonContains': {
      const of = scope.compared(predicate.field)
      return placed(predicate.operand, (operand) => compared(predicate, of, operand))
    }
  }
}

type Comparison = Extract<Predicate, { kind: 'compare' | 'in' | 'like' | 'startsWith' | 'contains' | 'listContains' | 'jsonContains' }>

function compared(term: Comparison, of: Compared, operand: Scalar | readonly Scalar[]): Truth {
  const list = isList(operand) ? operand : [operand]
  if (term.kind === 'in') return membership(of, list)
  if (term.kind === 'listContains') return holdsAll(of, list)
  if (isList(operand)) return UNKNOWN
  return term.kind === 'compare' ? comparison(of, term.op, operand) : textComparison(of, term, operand)
}

/** Every part of an id must be the exact text of the key's value. */
function ids(operand: Scalar | readonly Scalar[], keys: readonly Compared[], scope: Scope): Truth {
  const found = (isList(operand) ? operand : [operand]).flatMap((scalar): Template[] => {
    const id = typeof scalar === 'string' ? parseGlobalId(scalar) : null
    if (id?.type !== scope.type || id.organization !== scope.organization || id.key.length !== keys.length) return []
    return [allOf(keys.map((key, index) => comparison(key, '=', keyScalar(key.field.type, id.key[index] ?? '')).isTrue))]
  })
  const isTrue = anyOf(found)
  return { isTrue, isFalse: negated(isTrue) }
}

/** Unknown where there is no operand. */
function placed(operand: Operand, make: (value: Scalar | readonly Scalar[]) => Truth): Truth {
  const truthOf = (values: Values): Truth => {
    const value = operandValue(operand, values)
    return value === null ? UNKNOWN : make(value)
  }
  const label = operand.kind === 'slot' ? `slot ${operand.index}` : operand.kind === 'claim' ? 'claim' : 'constant'
  return { isTrue: new Place(label, (values) => truthOf(values).isTrue), isFalse: new Place(`not ${label}`, (values) => truthOf(values).isFalse) }
}

function isList(value: Scalar | readonly Scalar[]): value is readonly Scalar[] {
  return typeof value === 'object'
}
