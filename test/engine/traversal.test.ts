import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import type pg from 'pg'
import type { TestAnswer, TestClaims, TestGateway } from '../support/gateway.js'
import { startTestGateway } from '../support/gateway.js'
import { times } from '../support/times.js'
import { AGENTS, AGREEMENT, type Case, CONTRACT, DOCUMENT, of, partner, roles, SQL } from './traversal-world.js'

let gateway: TestGateway
let owner: pg.Client
beforeAll(async () => {
  gateway = await startTestGateway({
    world: {
      contract: CONTRACT,
      organizations: { alpha: { sql: SQL, roles }, beta: { sql: SQL, roles } },
      agreements: [AGREEMENT],
    },
    gateway: { limits: { steps: 6 } },
  })
  owner = await gateway.ownerClient('alpha')
}, 60_000)
afterAll(() => gateway.stop())

type Row = Readonly<Record<string, string | number | null>>
interface Found {
  readonly depth: number
  readonly node: { readonly key: string; readonly name: string }
}

/** What may be seen, by hand: agents, and pairs of them that one step joins. */
async function pairsSeen(role: string, via: string): Promise<{ readonly agents: ReadonlySet<number>; readonly pairs: readonly (readonly [number, number])[] }> {
  const agents = (await owner.query('SELECT key, level, parent_key FROM agent')).rows as Row[]
  const needs = (await owner.query('SELECT kind, agent_key, on_key FROM need')).rows as Row[]
  const seen = agents.filter(({ level }) => role !== 'some' || Number(level) > 0)
  const keys = new Set(seen.map(({ key }) => Number(key)))
  const parents = seen
    .filter(({ level }) => role !== 'cells' || Number(level) < 3)
    .map(({ key, parent_key }): [number, number] => [Number(key), Number(parent_key)])
  const shown = needs.filter(({ kind }) => (role === 'some' ? kind === 'hard' : role === 'cells' ? kind === 'soft' : true))
  const dependencies = shown.map(({ agent_key, on_key }): [number, number] => [Number(agent_key), Number(on_key)])
  const turned = (pairs: readonly (readonly [number, number])[]) => pairs.map(([from, to]) => [to, from] as const)
  const known: Readonly<Record<string, readonly (readonly [number, number])[]>> = {
    PARENT: parents,
    CHILDREN: turned(parents),
    NEEDS__ON: dependencies,
    NEEDED_BY__AGENT: turned(dependencies),
  }
  return { agents: keys, pairs: (known[via] ?? []).filter((pair) => pair.every((key) => keys.has(key))) }
}

async function expected(role: string, { from, via, direction, depth, first }: Case): Promise<readonly Found[] | null> {
  const { agents, pairs } = await pairsSeen(role, via)
  if (!agents.has(from)) return null
  const steps = [...(direction === 'IN' ? [] : pairs), ...(direction === 'OUT' ? [] : pairs.map(([a, b]) => [b, a] as const))]
  const depths = new Map([[from, 0]])
  for (let step = 1; step <= depth; step += 1) {
    const edge = [...depths].filter(([, at]) => at === step - 1).map(([key]) => key)
    for (const [a, b] of steps) if (edge.includes(a) && !depths.has(b)) depths.set(b, step)
  }
  return [...depths]
    .filter(([, at]) => at > 0)
    .sort(([a, x], [b, y]) => x - y || a - b)
    .slice(0, first)
    .map(([key, at]) => ({ depth: at, node: { key: String(key), name: `agent ${key}` } }))
}

const ask = async (asker: TestClaims, { from, ...rest }: Case, more: Readonly<Record<string, unknown>> = {}): Promise<TestAnswer> =>
  gateway.ask(asker, DOCUMENT, { from: String(from), ...rest, ...more })

describe('rows that are some steps away', () => {
  it('are those that a walk over the readable rows reaches, nearest first, then by key', async () => {
    const seed = Date.now() % 2 ** 31
    console.info(`traversal: seed ${seed}`)
    const cases = fc.record({
      from: fc.integer({ min: 1, max: AGENTS }),
      via: fc.constantFrom('PARENT', 'CHILDREN', 'NEEDS__ON', 'NEEDED_BY__AGENT'),
      direction: fc.constantFrom('OUT' as const, 'IN' as const, 'BOTH' as const),
      depth: fc.integer({ min: 1, max: 6 }),
      first: fc.constantFrom(1, 3, 100),
    })
    await fc.assert(
      fc.asyncProperty(fc.constantFrom('chief', 'some', 'cells'), cases, async (role, one) => {
        const { json } = await ask(of(role), one)
        expect(json.errors).toBeUndefined()
        const edges = await expected(role, one)
        expect(json.data).toEqual({ agent: edges && { key: String(one.from), related: { edges } } })
      }),
      { seed, numRuns: times(150) },
    )
  }, 60_000)

  it('never are the row itself, though a circle leads back to it', async () => {
    const answer = await ask(of('chief'), { from: 1, via: 'NEEDS__ON', direction: 'BOTH', depth: 6, first: 100 })
    const keys = (answer.json.data.agent.related.edges as Found[]).map(({ node }) => node.key)
    expect(keys).not.toContain('1')
    expect(new Set(keys).size).toBe(keys.length)
  })

  it('are filtered by `where`, which hides nothing that lies on the way', async () => {
    const one: Case = { from: 1, via: 'CHILDREN', direction: 'OUT', depth: 3, first: 100 }
    const whole = (await ask(of('chief'), one)).json.data.agent.related.edges as Found[]
    const { json } = await ask(of('chief'), one, { where: { level: { eq: 0 } } })
    expect(json.data.agent.related.edges).toEqual(whole.filter(({ node }) => Number(node.key) % 4 === 0))
    expect(json.data.agent.related.edges.length).toBeGreaterThan(2)
  })

  it('are the same to the byte, whatever lies behind what is hidden', async () => {
    const cases: readonly Case[] = (['PARENT', 'CHILDREN', 'NEEDS__ON', 'NEEDED_BY__AGENT'] as const).flatMap((via) =>
      (['OUT', 'IN', 'BOTH'] as const).flatMap((direction) => [1, 7, 13].map((from) => ({ from, via, direction, depth: 6, first: 100 }))),
    )
    const answers = async (): Promise<readonly unknown[]> => Promise.all(cases.map(async (one) => (await ask(of('some'), one)).json.data as unknown))
    const before = await answers()
    // Hidden agents get other parents and children, hidden needs other ends, and more of both come.
    await owner.query(`
      CREATE TABLE agent_was AS TABLE agent; CREATE TABLE need_was AS TABLE need;
      UPDATE agent SET parent_key = 1 WHERE level = 0;
      UPDATE agent SET parent_key = 4 WHERE level = 0 AND key % 8 = 0 AND key <> 4;
      UPDATE need SET agent_key = 1, on_key = 13 WHERE kind IS DISTINCT FROM 'hard';
      INSERT INTO agent VALUES (1000, 'hidden', 0, 1), (1001, 'hidden', 0, 7);
      INSERT INTO need VALUES (1000, 'hard', 1, 1000), (1001, 'hard', 1000, 13), (1002, 'soft', 7, 13)`)
    expect(await answers()).toEqual(before)
    await owner.query(`
      DELETE FROM need; DELETE FROM agent; INSERT INTO agent TABLE agent_was; INSERT INTO need TABLE need_was; DROP TABLE agent_was, need_was`)
  })

  it('show masked names to a partner, who passes through nothing that the agreement hides', async () => {
    const { json } = await gateway.ask(
      partner,
      `{ agents(organizations: ["alpha"], first: 100) { nodes { key level related(via: NEEDS__ON, depth: 6, first: 100) { edges { depth node { key name level } } } } } }`,
    )
    expect(json.errors).toBeUndefined()
    const rows = json.data.agents.nodes as {
      key: string
      level: number
      related: { edges: { depth: number; node: { key: string; name: string; level: number } }[] }
    }[]
    const known = new Set(rows.map(({ key }) => key))
    const reached = rows.flatMap(({ related }) => related.edges)
    expect(reached.length).toBeGreaterThan(5)
    for (const { node } of reached) {
      expect(known).toContain(node.key)
      expect(node.level).toBeLessThan(3)
      expect(node.name).toMatch(/^\*\*\*.$/)
    }
  })

  it('are null where a relation of the step is not granted, and the answer says so', async () => {
    const { json } = await ask(of('blind'), { from: 5, via: 'NEEDS__ON', direction: 'OUT', depth: 2, first: 10 })
    expect(json.data).toEqual({ agent: { key: '5', related: null } })
    expect(json.extensions.sovereignty.withheld.map(({ type, field }) => `${String(type)}.${String(field)}`)).toEqual(['Agent.needs', 'Need.on'])
  })

  it('carry nested lists with cursors that go on, and themselves', async () => {
    const { json } = await gateway.ask(
      of('chief'),
      `{ agent(key: "1", organization: "alpha") { related(via: CHILDREN, depth: 1) { __typename edges { __typename node {
        children(first: 1) { nodes { key } pageInfo { hasNextPage endCursor } } related(via: PARENT) { edges { depth node { key } } } } } } } }`,
    )
    expect(json.errors).toBeUndefined()
    const { __typename, edges } = json.data.agent.related
    expect([__typename, edges[0].__typename]).toEqual(['AgentRelated', 'AgentRelatedEdge'])
    for (const { node } of edges) {
      expect(node.related.edges).toEqual([{ depth: 1, node: { key: '1' } }])
      expect(node.children.pageInfo).toEqual({ hasNextPage: expect.any(Boolean), endCursor: expect.stringMatching(/^c1\./) })
    }
  })
})

describe('bad input of a traversal', () => {
  it.each([
    [{ depth: 0 }, 'BAD_USER_INPUT', 'agent.related.depth'],
    [{ depth: 7 }, 'BAD_USER_INPUT', 'agent.related.depth'],
    [{ depth: 2_147_483_647 }, 'BAD_USER_INPUT', 'agent.related.depth'],
    [{ first: 101 }, 'BAD_USER_INPUT', 'agent.related.first'],
    [{ first: -1 }, 'BAD_USER_INPUT', 'agent.related.first'],
  ])('%j is refused before a store is asked', async (wrong, code, argument) => {
    const one: Case = { from: 1, via: 'PARENT', direction: 'OUT', depth: 1, first: 1 }
    const { status, json } = await ask(of('chief'), { ...one, ...wrong })
    expect({ status, data: json.data, errors: json.errors?.map(({ extensions }) => extensions) }).toEqual({
      status: 400,
      data: undefined,
      errors: [{ code, argument }],
    })
  })

  it('is an unknown relation or direction', async () => {
    for (const [via, direction] of [
      ['NAME', 'OUT'],
      ['PARENT', 'UP'],
    ] as const) {
      const { json } = await gateway.ask(of('chief'), `{ agents(first: 1) { nodes { related(via: ${via}, direction: ${direction}) { edges { depth } } } } }`)
      expect(json.errors?.length).toBeGreaterThan(0)
      expect(json.data).toBeUndefined()
    }
  })

  it('is one that would cost more than is allowed: every step reads rows', async () => {
    const cost = async (depth: number): Promise<number> => {
      const document = `{ agents(first: 10, organizations: ["alpha"]) { nodes { related(via: PARENT, depth: ${depth}, first: 1) { edges { depth } } } } }`
      const { json } = await gateway.request(of('chief'), document, { path: '/explain' })
      return json.extensions.explain?.cost ?? 0
    }
    expect((await cost(6)) - (await cost(1))).toBe(5 * 11 * 10)
  })
})
