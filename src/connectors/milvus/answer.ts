/** The rows of a statement in their order, cut to the page, as JSON. */
import type { ValueType } from '../../query/catalog.js'
import { operandValue } from '../../query/evaluate.js'
import { elementsOf, scoreOf, scoreText } from '../../query/score.js'
import type { Chunk, Values } from '../connector.js'
import { chunkOf, cut, isLeft, type Order, orderOf, type PageReading, rowsOfKeys, type SortedRow, textOf, wantedRows } from '../flat-page.js'
import { ShownRow, valueField } from '../shown-row.js'
import { INTEGER_BITS } from './field-type.js'
import type { Reading } from './reading.js'
import type { SourceRow } from './row.js'
import { allRows, type Asking, countRows, firstRows, nearRows } from './rows.js'

/** `fits` false: no row can. */
export async function answerOf(asking: Asking, values: Values, fits: boolean): Promise<Chunk> {
  const { reading } = asking
  if (reading.keys) {
    const rows = fits ? await allRows(asking) : []
    return rowsOfKeys(
      pageOf(reading),
      rows.map((row) => shown(reading, row, values)),
      reading.keys,
      values,
    )
  }
  const totalCount = reading.hasTotal ? (fits ? await countRows(asking) : 0) : null
  return chunkOf(pageOf(reading), fits ? await pageRows(asking, values) : [], totalCount)
}

/** One row more than the page, which tells whether there are more; a list that goes backward is read from its end. */
async function pageRows(asking: Asking, values: Values): Promise<readonly SortedRow[]> {
  const { reading } = asking
  const { list, start } = reading
  const wanted = wantedRows(reading, values)
  if (reading.search === null && list.order.length === 0 && !list.backward) return byKey(asking, values, wanted)
  const order = orderOf(pageOf(reading), values)
  const rows = reading.search ? await scoredRows(asking, order, wanted) : (await allRows(asking)).map((row) => sorted(reading, row, values))
  return cut(rows, start, order, wanted)
}

/** Milvus itself reads in the order of the key. */
async function byKey(asking: Asking, values: Values, limit: number): Promise<readonly SortedRow[]> {
  const { start } = asking.reading
  if (start?.side === 'before') return []
  const [key] = start?.side === 'same' ? start.key : []
  const rows = await firstRows(asking, limit, key === undefined ? null : textOf(key, values))
  return rows.map((row) => sorted(asking.reading, row, values))
}

/** A row without a score is none that is near. */
async function scoredRows(asking: Asking, order: Order, wanted: number): Promise<readonly SortedRow[]> {
  const { reading } = asking
  const { search, start } = reading
  const to = search && operandValue(search.to, order.values)
  if (!search || search.column === null || typeof to !== 'string') return []
  const target = elementsOf(to)
  // Nothing is near to what has no direction.
  if (search.metric === 'COSINE' && !Number.isFinite(scoreOf(search.metric, target, target))) return []
  const scored = (source: SourceRow): SortedRow | null => {
    const row = shown(reading, source, order.values)
    // As it is shown: the filter has left out rows whose vector is not, and this would too.
    const vector = row.text(search.field)
    const score = vector === null ? null : scoreText(search.metric, elementsOf(vector), target)
    return score === null ? null : { row, sort: [score], key: source.keyText() }
  }
  const scoreOfRow = (row: SourceRow): number | null => {
    const found = scored(row)
    return found && isLeft(start, found, order) ? Number(found.sort[0]) : null
  }
  const rows = await nearRows(asking, search, { target, wanted, scoreOfRow })
  return rows.map(scored).filter((row) => row !== null)
}

function shown({ view }: Reading, row: SourceRow, values: Values): ShownRow {
  return new ShownRow(row, view, values)
}

function sorted(reading: Reading, source: SourceRow, values: Values): SortedRow {
  const row = shown(reading, source, values)
  return { row, sort: reading.list.order.map(({ field }) => row.text(field)), key: source.keyText() }
}

const INTEGER: ValueType = { kind: 'builtin', name: 'BigInt' }

function pageOf(reading: Reading): PageReading {
  const { entity } = reading.context
  const keyType = INTEGER_BITS.has(reading.key.native) ? INTEGER : valueField(entity, entity.key[0] ?? '').type
  return { ...reading, entity, keyType }
}
