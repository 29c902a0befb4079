/** Records as Pinecone gave them, as the owner's rows, which conditions of policies speak of. */
import type { NativeType, TableBinding } from '../../query/binding.js'
import type { EntityType } from '../../query/catalog.js'
import type { FieldRow, FieldValue } from '../../query/evaluate.js'
import { operandSortKey } from '../../query/value.js'
import { valueField } from '../shown-row.js'
import { storedSortKey } from './metadata-type.js'

/** Checked: an id that is a text, and what else the record has, of any type. */
export interface StoredRecord {
  readonly id: string
  readonly values: unknown
  readonly metadata: Readonly<Record<string, unknown>>
}

export interface RowContext {
  readonly organization: string
  readonly entity: EntityType
  readonly table: TableBinding
}

export class SourceRow implements FieldRow {
  constructor(
    private readonly context: RowContext,
    readonly record: StoredRecord,
  ) {}

  get entity(): EntityType {
    return this.context.entity
  }

  get id(): string {
    const { entity, organization } = this.context
    return Buffer.from(JSON.stringify([entity.name, organization, this.record.id])).toString('base64url')
  }

  value(field: string): FieldValue {
    const bound = this.context.table.columns.get(field)
    const definition = valueField(this.entity, field)
    if (!bound) return null
    if (bound.kind === 'constant') return bound.value === null ? null : operandSortKey(definition.type, null, bound.value)
    if (bound.native === 'id') return this.record.id
    const { metadata, values } = this.record
    // A name that the object has by birth is none that was stored.
    const stored = bound.native === 'values' ? values : Object.hasOwn(metadata, bound.column) ? metadata[bound.column] : undefined
    return storedSortKey(definition, bound, stored)
  }

  native(field: string): NativeType | null {
    return this.context.table.columns.get(field)?.kind === 'column' ? 'text' : null
  }

  isBound(field: string): boolean {
    return this.context.table.columns.has(field)
  }

  related(): never {
    throw new Error('invariant: a record has no relations')
  }
}
