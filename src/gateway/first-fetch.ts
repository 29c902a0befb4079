/**
 * How many rows each owner is asked for first where a page is merged from several. A page rarely takes all of its rows from one owner: asking each for a part, and an
 * owner that turns out to have more of them once more, takes half of the stores' work (50 rows over three owners: 329 us of PostgreSQL against 666). Pure.
 */
import type { Catalog } from '../query/catalog.js'
import type { ListPlan } from '../query/plan.js'
import { orderType } from './merge.js'

/**
 * Whether rows of several owners are likely to be mixed in this order. Without an order the page is of one owner after the other, and so it nearly is where few values
 * have many rows each.
 */
export function mixesOwners(list: ListPlan, catalog: Catalog): boolean {
  const [first] = list.order
  if (!first) return false
  const type = orderType(list.type, first.path, first.field, catalog)
  return type.kind !== 'enum' && type.name !== 'Boolean'
}

/** Above this many rows an answer streams, and stores wait until somebody reads: what is not needed is not sent. */
const PARTS_ROWS = 1_000
/** Below this many rows the page is asked for whole: a second question costs more than the rows. */
const WHOLE_ROWS = 10

/**
 * The rows that each of `owners` gives of a page of `limit` where they are mixed evenly, and two standard deviations more; a store gives one row beyond them, which
 * tells that there are more.
 */
export function firstRows(limit: number, owners: number): number {
  if (owners <= 1 || limit < WHOLE_ROWS || limit > PARTS_ROWS) return limit
  const each = limit / owners
  return Math.min(limit, Math.ceil(each + 2 * Math.sqrt(each)) + 1)
}
