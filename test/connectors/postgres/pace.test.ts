import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { Pace } from '../../../src/connectors/postgres/pace.js'

const run = (ms: number, { busy = 1, bytes = 100 } = {}) => ({ ms, busy, bytes })

function after(pace: Pace, ...runs: readonly { readonly ms: number; readonly busy: number; readonly bytes: number }[]): Pace {
  for (const each of runs) pace.note(each)
  return pace
}

describe('a statement is quick', () => {
  it('from the start where it finds one row by its key, until it is known better', () => {
    expect(Pace.ofLookup().isQuick).toBe(true)
    expect(Pace.ofLookup().ms).toBeGreaterThan(0)
    expect(after(Pace.ofLookup(), run(100)).isQuick).toBe(false)
  })

  it('once three runs have shown it, and not before', () => {
    const pace = Pace.unknown()
    expect([0, 1, 2, 3].map(() => [pace.isQuick, after(pace, run(1))][0])).toEqual([false, false, false, true])
  })

  it('never by being cut off, however early', () => {
    const pace = Pace.unknown()
    for (let turn = 0; turn < 5; turn += 1) pace.noteCut({ ms: 1, busy: 1 })
    expect(pace.isQuick).toBe(false)
    const known = after(Pace.unknown(), run(1), run(1), run(1))
    known.noteCut({ ms: 0.1, busy: 1 })
    expect(known.isQuick).toBe(true)
    known.noteCut({ ms: 250, busy: 1 })
    expect(known.isQuick).toBe(false)
  })

  it('up to its limit of time, and not beyond', () => {
    expect(after(Pace.unknown(), run(20), run(20), run(20)).isQuick).toBe(true)
    expect(after(Pace.unknown(), run(20.1), run(20.1), run(20.1)).isQuick).toBe(false)
  })

  it('up to its limit of bytes, and not beyond: others would wait for them', () => {
    const of = (bytes: number): boolean => after(Pace.unknown(), ...[1, 2, 3].map(() => run(1, { bytes }))).isQuick
    expect([of(64 * 1024), of(64 * 1024 + 1)]).toEqual([true, false])
  })

  it('whatever it waits for among others that are under way', () => {
    expect(after(Pace.unknown(), ...[1, 2, 3].map(() => run(100, { busy: 10 }))).ms).toBeCloseTo(10)
    expect(after(Pace.unknown(), run(8, { busy: 0 })).ms).toBe(8)
  })

  it('no more, soon after it has become slow, and again only after many quick runs', () => {
    const pace = after(Pace.unknown(), run(1), run(1), run(1))
    let slow = 0
    while (pace.isQuick) slow = after(pace, run(60)) && slow + 1
    let quick = 0
    while (!pace.isQuick) quick = after(pace, run(1)) && quick + 1
    expect([slow, quick]).toEqual([1, 5])
    const slower = after(Pace.unknown(), run(200), run(200), run(200))
    let needed = 0
    while (!slower.isQuick) needed = after(slower, run(1)) && needed + 1
    expect(needed).toBeGreaterThan(15)
  })

  it('by an expectation that lies among what it took', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 0, max: 1_000, noNaN: true }), { minLength: 1, maxLength: 30 }), (all) => {
        const { ms } = after(Pace.unknown(), ...all.map((each) => run(each)))
        expect(ms).toBeGreaterThanOrEqual(Math.min(...all) - 1e-9)
        expect(ms).toBeLessThanOrEqual(Math.max(...all) + 1e-9)
      }),
    )
  })
})
