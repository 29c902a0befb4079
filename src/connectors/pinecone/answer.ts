/** The rows of a statement in their order, cut to the page, as JSON. */
import { operandValue } from '../../query/evaluate.js'
import { elementsOf, scoreOf, scoreText } from '../../query/score.js'
import type { Chunk, Values } from '../connector.js'
import { chunkOf, cut, keyText, orderOf, rowsOfKeys, type SortedRow, textOf, wantedRows } from '../flat-page.js'
import type { ShownRow } from '../shown-row.js'
import type { Reading, SearchReading } from './reading.js'
import { allRows, type Asking, firstRows, nearRows } from './rows.js'

/** `asking` null: no row can fit. */
export async function answerOf(reading: Reading, values: Values, asking: Asking | null): Promise<Chunk> {
  if (reading.keys) return rowsOfKeys(reading, asking ? await allRows(asking) : [], reading.keys, values)
  if (asking === null) return chunkOf(reading, [], reading.hasTotal ? 0 : null)
  const wanted = wantedRows(reading, values)
  if (!reading.hasTotal) {
    const first = reading.search ? await nearest(asking, reading.search, wanted) : await firstByKey(asking, wanted)
    if (first) return chunkOf(reading, first, null)
  }
  const rows = reading.search ? scored(await allRows(asking), reading.search, asking) : sorted(await allRows(asking), reading)
  return chunkOf(reading, cut(rows, reading.start, orderOf(reading, values), wanted), reading.hasTotal ? rows.length : null)
}

/** Null: the key is not what they go by, or not all of them would come in its order. */
async function firstByKey(asking: Asking, wanted: number): Promise<readonly SortedRow[] | null> {
  const { list, start } = asking.reading
  if (list.order.length > 0 || list.backward) return null
  if (start?.side === 'before') return []
  const [key] = start?.side === 'same' ? start.key : []
  const rows = await firstRows(asking, wanted, key === undefined ? null : textOf(key, asking.values))
  return rows && sorted(rows, asking.reading)
}

/** By an index that may miss some; null where it may not be used, or gave too few. */
async function nearest(asking: Asking, search: SearchReading, wanted: number): Promise<readonly SortedRow[] | null> {
  const { reading, values } = asking
  const target = targetOf(search, asking)
  if (target === null) return []
  const found = search.isApproximate ? await nearRows(asking, target, wanted) : null
  const rows = found && scored(found, search, asking)
  return rows && rows.length >= wanted ? cut(rows, reading.start, orderOf(reading, values), wanted) : null
}

function sorted(rows: readonly ShownRow[], { list }: Reading): readonly SortedRow[] {
  return rows.map((row) => ({ row, sort: list.order.map(({ field }) => row.text(field)), key: keyText(row) }))
}

/** A row without a score is none that is near. */
function scored(rows: readonly ShownRow[], search: SearchReading, asking: Asking): readonly SortedRow[] {
  const target = targetOf(search, asking)
  if (target === null) return []
  return rows.flatMap((row) => {
    const vector = row.text(search.field)
    const score = vector === null ? null : scoreText(search.metric, elementsOf(vector), target)
    return score === null ? [] : [{ row, sort: [score], key: keyText(row) }]
  })
}

/** Null: nothing is near to what is none, or has no direction. */
function targetOf({ to, metric }: SearchReading, { values }: Asking): readonly number[] | null {
  const text = operandValue(to, values)
  if (typeof text !== 'string') return null
  const target = elementsOf(text)
  return metric === 'COSINE' && !Number.isFinite(scoreOf(metric, target, target)) ? null : target
}
