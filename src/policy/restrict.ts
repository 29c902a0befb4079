/** From a plan that `authorize` has passed to a plan over readable views: the only maker of `AuthorizedPlan`. Pure. */
import { invariant } from '../errors.js'
import type { OrganizationBinding } from '../query/binding.js'
import type { Catalog } from '../query/catalog.js'
import type { AggregatePlan, AuthorizedPlan, ListPlan, PageStart, Plan, ReadableView, RowSelection, SeriesPlan, Traversal } from '../query/plan.js'
import type { Predicate } from '../query/predicate.js'
import type { OwnerGrant } from './authority.js'
import { viewField } from './authorize.js'

export interface RestrictContext {
  readonly catalog: Catalog
  readonly binding: OrganizationBinding
  /** The principal's organization: what row-level security in the store is told. */
  readonly caller: string
  readonly starts: ReadonlyMap<string, PageStart>
}

/**
 * INVARIANT: every view is made from the grant alone, and a type that the grant does not name has no view; a plan that reaches such a type is a bug of ours,
 * except through a selected relation, which is absent then.
 */
export function restrict(plan: Plan, grant: OwnerGrant, context: RestrictContext): AuthorizedPlan {
  const views = new Map<string, ReadableView>()
  for (const type of typesOf(plan, context.catalog)) {
    const view = readableView(type, grant, context)
    if (view) views.set(type, view)
  }
  const root = rootType(plan)
  invariant(views.has(root), `no grant for \`${root}\``)
  const restricted = {
    plan,
    organization: grant.organization,
    views,
    catalog: context.catalog,
    binding: context.binding,
    starts: context.starts,
    caller: context.caller,
  }
  return restricted as typeof restricted & AuthorizedPlan // the brand: views come from the grant, above
}

function rootType(plan: Plan): string {
  switch (plan.kind) {
    case 'list':
      return plan.list.type
    case 'aggregate':
      return plan.aggregate.type
    case 'series':
      return plan.series.type
  }
}

/** The owner's table as the grant shows it; null where the type is not granted. */
export function readableView(type: string, grant: OwnerGrant, context: Pick<RestrictContext, 'catalog' | 'binding'>): ReadableView | null {
  const granted = grant.types.get(type)
  const entity = context.catalog.entities.get(type)
  const bound = context.binding.types.get(type)
  if (!granted || !entity || !bound) return null
  const fields = new Map([...entity.fields.keys()].map((field) => [field, viewField(type, field, grant, context.binding, context.catalog)]))
  return { type, source: bound.kind === 'none' ? 'empty' : bound, rows: granted.rows, fields }
}

/** Every type that a plan names, in selections, conditions and orders. */
function typesOf(plan: Plan, catalog: Catalog): ReadonlySet<string> {
  const types = new Set<string>()
  if (plan.kind === 'list') visitList(plan.list, types, catalog)
  else if (plan.kind === 'aggregate') visitAggregate(plan.aggregate, types, catalog)
  else visitSeries(plan.series, types, catalog)
  return types
}

function visitList(list: ListPlan, types: Set<string>, catalog: Catalog): void {
  types.add(list.type)
  visitPredicate(list.where, list.type, types, catalog)
  for (const key of list.order) key.path.reduce((type, field) => visitTarget(type, field, types, catalog), list.type)
  for (const field of list.fields) {
    if (field.kind === 'nodes') visitRow(field.row, types, catalog)
    if (field.kind === 'edges') for (const edge of field.fields) if (edge.kind === 'node') visitRow(edge.row, types, catalog)
  }
}

function visitRow(row: RowSelection, types: Set<string>, catalog: Catalog): void {
  types.add(row.type)
  for (const field of row.fields) {
    if (field.kind === 'toOne') visitRow(field.row, types, catalog)
    if (field.kind === 'list') visitList(field.list, types, catalog)
    if (field.kind === 'aggregate') visitAggregate(field.aggregate, types, catalog)
    if (field.kind === 'series') visitSeries(field.series, types, catalog)
    if (field.kind === 'traversal') visitTraversal(field.traversal, types, catalog)
  }
}

function visitTraversal({ type, via, where, fields }: Traversal, types: Set<string>, catalog: Catalog): void {
  types.add(type)
  via.reduce((from, field) => visitTarget(from, field, types, catalog), type)
  visitPredicate(where, type, types, catalog)
  for (const field of fields) {
    if (field.kind === 'edges') for (const edge of field.fields) if (edge.kind === 'node') visitRow(edge.row, types, catalog)
  }
}

function visitAggregate(aggregate: AggregatePlan, types: Set<string>, catalog: Catalog): void {
  types.add(aggregate.type)
  visitPredicate(aggregate.where, aggregate.type, types, catalog)
  const fields = catalog.entities.get(aggregate.type)?.fields
  for (const measure of aggregate.measures) if (fields?.get(measure.field)?.kind === 'toOne') visitTarget(aggregate.type, measure.field, types, catalog)
}

/** Measures and keys of a series are values of its own type. */
function visitSeries({ type, where }: SeriesPlan, types: Set<string>, catalog: Catalog): void {
  types.add(type)
  visitPredicate(where, type, types, catalog)
}

function visitPredicate(predicate: Predicate, type: string, types: Set<string>, catalog: Catalog): void {
  if (predicate.kind === 'and' || predicate.kind === 'or') for (const term of predicate.terms) visitPredicate(term, type, types, catalog)
  if (predicate.kind === 'not' || predicate.kind === 'isTrue' || predicate.kind === 'isFalse') visitPredicate(predicate.term, type, types, catalog)
  if (predicate.kind === 'related') visitPredicate(predicate.where, visitTarget(type, predicate.field, types, catalog), types, catalog)
}

function visitTarget(type: string, field: string, types: Set<string>, catalog: Catalog): string {
  const definition = catalog.entities.get(type)?.fields.get(field)
  invariant(definition && definition.kind !== 'value', `\`${type}.${field}\` is a relation`)
  types.add(definition.target)
  return definition.target
}
