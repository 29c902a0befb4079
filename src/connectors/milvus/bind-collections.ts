/**
 * Binds types of the contract to collections of Milvus, whose schemas are held against it. What is found wrong leaves a field unbound, and a key or `!` field its type.
 * Pure.
 */
import type { ColumnBinding, OrganizationBinding, TableBinding } from '../../query/binding.js'
import type { EntityType, ValueField, VectorMetric } from '../../query/catalog.js'
import { snakeCase } from '../../query/name.js'
import { collectionPlaces } from '../collection-parts.js'
import { type CollectionInput, type CollectionMistake, collectionOf, PART } from '../collections.js'
import type { ConfiguredField } from '../configured.js'
import { type ColumnOrProblem, flatColumns, unboundField } from '../flat-binding.js'
import type { CollectionDescription, FieldDescription } from './describe.js'
import { INTEGER_BITS, milvusTypesOf } from './field-type.js'
import { isPlainName } from './literal.js'

export interface MilvusInput extends CollectionInput {
  /** By store; null where it could not be read, and its types are left out without a word. */
  readonly described: ReadonlyMap<string, readonly CollectionDescription[] | null>
}

/** Names of the collections that types and fields are bound to in a store. */
export function collectionsIn(store: string, input: CollectionInput): readonly string[] {
  const own = collectionPlaces(input).filter((place) => place.kind === 'milvus' && place.store === store)
  return [...new Set(own.map(({ collection }) => collection))]
}

const NO_RELATIONS = 'a collection of Milvus has no relations; say `{ constant: null }`'

interface Place {
  readonly entity: EntityType
  readonly store: string
  readonly collection: CollectionDescription
  readonly fields: ReadonlyMap<string, ConfiguredField>
  readonly uniqueKey: boolean
}

export function bindMilvus(input: MilvusInput): { readonly types: OrganizationBinding['types']; readonly mistakes: readonly CollectionMistake[] } {
  const mistakes: CollectionMistake[] = []
  const types = new Map<string, TableBinding>()
  for (const entity of input.catalog.entities.values()) {
    const place = placeOf(entity, input, mistakes)
    const columns = place && flatColumns(place, (field, settings) => columnOf(field, settings, place), NO_RELATIONS, mistakes)
    if (!place || !columns || !isWhole(place, columns, mistakes)) continue
    const { store, collection } = place
    types.set(entity.name, { kind: 'table', type: entity.name, store, schema: '', table: collection.name, columns, relations: new Map() })
  }
  return { types, mistakes }
}

function placeOf(entity: EntityType, input: MilvusInput, mistakes: CollectionMistake[]): Place | null {
  const at = collectionOf(entity.name, input)
  const settings = input.configured.get(entity.name)
  const described = at?.kind === 'milvus' ? input.described.get(at.store) : null
  if (!at || settings?.kind !== 'table' || !described) return null
  const collection = described.find(({ name }) => name === at.collection)
  if (collection) return { entity, store: at.store, collection, fields: settings.fields, uniqueKey: settings.uniqueKey ?? false }
  mistakes.push({ type: entity.name, field: null, problem: `there is no collection \`${at.collection}\`` })
  return null
}

/** A text says why there is none. */
function columnOf(field: ValueField, settings: Exclude<ConfiguredField, { kind: 'constant' }> | undefined, { collection }: Place): ColumnOrProblem {
  if (settings?.part !== undefined) return PART
  const [named, ...others] = settings?.columns ?? []
  if (others.length > 0) return 'a value has one field'
  const candidates = named === undefined ? [snakeCase(field.name), field.name] : [named]
  const column = candidates.find((name) => collection.fields.has(name))
  const found = column === undefined ? undefined : collection.fields.get(column)
  if (column === undefined || !found) return `the collection has no field \`${candidates[0] ?? ''}\``
  const values = settings?.values ?? null
  const misfit = misfitOf(field, { ...found, name: column, values, multiply: settings?.multiply ?? null })
  if (misfit !== null) return misfit
  const { native, array } = found
  return { kind: 'column', column, native, array, nullable: values !== null, values, multiply: null, ...(field.vector && metricsOf(found.index)) }
}

interface Candidate extends FieldDescription {
  readonly name: string
  readonly values: ReadonlyMap<string, string> | null
  readonly multiply: string | null
}

function misfitOf(field: ValueField, found: Candidate): string | null {
  const { type, list, vector } = field
  if (!isPlainName(found.name)) return `\`${found.name}\` is a word of Milvus' expressions, and cannot be asked for`
  if (found.nullable) return `\`${found.name}\` can be null, which Milvus does not compare as the contract does`
  if (found.multiply !== null) return 'Milvus cannot multiply'
  const possible = milvusTypesOf(field)
  if (possible.length === 0) return `${list ? 'a list of ' : ''}\`${type.name}\` cannot be read from Milvus`
  if (found.array !== list || !possible.includes(found.native))
    return `\`${type.name}\` is read from ${possible.join(', ')}, not from ${found.array ? 'an array of ' : ''}${found.native}`
  if (vector && found.dimensions !== vector.dimensions) return `the contract has ${vector.dimensions} dimensions, and the field ${found.dimensions ?? 'none'}`
  return valuesMisfit(field, found)
}

function valuesMisfit({ type, list }: ValueField, { values, native }: Candidate): string | null {
  if (type.kind !== 'enum') return values ? '`values` is for enums' : null
  if (!values) return native === 'VarChar' ? null : 'an enum over numbers needs `values`'
  if (list) return 'a list has no `values`'
  if ([...values.values()].some((name) => !type.values.includes(name))) return `\`values\` names what \`${type.name}\` does not have`
  const isInteger = INTEGER_BITS.has(native)
  return [...values.keys()].every((text) => !isInteger || /^(0|-?[1-9]\d{0,18})$/.test(text)) ? null : '`values` over numbers are integers'
}

const METRICS: ReadonlyMap<string, VectorMetric> = new Map([
  ['COSINE', 'COSINE'],
  ['L2', 'L2'],
  ['IP', 'INNER_PRODUCT'],
])

/** A flat index looks at every vector that a filter leaves; all others may miss one. */
function metricsOf(index: FieldDescription['index']): Pick<Extract<ColumnBinding, { kind: 'column' }>, 'nearBy' | 'exactBy'> {
  const metric = METRICS.get(index?.metric ?? '')
  const metrics = metric ? [metric] : []
  return index?.kind === 'FLAT' ? { nearBy: [], exactBy: metrics } : { nearBy: metrics, exactBy: [] }
}

function isWhole({ entity, collection, uniqueKey }: Place, columns: ReadonlyMap<string, ColumnBinding>, mistakes: CollectionMistake[]): boolean {
  const refuse = (problem: string, field: string | null = null): boolean => {
    mistakes.push({ type: entity.name, field, problem })
    return false
  }
  const unbound = unboundField(entity, columns)
  if (unbound !== null) return refuse('a key or `!` field is not bound', unbound)
  const [name = '', ...others] = entity.key
  const key = columns.get(name)
  if (others.length > 0) return refuse('a collection of Milvus has a key of one field')
  if (key?.kind !== 'column' || key.values || collection.fields.get(key.column)?.isKey !== true)
    return refuse("a key is bound to the collection's primary key", name)
  if (entity.fields.get(name)?.kind === 'value' && key.array) return refuse('a key is no list', name)
  return uniqueKey || refuse('Milvus takes two rows of one key: say `uniqueKey: true` where whoever writes keeps it unique (by upserts)', name)
}
