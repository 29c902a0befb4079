/** Nodes of one label as the caller may see them, as expressions over a variable of the statement. */
import { GatewayError, invariant } from '../../errors.js'
import type { TableBinding } from '../../query/binding.js'
import type { EntityType, ToManyField, ToOneField, ValueField } from '../../query/catalog.js'
import type { AuthorizedPlan, Mask, ReadableView } from '../../query/plan.js'
import type { Predicate } from '../../query/predicate.js'
import { operandSortKey } from '../../query/value.js'
import type { Compared } from './comparison.js'
import { condition, type Scope } from './condition.js'
import { allOf, type Cypher, cypher, FALSE, isKnown, name, NULL, TRUE, value } from './cypher.js'
import { graphValue } from './graph-value.js'
import { indexable } from './indexable.js'
import { storedValue } from './native-type.js'

/** A relationship and the nodes that it leads to. */
export interface Step {
  readonly target: Reader
  readonly link: Link
  /** The pattern from this node to the target's. */
  readonly pattern: Cypher
  /** That it may be seen, where that is said of the row that has it. */
  readonly isShown: Cypher
}

export interface Link {
  readonly type: Cypher
  readonly typeName: string
  /** From the node that it is followed from. */
  readonly isOut: boolean
}

export function arrow({ type, isOut }: Link, isReversed = false): Cypher {
  return isOut !== isReversed ? cypher`-[:${type}]->` : cypher`<-[:${type}]-`
}

export class Reader implements Pick<Scope, 'type' | 'organization' | 'key'> {
  readonly entity: EntityType
  /** Null: the readable view is not asked for; a policy's condition reads what the owner has. */
  readonly view: ReadableView | null
  private readonly table: TableBinding
  /** The variable. */
  readonly node: Cypher

  private constructor(
    readonly plan: AuthorizedPlan,
    readonly type: string,
    isView: boolean,
    table: TableBinding,
    private readonly names: { next: number },
  ) {
    this.table = table
    const view = plan.views.get(type)
    const entity = plan.catalog.entities.get(type)
    invariant(entity && (view || !isView), `the plan has a view of \`${type}\``)
    this.view = isView ? (view ?? null) : null
    this.entity = entity
    this.node = [`n${names.next++}`]
  }

  /** Null: there are no rows. */
  static of(plan: AuthorizedPlan, type: string, kind: 'raw' | 'view', names = { next: 0 }): Reader | null {
    const bound = plan.binding.types.get(type)
    invariant(bound, `\`${type}\` is bound`)
    if (kind === 'view' && plan.views.get(type)?.source === 'empty') return null
    return bound.kind === 'none' ? null : new Reader(plan, type, kind === 'view', bound, names)
  }

  get organization(): string {
    return this.plan.organization
  }

  get key(): readonly string[] {
    return this.entity.key
  }

  /** A variable of the statement. */
  variable(): Cypher {
    return [`v${this.names.next++}`]
  }

  /** The same rows by another variable. */
  again(): Reader {
    return new Reader(this.plan, this.type, this.view !== null, this.table, this.names)
  }

  get label(): Cypher {
    return cypher`:${name(this.table.table)}`
  }

  /** What a pattern has for a node of these rows. */
  get pattern(): Cypher {
    return cypher`(${this.node}${this.label})`
  }

  valueField(field: string): ValueField {
    const definition = this.entity.fields.get(field)
    invariant(definition?.kind === 'value', `\`${field}\` is a value`)
    return definition
  }

  /** Rows: nodes that have all that a row must have, and that policy shows. */
  isRow(): Cypher {
    const required = [...this.entity.fields.values()].filter((field) => field.kind === 'value' && (field.required || this.key.includes(field.name)))
    const isWhole = required.filter(({ name: field }) => this.table.columns.has(field)).map(({ name: field }) => isKnown(this.rawValue(field)))
    return allOf([...isWhole, this.view ? condition(this.view.rows, this.scope('raw')) : TRUE])
  }

  /** What an index can find of rows, and of those of them that fit. */
  indexable(where: Predicate): readonly Cypher[] {
    const shown = (field: string): Compared | null => (['plain', 'cell'].includes(this.viewField(field).kind) ? this.property(field) : null)
    return [...(this.view ? indexable(this.view.rows, this.key, (field) => this.property(field)) : []), ...indexable(where, this.key, shown)]
  }

  /** A property that is compared as it is stored. */
  private property(field: string): Compared | null {
    const definition = this.entity.fields.get(field)
    const bound = this.table.columns.get(field)
    if (definition?.kind !== 'value' || bound?.kind !== 'column' || bound.array || bound.values || definition.type.name === 'DateTime') return null
    return { field: definition, value: cypher`${this.node}.${name(bound.column)}`, native: bound.native }
  }

  /** The field as the owner has it. */
  rawValue(field: string): Cypher {
    return storedValue(this.valueField(field), this.table.columns.get(field), this.node)
  }

  /** The field as the caller may see it. */
  viewValue(field: string): Cypher {
    const shown = this.viewField(field)
    switch (shown.kind) {
      case 'absent':
        return NULL
      case 'plain':
        return this.rawValue(field)
      case 'cell':
        return cypher`CASE WHEN ${condition(shown.condition, this.scope('raw'))} THEN ${this.rawValue(field)} END`
      case 'masked':
        return this.masked(this.valueField(field), shown.mask)
    }
  }

  /** Whether a relation may be seen in the row. */
  isShown(field: string): Cypher {
    const shown = this.viewField(field)
    return shown.kind === 'absent' ? FALSE : shown.kind === 'cell' ? cypher`coalesce(${condition(shown.condition, this.scope('raw'))}, false)` : TRUE
  }

  isAbsent(field: string): boolean {
    return this.viewField(field).kind === 'absent'
  }

  compared(field: string, of: 'raw' | 'view'): Compared {
    const bound = this.table.columns.get(field)
    const shown = of === 'view' ? this.viewField(field) : null
    const isText = shown?.kind === 'masked' && (shown.mask.kind === 'redact' || shown.mask.kind === 'constant')
    return {
      field: this.valueField(field),
      value: of === 'raw' ? this.rawValue(field) : this.viewValue(field),
      native: isText || bound?.kind !== 'column' ? null : bound.native,
    }
  }

  /** The value is made by the statement, where it is a text. */
  isMade(field: string): boolean {
    const shown = this.viewField(field)
    return (shown.kind === 'masked' && shown.mask.kind === 'redact') || this.table.columns.get(field)?.kind === 'constant'
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

  /** Null: there can be none. */
  step(field: string, of: 'raw' | 'view'): Step | null {
    const { target: type } = this.relation(field)
    const target = Reader.of(this.plan, type, of, this.names)
    const link = target && this.link(field, target)
    if (!target || !link) return null
    return { target, link, pattern: cypher`(${this.node})${arrow(link)}${target.pattern}`, isShown: of === 'raw' ? TRUE : this.endIsShown(field, target) }
  }

  /** A list has the rows in which the other end may be seen; one that is denied altogether still ties them to this row. */
  endIsShown(field: string, target: Reader): Cypher {
    const definition = this.relation(field)
    return definition.kind === 'toMany' && target.viewField(definition.inverse).kind === 'cell' ? target.isShown(definition.inverse) : TRUE
  }

  private relation(field: string): ToOneField | ToManyField {
    const definition = this.entity.fields.get(field)
    invariant(definition && definition.kind !== 'value', `\`${field}\` is a relation`)
    return definition
  }

  private link(field: string, target: Reader): Link | null {
    const definition = this.relation(field)
    const [column] = (definition.kind === 'toOne' ? this.table.relations.get(field) : target.table.relations.get(definition.inverse))?.columns ?? []
    return column ? { type: name(column.column), typeName: column.column, isOut: (column.native === 'out') === (definition.kind === 'toOne') } : null
  }

  private related(field: string, where: Predicate, of: 'raw' | 'view'): Cypher {
    const step = of === 'view' && this.isAbsent(field) ? null : this.step(field, of)
    if (!step) return FALSE
    const { target, pattern, isShown } = step
    const fits = allOf([target.isRow(), isShown, condition(where, target.scope(of))])
    const exists = cypher`EXISTS { MATCH ${pattern} WHERE ${fits} }`
    return of === 'view' ? allOf([this.isShown(field), exists]) : exists
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

  /** @throws GatewayError where the store could not mask: the value must not leave it as it is. */
  private masked(field: ValueField, mask: Mask): Cypher {
    switch (mask.kind) {
      case 'null':
        return NULL
      case 'constant': {
        const text = operandSortKey(field.type, null, mask.value)
        invariant(text !== null, 'a constant mask is of the field’s type')
        return value(graphValue(field.type, null, text))
      }
      case 'redact': {
        const text = cypher`coalesce(toString(${this.rawValue(field.name)}), '')`
        const kept = value(BigInt(mask.keepLast))
        const redacted = cypher`CASE WHEN size(${text}) > ${kept} THEN '***' + right(${text}, ${kept}) ELSE '***' END`
        return mask.revealNulls ? cypher`CASE WHEN ${isKnown(this.rawValue(field.name))} THEN ${redacted} END` : redacted
      }
      case 'pseudonym':
      case 'generalize':
      case 'generalizeTime':
        throw new GatewayError('FIELD_NOT_USABLE', `a graph cannot mask \`${this.type}.${field.name}\` by \`${mask.kind}\``, {
          organization: this.organization,
        })
    }
  }
}
