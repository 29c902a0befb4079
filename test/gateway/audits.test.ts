/** GraphQL over HTTP, as the npm package `graphql-http` audits it: every MUST, SHOULD and MAY, with a token, by a gateway that knows no document yet and by one that knows them all. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { serverAudits, type Audit, type AuditResult } from 'graphql-http'
import { startTestGateway, type TestGateway } from '../support/gateway.js'

let gateway: TestGateway
let token: string
beforeAll(async () => {
  gateway = await startTestGateway()
  token = await gateway.token('ana')
}, 60_000)
afterAll(async () => {
  await gateway.stop()
})

function audits(): Audit[] {
  return serverAudits({
    url: () => `${gateway.url}/graphql`,
    fetchFn: (url: string, init: RequestInit = {}) => {
      const headers = new Headers(init.headers)
      headers.set('authorization', `Bearer ${token}`)
      return fetch(url, { ...init, headers })
    },
  })
}

/** What is not fine, in words. */
async function complaints(): Promise<string[]> {
  const results = await Promise.all(audits().map((audit) => audit.fn()))
  return results
    .filter((result): result is Exclude<AuditResult, { status: 'ok' }> => result.status !== 'ok')
    .map(({ status, id, name, reason }) => `${status} ${id} ${name}: ${reason}`)
}

describe('GraphQL over HTTP', () => {
  it('has more than fifty audits', () => {
    expect(audits().length).toBeGreaterThan(50)
  })

  it('passes all of them, cold and warm', async () => {
    expect(await complaints()).toEqual([])
    expect(await complaints()).toEqual([])
  })
})
