/**
 * Fields that lie in collections while the rows of their types are in tables. A collection holds such a field by the key of the row, and is bound as if it held a type of
 * its own, of the key and the field. Pure.
 */
import type { PartBinding, TypeBinding } from '../query/binding.js'
import type { EntityType, ValueField } from '../query/catalog.js'
import { partEntity, partType } from '../query/part.js'
import { type CollectionInput, type CollectionMistake, collectionOf, type CollectionPlace, placeNamed } from './collections.js'
import type { ConfiguredField, ConfiguredType } from './configured.js'

interface Part {
  readonly entity: EntityType
  readonly field: ValueField
  readonly place: CollectionPlace
  /** Of a type of the key and the field. A text says why there can be none. */
  readonly configured: ConfiguredType | string
}

/** Every collection that is bound to, by a type or by a field alone. */
export function collectionPlaces(input: Pick<CollectionInput, 'catalog' | 'configured' | 'stores'>): readonly CollectionPlace[] {
  const types = [...input.configured.keys()].flatMap((type) => collectionOf(type, input) ?? [])
  return [...types, ...partsIn(input).map(({ place }) => place)]
}

/** The input with a type for each such field. */
export function withPartTypes(input: CollectionInput): CollectionInput {
  const entities = new Map(input.catalog.entities)
  const configured = new Map(input.configured)
  for (const { entity, field, configured: own } of partsIn(input)) {
    if (typeof own === 'string') continue
    const name = partType(entity.name, field.name)
    entities.set(name, partEntity(name, field.name, entity))
    configured.set(name, own)
  }
  return { ...input, catalog: { ...input.catalog, entities }, configured }
}

/** What a binding of `withPartTypes` says of the contract's own types. */
export interface BoundCollections {
  readonly types: ReadonlyMap<string, TypeBinding>
  /** For the tables: types of collections are none of theirs, and fields in collections are bound. */
  readonly configured: ReadonlyMap<string, ConfiguredType>
  readonly mistakes: readonly CollectionMistake[]
}

export function withoutPartTypes(
  { types, mistakes }: { readonly types: ReadonlyMap<string, TypeBinding>; readonly mistakes: readonly CollectionMistake[] },
  input: CollectionInput,
): BoundCollections {
  const parts = partsIn(input)
  const own = new Map([...types].filter(([type]) => input.catalog.entities.has(type)))
  const partOf = (type: string, field: string): PartBinding | null => boundPart(input.catalog.entities.get(type), field, types.get(partType(type, field)))
  const names = new Map(parts.map(({ entity, field }) => [partType(entity.name, field.name), { type: entity.name, field: field.name }]))
  const unheld = parts.flatMap(({ entity, field, configured }) =>
    typeof configured === 'string' ? [{ type: entity.name, field: field.name, problem: configured }] : [],
  )
  return {
    types: own,
    configured: new Map([...input.configured].map(([type, settings]) => [type, forTables(type, settings, input, partOf)])),
    mistakes: [...mistakes.map((mistake) => ({ ...mistake, ...names.get(mistake.type) })), ...unheld],
  }
}

/** Of what cannot be a part at all, the binding of the tables says why. */
function partsIn({ catalog, configured, stores }: Pick<CollectionInput, 'catalog' | 'configured' | 'stores'>): readonly Part[] {
  return [...configured].flatMap(([type, settings]): Part[] => {
    const entity = catalog.entities.get(type)
    if (!entity || settings.kind === 'none' || collectionOf(type, { configured, stores })) return []
    return [...settings.fields].flatMap(([name, own]): Part[] => {
      const field = entity.fields.get(name)
      const place = placeOf(own, stores)
      if (field?.kind !== 'value' || field.required || entity.key.includes(name) || !place || own.kind === 'constant') return []
      return [{ entity, field, place, configured: partSettings({ entity, field, place }, own, settings.uniqueKey ?? false) }]
    })
  })
}

function placeOf(field: ConfiguredField, stores: CollectionInput['stores']): CollectionPlace | null {
  return field.kind === 'column' && field.part && 'table' in field.part ? placeNamed(field.part.table, stores) : null
}

type ColumnSettings = Extract<ConfiguredField, { kind: 'column' }>

function partSettings({ entity, field, place }: Omit<Part, 'configured'>, { part, ...own }: ColumnSettings, uniqueKey: boolean): Part['configured'] {
  if (place.kind === 'mongodb' || place.kind === 'neo4j') return `a store of kind \`${place.kind}\` holds whole rows only`
  const { table, key } = part && 'table' in part ? part : { table: null, key: [] }
  if (key.length !== entity.key.length) return `the key of \`${entity.name}\` has ${entity.key.length} fields; name as many in \`key\``
  const fields = entity.key.map((name, index): [string, ConfiguredField] => [
    name,
    { kind: 'column', columns: key.slice(index, index + 1), values: null, multiply: null },
  ])
  return { kind: 'table', table, fields: new Map([...fields, [field.name, own]]), uniqueKey }
}

/** Null: it is not bound, which is known by now. */
function boundPart(entity: EntityType | undefined, field: string, bound: TypeBinding | undefined): PartBinding | null {
  if (!entity || bound?.kind !== 'table') return null
  const { store, schema, table, columns } = bound
  const key = entity.key.flatMap((name) => {
    const column = columns.get(name)
    return column?.kind === 'column' ? [{ column: column.column, native: column.native, nullable: false }] : []
  })
  const column = columns.get(field)
  return column && key.length === entity.key.length ? { store, schema, table, key, column } : null
}

function forTables(
  type: string,
  settings: ConfiguredType,
  input: CollectionInput,
  partOf: (type: string, field: string) => PartBinding | null,
): ConfiguredType {
  if (settings.kind === 'none' || collectionOf(type, input)) return { kind: 'none' }
  const fields = [...settings.fields].map(([name, own]): [string, ConfiguredField] =>
    own.kind === 'column' && placeOf(own, input.stores) ? [name, { ...own, part: { bound: partOf(type, name) } }] : [name, own],
  )
  return { ...settings, fields: new Map(fields) }
}
