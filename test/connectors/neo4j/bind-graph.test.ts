import { describe, expect, it } from '@jest/globals'
import type { ConfiguredField, ConfiguredType } from '../../../src/connectors/configured.js'
import { bindGraph } from '../../../src/connectors/neo4j/bind-graph.js'
import { parseContract } from '../../../src/gateway/contract.js'

const CATALOG = parseContract([
  {
    name: 'contract.graphql',
    text: `enum Status { ACTIVE PAUSED }
      type Agent @entity { key: ID! displayName: String! status: Status score: Float tags: [String!] seen: DateTime budget: Decimal notes: JSON
        embedding: Vector @vector(model: "m", dimensions: 3) dependsOn: Agent dependents: [Agent!] @inverse(of: "dependsOn") team: Team }
      type Team @entity { key: ID! name: String! }`,
  },
])

function column(name: string, more: Partial<Extract<ConfiguredField, { kind: 'column' }>> = {}): ConfiguredField {
  return { kind: 'column', columns: [name], values: null, multiply: null, ...more }
}

const NOTHING: ConfiguredField = { kind: 'constant', value: null }
const CONFIGURED: Readonly<Record<string, ConfiguredField>> = { budget: NOTHING, notes: NOTHING, embedding: NOTHING }
const TEAMS: ConfiguredType = { kind: 'table', table: { store: null, schema: 'graph', table: 'Team' }, fields: new Map(), uniqueKey: true }

interface Given {
  readonly fields?: Readonly<Record<string, ConfiguredField>>
  readonly uniqueKey?: boolean
  readonly team?: ConfiguredType
}

function bound({ fields = {}, uniqueKey = true, team = TEAMS }: Given): ReturnType<typeof bindGraph> {
  const agents: ConfiguredType = {
    kind: 'table',
    table: { store: null, schema: 'graph', table: 'Agent' },
    fields: new Map(Object.entries({ ...CONFIGURED, ...fields })),
    uniqueKey,
  }
  const stores = [
    { name: 'main', kind: 'postgres' },
    { name: 'graph', kind: 'neo4j' },
  ]
  return bindGraph({ catalog: CATALOG, configured: new Map([['Agent', agents] as const, ['Team', team] as const]), stores })
}

describe('a type over a label of Neo4j', () => {
  it('has properties by name, and relationships by name in capitals', () => {
    const { types, mistakes } = bound({})
    expect(mistakes).toEqual([])
    const agent = types.get('Agent')
    if (agent?.kind !== 'table') throw new Error('agents are served')
    expect([agent.store, agent.table]).toEqual(['graph', 'Agent'])
    expect(agent.columns.get('displayName')).toMatchObject({ column: 'displayName', native: 'STRING', array: false })
    expect(agent.columns.get('tags')).toMatchObject({ native: 'STRING', array: true })
    expect(agent.columns.get('seen')).toMatchObject({ native: 'ZONED DATETIME' })
    expect([...agent.relations]).toEqual([
      ['dependsOn', { columns: [{ column: 'DEPENDS_ON', native: 'out', nullable: true }] }],
      ['team', { columns: [{ column: 'TEAM', native: 'out', nullable: true }] }],
    ])
  })

  it('is bound as the configuration says', () => {
    const fields = {
      key: column('id', { property: 'INTEGER' }),
      dependsOn: column("needed `by`'", { direction: 'in' }),
      status: column('state', { property: 'INTEGER', values: new Map([['1', 'ACTIVE']]) }),
    }
    const agent = bound({ fields }).types.get('Agent')
    if (agent?.kind !== 'table') throw new Error('agents are served')
    expect([agent.columns.get('key'), agent.columns.get('status')]).toMatchObject([
      { column: 'id', native: 'INTEGER' },
      { column: 'state', native: 'INTEGER' },
    ])
    expect(agent.relations.get('dependsOn')).toEqual({ columns: [{ column: "needed `by`'", native: 'in', nullable: true }] })
  })

  it('has relations that lead nowhere to a type that the organization does not hold', () => {
    const { types, mistakes } = bound({ team: { kind: 'none' } })
    const agent = types.get('Agent')
    expect([mistakes, agent?.kind === 'table' && agent.relations.get('team')]).toEqual([[], { columns: [] }])
  })

  it.each<readonly [string, Given, string | null, boolean]>([
    ['a number without a type of its own', { fields: { budget: column('budget') } }, 'budget', true],
    ['a document', { fields: { notes: column('notes') } }, 'notes', true],
    ['a vector', { fields: { embedding: column('embedding') } }, 'embedding', true],
    ['a property of another type', { fields: { displayName: column('name', { property: 'INTEGER' }) } }, 'displayName', false],
    ['a factor', { fields: { score: column('score', { multiply: '2' }) } }, 'score', true],
    ['two properties', { fields: { score: column('score', { columns: ['a', 'b'] }) } }, 'score', true],
    ['a name with U+0000', { fields: { score: column('a\0b') } }, 'score', true],
    ['names that the enum does not have', { fields: { status: column('status', { values: new Map([['1', 'GONE']]) }) } }, 'status', true],
    ['numbers that are none', { fields: { status: column('status', { property: 'INTEGER', values: new Map([['one', 'ACTIVE']]) }) } }, 'status', true],
    ['an enum over numbers without names', { fields: { status: column('status', { property: 'INTEGER' }) } }, 'status', true],
    ['a relation of two types', { fields: { team: column('IN', { columns: ['IN', 'OF'] }) } }, 'team', true],
    ['a relation that is the same for all', { fields: { team: { kind: 'constant', value: 'x' } } }, 'team', true],
    ['a target in another store', { team: { kind: 'table', table: null, fields: new Map() } }, 'team', true],
    ['a key that is the same for all', { fields: { key: { kind: 'constant', value: 'x' } } }, 'key', false],
    ['a `!` field without a value', { fields: { displayName: NOTHING } }, 'displayName', false],
    ['a key that nobody says is unique', { uniqueKey: false }, null, false],
  ])('names what does not fit: %s', (_name, given, at, isServed) => {
    const { types, mistakes } = bound(given)
    expect(mistakes.map(({ type, field }) => [type, field])).toContainEqual(['Agent', at])
    const agent = types.get('Agent')
    expect(agent !== undefined).toBe(isServed)
    if (agent?.kind === 'table' && at !== null) expect([agent.columns.has(at), agent.relations.has(at)]).toEqual([false, false])
  })
})
