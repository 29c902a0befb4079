/** A plan whose types live in several stores, as steps that each ask one: conditions on rows elsewhere become keys, and fields made of rows elsewhere become places. Pure. */
import { GatewayError, invariant } from '../../errors.js'
import type { ToManyField, ToOneField, ValueType } from '../../query/catalog.js'
import type {
  AggregatePlan,
  AuthorizedPlan,
  ConnectionField,
  ListPlan,
  OrderKey,
  Plan,
  RelationField,
  RowField,
  RowSelection,
  StepPlan,
  Traversal,
  TraversalField,
} from '../../query/plan.js'
import { partType, withParts } from '../../query/part.js'
import { planOver } from '../../query/plan.js'
import { and, type Operand, type Predicate } from '../../query/predicate.js'

/** What one store is asked, what has to be known before, and what comes after. */
export interface Step {
  /** Null: every type that it names is an empty table. */
  readonly store: string | null
  readonly plan: AuthorizedPlan
  /** Keys that a condition of this step takes from another store. */
  readonly sources: readonly KeySource[]
  /** By the name of the place. */
  readonly attachments: ReadonlyMap<string, Attachment>
  /**
   * Texts are objects of one member, which is what is meant: a value, or a row, which is none where that is null. `mark`: the one column of rows is not asked for, and tells
   * which of them there are.
   */
  readonly wrapped: 'value' | 'row' | 'mark' | null
  /** Of a search where vectors lie: keys without a row, once they are known, which it is asked again without. Null: it is asked for keys that have one. */
  readonly orphans: Pick<KeySource, 'firstList' | 'parts'> | null
}

/** A step that gives keys, and which of the lists of `Values.steps` they are: one for each part. */
export interface KeySource {
  readonly step: Step
  readonly firstList: number
  readonly parts: readonly ValueType[]
}

/** A step that is asked for all the keys that the places of its name hold; these are its first lists. */
export interface Attachment {
  readonly step: Step
  readonly parts: readonly ValueType[]
  /** The answer has the rows that there are, each with its key. */
  readonly isOne: boolean
}

/** @param keysMax how many keys may travel from one store to another for a condition. @throws GatewayError FIELD_NOT_USABLE for an order or count that goes through another store. */
export function splitPlan(whole: AuthorizedPlan, keysMax: number): Step {
  const complete = withParts(whole)
  return new Splitting(complete, keysMax).step(complete.plan)
}

interface ListsOf {
  readonly sources: KeySource[]
  readonly attachments: Map<string, Attachment>
  orphans: Step['orphans']
  lists: number
}

class Splitting {
  private made: ListsOf = noLists(0)

  constructor(
    private whole: AuthorizedPlan,
    private readonly keysMax: number,
  ) {}

  step(plan: Plan | StepPlan, wrapped: Step['wrapped'] = null): Step {
    const outer = this.made
    this.made = noLists(plan.kind === 'attached' || plan.kind === 'outer' ? plan.keys.length : 0)
    try {
      const searched = plan.kind === 'list' && plan.list.search && this.partOf(plan.list.type, plan.list.search.field) ? this.searchOfPart(plan) : null
      const own = searched?.plan ?? this.rewritten(plan)
      const { sources, attachments } = this.made
      return {
        store: this.storeOf(rootOf(own, this.whole)),
        plan: planOver(this.whole, own),
        sources,
        attachments,
        wrapped: searched?.wrapped ?? wrapped,
        orphans: this.made.orphans,
      }
    } finally {
      this.made = outer
    }
  }

  /**
   * A search by a vector that lies elsewhere goes there, and finds keys: of all rows where the caller sees all, else of those that may be seen and fit, which are asked for first. The
   * rows themselves come by key, once more under policy. A vector without such a row is none, even where nothing but scores is asked for.
   */
  private searchOfPart({ list, withKeys }: Extract<Plan, { kind: 'list' }>): { readonly plan: Plan; readonly wrapped: 'row' | 'mark' } {
    const type = partType(list.type, list.search?.field ?? '')
    const fields = list.fields.map((field): ConnectionField => {
      if (field.kind === 'nodes') return { ...field, row: this.rowByKey(type, field.row) }
      if (field.kind !== 'edges') return field
      return { ...field, fields: field.fields.map((edge) => (edge.kind === 'node' ? { ...edge, row: this.rowByKey(type, edge.row) } : edge)) }
    })
    const searched = { ...list, type, where: this.searchable(list) }
    if (hasRows(list)) return { plan: { kind: 'list', withKeys, list: { ...searched, fields } }, wrapped: 'row' }
    const mark: ConnectionField = { kind: 'nodes', responseKey: WRAPPED, row: this.rowByKey(type, { type: list.type, fields: [] }) }
    return { plan: { kind: 'list', withKeys, list: { ...searched, fields: [...fields, mark] } }, wrapped: 'mark' }
  }

  private rowByKey(type: string, row: RowSelection): RowSelection {
    const parts = this.ownParts(type)
    const step = this.step({ kind: 'attached', type, field: { kind: 'toOne', responseKey: WRAPPED, field: '', row }, keys: listsFrom(0, parts) })
    return { type, fields: [this.placeOf(null, WRAPPED, { step, parts, isOne: true })] }
  }

  private searchable({ type, where, search }: ListPlan): Predicate {
    const view = this.whole.views.get(type)
    const shown = view?.fields.get(search?.field ?? '')
    invariant(view && shown, 'a search is over a view')
    if (where.kind === 'all' && view.rows.kind === 'all' && shown.kind !== 'cell') return this.withoutOrphans(this.ownParts(type))
    const outer = this.whole
    // Only rows that show the vector are searched.
    if (shown.kind === 'cell') this.whole = { ...outer, views: new Map([...outer.views, [type, { ...view, rows: and([view.rows, shown.condition]) }]]) }
    const step = this.step({ kind: 'keys', type, where, of: null, limit: { kind: 'constant', value: this.keysMax } })
    this.whole = outer
    return { kind: 'linked', field: null, keys: this.keysFrom(step, this.ownParts(type)) }
  }

  private withoutOrphans(parts: readonly ValueType[]): Predicate {
    const firstList = this.reserved(parts)
    this.made.orphans = { firstList, parts }
    return { kind: 'not', term: { kind: 'linked', field: null, keys: listsFrom(firstList, parts) } }
  }

  private rewritten(plan: Plan | StepPlan): Plan | StepPlan {
    switch (plan.kind) {
      case 'list':
        return { ...plan, list: this.list(plan.list) }
      case 'aggregate':
        return { ...plan, aggregate: this.aggregate(plan.aggregate) }
      case 'series':
        return { ...plan, series: { ...plan.series, where: this.condition(plan.series.where, plan.series.type) } }
      case 'keys':
        return { ...plan, where: this.condition(plan.where, plan.type) }
      case 'attached':
        return { ...plan, field: this.within(plan.field) }
      case 'outer':
        return { ...plan, row: this.row(plan.row) }
    }
  }

  private list(list: ListPlan): ListPlan {
    for (const key of list.order) this.refuseOrder(key, list.type)
    return { ...list, where: this.condition(list.where, list.type), fields: list.fields.map((field) => this.connectionField(field)) }
  }

  private connectionField(field: ConnectionField): ConnectionField {
    if (field.kind === 'nodes') return { ...field, row: this.row(field.row) }
    if (field.kind !== 'edges') return field
    return { ...field, fields: field.fields.map((edge) => (edge.kind === 'node' ? { ...edge, row: this.row(edge.row) } : edge)) }
  }

  private row(row: RowSelection): RowSelection {
    return { ...row, fields: row.fields.map((field) => this.rowField(row.type, field)) }
  }

  private rowField(type: string, field: RowField): RowField {
    switch (field.kind) {
      case 'toOne':
      case 'list':
      case 'aggregate':
      case 'series':
        return this.leaves(type, field.field) ? this.place(type, field) : this.within(field)
      case 'value':
        return this.partOf(type, field.field) ? this.valueElsewhere(type, field) : field
      case 'traversal':
        return { ...field, traversal: this.traversal(field.traversal) }
      case 'typename':
      case 'id':
      case 'organization':
      case 'absent':
      case 'reference':
        return field
    }
  }

  private traversal(traversal: Traversal): Traversal {
    let at = traversal.type
    for (const field of traversal.via) {
      if (this.leaves(at, field)) throw this.refused('a traversal')
      at = this.relation(at, field).target
    }
    const fields = traversal.fields.map((field): TraversalField => {
      if (field.kind !== 'edges') return field
      return { ...field, fields: field.fields.map((edge) => (edge.kind === 'node' ? { ...edge, row: this.row(edge.row) } : edge)) }
    })
    return { ...traversal, where: this.condition(traversal.where, traversal.type), fields }
  }

  private within(field: RelationField): RelationField {
    switch (field.kind) {
      case 'toOne':
        return { ...field, row: this.row(field.row) }
      case 'list':
        return { ...field, list: this.list(field.list) }
      case 'aggregate':
        return { ...field, aggregate: this.aggregate(field.aggregate) }
      case 'series':
        return { ...field, series: { ...field.series, where: this.condition(field.series.where, field.series.type) } }
    }
  }

  private place(type: string, field: RelationField): RowField {
    const parts = this.partsOf(type, field.field)
    const step = this.step({ kind: 'attached', type, field, keys: listsFrom(0, parts) })
    return this.placeOf(field.field, field.responseKey, { step, parts, isOne: field.kind === 'toOne' })
  }

  private valueElsewhere(type: string, field: Extract<RowField, { kind: 'value' }>): RowField {
    const parts = this.ownParts(type)
    const row: RowSelection = { type: partType(type, field.field), fields: [{ ...field, responseKey: WRAPPED }] }
    const step = this.step({ kind: 'outer', row, keys: listsFrom(0, parts) }, 'value')
    return this.placeOf(field.field, field.responseKey, { step, parts, isOne: false })
  }

  private placeOf(field: string | null, responseKey: string, attachment: Attachment): RowField {
    const name = String(this.made.attachments.size)
    this.made.attachments.set(name, attachment)
    return { kind: 'reference', responseKey, field, name }
  }

  private aggregate(aggregate: AggregatePlan): AggregatePlan {
    for (const { field } of aggregate.measures) if (this.isRelation(aggregate.type, field) && this.leaves(aggregate.type, field)) throw this.refused('a count')
    return { ...aggregate, where: this.condition(aggregate.where, aggregate.type) }
  }

  private condition(predicate: Predicate, type: string): Predicate {
    switch (predicate.kind) {
      case 'and':
      case 'or':
        return { ...predicate, terms: predicate.terms.map((term) => this.condition(term, type)) }
      case 'not':
      case 'isTrue':
      case 'isFalse':
        return { ...predicate, term: this.condition(predicate.term, type) }
      case 'related': {
        const relation = this.relation(type, predicate.field)
        if (this.leaves(type, predicate.field)) return this.linked(type, relation, predicate.where)
        return { ...predicate, where: this.condition(predicate.where, relation.target) }
      }
      default:
        return predicate
    }
  }

  private linked(type: string, relation: ToOneField | ToManyField, where: Predicate): Predicate {
    const parts = this.partsOf(type, relation.name)
    const of = relation.kind === 'toMany' ? relation.inverse : null
    const step = this.step({ kind: 'keys', type: relation.target, where, of, limit: { kind: 'constant', value: this.keysMax } })
    return { kind: 'linked', field: relation.name, keys: this.keysFrom(step, parts) }
  }

  private keysFrom(step: Step, parts: readonly ValueType[]): readonly Operand[] {
    const firstList = this.reserved(parts)
    this.made.sources.push({ step, firstList, parts })
    return listsFrom(firstList, parts)
  }

  private reserved(parts: readonly ValueType[]): number {
    const firstList = this.made.lists
    this.made.lists += parts.length
    return firstList
  }

  private refuseOrder({ path }: OrderKey, type: string): void {
    let at = type
    for (const field of path) {
      if (this.leaves(at, field)) throw this.refused('an order')
      at = this.relation(at, field).target
    }
  }

  private refused(what: string): GatewayError {
    const { organization } = this.whole
    return new GatewayError('FIELD_NOT_USABLE', `${what} goes through a relation to another store`, { organization })
  }

  /** Whether the relation, which the caller sees, leads into another store. */
  private leaves(type: string, field: string): boolean {
    const shown = this.whole.views.get(type)?.fields.get(field)
    if (!shown || shown.kind === 'absent') return false
    const [from, to] = [this.storeOf(type), this.storeOf(this.relation(type, field).target)]
    return from !== null && to !== null && from !== to
  }

  /** Null: the type's view is an empty table, or there is none. */
  private storeOf(type: string): string | null {
    const source = this.whole.views.get(type)?.source
    return source && source !== 'empty' ? source.store : null
  }

  /** The types of the key that joins rows of the type over the relation. */
  private partsOf(type: string, field: string): readonly ValueType[] {
    const relation = this.relation(type, field)
    return this.ownParts(relation.kind === 'toOne' ? relation.target : type)
  }

  private ownParts(type: string): readonly ValueType[] {
    const entity = this.whole.catalog.entities.get(type)
    return (entity?.key ?? []).map((name) => {
      const part = entity?.fields.get(name)
      invariant(part?.kind === 'value', `\`${name}\` is a value`)
      return part.type
    })
  }

  /** Whether the caller sees the value, and it lies in another table. */
  private partOf(type: string, field: string): boolean {
    const view = this.whole.views.get(type)
    const shown = view?.fields.get(field)
    return view !== undefined && view.source !== 'empty' && view.source.parts?.has(field) === true && shown !== undefined && shown.kind !== 'absent'
  }

  private isRelation(type: string, field: string): boolean {
    const definition = this.whole.catalog.entities.get(type)?.fields.get(field)
    return definition !== undefined && definition.kind !== 'value'
  }

  private relation(type: string, field: string): ToOneField | ToManyField {
    const definition = this.whole.catalog.entities.get(type)?.fields.get(field)
    invariant(definition && definition.kind !== 'value', `\`${type}.${field}\` is a relation`)
    return definition
  }
}

function hasRows({ fields }: ListPlan): boolean {
  return fields.some((field) => field.kind === 'nodes' || (field.kind === 'edges' && field.fields.some(({ kind }) => kind === 'node')))
}

function noLists(lists: number): ListsOf {
  return { sources: [], attachments: new Map(), orphans: null, lists }
}

function listsFrom(first: number, parts: readonly ValueType[]): readonly Operand[] {
  return parts.map((_, index) => ({ kind: 'step', index: first + index }))
}

/** The one member of what is wrapped; see `Step.wrapped`. */
const WRAPPED = 'v'

/** The type whose store is asked. */
function rootOf(plan: Plan | StepPlan, { catalog }: AuthorizedPlan): string {
  switch (plan.kind) {
    case 'list':
      return plan.list.type
    case 'aggregate':
      return plan.aggregate.type
    case 'series':
      return plan.series.type
    case 'keys':
      return plan.type
    case 'outer':
      return plan.row.type
    case 'attached': {
      if (plan.field.kind === 'toOne') return plan.field.row.type
      const relation = catalog.entities.get(plan.type)?.fields.get(plan.field.field)
      invariant(relation && relation.kind !== 'value', 'what is attached comes over a relation')
      return relation.target
    }
  }
}
