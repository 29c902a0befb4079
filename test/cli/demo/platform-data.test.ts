import { describe, expect, it } from '@jest/globals'
import { createHash } from 'node:crypto'
import type { DemoOrganization, PlatformData } from '../../../src/cli/demo/platform-data.js'
import { DEMO_ORGANIZATIONS, PLATFORM_NOW, platformData, timeText } from '../../../src/cli/demo/platform-data.js'

function digest(data: PlatformData): string {
  const rows = [data.users(), data.agents(), data.workflows(), data.executions(), data.metrics(), data.settings()].map((each) => [...each])
  return createHash('sha256').update(JSON.stringify(rows)).digest('hex').slice(0, 16)
}

describe('platformData', () => {
  it('is the same on every machine and day', () => {
    // A change here changes everybody's demo: raise PLATFORM_DATA_VERSION with it.
    expect(DEMO_ORGANIZATIONS.map((organization) => digest(platformData(organization, 0.004)))).toMatchInlineSnapshot(`
     [
       "57c4c53f2e6a3173",
       "3d9259257341ee5a",
       "8ecd31bfbb831812",
     ]
    `)
  })

  it('has the promised size at scale 1, and a floor below', () => {
    expect(platformData('aurora', 1).counts).toEqual({ users: 400, agents: 10_000, workflows: 2_000, executions: 300_000 })
    expect(platformData('aurora', 0.004).counts).toEqual({ users: 12, agents: 40, workflows: 12, executions: 1_200 })
    expect(platformData('aurora', 0).counts).toEqual({ users: 12, agents: 40, workflows: 12, executions: 600 })
  })

  it.each(DEMO_ORGANIZATIONS)('refers only to rows that are there, and to nothing after its end (%s)', (organization: DemoOrganization) => {
    const data = platformData(organization, 0.02)
    const within = (number: number | null, count: number): boolean => number === null || (Number.isInteger(number) && number >= 0 && number < count)
    for (const agent of data.agents()) expect(within(agent.owner, data.counts.users)).toBe(true)
    for (const workflow of data.workflows()) expect(within(workflow.owner, data.counts.users)).toBe(true)
    let before = 0
    for (const { workflow, agent, startedAt, endedAt, status, error } of data.executions()) {
      expect(within(workflow, data.counts.workflows) && within(agent, data.counts.agents)).toBe(true)
      expect(startedAt >= before && startedAt < PLATFORM_NOW && (endedAt === null || (endedAt >= startedAt && endedAt <= PLATFORM_NOW))).toBe(true)
      expect(endedAt === null).toBe(status === 'QUEUED' || status === 'RUNNING')
      expect(error === null || status === 'FAILED').toBe(true)
      before = startedAt
    }
    for (const metric of data.metrics()) expect(within(metric.execution, data.counts.executions)).toBe(true)
  })

  it.each(DEMO_ORGANIZATIONS)('shows every case at the smallest size (%s)', (organization: DemoOrganization) => {
    const data = platformData(organization, 0)
    const agents = [...data.agents()]
    const executions = [...data.executions()]
    expect(new Set(agents.map(({ status }) => status))).toEqual(new Set(['ACTIVE', 'PAUSED', 'ARCHIVED']))
    expect(new Set(executions.map(({ status }) => status))).toEqual(new Set(['QUEUED', 'RUNNING', 'SUCCEEDED', 'FAILED', 'CANCELLED']))
    for (const field of ['description', 'tags', 'configuration', 'monthlyBudgetCents', 'maxConcurrency', 'updatedAt', 'owner'] as const) {
      expect({ field, nulls: agents.some((agent) => agent[field] === null) }).toEqual({ field, nulls: true })
    }
    const names = agents.map(({ name }) => name).join('\n')
    for (const sign of ['"', "'", /[%\\_]/, /\p{Extended_Pictographic}/u]) expect(names).toMatch(sign)
    expect(new Set([...data.users()].map(({ team }) => team))).toEqual(new Set(['operations', 'research', 'finance', 'support', null]))
    const busy = new Set(executions.map(({ agent }) => agent))
    expect(agents.some(({ number }) => !busy.has(number))).toBe(true)
    expect([...data.metrics()].some(({ outputSize }) => outputSize === '9007199254740993')).toBe(true)
  })

  it('gives users addresses that are unique', () => {
    const emails = [...platformData('borealis', 1).users()].flatMap(({ email }) => email ?? [])
    expect(new Set(emails).size).toBe(emails.length)
  })

  it('writes times with all microseconds', () => {
    expect(timeText(PLATFORM_NOW)).toBe('2026-03-03T00:00:00.000000Z')
    expect(timeText(PLATFORM_NOW - 1)).toBe('2026-03-02T23:59:59.999999Z')
  })
})
