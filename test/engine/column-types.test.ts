import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { TestGateway } from '../support/gateway.js'
import { startTestGateway } from '../support/gateway.js'

const asker = { organization: 'alpha', roles: ['reader'] }

describe('columns whose type is not the one that the contract names', () => {
  let gateway: TestGateway

  beforeAll(async () => {
    gateway = await startTestGateway({
      world: {
        contract: `type Thing @entity { key: ID! words: [String!] small: [Int!] whole: [BigInt!] exact: [Decimal!] near: [Float!] days: [Date!] ids: [UUID!] label: String count: Int total: BigInt price: Decimal share: Float }`,
        organizations: {
          alpha: {
            sql: `
              CREATE TABLE things (key smallint PRIMARY KEY, words varchar(9)[], small smallint[], whole integer[], exact numeric[], near real[], days date[], ids uuid[],
                label char(5), count smallint, total smallint, price integer, share real);
              INSERT INTO things VALUES (1, '{a,b}', '{1,2}', '{1,2}', '{1.50,2}', '{0.5,2}', '{2026-01-01}', '{00000000-0000-4000-8000-000000000001}', 'ab', 3, 4, 5, 0.5);
              INSERT INTO things VALUES (2, NULL, '{}', NULL, '{NULL}', '{NaN}', '{}', '{}', NULL, NULL, NULL, NULL, NULL);`,
            roles: { reader: { read: { Thing: { fields: 'all' } } } },
          },
        },
      },
    })
  }, 60_000)
  afterAll(() => gateway.stop())

  it('are printed as the contract has them', async () => {
    const { json } = await gateway.ask(asker, '{ things { nodes { key words small whole exact near days ids label count total price share } } }')
    expect(json.errors).toBeUndefined()
    expect(json.data.things.nodes[0]).toMatchObject({
      key: '1',
      words: ['a', 'b'],
      small: [1, 2],
      whole: ['1', '2'],
      exact: ['1.50', '2'],
      near: [0.5, 2],
      days: ['2026-01-01'],
      ids: ['00000000-0000-4000-8000-000000000001'],
      count: 3,
      total: '4',
      price: '5',
      share: 0.5,
    })
    expect(json.data.things.nodes[1]).toMatchObject({ words: null, small: [], exact: null, near: null })
  })

  it.each([
    ['words: { contains: ["b"] }'],
    ['small: { contains: [2] }'],
    ['whole: { contains: ["2"] }'],
    ['exact: { contains: ["1.5"] }'],
    ['near: { contains: [0.5] }'],
    ['days: { contains: ["2026-01-01"] }'],
    ['ids: { contains: ["00000000-0000-4000-8000-000000000001"] }'],
    ['key: { eq: "1" }'],
    ['label: { startsWith: "ab" }'],
    ['count: { gte: 3 }'],
    ['total: { in: ["4", "99999999999999999999"] }'],
    ['price: { lt: "5.5" }'],
    ['share: { lte: 0.5 }'],
  ])('are filtered by { %s }', async (filter) => {
    const { json } = await gateway.ask(asker, `{ things(where: { ${filter} }) { nodes { key } } }`)
    expect(json.errors).toBeUndefined()
    expect(json.data.things.nodes).toEqual([{ key: '1' }])
  })
})
