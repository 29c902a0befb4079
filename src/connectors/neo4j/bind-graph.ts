/**
 * Binds types of the contract to labels of a graph, and relations to relationships. A graph has no catalog of types, so that nothing is looked up: fields are properties of the same name,
 * and relations relationships of the same name in capitals (`dependsOn` is `DEPENDS_ON`), or as the configuration says. What is found wrong leaves a field unbound, and a key or `!` field its
 * type. Pure.
 */
import type { ColumnBinding, OrganizationBinding, RelationBinding, TableBinding } from '../../query/binding.js'
import type { EntityType, ToOneField, ValueField } from '../../query/catalog.js'
import { snakeCase } from '../../query/name.js'
import { operandSortKey } from '../../query/value.js'
import { type CollectionInput, type CollectionMistake, collectionOf, PART } from '../collections.js'
import type { ConfiguredField } from '../configured.js'
import { graphTypesOf } from './native-type.js'

interface Place {
  readonly entity: EntityType
  readonly store: string
  readonly label: string
  readonly fields: ReadonlyMap<string, ConfiguredField>
  readonly uniqueKey: boolean
}

export function bindGraph(input: CollectionInput): { readonly types: OrganizationBinding['types']; readonly mistakes: readonly CollectionMistake[] } {
  const mistakes: CollectionMistake[] = []
  const places = [...input.catalog.entities.values()].flatMap((entity): Place[] => {
    const at = collectionOf(entity.name, input)
    const settings = input.configured.get(entity.name)
    if (at?.kind !== 'neo4j' || settings?.kind !== 'table') return []
    return [{ entity, store: at.store, label: at.collection, fields: settings.fields, uniqueKey: settings.uniqueKey ?? false }]
  })
  const bound = new Map(places.map((place) => [place.entity.name, { place, columns: columnsOf(place, mistakes) }]))
  for (const [name, { place, columns }] of bound) if (!isWhole(place, columns, mistakes)) bound.delete(name)
  const storeOf = (type: string): string | null => (input.configured.get(type)?.kind === 'none' ? 'none' : (bound.get(type)?.place.store ?? null))
  const types = [...bound].map(([name, { place, columns }]): [string, TableBinding] => [
    name,
    { kind: 'table', type: name, store: place.store, schema: '', table: place.label, columns, relations: relationsOf(place, storeOf, mistakes) },
  ])
  return { types: new Map(types), mistakes }
}

function columnsOf({ entity, fields }: Place, mistakes: CollectionMistake[]): ReadonlyMap<string, ColumnBinding> {
  const columns = new Map<string, ColumnBinding>()
  for (const field of entity.fields.values()) {
    if (field.kind !== 'value') continue
    const column = columnOf(field, fields.get(field.name))
    if (typeof column === 'string') mistakes.push({ type: entity.name, field: field.name, problem: column })
    else columns.set(field.name, column)
  }
  return columns
}

/** A text says why there is none. */
function columnOf(field: ValueField, settings: ConfiguredField | undefined): ColumnBinding | string {
  if (settings?.kind === 'constant') return constantOf(field, settings.value)
  if (settings?.part !== undefined) return PART
  const [column = field.name, ...others] = settings?.columns ?? []
  if (others.length > 0) return 'a value has one property'
  if (!isName(column)) return 'a name is empty, or has U+0000'
  if (settings && settings.multiply !== null) return 'a graph cannot multiply exactly'
  const possible = graphTypesOf(field.type)
  const native = possible.find((each) => each === (settings?.property ?? possible[0]))
  if (possible.length === 0) return `\`${field.type.name}\` cannot be read from a graph`
  if (!native) return `\`${field.type.name}\` is read from ${possible.join(', ')}, not from ${settings?.property ?? ''}`
  const values = settings?.values ?? null
  const misfit = valuesMisfit(field, values, native === 'INTEGER')
  return misfit ?? { kind: 'column', column, native, array: field.list, nullable: true, values, multiply: null }
}

function valuesMisfit({ type }: ValueField, values: ReadonlyMap<string, string> | null, isInteger: boolean): string | null {
  if (type.kind !== 'enum') return values ? '`values` is for enums' : null
  if (!values) return isInteger ? 'an enum over numbers needs `values`' : null
  if ([...values.values()].some((name) => !type.values.includes(name))) return `\`values\` names what \`${type.name}\` does not have`
  return !isInteger || [...values.keys()].every((text) => /^(0|-?[1-9]\d{0,17})$/.test(text)) ? null : '`values` over numbers are integers'
}

function constantOf(field: ValueField, value: string | number | boolean | null): ColumnBinding | string {
  if (value === null) return field.required ? 'a field with `!` has no null' : { kind: 'constant', value }
  const text = field.list || graphTypesOf(field.type).length === 0 ? null : operandSortKey(field.type, null, value)
  return text === null ? `the constant is no value of \`${field.type.name}\` that a graph can hold` : { kind: 'constant', value }
}

function isName(name: string): boolean {
  return name !== '' && !name.includes('\0')
}

/** Types whose values have several texts: 0 and -0 are one number. */
const NO_KEYS: ReadonlySet<string> = new Set(['Float', 'LocalDateTime', 'Date', 'DateTime'])

function isWhole({ entity, uniqueKey }: Place, columns: ReadonlyMap<string, ColumnBinding>, mistakes: CollectionMistake[]): boolean {
  const refuse = (problem: string, field: string | null = null): boolean => {
    mistakes.push({ type: entity.name, field, problem })
    return false
  }
  for (const field of entity.fields.values()) {
    if (field.kind !== 'value') continue
    const isKey = entity.key.includes(field.name)
    const column = columns.get(field.name)
    if ((field.required || isKey) && !column) return refuse('a key or `!` field is not bound', field.name)
    if (isKey && (field.list || NO_KEYS.has(field.type.name) || column?.kind !== 'column'))
      return refuse('a key is a property that holds an id, a text, an integer or a Boolean', field.name)
  }
  return uniqueKey || refuse('nothing says that the key is unique: say `uniqueKey: true` where a constraint of the graph keeps it so')
}

function relationsOf(
  { entity, fields, store }: Place,
  storeOf: (type: string) => string | null,
  mistakes: CollectionMistake[],
): ReadonlyMap<string, RelationBinding> {
  const relations = new Map<string, RelationBinding>()
  for (const field of entity.fields.values()) {
    const settings = fields.get(field.name)
    const relation = field.kind === 'toOne' ? relationOf(field, settings, { store, target: storeOf(field.target) }) : null
    if (typeof relation === 'string') mistakes.push({ type: entity.name, field: field.name, problem: relation })
    else if (relation) relations.set(field.name, relation)
  }
  return relations
}

/** Null: unbound on purpose; a text says what is wrong. */
function relationOf(
  { name }: ToOneField,
  settings: ConfiguredField | undefined,
  { store, target }: { readonly store: string; readonly target: string | null },
): RelationBinding | string | null {
  if (settings?.kind === 'constant') return settings.value === null ? null : 'a relation has no constant but null'
  if (target === 'none') return { columns: [] }
  if (target !== store) return 'its target is in another store; say `{ constant: null }`'
  const [column = snakeCase(name).toUpperCase(), ...others] = settings?.columns ?? []
  if (others.length > 0) return 'a relation is one type of relationships'
  if (!isName(column)) return 'a name is empty, or has U+0000'
  return { columns: [{ column, native: settings?.direction ?? 'out', nullable: true }] }
}
