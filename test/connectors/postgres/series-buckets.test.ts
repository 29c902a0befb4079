/** In which bucket a time is: by division, by search, and in memory, which knows no bounds, the same. `CONTRACT_RUNS` and `CONTRACT_SEED` as for the contract. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import type { Connector } from '../../../src/connectors/connector.js'
import type { PostgresConnector, PostgresNative } from '../../../src/connectors/postgres/connector.js'
import { encodeParameters } from '../../../src/connectors/sql/parameter.js'
import { GatewayError } from '../../../src/errors.js'
import type { OwnerGrant } from '../../../src/policy/authority.js'
import { restrict } from '../../../src/policy/restrict.js'
import { type BucketSpec, bucketBounds } from '../../../src/query/buckets.js'
import type { BuiltinScalar, Field } from '../../../src/query/catalog.js'
import { parseWidth } from '../../../src/query/duration.js'
import type { AuthorizedPlan, SeriesMeasure, SeriesPlan } from '../../../src/query/plan.js'
import { ALL, type Operand, type Scalar } from '../../../src/query/predicate.js'
import { microsOf, textOfMicros } from '../../../src/query/zone.js'
import { startTestPostgres, type TestPostgres, withClient } from '../../support/postgres.js'
import { type ContractData, contractData, ORGANIZATION } from '../contract-data.js'
import { memoryOf } from '../contract.js'
import { connectorTo, createStore } from './contract-store.js'

const RUNS = Number(process.env.CONTRACT_RUNS ?? 150)
const SEED = Number(process.env.CONTRACT_SEED ?? 20_261_126)
const BUCKETS_MAX = 10_000

// --- times around which buckets go wrong ---------------------------------------------------------------------------------------------------------------------------

const DAY = 86_400_000_000n
/** Where the clocks of a zone change (Lord Howe's by half an hour, Apia's by a day, Havana's at midnight), beside where none do. */
const CHANGES = [
  ...['2026-03-29T01:00:00', '2026-10-25T01:00:00', '2026-03-08T05:00:00', '2026-11-01T05:00:00', '2026-04-04T15:00:00', '2026-10-03T15:30:00'],
  ...['2011-12-30T10:00:00', '1893-03-31T23:06:32', '1970-01-01T00:00:00', '1969-12-31T23:59:59.999999', '1900-02-28T12:00:00', '0044-03-15T12:00:00.5'],
  ...['2000-01-03T00:00:00', '2024-02-29T12:00:00', '2026-06-15T22:14:03.120511', '9000-12-31T23:59:59.999999'],
].map(microsOf)
const AROUND = [0n, 1n, -1n, 1_800_000_000n, -1_800_000_001n, 3_600_000_000n, 7_199_999_999n, DAY, -DAY, 30n * DAY + 1n]
const TIMES = CHANGES.flatMap((at) => AROUND.map((by) => at + by))
/** As PostgreSQL prints them in UTC; those that no DateTime can be, and none at all, are in no bucket. */
const STORED = [
  ...TIMES.map((at) => textOfMicros(at)?.replace('T', ' ') ?? null),
  ...['infinity', '-infinity', '4714-11-24 00:00:00 BC', '0001-12-31 23:59:59.999999 BC', '10000-01-01 00:00:00', '294276-12-31 23:59:59.999999', null],
]
const WIDTHS = [
  ...['PT0.000007S', 'PT1S', 'PT7.5S', 'PT15M', 'PT1H', 'PT1H30M0.000001S', 'PT24H', 'PT1000H', 'PT999999H'],
  ...['P1D', 'P3D', 'P1W', 'P1000D', 'P1M', 'P3M', 'P1Y', 'P400Y'],
]
const ZONES = ['UTC', 'Europe/Berlin', 'America/Havana', 'Pacific/Apia', 'Asia/Kathmandu', 'Australia/Lord_Howe']

// --- a table of them -----------------------------------------------------------------------------------------------------------------------------------------------

function field(name: string, type: BuiltinScalar, required: boolean): [string, Field] {
  return [name, { kind: 'value', name, description: null, type: { kind: 'builtin', name: type }, list: false, required, vector: null }]
}

const COLUMNS = [
  { name: 'key', native: 'bigint' },
  { name: 'at', native: 'timestamp with time zone' },
  { name: 'local', native: 'timestamp without time zone' },
  { name: 'worth', native: 'bigint' },
]

function dataOfTimes(): ContractData {
  const fields = new Map([field('key', 'ID', true), field('at', 'DateTime', false), field('local', 'LocalDateTime', false), field('worth', 'BigInt', true)])
  const entity = { ...{ name: 'Point', description: null, key: ['key'], singular: 'point', plural: 'points', seriesTime: 'at' }, fields }
  const columns = COLUMNS.map(({ name, native }) => {
    const bound = { kind: 'column', column: name, native, array: false, nullable: name === 'at' || name === 'local', values: null, multiply: null } as const
    return [name, bound] as const
  })
  const rows = STORED.map((text, index) => {
    const at = text === null || text.endsWith('infinity') ? text : text.replace(/( BC)?$/, '+00$1')
    return new Map([
      ...[['key', String(index)] as const, ['at', at] as const, ['local', text] as const],
      ['worth', String((index * index * 7_919) % 1_000_003)], // a sum tells which rows it is of
    ])
  })
  return {
    ...contractData(),
    catalog: { entities: new Map([['Point', entity]]), enums: new Map() },
    binding: {
      organization: ORGANIZATION,
      types: new Map([
        ['Point', { kind: 'table', type: 'Point', store: 'main', schema: 'times', table: 'points', columns: new Map(columns), relations: new Map() }],
      ]),
    },
    enums: [],
    tables: [{ schema: 'times', table: 'points', columns: COLUMNS.map(({ name, native }) => ({ name, declared: native })), rows }],
  }
}

// --- series over it ------------------------------------------------------------------------------------------------------------------------------------------------

interface Asked extends BucketSpec {
  readonly isLocal: boolean
  /** Without windows or with. */
  readonly measures: readonly SeriesMeasure[]
}

/** Near one of the times, to the microsecond. */
const time = fc.tuple(fc.constantFrom(...CHANGES), fc.constantFrom(...AROUND), fc.integer({ min: -3, max: 3 })).map(([at, by, more]) => at + by + BigInt(more))

const asked: fc.Arbitrary<Asked> = fc
  .record({
    start: time,
    buckets: fc.double({ min: 0.01, max: 200, noNaN: true }),
    width: fc.constantFrom(...WIDTHS),
    timezone: fc.constantFrom(...ZONES),
    origin: fc.option(time, { nil: null }),
    isLocal: fc.boolean(),
    measures: fc.constantFrom<SeriesMeasure[]>([{ fn: 'sum', field: 'worth' }], [{ fn: 'last', field: 'worth' }], []),
  })
  .map(({ start, buckets, timezone, origin, ...rest }) => {
    const end = start + BigInt(Math.ceil(buckets * Number(approximateMicros(rest.width))))
    const text = (at: bigint): string => `${textOfMicros(at) ?? '9999-12-31T23:59:59.999999'}Z`
    return { ...rest, from: text(start), to: text(end), timezone: rest.isLocal ? 'UTC' : timezone, origin: origin === null ? null : text(origin) }
  })

function approximateMicros(text: string): bigint {
  const width = parseWidth(text)
  if (!width) throw new Error('a width')
  return width.kind === 'time' ? width.micros : BigInt(width.count) * (width.kind === 'days' ? 1n : 30n) * DAY
}

/** Null where it would be refused of a caller. */
function boundsOf(spec: Asked): readonly string[] | null {
  try {
    const bounds = bucketBounds(spec, { bucketsMax: BUCKETS_MAX, path: 'points' })
    return spec.isLocal ? bounds : bounds.map((bound) => `${bound}Z`)
  } catch (error) {
    if (error instanceof GatewayError) return null
    throw error
  }
}

function planOf(spec: Asked, bounds: readonly string[]): SeriesPlan {
  const operand = (value: Scalar | readonly Scalar[]): Operand => ({ kind: 'constant', value })
  const clock = (text: string): Operand => operand(spec.isLocal ? text.replace('Z', '') : text)
  const name = spec.isLocal ? 'local' : 'at'
  return {
    ...{ type: 'Point', time: name, groupBy: [], measures: spec.measures, fill: null, bucketsMax: BUCKETS_MAX, fields: [], path: 'points' },
    where: {
      kind: 'and',
      terms: [
        { kind: 'compare', field: name, op: '>=', operand: clock(spec.from) },
        { kind: 'compare', field: name, op: '<', operand: clock(spec.to) },
      ],
    },
    buckets: {
      ...{ from: operand(spec.from), to: operand(spec.to), width: operand(spec.width), timezone: operand(spec.timezone) },
      origin: spec.origin === null ? null : operand(spec.origin),
    },
    bounds: operand(bounds),
  }
}

const NO_VALUES = { slots: [], claims: new Map<string, Scalar>() }

async function bucketsOf<Native>(connector: Connector<Native>, native: Native): Promise<readonly (readonly (string | null)[])[]> {
  const options = { signal: new AbortController().signal, deadlineMs: 10_000, bufferBytes: 64 * 1024 * 1024 }
  const [answer] = await connector.execute([{ native, values: NO_VALUES }], 'aurora', options)
  if (!answer || answer.rest !== null) throw new Error('one answer, and whole')
  const { count, keys } = answer.first
  return Array.from({ length: count }, (_, row) => keys.map((column) => column[row] ?? null))
}

describe('the bucket of a time', () => {
  const data = dataOfTimes()
  const memory = memoryOf(data)
  let server: TestPostgres
  let postgres: PostgresConnector

  beforeAll(async () => {
    server = await startTestPostgres()
    const database = await server.createDatabase()
    await withClient(database.url(), (client) => createStore(client, data, { collation: '"C"' }))
    postgres = connectorTo(database)
  }, 120_000)
  afterAll(async () => {
    await postgres?.close()
    await server?.stop()
  }, 60_000)

  const authorized = (series: SeriesPlan): AuthorizedPlan => {
    const fields = new Map(COLUMNS.map(({ name }) => [name, { kind: 'plain' } as const]))
    const grant: OwnerGrant = {
      organization: ORGANIZATION,
      types: new Map([['Point', { type: 'Point', rows: ALL, fields, source: { kind: 'roles', roles: [], version: 1, digest: '' } }]]),
    }
    return restrict({ kind: 'series', series }, grant, { catalog: data.catalog, binding: data.binding, caller: 'aurora', starts: new Map() })
  }

  it('is the same by division, by search and by the calendar', async () => {
    console.info(`buckets: seed ${SEED}, ${RUNS} runs`)
    const seen = { divided: 0, searched: 0, rows: 0 }
    await fc.assert(
      fc.asyncProperty(asked, async (spec) => {
        const bounds = boundsOf(spec)
        if (bounds === null) return
        const plan = authorized(planOf(spec, bounds))
        const { native } = postgres.compile(plan)
        const hasStride = strideIn(native) !== null
        // Hours have one length in every zone.
        if (parseWidth(spec.width)?.kind === 'time') expect(hasStride).toBe(true)
        const calendar = await bucketsOf(memory, memory.compile(plan).native)
        expect(await bucketsOf(postgres, native)).toEqual(calendar)
        expect(await bucketsOf(postgres, withoutStride(native))).toEqual(calendar)
        seen[hasStride ? 'divided' : 'searched'] += 1
        seen.rows += calendar.length
      }),
      { seed: SEED, numRuns: RUNS },
    )
    // Neither way is taken by chance only.
    expect(Math.min(seen.divided, seen.searched)).toBeGreaterThan(RUNS / 10)
    expect(seen.rows).toBeGreaterThan(RUNS)
  }, 600_000)
})

function strideIn(native: PostgresNative): string | null {
  const strides = native.kind === 'empty' ? [] : native.parameters.filter(({ encoding }) => encoding.kind === 'stride')
  expect(strides).toHaveLength(1)
  return encodeParameters(strides, NO_VALUES)[0] ?? null
}

/** As a series was asked before it had strides. */
function withoutStride(native: PostgresNative): PostgresNative {
  if (native.kind === 'empty') return native
  return { ...native, parameters: native.parameters.map((one) => (one.encoding.kind === 'stride' ? { ...one, encoding: { kind: 'null' } } : one)) }
}
