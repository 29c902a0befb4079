/** Rows as Milvus gave them. Fields are read one by one, as a plan needs them. */
import { invariant } from '../../errors.js'
import type { NativeType, TableBinding } from '../../query/binding.js'
import type { EntityType } from '../../query/catalog.js'
import type { FieldRow, FieldValue } from '../../query/evaluate.js'
import { operandSortKey } from '../../query/value.js'
import { valueField } from '../shown-row.js'
import { comparedNative, type StoredValue, storedSortKey } from './field-type.js'

export interface RowContext {
  readonly organization: string
  readonly entity: EntityType
  readonly table: TableBinding
}

/** The owner's row, which conditions of policies speak of. */
export class SourceRow implements FieldRow {
  constructor(
    private readonly context: RowContext,
    /** By column. */
    private readonly stored: (column: string) => StoredValue,
  ) {}

  get entity(): EntityType {
    return this.context.entity
  }

  get id(): string {
    const { entity, organization } = this.context
    return Buffer.from(JSON.stringify([entity.name, organization, this.keyText()])).toString('base64url')
  }

  keyText(): string {
    const text = this.value(this.entity.key[0] ?? '')
    invariant(typeof text === 'string', 'a key is a value')
    return text
  }

  value(field: string): FieldValue {
    const bound = this.context.table.columns.get(field)
    const definition = valueField(this.entity, field)
    if (!bound) return null
    if (bound.kind === 'constant') return bound.value === null ? null : operandSortKey(definition.type, null, bound.value)
    return storedSortKey(definition, bound, this.stored(bound.column))
  }

  native(field: string): NativeType | null {
    const bound = this.context.table.columns.get(field)
    return bound?.kind === 'column' ? comparedNative(bound.native) : null
  }

  isBound(field: string): boolean {
    return this.context.table.columns.has(field)
  }

  related(): never {
    throw new Error('invariant: a row of Milvus has no relations')
  }
}
