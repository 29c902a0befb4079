import { describe, expect, it } from '@jest/globals'
import { chart } from '../../bench/chart.js'
import { missed, verdict } from '../../bench/goal.js'
import { printed } from '../../bench/markdown.js'
import { deviation } from '../../bench/statistics.js'
import { CPU_GUARDS, goalsOf, NOISE, summary, workloadChart, workloadTables } from '../../bench/report.js'

const run = ({ round, contestant, requests }) => ({
  round,
  workload: 'W1',
  contestant,
  requests,
  seconds: 2,
  bytesEach: 100,
  p50Ms: 1,
  p99Ms: 3,
  cpuMs: { contestant: requests * 0.05, stores: requests * 0.03, ledger: requests * 0.02 },
  loadCpuMs: 500,
})

/** Three rounds: the machine is half as fast in the second one, for both. */
const rows = summary([
  run({ round: 0, contestant: 'limit', requests: 1_000 }),
  run({ round: 0, contestant: 'gateway', requests: 600 }),
  run({ round: 1, contestant: 'limit', requests: 500 }),
  run({ round: 1, contestant: 'gateway', requests: 310 }),
  run({ round: 2, contestant: 'limit', requests: 1_000 }),
  run({ round: 2, contestant: 'gateway', requests: 580 }),
  run({ round: 2, contestant: 'postgraphile', requests: 200 }),
])

describe('the report of the bench', () => {
  it('takes ratios of the same round, and their median', () => {
    const gateway = rows.find(({ contestant }) => contestant === 'gateway')
    expect(gateway?.ratios.limit).toEqual([0.6, 0.62, 0.58])
    expect(gateway?.ratios.postgraphile).toEqual([2.9])
    expect(gateway?.cpuMs.all).toBeCloseTo(0.1)
    expect(gateway?.loadShare).toBeCloseTo(0.25)
  })

  it('holds the gateway against the limit and each peer that took part', () => {
    const throughput = goalsOf(rows).filter(({ what }) => what.includes('throughput'))
    expect(throughput.map(({ what, value, must }) => [what, value, must])).toEqual([
      ['W1, throughput ÷ limit', 0.6, 0.5],
      ['W1, throughput ÷ postgraphile', 2.9, 2],
    ])
  })

  it('fails where a goal is missed by more than the noise, and only there', () => {
    const goal = { what: 'W1', kind: 'atLeast', must: 0.5, aim: 0.75, noise: 0.1 }
    expect([0.8, 0.5, 0.46, 0.44, NaN].map((value) => verdict({ ...goal, value }))).toEqual(['aim', 'must', 'noise', 'missed', 'missed'])
    expect(verdict({ what: 'time', kind: 'atMost', must: 1_500, noise: 0.1, value: 1_600 })).toBe('noise')
    expect(missed([{ ...goal, value: 0.46 }])).toEqual([])
    expect(missed([{ ...goal, value: 0.44 }])).toEqual(['W1: 0.440, and it must be at least 0.500'])
    expect(missed([{ ...goal, guard: 0.35, value: 0.44 }])).toEqual([])
    expect(missed([{ ...goal, guard: 0.35, value: 0.34 }])).toEqual(['W1: 0.340, and it must be at least 0.350'])
    const time = { what: 'time', kind: 'atMost', must: 1_500, guard: 3_000, noise: 0.1 }
    expect([2_900, 3_100].map((value) => missed([{ ...time, value }]).length)).toEqual([0, 1])
  })

  it('holds the processor time of a request against that of the limit', () => {
    const [goal] = goalsOf(rows).filter(({ what }) => what.includes('processor time'))
    const all = (name) => rows.find(({ contestant, workload }) => contestant === name && workload === 'W1').cpuMs.all
    expect(goal.value).toBeCloseTo(all('limit') / all('gateway'))
    expect(missed([{ ...goal, value: CPU_GUARDS.W1 - 0.01 }])).toHaveLength(1)
  })

  it('lets no stray round make the noise larger', () => {
    expect(deviation([0.9, 1, 1.1, 1, 10])).toBeCloseTo(0.148)
  })

  it('knows the noise of every workload', () => {
    expect(Object.keys(NOISE)).toEqual(['W1', 'W2', 'W3', 'W4', 'W5', 'W6'])
  })

  it('prints a figure for each contestant, and a dash where there is none', () => {
    const words = { workloads: [{ id: 'W1', title: 'point lookup' }], contestants: ['limit', 'gateway', 'apollo'].map((name) => ({ name })), rows }
    expect(workloadTables(words)).toContain('| W1 | 1.00 | 0.600 [0.580–0.620] | - |')
    const drawing = chart({ note: 'today', ...workloadChart(words) })
    expect(drawing).toContain('0.600 · 290/s')
    expect(drawing).not.toContain('NaN')
  })

  it('draws no bar for what could not be measured', () => {
    const bars = [NaN, Infinity, 2].map((value) => ({ name: 'ms', value, text: String(value) }))
    expect(chart({ title: 'Time', note: '', groups: [{ label: 'a', bars }] })).not.toMatch(/="(NaN|Infinity)/)
  })

  it('prints three digits that count', () => {
    expect([0, 0.0123, 1.234, 12.34, 123.4, 12_345, -2.5, NaN].map(printed)).toEqual(['0.000', '0.012', '1.23', '12.3', '123', '12,345', '-2.50', '-'])
  })
})
