/**
 * What an index of the graph can find: conditions on properties as they are. They hold wherever the given condition does, which looks at the types of values besides, and so hides properties from
 * indexes.
 */
import { operandValue } from '../../query/evaluate.js'
import type { Operand, Predicate, Scalar } from '../../query/predicate.js'
import { parseGlobalId } from '../../query/global-id.js'
import { keyScalar } from '../../query/value.js'
import { type Compared, comparison, membership } from './comparison.js'
import { type Cypher, NULL, place } from './cypher.js'

/** @param propertyOf the property of a field that is compared as it is stored; null where it is not. */
export function indexable(predicate: Predicate, key: readonly string[], propertyOf: (field: string) => Compared | null): readonly Cypher[] {
  switch (predicate.kind) {
    case 'and':
      return predicate.terms.flatMap((term) => indexable(term, key, propertyOf))
    case 'isTrue':
      return indexable(predicate.term, key, propertyOf)
    case 'compare': {
      const of = propertyOf(predicate.field)
      if (!of || predicate.op !== '=') return []
      return [placed(predicate.operand, (operand) => (typeof operand === 'object' ? NULL : comparison(of, '=', operand)))]
    }
    case 'in': {
      const of = propertyOf(predicate.field)
      return of ? [placed(predicate.operand, (operand) => membership(of, listOf(operand)))] : []
    }
    case 'idIn': {
      const [field = '', ...others] = key
      const of = others.length === 0 ? propertyOf(field) : null
      return of ? [placed(predicate.operand, (operand) => membership(of, keysOf(listOf(operand), of)))] : []
    }
    default:
      return []
  }
}

function keysOf(ids: readonly Scalar[], { field }: Compared): readonly Scalar[] {
  return ids.flatMap((scalar) => {
    const [part] = (typeof scalar === 'string' ? parseGlobalId(scalar)?.key : null) ?? []
    return part === undefined ? [] : [keyScalar(field.type, part)]
  })
}

function placed(operand: Operand, make: (value: Scalar | readonly Scalar[]) => Cypher): Cypher {
  return place('for an index', (values) => {
    const value = operandValue(operand, values)
    return value === null ? NULL : make(value)
  })
}

function listOf(operand: Scalar | readonly Scalar[]): readonly Scalar[] {
  return typeof operand === 'object' ? operand : [operand]
}
