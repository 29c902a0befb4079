/** What a bound plan depends on, besides its document. */
import type { GraphQLInputType } from 'graphql'
import { getNamedType, isEnumType, isInputObjectType, isListType, isNonNullType, typeFromAST } from 'graphql'
import { invariant } from '../errors.js'
import { parseGlobalId } from '../query/global-id.js'
import type { BindParts } from './document.js'
import type { Operation } from './operation.js'

/**
 * Names what of the variables a plan depends on: which are there and which are null, API enums, booleans, and the types of global ids; never other scalar values.
 */
export function inputShape(operation: Operation, variables: Readonly<Record<string, unknown>>, parts: BindParts): string {
  const marks: string[] = []
  for (const definition of operation.definition.variableDefinitions ?? []) {
    const name = definition.variable.name.value
    const type = typeFromAST(parts.schema, definition.type as Parameters<typeof typeFromAST>[1]) as GraphQLInputType | undefined
    invariant(type, 'validated variable type')
    marks.push(Object.hasOwn(variables, name) ? shapeOf(variables[name], type, parts) : '-')
  }
  return marks.join(';')
}

function shapeOf(value: unknown, type: GraphQLInputType, parts: BindParts): string {
  if (isNonNullType(type)) return shapeOf(value, type.ofType, parts)
  if (value === undefined) return '-'
  if (value === null) return 'n'
  const named = getNamedType(type)
  if (isListType(type)) {
    if (named.name === 'ID') return `[${[...new Set((value as unknown[]).map((id) => parseGlobalId(String(id))?.type ?? ''))].filter((name) => parts.catalog.entities.has(name)).sort().join(',')}]` // prettier-ignore
    if (isInputObjectType(named) || (isEnumType(named) && !parts.catalog.enums.has(named.name)))
      return `[${(value as unknown[]).map((item) => shapeOf(item, type.ofType, parts)).join(',')}]`
    return 'L'
  }
  if (isInputObjectType(type)) {
    const given = value as Record<string, unknown>
    const fields = Object.entries(type.getFields()).filter(([name]) => Object.hasOwn(given, name) && given[name] !== undefined)
    return `{${fields.map(([name, field]) => `${name}:${shapeOf(given[name], field.type, parts)}`).join(',')}}`
  }
  if (isEnumType(type) && !parts.catalog.enums.has(type.name)) return String(value)
  if (named.name === 'Boolean') return String(value)
  if (named.name === 'ID') {
    const typeName = parseGlobalId(String(value))?.type
    return typeName !== undefined && parts.catalog.entities.has(typeName) ? `i${typeName}` : 'v'
  }
  return 'v'
}
