/** Cursors of an operation: what they are bound to, where they say that a page starts, and where a page ended. */
import { invariant } from '../errors.js'
import { compareText } from '../query/order.js'
import type { ListPlan, PageStart } from '../query/plan.js'
import type { Operand, Scalar } from '../query/predicate.js'
import { nestedLists } from './assemble.js'
import type { CursorPlace, Cursors } from './cursor.js'
import { operandValue } from './request-values.js'
import { type EngineRequest, NO_POSITIONS, type Positions, type Slots, type StartPlace } from './run.js'

/** What cursors are bound to, and where their values stand. */
export type CursorContext = Pick<EngineRequest, 'principal' | 'authority'> & { readonly slots: Slots }

/** Opens the cursors of a root list and of the lists in it. @throws GatewayError CURSOR_INVALID */
export function pageStarts(root: ListPlan, organizations: Operand | null, context: CursorContext, cursors: Cursors): Positions {
  const lists = listsWithCursors(root)
  if (lists.length === 0) return NO_POSITIONS
  const values: Scalar[] = []
  const places: CursorPlace[] = []
  const starts = lists.map((list): StartPlace => {
    invariant(list.cursor, 'lists without a cursor are left out')
    const place = cursors.open(String(operandValue(list.cursor, context.slots)), cursorBinding(list, list === root ? organizations : null, context))
    const firstValue = context.slots.length + values.length
    places.push(place)
    values.push(...place.order.map((value) => value ?? ''), ...place.key)
    return { list, place, firstValue }
  })
  return { pinned: root.cursor ? (places[0]?.owners ?? []) : null, places: starts, values }
}

/** Lists that have a cursor, the root's first. */
export function listsWithCursors(root: ListPlan): readonly ListPlan[] {
  return [root, ...nestedLists(root).values()].filter((list) => list.cursor !== null)
}

/** Where each list starts for one owner: its side of the cursor's owner decides whether rows that equal the cursor's sort values are still to come. */
export function startsFor(organization: string, places: readonly StartPlace[]): ReadonlyMap<string, PageStart> {
  return new Map(
    places.map(({ list, place, firstValue }) => {
      const turned = list.backward ? -1 : 1
      const side = compareText(organization, place.organization) * turned
      const slot = (index: number): Operand => ({ kind: 'slot', index: firstValue + index })
      return [
        list.path,
        {
          side: side < 0 ? 'before' : side > 0 ? 'after' : 'same',
          nulls: place.order.map((value) => value === null),
          values: place.order.map((_value, index) => slot(index)),
          key: place.key.map((_value, index) => slot(place.order.length + index)),
        },
      ]
    }),
  )
}

/**
 * What a cursor belongs to: caller, purpose, type, the list's arguments but the page's, and the decision shape. Where the list stands in the document is no part of
 * it, so that a nested list can be gone on with from the row itself (`node(id)`) and under any name; but a root list has owners to pin, and a nested one has not.
 */
export function cursorBinding(list: ListPlan, organizations: Operand | null, context: CursorContext): string {
  const resolve = (_key: string, value: unknown): unknown => (isOperand(value) ? { value: operandValue(value, context.slots) } : value)
  const named = organizations ? operandValue(organizations, context.slots) : null
  const { principal, authority } = context
  const level = list.path.includes('.') ? 'nested' : 'root'
  return JSON.stringify([principal.issuer, principal.subject, authority.purpose, authority.shape, list.type, level, list.where, list.order, named], resolve)
}

/** Whether a value stands in the document or in a variable makes no difference. */
function isOperand(value: unknown): value is Extract<Operand, { kind: 'slot' | 'constant' }> {
  return typeof value === 'object' && value !== null && 'kind' in value && (value.kind === 'slot' || value.kind === 'constant')
}

/** @param texts sort values, then the key. */
export function placeOfTexts(texts: readonly (string | null)[], list: ListPlan, organization: string, owners: readonly string[]): CursorPlace {
  return { order: texts.slice(0, list.order.length), organization, key: texts.slice(list.order.length).map((text) => text ?? ''), owners }
}
