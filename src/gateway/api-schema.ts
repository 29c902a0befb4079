/**
 * The API that a contract gives, as the design of the API surface has it: for each entity a lookup, a connection and an aggregate, with their inputs. Nothing
 * here knows bindings, policies or callers: one schema serves everybody.
 */
import { extendSchema, GraphQLSchema, parse } from 'graphql'
import type { BuiltinScalar, Catalog, EntityType, Field, ToManyField, ToOneField, ValueField } from '../query/catalog.js'
import { ORGANIZATION_FIELD } from '../query/catalog.js'
import { screamingSnakeCase } from '../query/name.js'
import { hasSeries, SERIES_DEFINITIONS, seriesArguments, seriesDefinitions, seriesFieldName, seriesFields, seriesRootName } from './api-series.js'
import { RELATED_DEFINITIONS, RELATED_FIELD, relatedDefinitions, relatedField, type StepRelation, stepsOf } from './api-traversal.js'
import { DURATION_TYPE, SCALAR_TYPES } from './scalars.js'

/** The schema of the API; it resolves nothing by itself. */
export function apiSchema(catalog: Catalog): GraphQLSchema {
  const types = [...catalog.entities.values()].some(hasSeries) ? [...SCALAR_TYPES, DURATION_TYPE] : SCALAR_TYPES
  const base = new GraphQLSchema({ types })
  return extendSchema(base, parse(apiDefinitions(catalog)))
}

/** What the names of the API mean, so that whoever reads a document never takes a name apart. */
export interface ApiIndex {
  /** By field of `Query`. */
  readonly roots: ReadonlyMap<string, RootField>
  /** By entity type. */
  readonly types: ReadonlyMap<string, TypeIndex>
}

export type RootField =
  /** One row by its key: an argument for each key field, named as the field, and `organization`. */
  | { readonly kind: 'lookup'; readonly type: string }
  | { readonly kind: 'connection'; readonly type: string }
  | { readonly kind: 'aggregate'; readonly type: string }
  /** The rows whose vectors are nearest to one. */
  | { readonly kind: 'nearest'; readonly type: string }
  | { readonly kind: 'series'; readonly type: string }
  | { readonly kind: 'node' | 'nodes' | 'organizations' }

export interface TypeIndex {
  /** By field of the row's type in the API. */
  readonly fields: ReadonlyMap<string, RowApiField>
  /** By value of the enum `…GroupField`: a field of the contract, or `organization`. */
  readonly groupFields: ReadonlyMap<string, string>
  /** By value of the enum `…VectorField`. */
  readonly vectorFields: ReadonlyMap<string, string>
  /** By value of the enum `…RelatedVia`: the relations of one step. */
  readonly steps: ReadonlyMap<string, readonly StepRelation[]>
}

export type RowApiField =
  | { readonly kind: 'id' | 'organization' }
  | { readonly kind: 'value'; readonly field: ValueField }
  | { readonly kind: 'toOne'; readonly field: ToOneField }
  /** A connection of the rows that the relation leads to. */
  | { readonly kind: 'list'; readonly field: ToManyField }
  /** Groups of the rows that the relation leads to. */
  | { readonly kind: 'aggregate'; readonly field: ToManyField }
  /** Series of the rows that the relation leads to. */
  | { readonly kind: 'series'; readonly field: ToManyField }
  /** Rows that are some steps away. */
  | { readonly kind: 'traversal' }

export function apiIndex(catalog: Catalog): ApiIndex {
  const entities = [...catalog.entities.values()]
  const roots = entities.flatMap((entity): [string, RootField][] => [
    [entity.singular, { kind: 'lookup', type: entity.name }],
    [entity.plural, { kind: 'connection', type: entity.name }],
    [`${entity.plural}Aggregate`, { kind: 'aggregate', type: entity.name }],
    ...(vectorFields(entity).length === 0 ? [] : [[nearestName(entity), { kind: 'nearest', type: entity.name }] satisfies [string, RootField]]),
    ...(hasSeries(entity) ? [[seriesRootName(entity), { kind: 'series', type: entity.name }] as [string, RootField]] : []),
  ])
  return {
    roots: new Map<string, RootField>([['node', { kind: 'node' }], ['nodes', { kind: 'nodes' }], ['organizations', { kind: 'organizations' }], ...roots]),
    types: new Map(
      entities.map((entity) => [
        entity.name,
        {
          fields: new Map(rowApiFields(entity, catalog)),
          groupFields: new Map(groupFields(entity)),
          vectorFields: new Map(vectorFields(entity)),
          steps: new Map(stepsOf(entity, catalog)),
        },
      ]),
    ),
  }
}

/** The names of `Query` that an entity may bring, whether its fields ask for them now or not. */
export function rootNames(entity: EntityType): readonly string[] {
  return [entity.singular, entity.plural, `${entity.plural}Aggregate`, nearestName(entity)]
}

function nearestName({ plural }: EntityType): string {
  return `${plural}Nearest`
}

/** The names of `Query` besides those of the entities. */
export const COMMON_ROOTS: readonly string[] = ['node', 'nodes', 'organizations']

/** The types of the API besides those of the entities and enums, with those that later parts of the API will take. */
export const COMMON_TYPES: readonly string[] = [
  ...['Query', 'Mutation', 'Subscription', 'Node', 'Organization', 'PageInfo', 'Order', 'TimeUnit', 'OnForbidden', 'OnUnavailable'],
  ...['NearestTo', 'VectorMetric', 'TimeRange', 'Fill', 'RelationDirection'],
  ...['ID', 'String', 'Int', 'Float', 'Boolean', 'BigInt', 'Decimal', 'DateTime', 'LocalDateTime', 'Date', 'UUID', 'JSON', 'Duration', 'Vector'].flatMap(
    (name) => [name, `${name}Filter`, `${name}ListFilter`],
  ),
]

/** Every name of a type that an entity may bring into the API, whether its fields ask for it now or not. */
export function entityTypeNames(name: string): readonly string[] {
  return ENTITY_SUFFIXES.map((suffix) => name + suffix)
}

/** Every name of a type that an enum may bring into the API. */
export function enumTypeNames(name: string): readonly string[] {
  return [name, `${name}Filter`, `${name}ListFilter`]
}

const ENTITY_SUFFIXES: readonly string[] = [
  ...[
    '',
    'Connection',
    'Edge',
    'Where',
    'ListWhere',
    'OrderBy',
    'Aggregate',
    'Group',
    'GroupKeys',
    'GroupBy',
    'GroupField',
    'CountDistinct',
    'Sum',
    'Avg',
    'Extreme',
  ],
  ...['Having', 'SumHaving', 'AvgHaving', 'GroupOrderBy', 'GroupKeyOrder', 'MeasureOrderBy'],
  ...['VectorField', 'Nearest', 'NearestEdge', 'Series', 'Bucket', 'Related', 'RelatedEdge', 'RelatedVia'],
]

function rowApiFields(entity: EntityType, catalog: Catalog): readonly [string, RowApiField][] {
  const fields = [...entity.fields.values()].flatMap((field): [string, RowApiField][] => {
    switch (field.kind) {
      case 'value':
        return [[field.name, { kind: 'value', field }]]
      case 'toOne':
        return [[field.name, { kind: 'toOne', field }]]
      case 'toMany':
        return [
          [field.name, { kind: 'list', field }],
          [aggregateFieldName(field), { kind: 'aggregate', field }],
        ]
    }
  })
  const series = seriesFields(entity, catalog).map(([name, field]): [string, RowApiField] => [name, { kind: 'series', field }])
  const related: [string, RowApiField][] = stepsOf(entity, catalog).length === 0 ? [] : [[RELATED_FIELD, { kind: 'traversal' }]]
  return [['id', { kind: 'id' }], ['organization', { kind: 'organization' }], ...fields, ...series, ...related]
}

/** The field beside a list that gives its groups. */
export function aggregateFieldName(relation: ToManyField): string {
  return `${relation.name}Aggregate`
}

/** Values of the enum `…GroupField`, in order, with what each stands for. */
export function groupFields(entity: EntityType): readonly [value: string, field: string][] {
  const fields = valueFields(entity).filter((field) => isGroupable(field, entity))
  return [['ORGANIZATION', ORGANIZATION_FIELD], ...fields.map((field): [string, string] => [screamingSnakeCase(field.name), field.name])]
}

/** Values of the enum `…VectorField`, in order, with what each stands for. */
export function vectorFields(entity: EntityType): readonly [value: string, field: string][] {
  return valueFields(entity).flatMap((field): [string, string][] => (field.vector ? [[screamingSnakeCase(field.name), field.name]] : []))
}

// Which fields can stand where.

function valueFields(entity: EntityType): readonly ValueField[] {
  return [...entity.fields.values()].filter((field) => field.kind === 'value')
}

function isKeyAlone(field: ValueField, entity: EntityType): boolean {
  return entity.key.length === 1 && entity.key[0] === field.name
}

/** Whether rows can be ordered by the field. */
export function isSortable(field: ValueField, entity: EntityType): boolean {
  return !field.list && !isScalar(field, ['JSON', 'Vector']) && !(isScalar(field, ['ID']) && entity.key.includes(field.name))
}

function isGroupable(field: ValueField, entity: EntityType): boolean {
  if (field.list || isKeyAlone(field, entity)) return false
  return field.type.kind === 'enum' || isScalar(field, ['Int', 'Boolean', 'String', 'Date', 'DateTime', 'LocalDateTime'])
}

/** Distinct values of a key that stands alone are the rows themselves. */
function isCountable(field: Field, entity: EntityType): boolean {
  if (field.kind !== 'value') return field.kind === 'toOne'
  if (field.list || isKeyAlone(field, entity)) return false
  return field.type.kind === 'enum' || isScalar(field, ['String', 'ID', 'Int', 'BigInt', 'UUID', 'Date'])
}

function isSummable(field: ValueField, entity: EntityType): boolean {
  return !field.list && !entity.key.includes(field.name) && isScalar(field, ['Int', 'BigInt', 'Decimal', 'Float'])
}

function isExtremable(field: ValueField): boolean {
  return !field.list && isScalar(field, ['String', 'Int', 'BigInt', 'Decimal', 'Float', 'Date', 'DateTime', 'LocalDateTime'])
}

function isScalar(field: ValueField, names: readonly BuiltinScalar[]): boolean {
  return field.type.kind === 'builtin' && names.includes(field.type.name)
}

function sumType(field: ValueField): 'BigInt' | 'Decimal' | 'Float' {
  if (isScalar(field, ['Float'])) return 'Float'
  return isScalar(field, ['Int', 'BigInt']) ? 'BigInt' : 'Decimal'
}

function avgType(field: ValueField): 'Decimal' | 'Float' {
  return isScalar(field, ['Float']) ? 'Float' : 'Decimal'
}

/** The filter of a field, or null where it has none. */
function filterType(field: ValueField): string | null {
  if (field.vector) return null // nothing is asked of a vector but how near it is
  if (!field.list) return `${field.type.name}Filter`
  return isScalar(field, ['JSON']) ? null : `${field.type.name}ListFilter`
}

/** Entities whose rows can be ordered by something, be it through to-one relations. */
function sortableEntities(catalog: Catalog): ReadonlySet<string> {
  const entities = [...catalog.entities.values()]
  const found = new Set<string>()
  // Each round adds at least one entity, so there are at most as many rounds.
  for (let before = -1; before !== found.size;) {
    before = found.size
    for (const entity of entities) {
      const sortable = [...entity.fields.values()].some((field) =>
        field.kind === 'value' ? isSortable(field, entity) : field.kind === 'toOne' && found.has(field.target),
      )
      if (sortable) found.add(entity.name)
    }
  }
  return found
}

// The definitions, as text.

function apiDefinitions(catalog: Catalog): string {
  const sortable = sortableEntities(catalog)
  const entities = [...catalog.entities.values()]
  return [
    queryDefinition(entities, sortable),
    COMMON_DEFINITIONS,
    ...(entities.some((entity) => vectorFields(entity).length > 0) ? [SEARCH_DEFINITIONS] : []),
    ...entities.map((entity) => entityDefinitions(entity, { catalog, sortable })),
    ...[...catalog.enums.values()].map((type) => `${description(type.description)}enum ${type.name} { ${type.values.join(' ')} }`),
    ...filterDefinitions(catalog),
    ...(entities.some(hasSeries) ? [SERIES_DEFINITIONS] : []),
    ...(entities.some((entity) => stepsOf(entity, catalog).length > 0) ? [RELATED_DEFINITIONS] : []),
  ].join('\n')
}

const COMMON_DEFINITIONS = `
"What to do when an owner cannot serve the operation as it stands."
directive @sovereignty(
  "An owner denies a field in an input position."
  onForbidden: OnForbidden! = REFUSE
  "An owner is down or late."
  onUnavailable: OnUnavailable! = REPORT
) on QUERY
enum OnForbidden {
  "The operation is refused."
  REFUSE
  "That organization is left out and listed in the extensions."
  EXCLUDE
}
enum OnUnavailable {
  "The others' data, and an error."
  REPORT
  "The others' data; the organization is listed in the extensions only."
  EXCLUDE
  "No data."
  FAIL
}
interface Node { id: ID! }
"An owner of data."
type Organization { id: ID! name: String! "Where its data is kept." jurisdiction: String! }
type PageInfo { hasNextPage: Boolean! hasPreviousPage: Boolean! startCursor: String endCursor: String }
"As PostgreSQL and its plain indexes have it: nulls last ascending, first descending, unless the name says otherwise."
enum Order { ASC DESC ASC_NULLS_FIRST DESC_NULLS_LAST }
enum TimeUnit { HOUR DAY WEEK MONTH QUARTER YEAR }
`

const SEARCH_DEFINITIONS = `
"A vector, a text for the embedding service of the caller's organization, or the row with this id (whose vector the caller may read; a partner's is compared within that partner)."
input NearestTo @oneOf { vector: Vector text: String id: ID }
enum VectorMetric { COSINE L2 INNER_PRODUCT }
`

function queryDefinition(entities: readonly EntityType[], sortable: ReadonlySet<string>): string {
  const roots = entities.map(
    (entity) => `
  "One row of ${entity.name} by its owner's key; null where there is none that the caller may see."
  ${entity.singular}(${lookupArguments(entity)}): ${entity.name}
  ${entity.plural}(${pageArguments(entity.name, sortable)}, organizations: [ID!]): ${entity.name}Connection
  ${entity.plural}Aggregate(${aggregateArguments(entity.name)}, organizations: [ID!]): ${entity.name}Aggregate${nearestRoot(entity)}${seriesRoot(entity)}`,
  )
  return `schema { query: Query }
type Query {
  "The row with this global id; null where there is none that the caller may see."
  node(id: ID!): Node
  nodes(ids: [ID!]!): [Node]!
  "Those that the caller may query, now and for this purpose."
  organizations: [Organization!]!${roots.join('')}
}`
}

function nearestRoot(entity: EntityType): string {
  const [first] = vectorFields(entity)
  if (!first) return ''
  const field = `field: ${entity.name}VectorField! = ${first[0]}`
  return `
  "The k rows that are nearest, best first; \`metric\` is the field's own where none is given."
  ${nearestName(entity)}(to: NearestTo!, k: Int!, ${field}, metric: VectorMetric, where: ${entity.name}Where, organizations: [ID!]): ${entity.name}Nearest`
}

function seriesRoot(entity: EntityType): string {
  if (!hasSeries(entity)) return ''
  return `\n  ${seriesRootName(entity)}(${seriesArguments(entity.name)}, organizations: [ID!]): [${entity.name}Series!]`
}

function lookupArguments(entity: EntityType): string {
  const keys = valueFields(entity).filter((field) => entity.key.includes(field.name))
  const inOrder = entity.key.flatMap((name) => keys.filter((field) => field.name === name))
  return [...inOrder.map((field) => `${field.name}: ${field.type.name}!`), 'organization: ID!'].join(', ')
}

function pageArguments(type: string, sortable: ReadonlySet<string>): string {
  const orderBy = sortable.has(type) ? `orderBy: [${type}OrderBy!], ` : ''
  return `where: ${type}Where, ${orderBy}first: Int, after: String, last: Int, before: String`
}

function aggregateArguments(type: string): string {
  return `where: ${type}Where, groupBy: [${type}GroupBy!], having: ${type}Having, orderBy: [${type}GroupOrderBy!], first: Int`
}

interface Context {
  readonly catalog: Catalog
  readonly sortable: ReadonlySet<string>
}

function entityDefinitions(entity: EntityType, context: Context): string {
  const steps = stepsOf(entity, context.catalog).map(([value]) => value)
  return [
    rowDefinitions(entity, context),
    whereDefinitions(entity),
    orderDefinition(entity, context),
    aggregateDefinitions(entity),
    nearestDefinitions(entity),
    ...(steps.length === 0 ? [] : [relatedDefinitions(entity, steps)]),
  ].join('\n')
}

function rowDefinitions(entity: EntityType, { catalog, sortable }: Context): string {
  const { name } = entity
  const fields = [...entity.fields.values()].map((field) => {
    switch (field.kind) {
      case 'value':
        return `${description(field.description)}${field.name}: ${outputType(field)}`
      case 'toOne':
        return `${description(field.description)}${field.name}: ${field.target}`
      case 'toMany':
        return `${description(field.description)}${field.name}(${pageArguments(field.target, sortable)}): ${field.target}Connection
  ${aggregateFieldName(field)}(${aggregateArguments(field.target)}): ${field.target}Aggregate${seriesField(field, catalog)}`
    }
  })
  if (stepsOf(entity, catalog).length > 0) fields.push(relatedField(entity))
  return `${description(entity.description)}type ${name} implements Node {
  "Unique over all owners and types; opaque and stable. Made from the key as the caller sees it."
  id: ID!
  "Who owns this row."
  organization: ID!
  ${fields.join('\n  ')}
}
type ${name}Connection {
  nodes: [${name}!]!
  edges: [${name}Edge!]!
  pageInfo: PageInfo!
  "Counted only when selected. Null, with an error, while an owner is missing."
  totalCount: Int
}
type ${name}Edge { cursor: String! node: ${name}! }`
}

function nearestDefinitions(entity: EntityType): string {
  const { name } = entity
  const fields = vectorFields(entity)
  if (fields.length === 0) return ''
  return `"Not a connection: k is the whole answer, best first."
type ${name}Nearest { edges: [${name}NearestEdge!]! }
"Higher is nearer under every metric: 1 - cosine distance, -L2, inner product."
type ${name}NearestEdge { score: Float! node: ${name}! }
enum ${name}VectorField { ${fields.map(([value]) => value).join(' ')} }`
}

function seriesField(relation: ToManyField, { entities }: Catalog): string {
  const target = entities.get(relation.target)
  return target && hasSeries(target) ? `\n  ${seriesFieldName(relation, target)}(${seriesArguments(target.name)}): [${target.name}Series!]` : ''
}

function outputType(field: ValueField): string {
  return `${field.list ? `[${field.type.name}!]` : field.type.name}${field.required ? '!' : ''}`
}

function whereDefinitions({ name, fields }: EntityType): string {
  const keys = [...fields.values()].flatMap((field) => {
    switch (field.kind) {
      case 'value': {
        const filter = filterType(field)
        return filter === null ? [] : [`${field.name}: ${filter}`]
      }
      case 'toOne':
        return [`"A related row exists (in the caller's view) and fits; \`{}\` means that there is one." ${field.name}: ${field.target}Where`]
      case 'toMany':
        return [`${field.name}: ${field.target}ListWhere`]
    }
  })
  return `"Keys beside each other are a conjunction. \`{}\` is true; \`and: []\` is true; \`or: []\` is false."
input ${name}Where {
  and: [${name}Where!]
  or: [${name}Where!]
  not: ${name}Where
  id: IDFilter
  ${keys.join('\n  ')}
}
"At least one row fits; every row fits (true for none); no row fits. Several keys are a conjunction."
input ${name}ListWhere { some: ${name}Where every: ${name}Where none: ${name}Where }`
}

function orderDefinition(entity: EntityType, { sortable }: Context): string {
  if (!sortable.has(entity.name)) return ''
  const keys = [...entity.fields.values()].flatMap((field) => {
    if (field.kind === 'value') return isSortable(field, entity) ? [`${field.name}: Order`] : []
    return field.kind === 'toOne' && sortable.has(field.target) ? [`${field.name}: ${field.target}OrderBy`] : []
  })
  return `"Exactly one key each. \`organization\`, then the key in its owner's own order, is always appended."
input ${entity.name}OrderBy @oneOf { ${keys.join(' ')} }`
}

function aggregateDefinitions(entity: EntityType): string {
  const { name } = entity
  const values = valueFields(entity)
  const countable = [...entity.fields.values()].filter((field) => isCountable(field, entity))
  const summable = values.filter((field) => isSummable(field, entity))
  const extremable = values.filter(isExtremable)
  const groups = groupFields(entity)
  const grouped = values.filter((field) => groups.some(([, group]) => group === field.name))

  const object = (suffix: string, fields: readonly string[]) => (fields.length === 0 ? '' : `type ${name}${suffix} { ${fields.join(' ')} }`)
  const input = (suffix: string, fields: readonly string[], directive = '') =>
    fields.length === 0 ? '' : `input ${name}${suffix}${directive} { ${fields.join(' ')} }`
  const some = (fields: readonly unknown[], definition: string) => (fields.length === 0 ? '' : ` ${definition}`)

  return [
    `type ${name}Aggregate { groups: [${name}Group!]! }`,
    `type ${name}Group { keys: ${name}GroupKeys! count: BigInt!${some(countable, `countDistinct: ${name}CountDistinct`)}${some(
      summable,
      `sum: ${name}Sum avg: ${name}Avg`,
    )}${some(extremable, `min: ${name}Extreme max: ${name}Extreme`)} }`,
    `"A field that is not grouped by is null here; a time holds the start of its unit."`,
    object('GroupKeys', ['organization: ID', ...grouped.map((field) => `${field.name}: ${field.type.name}`)]),
    object(
      'CountDistinct',
      countable.map((field) => `${field.name}: BigInt`),
    ),
    object(
      'Sum',
      summable.map((field) => `${field.name}: ${sumType(field)}`),
    ),
    object(
      'Avg',
      summable.map((field) => `${field.name}: ${avgType(field)}`),
    ),
    object(
      'Extreme',
      extremable.map((field) => `${field.name}: ${field.type.name}`),
    ),
    `"\`unit\` and \`timezone\` for times only."`,
    input('GroupBy', [`field: ${name}GroupField!`, 'unit: TimeUnit', 'timezone: String']),
    `enum ${name}GroupField { ${groups.map(([value]) => value).join(' ')} }`,
    input('Having', [
      ...[`and: [${name}Having!]`, `or: [${name}Having!]`, `not: ${name}Having`, 'count: BigIntFilter'],
      ...(summable.length === 0 ? [] : [`sum: ${name}SumHaving`, `avg: ${name}AvgHaving`]),
    ]),
    input(
      'SumHaving',
      summable.map((field) => `${field.name}: ${sumType(field)}Filter`),
    ),
    input(
      'AvgHaving',
      summable.map((field) => `${field.name}: ${avgType(field)}Filter`),
    ),
    `"Exactly one key each."`,
    input(
      'GroupOrderBy',
      [`key: ${name}GroupKeyOrder`, 'count: Order', ...(summable.length === 0 ? [] : [`sum: ${name}MeasureOrderBy`, `avg: ${name}MeasureOrderBy`])],
      ' @oneOf',
    ),
    input('GroupKeyOrder', [`field: ${name}GroupField!`, 'order: Order!']),
    input(
      'MeasureOrderBy',
      summable.map((field) => `${field.name}: Order`),
      ' @oneOf',
    ),
    ...(hasSeries(entity) ? [seriesDefinitions(entity, { isSummable: summable.length > 0, isExtremable: extremable.length > 0 })] : []),
  ].join('\n')
}

/** The filters that the catalog's fields, ids and counts need; in the order of their names. */
function filterDefinitions(catalog: Catalog): readonly string[] {
  const fields = [...catalog.entities.values()].flatMap((entity) => valueFields(entity).map((field) => ({ field, entity })))
  const names = fields.flatMap(({ field, entity }) => [
    filterType(field),
    ...(isSummable(field, entity) ? [`${sumType(field)}Filter`, `${avgType(field)}Filter`] : []),
  ])
  const definitions = new Map<string, string>([
    ...SCALAR_FILTERS,
    ...[...catalog.enums.keys()].map((name): [string, string] => [`${name}Filter`, filter(name, EQUALITY, ['isNull'])]),
    ...['ID', 'String', 'Int', 'Float', 'Boolean', 'BigInt', 'Decimal', 'DateTime', 'LocalDateTime', 'Date', 'UUID', ...catalog.enums.keys()].map(
      (name): [string, string] => [`${name}ListFilter`, `"Holds every one of these." input ${name}ListFilter { contains: [${name}!] isNull: Boolean }`],
    ),
  ])
  return [...new Set(['IDFilter', 'BigIntFilter', ...names])].sort().map((name) => (name === null ? '' : (definitions.get(name) ?? '')))
}

const EQUALITY: readonly string[] = ['eq', 'ne', 'in', 'notIn']
const RANGE: readonly string[] = [...EQUALITY, 'lt', 'lte', 'gt', 'gte']
const NULLS: readonly string[] = ['isNull']

const SCALAR_FILTERS: readonly [string, string][] = [
  ['StringFilter', filter('String', [...RANGE, 'like', 'ilike', 'startsWith', 'contains'], NULLS)],
  ['IDFilter', filter('ID', EQUALITY, [])],
  ['BooleanFilter', filter('Boolean', ['eq', 'ne'], NULLS)],
  ['JSONFilter', filter('JSON', ['contains'], NULLS)],
  ...['Int', 'Float', 'BigInt', 'Decimal', 'DateTime', 'LocalDateTime', 'Date', 'UUID'].map((name): [string, string] => [
    `${name}Filter`,
    filter(name, RANGE, NULLS),
  ]),
]

function filter(scalar: string, operators: readonly string[], nulls: readonly string[]): string {
  const operands = operators.map((operator) => `${operator}: ${operator === 'in' || operator === 'notIn' ? `[${scalar}!]` : scalar}`)
  return `"An empty filter or a null operand is refused. A null value fits no operator but isNull; ne, notIn and not are exact complements."
input ${scalar}Filter { ${[...operands, ...nulls.map((name) => `${name}: Boolean`)].join(' ')} }`
}

/** A string of JSON is a string of GraphQL. */
function description(text: string | null): string {
  return text === null ? '' : `${JSON.stringify(text)} `
}
