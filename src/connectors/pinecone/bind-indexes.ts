/**
 * Binds types of the contract to indexes, each to one namespace. The key is the id of a record, its vector the record's values, and all else is metadata, by name (as in
 * the contract) or as the configuration says. What is found wrong leaves a field unbound, and a key or `!` field its type. Pure.
 */
import type { ColumnBinding, OrganizationBinding, TableBinding } from '../../query/binding.js'
import type { EntityType, ValueField, VectorMetric } from '../../query/catalog.js'
import { collectionPlaces } from '../collection-parts.js'
import { type CollectionInput, type CollectionMistake, collectionOf, type CollectionPlace, PART } from '../collections.js'
import type { ConfiguredField } from '../configured.js'
import { type ColumnOrProblem, flatColumns, unboundField } from '../flat-binding.js'
import { DEFAULT_NAMESPACE } from './calls.js'
import type { IndexDescription } from './describe.js'
import { nativeOf, recordTypeOf } from './metadata-type.js'

export interface PineconeInput extends CollectionInput {
  /** By store; null where it could not be read, and its types are left out without a word. */
  readonly described: ReadonlyMap<string, readonly IndexDescription[] | null>
}

const NO_RELATIONS = 'a record of Pinecone has no relations; say `{ constant: null }`'

interface Place {
  readonly entity: EntityType
  readonly store: string
  readonly index: IndexDescription
  readonly namespace: string
  readonly fields: ReadonlyMap<string, ConfiguredField>
}

/** Names of the indexes that types and fields are bound to in a store. */
export function indexesIn(store: string, input: CollectionInput): readonly string[] {
  const own = collectionPlaces(input).filter((place) => place.store === store)
  return [...new Set(own.flatMap((place) => indexAt(place)?.index ?? []))]
}

interface IndexPlace {
  readonly store: string
  readonly index: string
  readonly namespace: string
}

/** `store.index`, whose namespace is the default one, or `store.index.namespace`. */
function indexAt({ kind, store, within, collection }: CollectionPlace): IndexPlace | null {
  if (kind !== 'pinecone') return null
  return within === null ? { store, index: collection, namespace: DEFAULT_NAMESPACE } : { store, index: within, namespace: collection }
}

export function bindIndexes(input: PineconeInput): { readonly types: OrganizationBinding['types']; readonly mistakes: readonly CollectionMistake[] } {
  const mistakes: CollectionMistake[] = []
  const types = new Map<string, TableBinding>()
  for (const entity of input.catalog.entities.values()) {
    const place = placeOf(entity, input, mistakes)
    const columns = place && flatColumns(place, (field, settings) => columnOf(field, settings, place), NO_RELATIONS, mistakes)
    if (!place || !columns || !isWhole(place, columns, mistakes)) continue
    const { store, index, namespace } = place
    types.set(entity.name, { kind: 'table', type: entity.name, store, schema: index.name, table: namespace, columns, relations: new Map() })
  }
  return { types, mistakes }
}

function placeOf(entity: EntityType, input: PineconeInput, mistakes: CollectionMistake[]): Place | null {
  const collection = collectionOf(entity.name, input)
  const at = collection && indexAt(collection)
  const settings = input.configured.get(entity.name)
  const described = at && input.described.get(at.store)
  if (!at || settings?.kind !== 'table' || !described) return null
  const index = described.find(({ name }) => name === at.index)
  if (index) return { entity, store: at.store, index, namespace: at.namespace, fields: settings.fields }
  mistakes.push({ type: entity.name, field: null, problem: `there is no index \`${at.index}\`` })
  return null
}

/** A text says why there is none. */
function columnOf(field: ValueField, settings: Exclude<ConfiguredField, { kind: 'constant' }> | undefined, { entity, index }: Place): ColumnOrProblem {
  if (settings?.part !== undefined) return PART
  const [named, ...others] = settings?.columns ?? []
  if (others.length > 0) return 'a value has one name'
  if (settings && settings.multiply !== null) return 'Pinecone cannot multiply'
  const values = settings?.values ?? null
  if (entity.key.includes(field.name)) return keyColumn(field, named, values)
  if (field.vector) return vectorColumn(field, named, index)
  const name = named ?? field.name
  if (name.startsWith('$') || name === '') return `\`${name}\` is no name of metadata`
  const misfit = valuesMisfit(field, values)
  if (misfit !== null) return misfit
  const held = recordTypeOf(field, values)
  if (held === null) return `${field.list ? 'a list of ' : ''}\`${field.type.name}\` cannot be read from metadata`
  const isFilterable = index.filterable === null || index.filterable.has(name)
  return { kind: 'column', column: name, native: nativeOf(held, isFilterable), array: field.list, nullable: true, values, multiply: null }
}

function keyColumn(field: ValueField, named: string | undefined, values: ReadonlyMap<string, string> | null): ColumnOrProblem {
  if (values || field.list || field.type.kind === 'enum' || !['ID', 'String'].includes(field.type.name))
    return 'a key is the id of a record: an `ID` or a `String`'
  if (named !== undefined && named !== 'id') return "a key is the record's own `id`"
  return { kind: 'column', column: 'id', native: 'id', array: false, nullable: false, values: null, multiply: null }
}

const METRICS: ReadonlyMap<string, VectorMetric> = new Map([
  ['cosine', 'COSINE'],
  ['euclidean', 'L2'],
  ['dotproduct', 'INNER_PRODUCT'],
])

/** No index of Pinecone says that it looks at every vector. */
function vectorColumn({ vector }: ValueField, named: string | undefined, { dimensions, metric }: IndexDescription): ColumnOrProblem {
  if (named !== undefined && named !== 'values') return "a vector is the record's own `values`"
  if (vector && vector.dimensions !== dimensions) return `the contract has ${vector.dimensions} dimensions, and the index ${dimensions || 'none'}`
  const known = METRICS.get(metric)
  return {
    kind: 'column',
    column: 'values',
    native: 'values',
    array: false,
    nullable: true,
    values: null,
    multiply: null,
    nearBy: known ? [known] : [],
    exactBy: [],
  }
}

function valuesMisfit({ type, list }: ValueField, values: ReadonlyMap<string, string> | null): string | null {
  if (!values) return null
  if (type.kind !== 'enum') return '`values` is for enums'
  if (list) return 'a list has no `values`'
  return [...values.values()].every((name) => type.values.includes(name)) ? null : `\`values\` names what \`${type.name}\` does not have`
}

function isWhole({ entity }: Place, columns: ReadonlyMap<string, ColumnBinding>, mistakes: CollectionMistake[]): boolean {
  const refuse = (problem: string, field: string | null = null): boolean => {
    mistakes.push({ type: entity.name, field, problem })
    return false
  }
  const unbound = unboundField(entity, columns)
  if (unbound !== null) return refuse('a key or `!` field is not bound', unbound)
  const [name = '', ...others] = entity.key
  if (others.length > 0) return refuse('a record of Pinecone has a key of one field')
  return columns.get(name)?.kind === 'column' || refuse("a key is the record's own `id`", name)
}
