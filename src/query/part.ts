/** Fields of a type that lie in other tables than its rows: each as a type of its own, for the steps of a plan. Pure. */
import { invariant } from '../errors.js'
import type { ColumnBinding, PartBinding, TableBinding } from './binding.js'
import type { EntityType, Field } from './catalog.js'
import { type AuthorizedPlan, planOver, type ReadableView, type ViewField } from './plan.js'
import { ALL } from './predicate.js'

/** No type of a contract has a dot in its name. */
export function partType(type: string, field: string): string {
  return `${type}.${field}`
}

/** A row may have no part of its key, which its view tells from a null in it by nothing. */
function maybe(column: ColumnBinding): ColumnBinding {
  return column.kind === 'column' ? { ...column, nullable: true } : column
}

/**
 * The plan with a type, and a view, for each field that lies elsewhere. Such a view shows the field as the type's own does, but for a condition on its rows, which only the type's own
 * table can tell: whoever reads it does so for keys that are readable there, or asks there afterwards.
 */
export function withParts(whole: AuthorizedPlan): AuthorizedPlan {
  const parts = [...whole.views.values()].flatMap((view) =>
    view.source === 'empty' ? [] : [...(view.source.parts ?? [])].map(([field, part]) => ({ view, field, part })),
  )
  if (parts.length === 0) return whole
  const entities = new Map(whole.catalog.entities)
  const views = new Map(whole.views)
  for (const { view, field, part } of parts) {
    const name = partType(view.type, field)
    const type = whole.catalog.entities.get(view.type)
    invariant(type, 'a part is of a type')
    const entity = partEntity(name, field, type)
    entities.set(name, entity)
    views.set(name, partView(entity, field, part, view))
  }
  return { ...planOver(whole, whole.plan), catalog: { ...whole.catalog, entities }, views }
}

/** Of the key and the field. */
export function partEntity(name: string, field: string, type: EntityType): EntityType {
  const fields = [...type.key, field].flatMap((each): [string, Field][] => {
    const definition = type.fields.get(each)
    return definition ? [[each, definition]] : []
  })
  return { ...type, name, fields: new Map(fields), seriesTime: null }
}

function partView(entity: EntityType, field: string, part: PartBinding, view: ReadableView): ReadableView {
  const key = entity.key.map((name, index): [string, ColumnBinding] => {
    const column = part.key[index]
    invariant(column, 'a part has a key')
    return [name, { kind: 'column', ...column, array: false, values: null, multiply: null }]
  })
  const columns: TableBinding['columns'] = new Map([...key, [field, maybe(part.column)]])
  const source: TableBinding = { kind: 'table', type: entity.name, store: part.store, schema: part.schema, table: part.table, columns, relations: new Map() }
  const shown = [...entity.fields.keys()].map((name): [string, ViewField] => {
    const own = view.fields.get(name) ?? { kind: 'absent' }
    return [name, own.kind === 'cell' ? { kind: 'plain' } : own]
  })
  return { type: entity.name, source, rows: ALL, fields: new Map(shown) }
}
