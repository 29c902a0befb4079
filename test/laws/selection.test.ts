import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { execute, parse, validate } from 'graphql'
import { apiSchema } from '../../src/gateway/api-schema.js'
import { parseContract } from '../../src/gateway/contract.js'
import type { TestClaims, TestGateway } from '../support/gateway.js'
import { startTestGateway } from '../support/gateway.js'
import { CONTRACT, lawsWorld } from './world.js'
import { times } from '../support/times.js'

const chief: TestClaims = { organization: 'alpha', roles: ['chief'], purposes: ['of his own'] }
const schema = apiSchema(parseContract([{ name: 'contract.graphql', text: CONTRACT }]))

const SERIES = 'range: { from: "2025-12-01T00:00:00Z", to: "2026-04-01T00:00:00Z" }, bucket: "P1M", fill: NULL, groupBy: [{ field: ORGANIZATION }]'

/** Fields that have fields; with arguments that are always the same, so that fields of one name can be merged. */
const NESTED: Readonly<Record<string, Readonly<Record<string, readonly [text: string, type: string]>>>> = {
  Query: {
    tasks: ['tasks(first: 4, orderBy: [{ status: ASC }])', 'TaskConnection'],
    tasksAggregate: ['tasksAggregate(groupBy: [{ field: STATUS }])', 'TaskAggregate'],
    taskSeries: [`taskSeries(${SERIES})`, 'TaskSeries'],
    organizations: ['organizations', 'Organization'],
    node: ['node(id: $id)', 'Node'],
  },
  TaskConnection: { nodes: ['nodes', 'Task'], edges: ['edges', 'TaskEdge'], pageInfo: ['pageInfo', 'PageInfo'] },
  TaskEdge: { node: ['node', 'Task'] },
  Task: { owner: ['owner', 'Person'], project: ['project', 'Project'] },
  Person: {
    tasks: ['tasks(first: 2)', 'TaskConnection'],
    tasksAggregate: ['tasksAggregate', 'TaskAggregate'],
    taskSeries: [`taskSeries(${SERIES})`, 'TaskSeries'],
  },
  TaskAggregate: { groups: ['groups', 'TaskGroup'] },
  TaskSeries: { keys: ['keys', 'TaskGroupKeys'], buckets: ['buckets', 'TaskBucket'] },
  TaskBucket: { last: ['last', 'TaskExtreme'], percentile: ['percentile(p: 0.5)', 'TaskAvg'] },
  TaskGroup: { keys: ['keys', 'TaskGroupKeys'], max: ['max', 'TaskExtreme'] },
}
const LEAVES: Readonly<Record<string, readonly string[]>> = {
  TaskConnection: ['totalCount'],
  TaskEdge: ['cursor'],
  PageInfo: ['hasNextPage', 'hasPreviousPage', 'startCursor', 'endCursor'],
  Task: ['id', 'organization', 'key', 'title', 'status', 'priority', 'points', 'due', 'tags', 'meta', 'note'],
  Person: ['id', 'organization', 'name', 'team', 'salary'],
  Project: ['id', 'organization', 'name'],
  Organization: ['id', 'name', 'jurisdiction'],
  TaskGroup: ['count'],
  TaskBucket: ['start', 'end', 'count'],
  TaskAvg: ['priority', 'points'],
  TaskGroupKeys: ['status', 'organization'],
  TaskExtreme: ['priority', 'createdAt'],
  Node: ['id'],
}
const CONDITIONS: Readonly<Record<string, readonly string[]>> = {
  Task: ['Task', 'Node'],
  Person: ['Person', 'Node'],
  Project: ['Project', 'Node'],
  Node: ['Node', 'Task', 'Person'],
}
const DEPTH = 5

/** A selection, and the fragments that it spreads. */
interface Written {
  readonly text: string
  readonly fragments: readonly string[]
}

const directives = fc.constantFrom(
  '',
  '',
  '',
  '',
  '',
  '@include(if: true)',
  '@skip(if: true)',
  '@include(if: $yes)',
  '@skip(if: $no)',
  '@skip(if: $yes)',
  '@include(if: $yes) @skip(if: $no)',
)

function selections(type: string, depth: number): fc.Arbitrary<Written> {
  return fc
    .array(selection(type, depth), { minLength: 1, maxLength: 4 })
    .map((parts) => ({ text: `{ ${parts.map(({ text }) => text).join(' ')} }`, fragments: parts.flatMap(({ fragments }) => fragments) }))
}

function selection(type: string, depth: number): fc.Arbitrary<Written> {
  const leaves = [...(LEAVES[type] ?? []), '__typename']
  const leaf = fc
    .tuple(fc.constantFrom(...leaves), directives, fc.integer({ min: 0, max: 40 }))
    .map(([name, directive, chance]): Written => ({ text: `${alias(name, chance)}${name} ${directive}`, fragments: [] }))
  const nested = Object.entries(NESTED[type] ?? {})
  if (depth >= DEPTH) return leaf
  const composite = (): fc.Arbitrary<Written> =>
    fc.tuple(fc.constantFrom(...nested), directives, fc.integer({ min: 0, max: 40 })).chain(([[name, [text, target]], directive, chance]) =>
      selections(target, depth + 1).map((inner): Written => ({
        text: `${alias(name, chance)}${text} ${directive} ${inner.text}`,
        fragments: inner.fragments,
      })),
    )
  const conditions = CONDITIONS[type] ?? [type]
  const inline = fc.tuple(fc.constantFrom('', ...conditions.map((name) => `on ${name}`)), directives).chain(([condition, directive]) =>
    selections(condition === '' ? type : condition.slice(3), depth + 1).map((inner): Written => ({
      text: `... ${condition} ${directive} ${inner.text}`,
      fragments: inner.fragments,
    })),
  )
  const spread = fc.tuple(fc.constantFrom(...conditions), directives).chain(([condition, directive]) =>
    selections(condition, depth + 1).map((inner): Written => {
      // Equal fragments have one name.
      const name = `F${createHash('sha256').update(`${condition}${inner.text}`).digest('hex').slice(0, 12)}`
      return { text: `...${name} ${directive}`, fragments: [...inner.fragments, `fragment ${name} on ${condition} ${inner.text}`] }
    }),
  )
  return fc.oneof(
    { weight: 5, arbitrary: leaf },
    ...(nested.length > 0 ? [{ weight: 4, arbitrary: fc.constant(null).chain(composite) }] : []),
    { weight: 1, arbitrary: inline },
    { weight: 1, arbitrary: spread },
  )
}

/** Names that seldom conflict; a conflict is an answer too. */
function alias(name: string, chance: number): string {
  if (chance === 0) return 'same: '
  if (chance < 6) return `its_${name.replaceAll('_', '')}: `
  return chance < 10 ? `${name.startsWith('__') ? 'kind' : name}: ` : ''
}

function documentOf({ text, fragments }: Written): string {
  const head = 'query($id: ID!, $yes: Boolean!, $no: Boolean!) @sovereignty { check: node(id: $id) { id @skip(if: $no) key: id @include(if: $yes) }'
  return [`${head} ${text.slice(1)}`, ...new Set(fragments)].join('\n')
}

describe('the fields of an answer', () => {
  let gateway: TestGateway
  let whole: unknown
  let id = ''

  beforeAll(async () => {
    gateway = await startTestGateway({
      world: lawsWorld(),
      gateway: {
        limits: {
          cost: 10_000_000,
          tokens: 20_000,
          fields: 5_000,
          aliases: 1_000,
          directives: 1_000,
          fragments: 500,
          expandedFields: 20_000,
          rootFields: 100,
          comparisons: 1_000_000,
          deadline: '20s',
        },
      },
    })
    const first = await gateway.ask(chief, '{ tasks(first: 1, orderBy: [{ status: ASC }]) { nodes { id } } }')
    id = first.json.data.tasks.nodes[0].id as string
    const everything = (type: string, depth: number): string => {
      const nested = depth >= 7 ? [] : Object.values(NESTED[type] ?? {}).map(([text, target]) => `${text} ${everything(target, depth + 1)}`)
      return `{ __typename ${[...(LEAVES[type] ?? []), ...nested].join(' ')} }`
    }
    const { json } = await gateway.ask(
      chief,
      `query($id: ID!) { ${everything('Query', 0)
        .slice(1, -1)
        .replace('node(id: $id) { __typename id }', `node(id: $id) { __typename id ... on Task ${everything('Task', 1)} }`)} }`,
      { id },
    )
    expect(json.errors).toBeUndefined()
    whole = json.data
  }, 60_000)
  afterAll(() => gateway.stop())

  it('are those that graphql-js gives, name by name and in its order, through fragments, aliases and directives', async () => {
    let [answered, invalid] = [0, 0]
    const property = fc.asyncProperty(selections('Query', 0), async (written) => {
      const document = documentOf(written)
      const variables = { id, yes: true, no: false }
      const { status, json } = await gateway.ask(chief, document, variables)
      const parsed = parse(document)
      if (validate(schema, parsed).length > 0) {
        invalid += 1
        expect({ status, codes: new Set(json.errors?.map(({ extensions }) => extensions.code)), data: json.data }).toEqual({
          status: 400,
          codes: new Set(['GRAPHQL_VALIDATION_FAILED']),
          data: undefined,
        })
        return
      }
      answered += 1
      expect({ status, errors: json.errors }).toEqual({ status: 200, errors: undefined })
      const expected = await execute({ schema, document: parsed, rootValue: whole, variableValues: variables })
      expect(expected.errors).toBeUndefined()
      // As text, for the order of the fields.
      expect(JSON.stringify(json.data)).toBe(JSON.stringify(expected.data))
    })
    await fc.assert(property, { numRuns: times(120) })
    expect(answered).toBeGreaterThan(invalid)
  }, 120_000)
})
