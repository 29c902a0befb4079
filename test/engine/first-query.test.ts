import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { TestGateway } from '../support/gateway.js'
import { startTestGateway } from '../support/gateway.js'

describe('the demo', () => {
  let gateway: TestGateway

  beforeAll(async () => {
    gateway = await startTestGateway()
  }, 60_000)
  afterAll(() => gateway.stop())

  it('answers one query from three organizations, in order and with a receipt', async () => {
    const { status, json } = await gateway.ask(
      'ana',
      '{ agents(first: 20, orderBy: [{ name: ASC }]) { totalCount nodes { id organization name owner { name } } pageInfo { hasNextPage endCursor } } }',
    )
    expect(json.errors).toBeUndefined()
    expect(status).toBe(200)
    const nodes = json.data.agents.nodes as { organization: string; name: string }[]
    expect(new Set(nodes.map(({ organization }) => organization))).toEqual(new Set(['aurora', 'borealis', 'cascade']))
    const names = nodes.map(({ name }) => name)
    expect(names).toEqual([...names].sort())
    expect(json.extensions.sovereignty.served.map(({ organization }) => organization)).toEqual(['aurora', 'borealis', 'cascade'])
    expect(json.extensions.sovereignty.receipt).toMatchObject({ ledger: 'aurora' })
  })
})
