/** A whole gateway, over HTTP, with the demo's organizations and a service that rates agents. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { parse, stringify } from 'yaml'
import { loadConfig } from '../../src/config.js'
import { type RunningGateway, startGateway } from '../../src/main.js'
import { parseGlobalId } from '../../src/query/global-id.js'
import { type ForeignServer, sendJson, startForeignService } from '../support/foreign-service.js'
import { type Asking, asking, makeTestGround, type TestGround } from '../support/gateway.js'

const RATINGS = `
  type Query { agentRatings(ids: [ID!]!): [Agent]! }
  type Agent { id: ID!  rating: Float }
`

let ground: TestGround
let service: ForeignServer
let gateway: RunningGateway & Asking
const log: Record<string, unknown>[] = []

beforeAll(async () => {
  ground = await makeTestGround()
  service = await startForeignService(RATINGS, {
    agentRatings: ({ ids }: { ids: string[] }) => ids.map((id) => ({ id, rating: Number(parseGlobalId(id)?.key.join('').length) })),
  })
  writeFileSync(join(dirname(ground.config), 'ratings.graphql'), RATINGS)
  configureService({ url: service.url, schema: './ratings.graphql', joins: { Agent: { field: 'agentRatings', argument: 'ids' } } })
  const running = await startGateway({
    config: loadConfig(ground.config, {}),
    demo: null,
    writeLog: (line) => log.push(JSON.parse(line) as Record<string, unknown>),
  })
  gateway = { ...running, ...asking(running.url, ground) }
})
afterAll(async () => {
  await gateway.stop()
  await service.stop()
  await ground.stop()
})

function configureService(ratings: object): void {
  const config = parse(readFileSync(ground.config, 'utf8')) as { organizations: { aurora: { services?: object } } }
  config.organizations.aurora.services = { ratings }
  writeFileSync(ground.config, stringify(config))
}

interface LedgerEntry {
  readonly kind: string
  readonly principal: { readonly subject: string }
  readonly outcome?: string
  readonly sections: readonly { readonly organization?: string; readonly stores: readonly string[]; readonly rows: number; readonly outcome: string }[]
}

async function entries(ledger: string): Promise<readonly LedgerEntry[]> {
  const client = await ground.ledgerClient()
  const { rows } = await client.query<{ leaf: Buffer }>('SELECT leaf FROM concordat.ledger_entries WHERE ledger = $1 ORDER BY "index"', [ledger])
  return rows.map(({ leaf }) => JSON.parse(leaf.toString()) as LedgerEntry)
}

const PAGE = '{ agents(first: 30) { nodes { id organization name rating } } }'

describe('a gateway with a foreign service', () => {
  it('gives its fields beside those of three organizations, and has all of it in their ledgers', async () => {
    const { status, json } = await gateway.ask('ana', PAGE)
    expect(status).toBe(200)
    const nodes: { id: string; organization: string; rating: number | null }[] = json.data.agents.nodes
    expect(nodes).toHaveLength(30)
    expect(nodes.every(({ rating }) => rating !== null)).toBe(true)
    expect(json.extensions.sovereignty.withheld).toEqual([
      { organization: 'borealis', type: 'Agent', field: 'rating', conditional: true, agreement: 'borealis-aurora-operations', version: 3 },
      { organization: 'cascade', type: 'Agent', field: 'rating', conditional: true, agreement: 'cascade-aurora-operations', version: 1 },
    ])
    expect(service.exchanges).toHaveLength(1)
    expect(JSON.stringify(service.exchanges)).not.toMatch(/ana@|Bearer|eyJ/)
    for (const owner of ['borealis', 'cascade']) {
      const count = nodes.filter(({ organization }) => organization === owner).length
      const kept = await entries(owner)
      expect(kept.map(({ kind, principal }) => [kind, principal.subject])).toEqual([
        ...(count > 0 ? [['disclosure', 'service:aurora/ratings']] : []),
        ['disclosure', 'ana@aurora.example'],
      ])
      if (count > 0) expect(kept[0]?.sections).toMatchObject([{ rows: count, outcome: 'answered' }])
    }
    const own = await entries('aurora')
    expect(own.map(({ kind, principal }) => [kind, principal.subject])).toEqual([
      ['request', 'service:aurora/ratings'],
      ['request', 'ana@aurora.example'],
    ])
    expect(own[1]?.sections.at(-1)).toMatchObject({ organization: 'aurora', stores: ['aurora/ratings'], rows: 30 })
    expect(json.extensions.sovereignty.receipt?.ledger).toBe('aurora')
  })

  it('answers other operations as without it, and shows its fields to who asks for the schema', async () => {
    service.exchanges.length = 0
    expect((await gateway.ask('ana', '{ agents(first: 3) { nodes { name } } __type(name: "Agent") { fields { name } } }')).text).toContain('"rating"')
    expect((await gateway.ask('ana', '{ agents(orderBy: [{ rating: ASC }]) { nodes { name } } }')).json.errors?.[0]?.extensions.code).toBe(
      'GRAPHQL_VALIDATION_FAILED',
    )
    expect(service.exchanges).toEqual([])
  })

  it('goes on without it when it fails, says so, and keeps its words from answer and log', async () => {
    service.misbehave((_exchange, response) => sendJson(response, { errors: [{ message: 'SECRET' }] }))
    const { status, json, text } = await gateway.ask('ana', '{ agents(first: 1, organizations: ["aurora"]) { nodes { name rating } } }')
    expect(status).toBe(200)
    expect(json.data.agents.nodes).toEqual([{ name: expect.any(String), rating: null }])
    expect(json.errors).toEqual([
      {
        message: 'An organization did not answer.',
        path: ['agents', 'nodes', 0, 'rating'],
        extensions: { code: 'SOURCE_UNAVAILABLE', organization: 'aurora' },
      },
    ])
    expect(json.extensions.sovereignty.failed).toEqual([{ organization: 'aurora', code: 'SOURCE_UNAVAILABLE' }])
    expect(log.filter(({ kind, event }) => [kind, event].includes('service-failed'))).toHaveLength(1)
    expect(text + JSON.stringify(log)).not.toContain('SECRET')
    service.misbehave(null)
  })

  it('has in the ledgers of the owners what was asked of them, where a failing service ends the operation', async () => {
    const before = await entries('borealis')
    service.misbehave((_exchange, response) => void response.destroy())
    const document = 'query @sovereignty(onUnavailable: FAIL) { agents(first: 2, organizations: ["borealis"]) { nodes { name rating } } }'
    const { status, json } = await gateway.ask('ana', document)
    expect([status, json.data, json.errors?.[0]?.extensions]).toEqual([503, undefined, { code: 'SOURCE_UNAVAILABLE', organization: 'aurora' }])
    const added = (await entries('borealis')).slice(before.length)
    expect(added.map(({ principal, sections }) => [principal.subject, sections[0]?.rows, sections[0]?.outcome])).toEqual([
      ['service:aurora/ratings', 2, 'answered'],
      ['ana@aurora.example', 0, 'failed'],
    ])
    service.misbehave(null)
  })

  it('does not start with a service that does not fit', async () => {
    writeFileSync(join(dirname(ground.config), 'other.graphql'), RATINGS.replace('rating: Float', 'name: String!'))
    configureService({ url: service.url, schema: './other.graphql', joins: { Agent: { field: 'agentRatings', argument: 'ids' } } })
    await expect(startGateway({ config: loadConfig(ground.config, {}), demo: null, writeLog: () => undefined })).rejects.toThrow(
      "service `aurora/ratings`: `Agent.name` is the contract's",
    )
  })
})
