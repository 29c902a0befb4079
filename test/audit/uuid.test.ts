import { randomBytes } from 'node:crypto'
import { describe, expect, it } from '@jest/globals'
import { pooledRandom, uuidSource, uuidV7 } from '../../src/audit/uuid.js'

const PATTERN = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

describe('UUIDv7', () => {
  it('has the layout of the example in RFC 9562, appendix A.6', () => {
    expect(uuidV7(0x017f22e279b0, () => Buffer.from('7cc398c4dc0c0c07398f', 'hex'))).toBe('017f22e2-79b0-7cc3-98c4-dc0c0c07398f')
    // Whatever stands at the places of version and variant.
    expect(uuidV7(0x017f22e279b0, () => Buffer.from('fcc3d8c4dc0c0c07398f', 'hex'))).toBe('017f22e2-79b0-7cc3-98c4-dc0c0c07398f')
  })

  it('keeps its form whatever the random bits are', () => {
    for (const fill of [0x00, 0xff, 0x80, 0x01]) expect(uuidV7(0, (bytes) => Buffer.alloc(bytes, fill))).toMatch(PATTERN)
    const random = pooledRandom()
    for (let round = 0; round < 1000; round++) expect(uuidV7(Date.UTC(2026, 2, 2) + round, random)).toMatch(PATTERN)
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
    const ids = [next(), next(), next()]
    // All bits are ones but the 26 upper ones, which begin just below their end.
    expect(ids.map((id) => id.slice(0, 13))).toEqual(['00000000-0001', '00000000-0002', '00000000-0003'])
    expect([...ids].sort()).toEqual(ids)
  })
})

describe('pooled randomness', () => {
  it('gives no byte twice and keeps what it gave', () => {
    const random = pooledRandom()
    const given = Array.from({ length: 2000 }, () => random(32))
    const texts = given.map((bytes) => Buffer.from(bytes).toString('hex'))
    expect(new Set(texts).size).toBe(2000)
    for (let round = 0; round < 2000; round++) random(32)
    expect(given.map((bytes) => Buffer.from(bytes).toString('hex'))).toEqual(texts)
    expect(random(10_000)).toHaveLength(10_000)
  })
})
