/**
 * Binds types of the contract to collections. A collection has no catalog of types, so that nothing is looked up: fields are bound by name (as in the contract) or as the
 * configuration says, each to the BSON type that holds the contract's type. What is found wrong leaves a field unbound, and a key or `!` field its type. Pure.
 */
import type { ColumnBinding, OrganizationBinding, RelationBinding, TableBinding } from '../../query/binding.js'
import type { EntityType, ValueField } from '../../query/catalog.js'
import { operandSortKey } from '../../query/value.js'
import { type CollectionInput, type CollectionMistake, collectionOf, PART } from '../collections.js'
import type { ConfiguredField } from '../configured.js'
import { bsonTypesOf } from './bson-type.js'
import { bsonOf } from './operand.js'

interface Place {
  readonly entity: EntityType
  readonly store: string
  readonly collection: string
  readonly fields: ReadonlyMap<string, ConfiguredField>
  readonly uniqueKey: boolean
}

export function bindCollections(input: CollectionInput): { readonly types: OrganizationBinding['types']; readonly mistakes: readonly CollectionMistake[] } {
  const mistakes: CollectionMistake[] = []
  const places = [...input.catalog.entities.values()].flatMap((entity): Place[] => {
    const at = collectionOf(entity.name, input)
    const settings = input.configured.get(entity.name)
    return at?.kind === 'mongodb' && settings?.kind === 'table' ? [{ entity, ...at, fields: settings.fields, uniqueKey: settings.uniqueKey ?? false }] : []
  })
  const bound = new Map(places.map((place) => [place.entity.name, { place, columns: columnsOf(place, mistakes) }]))
  for (const [name, { place, columns }] of bound) if (!isWhole(place, columns, mistakes)) bound.delete(name)
  const types = [...bound].map(([name, { place, columns }]): [string, TableBinding] => {
    const relations = [...place.entity.fields.values()].flatMap((field): [string, RelationBinding][] => {
      if (field.kind !== 'toOne') return []
      const relation = relationOf(field.name, place, bound.get(field.target) ?? null, input.configured.get(field.target)?.kind === 'none')
      if (typeof relation === 'string') mistakes.push({ type: name, field: field.name, problem: relation })
      return typeof relation === 'string' || relation === null ? [] : [[field.name, relation]]
    })
    return [name, { kind: 'table', type: name, store: place.store, schema: '', table: place.collection, columns, relations: new Map(relations) }]
  })
  return { types: new Map(types), mistakes }
}

function columnsOf(place: Place, mistakes: CollectionMistake[]): ReadonlyMap<string, ColumnBinding> {
  const columns = new Map<string, ColumnBinding>()
  for (const field of place.entity.fields.values()) {
    if (field.kind !== 'value') continue
    const column = columnOf(field, place.fields.get(field.name))
    if (typeof column === 'string') mistakes.push({ type: place.entity.name, field: field.name, problem: column })
    else columns.set(field.name, column)
  }
  return columns
}

/** A text says why there is none. */
function columnOf(field: ValueField, settings: ConfiguredField | undefined): ColumnBinding | string {
  if (settings?.kind === 'constant') return constantOf(field, settings.value)
  if (settings?.part !== undefined) return PART
  const [path = field.name, ...others] = settings?.columns ?? []
  const refused = others.length > 0 ? 'a value has one path' : pathMistake(path)
  if (refused !== null) return refused
  if (settings && settings.multiply !== null) return 'a collection cannot multiply exactly'
  const possible = bsonTypesOf(field.type)
  const native = settings?.bson ?? possible[0] ?? 'string'
  if (possible.length === 0) return `\`${field.type.name}\` cannot be read from a collection`
  if (!possible.some((each) => each === native)) return `\`${field.type.name}\` is read from ${possible.join(', ')}, not from ${native}`
  const values = settings?.values ?? null
  if (field.type.kind !== 'enum')
    return values ? '`values` is for enums' : { kind: 'column', column: path, native, array: field.list, nullable: true, values, multiply: null }
  const names = field.type.values
  if (!values && native !== 'string') return 'an enum over numbers needs `values`'
  if (values && [...values.values()].some((name) => !names.includes(name))) return `\`values\` names what \`${field.type.name}\` does not have`
  return { kind: 'column', column: path, native, array: field.list, nullable: true, values, multiply: null }
}

function constantOf(field: ValueField, value: string | number | boolean | null): ColumnBinding | string {
  if (value === null) return field.required ? 'a field with `!` has no null' : { kind: 'constant', value }
  const text = field.list || field.type.name === 'JSON' ? null : operandSortKey(field.type, null, value)
  return text === null || !bsonOf(field.type, null, text).exact
    ? `the constant is no value of \`${field.type.name}\` that BSON can hold`
    : { kind: 'constant', value }
}

/** Steps with dots between them; each may be any text but the empty one. */
function pathMistake(path: string): string | null {
  if (path.includes('\0')) return 'a path has no U+0000'
  return path.split('.').includes('') ? 'a step of a path is empty' : null
}

/** BSON types whose text is a key's own: `1.50` and `1.5` are one number and two ids, and so are 0 and -0. */
const NO_KEYS: ReadonlySet<string> = new Set(['Decimal', 'Float', 'JSON', 'LocalDateTime', 'Date'])

function isWhole({ entity, uniqueKey }: Place, columns: ReadonlyMap<string, ColumnBinding>, mistakes: CollectionMistake[]): boolean {
  const refuse = (problem: string, field: string | null = null): boolean => {
    mistakes.push({ type: entity.name, field, problem })
    return false
  }
  for (const field of entity.fields.values()) {
    if (field.kind !== 'value') continue
    if ((field.required || entity.key.includes(field.name)) && !columns.has(field.name)) return refuse('a key or `!` field is not bound', field.name)
    if (entity.key.includes(field.name) && (field.list || NO_KEYS.has(field.type.name)))
      return refuse(`a key is not of type \`${field.type.name}\` over a collection`, field.name)
  }
  const [first = ''] = entity.key
  const key = columns.get(first)
  const isOwnId = entity.key.length === 1 && key?.kind === 'column' && key.column === '_id'
  return isOwnId || uniqueKey || refuse('nothing says that the key is unique: bind it to `_id`, or say `uniqueKey: true`')
}

/** Null: unbound on purpose; a text says what is wrong. */
function relationOf(
  field: string,
  place: Place,
  target: { readonly place: Place; readonly columns: ReadonlyMap<string, ColumnBinding> } | null,
  isNone: boolean,
): RelationBinding | string | null {
  const settings = place.fields.get(field)
  if (settings?.kind === 'constant') return settings.value === null ? null : 'a relation has no constant but null'
  if (isNone) return { columns: [] }
  if (target?.place.store !== place.store) return 'its target is in another store; say `{ constant: null }`'
  const key = target.place.entity.key.map((name) => target.columns.get(name))
  const paths = settings?.columns ?? (key.length === 1 ? [field] : [])
  if (paths.length !== key.length) return `the key of \`${target.place.entity.name}\` has ${key.length} fields`
  const refused = paths.map(pathMistake).find((mistake) => mistake !== null)
  if (refused !== undefined) return refused
  const columns = paths.flatMap((column, index) => {
    const part = key[index]
    return part?.kind === 'column' && !part.values ? [{ column, native: part.native, nullable: true }] : []
  })
  return columns.length === key.length ? { columns } : 'the key of its target is no plain field'
}
