import { describe, expect, it } from '@jest/globals'
import { encodeParameters } from '../../../src/connectors/sql/parameter.js'
import { bucketBounds } from '../../../src/query/buckets.js'

const strideOf = (times: readonly string[]): string | null => {
  const [text = null] = encodeParameters([{ operand: { kind: 'constant', value: times }, encoding: { kind: 'stride' }, cast: 'interval' }], {
    slots: [],
    claims: new Map(),
  })
  return text
}
const boundsOf = (from: string, to: string, width: string, timezone = 'UTC'): readonly string[] =>
  bucketBounds({ from, to, width, timezone, origin: null }, { bucketsMax: 1_000, path: 'series' })

describe('the stride of buckets', () => {
  it('is their length where all have the same one, to the microsecond', () => {
    expect(strideOf(boundsOf('2026-03-01T00:30:00Z', '2026-03-02T00:00:00Z', 'PT1H').map((text) => `${text}Z`))).toBe('01:00:00.000000')
    expect(strideOf(['2026-03-01T00:00:00.000001', '2026-03-02T01:01:01', '2026-03-03T02:02:01.999999'])).toBe('25:01:00.999999')
    expect(strideOf(['0001-01-01T00:00:00', '9999-12-31T00:00:00'])).toBe('87649392:00:00.000000')
  })

  it('is none where one differs, the last one or a day of 23 hours', () => {
    expect(strideOf(['2026-03-01T00:00:00', '2026-03-02T00:00:00', '2026-03-03T00:00:00.000001'])).toBeNull()
    expect(strideOf(boundsOf('2026-03-28T00:00:00Z', '2026-03-31T00:00:00Z', 'P1D', 'Europe/Berlin'))).toBeNull()
    expect(strideOf(boundsOf('2026-03-29T12:00:00Z', '2026-03-31T00:00:00Z', 'P1D', 'America/Phoenix'))).toBe('24:00:00.000000')
    expect(strideOf(boundsOf('2026-01-01T00:00:00Z', '2026-04-01T00:00:00Z', 'P1M'))).toBeNull()
  })

  it('is none of fewer than two times', () => {
    expect([strideOf([]), strideOf(['2026-03-01T00:00:00'])]).toEqual([null, null])
  })
})
