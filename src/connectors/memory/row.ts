/** Rows of an owner's tables, raw and as the caller may see them. */
import { invariant } from '../../errors.js'
import type { NativeType, TableBinding } from '../../query/binding.js'
import type { EntityType, Field, ToOneField } from '../../query/catalog.js'
import type { FieldRow, FieldValue, OperandValues } from '../../query/evaluate.js'
import { truthOf } from '../../query/evaluate.js'
import type { AuthorizedPlan, ReadableView, ViewField } from '../../query/plan.js'
import { maskedValue } from './mask.js'
import type { MemoryTable, StoredRow } from './stored.js'
import { boundValue } from './stored.js'

/** One execution of one plan: the rows of each type, made once. */
export class Reading {
  private readonly raw = new Map<string, readonly RawRow[]>()
  private readonly seen = new Map<string, readonly ViewRow[]>()

  constructor(
    readonly plan: AuthorizedPlan,
    readonly values: OperandValues,
    private readonly tables: readonly MemoryTable[],
    readonly pseudonymKey: (grantee: string) => Buffer,
  ) {}

  entity(type: string): EntityType {
    const entity = this.plan.catalog.entities.get(type)
    invariant(entity, `the catalog has \`${type}\``)
    return entity
  }

  view(type: string): ReadableView {
    const view = this.plan.views.get(type)
    invariant(view, `the plan has a view of \`${type}\``)
    return view
  }

  /** The owner's own rows; none where the owner holds none of the type. */
  rawRows(type: string): readonly RawRow[] {
    const bound = this.plan.binding.types.get(type)
    invariant(bound, `\`${type}\` is bound`)
    return kept(this.raw, type, () => {
      if (bound.kind === 'none') return []
      const table = this.tables.find((candidate) => candidate.schema === bound.schema && candidate.table === bound.table)
      invariant(table, `the table of \`${type}\` exists`)
      return table.rows.map((row) => new RawRow(this, this.entity(type), bound, row))
    })
  }

  /** The rows of the readable view, in no order. */
  viewRows(type: string): readonly ViewRow[] {
    const view = this.view(type)
    return kept(this.seen, type, () => {
      if (view.source === 'empty') return []
      const visible = this.rawRows(type).filter((row) => truthOf(view.rows, row, this.values) === true)
      return visible.map((row) => new ViewRow(this, view, row))
    })
  }
}

function kept<Value>(made: Map<string, Value>, name: string, make: () => Value): Value {
  const value = made.get(name) ?? make()
  made.set(name, value)
  return value
}

/** A row as the owner has it, which policy conditions speak of. */
export class RawRow implements FieldRow {
  constructor(
    private readonly reading: Reading,
    readonly entity: EntityType,
    private readonly table: TableBinding,
    private readonly stored: StoredRow,
  ) {}

  get id(): string {
    return globalId(this.reading, this)
  }

  value(field: string): FieldValue {
    const definition = this.entity.fields.get(field)
    invariant(definition?.kind === 'value', `\`${field}\` is a value`)
    return boundValue(definition, this.table.columns.get(field), this.stored)
  }

  /** A relation to a type that the owner declares empty is bound: it leads nowhere. */
  isBound(field: string): boolean {
    const definition = this.entity.fields.get(field)
    if (!definition || definition.kind === 'value') return this.table.columns.has(field)
    const target = this.reading.plan.binding.types.get(definition.target)
    if (!target || target.kind === 'none') return target !== undefined
    return (
      target.store === this.table.store &&
      (definition.kind === 'toOne' ? this.table : target).relations.has(definition.kind === 'toOne' ? field : definition.inverse)
    )
  }

  native(field: string): NativeType | null {
    const bound = this.table.columns.get(field)
    if (bound?.kind !== 'column') return null
    // Integers of any width are compared as bigint.
    return bound.native === 'smallint' || bound.native === 'integer' ? 'bigint' : bound.native
  }

  related(field: string): readonly RawRow[] {
    const relation = relationOf(this.entity, field)
    return this.reading.rawRows(relation.target).filter((target) => this.isLinked(relation, target))
  }

  /** Whether a relation of this row's type leads to the other row, by the columns of the side that has the key. */
  isLinked(relation: Exclude<Field, { kind: 'value' }>, other: RawRow): boolean {
    return relation.kind === 'toOne' ? this.pointsTo(relation.name, other) : other.pointsTo(relation.inverse, this)
  }

  private pointsTo(field: string, target: RawRow): boolean {
    const relation = this.table.relations.get(field)
    invariant(relation, `the relation \`${field}\` is bound`)
    return relation.columns.every(({ column }, index) => {
      const own = this.stored.get(column)
      return own !== null && own === target.storedKey(index)
    })
  }

  private storedKey(index: number): unknown {
    const bound = this.table.columns.get(this.entity.key[index] ?? '')
    invariant(bound?.kind === 'column', 'a key is a column')
    return this.stored.get(bound.column)
  }
}

/** A row of the readable view: what the caller's own conditions, orders and selections speak of. */
export class ViewRow implements FieldRow {
  constructor(
    private readonly reading: Reading,
    private readonly view: ReadableView,
    private readonly raw: RawRow,
  ) {}

  get entity(): EntityType {
    return this.raw.entity
  }

  get id(): string {
    return globalId(this.reading, this)
  }

  /** Whether the field, a relation above all, may be seen in this row. */
  shows(field: string): boolean {
    const shown = this.shown(field)
    return shown.kind === 'cell' ? truthOf(shown.condition, this.raw, this.reading.values) === true : shown.kind !== 'absent'
  }

  value(field: string): FieldValue {
    const shown = this.shown(field)
    if (shown.kind !== 'masked') return this.shows(field) ? this.raw.value(field) : null
    const value = this.raw.value(field)
    const definition = this.entity.fields.get(field)
    invariant(definition?.kind === 'value', `\`${field}\` is a value`)
    invariant(value === null || typeof value === 'string' || shown.mask.kind === 'null', 'a masked list is null')
    return maskedValue(shown.mask, definition.type, typeof value === 'string' ? value : null, this.reading.pseudonymKey)
  }

  native(field: string): NativeType | null {
    const shown = this.shown(field)
    return shown.kind === 'masked' && ['pseudonym', 'redact', 'constant'].includes(shown.mask.kind) ? null : this.raw.native(field)
  }

  /** Rows of the target's view. Where the other end is shown in some rows only, a list has those alone. */
  related(field: string): readonly ViewRow[] {
    if (!this.shows(field)) return []
    const relation = relationOf(this.entity, field)
    const linked = this.reading.viewRows(relation.target).filter((target) => this.raw.isLinked(relation, target.raw))
    return relation.kind === 'toOne' ? linked : linked.filter((target) => target.shown(relation.inverse).kind !== 'cell' || target.shows(relation.inverse))
  }

  /** The key as the caller sees it. */
  keyTexts(): readonly string[] {
    return keyTexts(this)
  }

  private shown(field: string): ViewField {
    const shown = this.view.fields.get(field)
    invariant(shown, `the view has \`${field}\``)
    return shown
  }
}

function relationOf(entity: EntityType, field: string): ToOneField | Extract<Field, { kind: 'toMany' }> {
  const relation = entity.fields.get(field)
  invariant(relation && relation.kind !== 'value', `\`${field}\` is a relation`)
  return relation
}

function keyTexts(row: FieldRow): readonly string[] {
  return row.entity.key.map((field) => {
    const text = row.value(field)
    invariant(typeof text === 'string', 'a key is a value')
    return text
  })
}

function globalId(reading: Reading, row: FieldRow): string {
  return Buffer.from(JSON.stringify([row.entity.name, reading.plan.organization, ...keyTexts(row)])).toString('base64url')
}
