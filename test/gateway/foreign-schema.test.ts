import { describe, expect, it } from '@jest/globals'
import { printSchema } from 'graphql'
import { foreignSchema, ForeignServiceError } from '../../src/gateway/foreign-schema.js'
import { supergraph, type ForeignService } from '../../src/gateway/supergraph.js'
import { catalog, contractSchema } from '../support/stitched-world.js'

const contract = { schema: contractSchema, catalog }
const JOIN = { field: 'agents', argument: 'ids' }

function mistakes(sdl: string, joins: Readonly<Record<string, { field: string; argument: string }>> = { Agent: JOIN }): readonly string[] {
  try {
    foreignSchema({ name: 'ratings', sdl, joins: new Map(Object.entries(joins)) }, contract)
    return []
  } catch (error) {
    if (error instanceof ForeignServiceError) return error.mistakes
    throw error
  }
}

const QUERY = 'type Query { agents(ids: [ID!]!): [Agent]! }'

describe('the schema of a foreign service', () => {
  it('gives the joining fields and what they lead to, and nothing else of the service', () => {
    const sdl = `
      "Everything." schema { query: Root mutation: Change }
      directive @cost(weight: Int) repeatable on OBJECT | FIELD_DEFINITION
      type Root @cost(weight: 1) { agents(ids: [ID!]!, limit: Int = 3): [Agent!]  secrets: [Secret!]!  users(keys: [ID]!): [User]! }
      type Change { deleteAll: Boolean }
      type Secret { text: String }  union Anything = Secret | Agent
      type Agent @cost(weight: 2) { id: ID  rating(at: DateTime): Float @deprecated(reason: "old")  details: Details }
      type Details { inner: [Details!]!  amount: Decimal  style(of: Style, where: Where): Style }
      enum Style { SHORT }  input Where { and: [Where!]  text: String }
      type User { id: ID!  score: Int }
      scalar DateTime  scalar Decimal  scalar Odd
    `
    const { schema, joins } = foreignSchema(
      { name: 'ratings', sdl, joins: new Map([['Agent', JOIN], ['User', { field: 'users', argument: 'keys' }]]) }, // prettier-ignore
      contract,
    )
    expect([...joins.values()].map(({ type, argumentType, fields }) => [type, argumentType, [...fields]])).toEqual([
      ['Agent', '[ID!]!', ['rating', 'details']],
      ['User', '[ID]!', ['score']],
    ])
    expect(printSchema(schema)).not.toMatch(/Secret|Anything|Change|Odd|@cost/)
    expect(printSchema(schema)).toMatch(/type Details[^]*enum Style[^]*input Where/)
  })

  it('is refused where it cannot be read', () => {
    for (const sdl of [
      '',
      'type Query {',
      'type Query { agents: Unknown }',
      'type Agent { id: ID! rating: Float }',
      `${QUERY} type Agent { id: ID! rating: Float } type Agent { id: ID! }`,
    ])
      expect([sdl, mistakes(sdl)]).toEqual([sdl, [expect.stringMatching(/^the schema cannot be read: /)]])
  })

  it.each([
    ['joins no type', `${QUERY} type Agent { id: ID! rating: Float }`, {}],
    ['`Node` is not a type of the contract', `${QUERY} type Agent { id: ID! rating: Float } type Node { id: ID! }`, { Node: JOIN }],
    ['`AgentEdge` is not a type of the contract', `${QUERY} type Agent { id: ID! rating: Float }`, { AgentEdge: JOIN }],
    ['the service has no type `User`', `${QUERY} type Agent { id: ID! rating: Float }`, { User: JOIN }],
    ['the service has no type `Agent`', 'type Query { agents(ids: [ID!]!): [Agent]! } union Agent = A type A { id: ID! }', { Agent: JOIN }],
    ['`Agent` needs `id: ID!`', `${QUERY} type Agent { rating: Float }`, { Agent: JOIN }],
    ['`Agent` needs `id: ID!`', `${QUERY} type Agent { id: String! rating: Float }`, { Agent: JOIN }],
    ['`Agent` needs `id: ID!`', `${QUERY} type Agent { id: [ID!]! rating: Float }`, { Agent: JOIN }],
    ["the service's `Query` has no `agents`", 'type Query { others(ids: [ID!]!): [Agent]! } type Agent { id: ID! rating: Float }', { Agent: JOIN }],
    ['`Query.agents` needs the argument `ids: [ID!]!`', 'type Query { agents(ids: ID!): [Agent]! } type Agent { id: ID! rating: Float }', { Agent: JOIN }],
    [
      '`Query.agents` needs the argument `ids: [ID!]!`',
      'type Query { agents(ids: [String!]!): [Agent]! } type Agent { id: ID! rating: Float }',
      { Agent: JOIN },
    ],
    [
      '`Query.agents` must not require more than `ids`',
      'type Query { agents(ids: [ID!]!, as: Int!): [Agent]! } type Agent { id: ID! rating: Float }',
      { Agent: JOIN },
    ],
    ['`Query.agents` must give `[Agent]`', 'type Query { agents(ids: [ID!]!): Agent } type Agent { id: ID! rating: Float }', { Agent: JOIN }],
    ['`Query.agents` must give `[Agent]`', 'type Query { agents(ids: [ID!]!): [[Agent]] } type Agent { id: ID! rating: Float }', { Agent: JOIN }],
    ['adds nothing to `Agent`', `${QUERY} type Agent { id: ID! }`, { Agent: JOIN }],
    ["`Agent.name` is the contract's", `${QUERY} type Agent { id: ID! name: String }`, { Agent: JOIN }],
    ["`Agent.organization` is the contract's", `${QUERY} type Agent { id: ID! organization: ID }`, { Agent: JOIN }],
    ['`Agent.rating` must be nullable', `${QUERY} type Agent { id: ID! rating: Float! }`, { Agent: JOIN }],
    ['`Agent.constructor` has a name that cannot stand here', `${QUERY} type Agent { id: ID! constructor: Float }`, { Agent: JOIN }],
    [
      '`Details.constructor` has a name that cannot stand here',
      `${QUERY} type Agent { id: ID! details: Details } type Details { constructor: Int }`,
      { Agent: JOIN },
    ],
    ['the schema cannot be read', `${QUERY} type Agent { id: ID! __rating: Float }`, { Agent: JOIN }],
    ['the scalar `Odd` is unknown here', `${QUERY} type Agent { id: ID! rating: Odd } scalar Odd`, { Agent: JOIN }],
    ["leads to `User`, which is the contract's", `${QUERY} type Agent { id: ID! by: User } type User { id: ID! }`, { Agent: JOIN }],
    ["leads to `Agent`, which is the contract's", `${QUERY} type Agent { id: ID! like: [Agent!] }`, { Agent: JOIN }],
    ["leads to `AgentStatus`, which is the contract's", `${QUERY} type Agent { id: ID! was: AgentStatus } enum AgentStatus { ACTIVE }`, { Agent: JOIN }],
    [
      "leads to `AgentWhere`, which is the contract's",
      `${QUERY} type Agent { id: ID! near(where: AgentWhere): Int } input AgentWhere { rating: Float }`,
      { Agent: JOIN },
    ],
    ['`Thing` is an interface or union', `${QUERY} type Agent { id: ID! thing: Thing } interface Thing { x: Int }`, { Agent: JOIN }],
  ])('is refused with: %s', (expected, sdl, joins) => {
    expect(mistakes(sdl, joins).join('\n')).toContain(expected)
  })

  it('is refused where another service has the field or type already', () => {
    const service = (name: string, sdl: string): ForeignService => ({
      ...{ name, sdl, joins: new Map([['Agent', JOIN]]), organization: 'aurora', jurisdiction: 'DE', keysMax: 10 },
      transport: { send: () => Promise.resolve(''), close: () => undefined },
    })
    const compose = (...services: ForeignService[]): unknown =>
      supergraph({
        ...{ contractSchema, catalog, services, gatewayJurisdiction: 'DE', limits: { deadlineMs: 1, cost: 1, pageRows: 1, listValues: 1, stitchedBytes: 1 } },
        mayReceiveKey: () => ({ kind: 'none' }),
        recordKeys: () => Promise.resolve(),
        jurisdictionOf: () => null,
        onFailure: () => undefined,
      }).schema.getType('Agent')
    const first = service('first', `${QUERY} type Agent { id: ID! rating: Float details: Details } type Details { x: Int }`)
    expect(() => compose(first, service('second', `${QUERY} type Agent { id: ID! rating: Float }`))).toThrow(
      "service `second`: `Agent.rating` is the service's `first` already",
    )
    expect(() => compose(first, service('second', `${QUERY} type Agent { id: ID! more: Details } type Details { x: Int }`))).toThrow('`Details` is the service')
    expect(
      Object.keys((compose(first, service('second', `${QUERY} type Agent { id: ID! more: Int }`)) as { getFields(): object }).getFields()).slice(-3),
    ).toEqual(['rating', 'details', 'more'])
  })
})
