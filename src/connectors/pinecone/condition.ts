/** What predicates ask Pinecone for; see `pushdown.ts`. */
import { operandValue } from '../../query/evaluate.js'
import { parseGlobalId } from '../../query/global-id.js'
import type { Operand, Predicate, Scalar } from '../../query/predicate.js'
import type { Values } from '../connector.js'
import { type Compared, comparison, holdsAll, membership, type Sides, withIds } from './comparison.js'
import { allOf, anyOf, ASK_ALL, EVERY, NONE, type Pushdown } from './pushdown.js'
import { unclaimed } from './unclaimed.js'

/** The rows that a predicate speaks of: of the readable view, or raw. */
export interface Scope {
  readonly type: string
  readonly organization: string
  /** Unknown counts as false in a caller's condition; in a policy's it stays unknown. */
  readonly logic: 'twoValued' | 'threeValued'
  /** Null: nothing can be asked for by it. `shown`: where the field has its value; elsewhere it is null. */
  source(field: string): (Compared & { readonly shown: Pushdown }) | null
}

/** Every row of which the predicate is TRUE fits it. @throws GatewayError FIELD_NOT_USABLE for what records cannot have. */
export function whenTrue(predicate: Predicate, scope: Scope): Pushdown {
  switch (predicate.kind) {
    case 'all':
      return EVERY
    case 'none':
      return NONE
    case 'and':
      return allOf(predicate.terms.map((term) => whenTrue(term, scope)))
    case 'or':
      return anyOf(predicate.terms.map((term) => whenTrue(term, scope)))
    case 'not':
    case 'isFalse':
      return whenFalse(predicate.term, scope)
    case 'isTrue':
      return whenTrue(predicate.term, scope)
    case 'isNull':
      return EVERY // null is also what is of another type
    case 'idIn':
    case 'compare':
    case 'in':
    case 'listContains':
      return leaf(predicate, scope, 'whenTrue')
    case 'like':
    case 'startsWith':
    case 'contains':
      return EVERY
    case 'related':
    case 'linked':
    case 'jsonContains':
      throw unclaimed(predicate.kind, scope.organization)
  }
}

/** Every row of which the predicate is FALSE fits it; in a caller's condition these are all of which it is not TRUE. */
function whenFalse(predicate: Predicate, scope: Scope): Pushdown {
  switch (predicate.kind) {
    case 'all':
      return NONE
    case 'none':
      return EVERY
    case 'and':
      return anyOf(predicate.terms.map((term) => whenFalse(term, scope)))
    case 'or':
      return allOf(predicate.terms.map((term) => whenFalse(term, scope)))
    case 'not':
      return whenTrue(predicate.term, scope)
    case 'isTrue':
    case 'isFalse':
      whenTrue(predicate.term, scope) // refuses what is refused
      return EVERY // rows of which the term is unknown are among them
    case 'idIn':
    case 'isNull':
    case 'like':
    case 'startsWith':
    case 'contains':
      return EVERY
    case 'compare':
    case 'in':
    case 'listContains':
      return scope.logic === 'twoValued' ? EVERY : leaf(predicate, scope, 'whenFalse')
    case 'related':
    case 'linked':
    case 'jsonContains':
      throw unclaimed(predicate.kind, scope.organization)
  }
}

type Leaf = Extract<Predicate, { kind: 'idIn' | 'compare' | 'in' | 'listContains' }>

function leaf(predicate: Leaf, scope: Scope, side: keyof Sides): Pushdown {
  const label = `${'field' in predicate ? `${predicate.field} ` : ''}${predicate.kind === 'compare' ? predicate.op : predicate.kind} ${operandLabel(predicate.operand)}`
  const place = (make: (operand: Scalar | readonly Scalar[]) => Sides): Pushdown => ({
    kind: 'place',
    label: side === 'whenTrue' ? label : `not (${label})`,
    make: (values: Values) => {
      const operand = operandValue(predicate.operand, values)
      // Without an operand it is unknown.
      return operand === null ? null : make(operand)[side]
    },
  })
  if (predicate.kind === 'idIn') return place((operand) => ({ whenTrue: withIds(keysOf(listOf(operand), scope)), whenFalse: ASK_ALL }))
  const of = scope.source(predicate.field)
  if (of === null) return EVERY
  const sides = place((operand) => {
    if (predicate.kind === 'in') return membership(of, listOf(operand))
    if (predicate.kind === 'listContains') return holdsAll(of, listOf(operand))
    return isList(operand) ? { whenTrue: null, whenFalse: null } : comparison(of, predicate.op, operand)
  })
  return allOf([of.shown, sides])
}

/** Of ids of this owner's type. */
function keysOf(ids: readonly Scalar[], scope: Scope): readonly string[] {
  return ids.flatMap((scalar) => {
    const id = typeof scalar === 'string' ? parseGlobalId(scalar) : null
    return id?.type === scope.type && id.organization === scope.organization && id.key.length === 1 ? id.key : []
  })
}

function operandLabel(operand: Operand): string {
  return `<${operand.kind === 'slot' ? `slot ${operand.index}` : operand.kind}>`
}

function listOf(operand: Scalar | readonly Scalar[]): readonly Scalar[] {
  return isList(operand) ? operand : [operand]
}

function isList(value: Scalar | readonly Scalar[]): value is readonly Scalar[] {
  return typeof value === 'object'
}
