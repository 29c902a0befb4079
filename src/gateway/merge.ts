/** Rows of several owners in one order. Pure. */
import { invariant } from '../errors.js'
import type { Row } from '../connectors/connector.js'
import type { Catalog, ValueType } from '../query/catalog.js'
import { compareText, orderComparator } from '../query/order.js'
import type { ListPlan } from '../query/plan.js'

export interface OwnedRow extends Row {
  readonly organization: string
}

export interface OwnerRows {
  readonly organization: string
  readonly rows: readonly Row[]
}

/**
 * The page: the caller's order, then the organization, then each owner's own order of its key. Keys of different owners are never compared. A backward page comes
 * from the end, and is turned round at last.
 *
 * @param limit rows of the page; each owner gave at most one more.
 */
export function mergePage(
  list: ListPlan,
  owners: readonly OwnerRows[],
  limit: number,
  catalog: Catalog,
): { readonly rows: readonly OwnedRow[]; readonly hasMore: boolean } {
  const compare = rowComparator(list, catalog)
  const heads = owners.map((owner) => ({ owner, next: 0 }))
  const rows: OwnedRow[] = []
  const take = (): OwnedRow | null => {
    let best: { head: (typeof heads)[number]; row: OwnedRow } | null = null
    for (const head of heads) {
      const row = head.owner.rows[head.next]
      if (!row) continue
      const candidate = { ...row, organization: head.owner.organization }
      if (!best || compare(candidate, best.row) < 0) best = { head, row: candidate }
    }
    if (best) best.head.next += 1
    return best?.row ?? null
  }
  while (rows.length < limit) {
    const row = take()
    if (!row) return { rows: list.backward ? rows.reverse() : rows, hasMore: false }
    rows.push(row)
  }
  const hasMore = heads.some((head) => head.next < head.owner.rows.length)
  return { rows: list.backward ? rows.reverse() : rows, hasMore }
}

function rowComparator(list: ListPlan, catalog: Catalog): (a: OwnedRow, b: OwnedRow) => number {
  const turned = list.backward
  const byOrder = orderComparator(
    list.order.map((key) => ({
      type: orderType(list.type, key.path, key.field, catalog),
      descending: key.descending !== turned,
      nulls: (key.nulls === 'first') !== turned ? ('first' as const) : ('last' as const),
    })),
  )
  return (a, b) => byOrder(a.keys, b.keys) || (turned ? compareText(b.organization, a.organization) : compareText(a.organization, b.organization))
}

export function orderType(type: string, path: readonly string[], field: string, catalog: Catalog): ValueType {
  let entity = catalog.entities.get(type)
  for (const step of path) {
    const relation = entity?.fields.get(step)
    invariant(relation && relation.kind !== 'value', 'an order goes through relations')
    entity = catalog.entities.get(relation.target)
  }
  const value = entity?.fields.get(field)
  invariant(value?.kind === 'value', 'an order ends at a value')
  return value.type
}
