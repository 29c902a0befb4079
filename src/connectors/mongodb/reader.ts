/**
 * One collection as the caller may see it, as stages of a pipeline. A document becomes `{ r, l, t }`: its fields as the owner has them (`r`, each of the type that the
 * binding says, or null), and the columns of its links (`l`); then policy leaves rows out; then `{ v, l }` with the fields of the readable view (`v`). What comes after, a
 * caller's conditions above all, reads `v` and `l` only. `t` holds what was looked up.
 */
import { GatewayError, invariant } from '../../errors.js'
import type { TableBinding } from '../../query/binding.js'
import type { EntityType, ValueField } from '../../query/catalog.js'
import type { AuthorizedPlan, Mask, ReadableView } from '../../query/plan.js'
import type { Predicate } from '../../query/predicate.js'
import { operandSortKey } from '../../query/value.js'
import { isPlainName, pathOf, storedValue, typedValue } from './bson-type.js'
import type { Compared } from './comparison.js'
import { isTrue, type Scope } from './condition.js'
import { bsonOf } from './operand.js'
import { allOf, isKnown, literal, type Stage, type Template } from './template.js'

/** How the rows of another collection belong to a document of this one: `mine` and `theirs` are equal, part by part, and none is null. */
interface Link {
  readonly target: Reader
  readonly parts: readonly { readonly mine: string; readonly theirs: string; readonly path: string | null }[]
  /** Their side is taken as the caller may see it. */
  readonly ofView: boolean
}

/** Stages after a target's own, and whatever else they tell. */
interface Rest<Result> {
  readonly stages: readonly Stage[]
  readonly result: Result
}
interface Found<Result> {
  readonly stage: Stage
  /** The path of what was found: a list of documents. */
  readonly found: string
  readonly result: Result
}

export class Reader implements Pick<Scope, 'type' | 'organization' | 'key'> {
  readonly entity: EntityType
  /** Null: the readable view is not asked for; a policy's condition reads what the owner has. */
  readonly view: ReadableView | null
  readonly table: TableBinding
  private readonly raw = new Map<string, Template>()
  private readonly shown = new Map<string, Template>()
  private readonly links = new Map<string, Template>()
  private readonly linkConditions = new Map<string, Template>()
  private readonly rawLookups: Stage[] = []
  /** Before a caller's condition, order and page. */
  readonly lookups: Stage[] = []

  private constructor(
    readonly plan: AuthorizedPlan,
    readonly type: string,
    isView: boolean,
    table: TableBinding,
    private readonly names: { next: number },
  ) {
    this.table = table
    this.view = isView ? viewOf(plan, type) : null
    this.entity = entityOf(plan, type)
  }

  /** Null: there are no rows. */
  static of(plan: AuthorizedPlan, type: string, kind: 'raw' | 'view', names = { next: 0 }): Reader | null {
    const bound = plan.binding.types.get(type)
    invariant(bound, `\`${type}\` is bound`)
    if (kind === 'view' && viewOf(plan, type).source === 'empty') return null
    return bound.kind === 'none' ? null : new Reader(plan, type, kind === 'view', bound, names)
  }

  get organization(): string {
    return this.plan.organization
  }

  get key(): readonly string[] {
    return this.entity.key
  }

  /** A name for what is looked up, unique in the pipeline. */
  name(): string {
    return `x${this.names.next++}`
  }

  valueField(field: string): ValueField {
    const definition = this.entity.fields.get(field)
    invariant(definition?.kind === 'value', `\`${field}\` is a value`)
    return definition
  }

  /** The field as the owner has it. */
  rawValue(field: string): Template {
    kept(this.raw, field, () => storedValue(this.valueField(field), this.table.columns.get(field)))
    return `$r.${field}`
  }

  /** The field as the caller may see it; of a relation, whether it may be seen. */
  viewValue(field: string): Template {
    kept(this.shown, field, () => this.shownValue(field))
    return `$v.${field}`
  }

  isAbsent(field: string): boolean {
    return this.viewField(field).kind === 'absent'
  }

  compared(field: string, of: 'raw' | 'view'): Compared {
    const value = of === 'raw' ? this.rawValue(field) : this.viewValue(field)
    const bound = this.table.columns.get(field)
    const shown = of === 'view' ? this.viewField(field) : null
    const isText = shown?.kind === 'masked' && (shown.mask.kind === 'redact' || shown.mask.kind === 'constant')
    return { field: this.valueField(field), value, native: isText || bound?.kind !== 'column' ? null : bound.native }
  }

  scope(of: 'raw' | 'view'): Scope {
    return {
      type: this.type,
      organization: this.organization,
      key: this.key,
      logic: of === 'raw' ? 'threeValued' : 'twoValued',
      compared: (field) => this.compared(field, of),
      isBound: (field) => of === 'view' || this.isBound(field),
      related: (field, where) => this.related(field, where, of),
    }
  }

  /** From the documents of the collection to `{ v, l }`. */
  stages(): Stage[] {
    // The condition asks for fields and lookups of its own, so it is made first.
    const required = [...this.entity.fields.values()].filter((field) => field.kind === 'value' && (field.required || this.key.includes(field.name)))
    const isWhole = required.filter(({ name }) => this.table.columns.has(name)).map(({ name }) => isKnown(this.rawValue(name)))
    const rows = this.view && this.view.rows.kind !== 'all' ? [isTrue(this.view.rows, this.scope('raw'))] : []
    const links = [...this.links.keys()].map((name) => {
      const condition = this.linkConditions.get(name)
      return [name, condition === undefined ? `$l.${name}` : { $cond: [condition, `$l.${name}`, null] }] as const
    })
    return [
      { $replaceWith: { r: Object.fromEntries(this.raw), l: Object.fromEntries(this.links) } },
      ...this.rawLookups,
      { $match: { $expr: allOf([...isWhole, ...rows]) } },
      ...(this.view ? [{ $replaceWith: { v: Object.fromEntries(this.shown), l: Object.fromEntries(links) } }] : []),
      ...this.lookups,
    ]
  }

  /** Looks related rows up into `t`; `rest` are the stages after the target's own. Null: there can be none. */
  lookup<Result>(field: string, of: 'raw' | 'view', rest: (target: Reader) => Rest<Result>): Found<Result> | null {
    const link = this.link(field, of)
    if (!link) return null
    const { target, parts, ofView } = link
    const { stages: ends, result } = rest(target)
    const equal = allOf(parts.map(({ theirs }, index) => allOf([isKnown(theirs), { $eq: [theirs, `$$k${index}`] }])))
    // As the bare path, an index serves it; the value of the right type is compared later.
    const indexed = parts.flatMap(({ path }, index) => (path === null ? [] : [{ $eq: [path, `$$k${index}`] }]))
    const own = target.stages()
    const [typed, ...others] = own
    invariant(typed, 'a reader has stages')
    const linked: Stage = { $match: { $expr: equal } }
    const pipeline = [
      ...(indexed.length > 0 ? [{ $match: { $expr: allOf(indexed) } }] : []),
      ...(ofView ? [...own.slice(0, own.length - target.lookups.length), linked, ...target.lookups] : [typed, linked, ...others]),
      ...ends,
    ]
    const name = this.name()
    const variables = Object.fromEntries(parts.map(({ mine }, index) => [`k${index}`, mine]))
    return { stage: { $lookup: { from: target.table.table, let: variables, pipeline, as: `t.${name}` } }, found: `$t.${name}`, result }
  }

  private related(field: string, where: Predicate, of: 'raw' | 'view'): Template {
    if (of === 'view' && this.isAbsent(field)) return false
    const found = this.lookup(field, of, (target) => ({
      stages: [{ $match: { $expr: isTrue(where, target.scope(of)) } }, { $limit: 1 }, { $replaceWith: { x: literal(1) } }],
      result: null,
    }))
    if (!found) return false
    ;(of === 'raw' ? this.rawLookups : this.lookups).push(found.stage)
    return { $gt: [{ $size: found.found }, 0] }
  }

  private isBound(field: string): boolean {
    const definition = this.entity.fields.get(field)
    if (!definition || definition.kind === 'value') return this.table.columns.has(field)
    const target = this.plan.binding.types.get(definition.target)
    if (!target || target.kind === 'none') return target !== undefined
    return target.store === this.table.store && (definition.kind === 'toOne' ? this.table.relations.has(field) : target.relations.has(definition.inverse))
  }

  private viewField(field: string): NonNullable<ReturnType<ReadableView['fields']['get']>> {
    const shown = this.view?.fields.get(field)
    invariant(shown, `the view has \`${field}\``)
    return shown
  }

  private shownValue(field: string): Template {
    const shown = this.viewField(field)
    const isValue = this.entity.fields.get(field)?.kind === 'value'
    switch (shown.kind) {
      case 'absent':
        return isValue ? null : false
      case 'plain':
        return isValue ? this.rawValue(field) : true
      case 'cell': {
        const condition = isTrue(shown.condition, this.scope('raw'))
        return { $cond: [condition, isValue ? this.rawValue(field) : true, isValue ? null : false] }
      }
      case 'masked':
        return this.masked(this.valueField(field), shown.mask)
    }
  }

  /** @throws GatewayError where the store could not mask: the value must not leave it as it is. */
  private masked(field: ValueField, mask: Mask): Template {
    switch (mask.kind) {
      case 'null':
        return null
      case 'constant': {
        const text = operandSortKey(field.type, null, mask.value)
        invariant(text !== null, 'a constant mask is of the field’s type')
        return literal(bsonOf(field.type, null, text).value)
      }
      case 'redact': {
        const text = this.textOf(field.name)
        const kept = { $substrCP: [text, { $subtract: [{ $strLenCP: text }, mask.keepLast] }, mask.keepLast] }
        const redacted = { $cond: [{ $gt: [{ $strLenCP: text }, mask.keepLast] }, { $concat: ['***', kept] }, '***'] }
        return mask.revealNulls ? { $cond: [isKnown(this.rawValue(field.name)), redacted, null] } : redacted
      }
      case 'pseudonym':
      case 'generalize':
      case 'generalizeTime':
        throw new GatewayError('FIELD_NOT_USABLE', `a collection cannot mask \`${this.type}.${field.name}\` by \`${mask.kind}\``)
    }
  }

  /** The raw value as text, empty where null. */
  private textOf(field: string): Template {
    const bound = this.table.columns.get(field)
    const native = bound?.kind === 'column' ? bound.native : 'string'
    if (native === 'uuid') throw new GatewayError('FIELD_NOT_USABLE', `a collection cannot mask \`${this.type}.${field}\`, which is binary`)
    const value = this.rawValue(field)
    return { $ifNull: [native === 'string' ? value : { $toString: value }, ''] }
  }

  // --- links -----------------------------------------------------------------------------------------------------------------------------------------------------

  private link(field: string, of: 'raw' | 'view'): Link | null {
    const definition = this.entity.fields.get(field)
    invariant(definition && definition.kind !== 'value', `\`${field}\` is a relation`)
    const target = Reader.of(this.plan, definition.target, of, this.names)
    if (!target) return null
    if (definition.kind === 'toOne') {
      const mine = this.linkColumns(field, of)
      return mine && { target, ofView: false, parts: target.keyPaths().map((theirs, index) => ({ ...theirs, mine: mine[index]?.theirs ?? '$l.none' })) }
    }
    const theirs = target.linkColumns(definition.inverse, of)
    const own = this.keyLinks(of)
    return theirs && { target, ofView: of === 'view', parts: theirs.map((part, index) => ({ ...part, mine: own[index] ?? '$l.none' })) }
  }

  /** The columns that hold the key of a relation's target, null where it may not be seen in the row. A denied one still ties a list's rows to their parent. */
  private linkColumns(field: string, of: 'raw' | 'view'): readonly { readonly theirs: string; readonly path: string | null }[] | null {
    const columns = this.table.relations.get(field)?.columns
    if (!columns || columns.length === 0) return null
    const shown = of === 'view' ? this.viewField(field) : null
    return columns.map(({ column, native }, index) => {
      const name = `${field}_${index}`
      kept(this.links, name, () => typedValue(native, pathOf(column)))
      if (shown?.kind === 'cell') kept(this.linkConditions, name, () => isTrue(shown.condition, this.scope('raw')))
      return { theirs: `$l.${name}`, path: barePath(column) }
    })
  }

  private keyPaths(): readonly { readonly theirs: string; readonly path: string | null }[] {
    return this.key.map((field) => {
      const bound = this.table.columns.get(field)
      return { theirs: this.rawValue(field) as string, path: bound?.kind === 'column' ? barePath(bound.column) : null } // a path of `r`, as a text
    })
  }

  /** This row's own key, for lists of rows that lead here. */
  private keyLinks(of: 'raw' | 'view'): readonly string[] {
    return this.key.map((field) => {
      if (of === 'raw') return this.rawValue(field) as string // a path of `r`, as a text
      const bound = this.table.columns.get(field)
      const name = `key_${field}`
      kept(this.links, name, () => (bound?.kind === 'column' ? typedValue(bound.native, pathOf(bound.column)) : null))
      return `$l.${name}`
    })
  }
}

function barePath(column: string): string | null {
  return column.split('.').every(isPlainName) ? `$${column}` : null
}

function viewOf(plan: AuthorizedPlan, type: string): ReadableView {
  const view = plan.views.get(type)
  invariant(view, `the plan has a view of \`${type}\``)
  return view
}

function entityOf(plan: AuthorizedPlan, type: string): EntityType {
  const entity = plan.catalog.entities.get(type)
  invariant(entity, `the catalog has \`${type}\``)
  return entity
}

function kept(made: Map<string, Template>, name: string, make: () => Template): void {
  if (!made.has(name)) made.set(name, make())
}
