/**
 * What a foreign service is asked by key, and how its answer is read. The answer is a stranger's: only what was asked for is taken from it, and only when all of
 * it is what was asked for.
 */
import type {
  FieldNode,
  FragmentDefinitionNode,
  GraphQLField,
  GraphQLObjectType,
  GraphQLOutputType,
  GraphQLScalarType,
  SelectionSetNode,
  VariableDefinitionNode,
} from 'graphql'
import { getNamedType, isEnumType, isListType, isNonNullType, isObjectType, Kind, OperationTypeNode, parseType, print, visit } from 'graphql'
import { GatewayError, invariant } from '../errors.js'
import type { ForeignJoin } from './foreign-schema.js'

/** Fields of an object by response key, fragments and conditions resolved. */
export type ForeignSelection = ReadonlyMap<string, ForeignField>

export type ForeignField =
  | { readonly kind: 'field'; readonly node: FieldNode; readonly definition: GraphQLField<unknown, unknown>; readonly inner: ForeignSelection | null }
  /** Filled here, whatever the service says: the type's name, or the key that was sent. */
  | { readonly kind: 'typename' | 'key' }

export interface SelectionContext {
  readonly fragments: ReadonlyMap<string, FragmentDefinitionNode>
  /** Coerced. */
  readonly variables: Readonly<Record<string, unknown>>
  /** Response key under which the key is expected back. */
  readonly keyName: string
}

export function foreignSelection(sets: readonly SelectionSetNode[], type: GraphQLObjectType, context: SelectionContext): ForeignSelection {
  const nodes = new Map<string, FieldNode[]>()
  for (const set of sets) collect(set, type, context, nodes)
  return new Map([...nodes].map(([key, found]) => [key, fieldOf(key, found, type, context)]))
}

function fieldOf(key: string, nodes: readonly FieldNode[], type: GraphQLObjectType, context: SelectionContext): ForeignField {
  const [node] = nodes
  invariant(node, 'a response key has a field')
  if (key === context.keyName) return { kind: 'key' }
  if (node.name.value === '__typename') return { kind: 'typename' }
  const definition = type.getFields()[node.name.value]
  invariant(definition, `\`${type.name}.${node.name.value}\` is a field of the service`)
  const named = getNamedType(definition.type)
  const inner = isObjectType(named)
    ? foreignSelection(
        nodes.flatMap(({ selectionSet }) => selectionSet ?? []),
        named,
        context,
      )
    : null
  return { kind: 'field', node, definition, inner }
}

function collect(set: SelectionSetNode, type: GraphQLObjectType, context: SelectionContext, nodes: Map<string, FieldNode[]>): void {
  for (const selection of set.selections) {
    if (!isIncluded(selection, context)) continue
    if (selection.kind === Kind.FIELD) {
      const key = selection.alias?.value ?? selection.name.value
      const known = nodes.get(key)
      if (known) known.push(selection)
      else nodes.set(key, [selection])
    } else {
      const part = selection.kind === Kind.INLINE_FRAGMENT ? selection : context.fragments.get(selection.name.value)
      if (part && (part.typeCondition?.name.value ?? type.name) === type.name) collect(part.selectionSet, type, context, nodes)
    }
  }
}

export function isIncluded({ directives }: Pick<FieldNode, 'directives'>, { variables }: Pick<SelectionContext, 'variables'>): boolean {
  return (directives ?? []).every(({ name, arguments: args }) => {
    if (name.value !== 'skip' && name.value !== 'include') return true
    const value = args?.[0]?.value
    const condition = value?.kind === Kind.VARIABLE ? variables[value.name.value] : value?.kind === Kind.BOOLEAN && value.value
    return name.value === 'include' ? condition === true : condition !== true
  })
}

// --- what is asked ---------------------------------------------------------------------------------------------------------------------------------------------

export interface ForeignQuestion {
  readonly join: ForeignJoin
  /** Of the joined type. */
  readonly selection: ForeignSelection
  /** Global ids, without duplicates. */
  readonly keys: readonly string[]
  /** Those of the client's operation, and its values as they came. */
  readonly variableDefinitions: readonly VariableDefinitionNode[]
  readonly variables: Readonly<Record<string, unknown>>
}

export interface ForeignRequest {
  readonly query: string
  readonly variables: Readonly<Record<string, unknown>>
  /** Response key of the key in each item. */
  readonly keyName: string
}

/** One document with one root field. Of the client's operation it holds the fields of the service with their arguments, and the variables in them. */
export function foreignRequest({ join, selection, keys, variableDefinitions, variables }: ForeignQuestion): ForeignRequest {
  const taken = new Set(variableDefinitions.map(({ variable }) => variable.name.value))
  const keysName = freeName('keys', (name) => taken.has(name))
  const keyName = freeName('key', (name) => selection.has(name))
  const selectionSet = selectionSetOf(selection)
  const used = variablesIn(selectionSet)
  const definitions = variableDefinitions.filter(({ variable }) => used.has(variable.name.value)).map((definition) => ({ ...definition, directives: [] }))
  const keyField: FieldNode = { kind: Kind.FIELD, alias: nameNode(keyName), name: nameNode('id') }
  const root: FieldNode = {
    kind: Kind.FIELD,
    name: nameNode(join.field),
    arguments: [{ kind: Kind.ARGUMENT, name: nameNode(join.argument), value: { kind: Kind.VARIABLE, name: nameNode(keysName) } }],
    selectionSet: { kind: Kind.SELECTION_SET, selections: [keyField, ...selectionSet.selections] },
  }
  const query = print({
    kind: Kind.OPERATION_DEFINITION,
    operation: OperationTypeNode.QUERY,
    variableDefinitions: [
      { kind: Kind.VARIABLE_DEFINITION, variable: { kind: Kind.VARIABLE, name: nameNode(keysName) }, type: parseType(join.argumentType) },
      ...definitions,
    ],
    selectionSet: { kind: Kind.SELECTION_SET, selections: [root] },
  })
  const given = [...used].filter((name) => Object.hasOwn(variables, name)).map((name) => [name, variables[name]] as const)
  return { query, variables: { [keysName]: keys, ...Object.fromEntries(given) }, keyName }
}

function selectionSetOf(selection: ForeignSelection): SelectionSetNode {
  const selections = [...selection].flatMap(([key, field]): FieldNode[] => {
    if (field.kind !== 'field') return []
    const { name, arguments: args } = field.node
    const alias = key === name.value ? {} : { alias: nameNode(key) }
    return [{ kind: Kind.FIELD, ...alias, name, ...(args && { arguments: args }), ...(field.inner && { selectionSet: nonEmpty(selectionSetOf(field.inner)) }) }]
  })
  return { kind: Kind.SELECTION_SET, selections }
}

/** An object of which only the type's name is asked must still be asked for. */
function nonEmpty(set: SelectionSetNode): SelectionSetNode {
  return set.selections.length > 0 ? set : { ...set, selections: [{ kind: Kind.FIELD, name: nameNode('__typename') }] }
}

function variablesIn(set: SelectionSetNode): ReadonlySet<string> {
  const names = new Set<string>()
  visit(set, { [Kind.VARIABLE]: (node) => void names.add(node.name.value) })
  return names
}

function freeName(stem: string, isTaken: (name: string) => boolean): string {
  return isTaken(stem) ? freeName(`${stem}_`, isTaken) : stem
}

function nameNode(value: string): { readonly kind: Kind.NAME; readonly value: string } {
  return { kind: Kind.NAME, value }
}

// --- what is answered ------------------------------------------------------------------------------------------------------------------------------------------

export type ForeignRow = Record<string, unknown>

export interface AnswerContext {
  readonly question: ForeignQuestion
  readonly request: ForeignRequest
  /** Those of GraphQL and of the contract, as strict as for a caller. */
  readonly scalars: ReadonlyMap<string, GraphQLScalarType>
}

/**
 * An item for each key, in their order: a row with every response key, null where the service knows none, `failed` where it says that it failed for this key.
 *
 * @throws GatewayError SOURCE_UNAVAILABLE where anything in the answer is not what was asked for.
 */
export function foreignRows(text: string, context: AnswerContext): readonly (ForeignRow | null | 'failed')[] {
  const { join, keys, selection } = context.question
  const body = parsedJson(text)
  if (!isObject(body)) throw nonsense('is no object')
  const { data } = body
  const failed = failedItems(body.errors, join, keys.length)
  if (!isObject(data)) throw nonsense('has no data')
  const items = data[join.field]
  if (!Array.isArray(items) || items.length !== keys.length) throw nonsense('does not have an item for each key')
  return items.map((item: unknown, index) => {
    if (failed.has(index)) return 'failed'
    if (item === null) return null
    if (!isObject(item)) throw nonsense('has an item that is no object')
    const { [context.request.keyName]: key, ...rest } = item
    if (key !== keys[index]) throw nonsense('has an item that is not of its key')
    return objectOf(rest, { selection, typeName: join.type, key: key as string }, context) // just compared with one of ours
  })
}

function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new GatewayError('SOURCE_UNAVAILABLE', 'the answer of a foreign service is no JSON', { cause: error })
  }
}

/** Errors that concern one item fail that item. Any other one fails all. What they say is never read. */
function failedItems(errors: unknown, { field }: ForeignJoin, length: number): ReadonlySet<number> {
  const failed = new Set<number>()
  if (errors === undefined || errors === null) return failed
  if (!Array.isArray(errors)) throw nonsense('has errors that are no list')
  for (const error of errors as unknown[]) {
    const path = isObject(error) && Array.isArray(error.path) ? (error.path as unknown[]) : []
    const [root, index] = path
    if (root !== field || typeof index !== 'number' || !Number.isInteger(index) || index < 0 || index >= length) throw nonsense('has errors')
    failed.add(index)
  }
  return failed
}

interface ObjectContext {
  readonly selection: ForeignSelection
  readonly typeName: string
  /** Of the row; null inside of it. */
  readonly key: string | null
}

function objectOf(value: Readonly<Record<string, unknown>>, { selection, typeName, key }: ObjectContext, context: AnswerContext): ForeignRow {
  const entries = [...selection].map(([name, field]): [string, unknown] => {
    if (field.kind !== 'field') return [name, field.kind === 'typename' ? typeName : key]
    if (!Object.hasOwn(value, name)) throw nonsense('lacks a field')
    return [name, valueOf(value[name], field.definition.type, field.inner, context)]
  })
  const extra = Object.keys(value).filter((name) => selection.get(name)?.kind !== 'field')
  const isOnlyName = [...selection.values()].every(({ kind }) => kind !== 'field') && extra.length === 1 && extra[0] === '__typename'
  if (extra.length > 0 && !isOnlyName) throw nonsense('has a field that nobody asked for')
  return Object.fromEntries(entries)
}

function valueOf(value: unknown, type: GraphQLOutputType, inner: ForeignSelection | null, context: AnswerContext): unknown {
  if (isNonNullType(type)) {
    if (value === null) throw nonsense('has null where its schema has none')
    return valueOf(value, type.ofType, inner, context)
  }
  if (value === null) return null
  if (isListType(type)) {
    if (!Array.isArray(value)) throw nonsense('has no list where one is expected')
    return value.map((item: unknown) => valueOf(item, type.ofType, inner, context))
  }
  if (isObjectType(type)) {
    if (!isObject(value) || !inner) throw nonsense('has no object where one is expected')
    return objectOf(value, { selection: inner, typeName: type.name, key: null }, context)
  }
  if (isEnumType(type)) {
    if (typeof value !== 'string' || !type.getValue(value)) throw nonsense('has a value that its enum lacks')
    return value
  }
  return scalarOf(value, type.name, context)
}

function scalarOf(value: unknown, name: string, { scalars }: AnswerContext): unknown {
  if (name === 'ID' && Number.isSafeInteger(value)) return String(value)
  const type = scalars.get(name)
  invariant(type, `\`${name}\` is a scalar of the contract`)
  try {
    type.parseValue(value)
  } catch {
    throw nonsense(`has a value that is no ${name}`)
  }
  if (name === 'JSON' && !isPlain(value)) throw nonsense('has a key that JavaScript reserves')
  return value
}

/** Keys that mean something to JavaScript have no business in a stranger's values. Depth is bounded: `JSON` has been checked. */
function isPlain(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return true
  if (Array.isArray(value)) return value.every(isPlain)
  return Object.entries(value).every(([key, inner]) => !['__proto__', 'constructor', 'prototype'].includes(key) && isPlain(inner))
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function nonsense(what: string): GatewayError {
  return new GatewayError('SOURCE_UNAVAILABLE', `the answer of a foreign service ${what}`)
}
