import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { setTimeout as delay } from 'node:timers/promises'
import { AGREEMENTS, ALPHA_ROLES, lawsWorld } from '../laws/world.js'
import type { TestAnswer, TestClaims, TestGateway } from '../support/gateway.js'
import { startTestGateway } from '../support/gateway.js'

const chief: TestClaims = { organization: 'alpha', roles: ['chief'] }
const PAGE = `query($after: String, $where: TaskWhere, $order: [TaskOrderBy!] = [{ status: ASC }], $organizations: [ID!]) {
  tasks(first: 4, after: $after, where: $where, orderBy: $order, organizations: $organizations) { nodes { key } pageInfo { endCursor } } }`

let gateway: TestGateway
let cursor = ''

async function firstPage(principal: TestClaims = chief, variables: Readonly<Record<string, unknown>> = {}): Promise<string> {
  const { json } = await gateway.ask(principal, PAGE, variables)
  return json.data.tasks.pageInfo.endCursor as string
}

function expectInvalid({ status, json }: TestAnswer): void {
  expect({ status, data: json.data, errors: json.errors?.map(({ message, extensions, path }) => ({ message, code: extensions.code, path })) }).toEqual({
    status: 400,
    data: undefined,
    errors: [{ message: 'This cursor does not belong to this query; ask for the first page again.', code: 'CURSOR_INVALID', path: undefined }],
  })
}

beforeAll(async () => {
  gateway = await startTestGateway({ world: lawsWorld() })
}, 60_000)
afterAll(() => gateway.stop())
beforeEach(async () => {
  cursor = await firstPage()
})

describe('a cursor', () => {
  it('is the same each time, and says nothing of the row', async () => {
    expect(await firstPage()).toBe(cursor)
    expect(cursor).toMatch(/^c1\.[A-Za-z0-9_-]+$/)
    const bytes = Buffer.from(cursor.slice(3), 'base64url').toString('latin1')
    for (const word of ['OPEN', 'ACTIVE', 'alpha', 'beta', 'Task']) expect(bytes).not.toContain(word)
  })

  it('has one length for values of about one length', async () => {
    const { json } = await gateway.ask(chief, '{ tasks(first: 100, orderBy: [{ status: ASC }]) { edges { cursor } } }')
    const lengths = new Set((json.data.tasks.edges as { cursor: string }[]).map(({ cursor: { length } }) => length))
    expect(lengths.size).toBeLessThanOrEqual(3)
  })

  it('goes on wherever the list stands, and however its arguments travel', async () => {
    const { json: next } = await gateway.ask(chief, PAGE, { after: cursor })
    const renamed = await gateway.ask(chief, `{ renamed: tasks(first: 4, after: ${JSON.stringify(cursor)}, orderBy: [{ status: ASC }]) { nodes { key } } }`)
    expect(renamed.json.data.renamed.nodes).toEqual(next.data.tasks.nodes)
    const where = { priority: { gte: 1 } }
    const filtered = await firstPage(chief, { where })
    const literal = await gateway.ask(
      chief,
      `{ tasks(first: 4, after: ${JSON.stringify(filtered)}, where: { priority: { gte: 1 } }, orderBy: [{ status: ASC }]) { nodes { key } } }`,
    )
    expect(literal.json.data.tasks.nodes).toEqual((await gateway.ask(chief, PAGE, { after: filtered, where })).json.data.tasks.nodes)
  })

  it.each<[string, Readonly<Record<string, unknown>>]>([
    ['another condition', { where: { priority: { gte: 1 } } }],
    ['another order', { order: [{ status: 'DESC' }] }],
    ['another order of nulls', { order: [{ status: 'ASC_NULLS_FIRST' }] }],
    ['no order', { order: [] }],
    ['other owners', { organizations: ['alpha', 'beta', 'gamma'] }],
    ['one owner', { organizations: ['alpha'] }],
  ])('of a list with %s is not taken', async (_what, variables) => {
    expectInvalid(await gateway.ask(chief, PAGE, { ...variables, after: cursor }))
    const other = await firstPage(chief, variables)
    expectInvalid(await gateway.ask(chief, PAGE, { after: other }))
  })

  it('of a condition with another value is not taken', async () => {
    const other = await firstPage(chief, { where: { priority: { gte: 1 } } })
    expectInvalid(await gateway.ask(chief, PAGE, { after: other, where: { priority: { gte: 2 } } }))
  })

  it('of another type, or of a nested list, is not taken', async () => {
    expectInvalid(await gateway.ask(chief, 'query($after: String) { people(first: 4, after: $after) { nodes { key } } }', { after: cursor }))
    expectInvalid(
      await gateway.ask(
        chief,
        'query($after: String) { people(first: 4) { nodes { tasks(first: 2, after: $after, orderBy: [{ status: ASC }]) { nodes { key } } } } }',
        { after: cursor },
      ),
    )
    const { json } = await gateway.ask(chief, '{ people(first: 1) { nodes { tasks(first: 1, orderBy: [{ status: ASC }]) { edges { cursor } } } } }')
    const nested = json.data.people.nodes[0].tasks.edges[0].cursor as string
    expectInvalid(await gateway.ask(chief, PAGE, { after: nested }))
  })

  it('of somebody else is not taken, whoever it is', async () => {
    for (const other of [
      { ...chief, subject: 'another' },
      { ...chief, purposes: ['review'] },
      { ...chief, roles: ['worker', 'chief'] },
      { organization: 'alpha', roles: ['worker'], claims: { team: 'red' } },
    ])
      expectInvalid(await gateway.ask(other, PAGE, { after: cursor }))
  })

  it('goes on for the same person with a new token', async () => {
    const renewed = { ...chief, claims: { session: 'next' } }
    const { json } = await gateway.ask(renewed, PAGE, { after: cursor })
    expect(json.errors).toBeUndefined()
  })

  it('that was changed anywhere is not taken', async () => {
    const sealed = Buffer.from(cursor.slice(3), 'base64url')
    const changed = Array.from({ length: sealed.length }, (_unused, at) => {
      const bytes = Buffer.from(sealed)
      bytes[at] = (bytes[at] ?? 0) ^ (1 << (at % 8))
      return `c1.${bytes.toString('base64url')}`
    })
    const forms = [
      cursor.slice(0, -1),
      cursor + 'A',
      cursor.slice(3),
      `c2.${cursor.slice(3)}`,
      `${cursor}=`,
      ` ${cursor}`,
      '',
      'c1.',
      `c1.${'A'.repeat(20_000)}`,
      cursor.toUpperCase(),
    ]
    for (const after of [...changed, ...forms]) expectInvalid(await gateway.ask(chief, PAGE, { after }))
    expect((await gateway.ask(chief, PAGE, { after: cursor })).status).toBe(200)
  })

  it('is refused before any owner is asked, and null is a first page', async () => {
    const { json } = await gateway.ask(chief, PAGE, { after: null })
    expect(json.data.tasks.pageInfo.endCursor).toBe(cursor)
  })

  it('of policies that have changed is not taken', async () => {
    const [agreement] = AGREEMENTS
    if (!agreement) throw new Error('there are agreements')
    const changedOnes: readonly (() => Promise<void>)[] = [
      async () => gateway.writeRoles('alpha', { ...ALPHA_ROLES, chief: { ...ALPHA_ROLES.chief, explain: false } }, 2),
      () => gateway.writeAgreement({ ...agreement, version: 2 }),
    ]
    for (const change of changedOnes) {
      const before = await firstPage()
      const loaded = gateway.log.filter(({ event }) => event === 'policies-loaded').length
      await change()
      for (let waited = 0; waited < 5_000 && gateway.log.filter(({ event }) => event === 'policies-loaded').length === loaded; waited += 20) await delay(20)
      expectInvalid(await gateway.ask(chief, PAGE, { after: before }))
      expect((await gateway.ask(chief, PAGE, { after: await firstPage() })).status).toBe(200)
    }
  })
})
