/** How a request's variables are read: coerced, and with what of them a bound plan depends on. Made once for a document. */
import type { GraphQLInputType, GraphQLLeafType } from 'graphql'
import { getNamedType, getVariableValues, isEnumType, isInputObjectType, isLeafType, isListType, isNonNullType, typeFromAST } from 'graphql'
import { GatewayError, invariant } from '../errors.js'
import { parseGlobalId } from '../query/global-id.js'
import type { BindParts } from './document.js'
import type { Operation } from './operation.js'

export interface ReadVariables {
  /** As `getVariableValues` gives them: scalars are canonical. */
  readonly values: Readonly<Record<string, unknown>>
  /**
   * Names what of the variables a plan depends on: which are there and which are null, API enums, booleans, and the types of global ids; never other scalar values.
   */
  readonly shape: string
}

/** @param given as the client sent it. @throws GatewayError BAD_USER_INPUT */
export type VariableReader = (given: unknown) => ReadVariables

interface Variable {
  readonly name: string
  readonly type: GraphQLInputType
  /** The type without its `!`, where it is a leaf. */
  readonly leaf: GraphQLLeafType | null
}

export function variableReader(operation: Operation, parts: BindParts): VariableReader {
  const definitions = operation.definition.variableDefinitions ?? []
  const variables = definitions.map((definition): Variable => {
    const type = typeFromAST(parts.schema, definition.type as Parameters<typeof typeFromAST>[1]) as GraphQLInputType | undefined
    invariant(type, 'validated variable type')
    const inner = isNonNullType(type) ? type.ofType : type
    return { name: definition.variable.name.value, type, leaf: isLeafType(inner) ? inner : null }
  })
  const isSimple = variables.every(({ leaf, name }) => leaf !== null && name !== '__proto__')
  return (given) => {
    const sent = given ?? {}
    if (typeof sent !== 'object' || Array.isArray(sent)) throw new GatewayError('BAD_USER_INPUT', '`variables` is not an object', { argument: 'variables' })
    // A tenth of what graphql-js takes, which looks up every type again.
    const plain = isSimple ? leavesOf(variables, sent as Record<string, unknown>) : null
    if (plain) return { values: plain, shape: shapesOf(variables, plain, parts) }
    const coerced = getVariableValues(parts.schema, definitions, sent as Record<string, unknown>, { maxErrors: 5 })
    if (coerced.errors) throw new GatewayError('BAD_USER_INPUT', 'a variable does not fit its type', locationsOf(coerced.errors[0]))
    return { values: coerced.coerced, shape: shapesOf(variables, coerced.coerced, parts) }
  }
}

/** Where every variable has a value and each fits its type; else null, and graphql-js says what is wrong, or which default stands in. */
function leavesOf(variables: readonly Variable[], given: Readonly<Record<string, unknown>>): Record<string, unknown> | null {
  const values: Record<string, unknown> = {}
  for (const { name, leaf } of variables) {
    const value = Object.hasOwn(given, name) ? given[name] : undefined
    if (leaf === null || value === undefined || value === null) return null
    try {
      const parsed: unknown = leaf.parseValue(value)
      if (parsed === undefined) return null
      values[name] = parsed
    } catch {
      return null
    }
  }
  return values
}

function locationsOf(error: { readonly locations?: readonly { readonly line: number; readonly column: number }[] | undefined } | undefined): {
  locations?: readonly { readonly line: number; readonly column: number }[]
} {
  return error?.locations ? { locations: error.locations } : {}
}

function shapesOf(variables: readonly Variable[], values: Readonly<Record<string, unknown>>, parts: BindParts): string {
  let marks = ''
  for (const { name, type } of variables) marks += `${Object.hasOwn(values, name) ? shapeOf(values[name], type, parts) : '-'};`
  return marks
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
