/** Predicates as boolean expressions. Each is compiled to when it is TRUE and when it is FALSE, since Milvus knows no third value. */
import { operandValue, truthOf } from '../../query/evaluate.js'
import { parseGlobalId } from '../../query/global-id.js'
import type { Operand, Predicate, Scalar } from '../../query/predicate.js'
import type { Values } from '../connector.js'
import { type Compared, comparison, holdsAll, isKnown, membership, type Truth, UNKNOWN } from './comparison.js'
import { INTEGER_BITS } from './field-type.js'
import { ALWAYS, allOf, anyOf, type Filter, negated, NEVER } from './filter.js'
import type { SourceRow } from './row.js'
import { unclaimed } from './unclaimed.js'

/** The rows that a predicate speaks of: of the readable view, or raw. */
export interface Scope {
  readonly type: string
  readonly organization: string
  /** The entity's one key field. */
  readonly key: string
  /** Unknown counts as false in a caller's condition, and `not` is its exact complement; in a policy's it stays unknown. */
  readonly logic: 'twoValued' | 'threeValued'
  /** Null: the owner's binding does not give it. `constant`: it has one value in all rows that it is shown in. */
  source(field: string): Source | null
  /** A row that has nothing but constants. */
  readonly constants: SourceRow
}

export type Source = Compared | { readonly constant: true; readonly shown: Filter }

/** When the predicate is TRUE. @throws GatewayError FIELD_NOT_USABLE for what Milvus does not answer as the contract means it. */
export function isTrue(predicate: Predicate, scope: Scope): Filter {
  return truth(predicate, scope).isTrue
}

function truth(predicate: Predicate, scope: Scope): Truth {
  const three = threeValued(predicate, scope)
  return scope.logic === 'threeValued' ? three : { isTrue: three.isTrue, isFalse: negated(three.isTrue) }
}

function threeValued(predicate: Predicate, scope: Scope): Truth {
  switch (predicate.kind) {
    case 'all':
      return { isTrue: ALWAYS, isFalse: NEVER }
    case 'none':
      return { isTrue: NEVER, isFalse: ALWAYS }
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
    case 'idIn':
      return placed('id', predicate.operand, (operand) => ids(operand, scope))
    case 'isNull':
    case 'compare':
    case 'in':
    case 'listContains': {
      const of = scope.source(predicate.field)
      return of === null ? UNKNOWN : 'constant' in of ? constantTruth(predicate, of.shown, scope) : fieldTruth(predicate, of, scope)
    }
    case 'related':
    case 'linked':
    case 'like':
    case 'startsWith':
    case 'contains':
    case 'jsonContains':
      throw unclaimed(predicate.kind, scope.organization)
  }
}

type FieldPredicate = Extract<Predicate, { kind: 'isNull' | 'compare' | 'in' | 'listContains' }>

function fieldTruth(predicate: FieldPredicate, of: Compared, scope: Scope): Truth {
  if (predicate.kind === 'isNull') {
    const known = isKnown(of)
    return { isTrue: negated(known), isFalse: known }
  }
  // An id is compared as text, whatever holds it.
  if (predicate.kind === 'compare' && predicate.op !== '=' && of.field.type.name === 'ID' && INTEGER_BITS.has(of.column.native))
    throw unclaimed('an order of ids', scope.organization)
  const word = predicate.kind === 'compare' ? predicate.op : predicate.kind
  return placed(`${of.column.column} ${word}`, predicate.operand, (operand) => {
    const list = isList(operand) ? operand : [operand]
    if (predicate.kind === 'in') return membership(of, list)
    if (predicate.kind === 'listContains') return holdsAll(of, list)
    return isList(operand) ? UNKNOWN : comparison(of, predicate.op, operand)
  })
}

/** Of a field that is the same in every row nothing is asked. */
function constantTruth(predicate: FieldPredicate, shown: Filter, { constants }: Scope): Truth {
  if (predicate.kind === 'isNull') {
    const known = constants.value(predicate.field) === null ? NEVER : shown
    return { isTrue: negated(known), isFalse: known }
  }
  const label = `${predicate.field} ${predicate.kind} (a constant)`
  const when = (truth: boolean, name: string): Filter => ({
    kind: 'place',
    label: name,
    make: (values) => (truthOf(predicate, constants, values) === truth ? ALWAYS : NEVER),
  })
  return { isTrue: allOf([shown, when(true, label)]), isFalse: allOf([shown, when(false, `not (${label})`)]) }
}

/** Ids of this owner's type whose one key is in its canonical form. */
function ids(operand: Scalar | readonly Scalar[], scope: Scope): Truth {
  const key = scope.source(scope.key)
  if (key === null || 'constant' in key) return UNKNOWN
  const keys = (isList(operand) ? operand : [operand]).flatMap((scalar) => {
    const id = typeof scalar === 'string' ? parseGlobalId(scalar) : null
    return id?.type === scope.type && id.organization === scope.organization && id.key.length === 1 ? id.key : []
  })
  const found = membership(key, keys).isTrue
  return { isTrue: found, isFalse: negated(found) }
}

/** Unknown where there is no operand. */
function placed(what: string, operand: Operand, make: (value: Scalar | readonly Scalar[]) => Truth): Truth {
  const truthOfValue = (values: Values): Truth => {
    const value = operandValue(operand, values)
    return value === null ? UNKNOWN : make(value)
  }
  const label = `${what} <${operand.kind === 'slot' ? `slot ${operand.index}` : operand.kind}>`
  return {
    isTrue: { kind: 'place', label, make: (values) => truthOfValue(values).isTrue },
    isFalse: { kind: 'place', label: `not (${label})`, make: (values) => truthOfValue(values).isFalse },
  }
}

function isList(value: Scalar | readonly Scalar[]): value is readonly Scalar[] {
  return typeof value === 'object'
}
