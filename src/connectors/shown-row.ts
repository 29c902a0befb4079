/** Rows as the caller may see them, for stores whose rows have no relations and are shown by the gateway. Fields are read one by one, as a plan needs them. */
import { invariant } from '../errors.js'
import type { NativeType } from '../query/binding.js'
import type { EntityType, ValueField } from '../query/catalog.js'
import { type FieldRow, type FieldValue, truthOf } from '../query/evaluate.js'
import type { Mask, ReadableView, ViewField } from '../query/plan.js'
import { jsonString, operandSortKey } from '../query/value.js'
import type { Values } from './connector.js'

export class ShownRow implements FieldRow {
  constructor(
    readonly source: FieldRow,
    private readonly view: ReadableView,
    private readonly values: Values,
  ) {}

  get entity(): EntityType {
    return this.source.entity
  }

  get id(): string {
    return this.source.id
  }

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

  native(field: string): NativeType | null {
    return shownField(this.view, field).kind === 'masked' ? null : this.source.native(field)
  }

  related(): never {
    throw new Error('invariant: a row without relations')
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
  return jsonString(row.id)
}
