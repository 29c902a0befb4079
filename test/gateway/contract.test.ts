import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from '@jest/globals'
import type { ContractMistake } from '../../src/gateway/contract.js'
import { ContractError, parseContract } from '../../src/gateway/contract.js'

const load = (text: string) => parseContract([{ name: 'contract.graphql', text }])

function mistakes(...texts: string[]): readonly ContractMistake[] {
  try {
    parseContract(texts.map((text, index) => ({ name: `${index}.graphql`, text })))
  } catch (error) {
    if (error instanceof ContractError) return error.mistakes
    throw error
  }
  return []
}

const messages = (...texts: string[]) => mistakes(...texts).map(({ message }) => message)

describe('parseContract', () => {
  it('reads the contract that its documentation shows', async () => {
    const page = await readFile(join(process.cwd(), 'docs/contract.md'), 'utf8')
    const [, text = ''] = /```graphql\n([^]*?)```/.exec(page) ?? []
    expect([...load(text).entities.keys()]).toEqual(['User', 'Agent'])
  })

  it('reads entities, values, relations and enums, with their descriptions', () => {
    const catalog = load(`
      "A person."
      type User @entity { key: ID! "Full name." name: String!  tags: [String!]  agents: [Agent!] @inverse(of: "owner") }
      type Agent @entity(key: ["tenant", "number"], name: "bot", plural: "bots") @series(time: "seen") {
        tenant: UUID!  number: BigInt!  seen: DateTime  status: AgentStatus  owner: User
      }
      "How it is."
      enum AgentStatus { ACTIVE PAUSED }
    `)
    expect(catalog.entities.get('User')).toEqual({
      name: 'User',
      description: 'A person.',
      key: ['key'],
      singular: 'user',
      plural: 'users',
      seriesTime: null,
      fields: new Map<string, unknown>([
        ['key', { kind: 'value', name: 'key', description: null, type: { kind: 'builtin', name: 'ID' }, list: false, required: true, vector: null }],
        [
          'name',
          { kind: 'value', name: 'name', description: 'Full name.', type: { kind: 'builtin', name: 'String' }, list: false, required: true, vector: null },
        ],
        ['tags', { kind: 'value', name: 'tags', description: null, type: { kind: 'builtin', name: 'String' }, list: true, required: false, vector: null }],
        ['agents', { kind: 'toMany', name: 'agents', description: null, target: 'Agent', inverse: 'owner' }],
      ]),
    })
    expect(catalog.entities.get('Agent')).toMatchObject({ key: ['tenant', 'number'], singular: 'bot', plural: 'bots', seriesTime: 'seen' })
    expect(catalog.entities.get('Agent')?.fields.get('owner')).toEqual({ kind: 'toOne', name: 'owner', description: null, target: 'User' })
    expect(catalog.entities.get('Agent')?.fields.get('status')).toMatchObject({ type: { kind: 'enum', name: 'AgentStatus', values: ['ACTIVE', 'PAUSED'] } })
    expect(catalog.enums.get('AgentStatus')).toEqual({ name: 'AgentStatus', description: 'How it is.', values: ['ACTIVE', 'PAUSED'] })
  })

  it('takes one contract from several files, and definitions that editors want', () => {
    const catalog = parseContract([
      {
        name: 'a.graphql',
        text: 'directive @entity(key: [String!]! = ["key"], name: String, plural: String) on OBJECT\nscalar BigInt\ntype A @entity { key: ID! b: B }',
      },
      { name: 'b.graphql', text: 'type B @entity { key: ID! }' },
      { name: 'notes.graphql', text: '# nothing yet\n' },
    ])
    expect([...catalog.entities.keys()]).toEqual(['A', 'B'])
  })

  it.each([
    ['Company', 'company', 'companies'],
    ['Person', 'person', 'people'],
    ['SalesPerson', 'salesPerson', 'salesPeople'],
    ['Status', 'status', 'statuses'],
    ['Series', 'series', 'serieses'],
    ['Box', 'box', 'boxes'],
    ['Day', 'day', 'days'],
  ])('gives %s the stems %s and %s', (type, singular, plural) => {
    expect(load(`type ${type} @entity { key: ID! }`).entities.get(type)).toMatchObject({ singular, plural })
  })

  it('lists every mistake with its place', () => {
    const found = mistakes('type A @entity {\n  key: ID!\n  id: Int\n  organization: Int\n}', 'type B @entity {\n  name: String\n}')
    expect(found.map(({ source, line, column }) => [source, line, column])).toEqual([
      ['0.graphql', 3, 3],
      ['0.graphql', 4, 3],
      ['1.graphql', 1, 6],
    ])
  })

  it('says where the text stops being SDL, in every file', () => {
    expect(mistakes('type A @entity { key ID! }', 'type').map(({ source, line, column }) => [source, line, column])).toEqual([
      ['0.graphql', 1, 22],
      ['1.graphql', 1, 5],
    ])
  })

  it.each([
    ['nothing', ''],
    ['a type without @entity', 'type A { key: ID! }'],
    ['two types of one name', 'type A @entity { key: ID! } type A @entity { key: ID! }'],
    ['an unknown type', 'type A @entity { key: ID! b: B }'],
    ['an unknown directive', 'type A @entity @table { key: ID! }'],
    ['a wrong argument of a directive', 'type A @entity(key: 3) { key: ID! }'],
    ['an unknown argument of a directive', 'type A @entity(keys: ["key"]) { key: ID! }'],
    ['a directive twice', 'type A @entity @entity { key: ID! }'],
    ['an interface', 'interface I { key: ID! } type A implements I @entity { key: ID! }'],
    ['an input', 'input I { key: ID! } type A @entity { key: ID! }'],
    ['an input as type of a field', 'input I { key: ID! } type A @entity { key: ID! i: I }'],
    ['an extension', 'type A @entity { key: ID! } extend type A { b: Int }'],
    ['an own scalar', 'scalar Money type A @entity { key: ID! price: Money }'],
    ['a root', 'schema { query: A } type A @entity { key: ID! }'],
    ['a field named id', 'type A @entity { key: ID! id: ID }'],
    ['a field named organization', 'type A @entity { key: ID! organization: ID }'],
    ['a field named as a word of where', 'type A @entity { key: ID! not: ID }'],
    ['a field of introspection', 'type A @entity { key: ID! __x: ID }'],
    ['a type of introspection', 'type __A @entity { key: ID! }'],
    ['a value of introspection', 'type A @entity { key: ID! e: E } enum E { __X }'],
    ['a field named __proto__', 'type A @entity { key: ID! __proto__: ID }'],
    ['a field named constructor', 'type A @entity { key: ID! constructor: ID }'],
    ['a field named toString', 'type A @entity { key: ID! toString: ID }'],
    ['a field named prototype', 'type A @entity { key: ID! prototype: ID }'],
    ['a type named constructor', 'type constructor @entity { key: ID! }'],
    ['a value named hasOwnProperty', 'type A @entity { key: ID! e: E } enum E { hasOwnProperty }'],
    ['a stem named valueOf', 'type A @entity(name: "valueOf") { key: ID! }'],
    ['a stem that is no name', 'type A @entity(name: "a b") { key: ID! }'],
    ['an empty stem', 'type A @entity(plural: "") { key: ID! }'],
    ['a plural equal to the singular', 'type A @entity(name: "fish", plural: "fish") { key: ID! }'],
    ['an empty key', 'type A @entity(key: []) { key: ID! }'],
    ['a key twice', 'type A @entity(key: ["key", "key"]) { key: ID! }'],
    ['a missing key', 'type A @entity { name: ID! }'],
    ['a nullable key', 'type A @entity { key: ID }'],
    ['a list as key', 'type A @entity { key: [ID!]! }'],
    ['a relation as key', 'type A @entity { key: A }'],
    ['a float as key', 'type A @entity { key: Float! }'],
    ['an enum as key', 'type A @entity { key: E! } enum E { X }'],
    ['a field with arguments', 'type A @entity { key: ID! name(upper: Boolean): String }'],
    ['a list of nullable values', 'type A @entity { key: ID! tags: [String] }'],
    ['a list of lists', 'type A @entity { key: ID! tags: [[String!]!] }'],
    ['a vector without its facts', 'type A @entity { key: ID! embedding: Vector }'],
    ['a vector without dimensions', 'type A @entity { key: ID! embedding: Vector @vector(model: "m", dimensions: 0) }'],
    ['a vector of too many dimensions', 'type A @entity { key: ID! embedding: Vector @vector(model: "m", dimensions: 16001) }'],
    ['a vector of an unknown metric', 'type A @entity { key: ID! embedding: Vector @vector(model: "m", dimensions: 3, metric: HAMMING) }'],
    ['a vector of no model', 'type A @entity { key: ID! embedding: Vector @vector(model: "", dimensions: 3) }'],
    ['a list of vectors', 'type A @entity { key: ID! all: [Vector!] @vector(model: "m", dimensions: 3) }'],
    ['a vector as key', 'type A @entity(key: ["e"]) { e: Vector! @vector(model: "m", dimensions: 3) }'],
    ['@vector on a text', 'type A @entity { key: ID! name: String @vector(model: "m", dimensions: 3) }'],
    [
      'two vectors of one name in the API',
      'type A @entity { key: ID! aB: Vector @vector(model: "m", dimensions: 3) a_b: Vector @vector(model: "m", dimensions: 3) }',
    ],
    ['a required relation', 'type A @entity { key: ID! a: A! }'],
    ['a required list of rows', 'type A @entity { key: ID! a: A all: [A!]! @inverse(of: "a") }'],
    ['a list of rows that may be null', 'type A @entity { key: ID! a: A all: [A] @inverse(of: "a") }'],
    ['a relation to many without @inverse', 'type A @entity { key: ID! a: A all: [A!] }'],
    ['an inverse of nothing', 'type A @entity { key: ID! all: [A!] @inverse(of: "b") }'],
    ['an inverse of a value', 'type A @entity { key: ID! all: [A!] @inverse(of: "key") }'],
    ['an inverse of a relation to another type', 'type A @entity { key: ID! b: B all: [A!] @inverse(of: "b") } type B @entity { key: ID! }'],
    ['an inverse on a relation to one', 'type A @entity { key: ID! a: A @inverse(of: "a") }'],
    ['an inverse on a value', 'type A @entity { key: ID! name: String @inverse(of: "a") }'],
    ['a series of nothing', 'type A @entity @series(time: "at") { key: ID! }'],
    ['a series over a text', 'type A @entity @series(time: "at") { key: ID! at: String }'],
    [
      'a series whose name a field has',
      'type A @entity { key: ID! rows: [B!] @inverse(of: "a") rowsSeries: Int } type B @entity @series(time: "at") { key: ID! at: DateTime! a: A }',
    ],
    [
      'a series whose name another root has',
      'type B @entity @series(time: "at") { key: ID! at: DateTime! } type C @entity(name: "bSeries", plural: "cs") { key: ID! }',
    ],
    ['a type named Query', 'type Query @entity { key: ID! }'],
    ['a type named as a scalar', 'type Vector @entity { key: ID! }'],
    ['a type named as a part of the API', 'type PageInfo @entity { key: ID! }'],
    ['a type named as a generated type', 'type A @entity { key: ID! } type AConnection @entity { key: ID! }'],
    ['two types that generate one name', 'type A @entity { key: ID! } type AGroup @entity { key: ID! } '],
    ['an enum whose filter is taken', 'type A @entity { key: ID! e: E } enum E { X } enum EFilter { Y }'],
    ['a type named Node', 'type Node @entity { key: ID! }'],
    ['a stem of the API', 'type A @entity(name: "node", plural: "as") { key: ID! }'],
    ['one stem for two types', 'type A @entity(name: "c") { key: ID! } type B @entity(name: "c", plural: "d") { key: ID! }'],
    ['a plural that is another singular', 'type A @entity(plural: "b") { key: ID! } type B @entity { key: ID! }'],
    ['a field beside the relation that generates it', 'type A @entity { key: ID! a: A all: [A!] @inverse(of: "a") allAggregate: Int }'],
    ['two fields of one name in capitals', 'type A @entity { key: ID! fooBar: Int foo_bar: Int }'],
    ['a field that would be ORGANIZATION', 'type A @entity { key: ID! Organization: Int }'],
  ])('refuses %s', (_, text) => {
    expect(messages(text)).not.toEqual([])
  })

  it('refuses a name of JavaScript once and says why', () => {
    expect(messages('type A @entity { key: ID! constructor: ID }')).toEqual(['`constructor`: the name is reserved in JavaScript; choose another'])
  })
})
