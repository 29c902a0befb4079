import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { TestAnswer, TestClaims, TestGateway } from '../support/gateway.js'
import { agreementOf, startTestGateway } from '../support/gateway.js'

const CONTRACT = `
type Machine @entity { key: ID!  name: String!  samples: [Sample!] @inverse(of: "machine") }
type Sample @entity @series(time: "takenAt") {
  key: ID!  takenAt: DateTime!  load: Float  used: BigInt  price: Decimal  kind: String  secret: Int  machine: Machine
}
type Shift @entity @series(time: "startsAt") { key: ID!  startsAt: LocalDateTime!  hours: Int }`

/** Rows as `time, load, used, price, kind, secret, machine`. */
const tables = (samples: readonly string[]): string => `
  CREATE TABLE machines (key int PRIMARY KEY, name text NOT NULL); INSERT INTO machines VALUES (1, 'press'), (2, 'lathe');
  CREATE TABLE samples (key serial PRIMARY KEY, taken_at timestamptz NOT NULL, load double precision, used bigint, price numeric, kind text, secret int, machine_key int);
  INSERT INTO samples (taken_at, load, used, price, kind, secret, machine_key) VALUES ${samples.map((row) => `(${row})`).join(', ')};
  CREATE TABLE shifts (key int PRIMARY KEY, starts_at timestamp NOT NULL, hours int);
  INSERT INTO shifts VALUES (1, '2026-03-29 02:30:00', 8), (2, '2026-03-29 23:59:59.999999', 4), (3, '2026-03-30 00:00:00', 2)`

const ALPHA = [
  ...["'2026-03-01 00:10Z', 0.5, 10, 1.50, 'a', 1, 1", "'2026-03-01 00:50Z', 1.5, 14, 2.50, 'b', 2, 1", "'2026-03-01 03:00Z', 4, 2, NULL, 'a', 1, 2"],
  ...["'2026-03-01 03:59:59.999999Z', NULL, 9, 7, NULL, 2, 1", "'2026-03-01 06:00Z', 100, 100, 100, 'z', 1, 1"],
  // Berlin: the night of 29 March has no hour from 2 to 3, that of 25 October has it twice.
  ...["'2026-03-28 23:00Z', 1, 0, 0, 'c', 1, 1", "'2026-03-29 21:59:59Z', 1, 0, 0, 'c', 1, 1", "'2026-03-29 22:00Z', 1, 0, 0, 'c', 1, 1"],
  ...["'2026-10-24 22:00Z', 1, 0, 0, 'c', 1, 1", "'2026-10-25 22:59:59Z', 1, 0, 0, 'c', 1, 1"],
]
const BETA = ["'2026-03-01 00:50Z', 2.5, 1, 0.25, 'c', 1, 1", "'2026-03-01 01:30Z', 3, 5, 1, 'd', 9, 1", "'2026-03-01 02:15Z', 1, 7, 1, 'd', 1, 1"]

const roles = {
  all: {
    read: { Machine: { fields: 'all' }, Sample: { fields: 'all' }, Shift: { fields: 'all' } },
    crossOrganization: ['testing'],
    explain: true,
  },
  some: { read: { Machine: { fields: 'all' }, Sample: { fields: 'all', rows: { secret: { eq: 1 } } } } },
  cells: {
    read: { Sample: [{ fields: ['key', 'takenAt', 'kind'] }, { fields: ['load'], rows: { secret: { eq: 1 } } }] },
  },
}
const own = { organizations: ['alpha'] }
const chief: TestClaims = { organization: 'alpha', roles: ['all'] }
const worker: TestClaims = { organization: 'alpha', roles: ['some'] }

let gateway: TestGateway
beforeAll(async () => {
  gateway = await open({})
}, 60_000)
afterAll(() => gateway.stop())

async function open(limits: Readonly<Record<string, unknown>>): Promise<TestGateway> {
  return startTestGateway({
    gateway: { limits: { seriesBuckets: 400, ...limits } },
    world: {
      contract: CONTRACT,
      organizations: { alpha: { sql: tables(ALPHA), roles }, beta: { sql: tables(BETA), roles } },
      agreements: [
        agreementOf('beta', 'alpha', {
          Sample: {
            rows: { secret: { ne: 9 } },
            allow: ['key', 'load', 'used', 'price', 'kind'],
            mask: { takenAt: { generalize: { unit: 'HOUR' } } },
          },
        }),
      ],
    },
  })
}

const MORNING = { range: { from: '2026-03-01T00:00:00Z', to: '2026-03-01T06:00:00Z' }, bucket: 'PT1H' }

const VARIABLES = `$range: TimeRange!, $bucket: Duration!, $timezone: String! = "UTC", $origin: DateTime, $fill: Fill, $groupBy: [SampleGroupBy!], $where: SampleWhere, $organizations: [ID!]`
const ARGUMENTS = 'range: $range, bucket: $bucket, timezone: $timezone, origin: $origin, fill: $fill, groupBy: $groupBy, where: $where'

async function asked(principal: TestClaims, selection: string, variables: Readonly<Record<string, unknown>>): Promise<TestAnswer> {
  return gateway.ask(principal, `query (${VARIABLES}) { sampleSeries(${ARGUMENTS}, organizations: $organizations) { ${selection} } }`, {
    ...MORNING,
    ...variables,
  })
}

// Whatever the selection asks for.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
type Bucket = any

async function buckets(principal: TestClaims, selection: string, variables: Readonly<Record<string, unknown>> = own): Promise<readonly Bucket[]> {
  const { json } = await asked(principal, `buckets { ${selection} }`, variables)
  expect(json.errors).toBeUndefined()
  expect(json.data.sampleSeries).toHaveLength(1)
  return json.data.sampleSeries[0].buckets as readonly Bucket[]
}

async function code(document: string, variables: Readonly<Record<string, unknown>> = {}, principal = chief): Promise<string> {
  const { json, status } = await gateway.ask(principal, document, variables)
  return `${status} ${(json.errors ?? []).map(({ extensions }) => extensions.code).join()}`
}

describe('a series', () => {
  it('has a bucket for each hour with rows, from inclusive to exclusive', async () => {
    expect(await buckets(chief, 'start end count sum { load used price } avg { load used }')).toEqual([
      {
        ...{ start: '2026-03-01T00:00:00Z', end: '2026-03-01T01:00:00Z', count: '2' },
        ...{ sum: { load: 2, used: '24', price: '4.00' }, avg: { load: 1, used: '12' } },
      },
      {
        ...{ start: '2026-03-01T03:00:00Z', end: '2026-03-01T04:00:00Z', count: '2' },
        ...{ sum: { load: 4, used: '11', price: '7' }, avg: { load: 4, used: '5.5' } },
      },
    ])
  })

  it('counts a row at the start of the range and none at its end, and cuts the buckets there', async () => {
    const range = { from: '2026-03-01T00:50:00Z', to: '2026-03-01T03:59:59.999999Z' }
    expect(await buckets(chief, 'start count', { ...own, range })).toEqual([
      { start: '2026-03-01T00:00:00Z', count: '1' },
      { start: '2026-03-01T03:00:00Z', count: '1' },
    ])
  })

  it('gives extremes, the first and the last value that there is', async () => {
    expect(await buckets(chief, 'min { load kind } max { used } first { load price kind } last { load price kind takenAt }')).toEqual([
      { min: { load: 0.5, kind: 'a' }, max: { used: '14' }, first: { load: 0.5, price: '1.50', kind: 'a' }, last: { load: 1.5, price: '2.50', kind: 'b', takenAt: '2026-03-01T00:50:00Z' } },
      { min: { load: 4, kind: 'a' }, max: { used: '9' }, first: { load: 4, price: '7', kind: 'a' }, last: { load: 4, price: '7', kind: 'a', takenAt: '2026-03-01T03:59:59.999999Z' } },
    ]) // prettier-ignore
  })

  it('gives percentiles between values, and rates of counters that may start anew', async () => {
    const variables = { ...own, where: { machine: { name: { eq: 'press' } } } }
    expect(await buckets(chief, 'median: percentile(p: 0.5) { load used price } low: percentile(p: 0.1) { used } rate { used }', variables)).toEqual([
      { median: { load: 1, used: '12', price: '2' }, low: { used: '10.4' }, rate: { used: '0.0011111111111111' } },
      // From 14 to 9: it began again at zero.
      { median: { load: null, used: '9', price: '7' }, low: { used: '9' }, rate: { used: '0.0025' } },
    ])
  })

  it('is counted by the clock of a time zone, in days of 23 and 25 hours', async () => {
    const days = { ...own, bucket: 'P1D', timezone: 'Europe/Berlin', range: { from: '2026-03-28T12:00:00Z', to: '2026-03-30T12:00:00Z' } }
    expect(await buckets(chief, 'start end count', days)).toEqual([
      { start: '2026-03-28T23:00:00Z', end: '2026-03-29T22:00:00Z', count: '2' },
      { start: '2026-03-29T22:00:00Z', end: '2026-03-30T22:00:00Z', count: '1' },
    ])
    const autumn = { ...days, range: { from: '2026-10-24T22:00:00Z', to: '2026-10-25T23:00:00Z' } }
    expect(await buckets(chief, 'start end count', autumn)).toEqual([{ start: '2026-10-24T22:00:00Z', end: '2026-10-25T23:00:00Z', count: '2' }])
  })

  it('begins weeks on Monday, months on the first, and all of them where `origin` says', async () => {
    const year = { ...own, range: { from: '2026-03-01T00:00:00Z', to: '2026-03-02T00:00:00Z' }, fill: 'NULL' }
    const starts = async (bucket: string, more: object = {}): Promise<readonly string[]> =>
      (await buckets(chief, 'start', { ...year, bucket, ...more })).map(({ start }) => start as string)
    expect(await starts('P1W')).toEqual(['2026-02-23T00:00:00Z'])
    expect(await starts('P3M')).toEqual(['2026-01-01T00:00:00Z'])
    expect(await starts('P1M', { origin: '2020-01-15T06:00:00Z' })).toEqual(['2026-02-15T06:00:00Z'])
    expect(await starts('PT12H', { origin: '2031-05-05T03:00:00Z' })).toEqual(['2026-02-28T15:00:00Z', '2026-03-01T03:00:00Z', '2026-03-01T15:00:00Z'])
  })

  it('stands apart for each group', async () => {
    const { json } = await asked(chief, 'keys { kind organization } buckets { start count }', { ...own, groupBy: [{ field: 'KIND' }] })
    expect(json.data.sampleSeries).toEqual([
      { keys: { kind: 'a', organization: null }, buckets: [{ start: '2026-03-01T00:00:00Z', count: '1' }, { start: '2026-03-01T03:00:00Z', count: '1' }] },
      { keys: { kind: 'b', organization: null }, buckets: [{ start: '2026-03-01T00:00:00Z', count: '1' }] },
      { keys: { kind: null, organization: null }, buckets: [{ start: '2026-03-01T03:00:00Z', count: '1' }] },
    ]) // prettier-ignore
  })

  it('stands beside the list of a row, over its rows alone', async () => {
    const document = `query (${VARIABLES.replace(', $organizations: [ID!]', '')}) { machines(organizations: ["alpha"]) { nodes { name
      sampleSeries(${ARGUMENTS}) { __typename buckets { start count last { kind } percentile(p: 1) { used } } } } } }`
    const { json } = await gateway.ask(chief, document, MORNING)
    const at = (hour: string): string => `2026-03-01T0${hour}:00:00Z`
    expect(json.data.machines.nodes).toEqual([
      {
        name: 'press',
        sampleSeries: [
          {
            __typename: 'SampleSeries',
            buckets: [
              { start: at('0'), count: '2', last: { kind: 'b' }, percentile: { used: '14' } },
              { start: at('3'), count: '1', last: { kind: null }, percentile: { used: '9' } },
            ],
          },
        ],
      },
      {
        name: 'lathe',
        sampleSeries: [{ __typename: 'SampleSeries', buckets: [{ start: at('3'), count: '1', last: { kind: 'a' }, percentile: { used: '2' } }] }],
      },
    ])
  })

  it('is the same where the answer streams', async () => {
    const selection = 'start end count sum { load used price } first { load kind } last { kind takenAt } rate { used } percentile(p: 0.3) { load price }'
    const document = `{ machines(organizations: ["alpha"], first: 20) { nodes { name
      sampleSeries(range: { from: "2026-01-01T00:00:00Z", to: "2026-12-31T00:00:00Z" }, bucket: "P1D", fill: PREVIOUS) { buckets { ${selection} } } } } }`
    const small = await open({ buffered: '1KiB' })
    try {
      const [held, streamed] = [await gateway.ask(chief, document), await small.ask(chief, document)]
      expect(streamed.json.errors).toBeUndefined()
      expect(streamed.json.data).toEqual(held.json.data)
      expect(held.json.data.machines.nodes[0].sampleSeries[0].buckets).toHaveLength(364)
      expect(streamed.headers.get('content-length')).toBeNull()
      expect(held.headers.get('content-length')).not.toBeNull()
    } finally {
      await small.stop()
    }
  }, 60_000)

  it('over no rows has no buckets, or all of them empty', async () => {
    const nobody = { organizations: [] }
    expect(await buckets(chief, 'start', nobody)).toEqual([])
    expect(await buckets(chief, 'count', { ...nobody, fill: 'NULL' })).toEqual(Array.from({ length: 6 }, () => ({ count: '0' })))
    const grouped = await asked(chief, 'buckets { count }', { ...nobody, fill: 'NULL', groupBy: [{ field: 'KIND' }] })
    expect(grouped.json.data.sampleSeries).toEqual([])
  })

  it('of times without a zone is read on their own clock', async () => {
    const document = (zone: string): string =>
      `{ shiftSeries(organizations: ["alpha"], range: { from: "2026-03-29T00:00:00Z", to: "2026-03-30T00:00:00Z" }, bucket: "P1D"${zone}) { buckets { start count sum { hours } } } }`
    const { json } = await gateway.ask(chief, document(''))
    expect(json.data.shiftSeries).toEqual([{ buckets: [{ start: '2026-03-29T00:00:00Z', count: '2', sum: { hours: '12' } }] }])
    expect(await code(document(', timezone: "Europe/Berlin"'))).toBe('400 BAD_USER_INPUT')
  })
})

describe('empty buckets', () => {
  const loads = async (fill: string): Promise<readonly unknown[]> =>
    (await buckets(chief, 'count avg { load } max { used kind }', { ...own, fill })).map(({ count, avg, max }) => [count, avg.load, max.used, max.kind])

  it('are listed with nulls', async () => {
    expect(await loads('NULL')).toEqual([['2', 1, '14', 'b'], ['0', null, null, null], ['0', null, null, null], ['2', 4, '9', 'a'], ['0', null, null, null], ['0', null, null, null]]) // prettier-ignore
  })

  it('have the last value before them', async () => {
    expect(await loads('PREVIOUS')).toEqual([['2', 1, '14', 'b'], ['0', 1, '14', 'b'], ['0', 1, '14', 'b'], ['2', 4, '9', 'a'], ['0', 4, '9', 'a'], ['0', 4, '9', 'a']]) // prettier-ignore
  })

  it('have a value on the line between their neighbours, where these are numbers', async () => {
    expect(await loads('LINEAR')).toEqual([['2', 1, '14', 'b'], ['0', 2, '12', null], ['0', 3, '11', null], ['2', 4, '9', 'a'], ['0', null, null, null], ['0', null, null, null]]) // prettier-ignore
  })
})

describe('owners together', () => {
  it('share their buckets: counts and sums add up, the first and last are those of all', async () => {
    const selection = 'start count sum { load used } avg { used } first { kind } last { kind } rate { used }'
    const together = await buckets(chief, selection, {})
    expect(together).toEqual([
      // Beta shows the hours of its rows only: 0:50 is at 0:00 there.
      {
        ...{ start: '2026-03-01T00:00:00Z', count: '3', sum: { load: 4.5, used: '25' }, avg: { used: '8.3333333333333333' } },
        ...{ first: { kind: 'c' }, last: { kind: 'b' }, rate: { used: '0.0011111111111111' } },
      },
      {
        ...{ start: '2026-03-01T02:00:00Z', count: '1', sum: { load: 1, used: '7' }, avg: { used: '7' } },
        ...{ first: { kind: 'd' }, last: { kind: 'd' }, rate: { used: '0.0016666666666667' } },
      },
      {
        ...{ start: '2026-03-01T03:00:00Z', count: '2', sum: { load: 4, used: '11' }, avg: { used: '5.5' } },
        ...{ first: { kind: 'a' }, last: { kind: 'a' }, rate: { used: '0.0025' } },
      },
    ])
  })

  it('are filled once they are together', async () => {
    const counts = (await buckets(chief, 'count sum { used }', { fill: 'PREVIOUS' })).map(({ count, sum }) => `${count} ${sum.used}`)
    expect(counts).toEqual(['3 25', '0 25', '1 7', '2 11', '0 11', '0 11'])
  })

  it('have no percentile, unless each stands alone', async () => {
    const document = (groupBy: string): string =>
      `{ sampleSeries(range: { from: "2026-03-01T00:00:00Z", to: "2026-03-01T01:00:00Z" }, bucket: "PT1H"${groupBy}) { keys { organization } buckets { percentile(p: 0.5) { used } } } }`
    expect(await code(document(''))).toBe('400 NOT_EXACT')
    const { json } = await gateway.ask(chief, document(', groupBy: [{ field: ORGANIZATION }]'))
    expect(json.data.sampleSeries).toEqual([
      { keys: { organization: 'alpha' }, buckets: [{ percentile: { used: '12' } }] },
      { keys: { organization: 'beta' }, buckets: [{ percentile: { used: '1' } }] },
    ])
  })

  it('are incomplete without one of them, and those by organization stand', async () => {
    const admin = await gateway.connect('postgres')
    await admin.query(`ALTER DATABASE ${gateway.database('beta')} ALLOW_CONNECTIONS false`)
    await admin.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1', [gateway.database('beta')])
    try {
      const all = await asked(chief, 'buckets { count }', {})
      expect(all.json.data).toEqual({ sampleSeries: null })
      expect(all.json.errors?.map(({ path, extensions }) => [path, extensions.code])).toEqual([
        [undefined, 'SOURCE_UNAVAILABLE'],
        [['sampleSeries'], 'INCOMPLETE'],
      ])
      const each = await asked(chief, 'keys { organization } buckets { count }', { groupBy: [{ field: 'ORGANIZATION' }] })
      expect(each.json.data.sampleSeries).toEqual([{ keys: { organization: 'alpha' }, buckets: [{ count: '2' }, { count: '2' }] }])
    } finally {
      await admin.query(`ALTER DATABASE ${gateway.database('beta')} ALLOW_CONNECTIONS true`)
    }
  })
})

describe('policy', () => {
  it('leaves hidden rows out of every measure, and changes nothing else', async () => {
    const selection = 'start count sum { used } first { kind } last { kind } percentile(p: 1) { used } rate { used }'
    const hidden = await buckets(worker, selection)
    const chosen = await buckets(chief, selection, { ...own, where: { secret: { eq: 1 } } })
    expect(hidden).toEqual(chosen)
    expect(hidden).not.toEqual(await buckets(chief, selection))
  })

  it('refuses measures of cells, and what a mask does not allow, before any store is asked', async () => {
    const cells: TestClaims = { organization: 'alpha', roles: ['cells'] }
    const series = (measure: string, more = ''): string =>
      `{ sampleSeries(range: { from: "2026-03-01T00:00:00Z", to: "2026-03-02T00:00:00Z" }, bucket: "PT1H"${more}) { buckets { count ${measure} } } }`
    for (const measure of ['first { load }', 'last { load }', 'rate { load }', 'percentile(p: 0.5) { load }', 'sum { load }', 'min { used }'])
      expect(await code(series(measure), {}, cells)).toBe('403 FIELD_NOT_USABLE')
    expect(await code(series('first { kind }', ', where: { secret: { eq: 1 } }'), {}, cells)).toBe('403 FIELD_NOT_USABLE')
    expect(await code(series('first { kind }'), {}, cells)).toBe('200 ')
    expect(await code(series('max { takenAt }'))).toBe('403 FIELD_NOT_USABLE') // beta masks it
    expect(await code(series('', ', groupBy: [{ field: SECRET }]'))).toBe('403 FIELD_NOT_USABLE') // beta does not give it
  })

  it('says which fields were used in the ledger, as for any other question', async () => {
    const { json } = await asked(chief, 'buckets { sum { used } }', {})
    expect(json.extensions.sovereignty.served.map(({ organization }) => organization)).toEqual(['alpha', 'beta'])
    expect(json.extensions.sovereignty.receipt?.ledger).toBe('alpha')
  })
})

describe('what makes no sense', () => {
  it.each([
    ['an empty range', { range: { from: '2026-03-01T00:00:00Z', to: '2026-03-01T00:00:00Z' } }, 'BAD_USER_INPUT'],
    ['a range turned round', { range: { from: '2026-03-02T00:00:00Z', to: '2026-03-01T00:00:00Z' } }, 'BAD_USER_INPUT'],
    ['a width that is none', { bucket: 'one hour' }, 'BAD_USER_INPUT'],
    ['a width of nothing', { bucket: 'PT0S' }, 'BAD_USER_INPUT'],
    ['a width of mixed units', { bucket: 'P1DT1H' }, 'BAD_USER_INPUT'],
    ['an unknown zone', { timezone: 'Europe/Atlantis' }, 'BAD_USER_INPUT'],
    ['SQL for a zone', { timezone: "UTC'; DROP TABLE samples; --" }, 'BAD_USER_INPUT'],
    ['months from the 31st', { bucket: 'P1M', origin: '2026-01-31T00:00:00Z' }, 'BAD_USER_INPUT'],
    ['a bucket that began before the first year', { bucket: 'P9999Y', range: { from: '1999-01-01T00:00:00Z', to: '1999-01-02T00:00:00Z' } }, 'BAD_USER_INPUT'],
    ['more buckets than are allowed', { bucket: 'PT1M', range: { from: '2026-03-01T00:00:00Z', to: '2026-03-01T06:41:00Z' } }, 'QUERY_TOO_COSTLY'],
    ['buckets without number', { bucket: 'PT0.000001S', range: { from: '0001-01-01T00:00:00Z', to: '9999-12-31T00:00:00Z' } }, 'QUERY_TOO_COSTLY'],
  ])('is refused: %s', async (_name, variables, expected) => {
    const { json, status } = await asked(chief, 'buckets { count }', variables)
    expect([status, json.errors?.map(({ extensions }) => extensions.code)]).toEqual([400, [expected]])
  })

  it('is refused as a literal too, and as the fraction of a percentile', async () => {
    const series = (bucket: string, selection: string): string =>
      `{ sampleSeries(organizations: ["alpha"], range: { from: "2026-03-01T00:00:00Z", to: "2026-03-02T00:00:00Z" }, bucket: "${bucket}") { buckets { ${selection} } } }`
    expect(await code(series('P0D', 'count'))).toBe('400 GRAPHQL_VALIDATION_FAILED')
    expect(await code(series('PT1H', 'percentile(p: 1.0001) { used }'))).toBe('400 BAD_USER_INPUT')
    expect(await code(series('PT1H', 'percentile(p: -0.1) { used }'))).toBe('400 BAD_USER_INPUT')
    expect(await code(series('PT1H', 'percentile(p: 1) { used }'))).toBe('200 ')
  })

  it('is refused where groups list more buckets together than are allowed', async () => {
    const day = { ...own, bucket: 'PT5M', groupBy: [{ field: 'KIND' }] }
    expect((await asked(chief, 'buckets { count }', day)).status).toBe(200)
    expect((await asked(chief, 'buckets { count }', { ...day, fill: 'NULL' })).status).toBe(200)
    const refused = await asked(chief, 'buckets { count }', { ...day, bucket: 'PT2M', fill: 'NULL' })
    expect(refused.json.errors?.map(({ extensions }) => extensions.code)).toEqual(['QUERY_TOO_COSTLY'])
  })

  it('is refused where it costs too much: buckets count, as five in groups, and for each row of a list', async () => {
    const cost = async (document: string): Promise<number | undefined> =>
      (await gateway.request(chief, document, { path: '/explain' })).json.extensions.explain?.cost
    const series = (more = '', selection = 'count'): string =>
      `sampleSeries(range: { from: "2026-03-01T00:30:00Z", to: "2026-03-02T00:00:00Z" }, bucket: "PT1H"${more}) { buckets { ${selection} } }`
    expect(await cost(`{ ${series()} }`)).toBe(24 + 10)
    expect(await cost(`{ ${series(', groupBy: [{ field: ORGANIZATION }]', 'sum { used } rate { used }')} }`)).toBe(24 + 30)
    expect(await cost(`{ ${series(', groupBy: [{ field: KIND }]')} }`)).toBe(24 * 5 + 10 + 4)
    expect(await cost(`{ machines(organizations: ["alpha"], first: 7) { nodes { ${series()} } } }`)).toBe(7 * (1 + 34) + 1)
    const dear = `{ machines(organizations: ["alpha"], first: 1000) { nodes { ${series(', groupBy: [{ field: KIND }]')} } } }`
    expect(await code(dear)).toBe('400 QUERY_TOO_COSTLY')
  })

  it('the largest number of buckets is still allowed', async () => {
    const range = { from: '2026-03-01T00:00:00Z', to: '2026-03-01T06:40:00Z' }
    expect(await buckets(chief, 'count', { ...own, bucket: 'PT1M', range, fill: 'NULL' })).toHaveLength(400)
  })
})
