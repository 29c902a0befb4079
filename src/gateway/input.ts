/**
 * Arguments as the binder reads them: literals of the document and values of the variables in one form, with scalars turned into operands. What a plan depends on
 * (which keys are there, which order, whether null) stands in the structure; scalar values do not.
 */
import type { GraphQLEnumType, GraphQLInputType, GraphQLScalarType, ValueNode } from 'graphql'
import { isEnumType, isInputObjectType, isListType, isNonNullType, isScalarType } from 'graphql'
import { GatewayError, invariant } from '../errors.js'
import type { Operand, Scalar } from '../query/predicate.js'
import { type InputScalar, parseInput, parseLiteral } from './scalars.js'

export interface Place {
  readonly line: number
  readonly column: number
}

export type Input =
  | { readonly kind: 'null'; readonly place: Place | null }
  /** A scalar or enum value, or a list of them; `current` is the value of this request, for what the plan itself depends on. */
  | { readonly kind: 'leaf'; readonly operand: Operand; readonly current: Scalar | readonly Scalar[]; readonly place: Place | null }
  | { readonly kind: 'list'; readonly items: readonly Input[]; readonly place: Place | null }
  | { readonly kind: 'object'; readonly fields: ReadonlyMap<string, Input>; readonly place: Place | null }

/** How a slot gets its value from the coerced variables of a request. */
export type VariableSlot =
  /** `text`: the variable holds a value of this scalar, and the slot its text. */
  | { readonly kind: 'variable'; readonly path: readonly (string | number)[]; readonly text: 'JSON' | 'Vector' | null }
  | { readonly kind: 'list'; readonly items: readonly (VariableSlot | { readonly kind: 'value'; readonly value: Scalar })[] }

export type Slot =
  | VariableSlot
  /** Made of other values of the same request. `derive` is pure. @throws GatewayError BAD_USER_INPUT, QUERY_TOO_COSTLY */
  | {
      readonly kind: 'derived'
      readonly of: readonly (Operand | null)[]
      readonly derive: (values: readonly (Scalar | readonly Scalar[] | null)[]) => Scalar | readonly Scalar[]
    }
  /** Filled by the engine with the vector of a row that a search names. */
  | { readonly kind: 'pivot' }

export interface InputContext {
  /** Coerced by `getVariableValues`: scalars are canonical. */
  readonly variables: Readonly<Record<string, unknown>>
  /** The binder appends here; the index is the operand's slot. */
  readonly slots: Slot[]
}

/** @returns undefined where nothing was given: no node, or a variable without a value. */
export function inputOf(node: ValueNode | undefined, type: GraphQLInputType, context: InputContext): Input | undefined {
  if (!node) return undefined
  if (isNonNullType(type)) {
    const input = inputOf(node, type.ofType, context)
    // A variable that may be null passes validation here as long as it has a default.
    if (input?.kind === 'null') throw new GatewayError('BAD_USER_INPUT', 'null where a value is required', placed(input.place))
    return input
  }
  const place = node.loc ? { line: node.loc.startToken.line, column: node.loc.startToken.column } : null
  if (node.kind === 'Variable') {
    const name = node.name.value
    if (!Object.hasOwn(context.variables, name)) return undefined
    return inputOfValue(context.variables[name], type, [name], { ...context, place })
  }
  if (node.kind === 'NullValue') return { kind: 'null', place }
  if (isListType(type)) return listInput(node.kind === 'ListValue' ? node.values : [node], type.ofType, { ...context, place })
  if (isInputObjectType(type)) {
    invariant(node.kind === 'ObjectValue', 'validated document has an object here')
    const fields = new Map<string, Input>()
    for (const field of node.fields) {
      const definition = type.getFields()[field.name.value]
      invariant(definition, 'validated document has only known input fields')
      const value = inputOf(field.value, definition.type, context)
      if (value) fields.set(field.name.value, { ...value, place: placeOf(field) })
    }
    return { kind: 'object', fields, place }
  }
  invariant(isScalarType(type) || isEnumType(type), 'leaf type')
  const value = literalValue(node, type, place)
  checkText(value)
  return { kind: 'leaf', operand: { kind: 'constant', value }, current: value, place }
}

/** The canonical form: graphql-js's own scalars are looser, and JSON would come as a value instead of its text. */
function literalValue(node: ValueNode, type: GraphQLScalarType | GraphQLEnumType, place: Place | null): Scalar {
  if (isEnumType(type)) return type.parseLiteral(node, {}) as Scalar // checked by validation
  try {
    return parseLiteral(type.name as InputScalar, node) // the API has no other scalars
  } catch {
    throw new GatewayError('BAD_USER_INPUT', `not a value of \`${type.name}\``, placed(place))
  }
}

/** The place of a node in the document, for errors; null for nodes without a location. */
export function placeOf(node: { readonly loc?: { readonly startToken: Place } | undefined }): Place | null {
  return node.loc ? { line: node.loc.startToken.line, column: node.loc.startToken.column } : null
}

function inputOfValue(
  value: unknown,
  type: GraphQLInputType,
  path: readonly (string | number)[],
  context: InputContext & { place: Place | null },
): Input | undefined {
  const { place, slots } = context
  if (isNonNullType(type)) return inputOfValue(value, type.ofType, path, context)
  if (value === undefined) return undefined
  if (value === null) return { kind: 'null', place }
  if (isListType(type)) {
    invariant(Array.isArray(value), 'coerced list')
    const element = isNonNullType(type.ofType) ? type.ofType.ofType : type.ofType
    if (isScalarType(element) || isEnumType(element)) {
      if (value.some((item) => item === null)) throw new GatewayError('BAD_USER_INPUT', 'a list holds null', placed(place))
      return { kind: 'leaf', operand: slot(slots, { kind: 'variable', path, text: null }), current: value as Scalar[], place }
    }
    const items = value.map(
      (item: unknown, index) => inputOfValue(item, element as GraphQLInputType, [...path, index], context) ?? { kind: 'null' as const, place },
    )
    return { kind: 'list', items, place }
  }
  if (isInputObjectType(type)) {
    const fields = new Map<string, Input>()
    for (const [name, definition] of Object.entries(type.getFields())) {
      const given = value as Record<string, unknown>
      const input = Object.hasOwn(given, name) ? inputOfValue(given[name], definition.type, [...path, name], context) : undefined
      if (input) fields.set(name, input)
    }
    return { kind: 'object', fields, place }
  }
  const text = type.name === 'JSON' || type.name === 'Vector' ? type.name : null
  return { kind: 'leaf', operand: slot(slots, { kind: 'variable', path, text }), current: text ? parseInput(text, value) : (value as Scalar), place }
}

function listInput(nodes: readonly ValueNode[], itemType: GraphQLInputType, context: InputContext & { place: Place | null }): Input {
  const { place } = context
  const items = nodes.map((node) => inputOf(node, itemType, context) ?? { kind: 'null' as const, place })
  const element = isNonNullType(itemType) ? itemType.ofType : itemType
  if (!isScalarType(element) && !isEnumType(element)) return { kind: 'list', items, place }
  const leaves = items.map((item) => {
    if (item.kind !== 'leaf') throw new GatewayError('BAD_USER_INPUT', 'a list holds null', placed(place))
    return item
  })
  const current = leaves.map((leaf) => leaf.current as Scalar)
  if (leaves.every((leaf) => leaf.operand.kind === 'constant')) return { kind: 'leaf', operand: { kind: 'constant', value: current }, current, place }
  const parts = leaves.map((leaf) => {
    if (leaf.operand.kind !== 'slot') return { kind: 'value' as const, value: leaf.current as Scalar }
    const part = context.slots[leaf.operand.index]
    invariant(part && part.kind !== 'derived' && part.kind !== 'pivot', 'slot exists')
    return part
  })
  return { kind: 'leaf', operand: slot(context.slots, { kind: 'list', items: parts }), current, place }
}

/** A place for a value of each request. */
export function slot(slots: Slot[], source: Slot): Operand {
  slots.push(source)
  return { kind: 'slot', index: slots.length - 1 }
}

function placed(place: Place | null): { locations?: Place[] } {
  return place ? { locations: [place] } : {}
}

/** The values of a request, one a slot; null where the variable has none. */
export function slotValues(slots: readonly Slot[], variables: Readonly<Record<string, unknown>>): (Scalar | readonly Scalar[] | null)[] {
  const values: (Scalar | readonly Scalar[] | null)[] = []
  for (const source of slots)
    values.push(source.kind === 'pivot' ? null : source.kind === 'derived' ? derivedValue(source, values) : slotValue(source, variables))
  return values
}

/** @param values of the slots before it */
function derivedValue({ of, derive }: Extract<Slot, { kind: 'derived' }>, values: readonly (Scalar | readonly Scalar[] | null)[]): Scalar | readonly Scalar[] {
  return derive(of.map((operand) => (operand?.kind === 'slot' ? (values[operand.index] ?? null) : operand?.kind === 'constant' ? operand.value : null)))
}

function slotValue(source: VariableSlot, variables: Readonly<Record<string, unknown>>): Scalar | readonly Scalar[] | null {
  if (source.kind === 'list') return source.items.map((item) => (item.kind === 'value' ? item.value : (slotValue(item, variables) as Scalar)))
  let value: unknown = variables
  for (const step of source.path) value = (value as Record<string | number, unknown>)[step]
  return source.text && value !== null ? parseInput(source.text, value) : (value as Scalar | readonly Scalar[] | null)
}

/**
 * Refuses text that no store can hold: U+0000, and lone surrogates, which UTF-8 would turn into U+FFFD and so into another string.
 * @throws GatewayError BAD_USER_INPUT
 */
export function checkText(value: Scalar | readonly Scalar[] | null): void {
  if (typeof value === 'string') {
    if (LONE_SURROGATE_OR_NUL.test(value)) throw new GatewayError('BAD_USER_INPUT', 'a text holds U+0000 or half a surrogate pair')
  } else if (Array.isArray(value)) for (const item of value) checkText(item as Scalar)
}

const LONE_SURROGATE_OR_NUL = /[\0\p{Surrogate}]/u
