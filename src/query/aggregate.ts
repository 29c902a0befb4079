/**
 * Aggregates over several owners. A store gives parts that can be combined without loss (an average as its sum and count); the parts of all owners are combined
 * by group, then conditions, order and limit act on the released values, which are what the caller sees. `avg` and `sum` of decimals are exact.
 */
import { invariant } from '../errors.js'
import type { EntityType, ValueType } from './catalog.js'
import { ORGANIZATION_FIELD } from './catalog.js'
import type { Decimal } from './decimal.js'
import { addDecimals, divideDecimal, floatQuotient, parseDecimal, printDecimal, printFloat } from './decimal.js'
import { compareNullable, compareSortKeys, compareText, fitsOrder } from './order.js'
import type { AggregatePlan, GroupField, GroupKey, GroupOrder, Having, Measure } from './plan.js'
import type { Operand, Scalar } from './predicate.js'
import { jsonString, operandSortKey, valueJson } from './value.js'

/** What a store gives for one measure of one group; in `Row.keys` as the texts of its members after `kind`, in this order. */
export type MeasureParts =
  /** The exact sum, null over no values: an integer for integers, else at the largest scale of its terms; floats count as their shortest decimal. */
  | { readonly kind: 'sum'; readonly sum: Decimal | null }
  /** `count` is the number of values that are not null. */
  | { readonly kind: 'avg'; readonly sum: Decimal | null; readonly count: bigint }
  /** A sort key. */
  | { readonly kind: 'min' | 'max'; readonly value: string | null }
  /** Of one owner only: distinct values of two owners cannot be told apart by their number. */
  | { readonly kind: 'countDistinct'; readonly count: bigint }

export interface Group {
  /** JSON texts in the order of `groupBy`, the organization included. */
  readonly keys: readonly string[]
  readonly count: bigint
  /** In the order of `measures`. */
  readonly measures: readonly MeasureParts[]
}

/** The plan's own words for a group of one owner, from `Row.keys`. */
export function readGroup(plan: AggregatePlan, texts: readonly (string | null)[], organization: string): Group {
  let next = 0
  const take: Take = () => {
    const text = texts[next++]
    invariant(text !== undefined, 'a group lacks parts')
    return text
  }
  const taken = (): string => present(take())
  const keys = plan.groupBy.map((key) => (key.field === ORGANIZATION_FIELD ? jsonString(organization) : taken()))
  const count = BigInt(taken())
  const measures = plan.measures.map(({ fn }) => readParts(fn, take))
  invariant(next === texts.length, 'a group has parts that nobody asked for')
  return { keys, count, measures }
}

/** Gives the texts of a group one by one. */
export type Take = () => string | null

export function present(text: string | null): string {
  invariant(text !== null, 'a part of a group is null')
  return text
}

export function readParts(fn: Measure['fn'], take: Take): MeasureParts {
  switch (fn) {
    case 'sum':
      return { kind: 'sum', sum: nullable(take(), parseDecimal) }
    case 'avg':
      return { kind: 'avg', sum: nullable(take(), parseDecimal), count: BigInt(present(take())) }
    case 'min':
    case 'max':
      return { kind: fn, value: take() }
    case 'countDistinct':
      return { kind: 'countDistinct', count: BigInt(present(take())) }
  }
}

/** `Row.keys` of a group: what `readGroup` reads. */
export function groupTexts(plan: AggregatePlan, group: Group): (string | null)[] {
  const keys = group.keys.filter((_, index) => plan.groupBy[index]?.field !== ORGANIZATION_FIELD)
  return [...keys, group.count.toString(), ...group.measures.flatMap(partTexts)]
}

export function partTexts(parts: MeasureParts): (string | null)[] {
  switch (parts.kind) {
    case 'sum':
      return [nullable(parts.sum, printDecimal)]
    case 'avg':
      return [nullable(parts.sum, printDecimal), parts.count.toString()]
    case 'min':
    case 'max':
      return [parts.value]
    case 'countDistinct':
      return [parts.count.toString()]
  }
}

/** The groups of no rows: one without keys, none with keys. */
export function emptyGroups(plan: AggregatePlan): Group[] {
  if (plan.groupBy.length > 0) return []
  const measures = plan.measures.map(({ fn }): MeasureParts => {
    switch (fn) {
      case 'sum':
        return { kind: fn, sum: null }
      case 'avg':
        return { kind: fn, sum: null, count: 0n }
      case 'min':
      case 'max':
        return { kind: fn, value: null }
      case 'countDistinct':
        return { kind: fn, count: 0n }
    }
  })
  return [{ keys: [], count: 0n, measures }]
}

/**
 * One group for each list of keys. Without `groupBy` there is exactly one group, over no rows as well; otherwise a group has rows.
 *
 * INVARIANT: with `countDistinct` no two owners share a group (the planner refuses that as NOT_EXACT).
 */
export function combineGroups(plan: AggregatePlan, entity: EntityType, groups: readonly Group[]): Group[] {
  const combined = new Map<string, Group>()
  for (const group of groups) {
    if (group.count === 0n && plan.groupBy.length > 0) continue
    const name = JSON.stringify(group.keys)
    const other = combined.get(name)
    combined.set(name, other ? combine(plan, entity, [other, group]) : group)
  }
  return [...combined.values()]
}

/** The groups of a plan that nobody is asked for. (An owner that is asked and gives none has none that `having` lets through.) */
export function groupsOfNobody(plan: AggregatePlan): Group[] {
  return plan.groupBy.length > 0 ? [] : [{ keys: [], count: 0n, measures: plan.measures.map(({ fn }) => NOTHING[fn]) }]
}

/** A measure over no rows. */
const NOTHING: Readonly<Record<Measure['fn'], MeasureParts>> = {
  sum: { kind: 'sum', sum: null },
  avg: { kind: 'avg', sum: null, count: 0n },
  min: { kind: 'min', value: null },
  max: { kind: 'max', value: null },
  countDistinct: { kind: 'countDistinct', count: 0n },
}

function combine(plan: AggregatePlan, entity: EntityType, [a, b]: readonly [Group, Group]): Group {
  const measures = plan.measures.map((measure, index): MeasureParts => {
    const [x, y] = [a.measures[index], b.measures[index]]
    invariant(x && y, 'groups of one plan have the same measures')
    return combineParts(entity, measure.field, [x, y])
  })
  return { keys: a.keys, count: a.count + b.count, measures }
}

export function combineParts(entity: EntityType, field: string, [x, y]: readonly [MeasureParts, MeasureParts]): MeasureParts {
  invariant(x.kind === y.kind, 'groups of one plan have the same measures')
  switch (x.kind) {
    case 'sum':
      return { kind: 'sum', sum: sumOf(x.sum, (y as typeof x).sum) }
    case 'avg':
      return { kind: 'avg', sum: sumOf(x.sum, (y as typeof x).sum), count: x.count + (y as typeof x).count }
    case 'min':
    case 'max':
      return { kind: x.kind, value: extreme(x.kind, fieldType(entity, field), [x.value, (y as typeof x).value]) }
    case 'countDistinct':
      // Only an owner without rows can stand beside another one here.
      invariant(x.count === 0n || (y as typeof x).count === 0n, 'distinct values of two owners cannot be counted together')
      return { kind: 'countDistinct', count: x.count + (y as typeof x).count }
  }
}

export function sumOf(a: Decimal | null, b: Decimal | null): Decimal | null {
  return a && b ? addDecimals(a, b) : (a ?? b)
}

function extreme(fn: 'min' | 'max', type: ValueType, [a, b]: readonly [string | null, string | null]): string | null {
  if (a === null || b === null) return a ?? b
  const isFirst = compareSortKeys(type, a, b) <= 0
  return isFirst === (fn === 'min') ? a : b
}

/** The groups that `having` lets through, in order, cut to the limit. `valueOf` gives an operand's value, null where there is none. */
export function releasedGroups(
  plan: AggregatePlan,
  entity: EntityType,
  groups: readonly Group[],
  valueOf: (operand: Operand) => Scalar | readonly Scalar[] | null,
): Group[] {
  const limit = valueOf(plan.limit)
  invariant(typeof limit === 'number', 'a limit is a number')
  return groups
    .filter((group) => matchesHaving(plan, entity, group, valueOf))
    .sort(groupComparator(plan, entity))
    .slice(0, limit)
}

/** Whether a released group fits. Two-valued: a value that is null fits nothing but `isNull`. */
export function matchesHaving(
  plan: AggregatePlan,
  entity: EntityType,
  group: Group,
  valueOf: (operand: Operand) => Scalar | readonly Scalar[] | null,
  having: Having = plan.having,
): boolean {
  const matches = (term: Having): boolean => matchesHaving(plan, entity, group, valueOf, term)
  switch (having.kind) {
    case 'all':
      return true
    case 'none':
      return false
    case 'and':
      return having.terms.every(matches)
    case 'or':
      return having.terms.some(matches)
    case 'not':
      return !matches(having.term)
    case 'isNull':
      return releasedOf(plan, entity, group, having.of).sortKey === null
    case 'compare':
      return holds(releasedOf(plan, entity, group, having.of), having.op, valueOf(having.operand))
    case 'in': {
      const released = releasedOf(plan, entity, group, having.of)
      return listOf(valueOf(having.operand)).some((value) => holds(released, '=', value))
    }
  }
}

function listOf(value: Scalar | readonly Scalar[] | null): readonly Scalar[] {
  return value === null ? [] : typeof value === 'object' ? value : [value]
}

function holds({ type, sortKey }: Released, op: '=' | '<' | '<=' | '>' | '>=', value: Scalar | readonly Scalar[] | null): boolean {
  if (sortKey === null || value === null || typeof value === 'object') return false
  const operand = operandSortKey(type, null, value)
  if (operand === null) return false
  return fitsOrder(op, compareSortKeys(type, sortKey, operand))
}

/** The order of released groups: as the plan says, then by the texts of the keys. */
export function groupComparator(plan: AggregatePlan, entity: EntityType): (a: Group, b: Group) => number {
  return (a, b) => {
    for (const by of plan.order) {
      const [x, y] = [orderedValue(plan, entity, a, by), orderedValue(plan, entity, b, by)]
      const order = compareNullable({ type: x.type, descending: by.descending, nulls: by.nulls }, x.sortKey, y.sortKey)
      if (order !== 0) return order
    }
    for (const [index, key] of a.keys.entries()) {
      const order = compareText(key, b.keys[index] ?? '')
      if (order !== 0) return order
    }
    return 0
  }
}

function orderedValue(plan: AggregatePlan, entity: EntityType, group: Group, { by }: GroupOrder): Released {
  if (by.kind !== 'key') return releasedOf(plan, entity, group, by.kind === 'count' ? 'count' : by.measure)
  const index = plan.groupBy.findIndex((key) => key.field === by.field)
  const text = group.keys[index]
  invariant(text !== undefined, 'groups are ordered by a key that they have')
  return { type: keyType(entity, by.field), sortKey: sortKeyOf(keyType(entity, by.field), text) }
}

/** The sort key of a group's key, from its JSON text. */
function sortKeyOf(type: ValueType, json: string): string | null {
  if (json === 'null') return null
  if (!json.startsWith('"')) return json
  const text = JSON.parse(json) as string // a JSON text that begins with a quote is a string
  return type.kind === 'builtin' && type.name === 'DateTime' ? text.slice(0, -1) : text
}

/** What the caller sees of a measure; null where its JSON is null. */
export interface Released {
  readonly type: ValueType
  readonly sortKey: string | null
}

const BIG_INT: ValueType = { kind: 'builtin', name: 'BigInt' }
const DECIMAL: ValueType = { kind: 'builtin', name: 'Decimal' }
const FLOAT: ValueType = { kind: 'builtin', name: 'Float' }

/** Averages of anything but floats are rounded to this many digits after the point. */
export const AVERAGE_DIGITS = 16

function releasedOf(plan: AggregatePlan, entity: EntityType, group: Group, of: 'count' | Measure): Released {
  if (of === 'count') return { type: BIG_INT, sortKey: group.count.toString() }
  const parts = group.measures[plan.measures.findIndex((measure) => measure.fn === of.fn && measure.field === of.field)]
  invariant(parts, 'a group has every measure that its plan uses')
  return shown(releasedParts(entity, of.field, parts))
}

/** What has no JSON form is null. */
export function shown(released: Released): Released {
  return valueJson(released.type, released.sortKey) === 'null' ? { type: released.type, sortKey: null } : released
}

export function releasedParts(entity: EntityType, field: string, parts: MeasureParts): Released {
  // Adding zero makes minus zero, which a number too small for a double becomes, zero.
  switch (parts.kind) {
    case 'countDistinct':
      return { type: BIG_INT, sortKey: parts.count.toString() }
    case 'min':
    case 'max':
      return { type: fieldType(entity, field), sortKey: parts.value }
    case 'sum': {
      const { sum } = parts
      if (isFloat(entity, field)) return { type: FLOAT, sortKey: nullable(sum, (exact) => printFloat(Number(printDecimal(exact)) + 0)) }
      return { type: isDecimal(entity, field) ? DECIMAL : BIG_INT, sortKey: nullable(sum, printDecimal) }
    }
    case 'avg': {
      const { sum, count } = parts
      if (sum === null || count === 0n) return { type: isFloat(entity, field) ? FLOAT : DECIMAL, sortKey: null }
      return quotient(entity, field, sum, count)
    }
  }
}

/** As an average is released. */
export function quotient(entity: EntityType, field: string, sum: Decimal, count: bigint): Released {
  if (isFloat(entity, field)) return { type: FLOAT, sortKey: printFloat(floatQuotient(sum, count) + 0) }
  return { type: DECIMAL, sortKey: printDecimal(divideDecimal(sum, count, AVERAGE_DIGITS)) }
}

/** The JSON text of the aggregate, with the released groups in their order. */
export function aggregateJson(plan: AggregatePlan, entity: EntityType, groups: readonly Group[]): string {
  const fields = plan.fields.map((field) => {
    if (field.kind === 'typename') return member(field.responseKey, jsonString(`${plan.type}Aggregate`))
    return member(field.responseKey, `[${groups.map((group) => groupJson(plan, entity, group, field.fields)).join(',')}]`)
  })
  return `{${fields.join(',')}}`
}

function groupJson(plan: AggregatePlan, entity: EntityType, group: Group, fields: readonly GroupField[]): string {
  const texts = fields.map((field) => {
    switch (field.kind) {
      case 'typename':
        return member(field.responseKey, jsonString(`${plan.type}Group`))
      case 'count':
        return member(field.responseKey, jsonString(group.count.toString()))
      case 'keys':
        return member(field.responseKey, keysJson(plan, group, field.fields))
      case 'sum':
      case 'avg':
      case 'min':
      case 'max':
      case 'countDistinct':
        return member(field.responseKey, measuresJson(plan, entity, group, field))
    }
  })
  return `{${texts.join(',')}}`
}

/** A field that is not grouped by is null. */
export function keysJson(
  plan: Pick<AggregatePlan, 'type' | 'groupBy'>,
  group: Pick<Group, 'keys'>,
  fields: readonly { readonly responseKey: string; readonly key: GroupKey['field'] }[],
): string {
  const texts = fields.map(({ responseKey, key }) => {
    if (key === '__typename') return member(responseKey, jsonString(`${plan.type}GroupKeys`))
    return member(responseKey, group.keys[plan.groupBy.findIndex(({ field }) => field === key)] ?? 'null')
  })
  return `{${texts.join(',')}}`
}

const MEASURE_TYPES = { sum: 'Sum', avg: 'Avg', min: 'Extreme', max: 'Extreme', countDistinct: 'CountDistinct' } as const

function measuresJson(plan: AggregatePlan, entity: EntityType, group: Group, { kind, fields }: Extract<GroupField, { kind: Measure['fn'] }>): string {
  const texts = fields.map(({ responseKey, field }) => {
    if (field === '__typename') return member(responseKey, jsonString(`${plan.type}${MEASURE_TYPES[kind]}`))
    const released = releasedOf(plan, entity, group, { fn: kind, field })
    return member(responseKey, valueJson(released.type, released.sortKey))
  })
  return `{${texts.join(',')}}`
}

export function member(responseKey: string, json: string): string {
  return `${jsonString(responseKey)}:${json}`
}

export function nullable<From, To>(value: From | null, to: (value: From) => To): To | null {
  return value === null ? null : to(value)
}

function keyType(entity: EntityType, field: string): ValueType {
  return field === ORGANIZATION_FIELD ? { kind: 'builtin', name: 'ID' } : fieldType(entity, field)
}

export function fieldType(entity: EntityType, name: string): ValueType {
  const field = entity.fields.get(name)
  invariant(field?.kind === 'value', 'a measure or key is a value field')
  return field.type
}

function isFloat(entity: EntityType, field: string): boolean {
  const type = fieldType(entity, field)
  return type.kind === 'builtin' && type.name === 'Float'
}

function isDecimal(entity: EntityType, field: string): boolean {
  const type = fieldType(entity, field)
  return type.kind === 'builtin' && type.name === 'Decimal'
}
