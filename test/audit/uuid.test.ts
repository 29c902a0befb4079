import { randomBytes } from 'node:crypto'
import { describe, expect, it } from '@jest/globals'
import { uuidSource, uuidV7 } from '../../src/audit/uuid.js'

const PATTERN = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

describe('UUIDv7', () => {
  it('has the layout of the example in RFC 9562, appendix A.6', () => {
    // unix_ts_ms 0x017F22E279B0, rand_a 0xCC3, rand_b 0x18C4DC0C0C07398F: the free bits are rand_a || rand_b.
    const tail = ((0xcc3n << 62n) | 0x18c4dc0c0c07398fn).toString(16).padStart(20, '0')
    expect(uuidV7(0x017f22e279b0, () => Buffer.from(tail, 'hex'))).toBe('017f22e2-79b0-7cc3-98c4-dc0c0c07398f')
  })

  it('keeps its form whatever the random bits are', () => {
    for (const fill of [0x00, 0xff, 0x80, 0x01]) expect(uuidV7(0, (bytes) => Buffer.alloc(bytes, fill))).toMatch(PATTERN)
    for (let round = 0; round < 1000; round++) expect(uuidV7(Date.UTC(2026, 2, 2) + round, randomBytes)).toMatch(PATTERN)
  })

  it('only grows within one source, also when the clock stands still or steps back', () => {
    const times = [1000, 1000, 1000, 999, 5, 1000, 1001, 1001]
    const next = uuidSource({ now: () => times.shift() ?? 1001, random: randomBytes })
    const ids = Array.from({ length: 5000 }, next)
    expect([...ids].sort()).toEqual(ids)
    expect(new Set(ids).size).toBe(ids.length)
    for (const id of ids) expect(id).toMatch(PATTERN)
  })

  it('borrows the next millisecond when the free bits are used up', () => {
    const next = uuidSource({ now: () => 1, random: (bytes) => Buffer.alloc(bytes, 0xff) })
    const [first, second] = [next(), next()]
    expect(first.startsWith('00000000-0001-')).toBe(true)
    expect(second.startsWith('00000000-0002-')).toBe(true)
  })
})
