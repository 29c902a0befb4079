/** From an authorized plan to one statement, whatever its depth, and the shape of what it gives. Pure. */
import { invariant } from '../../errors.js'
import { operandValue } from '../../query/evaluate.js'
import type { AuthorizedPlan, ConnectionField, EdgeField, ListPlan, RowField, RowSelection, Traversal, TraversalEdgeField } from '../../query/plan.js'
import type { Operand } from '../../query/predicate.js'
import type { DocumentShape, FieldShape, ListShape, RowShape, TraversalShape, ValueShape } from '../document-json.js'
import { condition } from './condition.js'
import { allOf, type Cypher, cypher, join, NULL, place, value } from './cypher.js'
import { isBeyond, keyOf, orderBy, orderOf } from './order.js'
import { Reader, type Step } from './reader.js'
import { walkOf } from './walk.js'
import { unclaimed } from './unclaimed.js'

export interface GraphStatement extends DocumentShape {
  /** Gives documents as `d`. */
  readonly cypher: Cypher
}

/** @throws GatewayError FIELD_NOT_USABLE for what this kind of store does not claim. Null: the view is an empty table. */
export function compileStatement(plan: AuthorizedPlan): GraphStatement | null {
  if (plan.plan.kind !== 'list') throw unclaimed(plan.plan.kind, plan.organization)
  const { list, withKeys } = plan.plan
  if (list.search) throw unclaimed('search', plan.organization)
  const reader = Reader.of(plan, list.type, 'view')
  if (!reader) return null
  const page = pageOf(list, reader, { match: reader.pattern, shown: [] }, 1)
  const hasTotal = list.fields.some(({ kind }) => kind === 'totalCount')
  const rows = cypher`${page.query} AS d`
  return { cypher: hasTotal ? cypher`${totalOf(list, plan)} UNION ALL ${rows}` : rows, shape: page.shape, hasTotal, withKeys }
}

function totalOf(list: ListPlan, plan: AuthorizedPlan): Cypher {
  const reader = Reader.of(plan, list.type, 'view')
  invariant(reader, 'there are rows to count')
  return cypher`MATCH ${reader.pattern} WHERE ${fitting(list, reader, [])} RETURN {n: count(*)} AS d`
}

function fitting({ where }: Pick<ListPlan, 'where'>, reader: Reader, shown: readonly Cypher[]): Cypher {
  return allOf([...reader.indexable(where), reader.isRow(), ...shown, condition(where, reader.scope('view'))])
}

interface Source {
  readonly match: Cypher
  /** What else holds of the rows that it finds. */
  readonly shown: readonly Cypher[]
}

/** One row more than the page, which tells whether there are more. */
function pageOf(list: ListPlan, reader: Reader, { match, shown }: Source, plus: number): { readonly query: Cypher; readonly shape: ListShape } {
  const { node } = reader
  const ordered = orderOf(list, reader)
  const names = ordered.terms.map(() => reader.variable())
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
  const sorted = ordered.terms.map((term, index) => cypher`, ${term.value} AS ${names[index] ?? NULL}`).flat()
  const kept = names.map((own) => cypher`, ${own}`).flat()
  const left = start ? cypher` WHERE ${isBeyond(ordered, names, start)}` : []
  const found = cypher`MATCH ${match} WHERE ${fitting(list, reader, shown)} WITH DISTINCT ${node} WITH ${node}${sorted}${left}`
  const cut = cypher`WITH ${node}${kept} ORDER BY ${orderBy(ordered, names)} LIMIT ${limitPlace(list.limit, plus)}`
  const document = cypher`{n: [${join(outputs.map(mapOf), ', ')}], s: [${join(names, ', ')}]}`
  return {
    query: cypher`${found} ${cut} RETURN ${document}`,
    shape: { plan: list, rows, sort: ordered.terms, isContinued: start !== undefined, limit: list.limit },
  }
}

function limitPlace(limit: Operand, plus: number): Cypher {
  return place('limit', (values) => {
    const rowsMax = operandValue(limit, values)
    invariant(typeof rowsMax === 'number' && rowsMax >= 0, 'a limit is a number')
    return value(BigInt(rowsMax + plus))
  })
}

// --- rows ------------------------------------------------------------------------------------------------------------------------------------------------------

interface Output {
  readonly shape: RowShape
  readonly slots: ReadonlyMap<string, Cypher>
}

function mapOf({ slots }: Output): Cypher {
  const members = [...slots].map(([slot, of]) => cypher`${[slot]}: ${of}`)
  return cypher`{${join(members, ', ')}}`
}

function rowOutput(selection: RowSelection, reader: Reader): Output {
  const slots = new Map<string, Cypher>()
  const slot = (of: Cypher): string => {
    const own = `c${slots.size}`
    slots.set(own, of)
    return own
  }
  const shown = (field: string): ValueShape => ({ field: reader.valueField(field), slot: slot(reader.viewValue(field)) })
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
        return { kind: 'id', responseKey, type: selection.type, slots: reader.key.map(shown) }
      case 'value':
        return { kind: 'value', responseKey, value: shown(field.field) }
      case 'aggregate':
      case 'series':
      case 'reference':
        throw unclaimed(field.kind, reader.organization)
      case 'traversal':
        return traversalShape(responseKey, field.traversal, reader, slot)
      case 'toOne':
      case 'list':
        return relationShape(field, reader, slot)
    }
  })
  return { shape: { fields }, slots }
}

type RelationField = Extract<RowField, { kind: 'toOne' | 'list' }>

/** What may not be seen is null, never empty. */
function relationShape(field: RelationField, reader: Reader, slot: (of: Cypher) => string): FieldShape {
  const { responseKey } = field
  if (reader.isAbsent(field.field)) return { kind: 'text', responseKey, json: 'null' }
  const shown = (of: Cypher): Cypher => cypher`CASE WHEN ${reader.isShown(field.field)} THEN ${of} END`
  const step = reader.step(field.field, 'view')
  if (field.kind === 'toOne') {
    if (!step) return { kind: 'text', responseKey, json: 'null' }
    const output = rowOutput(field.row, step.target)
    const first = cypher`MATCH ${step.pattern} WHERE ${step.target.isRow()} WITH ${step.target.node} ORDER BY ${keyOf(step.target)} LIMIT 1 RETURN ${mapOf(output)}`
    return { kind: 'toOne', responseKey, slot: slot(shown(cypher`COLLECT { ${first} }`)), row: output.shape }
  }
  return listShape(field, reader, { step, shown, slot })
}

function listShape(
  { responseKey, field, list }: Extract<RowField, { kind: 'list' }>,
  reader: Reader,
  { step, shown, slot }: { readonly step: Step | null; readonly shown: (of: Cypher) => Cypher; readonly slot: (of: Cypher) => string },
): FieldShape {
  if (!step) {
    const isContinued = reader.plan.starts.has(list.path)
    const empty: ListShape = { plan: list, rows: new Map(), sort: [], isContinued, limit: list.limit }
    return { kind: 'list', responseKey, slot: slot(shown(['[]'])), totalSlot: slot(NULL), list: empty }
  }
  const page = pageOf(list, step.target, { match: step.pattern, shown: [step.isShown] }, 1)
  const found = slot(shown(cypher`COLLECT { ${page.query} }`))
  const counted = list.fields.some(({ kind }) => kind === 'totalCount') ? reader.step(field, 'view') : null
  const total = counted && fitting(list, counted.target, [counted.isShown])
  const totalSlot = slot(counted && total ? cypher`[{n: COUNT { MATCH ${counted.pattern} WHERE ${total} RETURN DISTINCT ${counted.target.node} }}]` : NULL)
  return { kind: 'list', responseKey, slot: found, totalSlot, list: page.shape }
}

// --- walks -----------------------------------------------------------------------------------------------------------------------------------------------------

/** Null where a relation of a step may not be seen at all. */
function traversalShape(responseKey: string, traversal: Traversal, reader: Reader, slot: (of: Cypher) => string): FieldShape {
  const walk = walkOf(traversal, reader)
  if (walk === 'hidden') return { kind: 'text', responseKey, json: 'null' }
  const rows = new Map<TraversalEdgeField, { index: number; row: RowShape }>()
  const shape: TraversalShape = { plan: traversal, rows }
  if (walk === 'nowhere') return { kind: 'traversal', responseKey, slot: slot(['[]']), traversal: shape }
  const { target, match, depth } = walk
  const outputs: Output[] = []
  for (const field of traversal.fields) {
    for (const edge of field.kind === 'edges' ? field.fields : []) {
      if (edge.kind !== 'node') continue
      const output = rowOutput(edge.row, target)
      rows.set(edge, { index: outputs.push(output) - 1, row: output.shape })
    }
  }
  const steps = reader.variable()
  const keys = target.key.map((field) => ({ of: target.viewValue(field), name: target.variable() }))
  const sorted = keys.map(({ of, name }) => cypher`, ${of} AS ${name}`).flat()
  const order = join([steps, ...keys.map(({ name }) => name)], ', ')
  const found = cypher`MATCH ${match} WHERE ${fitting(traversal, target, [cypher`${target.node} <> ${reader.node}`])} WITH ${target.node}, ${depth} AS ${steps}${sorted}`
  const cut = cypher`WITH ${target.node}, ${steps}${keys.map(({ name }) => cypher`, ${name}`).flat()} ORDER BY ${order} LIMIT ${limitPlace(traversal.limit, 0)}`
  const documents = cypher`COLLECT { ${found} ${cut} RETURN {n: [${join(outputs.map(mapOf), ', ')}], d: ${steps}} }`
  return { kind: 'traversal', responseKey, slot: slot(documents), traversal: shape }
}
