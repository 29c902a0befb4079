/** Lists, rows and groups over the readable view, and their JSON texts. */
import { invariant } from '../../errors.js'
import type { Group, MeasureParts } from '../../query/aggregate.js'
import { aggregateJson, groupTexts, releasedGroups } from '../../query/aggregate.js'
import type { EntityType, ValueType } from '../../query/catalog.js'
import { ORGANIZATION_FIELD } from '../../query/catalog.js'
import type { Decimal } from '../../query/decimal.js'
import { addDecimals, parseDecimal, printDecimal, sumDecimals, trimDecimal } from '../../query/decimal.js'
import { fits, operandValue } from '../../query/evaluate.js'
import { compareSortKeys, orderComparator } from '../../query/order.js'
import type {
  AggregatePlan,
  ConnectionField,
  EdgeField,
  GroupKey,
  ListPlan,
  Measure,
  PageInfoField,
  PageStart,
  RowField,
  RowSelection,
  Traversal,
  TraversalEdgeField,
} from '../../query/plan.js'
import type { Operand } from '../../query/predicate.js'
import { jsonString, listJson, valueJson } from '../../query/value.js'
import type { Chunk } from '../connector.js'
import { byteText, Texts } from '../texts.js'
import { startOfUnit, startOfUnitIn } from './calendar.js'
import type { Reading, ViewRow } from './row.js'
import { searchScore } from './score.js'
import { seriesTexts } from './series.js'
import { type Reached, rowsReached } from './traversal.js'

/** What a root field asks of this store. */
export function answer(reading: Reading): Chunk {
  const { plan } = reading.plan
  switch (plan.kind) {
    case 'list':
      return rootList(reading, plan.list, plan.withKeys)
    case 'aggregate':
      return rootGroups(reading, plan.aggregate)
    case 'series': {
      const rows = seriesTexts(reading, plan.series, reading.viewRows(plan.series.type))
      return { count: rows.length, texts: [], keys: columnsOf(rows), totalCount: null }
    }
    case 'keys':
    case 'attached':
    case 'outer':
      throw new Error(STEPS)
  }
}

const STEPS = 'invariant: memory has all tables, and needs no steps'

/** One row more than the page, which tells that there are more; a list that goes backward is read from its end. */
function rootList(reading: Reading, list: ListPlan, withKeys: boolean): Chunk {
  const page = pageOf(reading, list, reading.viewRows(list.type), 1)
  const selections = list.fields.flatMap((field): RowSelection[] => {
    if (field.kind === 'nodes') return [field.row]
    return field.kind === 'edges' ? field.fields.flatMap((edge) => (edge.kind === 'node' ? [edge.row] : [])) : []
  })
  const read = list.backward ? [...page.rows].reverse() : page.rows
  const keyed = withKeys ? read.map((row) => cursorTexts(reading, list, row)) : []
  return {
    count: read.length,
    texts: selections.map((selection) => Texts.of(read.map((row) => byteText(rowJson(reading, selection, row))))),
    keys: columnsOf(keyed),
    totalCount: list.fields.some(({ kind }) => kind === 'totalCount') ? page.totalCount : null,
  }
}

function columnsOf(rows: readonly (readonly (string | null)[])[]): (string | null)[][] {
  return (rows[0] ?? []).map((_, column) => rows.map((row) => row[column] ?? null))
}

// --- pages -----------------------------------------------------------------------------------------------------------------------------------------------------

interface Page {
  readonly rows: readonly ViewRow[]
  /** Rows that fit, without regard to the page. */
  readonly totalCount: number
  /** There are rows beyond the limit. */
  readonly isCut: boolean
}

/** `plus` rows more than the limit. */
function pageOf(reading: Reading, list: ListPlan, candidates: readonly ViewRow[], plus: number): Page {
  const compare = rowComparator(reading, list)
  const fitting = candidates
    .filter((row) => fits(list.where, row, reading.values) && (!list.search || searchScore(reading, list.search, row) !== null))
    .sort(compare)
  const start = reading.plan.starts.get(list.path)
  const left = start ? fitting.filter((row) => isBeyond(reading, list, start, row)) : fitting
  const limit = limitOf(reading, list.limit) + plus
  const rows = list.backward ? left.slice(Math.max(0, left.length - limit)) : left.slice(0, limit)
  return { rows, totalCount: fitting.length, isCut: left.length > rows.length }
}

function limitOf(reading: Reading, operand: Operand): number {
  const limit = operandValue(operand, reading.values)
  invariant(typeof limit === 'number' && limit >= 0, 'a limit is a number')
  return limit
}

function rowComparator(reading: Reading, list: ListPlan): (a: ViewRow, b: ViewRow) => number {
  const bySort = sortComparator(reading, list)
  return (a, b) => bySort(sortTexts(reading, list, a), sortTexts(reading, list, b)) || compareKeys(a, a.keyTexts(), b.keyTexts())
}

function sortComparator(reading: Reading, list: ListPlan): (a: readonly (string | null)[], b: readonly (string | null)[]) => number {
  return orderComparator(
    list.order.map(({ path, field, descending, nulls }) => {
      const definition = path.reduce((entity, step) => targetOf(reading, entity, step), reading.entity(list.type)).fields.get(field)
      invariant(definition?.kind === 'value', 'an order goes by a value')
      return { type: definition.vector ? FLOAT : definition.type, descending, nulls }
    }),
  )
}

const FLOAT: ValueType = { kind: 'builtin', name: 'Float' }

function targetOf(reading: Reading, entity: EntityType, relation: string): EntityType {
  const field = entity.fields.get(relation)
  invariant(field?.kind === 'toOne', 'an order goes through relations to one')
  return reading.entity(field.target)
}

function sortTexts(reading: Reading, list: ListPlan, row: ViewRow): (string | null)[] {
  if (list.search) return [searchScore(reading, list.search, row)]
  return list.order.map(({ path, field }) => {
    const holder = path.reduce<ViewRow | undefined>((from, step) => from?.related(step)[0], row)
    const value = holder?.value(field) ?? null
    invariant(value === null || typeof value === 'string', 'an order goes by a scalar')
    return value
  })
}

/** Keys go by the order of their column, which for integers is not that of their texts; `like` is any row of the type. */
export function compareKeys(like: ViewRow, a: readonly string[], b: readonly string[]): number {
  for (const [index, field] of like.entity.key.entries()) {
    const definition = like.entity.fields.get(field)
    invariant(definition?.kind === 'value', 'a key is a value')
    const type: ValueType = INTEGERS.has(like.native(field) ?? '') ? { kind: 'builtin', name: 'BigInt' } : definition.type
    const order = compareSortKeys(type, a[index] ?? '', b[index] ?? '')
    if (order !== 0) return order
  }
  return 0
}

const INTEGERS: ReadonlySet<string> = new Set(['smallint', 'integer', 'bigint', 'numeric'])

/** Whether a row comes after the cursor in the direction of reading; see `PageStart`. */
function isBeyond(reading: Reading, list: ListPlan, start: PageStart, row: ViewRow): boolean {
  const text = (operand: Operand | undefined): string => {
    const value = operand ? operandValue(operand, reading.values) : null
    invariant(value !== null && typeof value !== 'object', 'a cursor has the values that it needs')
    return String(value)
  }
  const values = start.values.map((operand, index) => (start.nulls[index] ? null : text(operand)))
  const direction = list.backward ? -1 : 1
  const bySort = sortComparator(reading, list)(sortTexts(reading, list, row), values) * direction
  if (bySort !== 0) return bySort > 0
  // `after` is meant in the direction of reading as well.
  if (start.side !== 'same') return start.side === 'after'
  return compareKeys(row, row.keyTexts(), start.key.map(text)) * direction > 0
}

function cursorTexts(reading: Reading, list: ListPlan, row: ViewRow): (string | null)[] {
  return [...sortTexts(reading, list, row), ...row.keyTexts()]
}

// --- rows ------------------------------------------------------------------------------------------------------------------------------------------------------

function rowJson(reading: Reading, selection: RowSelection, row: ViewRow): string {
  return objectJson(selection.fields, (field) => rowFieldJson(reading, selection.type, field, row))
}

function rowFieldJson(reading: Reading, type: string, field: RowField, row: ViewRow): string {
  switch (field.kind) {
    case 'typename':
      return jsonString(type)
    case 'id':
      return jsonString(row.id)
    case 'organization':
      return jsonString(reading.plan.organization)
    case 'absent':
      return 'null'
    case 'value': {
      const definition = row.entity.fields.get(field.field)
      invariant(definition?.kind === 'value', `\`${field.field}\` is a value`)
      const value = row.value(field.field)
      return typeof value === 'string' || value === null ? valueJson(definition.type, value) : listJson(definition.type, value)
    }
    case 'reference':
      throw new Error(STEPS)
    case 'traversal':
      return traversalJson(reading, field.traversal, row)
    case 'toOne': {
      const [target] = row.shows(field.field) ? row.related(field.field) : []
      return target ? rowJson(reading, field.row, target) : 'null'
    }
    case 'list':
      // A list that may not be seen is null, never empty.
      return row.shows(field.field) ? connectionJson(reading, field.list, pageOf(reading, field.list, row.related(field.field), 0)) : 'null'
    case 'aggregate': {
      if (!row.shows(field.field)) return 'null'
      const { aggregate } = field
      const entity = reading.entity(aggregate.type)
      const groups = releasedGroups(aggregate, entity, groupsOf(reading, aggregate, row.related(field.field)), (operand) =>
        operandValue(operand, reading.values),
      )
      return aggregateJson(aggregate, entity, groups)
    }
    case 'series':
      // For the gateway to combine and fill: see `Chunk`.
      return row.shows(field.field) ? `\x03${JSON.stringify([field.series.path, ...seriesTexts(reading, field.series, row.related(field.field))])}\x04` : 'null'
  }
}

/** Null where a relation of the step is absent: of that the caller may not even know where it leads. */
function traversalJson(reading: Reading, traversal: Traversal, start: ViewRow): string {
  const reached = rowsReached(reading, traversal, start)
  if (!reached) return 'null'
  const fitting = reached.filter(({ row }) => fits(traversal.where, row, reading.values))
  fitting.sort((a, b) => a.depth - b.depth || compareKeys(a.row, a.row.keyTexts(), b.row.keyTexts()))
  const shown = fitting.slice(0, limitOf(reading, traversal.limit))
  return objectJson(traversal.fields, (field) => {
    if (field.kind === 'typename') return jsonString(`${traversal.type}Related`)
    return `[${shown.map((each) => objectJson(field.fields, (member) => reachedJson(reading, traversal, each, member))).join(',')}]`
  })
}

function reachedJson(reading: Reading, { type }: Traversal, { row, depth }: Reached, field: TraversalEdgeField): string {
  switch (field.kind) {
    case 'typename':
      return jsonString(`${type}RelatedEdge`)
    case 'depth':
      return String(depth)
    case 'node':
      return rowJson(reading, field.row, row)
  }
}

function connectionJson(reading: Reading, list: ListPlan, page: Page): string {
  return objectJson(list.fields, (field) => connectionFieldJson(reading, list, page, field))
}

function connectionFieldJson(reading: Reading, list: ListPlan, page: Page, field: ConnectionField): string {
  switch (field.kind) {
    case 'typename':
      return jsonString(`${list.type}Connection`)
    case 'totalCount':
      return String(page.totalCount)
    case 'nodes':
      return `[${page.rows.map((row) => rowJson(reading, field.row, row)).join(',')}]`
    case 'edges':
      return `[${page.rows.map((row) => objectJson(field.fields, (edge) => edgeFieldJson(reading, list, row, edge))).join(',')}]`
    case 'pageInfo':
      return objectJson(field.fields, (info) => pageInfoFieldJson(reading, list, page, reading.plan.starts.has(list.path), info))
  }
}

function edgeFieldJson(reading: Reading, list: ListPlan, row: ViewRow, field: EdgeField): string {
  switch (field.kind) {
    case 'typename':
      return jsonString(`${list.type}Edge`)
    case 'cursor':
      return rawCursor(reading, list, row)
    case 'score':
      throw new Error('invariant: a nested list is no search')
    case 'node':
      return rowJson(reading, field.row, row)
  }
}

function pageInfoFieldJson(reading: Reading, list: ListPlan, page: Page, isContinued: boolean, { kind }: PageInfoField): string {
  const [first, last] = [page.rows[0], page.rows.at(-1)]
  switch (kind) {
    case 'typename':
      return jsonString('PageInfo')
    case 'hasNextPage':
      return String(list.backward ? isContinued : page.isCut)
    case 'hasPreviousPage':
      return String(list.backward ? page.isCut : isContinued)
    case 'startCursor':
      return first ? rawCursor(reading, list, first) : 'null'
    case 'endCursor':
      return last ? rawCursor(reading, list, last) : 'null'
  }
}

/** For the gateway to seal: see `Chunk`. */
function rawCursor(reading: Reading, list: ListPlan, row: ViewRow): string {
  return `\x01${JSON.stringify([list.path, ...cursorTexts(reading, list, row)])}\x02`
}

function objectJson<Selected extends { readonly responseKey: string }>(fields: readonly Selected[], textOf: (field: Selected) => string): string {
  return `{${fields.map((field) => `${jsonString(field.responseKey)}:${textOf(field)}`).join(',')}}`
}

// --- groups ----------------------------------------------------------------------------------------------------------------------------------------------------

function rootGroups(reading: Reading, aggregate: AggregatePlan): Chunk {
  const groups = released(reading, aggregate, reading.viewRows(aggregate.type)).map((group) => groupTexts(aggregate, group))
  return { count: groups.length, texts: [], keys: columnsOf(groups), totalCount: null }
}

/** The owner's own groups; where owners are combined, the plan that each of them gets has neither `having` nor a limit. */
function released(reading: Reading, aggregate: AggregatePlan, candidates: readonly ViewRow[]): Group[] {
  const groups = groupsOf(reading, aggregate, candidates)
  return releasedGroups(aggregate, reading.entity(aggregate.type), groups, (operand) => operandValue(operand, reading.values))
}

function groupsOf(reading: Reading, aggregate: AggregatePlan, candidates: readonly ViewRow[]): Group[] {
  const entity = reading.entity(aggregate.type)
  const groups = new Map<string, { readonly keys: readonly string[]; readonly rows: ViewRow[] }>()
  // Without keys there is one group, be it over no rows.
  if (aggregate.groupBy.length === 0) groups.set('[]', { keys: [], rows: [] })
  for (const row of candidates) {
    if (!fits(aggregate.where, row, reading.values)) continue
    const keys = aggregate.groupBy.map((key) => groupKeyJson(reading, key, row))
    const name = JSON.stringify(keys)
    const group = groups.get(name) ?? { keys, rows: [] }
    group.rows.push(row)
    groups.set(name, group)
  }
  return [...groups.values()].map(({ keys, rows }) => ({
    keys,
    count: BigInt(rows.length),
    measures: aggregate.measures.map((measure) => measureParts(entity, measure, rows)),
  }))
}

export function groupKeyJson(reading: Reading, { field, unit, timezone }: GroupKey, row: ViewRow): string {
  if (field === ORGANIZATION_FIELD) return jsonString(reading.plan.organization)
  const definition = row.entity.fields.get(field)
  const value = row.value(field)
  invariant(definition?.kind === 'value' && (value === null || typeof value === 'string'), 'a key of a group is a scalar')
  // What has no JSON form belongs to the group of nulls, whatever its unit would be.
  if (value === null || unit === null || valueJson(definition.type, value) === 'null') return valueJson(definition.type, value)
  const isMoment = definition.type.kind === 'builtin' && definition.type.name === 'DateTime'
  return valueJson(definition.type, isMoment ? startOfUnitIn(timezone ?? 'UTC', value, unit) : startOfUnit(value, unit))
}

export function measureParts(entity: EntityType, { fn, field }: Measure, rows: readonly ViewRow[]): MeasureParts {
  const definition = entity.fields.get(field)
  if (definition?.kind === 'toOne') {
    invariant(fn === 'countDistinct', 'rows are counted only')
    return { kind: fn, count: BigInt(new Set(rows.flatMap((row) => row.related(field).map(({ id }) => id))).size) }
  }
  invariant(definition?.kind === 'value', `\`${field}\` is a value`)
  const { type } = definition
  const values = rows.map((row) => row.value(field)).filter((value) => typeof value === 'string')
  switch (fn) {
    case 'sum':
    case 'avg': {
      const sum = values.length === 0 ? null : sumDecimals(values.map(parseDecimal))
      return fn === 'sum' ? { kind: fn, sum } : { kind: fn, sum, count: BigInt(values.length) }
    }
    case 'min':
    case 'max':
      return { kind: fn, value: extreme(fn, type, values) }
    case 'countDistinct':
      return { kind: fn, count: BigInt(new Set(values.map((value) => distinctText(type, value))).size) }
  }
}

/** Of values that are equal but print differently one must be meant: zero has no sign, and a decimal has the largest scale of all. */
function extreme(fn: 'min' | 'max', type: ValueType, values: readonly string[]): string | null {
  const [first] = [...values].sort((a, b) => compareSortKeys(type, a, b) * (fn === 'min' ? 1 : -1))
  if (first === undefined || type.kind === 'enum') return first ?? null
  if (type.name === 'Float') return first === '-0' ? '0' : first
  return type.name === 'Decimal' ? printDecimal(addDecimals(parseDecimal(first), atScaleOf(values.map(parseDecimal)))) : first
}

/** Zero, at the largest scale of the finite ones. */
function atScaleOf(values: readonly Decimal[]): Decimal {
  return { kind: 'finite', units: 0n, scale: Math.max(0, ...values.map((value) => (value.kind === 'finite' ? value.scale : 0))) }
}

const NUMBERS: ReadonlySet<string> = new Set(['Int', 'BigInt', 'Decimal', 'Float'])

/** Equal values have equal texts: 1.0 and 1.00 are one, and so are 0 and -0. */
function distinctText(type: ValueType, sortKey: string): string {
  return type.kind === 'builtin' && NUMBERS.has(type.name) ? printDecimal(trimDecimal(parseDecimal(sortKey))) : sortKey
}
