/**
 * From the contract's SDL to the catalog. Everything that the API generates from it is checked here, so that a contract that loads gives a valid schema; all
 * mistakes are listed at once, each with its place.
 */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type {
  ConstDirectiveNode,
  DefinitionNode,
  DocumentNode,
  EnumTypeDefinitionNode,
  FieldDefinitionNode,
  GraphQLDirective,
  NameNode,
  ObjectTypeDefinitionNode,
  TypeNode,
} from 'graphql'
import { buildASTSchema, getDirectiveValues, GraphQLError, Kind, parse, Source } from 'graphql'
import { validateSDL } from 'graphql/validation/validate.js'
import type { BuiltinScalar, Catalog, EntityType, Field, ToManyField, ToOneField, ValueField, VectorSpace } from '../query/catalog.js'
import { ID_FIELD, ORGANIZATION_FIELD } from '../query/catalog.js'
import { lowerFirst, pluralOf } from '../query/name.js'
import { aggregateFieldName, COMMON_ROOTS, COMMON_TYPES, entityTypeNames, enumTypeNames, groupFields, rootNames, vectorFields } from './api-schema.js'
import { hasSeries, seriesFields, seriesRootName } from './api-series.js'
import { RELATED_FIELD, stepsOf } from './api-traversal.js'

export interface ContractSource {
  /** The file's name, for messages. */
  readonly name: string
  readonly text: string
}

export interface ContractMistake {
  readonly source: string
  /** From 1; 0 where the mistake is not in a line. */
  readonly line: number
  readonly column: number
  readonly message: string
}

/** A contract that does not load. */
export class ContractError extends Error {
  constructor(readonly mistakes: readonly ContractMistake[]) {
    super(mistakes.map(({ source, line, column, message }) => `${source}:${line}:${column}: ${message}`).join('\n'))
    this.name = 'ContractError'
  }
}

/**
 * The files `*.graphql` of a folder, in the order of their names.
 *
 * @throws ContractError where the folder or a file cannot be read.
 */
export async function contractSources(folder: string): Promise<readonly ContractSource[]> {
  try {
    const names = (await readdir(folder)).filter((name) => name.endsWith('.graphql')).sort()
    return await Promise.all(names.map(async (name) => ({ name, text: await readFile(join(folder, name), 'utf8') })))
  } catch {
    throw new ContractError([{ source: folder, line: 0, column: 0, message: 'the folder of the contract cannot be read' }])
  }
}

/** @throws ContractError with every mistake found. */
export function parseContract(sources: readonly ContractSource[]): Catalog {
  const mistakes = new Mistakes()
  const definitions = sources.flatMap((source) => parsed(source, mistakes)).filter((definition) => !isPrelude(definition))
  mistakes.refuseIfAny() // without all of the text, names would be missing that are not
  const document: DocumentNode = { kind: Kind.DOCUMENT, definitions }
  for (const error of validateSDL({ kind: Kind.DOCUMENT, definitions: [...PRELUDE.definitions, ...definitions] })) mistakes.addError(error)
  mistakes.refuseIfAny() // unknown types and names given twice would only lead to more of the same
  const catalog = new ContractReader(document, mistakes).catalog()
  mistakes.refuseIfAny()
  return catalog
}

/** What a contract may use without defining it. A contract may repeat these definitions, so that editors understand the file. */
const PRELUDE = parse(`
  directive @entity(key: [String!]! = ["key"], name: String, plural: String) on OBJECT
  directive @inverse(of: String!) on FIELD_DEFINITION
  directive @series(time: String!) on OBJECT
  directive @vector(model: String!, dimensions: Int!, metric: VectorMetric! = COSINE) on FIELD_DEFINITION
  enum VectorMetric { COSINE L2 INNER_PRODUCT }
  scalar BigInt scalar Decimal scalar DateTime scalar LocalDateTime scalar Date scalar UUID scalar JSON scalar Vector
`)

const BUILTINS: ReadonlyMap<string, BuiltinScalar> = new Map(
  (['ID', 'String', 'Int', 'Float', 'Boolean', 'BigInt', 'Decimal', 'DateTime', 'LocalDateTime', 'Date', 'UUID', 'JSON', 'Vector'] as const).map((name) => [
    name,
    name,
  ]),
)

/** Scalars whose values identify a row: exact, with one text for each value. */
const KEY_SCALARS: ReadonlySet<string> = new Set<BuiltinScalar>(['ID', 'String', 'Int', 'BigInt', 'Decimal', 'UUID', 'Date', 'DateTime', 'LocalDateTime'])

const SERIES_TIMES: ReadonlySet<string> = new Set<BuiltinScalar>(['DateTime', 'LocalDateTime'])

/** What pgvector stores. */
const DIMENSIONS_MAX = 16_000

/** Keys of `where` that are not fields. */
const CONNECTIVES: readonly string[] = ['and', 'or', 'not']

const DIRECTIVES: ReadonlyMap<string, GraphQLDirective> = new Map(
  buildASTSchema(PRELUDE, { assumeValid: true })
    .getDirectives()
    .map((directive) => [directive.name, directive]),
)

function isPrelude(definition: DefinitionNode): boolean {
  return PRELUDE.definitions.some(
    (own) =>
      'name' in own &&
      'name' in definition &&
      definition.kind === own.kind &&
      definition.name?.value === own.name?.value &&
      definition.kind !== Kind.OBJECT_TYPE_DEFINITION,
  )
}

function parsed(source: ContractSource, mistakes: Mistakes): readonly DefinitionNode[] {
  try {
    // A file with nothing but comments is no mistake, although it is no document.
    return isBlank(source.text) ? [] : parse(new Source(source.text, source.name)).definitions
  } catch (error) {
    if (!(error instanceof GraphQLError)) throw error
    mistakes.addError(error)
    return []
  }
}

function isBlank(text: string): boolean {
  return text.split(/[\r\n]/).every((line) => /^[\s,\uFEFF]*(#.*)?$/.test(line))
}

class Mistakes {
  private readonly found: ContractMistake[] = []

  add(message: string, node: { readonly loc?: NameNode['loc'] } | null): void {
    const token = node?.loc?.startToken
    this.found.push({ source: node?.loc?.source.name ?? 'contract', line: token?.line ?? 0, column: token?.column ?? 0, message })
  }

  addError(error: GraphQLError): void {
    const node = error.nodes?.find((at) => at.loc !== undefined && at.loc.source !== PRELUDE.loc?.source)
    const [location] = error.locations ?? []
    if (node) this.add(error.message, node)
    else this.found.push({ source: error.source?.name ?? 'contract', line: location?.line ?? 0, column: location?.column ?? 0, message: error.message })
  }

  refuseIfAny(): void {
    if (this.found.length > 0) throw new ContractError(this.found)
  }
}

/** Reads a document whose names are known and unique. */
class ContractReader {
  private readonly objects: ReadonlyMap<string, ObjectTypeDefinitionNode>
  private readonly enums: ReadonlyMap<string, EnumTypeDefinitionNode>

  constructor(
    private readonly document: DocumentNode,
    private readonly mistakes: Mistakes,
  ) {
    this.objects = new Map(document.definitions.filter((definition) => definition.kind === Kind.OBJECT_TYPE_DEFINITION).map((node) => [node.name.value, node]))
    this.enums = new Map(document.definitions.filter((definition) => definition.kind === Kind.ENUM_TYPE_DEFINITION).map((node) => [node.name.value, node]))
  }

  catalog(): Catalog {
    for (const definition of this.document.definitions) this.checkDefinition(definition)
    const entities = [...this.objects.values()].map((node) => this.entity(node))
    if (entities.length === 0) this.mistakes.add('the contract has no type with `@entity`', null)
    const catalog: Catalog = {
      entities: new Map(entities.map((entity) => [entity.name, entity])),
      enums: new Map(
        [...this.enums.values()].map((node) => [
          node.name.value,
          { name: node.name.value, description: node.description?.value ?? null, values: enumValues(node) },
        ]),
      ),
    }
    this.checkInverses(catalog)
    this.checkSeriesFields(catalog)
    this.checkSteps(catalog)
    this.checkRootNames(catalog)
    this.checkTypeNames(catalog)
    return catalog
  }

  private checkDefinition(definition: DefinitionNode): void {
    switch (definition.kind) {
      case Kind.OBJECT_TYPE_DEFINITION:
        return
      case Kind.ENUM_TYPE_DEFINITION:
        for (const value of definition.values ?? []) this.checkName(value.name)
        return
      default:
        this.mistakes.add('a contract has only types with `@entity`, and enums', definition)
    }
  }

  private entity(node: ObjectTypeDefinitionNode): EntityType {
    const name = node.name.value
    const settings = this.directive('entity', node)
    if (!has('entity', node)) this.mistakes.add(`\`${name}\` needs \`@entity\``, node.name)
    for (const parent of node.interfaces ?? []) this.mistakes.add(`\`${name}\` cannot implement \`${parent.name.value}\``, parent)
    this.checkName(node.name)
    const fields = (node.fields ?? []).flatMap((field) => this.field(field, name) ?? [])
    const singular = settings?.name ?? lowerFirst(name)
    const entity: EntityType = {
      name,
      description: node.description?.value ?? null,
      key: settings?.key ?? [],
      singular,
      plural: settings?.plural ?? pluralOf(singular),
      fields: new Map(fields.map((field) => [field.name, field])),
      seriesTime: this.directive('series', node)?.time ?? null,
    }
    if (settings) this.checkStems(entity, node)
    if (settings) this.checkKey(entity, node)
    this.checkSeries(entity, node)
    this.checkFieldClashes(entity, node)
    return entity
  }

  /** The arguments of a directive, or null where it is absent or its arguments are of the wrong type (a mistake then). */
  private directive(name: 'entity', node: { readonly directives?: readonly ConstDirectiveNode[] }): { key: string[]; name?: string; plural?: string } | null
  private directive(name: 'series', node: { readonly directives?: readonly ConstDirectiveNode[] }): { time: string } | null
  private directive(name: 'inverse', node: { readonly directives?: readonly ConstDirectiveNode[] }): { of: string } | null
  private directive(name: 'vector', node: { readonly directives?: readonly ConstDirectiveNode[] }): VectorSpace | null
  private directive(name: string, node: { readonly directives?: readonly ConstDirectiveNode[] }): unknown {
    const definition = DIRECTIVES.get(name)
    try {
      return (definition && getDirectiveValues(definition, node)) ?? null
    } catch (error) {
      if (!(error instanceof GraphQLError)) throw error
      this.mistakes.addError(error)
      return null
    }
  }

  /** Null: refused. */
  private field(node: FieldDefinitionNode, parent: string): Field | null {
    const name = node.name.value
    const place = `\`${parent}.${name}\``
    this.checkName(node.name)
    if (name === ID_FIELD) this.mistakes.add(`${place}: \`id\` is the global id of every row; call the owner's key \`key\``, node.name)
    if (name === ORGANIZATION_FIELD) this.mistakes.add(`${place}: \`organization\` is the owner of every row; choose another name`, node.name)
    if (CONNECTIVES.includes(name)) this.mistakes.add(`${place}: \`${name}\` is a word of \`where\`; choose another name`, node.name)
    if (node.arguments?.length) this.mistakes.add(`${place}: a field of the contract has no arguments`, node)
    const type = shapeOf(node.type)
    if (type === null) {
      this.mistakes.add(`${place}: a list is written \`[Type!]\` or \`[Type!]!\`, and holds no lists`, node.type)
      return null
    }
    return this.objects.has(type.name) ? this.relation(node, parent, type) : this.value(node, parent, type)
  }

  private relation(node: FieldDefinitionNode, parent: string, type: Shape): ToOneField | ToManyField | null {
    const place = `\`${parent}.${node.name.value}\``
    const common = { name: node.name.value, description: node.description?.value ?? null, target: type.name }
    const inverse = this.directive('inverse', node)
    if (type.required) this.mistakes.add(`${place}: a relation cannot have \`!\`, since its target may be hidden from the caller`, node.type)
    if (type.list && !has('inverse', node))
      this.mistakes.add(`${place}: a relation to many needs \`@inverse(of: "…")\`, naming the field of \`${type.name}\` that leads back`, node)
    if (!type.list && has('inverse', node)) this.mistakes.add(`${place}: \`@inverse\` is for relations to many only`, node)
    if (!type.list) return { kind: 'toOne', ...common }
    return inverse === null ? null : { kind: 'toMany', ...common, inverse: inverse.of }
  }

  private value(node: FieldDefinitionNode, parent: string, type: Shape): ValueField | null {
    const place = `\`${parent}.${node.name.value}\``
    if (has('inverse', node)) this.mistakes.add(`${place}: \`@inverse\` is for relations to many only`, node)
    const vector = this.vector(node, place, type)
    const common = {
      kind: 'value',
      name: node.name.value,
      description: node.description?.value ?? null,
      list: type.list,
      required: type.required,
      vector,
    } as const
    const enumNode = this.enums.get(type.name)
    if (enumNode) return { ...common, type: { kind: 'enum', name: type.name, values: enumValues(enumNode) } }
    const builtin = BUILTINS.get(type.name)
    if (builtin) return { ...common, type: { kind: 'builtin', name: builtin } }
    this.mistakes.add(`${place}: \`${type.name}\` cannot be the type of a field`, node.type)
    return null
  }

  /** Null: no vector, or a mistake. */
  private vector(node: FieldDefinitionNode, place: string, type: Shape): VectorSpace | null {
    if (type.name !== 'Vector') {
      if (has('vector', node)) this.mistakes.add(`${place}: \`@vector\` is for fields of type \`Vector\``, node)
      return null
    }
    if (!has('vector', node)) this.mistakes.add(`${place}: a vector needs \`@vector(model: "…", dimensions: …)\`, without which nobody can compare it`, node)
    if (type.list) this.mistakes.add(`${place}: a list of vectors cannot be the type of a field`, node.type)
    const space = this.directive('vector', node)
    if (space && (space.dimensions < 1 || space.dimensions > DIMENSIONS_MAX)) this.mistakes.add(`${place}: \`dimensions\` is from 1 to ${DIMENSIONS_MAX}`, node)
    if (space?.model === '') this.mistakes.add(`${place}: \`model\` names what made the vectors`, node)
    return space
  }

  private checkName(node: NameNode): void {
    const name = node.value
    if (name.startsWith('__')) this.mistakes.add(`\`${name}\`: names that start with two underscores belong to GraphQL`, node)
    else if (name === 'prototype' || name in Object.prototype) this.mistakes.add(`\`${name}\`: the name is reserved in JavaScript; choose another`, node)
  }

  private checkStems(entity: EntityType, node: ObjectTypeDefinitionNode): void {
    for (const stem of [entity.singular, entity.plural]) {
      const fits = /^[A-Za-z_][0-9A-Za-z_]*$/.test(stem) && !stem.startsWith('__') && stem !== 'prototype' && !(stem in Object.prototype)
      if (!fits) this.mistakes.add(`\`${entity.name}\`: \`${stem}\` cannot be the stem of names`, node.name)
    }
    if (entity.singular === entity.plural)
      this.mistakes.add(`\`${entity.name}\`: its plural \`${entity.plural}\` must differ from its name; set \`@entity(plural: "…")\``, node.name)
  }

  private checkKey(entity: EntityType, node: ObjectTypeDefinitionNode): void {
    const place = `\`${entity.name}\``
    if (entity.key.length === 0) this.mistakes.add(`${place}: \`key\` names at least one field`, node.name)
    if (new Set(entity.key).size !== entity.key.length) this.mistakes.add(`${place}: \`key\` names a field twice`, node.name)
    for (const name of entity.key) {
      const field = entity.fields.get(name)
      if (field === undefined)
        this.mistakes.add(`${place}: the key field \`${name}\` does not exist; set \`@entity(key: […])\` or add \`${name}: ID!\``, node.name)
      else if (field.kind !== 'value' || field.list) this.mistakes.add(`${place}: the key field \`${name}\` must be a value, no relation or list`, node.name)
      else if (!field.required) this.mistakes.add(`${place}: the key field \`${name}\` must have \`!\``, node.name)
      else if (!KEY_SCALARS.has(field.type.name)) this.mistakes.add(`${place}: a value of \`${field.type.name}\` cannot be a key (\`${name}\`)`, node.name)
    }
  }

  private checkSeries(entity: EntityType, node: ObjectTypeDefinitionNode): void {
    if (entity.seriesTime === null) return
    const field = entity.fields.get(entity.seriesTime)
    const fits = field?.kind === 'value' && !field.list && SERIES_TIMES.has(field.type.name)
    if (!fits) this.mistakes.add(`\`${entity.name}\`: \`@series(time: …)\` must name a field of type DateTime or LocalDateTime`, node.name)
  }

  private checkFieldClashes(entity: EntityType, node: ObjectTypeDefinitionNode): void {
    for (const field of entity.fields.values()) {
      if (field.kind !== 'toMany' || !entity.fields.has(aggregateFieldName(field))) continue
      this.mistakes.add(`\`${entity.name}.${aggregateFieldName(field)}\`: the name is generated for the relation \`${field.name}\`; choose another`, node.name)
    }
    for (const [value, fields] of duplicates(groupFields(entity)).filter(() => !entity.fields.has(ORGANIZATION_FIELD)))
      this.mistakes.add(
        `\`${entity.name}\`: ${fields.map((field) => `\`${field}\``).join(' and ')} would both be \`${value}\` in \`${entity.name}GroupField\``,
        node.name,
      )
    for (const [value, fields] of duplicates(vectorFields(entity)))
      this.mistakes.add(`\`${entity.name}\`: ${fields.map((field) => `\`${field}\``).join(' and ')} would both be \`${value}\` in \`${entity.name}VectorField\``, node.name) // prettier-ignore
  }

  private checkInverses({ entities }: Catalog): void {
    for (const entity of entities.values()) {
      for (const field of entity.fields.values()) {
        if (field.kind !== 'toMany') continue
        const back = entities.get(field.target)?.fields.get(field.inverse)
        if (back?.kind === 'toOne' && back.target === entity.name) continue
        const node = this.objects.get(entity.name)?.fields?.find((candidate) => candidate.name.value === field.name)
        this.mistakes.add(`\`${entity.name}.${field.name}\`: \`${field.target}.${field.inverse}\` is no relation to one \`${entity.name}\``, node ?? null)
      }
    }
  }

  private checkSteps(catalog: Catalog): void {
    for (const entity of catalog.entities.values()) {
      const steps = stepsOf(entity, catalog).map(([value, step]): [string, string] => [value, step.map(({ field }) => `\`${field}\``).join(' then ')])
      const node = this.objects.get(entity.name)?.name ?? null
      if (steps.length > 0 && entity.fields.has(RELATED_FIELD))
        this.mistakes.add(
          `\`${entity.name}.${RELATED_FIELD}\`: the name is generated for rows that are some steps away over ${steps[0]?.[1] ?? ''}; choose another`,
          node,
        )
      for (const [value, ways] of duplicates(steps))
        this.mistakes.add(`\`${entity.name}\`: ${ways.join(' and ')} would both be \`${value}\` in \`${entity.name}RelatedVia\``, node)
    }
  }

  private checkSeriesFields(catalog: Catalog): void {
    for (const entity of catalog.entities.values()) {
      const names = [...entity.fields.values()].flatMap((field) => (field.kind === 'toMany' ? [field.name, aggregateFieldName(field)] : [field.name]))
      const series = seriesFields(entity, catalog)
      for (const [place, [name, { name: relation }]] of series.entries()) {
        if (!names.includes(name) && series.findIndex(([other]) => other === name) === place) continue
        const node = this.objects.get(entity.name)?.fields?.find((candidate) => candidate.name.value === relation)
        this.mistakes.add(`\`${entity.name}.${name}\`: the name is generated for the series beside \`${relation}\`; choose another`, node ?? null)
      }
    }
  }

  private checkRootNames({ entities }: Catalog): void {
    const names = [...entities.values()].flatMap((entity) =>
      [...rootNames(entity), ...(hasSeries(entity) ? [seriesRootName(entity)] : [])].map((name): [string, string] => [name, entity.name]),
    )
    for (const [name, owners] of duplicates([...COMMON_ROOTS.map((root): [string, string] => [root, 'Query']), ...names])) {
      const types = [...new Set(owners)].map((owner) => `\`${owner}\``).join(' and ')
      this.mistakes.add(
        `\`Query.${name}\` would be generated more than once (${types}); set \`@entity(name: "…", plural: "…")\``,
        this.objects.get(owners.at(-1) ?? '')?.name ?? null,
      )
    }
  }

  private checkTypeNames({ entities, enums }: Catalog): void {
    const names = [
      ...COMMON_TYPES.map((name): [string, string] => [name, 'the API']),
      ...[...entities.keys()].flatMap((owner) => entityTypeNames(owner).map((name): [string, string] => [name, owner])),
      ...[...enums.keys()].flatMap((owner) => enumTypeNames(owner).map((name): [string, string] => [name, owner])),
    ]
    for (const [name, owners] of duplicates(names)) {
      const last = owners.at(-1) ?? ''
      const others = owners.slice(0, -1).join(', ')
      this.mistakes.add(
        `\`${last}\`: the name \`${name}\` is taken by ${others}; rename the type`,
        (this.objects.get(last) ?? this.enums.get(last))?.name ?? null,
      )
    }
  }
}

function has(directive: string, node: { readonly directives?: readonly ConstDirectiveNode[] }): boolean {
  return node.directives?.some((used) => used.name.value === directive) ?? false
}

interface Shape {
  readonly name: string
  readonly list: boolean
  readonly required: boolean
}

/** `T`, `T!`, `[T!]` or `[T!]!`; null for all else. */
function shapeOf(node: TypeNode): Shape | null {
  const required = node.kind === Kind.NON_NULL_TYPE
  const inner = required ? node.type : node
  if (inner.kind === Kind.NAMED_TYPE) return { name: inner.name.value, list: false, required }
  if (inner.type.kind !== Kind.NON_NULL_TYPE || inner.type.type.kind !== Kind.NAMED_TYPE) return null
  return { name: inner.type.type.name.value, list: true, required }
}

function enumValues(node: EnumTypeDefinitionNode): readonly string[] {
  return (node.values ?? []).map((value) => value.name.value)
}

/** Keys that occur more than once, each with its values. */
function duplicates(entries: readonly (readonly [key: string, value: string])[]): readonly (readonly [key: string, values: readonly string[]])[] {
  const byKey = new Map<string, string[]>()
  for (const [key, value] of entries) byKey.set(key, [...(byKey.get(key) ?? []), value])
  return [...byKey].filter(([, same]) => same.length > 1)
}
