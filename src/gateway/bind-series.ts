/** Series: the buckets of a range, groups and measures. */
import type { FieldNode, GraphQLObjectType } from 'graphql'
import { getNamedType } from 'graphql'
import { GatewayError, invariant } from '../errors.js'
import { bucketBounds } from '../query/buckets.js'
import type { EntityType } from '../query/catalog.js'
import { ORGANIZATION_FIELD } from '../query/catalog.js'
import type { BucketField, BucketOperands, Fill, SeriesField, SeriesMeasure, SeriesPlan } from '../query/plan.js'
import { and, type Operand, type Scalar } from '../query/predicate.js'
import { COUNT_COST, groupKeysOf, ONE } from './bind-aggregate.js'
import { whereOf } from './bind-where.js'
import type { CostNode } from './bound-plan.js'
import { argumentsOf, type Binding, fieldsOf, firstOf, operandOf, optionalOperand, present, selectionsOf } from './document.js'
import { type Input, placeOf, slot } from './input.js'

/** Notes a measure that the plan needs, once, and the use of its field; gives its index. */
type MakeMeasure = (measure: SeriesMeasure, node: FieldNode) => number

export function bindSeries(
  entity: EntityType,
  nodes: readonly FieldNode[],
  args: ReadonlyMap<string, Input>,
  path: string,
  context: Binding,
): { readonly series: SeriesPlan; readonly cost: CostNode } {
  const { seriesTime: time } = entity
  invariant(time !== null, `\`${entity.name}\` has a series`)
  const place = placeOf(firstOf(nodes))
  for (const how of ['range', 'group'] as const) context.uses.push({ type: entity.name, field: time, how, place })
  const buckets = bucketOperands(args)
  const given = whereOf(entity, present(args.get('where')), `${path}.where`, context)
  const groupBy = groupKeysOf(entity, present(args.get('groupBy')), `${path}.groupBy`, context)
  const bucketsMax = context.limits.seriesBuckets
  const { bounds, from, to } = derivedTimes(isLocal(entity, time), buckets, { path, bucketsMax }, context)
  const where = and([{ kind: 'compare', field: time, op: '>=', operand: from }, { kind: 'compare', field: time, op: '<', operand: to }, given])
  const { fields, measures } = seriesFieldsOf(entity, nodes, path, context)
  const fill = present(args.get('fill'))
  return {
    series: {
      ...{ type: entity.name, time, where, buckets, bounds, groupBy, measures, bucketsMax, fields, path },
      fill: fill?.kind === 'leaf' ? (String(fill.current) as Fill) : null, // checked by the schema's enum
    },
    // There is one bound more than there are buckets.
    cost: { rows: bounds, fixed: COUNT_COST * (1 + measures.length) - 1, nested: isGrouped(groupBy) ? [MORE_GROUPS] : [] },
  }
}

/** How many groups there are is for the store to say; a bucket of groups counts as five. */
const MORE_GROUPS: CostNode = { rows: ONE, fixed: 3, nested: [] }

function isGrouped(groupBy: SeriesPlan['groupBy']): boolean {
  return groupBy.some(({ field }) => field !== ORGANIZATION_FIELD)
}

function bucketOperands(args: ReadonlyMap<string, Input>): BucketOperands {
  const range = args.get('range')
  invariant(range?.kind === 'object', 'a range is required')
  return {
    from: operandOf(range.fields.get('from')),
    to: operandOf(range.fields.get('to')),
    width: operandOf(args.get('bucket')),
    timezone: optionalOperand(args.get('timezone')) ?? { kind: 'constant', value: 'UTC' },
    origin: optionalOperand(args.get('origin')),
  }
}

function isLocal(entity: EntityType, time: string): boolean {
  const field = entity.fields.get(time)
  return field?.kind === 'value' && field.type.name === 'LocalDateTime'
}

/** The times that stores are asked with, in the type of the time field. */
function derivedTimes(
  local: boolean,
  buckets: BucketOperands,
  { path, bucketsMax }: { readonly path: string; readonly bucketsMax: number },
  { slots }: Binding,
): Record<'bounds' | 'from' | 'to', Operand> {
  const { from, to, width, timezone, origin } = buckets
  const derive = (values: readonly (Scalar | readonly Scalar[] | null)[]): readonly string[] => {
    const [start = '', end = '', length = '', zone = '', first = null] = values.map((value) => (value === null ? null : String(value)))
    invariant(start !== null && end !== null && length !== null && zone !== null, 'required arguments')
    if (local && zone !== 'UTC') throw new GatewayError('BAD_USER_INPUT', 'a series of times without a zone has no time zone', { argument: `${path}.timezone` })
    const texts = bucketBounds({ from: start, to: end, width: length, timezone: zone, origin: first }, { bucketsMax, path })
    return local ? texts : texts.map((text) => `${text}Z`)
  }
  const bounds = slot(slots, { kind: 'derived', of: [from, to, width, timezone, origin], derive })
  const clock = (operand: Operand): Operand =>
    local ? slot(slots, { kind: 'derived', of: [operand], derive: ([value]) => String(value).replace(/Z$/, '') }) : operand
  return { bounds, from: clock(from), to: clock(to) }
}

// --- fields ----------------------------------------------------------------------------------------------------------------------------------------------------

function seriesFieldsOf(
  entity: EntityType,
  nodes: readonly FieldNode[],
  path: string,
  context: Binding,
): { readonly fields: readonly SeriesField[]; readonly measures: readonly SeriesMeasure[] } {
  const measures: SeriesMeasure[] = []
  const note: MakeMeasure = (measure, node) => {
    const name = JSON.stringify(measure)
    const known = measures.findIndex((candidate) => JSON.stringify(candidate) === name)
    if (known >= 0) return known
    const place = placeOf(node)
    context.uses.push({ type: entity.name, field: measure.field, how: 'measure', place })
    const isOrdered = measure.fn === 'first' || measure.fn === 'last' || measure.fn === 'rate'
    if (isOrdered && entity.seriesTime !== null) context.uses.push({ type: entity.name, field: entity.seriesTime, how: 'order', place })
    return measures.push(measure) - 1
  }
  const object = context.schema.getType(`${entity.name}Series`) as GraphQLObjectType
  const fields = [...fieldsOf(selectionsOf(nodes), object, context)].map(([responseKey, inner]): SeriesField => {
    const name = firstOf(inner).name.value
    if (name === '__typename') return { kind: 'typename', responseKey }
    if (name === 'buckets') return { kind: 'buckets', responseKey, fields: bucketFieldsOf(entity, inner, `${path}.${responseKey}`, note, context) }
    const keys = context.schema.getType(`${entity.name}GroupKeys`) as GraphQLObjectType
    const leaves = [...fieldsOf(selectionsOf(inner), keys, context)].map(([key, leaf]) => ({ responseKey: key, key: firstOf(leaf).name.value }))
    return { kind: 'keys', responseKey, fields: leaves }
  })
  return { fields, measures }
}

function bucketFieldsOf(entity: EntityType, nodes: readonly FieldNode[], path: string, note: MakeMeasure, context: Binding): readonly BucketField[] {
  const bucket = context.schema.getType(`${entity.name}Bucket`) as GraphQLObjectType
  return [...fieldsOf(selectionsOf(nodes), bucket, context)].map(([responseKey, inner]): BucketField => {
    const node = firstOf(inner)
    const name = node.name.value
    if (name === '__typename') return { kind: 'typename', responseKey }
    if (name === 'start' || name === 'end' || name === 'count') return { kind: name, responseKey }
    const definition = bucket.getFields()[name]
    invariant(definition, `bucket has ${name}`)
    const fn = name as SeriesMeasure['fn'] // the schema has no other field
    const p = fn === 'percentile' ? operandOf(argumentsOf(node, definition.args, context).get('p')) : null
    if (p) context.checks.push({ operand: p, kind: 'fraction', argument: `${path}.${responseKey}.p` })
    const leaves = [...fieldsOf(selectionsOf(inner), getNamedType(definition.type) as GraphQLObjectType, context)].map(([key, leaf]) => {
      const field = firstOf(leaf).name.value
      if (field === '__typename') return { responseKey: key, measure: null }
      return { responseKey: key, measure: note(p ? { fn: 'percentile', field, p } : { fn: fn as Exclude<typeof fn, 'percentile'>, field }, firstOf(leaf)) } // p or another
    })
    return { kind: 'measures', responseKey, fn, fields: leaves }
  })
}
