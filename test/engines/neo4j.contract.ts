/** The connector contract against Neo4j: `npm run test:engines -- neo4j` starts one and says where it is. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import neo4j, { type Driver } from 'neo4j-driver'
import type { Connector } from '../../src/connectors/connector.js'
import { type Cypher, cypher, filled, name } from '../../src/connectors/neo4j/cypher.js'
import { type GraphNative, Neo4jConnector } from '../../src/connectors/neo4j/connector.js'
import { restrict } from '../../src/policy/restrict.js'
import type { ListPlan } from '../../src/query/plan.js'
import { ALL, type Predicate } from '../../src/query/predicate.js'
import { ORGANIZATION } from '../connectors/contract-data.js'
import { connectorContract } from '../connectors/contract.js'
import { AGENTS, AGREEMENT, CONTRACT, DOCUMENT as WALK, of, partner, roles, SQL } from '../engine/traversal-world.js'
import { eventually } from '../support/eventually.js'
import type { TestAnswer, TestClaims, TestGateway, TestWorld } from '../support/gateway.js'
import { startTestGateway } from '../support/gateway.js'
import { startTestPostgres, type TestPostgres } from '../support/postgres.js'
import { fillGraph, graphData, rebound } from './neo4j-store.js'

const ADDRESS = process.env.CONCORDAT_ENGINE_URL ?? 'bolt://127.0.0.1:7687'
const held = graphData()

connectorContract(
  'neo4j',
  async () => {
    const driver = neo4j.driver(ADDRESS)
    await fillGraph(driver, held)
    await driver.close()
    const connector = connectorTo(ADDRESS)
    return {
      connector: over(connector, (text) => text),
      broken: over(connector, (text) => cypher`SECRET words ${text}`),
      endless: over(connector, (text) => cypher`UNWIND range(1, 1000000000000) AS slow WITH count(slow) AS slow ${text}`),
      close: () => connector.close(),
    }
  },
  { data: held.data, deadlineMs: 60_000 }, // the deepest plans take the server seconds to plan
)

const EVERY_ROW: ListPlan = {
  ...{ type: 'Agent', where: { kind: 'all' }, order: [], search: null, backward: false, cursor: null, fields: [], path: 'agents' },
  limit: { kind: 'constant', value: 1 },
}

function connectorTo(url: string): Neo4jConnector {
  return new Neo4jConnector({ store: 'main', url, pool: { max: 4, waitingMax: 100, connectMs: 5_000, idleMs: 60_000 } })
}

/** Plans speak of PostgreSQL's types, for the oracle. */
function over(connector: Neo4jConnector, change: (text: Cypher) => Cypher): Connector<GraphNative> {
  return {
    store: connector.store,
    capabilities: connector.capabilities,
    compile: (plan) => {
      const { native, residual } = connector.compile(rebound(plan, held.binding))
      if (native.kind === 'empty') return { native, residual }
      return { native: { ...native, statement: { ...native.statement, cypher: change(native.statement.cypher) } }, residual }
    },
    execute: (statements, caller, options) => connector.execute(statements, caller, options),
    describe: (native) => connector.describe(native),
    close: () => connector.close(),
  }
}

describe('a gateway over Neo4j', () => {
  let server: TestPostgres
  let tables: TestGateway
  let graph: TestGateway
  let driver: Driver

  beforeAll(async () => {
    server = await startTestPostgres()
    driver = neo4j.driver(ADDRESS, undefined, { useBigInt: true })
    const organizations = (bindings: Readonly<Record<string, unknown>>): TestWorld['organizations'] => ({
      alpha: { sql: SQL, roles, bindings },
      beta: { sql: SQL, roles },
    })
    const gateway = { limits: { deadline: '30s' } } // the first of a kind is planned
    tables = await startTestGateway({ postgres: server, gateway, world: { contract: CONTRACT, organizations: organizations({}), agreements: [AGREEMENT] } })
    const owner = await tables.ownerClient('alpha')
    const agents = (await owner.query('SELECT key, name, level, parent_key AS parent FROM agent')).rows as readonly unknown[]
    const needs = (await owner.query('SELECT key, kind, agent_key AS agent, on_key AS needed FROM need')).rows as readonly unknown[]
    await driver.executeQuery('MATCH (n) DETACH DELETE n')
    await driver.executeQuery(`UNWIND $agents AS a CREATE (:${AGENT} {id: toInteger(a.key), name: a.name, level: toInteger(a.level)})`, { agents })
    await driver.executeQuery(`UNWIND $agents AS a MATCH (x:${AGENT} {id: toInteger(a.key)}), (y:${AGENT} {id: toInteger(a.parent)}) CREATE (y)-[:HAS]->(x)`, {
      agents,
    })
    await driver.executeQuery(
      `UNWIND $needs AS n MATCH (x:${AGENT} {id: toInteger(n.agent)}), (y:${AGENT} {id: toInteger(n.needed)})
       CREATE (x)<-[:AGENT]-(:Need {id: toInteger(n.key), kind: n.kind})-[:${NEEDED}]->(y)`,
      { needs },
    )
    const bindings = {
      Agent: {
        table: "graph.Agent 'of' \\u0060",
        uniqueKey: true,
        fields: { key: { column: 'id', property: 'INTEGER' }, parent: { column: 'HAS', direction: 'in' } },
      },
      Need: { table: 'graph.Need', uniqueKey: true, fields: { key: { column: 'id', property: 'INTEGER' }, on: "on `` \\u0060 '$1" } },
    }
    graph = await startTestGateway({
      postgres: server,
      gateway,
      moreStores: { alpha: { graph: { kind: 'neo4j', url: ADDRESS } } },
      world: { contract: CONTRACT, organizations: organizations(bindings), agreements: [AGREEMENT] },
    })
  }, 120_000)
  afterAll(async () => {
    await tables?.stop()
    await graph?.stop()
    await server?.stop()
    await driver?.executeQuery('MATCH (n) DETACH DELETE n')
    await driver?.close()
  })

  const AGENT = name("Agent 'of' \\u0060").join('')
  const NEEDED = name("on `` \\u0060 '$1").join('')

  const same = async (asker: TestClaims, document: string, variables: Readonly<Record<string, unknown>> = {}): Promise<TestAnswer['json']> => {
    const [expected, given] = [await tables.ask(asker, document, variables), await graph.ask(asker, document, variables)]
    expect({ asker, variables, errors: given.json.errors, data: given.json.data as unknown }).toEqual({
      asker,
      variables,
      errors: expected.json.errors,
      data: expected.json.data as unknown,
    })
    return given.json
  }

  it('answers as tables do, whoever asks', async () => {
    for (const asker of [...['chief', 'some', 'cells', 'blind'].map(of), partner]) {
      for (const document of DOCUMENTS) await same(asker, document)
    }
  }, 120_000)

  it('walks as over tables: what is hidden is not passed through', async () => {
    const seed = Date.now() % 2 ** 31
    console.info(`neo4j: seed ${seed}`)
    const cases = fc.record({
      from: fc.integer({ min: 1, max: AGENTS }).map(String),
      via: fc.constantFrom('PARENT', 'CHILDREN', 'NEEDS__ON', 'NEEDED_BY__AGENT'),
      direction: fc.constantFrom('OUT', 'IN', 'BOTH'),
      depth: fc.integer({ min: 1, max: 6 }),
      first: fc.constantFrom(1, 3, 100),
      where: fc.constantFrom(null, { level: { gt: 1 } }, { name: { contains: '3' } }),
    })
    const askers = fc.constantFrom(...['chief', 'some', 'cells'].map(of))
    await fc.assert(
      fc.asyncProperty(askers, cases, async (asker, one) => {
        await same(asker, WALK, one)
      }),
      { seed, numRuns: 60 },
    )
  }, 120_000)

  it('shows nothing of what may not be seen, whatever the graph has there', async () => {
    const walks = ['PARENT', 'CHILDREN', 'NEEDS__ON', 'NEEDED_BY__AGENT'].flatMap((via) =>
      ['OUT', 'IN', 'BOTH'].flatMap((direction) => ['1', '7', '13'].map((from) => ({ from, via, direction, depth: 6, first: 100 }))),
    )
    const answers = async (): Promise<readonly string[]> => {
      const given: string[] = []
      for (const one of walks) given.push(JSON.stringify((await graph.ask(of('some'), WALK, one)).json.data))
      for (const document of DOCUMENTS) given.push(JSON.stringify((await graph.ask(of('some'), document)).json.data))
      return given
    }
    const before = await answers()
    await driver.executeQuery(`MATCH (h:${AGENT} {level: 0}), (a:${AGENT}) WHERE a.level > 0 CREATE (a)-[:HAS]->(h)-[:HAS]->(a)`)
    await driver.executeQuery(`MATCH (h:${AGENT} {level: 0}) SET h.name = 'another name'`)
    await driver.executeQuery(
      `MATCH (x:${AGENT} {id: 7}), (y:${AGENT} {id: 13}) CREATE (x)<-[:AGENT]-(:Need {id: 1000, kind: 'soft'})-[:${NEEDED}]->(y), (x)<-[:AGENT]-(:Need {kind: 'hard'})`,
    )
    // What has no key is no row, whoever asks.
    await driver.executeQuery(`MATCH (x:${AGENT} {id: 7}) CREATE (x)-[:HAS]->(:${AGENT} {name: 'no key', level: 3})-[:HAS]->(x)`)
    expect(await answers()).toEqual(before)
  }, 180_000)

  it('finds rows by index, and walks through ten thousand in a second', async () => {
    await driver.executeQuery(`CREATE CONSTRAINT agents IF NOT EXISTS FOR (a:${AGENT}) REQUIRE a.id IS UNIQUE`)
    await driver.executeQuery('CALL db.awaitIndexes()')
    const ids = `toInteger(100000 + ((a.id - 100000) * $by + $and) % 10000)`
    await driver.executeQuery(`UNWIND range(100000, 109999) AS i CREATE (:${AGENT} {id: i, name: 'agent ' + i, level: i % 7})`)
    for (const [by, and] of [
      [7_919, 1],
      [8_932, 32],
      [9_947, 63],
    ] as const)
      // prettier-ignore
      await driver.executeQuery(
        `MATCH (a:${AGENT}) WHERE a.id >= 100000 MATCH (b:${AGENT} {id: ${ids}}) CREATE (a)<-[:AGENT]-(:Need {id: a.id * 10 + $and % 10, kind: 'hard'})-[:${NEEDED}]->(b)`,
        { by: BigInt(by), and: BigInt(and) },
      )
    const took: string[] = []
    for (const depth of [3, 4, 6]) {
      const walked = async (from: string): Promise<{ readonly ms: number; readonly rows: number }> => {
        const since = performance.now()
        const { json } = await graph.ask(of('some'), WALK, { from, via: 'NEEDS__ON', direction: 'OUT', depth, first: 100 })
        expect(json.errors).toBeUndefined()
        return { ms: performance.now() - since, rows: (json.data.agent?.related.edges.length as number | undefined) ?? 0 }
      }
      await walked('100001') // planned
      const given: { readonly ms: number; readonly rows: number }[] = []
      for (let from = 100_002; from < 100_007; from += 1) given.push(await walked(String(from)))
      const [, , median] = [...given].sort((a, b) => a.ms - b.ms)
      took.push(`${depth} steps: ${Math.round(median?.ms ?? 0)} ms for ${median?.rows} rows`)
      expect(median?.ms).toBeLessThan(1_000)
      expect(Math.max(...given.map(({ rows }) => rows))).toBeGreaterThan(5 * depth)
    }
    console.info(`neo4j: 10,000 agents with 30,000 needs, ${took.join(', ')}`)
    await driver.executeQuery('DROP CONSTRAINT agents')
  }, 120_000)

  it('refuses what a graph does not answer, and names the owner', async () => {
    const { json } = await graph.ask(of('chief'), '{ agentsAggregate(organizations: ["alpha"]) { groups { count } } }')
    expect(json.errors?.map(({ extensions }) => [extensions.code, extensions.organization])).toEqual([['FIELD_NOT_USABLE', 'alpha']])
  })
})

describe('a statement of Neo4j', () => {
  const endless: GraphNative = {
    kind: 'statement',
    organization: 'alpha',
    caller: 'alpha',
    statement: {
      cypher: cypher`UNWIND range(1, 1000000000000) AS slow WITH count(slow) AS slow RETURN {n: [], s: []} AS d`,
      shape: { plan: EVERY_ROW, rows: new Map(), sort: [], isContinued: false, limit: { kind: 'constant', value: 1 } },
      hasTotal: false,
      withKeys: false,
    },
  }
  const asked = [{ native: endless, values: { slots: [], claims: new Map() } }]
  let connector: Neo4jConnector
  let driver: Driver
  beforeAll(() => {
    connector = connectorTo(ADDRESS)
    driver = neo4j.driver(ADDRESS)
  })
  afterAll(async () => {
    await connector.close()
    await driver.close()
  })

  const underWay = async (): Promise<number> => {
    const { records } = await driver.executeQuery('SHOW TRANSACTIONS YIELD metaData WHERE metaData.concordat IS NOT NULL RETURN metaData')
    return records.length
  }

  it('ends at the server once nobody waits for it, and the connector goes on', async () => {
    const abort = new AbortController()
    const answer = connector.execute(asked, 'alpha', { signal: abort.signal, deadlineMs: 60_000, bufferBytes: 1_000 })
    const failure = answer.catch((error: unknown) => error)
    await eventually(async () => expect(await underWay()).toBe(1))
    abort.abort()
    expect(await failure).toMatchObject({ code: 'SOURCE_TIMEOUT' })
    await eventually(async () => expect(await underWay()).toBe(0))
    await connector.ping(new AbortController().signal)
  }, 30_000)

  it.each<readonly [string, Predicate]>([
    ['its key', { kind: 'compare', field: 'key', op: '=', operand: { kind: 'slot', index: 0 } }],
    ['several keys', { kind: 'in', field: 'key', operand: { kind: 'slot', index: 1 } }],
    ['its global id', { kind: 'idIn', operand: { kind: 'slot', index: 1 } }],
  ])(
    'finds a row by %s in an index',
    async (_name, where) => {
      const person = held.binding.types.get('Person')
      const key = person?.kind === 'table' ? person.columns.get('key') : undefined
      if (person?.kind !== 'table' || key?.kind !== 'column') throw new Error('people have a key')
      await driver.executeQuery(
        `CREATE CONSTRAINT people IF NOT EXISTS FOR (p:${name(person.table).join('')}) REQUIRE p.${name(key.column).join('')} IS UNIQUE`,
      )
      const fields = new Map([...(held.data.catalog.entities.get('Person')?.fields.keys() ?? [])].map((field) => [field, { kind: 'plain' }] as const))
      const source = { kind: 'roles', roles: [], version: 1, digest: '' } as const
      const plan = restrict(
        { kind: 'list', withKeys: true, list: { ...EVERY_ROW, type: 'Person', where } },
        { organization: ORGANIZATION, types: new Map([['Person', { type: 'Person', rows: ALL, fields, source }]]) },
        { catalog: held.data.catalog, binding: held.binding, caller: 'aurora', starts: new Map() },
      )
      const { native } = connector.compile(plan)
      if (native.kind === 'empty') throw new Error('there are people')
      const { text, parameters } = filled(native.statement.cypher, { slots: ['x', ['x', 'y']], claims: new Map() })
      const { summary } = await driver.executeQuery(`EXPLAIN ${text}`, parameters)
      expect(JSON.stringify(summary.plan)).toMatch(/Node(Unique)?IndexSeek/)
    },
    30_000,
  )

  it('is ended by the server itself where nobody is there to do it', async () => {
    const answer = connector.execute(asked, 'alpha', { signal: new AbortController().signal, deadlineMs: 100, bufferBytes: 1_000 })
    await expect(answer).rejects.toMatchObject({ code: 'SOURCE_TIMEOUT' })
    expect(await underWay()).toBe(0)
  }, 30_000)

  it('is SOURCE_UNAVAILABLE without a server', async () => {
    const lost = connectorTo('bolt://127.0.0.1:1')
    const answer = lost.execute(asked, 'alpha', { signal: new AbortController().signal, deadlineMs: 1_000, bufferBytes: 1_000 })
    await expect(answer).rejects.toMatchObject({ code: 'SOURCE_UNAVAILABLE' })
    await lost.close()
  }, 30_000)
})

const FAR = 'organizations: ["alpha"]'
const DOCUMENTS: readonly string[] = [
  `{ agents(${FAR}, first: 100) { totalCount nodes { id key name level parent { name parent { name } } } } }`,
  `{ agents(${FAR}, first: 7, orderBy: [{ level: DESC }, { name: ASC }], where: { parent: { level: { gt: 1 } } }) { edges { node { key name } } pageInfo { hasNextPage } } }`,
  `{ agents(${FAR}, last: 5, where: { or: [{ children: { some: { level: { eq: 2 } } } }, { name: { like: "%1_" } }] }) { nodes { key children(first: 2, orderBy: [{ name: DESC }]) { totalCount nodes { key } } } } }`,
  `{ agents(${FAR}, first: 10, where: { not: { needs: { some: { kind: { eq: "soft" } } } } }) { nodes { key needs(first: 5) { nodes { key kind on { key } } } } } }`,
  `{ needs(${FAR}, first: 30, orderBy: [{ kind: ASC }]) { totalCount nodes { key kind agent { name } on { name level } } } }`,
  `{ agents(first: 20) { nodes { organization key name } } }`,
]
