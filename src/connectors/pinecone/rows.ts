/** Rows that fit, of the records that Pinecone gives: by their ids, by a filter, or all of a namespace. */
import { GatewayError } from '../../errors.js'
import { fits, truthOf } from '../../query/evaluate.js'
import { compareText } from '../../query/order.js'
import type { Values } from '../connector.js'
import { ShownRow } from '../shown-row.js'
import { type Calls, groupsOf, HITS_MAX, isRecordId } from './calls.js'
import { nonsense } from './driver-error.js'
import type { Asked } from './pushdown.js'
import type { Reading } from './reading.js'
import { SourceRow, type StoredRecord } from './row.js'

export interface Asking {
  readonly calls: Calls
  readonly reading: Reading
  readonly asked: NonNullable<Asked>
  readonly values: Values
  /** Rows that may be read to be ordered or scored here: those that policy hides do not count, so that no error tells of them. */
  readonly rowsMax: number
}

/** Every row that fits. @throws GatewayError QUERY_TOO_COSTLY where more that may be seen would have to be read. */
export async function allRows(asking: Asking): Promise<readonly ShownRow[]> {
  const { reading, rowsMax } = asking
  const found = new Map<string, ShownRow>()
  let readable = 0
  for await (const records of pages(asking)) {
    const rows = records.map((record) => new SourceRow(reading.context, record)).filter((row) => isReadable(asking, row))
    readable += rows.length
    if (readable > rowsMax)
      throw new GatewayError('QUERY_TOO_COSTLY', `more than ${rowsMax} rows would have to be read`, { organization: reading.organization })
    for (const row of rows) {
      const shown = shownRow(asking, row)
      if (isAskedFor(asking, shown)) found.set(row.record.id, shown)
    }
  }
  return [...found.values()]
}

/** The first rows that fit in the order of the key, after the one that is given; null where they do not come in that order. */
export async function firstRows(asking: Asking, limit: number, after: string | null): Promise<readonly ShownRow[] | null> {
  if (asking.asked.ids !== null || asking.asked.filter !== null) return null
  const rows: ShownRow[] = []
  for await (const ids of listedIds(asking.calls)) {
    const left = ids.filter((id) => after === null || compareText(id, after) > 0)
    for (const group of groupsOf(left)) {
      rows.push(...fittingRows(asking, inOrder(group, await asking.calls.fetch(group))))
      if (rows.length >= limit) return rows.slice(0, limit)
    }
  }
  return rows
}

/** Rows that the index finds near, which fit; null where it has fewer than are wanted. */
export async function nearRows(asking: Asking, target: readonly number[], wanted: number): Promise<readonly ShownRow[] | null> {
  if (asking.asked.ids !== null || wanted > HITS_MAX) return null
  const ids = await asking.calls.query(target, Math.min(HITS_MAX, SPARE * wanted), asking.asked.filter)
  const rows: ShownRow[] = []
  for (const group of groupsOf(ids)) rows.push(...fittingRows(asking, await asking.calls.fetch(group)))
  return rows.length >= wanted ? rows : null
}

/** An index gives so many times more than are wanted, which are then scored exactly. */
const SPARE = 5

function fittingRows(asking: Asking, records: readonly StoredRecord[]): readonly ShownRow[] {
  const rows = records.map((record) => new SourceRow(asking.reading.context, record)).filter((row) => isReadable(asking, row))
  return rows.map((row) => shownRow(asking, row)).filter((row) => isAskedFor(asking, row))
}

/** What was filtered by the store is looked at again: its filter may mean more than the condition does, and whoever writes may change a record between two calls. */
function isReadable({ reading, values }: Asking, row: SourceRow): boolean {
  return truthOf(reading.view.rows, row, values) === true
}

function isAskedFor({ reading, values }: Asking, row: ShownRow): boolean {
  return fits(reading.list.where, row, values)
}

function shownRow({ reading, values }: Asking, row: SourceRow): ShownRow {
  return new ShownRow(row, reading.view, values)
}

// --- records ---------------------------------------------------------------------------------------------------------------------------------------------------

async function* pages({ calls, asked: { ids, filter } }: Asking): AsyncGenerator<readonly StoredRecord[]> {
  if (ids !== null) {
    for (const group of groupsOf([...ids].filter(isRecordId))) yield await calls.fetch(group)
  } else if (filter !== null) {
    yield* allPages((next) => calls.fetchByMetadata(filter, next))
  } else {
    for await (const listed of listedIds(calls)) for (const group of groupsOf(listed)) yield await calls.fetch(group)
  }
}

/** In the order of their bytes, which is that of the contract: ids are ASCII. */
async function* listedIds(calls: Calls): AsyncGenerator<readonly string[]> {
  let last: string | null = null
  for await (const ids of allPages((next) => calls.list(next))) {
    for (const id of ids) {
      if (last !== null && compareText(last, id) >= 0) throw nonsense('ids out of their order')
      last = id
    }
    yield ids
  }
}

/** Ended by the deadline of the call where pages have no end. */
async function* allPages<Item>(
  page: (next: string | null) => Promise<{ readonly items: readonly Item[]; readonly next: string | null }>,
): AsyncGenerator<readonly Item[]> {
  let next: string | null = null
  do {
    const given: { readonly items: readonly Item[]; readonly next: string | null } = await page(next)
    if (given.next !== null && given.next === next) throw nonsense('the same page twice')
    yield given.items
    next = given.next
  } while (next !== null)
}

function inOrder(ids: readonly string[], records: readonly StoredRecord[]): readonly StoredRecord[] {
  const byId = new Map(records.map((record) => [record.id, record]))
  return ids.flatMap((id) => byId.get(id) ?? [])
}
