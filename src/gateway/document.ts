/** Reading a document while it is bound: merged selections, arguments, and what every part of the binder carries along. */
import type { FieldNode, GraphQLInputType, GraphQLObjectType, GraphQLSchema, SelectionSetNode } from 'graphql'
import { Kind } from 'graphql'
import { GatewayError, invariant } from '../errors.js'
import type { Catalog, EntityType } from '../query/catalog.js'
import type { RowSelection } from '../query/plan.js'
import type { Operand } from '../query/predicate.js'
import type { ApiIndex } from './api-schema.js'
import type { CostNode, FieldUse, ValueCheck } from './bound-plan.js'
import { type Input, inputOf, type Place, placeOf, type Slot } from './input.js'
import type { Operation } from './operation.js'

export interface BindParts {
  readonly schema: GraphQLSchema
  readonly catalog: Catalog
  readonly index: ApiIndex
  readonly limits: { readonly rows: number; readonly nestedRows: number; readonly defaultRows: number; readonly terms: number; readonly seriesBuckets: number }
}

export interface Binding extends BindParts {
  readonly operation: Operation
  readonly variables: Readonly<Record<string, unknown>>
  readonly slots: Slot[]
  readonly checks: ValueCheck[]
  uses: FieldUse[]
  terms: number
}

/** Selections of a row, which may stand wherever rows do. */
export type BindRow = (
  entity: EntityType,
  selections: readonly SelectionSetNode[],
  path: string,
  context: Binding,
) => { readonly row: RowSelection; readonly nested: readonly CostNode[] }

/** Fields of merged selection sets by response key, in the order of the answer (GraphQL specification, section 6.3.2, CollectFields). */
export function fieldsOf(selections: readonly SelectionSetNode[], type: GraphQLObjectType, context: Binding): ReadonlyMap<string, FieldNode[]> {
  const fields = new Map<string, FieldNode[]>()
  const visited = new Set<string>()
  const visit = (set: SelectionSetNode): void => {
    for (const selection of set.selections) {
      if (!isIncluded(selection.directives ?? [], context)) continue
      if (selection.kind === Kind.FIELD) {
        const key = selection.alias?.value ?? selection.name.value
        const known = fields.get(key)
        if (known) known.push(selection)
        else fields.set(key, [selection])
      } else if (selection.kind === Kind.INLINE_FRAGMENT) {
        if (applies(selection.typeCondition?.name.value, type)) visit(selection.selectionSet)
      } else if (!visited.has(selection.name.value)) {
        visited.add(selection.name.value)
        const fragment = context.operation.fragments.get(selection.name.value)
        if (fragment && applies(fragment.typeCondition.name.value, type)) visit(fragment.selectionSet)
      }
    }
  }
  selections.forEach(visit)
  return fields
}

function isIncluded(directives: NonNullable<FieldNode['directives']>, context: Binding): boolean {
  return directives.every((directive) => {
    const name = directive.name.value
    if (name !== 'skip' && name !== 'include') return true
    const argument = directive.arguments?.[0]?.value
    const condition = argument?.kind === Kind.VARIABLE ? context.variables[argument.name.value] : argument?.kind === Kind.BOOLEAN && argument.value
    if (typeof condition !== 'boolean') throw refuse('BAD_USER_INPUT', `null for \`@${name}\``, placeOf(directive), `@${name}.if`)
    return name === 'include' ? condition : !condition
  })
}

function applies(condition: string | undefined, type: GraphQLObjectType): boolean {
  return condition === undefined || condition === type.name || type.getInterfaces().some((candidate) => candidate.name === condition)
}

export function argumentsOf(
  node: FieldNode,
  definitions: readonly { readonly name: string; readonly type: GraphQLInputType }[],
  context: Binding,
): ReadonlyMap<string, Input> {
  const inputs = new Map<string, Input>()
  for (const argument of node.arguments ?? []) {
    const definition = definitions.find((candidate) => candidate.name === argument.name.value)
    invariant(definition, 'validated argument')
    const input = inputOf(argument.value, definition.type, context)
    if (input) inputs.set(argument.name.value, { ...input, place: placeOf(argument) })
  }
  return inputs
}

export function selectionsOf(nodes: readonly FieldNode[]): readonly SelectionSetNode[] {
  return nodes.flatMap((node) => (node.selectionSet ? [node.selectionSet] : []))
}

export function firstOf(nodes: readonly FieldNode[]): FieldNode {
  const [node] = nodes
  invariant(node, 'a response key has a field')
  return node
}

export function entityOf(name: string, context: BindParts): EntityType {
  const entity = context.catalog.entities.get(name)
  invariant(entity, `entity ${name}`)
  return entity
}

/** An argument that is null is one that was not given. */
export function present(input: Input | undefined): Input | null {
  return input && input.kind !== 'null' ? input : null
}

export function operandOf(input: Input | undefined): Operand {
  invariant(input?.kind === 'leaf', 'a scalar argument')
  return input.operand
}

export function optionalOperand(input: Input | undefined): Operand | null {
  return input?.kind === 'leaf' ? input.operand : null
}

export function itemsOf(input: Input): readonly Input[] {
  return input.kind === 'list' ? input.items : [input]
}

export function notNull(input: Input, argument: string): Input {
  if (input.kind === 'null') throw refuse('BAD_USER_INPUT', 'null where a condition is expected', input.place, argument)
  return input
}

export function refuse(code: 'BAD_USER_INPUT' | 'BAD_REQUEST' | 'QUERY_TOO_COSTLY', detail: string, place: Place | null, argument: string): GatewayError {
  return new GatewayError(code, detail, { argument, ...(place ? { locations: [place] } : {}) })
}

export function invariantFailure(what: string): Error {
  return new Error(`invariant: unexpected ${what}`)
}
