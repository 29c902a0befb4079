import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { byteText, textOf, Texts } from '../../src/connectors/texts.js'
import { parseContract } from '../../src/gateway/contract.js'
import { isShort, mergePage, type OwnerRows, type Page } from '../../src/gateway/merge.js'
import { wholeText } from '../../src/gateway/pieces.js'
import type { ListPlan } from '../../src/query/plan.js'

const catalog = parseContract([{ name: 'contract.graphql', text: 'type Item @entity { key: ID!  rank: Int  name: String }' }])
/** In code point order; where JavaScript's own comparison would have them otherwise, too. */
const OWNERS = ['alpha', 'beta', '\u{e000}', '😀'] as const

interface Row {
  readonly owner: string
  readonly key: string
  readonly rank: number | null
}

interface Order {
  readonly descending: boolean
  readonly nulls: 'first' | 'last'
  readonly backward: boolean
}

function listOf({ descending, nulls, backward }: Order): ListPlan {
  return {
    type: 'Item',
    where: { kind: 'all' },
    order: [{ path: [], field: 'rank', descending, nulls }],
    search: null,
    limit: { kind: 'constant', value: 0 },
    backward,
    cursor: null,
    fields: [],
    path: 'items',
  }
}

/** The order of the API, written by hand: in the direction of reading. */
function compare(a: Row, b: Row, { descending, nulls, backward }: Order): number {
  const rankOf = ({ rank }: Row): number => (rank === null ? (nulls === 'first' ? -Infinity : Infinity) : descending ? -rank : rank)
  const byRank = rankOf(a) === rankOf(b) ? 0 : rankOf(a) - rankOf(b)
  const forward = byRank || OWNERS.indexOf(a.owner as 'alpha') - OWNERS.indexOf(b.owner as 'alpha') || Number(a.key) - Number(b.key)
  return backward ? -forward : forward
}

/** Rows of owners, each in the direction of reading. */
type Parts = readonly (readonly Row[])[]

function full(parts: Parts, order: Order): readonly Row[] {
  return parts.flat().sort((a, b) => compare(a, b, order))
}

function ownerRows(rows: readonly Row[], owner: string, isCut: boolean): OwnerRows {
  const keys = [rows.map(({ rank }) => (rank === null ? null : String(rank))), rows.map(({ key }) => key)]
  // A table without rows has no columns.
  const texts = rows.length === 0 ? [] : [Texts.of(rows.map(textOfRow)), Texts.of(rows.map(({ key }) => byteText(`"${key}"`)))]
  return { organization: owner, chunk: { count: rows.length, texts, keys: rows.length === 0 ? [] : keys, totalCount: null }, isCut }
}

const textOfRow = (row: Row) => byteText(JSON.stringify([row.owner, row.key, row.rank]))

/** What of a page leaves, by each of its ways. */
function rowsIn(page: Page): readonly Row[] {
  const rows = Array.from({ length: page.count }, (_, row): Row => {
    const [rank = null, key = null] = page.keysOf(row)
    return { owner: page.organizationOf(row), key: key ?? '', rank: rank === null ? null : Number(rank) }
  })
  expect(Array.from({ length: page.count }, (_, row) => textOf(page.at(0, row)))).toEqual(rows.map((row) => textOf(textOfRow(row))))
  expect(wholeText(page.joined(0))).toBe(rows.map((row) => textOf(textOfRow(row))).join(','))
  expect(wholeText(page.joined(1))).toBe(rows.map(({ key }) => `"${key}"`).join(','))
  return rows
}

const parts = fc
  .tuple(
    fc.array(fc.array(fc.option(fc.integer({ min: 0, max: 12 }), { nil: null, freq: 6 }), { maxLength: 14, size: 'max' }), { minLength: 1, maxLength: 4 }),
    fc.nat(3),
  )
  .map(([ranks, skewed]) =>
    // Of one owner the rows tend to come first.
    ranks.map((own, index) =>
      own.map((rank, at): Row => ({ owner: OWNERS[index] ?? '', key: String(at + 1), rank: rank !== null && index === skewed ? rank - 10 : rank })),
    ),
  )
const orders = fc.record({ descending: fc.boolean(), nulls: fc.constantFrom('first' as const, 'last' as const), backward: fc.boolean() })
const cases = fc.record({ parts, order: orders, limit: fc.integer({ min: 0, max: 20 }), asked: fc.integer({ min: 1, max: 20 }) })

/** Each owner was asked for `asked` rows and gives one more where it has it, as a store does. */
function firstAsked(whole: Parts, limit: number, asked: number): readonly OwnerRows[] {
  const first = Math.min(asked, limit)
  return whole.map((rows, index) => ownerRows(rows.slice(0, first + 1), OWNERS[index] ?? '', first < limit && rows.length > first))
}

function expectPage(page: Page, whole: Parts, { order, limit }: { readonly order: Order; readonly limit: number }): void {
  const rows = full(whole, order)
  const expected = rows.slice(0, limit)
  expect(rowsIn(page)).toEqual(order.backward ? [...expected].reverse() : expected)
  expect(page.hasMore).toBe(rows.length > limit)
}

describe('a page of several owners', () => {
  it('is that of all their rows in one order, where each gave all that the page can take', () => {
    fc.assert(
      fc.property(cases, ({ parts: given, order, limit }) => {
        const whole = given.map((rows) => rows.slice().sort((a, b) => compare(a, b, order)))
        const page = mergePage(listOf(order), firstAsked(whole, limit, limit), limit, catalog)
        if (isShort(page)) throw new Error('nobody was asked for less')
        expectPage(page, whole, { order, limit })
      }),
      { numRuns: 500 },
    )
  })

  it('is never made of too few rows: it is exact, or short of one owner after the other, of each once', () => {
    let shortages = 0
    fc.assert(
      fc.property(cases, ({ parts: given, order, limit, asked }) => {
        const whole = given.map((rows) => rows.slice().sort((a, b) => compare(a, b, order)))
        const owners = [...firstAsked(whole, limit, asked)]
        for (;;) {
          const page = mergePage(listOf(order), owners, limit, catalog)
          if (!isShort(page)) return expectPage(page, whole, { order, limit })
          shortages += 1
          const index = owners.findIndex(({ organization }) => organization === page.organization)
          const part = owners[index]
          expect(part?.isCut).toBe(true)
          // What is certain comes first, and is of what is known.
          const certain = full(whole, order).slice(0, page.taken)
          const last = certain.at(-1)
          expect(page.taken).toBeGreaterThanOrEqual(part?.chunk.count ?? 0)
          expect(certain.filter(({ owner }) => owner === page.organization)).toHaveLength(part?.chunk.count ?? 0)
          for (const { organization, chunk } of owners) expect(certain.filter(({ owner }) => owner === organization).length).toBeLessThanOrEqual(chunk.count)
          expect(last?.owner).toBe(page.organization)
          // One more than the page can still take.
          const rows = whole[index]?.slice(0, (part?.chunk.count ?? 0) + limit - page.taken + 1) ?? []
          owners[index] = ownerRows(rows, page.organization, false)
        }
      }),
      { numRuns: 1_000 },
    )
    expect(shortages).toBeGreaterThan(100)
  })

  it('is short only of an owner whose further rows can change it', () => {
    fc.assert(
      fc.property(cases, ({ parts: given, order, limit, asked }) => {
        const whole = given.map((rows) => rows.slice().sort((a, b) => compare(a, b, order)))
        const owners = firstAsked(whole, limit, asked)
        const page = mergePage(listOf(order), owners, limit, catalog)
        if (!isShort(page)) return
        const known = whole.map((rows, index) => rows.slice(0, owners[index]?.chunk.count))
        const index = owners.findIndex(({ organization }) => organization === page.organization)
        const last = known[index]?.at(-1)
        if (!last) throw new Error('an owner that is cut gave rows')
        // Keys that go on in the direction of reading.
        const further = Array.from({ length: limit + 1 }, (_, at): Row => ({ ...last, key: String(order.backward ? -1 - at : 1_000 + at) }))
        const seen = (all: Parts): unknown => [full(all, order).slice(0, limit), full(all, order).length > limit]
        expect(seen(known.map((rows, at) => (at === index ? [...rows, ...further] : rows)))).not.toEqual(seen(known))
      }),
      { numRuns: 1_000 },
    )
  })

  it('of nobody is empty', () => {
    const page = mergePage(listOf({ descending: false, nulls: 'last', backward: false }), [], 5, catalog)
    if (isShort(page)) throw new Error('there is nobody to ask')
    expect([page.count, page.hasMore, page.joined(0)]).toEqual([0, false, []])
  })
})
