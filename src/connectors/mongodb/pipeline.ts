/** From an authorized plan to one aggregation pipeline, whatever its depth, and the shape of the rows that it gives. Pure. */
import { invariant } from '../../errors.js'
import { operandValue } from '../../query/evaluate.js'
import type { AuthorizedPlan, ConnectionField, EdgeField, ListPlan, RowField, RowSelection } from '../../query/plan.js'
import type { DocumentShape, FieldShape, ListShape, RowShape, ValueShape } from '../document-json.js'
import { isTrue } from './condition.js'
import { orderOf, sortStages } from './order.js'
import { Reader } from './reader.js'
import { Place, type Stage, type Template } from './template.js'
import { unclaimed } from './unclaimed.js'

export interface Pipeline extends DocumentShape {
  readonly collection: string
  readonly stages: readonly Stage[]
}

/** @throws GatewayError FIELD_NOT_USABLE for what this kind of store does not claim. Null: the view is an empty table. */
export function compilePipeline(plan: AuthorizedPlan): Pipeline | null {
  if (plan.plan.kind !== 'list') throw unclaimed(plan.plan.kind, plan.organization)
  const { list, withKeys } = plan.plan
  if (list.search) throw unclaimed('search', plan.organization)
  const reader = Reader.of(plan, list.type, 'view')
  if (!reader) return null
  const page = listPage(list, reader)
  const hasTotal = list.fields.some(({ kind }) => kind === 'totalCount')
  const collection = reader.table.table
  const stages = hasTotal ? [...countStages(list, plan), { $unionWith: { coll: collection, pipeline: page.stages } }] : page.stages
  return { collection, stages, shape: page.shape, hasTotal, withKeys }
}

function countStages(list: ListPlan, plan: AuthorizedPlan): Stage[] {
  const reader = Reader.of(plan, list.type, 'view')
  invariant(reader, 'there are rows to count')
  const tail = countTail(list, reader)
  return [...reader.stages(), ...tail]
}

function countTail(list: ListPlan, reader: Reader): Stage[] {
  return [{ $match: { $expr: isTrue(list.where, reader.scope('view')) } }, { $group: { _id: null, n: { $sum: 1 } } }]
}

/** One row more than the page, which tells whether there are more. */
function listPage(list: ListPlan, reader: Reader): { readonly stages: Stage[]; readonly shape: ListShape } {
  const { tail, shape } = pageTail(list, reader)
  return { stages: [...reader.stages(), ...tail], shape }
}

/** The stages of a page after those of the reader, which must be made after them. */
function pageTail(list: ListPlan, reader: Reader): { readonly tail: Stage[]; readonly shape: ListShape } {
  const fits = isTrue(list.where, reader.scope('view'))
  const ordered = orderOf(list, reader)
  const rows = new Map<ConnectionField | EdgeField, { index: number; row: RowShape }>()
  const outputs: Output[] = []
  const add = (field: ConnectionField | EdgeField, selection: RowSelection): void => {
    const output = rowOutput(selection, reader)
    rows.set(field, { index: outputs.push(output) - 1, row: output.shape })
  }
  for (const field of list.fields) {
    if (field.kind === 'nodes') add(field, field.row)
    if (field.kind === 'edges') for (const edge of field.fields) if (edge.kind === 'node') add(edge, edge.row)
  }
  const start = reader.plan.starts.get(list.path)
  const limit = new Place('limit', (values) => {
    const rowsMax = operandValue(list.limit, values)
    invariant(typeof rowsMax === 'number' && rowsMax >= 0, 'a limit is a number')
    return rowsMax + 1
  })
  const tail = [
    { $match: { $expr: fits } },
    ...sortStages(ordered, start),
    { $limit: limit },
    ...outputs.flatMap(({ lookups }) => lookups),
    { $replaceWith: { n: outputs.map(({ slots }) => Object.fromEntries(slots)), s: ordered.terms.map((_, index) => `$s.v${index}`) } },
  ]
  return { tail, shape: { plan: list, rows, sort: ordered.terms, isContinued: start !== undefined, limit: list.limit } }
}

interface Output {
  readonly shape: RowShape
  readonly slots: ReadonlyMap<string, Template>
  readonly lookups: readonly Stage[]
}

function rowOutput(selection: RowSelection, reader: Reader): Output {
  const slots = new Map<string, Template>()
  const lookups: Stage[] = []
  const slot = (value: Template): string => {
    const name = `c${slots.size}`
    slots.set(name, value)
    return name
  }
  const value = (field: string): ValueShape => ({ field: reader.valueField(field), slot: slot(reader.viewValue(field)) })
  const fields = selection.fields.map((field): FieldShape => {
    const { responseKey } = field
    switch (field.kind) {
      case 'typename':
        return { kind: 'text', responseKey, json: JSON.stringify(selection.type) }
      case 'organization':
        return { kind: 'text', responseKey, json: JSON.stringify(reader.organization) }
      case 'absent':
        return { kind: 'text', responseKey, json: 'null' }
      case 'id':
        return { kind: 'id', responseKey, type: selection.type, slots: reader.key.map(value) }
      case 'value':
        return { kind: 'value', responseKey, value: value(field.field) }
      case 'aggregate':
      case 'series':
      case 'traversal':
      case 'reference':
        throw unclaimed(field.kind, reader.organization)
      case 'toOne':
      case 'list':
        return relationShape(field, reader, { slot, lookups })
    }
  })
  return { shape: { fields }, slots, lookups }
}

type RelationField = Extract<RowField, { kind: 'toOne' | 'list' }>

/** What may not be seen is null, never empty. */
function relationShape(field: RelationField, reader: Reader, to: { slot(value: Template): string; readonly lookups: Stage[] }): FieldShape {
  const { responseKey } = field
  const nothing: FieldShape = { kind: 'text', responseKey, json: 'null' }
  if (reader.isAbsent(field.field)) return nothing
  const shown = (found: string): Template => ({ $cond: [reader.viewValue(field.field), found, null] })
  if (field.kind === 'toOne') {
    const found = reader.lookup(field.field, 'view', (target) => {
      const { lookups, slots, shape } = rowOutput(field.row, target)
      return { stages: [{ $limit: 1 }, ...lookups, { $replaceWith: Object.fromEntries(slots) }], result: shape }
    })
    if (!found) return nothing
    to.lookups.push(found.stage)
    return { kind: 'toOne', responseKey, slot: to.slot(shown(found.found)), row: found.result }
  }
  const { list } = field
  const found = reader.lookup(field.field, 'view', (target) => {
    const { tail, shape } = pageTail(list, target)
    return { stages: tail, result: shape }
  })
  if (!found) return emptyList(field, reader, to.slot)
  const total = list.fields.some(({ kind }) => kind === 'totalCount')
    ? reader.lookup(field.field, 'view', (target) => ({ stages: countTail(list, target), result: null }))
    : null
  to.lookups.push(found.stage, ...(total ? [total.stage] : []))
  return { kind: 'list', responseKey, slot: to.slot(shown(found.found)), totalSlot: to.slot(total?.found ?? null), list: found.result }
}

/** The target is an empty table, or nothing leads here. */
function emptyList(field: Extract<RowField, { kind: 'list' }>, reader: Reader, slot: (value: Template) => string): FieldShape {
  const rows: ListShape['rows'] = new Map()
  const isContinued = reader.plan.starts.has(field.list.path)
  const list: ListShape = { plan: field.list, rows, sort: [], isContinued, limit: field.list.limit }
  const shown = { $cond: [reader.viewValue(field.field), [], null] }
  return { kind: 'list', responseKey: field.responseKey, slot: slot(shown), totalSlot: slot(null), list }
}
