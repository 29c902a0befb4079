/** The JSON text of series: at the root from what the owners gave, nested from the rows that a store left in a row's text. */
import { byteText, type ByteText, textOf } from '../connectors/texts.js'
import { GatewayError, invariant } from '../errors.js'
import type { ListPlan, SeriesMeasure, SeriesPlan } from '../query/plan.js'
import { type BucketRow, type BucketTimes, listedBuckets, readBucket, seriesJson } from '../query/series.js'
import { microsOf } from '../query/zone.js'
import { nestedSeries } from './assemble.js'
import { operandValue } from './request-values.js'
import type { EngineParts, Run, Slots } from './run.js'

interface SeriesContext {
  readonly parts: Pick<EngineParts, 'catalog'>
  readonly run: Pick<Run, 'slots'>
}

/** @throws GatewayError QUERY_TOO_COSTLY where the series would list more buckets than the plan allows */
export function seriesText(plan: SeriesPlan, rows: readonly BucketRow[], { parts, run }: SeriesContext): string {
  const entity = parts.catalog.entities.get(plan.type)
  invariant(entity, 'a type of the contract')
  const times = timesOf(plan, run)
  if (listedBuckets(plan, rows, times) > plan.bucketsMax) throw new GatewayError('QUERY_TOO_COSTLY', `more than ${plan.bucketsMax} buckets in \`${plan.path}\``)
  const pOf = (measure: SeriesMeasure): number => Number(measure.fn === 'percentile' ? operandValue(measure.p, run.slots) : 0)
  return seriesJson(plan, entity, { rows, times, pOf })
}

/** By the values of a request: those of a nested series serve every row. */
const TIMES = new WeakMap<Slots, Map<SeriesPlan, BucketTimes>>()

function timesOf(plan: SeriesPlan, { slots }: Pick<Run, 'slots'>): BucketTimes {
  const known = TIMES.get(slots) ?? new Map<SeriesPlan, BucketTimes>()
  TIMES.set(slots, known)
  const times = known.get(plan) ?? madeTimes(plan, slots)
  known.set(plan, times)
  return times
}

function madeTimes({ bounds, buckets }: SeriesPlan, slots: Slots): BucketTimes {
  const given = operandValue(bounds, slots)
  invariant(Array.isArray(given), 'bounds are a list')
  const texts = given.map((bound) => String(bound).replace(/Z$/, ''))
  const micros = (operand: SeriesPlan['bounds']): bigint => microsOf(String(operandValue(operand, slots)))
  const indexOf = new Map(texts.slice(0, -1).map((start, index) => [start, index]))
  return { bounds: texts, indexOf, micros: texts.map(microsOf), fromMicros: micros(buckets.from), toMicros: micros(buckets.to) }
}

/** Replaces the rows of each nested series (U+0003, a JSON list of path and rows, U+0004) by its JSON. A raw control character cannot be in JSON otherwise. */
export function withNestedSeries(text: ByteText, organization: string, list: ListPlan, context: SeriesContext): ByteText {
  return text.replace(RAW_SERIES, (_match, json: string) => {
    const [path, ...rows] = JSON.parse(textOf(json as ByteText)) as [string, ...(string | null)[][]] // a piece of bytes; written by our own statement
    const plan = nestedSeries(list).get(path)
    invariant(plan, `nested series \`${path}\``)
    return byteText(
      seriesText(
        plan,
        rows.map((texts) => readBucket(plan, texts, organization)),
        context,
      ),
    )
  }) as ByteText // the brand: bytes for bytes
}

const RAW_SERIES = /\u0003([^\u0004]*)\u0004/g
