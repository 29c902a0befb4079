/**
 * From the SDL of a foreign service to what of it joins the API: for each joined type of the contract the fields that the service adds, and what they need. All
 * else that the service has stays outside. Pure.
 */
import type { GraphQLArgument, GraphQLField, GraphQLNamedType, GraphQLOutputType } from 'graphql'
import {
  assertValidSchema,
  buildASTSchema,
  getNamedType,
  getNullableType,
  GraphQLError,
  GraphQLObjectType,
  GraphQLSchema,
  isAbstractType,
  isEnumType,
  isInputObjectType,
  isListType,
  isNonNullType,
  isObjectType,
  isScalarType,
  isSpecifiedScalarType,
  Kind,
  parse,
  visit,
} from 'graphql'
import { type Catalog, ID_FIELD } from '../query/catalog.js'

export interface ForeignSource {
  /** As the configuration names it. */
  readonly name: string
  readonly sdl: string
  /** By type of the contract: the field of the service's `Query` that gives rows by key, and its argument that takes the keys. */
  readonly joins: ReadonlyMap<string, { readonly field: string; readonly argument: string }>
}

export interface ForeignJoin {
  readonly type: string
  readonly field: string
  readonly argument: string
  /** Type of the argument as the service writes it, such as `[ID!]!`. */
  readonly argumentType: string
  /** What the service adds to the type. */
  readonly fields: ReadonlySet<string>
}

export interface ForeignSchema {
  readonly name: string
  /** The service's types as it has them; its `Query` has the joining fields only. */
  readonly schema: GraphQLSchema
  readonly joins: ReadonlyMap<string, ForeignJoin>
}

/** A service that does not fit the contract; each mistake is a sentence for the operator. */
export class ForeignServiceError extends Error {
  constructor(
    readonly service: string,
    readonly mistakes: readonly string[],
  ) {
    super(mistakes.map((mistake) => `service \`${service}\`: ${mistake}`).join('\n'))
    this.name = 'ForeignServiceError'
  }
}

/** @throws ForeignServiceError with every mistake found. */
export function foreignSchema(source: ForeignSource, contract: { readonly schema: GraphQLSchema; readonly catalog: Catalog }): ForeignSchema {
  const whole = parsed(source)
  const mistakes: string[] = []
  const joins = new Map<string, ForeignJoin>()
  for (const [type, join] of source.joins) {
    const joined = joinOf(type, join, whole, contract, mistakes)
    if (joined) joins.set(type, joined)
  }
  if (source.joins.size === 0) mistakes.push('joins no type')
  const reached = reachedTypes([...joins.values()], whole)
  for (const type of reached.values()) checkType(type, joins, contract, mistakes)
  if (mistakes.length > 0) throw new ForeignServiceError(source.name, mistakes)
  return { name: source.name, schema: joiningPart(whole, joins), joins }
}

function parsed({ name, sdl }: ForeignSource): GraphQLSchema {
  try {
    // Directives say how the service works inside; nothing of them is wanted here.
    const document = visit(parse(sdl, { noLocation: true }), {
      [Kind.DIRECTIVE_DEFINITION]: () => null,
      [Kind.DIRECTIVE]: (node) => (node.name.value === 'deprecated' || node.name.value === 'oneOf' ? undefined : null),
    })
    const schema = buildASTSchema(document)
    assertValidSchema(schema)
    if (!schema.getQueryType()) throw new GraphQLError('there is no `Query`')
    return schema
  } catch (error) {
    throw new ForeignServiceError(name, [`the schema cannot be read: ${error instanceof Error ? error.message : 'unknown reason'}`])
  }
}

function joinOf(
  name: string,
  { field, argument }: { readonly field: string; readonly argument: string },
  whole: GraphQLSchema,
  contract: { readonly schema: GraphQLSchema; readonly catalog: Catalog },
  mistakes: string[],
): ForeignJoin | null {
  const fail = (mistake: string): null => {
    mistakes.push(mistake)
    return null
  }
  const own = contract.schema.getType(name)
  if (!contract.catalog.entities.has(name) || !isObjectType(own)) return fail(`\`${name}\` is not a type of the contract`)
  const type = whole.getType(name)
  if (!isObjectType(type)) return fail(`the service has no type \`${name}\``)
  if (!isKey(type.getFields()[ID_FIELD])) return fail(`\`${name}\` needs \`id: ID!\`, which says what row an item is of`)
  const root = whole.getQueryType()?.getFields()[field]
  if (!root) return fail(`the service's \`Query\` has no \`${field}\``)
  const keys = root.args.find((candidate) => candidate.name === argument)
  if (!keys || !isListOf(keys.type, 'ID')) return fail(`\`Query.${field}\` needs the argument \`${argument}: [ID!]!\``)
  if (root.args.some((other) => other !== keys && isNonNullType(other.type) && other.defaultValue === undefined))
    return fail(`\`Query.${field}\` must not require more than \`${argument}\``)
  if (!isListOf(root.type, name)) return fail(`\`Query.${field}\` must give \`[${name}]\`: an item for each key, in their order`)
  const added = Object.values(type.getFields()).filter((candidate) => candidate.name !== ID_FIELD)
  if (added.length === 0) return fail(`adds nothing to \`${name}\``)
  for (const candidate of added) {
    const place = `\`${name}.${candidate.name}\``
    if (own.getFields()[candidate.name]) mistakes.push(`${place} is the contract's: a service cannot speak for its owners`)
    if (isNonNullType(candidate.type)) mistakes.push(`${place} must be nullable: a service may fail, and not every key may be sent to it`)
    if (isReserved(candidate.name)) mistakes.push(`${place} has a name that cannot stand here`)
  }
  return { type: name, field, argument, argumentType: String(keys.type), fields: new Set(added.map((candidate) => candidate.name)) }
}

function isKey(field: GraphQLField<unknown, unknown> | undefined): boolean {
  return field !== undefined && field.args.length === 0 && String(getNullableType(field.type)) === 'ID'
}

/** A list of the named type, of one level. */
function isListOf(type: GraphQLOutputType | GraphQLArgument['type'], name: string): boolean {
  const list = getNullableType(type)
  return isListType(list) && String(getNullableType(list.ofType)) === name
}

/** Names that reach into JavaScript's own objects, or into GraphQL's. */
function isReserved(name: string): boolean {
  return name.startsWith('__') || ['constructor', 'prototype', 'toString', 'valueOf', 'hasOwnProperty'].includes(name)
}

/** Types that the added fields lead to, through results and arguments. */
function reachedTypes(joins: readonly ForeignJoin[], whole: GraphQLSchema): ReadonlyMap<string, GraphQLNamedType> {
  const reached = new Map<string, GraphQLNamedType>()
  const visit = (type: GraphQLNamedType): void => {
    if (reached.has(type.name)) return
    reached.set(type.name, type)
    if (isObjectType(type)) for (const field of Object.values(type.getFields())) visitField(field)
    if (isInputObjectType(type)) for (const field of Object.values(type.getFields())) visit(getNamedType(field.type))
  }
  const visitField = (field: GraphQLField<unknown, unknown>): void => {
    visit(getNamedType(field.type))
    for (const argument of field.args) visit(getNamedType(argument.type))
  }
  for (const join of joins) {
    const type = whole.getType(join.type)
    if (isObjectType(type)) for (const name of join.fields) for (const field of [type.getFields()[name]]) if (field) visitField(field)
  }
  return reached
}

function checkType(type: GraphQLNamedType, joins: ReadonlyMap<string, ForeignJoin>, contract: { readonly schema: GraphQLSchema }, mistakes: string[]): void {
  if (isScalarType(type)) {
    const known = isSpecifiedScalarType(type) || isScalarType(contract.schema.getType(type.name))
    if (!known) mistakes.push(`the scalar \`${type.name}\` is unknown here; use those of the contract, such as \`DateTime\`, \`Decimal\` or \`JSON\``)
    return
  }
  if (joins.has(type.name) || contract.schema.getType(type.name))
    mistakes.push(`a field of the service leads to \`${type.name}\`, which is the contract's: use a type of another name`)
  if (isAbstractType(type)) mistakes.push(`\`${type.name}\` is an interface or union; use object types`)
  if (isReserved(type.name)) mistakes.push(`\`${type.name}\` is a name that cannot stand here`)
  const names = isObjectType(type) || isInputObjectType(type) ? Object.keys(type.getFields()) : isEnumType(type) ? type.getValues().map(({ name }) => name) : []
  for (const name of names) if (isReserved(name)) mistakes.push(`\`${type.name}.${name}\` has a name that cannot stand here`)
}

/** What is not reached from the joining fields is not a part of the new schema. */
function joiningPart(whole: GraphQLSchema, joins: ReadonlyMap<string, ForeignJoin>): GraphQLSchema {
  const roots = whole.getQueryType()?.toConfig().fields ?? {}
  const fields = [...joins.values()].flatMap(({ field }) => (roots[field] ? [[field, roots[field]] as const] : []))
  return new GraphQLSchema({ query: new GraphQLObjectType({ name: 'Query', fields: Object.fromEntries(fields) }) })
}
