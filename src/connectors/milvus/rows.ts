/** Rows of a collection as Milvus gives them: in the order of the key, or those that are near. */
import type { MilvusClient } from '@zilliz/milvus2-sdk-node'
import { GatewayError } from '../../errors.js'
import { compareText } from '../../query/order.js'
import { elementsOf } from '../../query/score.js'
import { call, type CallOptions, type Message, messageOf, pairs } from './calls.js'
import { countOf, type Rows, rowsOf } from './columns.js'
import { oneOf } from './comparison.js'
import { nonsense } from './driver-error.js'
import { filled } from './filter.js'
import { integerLiteral, nameText, textLiteral } from './literal.js'
import { hitsFor, HITS_MAX, isSettled, lengthOf, moreHits } from './nearest.js'
import { placeholderGroup } from './placeholder.js'
import type { Reading, SearchReading } from './reading.js'
import { SourceRow } from './row.js'

export interface Asking {
  readonly client: MilvusClient
  readonly options: CallOptions
  readonly reading: Reading
  /** The filled filter; null: every row fits. */
  readonly filter: string | null
  /** Rows that may be read to be ordered or scored here. */
  readonly rowsMax: number
}

/** A message of this many rows is no burden, whatever texts they hold. */
const PAGE_ROWS = 1_000

/** In ascending order of the key, after the one that is given. */
export async function firstRows(asking: Asking, limit: number, after: string | null): Promise<readonly SourceRow[]> {
  const { reading } = asking
  const { key, outputs } = reading
  const rows: SourceRow[] = []
  let last = after
  while (rows.length < limit) {
    const beyond = last === null ? null : afterKey(key, last)
    if (beyond === 'none') break
    const expression = [asking.filter, beyond].filter((term) => term !== null).map((term) => `(${term})`)
    const wanted = Math.min(PAGE_ROWS, limit - rows.length)
    const answer = await ask(asking, 'Query', { expr: expression.join(' and '), output_fields: outputs, query_params: pairs({ limit: wanted }) })
    const count = countOf(answer.fields_data, key.column)
    if (count > wanted) throw nonsense('more rows than were asked for')
    const page = sourceRows(reading, rowsOf(answer.fields_data, outputs, count))
    for (const row of page) {
      const text = row.keyText()
      // Milvus gives the least keys first, by which its own iterators go on; a page out of order would have left rows out.
      if (last !== null && compareKeys(key.native, last, text) >= 0) throw nonsense('rows out of the order of their keys')
      last = text
    }
    rows.push(...page)
    if (count < wanted) break
  }
  return rows
}

/** Every row that fits. @throws GatewayError QUERY_TOO_COSTLY where they are more than may be read. */
export async function allRows(asking: Asking): Promise<readonly SourceRow[]> {
  const rows = await firstRows(asking, asking.rowsMax + 1, null)
  if (rows.length > asking.rowsMax)
    throw new GatewayError('QUERY_TOO_COSTLY', `more than ${asking.rowsMax} rows would have to be read`, { organization: asking.reading.organization })
  return rows
}

export async function countRows(asking: Asking): Promise<number> {
  const answer = await ask(asking, 'Query', { expr: asking.filter ?? '', output_fields: ['count(*)'], query_params: [] })
  const counted = rowsOf(answer.fields_data, ['count(*)'], 1).stored(0)('count(*)')
  return Number(counted)
}

/**
 * At least the `wanted` nearest rows of those that `scoreOfRow` has a score for, and others, in no order. What the server cannot tell in single precision, or gives too few
 * rows of, is left to be scored over all rows that fit.
 */
export async function nearRows(
  asking: Asking,
  search: SearchReading,
  { target, wanted, scoreOfRow }: { readonly target: readonly number[]; readonly wanted: number; readonly scoreOfRow: (row: SourceRow) => number | null },
): Promise<readonly SourceRow[]> {
  const { near, column, metric, field } = search
  if (near === null || column === null || wanted > HITS_MAX) return allRows(asking)
  let asked = 0
  for (let hits: number | null = hitsFor(wanted, near); hits !== null; hits = moreHits(hits)) {
    asked = hits
    const found = await hitRows(asking, search, target, hits)
    const scores = found.rows.map(scoreOfRow)
    if (near === 'approximate') {
      if (scores.filter((score) => score !== null).length >= wanted) return found.rows
      break
    }
    // Rows without a score in single precision are not given at all, so that fewer than asked for may not be all.
    if (found.rows.length < hits || !found.numbers.every(Number.isFinite)) break
    const length = Math.max(...found.rows.map((row) => lengthOf(vectorOf(row, field) ?? [])))
    const last = metric === 'L2' ? Math.max(...found.numbers) : Math.min(...found.numbers)
    if (isSettled({ metric, target, scores, last, length }, wanted)) return found.rows
  }
  // Where they are fewer than the hits, they are no more than were asked for already.
  return allRows({ ...asking, rowsMax: Math.max(asking.rowsMax, asked) })
}

/**
 * `numbers`: of Milvus, for each hit. Rows are read by their keys after the search: asked for vectors, a search of Milvus 2.3 takes 300 ms to wait for what is newest, where
 * the two take 20. A row that was changed or hidden meanwhile is not among them.
 */
async function hitRows(
  asking: Asking,
  { column, metric }: SearchReading,
  target: readonly number[],
  hits: number,
): Promise<{ readonly rows: readonly SourceRow[]; readonly numbers: readonly number[] }> {
  const params = JSON.stringify({ ef: hits, nprobe: 64, search_list: hits }) // each kind of index takes its own
  const answer = await ask(asking, 'Search', {
    dsl: asking.filter ?? '',
    dsl_type: 'BoolExprV1',
    placeholder_group: placeholderGroup(target),
    output_fields: [],
    nq: 1,
    search_params: pairs({ anns_field: column ?? '', topk: hits, metric_type: METRICS[metric], params, round_decimal: -1, ignore_growing: 'false' }),
  })
  const results = messageOf(answer.results)
  const numbers = Array.isArray(results.scores) ? results.scores.map(Number) : []
  const keys = keysOf(results.ids)
  if (numbers.length > hits || keys.length !== numbers.length || new Set(keys).size !== keys.length) throw nonsense('hits that are none')
  const isHit = filled(oneOf(asking.reading.key, keys), NO_VALUES)
  if (typeof isHit === 'boolean') return { rows: [], numbers }
  const filter = asking.filter === null ? isHit : `(${asking.filter}) and (${isHit})`
  return { rows: await firstRows({ ...asking, filter }, keys.length, null), numbers }
}

const NO_VALUES = { slots: [], claims: new Map() }

function keysOf(ids: unknown): readonly string[] {
  if (ids === null || ids === undefined) return []
  const { id_field: kind, ...held } = messageOf(ids)
  if (typeof kind !== 'string') return []
  const { data } = messageOf(held[kind])
  if (!Array.isArray(data) || !data.every((key) => typeof key === 'string' && (kind === 'str_id' || /^-?\d+$/.test(key))))
    throw nonsense('keys of another type')
  return data
}

export const METRICS = { COSINE: 'COSINE', L2: 'L2', INNER_PRODUCT: 'IP' } as const

/** The consistency of what is read is the collection's own, which its owner has chosen. */
function ask({ client, options, reading }: Asking, method: 'Query' | 'Search', request: Message): Promise<Message> {
  return call(client, method, { collection_name: reading.context.table.table, use_default_consistency: true, ...request }, options)
}

function sourceRows({ context }: Reading, { count, stored }: Rows): readonly SourceRow[] {
  return Array.from({ length: count }, (_, row) => new SourceRow(context, stored(row)))
}

function vectorOf(row: SourceRow, field: string): readonly number[] | null {
  const text = row.value(field)
  return typeof text === 'string' ? elementsOf(text) : null
}

function afterKey({ column, native }: Reading['key'], last: string): string | 'none' {
  if (native === 'VarChar') return `${nameText(column)} > ${textLiteral(last)}`
  const next = BigInt(last) + 1n
  return next === 2n ** 63n ? 'none' : `${nameText(column)} >= ${integerLiteral(next)}`
}

function compareKeys(native: string, a: string, b: string): number {
  return native === 'VarChar' ? compareText(a, b) : Number(BigInt(a) > BigInt(b)) - Number(BigInt(a) < BigInt(b))
}
