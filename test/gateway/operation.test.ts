import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { getIntrospectionQuery } from 'graphql'
import { DEFAULT_LIMITS } from '../../src/config.js'
import { GatewayError } from '../../src/errors.js'
import { apiSchema } from '../../src/gateway/api-schema.js'
import { parseContract } from '../../src/gateway/contract.js'
import { checkDocument } from '../../src/gateway/document-limits.js'
import { Operations, type FramedRefusal, type Operation, type OperationRequest } from '../../src/gateway/operation.js'

const CONTRACT = `
type User @entity { key: ID!  name: String!  email: String  team: String  createdAt: DateTime  agents: [Agent!] @inverse(of: "owner") }
type Agent @entity {
  key: ID!  name: String!  status: AgentStatus!  description: String  tags: [String!]  configuration: JSON
  monthlyBudget: Decimal  maxConcurrency: Int  createdAt: DateTime!  updatedAt: DateTime
  owner: User  executions: [WorkflowExecution!] @inverse(of: "agent")  metrics: [AgentExecutionMetric!] @inverse(of: "agent")
}
type Workflow @entity { key: ID!  name: String!  version: Int  definition: JSON  owner: User  executions: [WorkflowExecution!] @inverse(of: "workflow") }
type WorkflowExecution @entity(name: "execution") {
  key: ID!  status: ExecutionStatus!  startedAt: DateTime!  endedAt: DateTime  error: String  workflow: Workflow  agent: Agent
  metrics: [AgentExecutionMetric!] @inverse(of: "execution")
}
type AgentExecutionMetric @entity(name: "metric") {
  key: ID!  status: ExecutionStatus!  startedAt: DateTime!  endedAt: DateTime  error: String  metadata: JSON
  cpuUsage: Float  memoryUsage: BigInt  inputSize: BigInt  outputSize: BigInt  agent: Agent  execution: WorkflowExecution
}
enum AgentStatus { ACTIVE PAUSED ARCHIVED }
enum ExecutionStatus { QUEUED RUNNING SUCCEEDED FAILED CANCELLED }
`
const schema = apiSchema(parseContract([{ name: 'contract.graphql', text: CONTRACT }]))
const CACHE = { operations: 100, operationBytes: 1024 * 1024 }
const started: Operations[] = []

async function start(options: { introspection?: boolean; cache?: typeof CACHE } = {}): Promise<Operations> {
  const operations = await Operations.start({ schema, limits: DEFAULT_LIMITS, cache: options.cache ?? CACHE, introspection: options.introspection ?? true })
  started.push(operations)
  return operations
}

let operations: Operations
beforeAll(async () => {
  operations = await start()
})
afterAll(async () => {
  await Promise.all(started.map((each) => each.stop()))
})

const asked = (document: string, rest: Partial<OperationRequest> = {}): OperationRequest => ({
  method: 'POST',
  document,
  operationName: null,
  accept: 'json',
  ...rest,
})
const prepared = async (document: string, rest: Partial<OperationRequest> = {}, by = operations): Promise<Operation> => {
  const result = await by.prepare(asked(document, rest))
  if ('errors' in result) throw new Error(`refused: ${JSON.stringify(result)}`)
  return result
}
const refused = async (document: string, rest: Partial<OperationRequest> = {}, by = operations): Promise<FramedRefusal> => {
  const result = await by.prepare(asked(document, rest))
  if (!('errors' in result)) throw new Error('not refused')
  return result
}
const codeOf = (document: string): string | null => {
  try {
    checkDocument(document, DEFAULT_LIMITS)
    return null
  } catch (error) {
    if (error instanceof GatewayError) return error.code
    throw error
  }
}

describe('preparing a document', () => {
  it('gives the operation with its fragments, executed nowhere', async () => {
    const document = 'query Named { agents { ...Page } } fragment Page on AgentConnection { nodes { name } }'
    const operation = await prepared(document)
    expect(operation).toMatchObject({ name: 'Named', text: document, definition: { operation: 'query', name: { value: 'Named' } } })
    expect([...operation.fragments.keys()]).toEqual(['Page'])
    expect(operation.definition.loc?.startToken.line).toBe(1)
  })

  it('prepares a document once, however and by whom it is asked for', async () => {
    const document = '{ agents { totalCount } }'
    const first = await prepared(document)
    expect(await prepared(document)).toBe(first)
    expect(await prepared(document, { method: 'GET', accept: 'graphql-response' })).toBe(first)
    expect(await prepared(`${document} `)).not.toBe(first)
  })

  it('tells documents and names apart that read alike when put together', async () => {
    const both = 'query A { agents { totalCount } } query B { users { totalCount } }'
    expect((await prepared(both, { operationName: 'A' })).name).toBe('A')
    expect((await prepared(both, { operationName: 'B' })).name).toBe('B')
    const [unnamed, named] = await Promise.all([
      prepared('query A { agents { totalCount } }'),
      prepared('query A { agents { totalCount } }', { operationName: 'A' }),
    ])
    expect(unnamed).not.toBe(named)
    // A document that would read like a name and a document, were they only put together.
    await expect(prepared('1:Aquery A { agents { totalCount } }')).rejects.toThrow()
  })

  it('keeps what was used last, by count and by bytes', async () => {
    const documents = Array.from({ length: 4 }, (_, index) => `query N${index} { agents { totalCount } }`)
    const byCount = await start({ cache: { operations: 3, operationBytes: 1024 * 1024 } })
    const [first] = await Promise.all([prepared(documents[0]!, {}, byCount)])
    for (const document of documents.slice(1, 3)) await prepared(document, {}, byCount)
    expect(await prepared(documents[0]!, {}, byCount)).toBe(first)
    const second = await prepared(documents[1]!, {}, byCount)
    await prepared(documents[3]!, {}, byCount)
    expect(await prepared(documents[0]!, {}, byCount)).toBe(first)
    expect(await prepared(documents[1]!, {}, byCount)).toBe(second)
    const byBytes = await start({ cache: { operations: 100, operationBytes: 70 } })
    const early = await prepared(documents[0]!, {}, byBytes)
    for (const document of documents.slice(1)) await prepared(document, {}, byBytes)
    expect(await prepared(documents[0]!, {}, byBytes)).not.toBe(early)
  })

  it.each<[string, string, Partial<OperationRequest>, string]>([
    ['what is not GraphQL', '{ agents', {}, 'GRAPHQL_PARSE_FAILED'],
    ['a character that GraphQL does not know', '{ agents ? }', {}, 'GRAPHQL_PARSE_FAILED'],
    ['a string that does not end', '{ agent(key: "1) { name } }', {}, 'GRAPHQL_PARSE_FAILED'],
    ['a field that the contract does not have', '{ agents { nodes { password } } }', {}, 'GRAPHQL_VALIDATION_FAILED'],
    ['an operation that is not there', 'query A { agents { totalCount } }', { operationName: 'B' }, 'OPERATION_RESOLUTION_FAILURE'],
    ['no choice among several', 'query A { agents { totalCount } } query B { agents { totalCount } }', {}, 'OPERATION_RESOLUTION_FAILURE'],
    ['a document without an operation', 'fragment F on Agent { name }', {}, 'GRAPHQL_VALIDATION_FAILED'],
    ['a mutation', 'mutation { drop }', {}, 'GRAPHQL_VALIDATION_FAILED'],
    ['a mutation by GET', 'mutation { drop }', { method: 'GET' }, 'GRAPHQL_VALIDATION_FAILED'],
    ['a subscription', 'subscription { changes }', {}, 'GRAPHQL_VALIDATION_FAILED'],
  ])('refuses %s in words of graphql-js, with a code', async (_, document, rest, code) => {
    const json = await refused(document, rest)
    expect(json).toMatchObject({ status: 200, headers: {}, errors: expect.arrayContaining([expect.objectContaining({ extensions: { code } })]) })
    expect(await refused(document, { ...rest, accept: 'graphql-response' })).toEqual({ ...json, status: 400 })
    expect(json.errors.every((error) => error.message !== '')).toBe(true)
  })

  it('says where, and tells nothing but code, message and place', async () => {
    const { errors } = await refused('{\n  agents { nodes { nam } }\n}')
    expect(errors).toEqual([
      {
        message: 'Cannot query field "nam" on type "Agent". Did you mean "name"?',
        locations: [{ line: 2, column: 20 }],
        extensions: { code: 'GRAPHQL_VALIDATION_FAILED' },
      },
    ])
  })

  it('answers introspection only where it is switched on, and suggests nothing where it is off', async () => {
    expect((await prepared(getIntrospectionQuery())).name).toBe('IntrospectionQuery')
    const closed = await start({ introspection: false })
    expect((await refused('{ __schema { types { name } } }', {}, closed)).errors[0]?.extensions.code).toBe('GRAPHQL_VALIDATION_FAILED')
    expect(JSON.stringify(await refused('{ agents { nodes { nam } } }', {}, closed))).not.toContain('name')
    expect((await prepared('{ __typename }', {}, closed)).name).toBeNull()
  })

  it('is not moved by what stands in a document, in any letters', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary', maxLength: 60 }), async (text) => {
        const quoted = JSON.stringify(text)
        await expect(operations.prepare(asked(`{ agent(key: ${quoted}, organization: "a") { name } }`))).resolves.toBeDefined()
        const result = await operations.prepare(asked(text.trim() === '' ? '#' : text)).catch((error: unknown) => error)
        expect(result instanceof GatewayError || (typeof result === 'object' && result !== null && ('errors' in result || 'definition' in result))).toBe(true)
      }),
      { numRuns: 60 },
    )
  })
})

const times = (count: number, part: (index: number) => string): string => Array.from({ length: count }, (_, index) => part(index)).join(' ')
const nested = (levels: number, open: string, inner: string, close: string): string => open.repeat(levels) + inner + close.repeat(levels)

describe('the limits of a document', () => {
  const { tokens, depth, fields, aliases, directives, fragments, rootFields, documentBytes } = DEFAULT_LIMITS

  it.each<[string, string, string]>([
    ['bytes', `{ a } #${' '.repeat(documentBytes - 7)}`, `{ a } #${' '.repeat(documentBytes - 6)}`],
    ['bytes, not letters', `{ a } #${'é'.repeat((documentBytes - 8) / 2)}`, `{ a } #${'é'.repeat((documentBytes - 4) / 2)}`],
    ['tokens', `{ a(b: [${times(tokens - 9, () => '1')}]) }`, `{ a(b: [${times(tokens - 8, () => '1')}]) }`],
    ['levels of selections', nested(depth, '{a', '', '}'), nested(depth + 1, '{a', '', '}')],
    ['levels of values', `{ a(b: ${nested(depth - 2, '[', '', ']')}) }`, `{ a(b: ${nested(depth - 1, '[', '', ']')}) }`],
    [
      'fields',
      `{ agents { nodes { ${times(99, () => 'name')} } } }`,
      `{ ${times(fields / 10 + 1, (index) => `...F${index}`)} } ${times(fields / 10 + 1, (index) => `fragment F${index} on A { a b c d e f g h i j }`)}`,
    ],
    ['aliases', `{ x { ${times(aliases, (index) => `a${index}: name`)} } }`, `{ x { ${times(aliases + 1, (index) => `a${index}: name`)} } }`],
    ['directives', `{ x ${times(directives, () => '@a')} }`, `{ x ${times(directives + 1, () => '@a')} }`],
    [
      'fragments',
      `{ x } ${times(fragments, (index) => `fragment F${index} on A { a }`)}`,
      `{ x } ${times(fragments + 1, (index) => `fragment F${index} on A { a }`)}`,
    ],
    ['operations', times(50, (index) => `query Q${index} { a }`), times(51, (index) => `query Q${index} { a }`)],
    ['root fields', `{ ${times(rootFields, (index) => `f${index}`)} }`, `{ ${times(rootFields, (index) => `f${index}`)} ...F } fragment F on Q { g }`],
    [
      'levels through fragments',
      `{ ...F0 } ${times(depth, (index) => `fragment F${index} on A { a ${index + 1 < depth ? `{ ...F${index + 1} }` : ''} }`)}`,
      `{ ...F0 } ${times(depth + 1, (index) => `fragment F${index} on A { a ${index < depth ? `{ ...F${index + 1} }` : ''} }`)}`,
    ],
    [
      'fields through fragments',
      `{ ...F0 } ${times(7, (index) => `fragment F${index} on A { ${index < 6 ? `a { ...F${index + 1} } b { ...F${index + 1} }` : 'c'} }`)}`,
      `{ ...F0 } ${times(40, (index) => `fragment F${index} on A { ...F${index + 1} ... on A { ...F${index + 1} } }`)} fragment F40 on A { a }`,
    ],
    ['fields of one name', `{ x { ${times(99, () => 'a')} } }`, `{ x { ${times(102, () => 'a')} } }`],
    [
      'fields of one name in nested selections',
      `{ ${times(4, () => 'x { y { z } y { z } }')} }`,
      `{ ${times(10, () => `x { ${times(10, () => 'y { z }')} }`)} }`,
    ],
    [
      'introspections',
      '{ __schema { types { name } } __type(name: "A") { name } }',
      '{ a: __schema { types { name } } b: __schema { types { name } } c: __schema { types { name } } }',
    ],
    ['aliases in an introspection', '{ s: __schema { types { name } } }', '{ __schema { types { ...F } } } fragment F on __Type { a: fields { name } }'],
    [
      'parts of parts in an introspection',
      '{ __schema { types { fields { type { ofType { name } } } } } }',
      '{ __schema { types { fields { type { ...F } } } } } fragment F on __Type { possibleTypes { name } }',
    ],
  ])('accept the last good number of %s and refuse the next', (_, good, bad) => {
    expect(codeOf(good)).toBeNull()
    expect(codeOf(bad)).toBe('QUERY_TOO_COSTLY')
  })

  it('refuse aliases that JavaScript reserves, and cycles of fragments', () => {
    for (const name of ['__proto__', 'constructor', 'prototype']) expect(codeOf(`{ agents { nodes { ${name}: name } } }`)).toBe('BAD_REQUEST')
    expect(codeOf('{ agents { proto: nodes { name } } }')).toBeNull()
    expect(codeOf('{ ...A } fragment A on Q { a { ...B } } fragment B on Q { b { ...A } }')).toBe('GRAPHQL_VALIDATION_FAILED')
    expect(codeOf('{ a } fragment A on Q { ...A }')).toBe('GRAPHQL_VALIDATION_FAILED')
  })

  it('take the introspection that tools send', () => {
    for (const options of [{}, { specifiedByUrl: true, directiveIsRepeatable: true, schemaDescription: true, inputValueDeprecation: true, oneOf: true }])
      expect(codeOf(getIntrospectionQuery(options))).toBeNull()
  })

  it('leave what is not GraphQL to the parser, however deep', () => {
    expect(codeOf('{ a ? ')).toBeNull()
    expect(codeOf('}{')).toBeNull()
    expect(codeOf('{'.repeat(30_000))).toBe('QUERY_TOO_COSTLY')
    expect(codeOf('['.repeat(30_000))).toBe('QUERY_TOO_COSTLY')
  })
})
