import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { parseContract } from '../../src/gateway/contract.js'
import { firstRows, mixesOwners } from '../../src/gateway/first-fetch.js'
import type { ListPlan, OrderKey } from '../../src/query/plan.js'
import { chance } from '../laws/world.js'

describe('how many rows an owner is asked for first', () => {
  it.each([
    ['one owner', 50, 1, 50],
    ['nobody', 50, 0, 50],
    ['an empty page', 0, 3, 0],
    ['a page that is small', 9, 3, 9],
    ['a page that just is not', 10, 3, 8],
    ['such a page of two owners, who could give all of it', 10, 2, 10],
    ['the page of who says nothing', 50, 3, 26],
    ['two owners', 50, 2, 36],
    ['so many owners that each has a row or two', 50, 30, 6],
    ['the largest page in parts', 1_000, 4, 283],
    ['a page beyond it', 1_001, 4, 1_001],
  ])('of %s: %s rows of %s are %s', (_what, limit, owners, rows) => {
    expect(firstRows(limit, owners)).toBe(rows)
  })

  it('is never more than the page, and together never less', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1_500 }), fc.integer({ min: 1, max: 40 }), (limit, owners) => {
        const rows = firstRows(limit, owners)
        expect(Number.isInteger(rows)).toBe(true)
        expect(rows).toBeLessThanOrEqual(limit)
        expect(rows * owners).toBeGreaterThanOrEqual(limit)
        expect(firstRows(limit, owners + 1)).toBeLessThanOrEqual(rows)
      }),
    )
  })

  it('is enough for nearly all pages whose rows lie by chance', () => {
    const random = chance(20261125)
    for (const [limit, owners] of [
      [20, 3],
      [50, 3],
      [100, 5],
      [1_000, 4],
    ] as const) {
      const rows = firstRows(limit, owners)
      let short = 0
      for (let page = 0; page < 500; page += 1) {
        const counts = Array.from({ length: owners }, () => 0)
        for (let row = 0; row < limit; row += 1) {
          const owner = Math.floor(random() * owners)
          counts[owner] = (counts[owner] ?? 0) + 1
        }
        if (counts.some((count) => count > rows)) short += 1
      }
      expect([limit, owners, short / 500 < 0.1]).toEqual([limit, owners, true])
    }
  })
})

describe('rows of several owners are taken to be mixed', () => {
  const catalog = parseContract([
    {
      name: 'contract.graphql',
      text: `
        enum State { OPEN CLOSED }
        type Item @entity { key: ID!  name: String  number: Int  amount: Decimal  ratio: Float  at: DateTime  day: Date  done: Boolean  state: State!  owner: Person }
        type Person @entity { key: ID!  name: String!  state: State!  active: Boolean }`,
    },
  ])
  const by = (...keys: readonly Pick<OrderKey, 'path' | 'field'>[]): ListPlan => ({
    type: 'Item',
    where: { kind: 'all' },
    order: keys.map((key) => ({ ...key, descending: false, nulls: 'last' })),
    search: null,
    limit: { kind: 'constant', value: 50 },
    backward: false,
    cursor: null,
    fields: [],
    path: 'items',
  })
  const own = (field: string) => ({ path: [], field })

  it.each(['key', 'name', 'number', 'amount', 'ratio', 'at', 'day'])('by %s', (field) => {
    expect(mixesOwners(by(own(field)), catalog)).toBe(true)
    expect(mixesOwners(by(own(field), own('state')), catalog)).toBe(true)
  })

  it.each(['done', 'state'])('not by %s, which has few values with many rows each', (field) => {
    expect(mixesOwners(by(own(field)), catalog)).toBe(false)
    expect(mixesOwners(by(own(field), own('name')), catalog)).toBe(false)
  })

  it('by what a relation leads to, as by an own field', () => {
    const through = (field: string): boolean => mixesOwners(by({ path: ['owner'], field }), catalog)
    expect([through('name'), through('state'), through('active')]).toEqual([true, false, false])
  })

  it('not without an order: one owner then comes after the other', () => {
    expect(mixesOwners(by(), catalog)).toBe(false)
  })
})
