import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { exactSum } from '../../../src/connectors/sql/aggregate.js'
import { name, render, sql } from '../../../src/connectors/sql/fragment.js'
import type { TestDatabase, TestPostgres } from '../../support/postgres.js'
import { startTestPostgres, withClient } from '../../support/postgres.js'

let server: TestPostgres
let database: TestDatabase

beforeAll(async () => {
  server = await startTestPostgres()
  database = await server.createDatabase()
})
afterAll(() => server.stop())

/** For each list of floats: whether the sum is that of their texts. A null is no value. */
async function areExact(lists: readonly (readonly (number | null)[])[]): Promise<readonly boolean[]> {
  const sum = exactSum({ sql: name('v', 'v'), form: 'float8', array: false, nullable: true, type: { kind: 'builtin', name: 'Float' }, stored: null })
  const { text } = render(sql`SELECT (${sum}) IS NOT DISTINCT FROM sum(v::text::numeric) AS exact FROM values_of AS v GROUP BY n ORDER BY n`)
  const rows = lists.flatMap((list, n) => [`(${n}, NULL)`, ...list.map((value) => `(${n}, '${value === null ? 'NaN' : printed(value)}'::float8)`)])
  return withClient(database.url(), async (client) => {
    await client.query(`CREATE TEMP TABLE values_of AS SELECT * FROM (VALUES ${rows.join(', ')}) AS given(n, v)`)
    const { rows: sums } = await client.query<{ exact: boolean }>(text)
    return sums.map(({ exact }) => exact)
  })
}

function printed(value: number): string {
  return Object.is(value, -0) ? '-0' : String(value)
}

const millionths = fc.tuple(fc.maxSafeInteger(), fc.integer({ min: 0, max: 9 })).map(([n, digits]) => Number(`${n}e-${digits}`))
const neighbours = millionths.chain((value) => fc.constantFrom(value, value * (1 + Number.EPSILON), value * (1 - Number.EPSILON / 2)))

describe('the sum of floats', () => {
  it('is that of their shortest texts, whatever they are', async () => {
    const lists = fc.sample(fc.array(fc.oneof(millionths, neighbours, fc.double({ noNaN: true })), { maxLength: 6 }), { numRuns: 3_000, seed: 20261125 })
    expect(await areExact(lists)).toEqual(lists.map(() => true))
  })

  it('is so at the ends of what is counted in integers, beyond all numbers, and over nothing', async () => {
    const lists = [
      [999_999_999.999999, 1e9, -999_999_999.999999, -1e9, 1e9 - 2 ** -23],
      [0.1, 0.2, 0.30000000000000004],
      [1e-6, -1e-6, 1e-7, 5e-324, -0],
      [Number.MAX_VALUE, Number.MAX_VALUE, -1.79e304, 0.5],
      [Infinity, 0.5],
      [Infinity, -Infinity],
      [null, 0.5],
      [],
    ]
    expect(await areExact(lists)).toEqual(lists.map(() => true))
  })
})
