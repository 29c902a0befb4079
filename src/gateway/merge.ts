/** Rows of several owners in one order. Pure. */
import { invariant } from '../errors.js'
import type { Chunk } from '../connectors/connector.js'
import type { Bytes, ByteText, Texts } from '../connectors/texts.js'
import type { Catalog, ValueType } from '../query/catalog.js'
import { compareText, orderComparator } from '../query/order.js'
import type { ListPlan } from '../query/plan.js'

/** What one owner gave for a list: in its own order, which a backward list reads from the end. */
export interface OwnerRows {
  readonly organization: string
  readonly chunk: Chunk
  /** The owner was asked for fewer rows than the page has, and gave all of them: there may be more. */
  readonly isCut: boolean
}

/** The rows of a page, by column, in the order of the answer. */
export interface Page {
  readonly count: number
  /** In the direction of reading. */
  readonly hasMore: boolean
  /** Columns of texts. */
  readonly columns: number
  /** The texts of a column, joined by commas, in pieces. */
  joined(column: number): readonly Bytes[]
  at(column: number, row: number): ByteText
  organizationOf(row: number): string
  /** Sort values, then the key. */
  keysOf(row: number): readonly (string | null)[]
}

/**
 * The page: the caller's order, then the organization, then each owner's own order of its key. Keys of different owners are never compared. A backward page comes
 * from the end, and is turned round at last.
 *
 * @param limit rows of the page; each owner gave at most one more.
 * @returns or the owner without whose further rows the page cannot go on, and how many rows there are before it.
 */
export function mergePage(list: ListPlan, owners: readonly OwnerRows[], limit: number, catalog: Catalog): Page | Shortage {
  const [only, ...others] = owners
  if (only && others.length === 0)
    return only.isCut && only.chunk.count <= limit ? { kind: 'short', organization: only.organization, taken: only.chunk.count } : pageOfOne(list, only, limit)
  const compare = rowComparator(list, catalog)
  const heads = owners.map((): number => 0)
  const takenOwners: number[] = []
  const takenRows: number[] = []
  for (;;) {
    let best = -1
    let bestKeys: readonly (string | null)[] = []
    for (let index = 0; index < owners.length; index += 1) {
      const owner = owners[index]
      const row = heads[index]
      if (!owner || row === undefined) continue
      if (row >= owner.chunk.count) {
        if (owner.isCut && (takenRows.length < limit || !hasNext(owners, heads)))
          return { kind: 'short', organization: owner.organization, taken: takenRows.length }
        continue
      }
      const keys = keysAt(owner.chunk, row)
      if (best < 0 || compare(keys, owner.organization, bestKeys, owners[best]?.organization ?? '') < 0) [best, bestKeys] = [index, keys]
    }
    if (best < 0 || takenRows.length >= limit) return mergedPage(list, owners, { takenOwners, takenRows, hasMore: best >= 0 })
    takenOwners.push(best)
    takenRows.push(heads[best] ?? 0)
    heads[best] = (heads[best] ?? 0) + 1
  }
}

/** The page needs rows of this owner that it was not asked for; `taken` rows of the page come before them. */
export interface Shortage {
  readonly kind: 'short'
  readonly organization: string
  readonly taken: number
}

export function isShort(page: Page | Shortage): page is Shortage {
  return 'kind' in page
}

function hasNext(owners: readonly OwnerRows[], heads: readonly number[]): boolean {
  return owners.some(({ chunk }, index) => (heads[index] ?? 0) < chunk.count)
}

function pageOfOne({ backward }: ListPlan, { organization, chunk }: OwnerRows, limit: number): Page {
  const { texts } = chunk
  const count = Math.min(chunk.count, limit)
  const rowOf = (row: number): number => (backward ? count - 1 - row : row)
  const at = (column: number, row: number): ByteText => textsAt(texts, column).at(rowOf(row))
  const known: (readonly Bytes[])[] = [] // the ledger's digest is of the same bytes as the answer
  const joined = (column: number): readonly Bytes[] => {
    if (count === 0) return [] // an empty table has no columns either
    return (known[column] ??= backward ? listed(count, (row) => at(column, row)) : textsAt(texts, column).joined(count))
  }
  return {
    count,
    hasMore: chunk.count > limit,
    columns: texts.length,
    joined,
    at,
    organizationOf: () => organization,
    keysOf: (row) => keysAt(chunk, rowOf(row)),
  }
}

function textsAt(columns: readonly Texts[], column: number): Texts {
  const texts = columns[column]
  invariant(texts, 'a chunk has the columns of its plan')
  return texts
}

function listed(count: number, at: (row: number) => ByteText): readonly Bytes[] {
  return count === 0 ? [] : [Array.from({ length: count }, (_, row) => at(row)).join(',') as ByteText] // the brand: of bytes and commas
}

interface Taken {
  readonly takenOwners: number[]
  readonly takenRows: number[]
  readonly hasMore: boolean
}

function mergedPage({ backward }: ListPlan, owners: readonly OwnerRows[], { takenOwners, takenRows, hasMore }: Taken): Page {
  if (backward) {
    takenOwners.reverse()
    takenRows.reverse()
  }
  const ownerOf = (row: number): OwnerRows => {
    const owner = owners[takenOwners[row] ?? -1]
    invariant(owner, 'a row of the page has an owner')
    return owner
  }
  const count = takenRows.length
  const at = (column: number, row: number): ByteText => textsAt(ownerOf(row).chunk.texts, column).at(takenRows[row] ?? 0)
  return {
    count,
    hasMore,
    columns: count === 0 ? 0 : ownerOf(0).chunk.texts.length,
    joined: (column) => listed(count, (row) => at(column, row)),
    at,
    organizationOf: (row) => ownerOf(row).organization,
    keysOf: (row) => keysAt(ownerOf(row).chunk, takenRows[row] ?? 0),
  }
}

export function keysAt({ keys }: Chunk, row: number): readonly (string | null)[] {
  return keys.map((column) => column[row] ?? null)
}

const SCORE: ValueType = { kind: 'builtin', name: 'Float' }

type RowComparator = (a: readonly (string | null)[], aOwner: string, b: readonly (string | null)[], bOwner: string) => number

export function rowComparator(list: ListPlan, catalog: Catalog): RowComparator {
  const turned = list.backward
  const byOrder = orderComparator(
    list.order.map((key) => ({
      type: orderType(list.type, key.path, key.field, catalog),
      descending: key.descending !== turned,
      nulls: (key.nulls === 'first') !== turned ? ('first' as const) : ('last' as const),
    })),
  )
  return (a, aOwner, b, bOwner) => byOrder(a, b) || (turned ? compareText(bOwner, aOwner) : compareText(aOwner, bOwner))
}

/** The type of the values that an order goes by; a vector stands for its score. */
export function orderType(type: string, path: readonly string[], field: string, catalog: Catalog): ValueType {
  let entity = catalog.entities.get(type)
  for (const step of path) {
    const relation = entity?.fields.get(step)
    invariant(relation && relation.kind !== 'value', 'an order goes through relations')
    entity = catalog.entities.get(relation.target)
  }
  const value = entity?.fields.get(field)
  invariant(value?.kind === 'value', 'an order ends at a value')
  return value.vector ? SCORE : value.type
}
