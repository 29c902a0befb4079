/** Documents between the stitching and those who answer: what is asked of the contract and of services, taken from what stitching makes of a client's operation. */
import type { ExecutionRequest } from '@graphql-tools/utils'
import type { FieldNode, FragmentDefinitionNode, GraphQLNamedType, GraphQLSchema, OperationDefinitionNode, SelectionNode, SelectionSetNode } from 'graphql'
import { getNamedType, getNullableType, isInterfaceType, isListType, isObjectType, Kind, parse, print } from 'graphql'
import { invariant } from '../errors.js'
import type { ForeignJoin } from './foreign-schema.js'
import { type Operation, preparedOperation } from './operation.js'
import type { RawPlace, RawPlaces } from './raw-json.js'

export interface ContractOperation {
  readonly operation: Operation
  readonly places: RawPlaces
}

/** Operations of the engine that a document of a client leads to: several where conditions leave root fields out. The engine keeps what it derives with them. */
const CONTRACT_OPERATIONS = new WeakMap<Operation, Map<string, ContractOperation>>()
const VARIANTS_MAX = 16

/**
 * The client's operation with its selections as stitching wants them: without foreign fields, with what joins them. Root fields keep their response keys, so that
 * cursors and paths are the same, and their arguments as they are written, so that no digit is lost.
 */
export function contractOperation(client: Operation, requests: readonly ExecutionRequest[], schema: GraphQLSchema): ContractOperation {
  const selections = requests.map((request): FieldNode => {
    const root = rootFieldOf(request)
    const fragments = fragmentsOf(request)
    const node = clientNodeOf(request)
    return {
      kind: Kind.FIELD,
      alias: { kind: Kind.NAME, value: responseKeyOf(request) },
      name: root.name,
      arguments: node.arguments ?? [],
      ...(root.selectionSet && { selectionSet: inlined(root.selectionSet, fragments) }),
      ...(node.loc && { loc: node.loc }),
    }
  })
  const definition: OperationDefinitionNode = { ...client.definition, selectionSet: { kind: Kind.SELECTION_SET, selections } }
  const text = print(definition)
  const variants = CONTRACT_OPERATIONS.get(client) ?? new Map<string, ContractOperation>()
  CONTRACT_OPERATIONS.set(client, variants)
  const known = variants.get(text)
  if (known) return known
  const operation: Operation = preparedOperation({ name: client.name, text, definition, fragments: new Map() })
  const made = { operation, places: placesOf(definition.selectionSet, schema.getQueryType() ?? undefined, schema) }
  variants.set(text, made)
  const [oldest] = variants.keys()
  if (variants.size > VARIANTS_MAX && oldest !== undefined) variants.delete(oldest)
  return made
}

/** Without spreads. Fragments do not spread themselves: the client's document is valid, and its expansion is limited. */
function inlined(set: SelectionSetNode, fragments: ReadonlyMap<string, FragmentDefinitionNode>): SelectionSetNode {
  const selections = set.selections.flatMap((selection): SelectionNode[] => {
    if (selection.kind !== Kind.FRAGMENT_SPREAD)
      return [{ ...selection, ...(selection.selectionSet && { selectionSet: inlined(selection.selectionSet, fragments) }) } as SelectionNode] // as it was
    const fragment = fragments.get(selection.name.value)
    if (!fragment) return []
    return [
      {
        kind: Kind.INLINE_FRAGMENT,
        typeCondition: fragment.typeCondition,
        directives: selection.directives ?? [],
        selectionSet: inlined(fragment.selectionSet, fragments),
      },
    ]
  })
  return { kind: Kind.SELECTION_SET, selections }
}

/** Where JSON values stand. Fields that answer under one name have one type, whatever the types around them (GraphQL, section 5.3.2). */
function placesOf(set: SelectionSetNode, type: GraphQLNamedType | undefined, schema: GraphQLSchema, places = new Map<string, RawPlace>()): RawPlaces {
  for (const selection of set.selections) {
    if (selection.kind === Kind.INLINE_FRAGMENT) {
      placesOf(selection.selectionSet, selection.typeCondition ? schema.getType(selection.typeCondition.name.value) : type, schema, places)
      continue
    }
    const field = selection.kind === Kind.FIELD && (isObjectType(type) || isInterfaceType(type)) && type.getFields()[selection.name.value]
    if (!field) continue
    const named = getNamedType(field.type)
    const key = selection.alias?.value ?? selection.name.value
    if (named.name === 'JSON') places.set(key, isListType(getNullableType(field.type)) ? 'items' : 'here')
    else if (selection.selectionSet) {
      const known = places.get(key)
      const inner = placesOf(selection.selectionSet, named, schema, typeof known === 'object' ? new Map(known) : new Map())
      if (inner.size > 0) places.set(key, inner)
    }
  }
  return places
}

// --- what stitching delegates ---------------------------------------------------------------------------------------------------------------------------------

function operationOf(request: ExecutionRequest): OperationDefinitionNode {
  const operation = request.document.definitions.find((definition) => definition.kind === Kind.OPERATION_DEFINITION)
  invariant(operation, 'a delegated document has an operation')
  return operation
}

export function rootFieldOf(request: ExecutionRequest): FieldNode {
  const [root, ...others] = operationOf(request).selectionSet.selections
  invariant(root?.kind === Kind.FIELD && others.length === 0, 'a delegated document has one root field')
  return root
}

export function fragmentsOf(request: ExecutionRequest): ReadonlyMap<string, FragmentDefinitionNode> {
  const fragments = request.document.definitions.filter((definition) => definition.kind === Kind.FRAGMENT_DEFINITION)
  return new Map(fragments.map((fragment) => [fragment.name.value, fragment]))
}

export function keysVariableOf(root: FieldNode, { argument }: ForeignJoin): string {
  const value = root.arguments?.find(({ name }) => name.value === argument)?.value
  invariant(value?.kind === Kind.VARIABLE, 'keys travel in a variable')
  return value.name.value
}

function clientNodeOf({ info }: ExecutionRequest): FieldNode {
  const [node] = info?.fieldNodes ?? []
  invariant(node, 'a delegated field stands in the document of the client')
  return node
}

export function responseKeyOf(request: ExecutionRequest): string {
  const node = clientNodeOf(request)
  return node.alias?.value ?? node.name.value
}

/** Which of these rows a reader sees. */
export function keyLookup(): Operation {
  const text = 'query ($ids: [ID!]!) { nodes(ids: $ids) { id } }'
  const [definition] = parse(text, { noLocation: true }).definitions as [OperationDefinitionNode] // just written
  return preparedOperation({ name: null, text, definition, fragments: new Map() })
}
