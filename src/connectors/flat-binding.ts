/** What bindings to stores have in common whose rows have no relations and a key of one field. Pure. */
import type { ColumnBinding } from '../query/binding.js'
import type { EntityType, ValueField } from '../query/catalog.js'
import { operandSortKey } from '../query/value.js'
import type { CollectionMistake } from './collections.js'
import type { ConfiguredField } from './configured.js'

/** Where a field has its value; a text says why it has none. */
export type ColumnOrProblem = ColumnBinding | string

/** @param noRelations what is wrong with a relation that is bound to anything but null. */
export function flatColumns(
  { entity, fields }: { readonly entity: EntityType; readonly fields: ReadonlyMap<string, ConfiguredField> },
  columnOf: (field: ValueField, settings: Exclude<ConfiguredField, { kind: 'constant' }> | undefined) => ColumnOrProblem,
  noRelations: string,
  mistakes: CollectionMistake[],
): ReadonlyMap<string, ColumnBinding> {
  const columns = new Map<string, ColumnBinding>()
  for (const field of entity.fields.values()) {
    const settings = fields.get(field.name)
    const refuse = (problem: string): void => void mistakes.push({ type: entity.name, field: field.name, problem })
    if (field.kind === 'value') {
      const column = settings?.kind === 'constant' ? constantOf(field, settings.value) : columnOf(field, settings)
      if (typeof column === 'string') refuse(column)
      else columns.set(field.name, column)
    } else if (settings && (settings.kind !== 'constant' || settings.value !== null)) refuse(noRelations)
  }
  return columns
}

function constantOf(field: ValueField, value: string | number | boolean | null): ColumnOrProblem {
  if (value === null) return field.required ? 'a field with `!` has no null' : { kind: 'constant', value }
  const text = field.list ? null : operandSortKey(field.type, null, value)
  return text === null || field.type.name === 'JSON' ? `the constant is no value of \`${field.type.name}\`` : { kind: 'constant', value }
}

/** A key or `!` field without which the type cannot be served; null where all are bound. */
export function unboundField({ fields, key }: EntityType, columns: ReadonlyMap<string, ColumnBinding>): string | null {
  const field = [...fields.values()].find((each) => each.kind === 'value' && (each.required || key.includes(each.name)) && !columns.has(each.name))
  return field?.name ?? null
}
