/** Rows as Milvus gave them, raw and as the caller may see them. Fields are read one by one, as a plan needs them. */
import { invariant } from '../../errors.js'
import type { NativeType, TableBinding } from '../../query/binding.js'
import type { EntityType, ValueField } from '../../query/catalog.js'
import { type FieldRow, type FieldValue, truthOf } from '../../query/evaluate.js'
import type { Mask, ReadableView, ViewField } from '../../query/plan.js'
import { jsonString } from '../../query/value.js'
import { operandSortKey } from '../../query/value.js'
import type { Values } from '../connector.js'
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

/** The row as the caller sees it. */
export class ShownRow {
  constructor(
    readonly source: SourceRow,
    private readonly view: ReadableView,
    private readonly values: Values,
  ) {}

  value(field: string): FieldValue {
    const shown = shownField(this.view, field)
    switch (shown.kind) {
      case 'absent':
        return null
      case 'plain':
        return this.source.value(field)
      case 'cell':
        return truthOf(shown.condition, this.source, this.values) === true ? this.source.value(field) : null
      case 'masked':
        return maskedValue(shown.mask, valueField(this.source.entity, field), () => this.source.value(field))
    }
  }

  /** Of one value, to sort by. */
  text(field: string): string | null {
    const value = this.value(field)
    invariant(value === null || typeof value === 'string', 'an order goes by a scalar')
    return value
  }
}

export function shownField(view: ReadableView, field: string): ViewField {
  const shown = view.fields.get(field)
  invariant(shown, `the view has \`${field}\``)
  return shown
}

export function valueField(entity: EntityType, field: string): ValueField {
  const definition = entity.fields.get(field)
  invariant(definition?.kind === 'value', `\`${field}\` is a value`)
  return definition
}

function maskedValue(mask: Mask, { type }: ValueField, valueOf: () => FieldValue): FieldValue {
  switch (mask.kind) {
    case 'null':
      return null
    case 'constant':
      return operandSortKey(type, null, mask.value)
    case 'redact': {
      const value = valueOf()
      invariant(value === null || typeof value === 'string', 'what is redacted is a text')
      if (value === null && mask.revealNulls) return null
      const points = [...(value ?? '')]
      return points.length > mask.keepLast ? `***${points.slice(points.length - mask.keepLast).join('')}` : '***'
    }
    case 'pseudonym':
    case 'generalize':
    case 'generalizeTime':
      throw new Error('invariant: a mask that was refused')
  }
}

export function rowId(row: ShownRow): string {
  return jsonString(row.source.id)
}
