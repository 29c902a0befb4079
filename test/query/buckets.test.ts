import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { type BucketSpec, bucketBounds } from '../../src/query/buckets.js'
import { parseWidth } from '../../src/query/duration.js'
import { floored, isTimezone, microsOf, textOfMicros, Zone } from '../../src/query/zone.js'

const bounds = (spec: Partial<BucketSpec> & Pick<BucketSpec, 'from' | 'to' | 'width'>): readonly string[] =>
  bucketBounds({ timezone: 'UTC', origin: null, ...spec }, { bucketsMax: 1_000, path: 'series' })

describe('the bounds of buckets', () => {
  it('are those of the buckets that touch the range, and the end of the last', () => {
    expect(bounds({ from: '2026-03-01T00:30:00Z', to: '2026-03-01T02:00:00.000001Z', width: 'PT1H' })).toEqual([
      ...['2026-03-01T00:00:00', '2026-03-01T01:00:00', '2026-03-01T02:00:00', '2026-03-01T03:00:00'],
    ])
    expect(bounds({ from: '2026-03-01T01:00:00Z', to: '2026-03-01T02:00:00Z', width: 'PT1H' })).toEqual(['2026-03-01T01:00:00', '2026-03-01T02:00:00'])
  })

  it('follow the clocks of a zone by day, and none by hour', () => {
    const spring = { from: '2026-03-28T23:00:00Z', to: '2026-03-29T22:00:00Z', timezone: 'Europe/Berlin' }
    expect(bounds({ ...spring, width: 'P1D' })).toEqual(['2026-03-28T23:00:00', '2026-03-29T22:00:00'])
    expect(bounds({ ...spring, width: 'PT1H' })).toHaveLength(24)
    expect(bounds({ from: '2026-10-24T22:00:00Z', to: '2026-10-25T23:00:00Z', timezone: 'Europe/Berlin', width: 'PT1H' })).toHaveLength(26)
  })

  it('have no bucket for a day that a zone has left out', () => {
    const apia = { from: '2011-12-29T12:00:00Z', to: '2012-01-01T00:00:00Z', timezone: 'Pacific/Apia', width: 'P1D' }
    expect(bounds(apia)).toEqual(['2011-12-29T10:00:00', '2011-12-30T10:00:00', '2011-12-31T10:00:00', '2012-01-01T10:00:00'])
  })

  it('begin where the origin says', () => {
    const range = { from: '2026-05-15T00:00:00Z', to: '2026-05-16T00:00:00Z' }
    expect(bounds({ ...range, width: 'P1M', origin: '2020-01-28T06:00:00Z' })).toEqual(['2026-04-28T06:00:00', '2026-05-28T06:00:00'])
    expect(bounds({ ...range, width: 'P1M', timezone: 'Europe/Berlin', origin: '2020-01-01T05:00:00Z' })).toEqual([
      '2026-05-01T04:00:00',
      '2026-06-01T04:00:00',
    ])
    expect(() => bounds({ ...range, width: 'P1M', origin: '2020-01-29T00:00:00Z' })).toThrow(expect.objectContaining({ code: 'BAD_USER_INPUT' }))
  })

  it('are as many as allowed, and not one more', () => {
    const hours = (to: string): readonly string[] => bounds({ from: '2026-01-01T00:00:00Z', to, width: 'PT1H' })
    expect(hours('2026-02-11T16:00:00Z')).toHaveLength(1_001)
    expect(() => hours('2026-02-11T16:00:00.000001Z')).toThrow(expect.objectContaining({ code: 'QUERY_TOO_COSTLY' }))
  })

  it('ascend, hold the range, and no bucket is beyond it', () => {
    const time = fc
      .date({ min: new Date('0200-01-01'), max: new Date('9000-01-01'), noInvalidDate: true })
      .map((date) => date.toISOString().replace('.000Z', 'Z'))
    const spec = fc.record({
      from: time,
      days: fc.double({ min: 0.001, max: 300, noNaN: true }),
      width: fc.constantFrom('PT17H', 'PT24H', 'P1D', 'P3D', 'P1W', 'P1M', 'P5M', 'P1Y', 'P80Y'),
      timezone: fc.constantFrom('UTC', 'Europe/Berlin', 'America/Havana', 'Pacific/Apia', 'Asia/Kathmandu', 'Africa/Casablanca', 'Australia/Lord_Howe'),
      origin: fc.option(time, { nil: null }).map((origin) => origin?.replace(/-\d\dT/, '-05T') ?? null),
    })
    fc.assert(
      fc.property(spec, ({ from, days, ...rest }) => {
        const end = textOfMicros(microsOf(from) + BigInt(Math.round(days * 86_400)) * 1_000_000n)
        if (end === null) return
        const found = bounds({ ...rest, from, to: `${end}Z` }).map(microsOf)
        expect(found.slice(1).every((bound, index) => bound > (found[index] ?? bound))).toBe(true)
        expect((found[0] ?? 0n) <= microsOf(from) && (found[1] ?? 0n) > microsOf(from)).toBe(true)
        expect((found.at(-1) ?? 0n) >= microsOf(end) && (found.at(-2) ?? 0n) < microsOf(end)).toBe(true)
      }),
    )
  })
})

describe('a width', () => {
  it.each([
    ['PT1M', { kind: 'time', micros: 60_000_000n }],
    ['PT1H30M0.5S', { kind: 'time', micros: 5_400_500_000n }],
    ['PT0.000001S', { kind: 'time', micros: 1n }],
    ['P1D', { kind: 'days', count: 1 }],
    ['P2W', { kind: 'days', count: 14 }],
    ['P3M', { kind: 'months', count: 3 }],
    ['P1Y', { kind: 'months', count: 12 }],
  ])('is read from %s', (text, width) => {
    expect(parseWidth(text)).toEqual(width)
  })

  it.each([
    '',
    'P',
    'PT',
    'P0D',
    'PT0S',
    'PT0H0M',
    'P-1D',
    '-P1D',
    'P1DT1H',
    'P1Y1M',
    'P1.5D',
    'PT1D',
    'P1H',
    'pt1h',
    'PT1H ',
    'PT1M1H',
    'PT0.0000001S',
    'P1000000D',
    '1 day',
  ])('is none in %j', (text) => {
    expect(parseWidth(text)).toBeNull()
  })
})

describe('a zone', () => {
  it('shows the time that it had, to the second', () => {
    const berlin = new Zone('Europe/Berlin')
    expect(textOfMicros(berlin.wallOf(microsOf('1850-01-01T00:00:00Z')))).toBe('1850-01-01T00:53:28')
    expect(textOfMicros(new Zone('Etc/GMT+12').wallOf(microsOf('2026-01-01T12:00:00.25Z')))).toBe('2026-01-01T00:00:00.25')
  })

  it('takes what the clocks skip as before the change, and what they show twice as after it', () => {
    const berlin = new Zone('Europe/Berlin')
    expect(textOfMicros(berlin.instantOf(microsOf('2026-03-29T02:30:00')))).toBe('2026-03-29T01:30:00')
    expect(textOfMicros(berlin.instantOf(microsOf('2026-10-25T02:30:00')))).toBe('2026-10-25T01:30:00')
  })

  it('has a name that the runtime knows, and no offset or other text', () => {
    expect(['UTC', 'Europe/Berlin', 'Etc/GMT+12'].every(isTimezone)).toBe(true)
    expect(['', '+01:00', 'Europe/Atlantis', "UTC'", 'europe berlin'].some(isTimezone)).toBe(false)
  })

  it('counts whole quotients down', () => {
    expect([floored(7n, 2n), floored(-7n, 2n), floored(-8n, 2n)]).toEqual([3n, -4n, -4n])
  })
})
