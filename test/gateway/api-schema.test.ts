import { describe, expect, it } from '@jest/globals'
import { buildSchema, GraphQLObjectType, isInputObjectType, lexicographicSortSchema, parse, printSchema, printType, validate, validateSchema } from 'graphql'
import { apiIndex, apiSchema } from '../../src/gateway/api-schema.js'
import { parseContract } from '../../src/gateway/contract.js'

const PLATFORM = `
type User @entity {
  key: ID!  name: String!  email: String  team: String  createdAt: DateTime
  agents: [Agent!] @inverse(of: "owner")
}
"A program that acts."
type Agent @entity {
  key: ID!  "Shown to \\"people\\"." name: String!  status: AgentStatus!  tags: [String!]  configuration: JSON
  monthlyBudget: Decimal  maxConcurrency: Int  createdAt: DateTime!
  embedding: Vector @vector(model: "m", dimensions: 3)
  owner: User
  executions: [WorkflowExecution!] @inverse(of: "agent")
}
type WorkflowExecution @entity(name: "execution") {
  key: ID!  status: ExecutionStatus!  startedAt: DateTime!  error: String  cpuUsage: Float  inputSize: BigInt
  agent: Agent
}
enum AgentStatus { ACTIVE PAUSED ARCHIVED }
enum ExecutionStatus { QUEUED RUNNING SUCCEEDED FAILED CANCELLED }
`
const catalogOf = (text: string) => parseContract([{ name: 'contract.graphql', text }])
const schemaOf = (text: string) => apiSchema(catalogOf(text))
const definition = (schema: ReturnType<typeof schemaOf>, name: string) => {
  const type = schema.getType(name)
  return type
    ? printType(type)
        .replaceAll(/"""[^"]*"""\n\s*/g, '')
        .replaceAll(/\s+/g, ' ')
    : null
}

describe('apiSchema', () => {
  const schema = schemaOf(PLATFORM)

  it('is a valid schema that prints and reads back', () => {
    expect(validateSchema(schema)).toEqual([])
    const printed = printSchema(schema)
    expect(printSchema(lexicographicSortSchema(buildSchema(printed)))).toBe(printSchema(lexicographicSortSchema(schema)))
  })

  it('has not changed unseen', () => {
    expect(printSchema(schema)).toMatchSnapshot()
  })

  it.each([
    `query Failing {
      agents(first: 2, where: { executions: { some: { status: { eq: FAILED } } } }, orderBy: [{ name: ASC }]) {
        totalCount
        nodes { id organization name monthlyBudget configuration owner { name }
          executions(first: 1, where: { status: { eq: FAILED } }, orderBy: [{ startedAt: DESC }]) { nodes { startedAt error } } }
        pageInfo { hasNextPage endCursor }
      }
    }`,
    `query Alike($id: ID!) {
      agentsNearest(to: { id: $id }, k: 2, where: { status: { eq: ACTIVE }, not: { id: { eq: $id } } }) { edges { score node { organization name embedding } } }
    }`,
    `{ agentsNearest(to: { vector: [1, 0.5, -2e-3] }, k: 2, field: EMBEDDING, metric: L2, organizations: ["aurora"]) { edges { score } } }`,
    `query Overview @sovereignty(onUnavailable: FAIL) {
      agents(first: 1, orderBy: [{ createdAt: DESC }]) { totalCount nodes { organization name } pageInfo { hasNextPage } }
      each: agentsAggregate(groupBy: [{ field: ORGANIZATION }]) { groups { keys { organization } count } }
      all: agentsAggregate { groups { count } }
    }`,
    `query Lookups($id: ID!, $ids: [ID!]!) {
      node(id: $id) { id ... on Agent { name } }  nodes(ids: $ids) { __typename }  organizations { id name jurisdiction }
      agent(key: 7, organization: "aurora") { key owner { agentsAggregate { groups { count } } } }
    }`,
    `query Groups($size: BigInt, $budget: Decimal) {
      agentsAggregate(
        where: { and: [], not: { owner: {} }, configuration: { contains: { model: "small", list: [1, 2.5, null] } }, tags: { contains: ["a"] }, monthlyBudget: { gt: 12.5 } }
        groupBy: [{ field: CREATED_AT, unit: MONTH, timezone: "Europe/Berlin" }, { field: MAX_CONCURRENCY }]
        having: { or: [{ count: { gt: $size } }, { sum: { monthlyBudget: { gte: $budget } }, avg: { maxConcurrency: { lt: "3.5" } } }] }
        orderBy: [{ key: { field: CREATED_AT, order: DESC } }, { sum: { monthlyBudget: DESC_NULLS_LAST } }, { count: ASC }]
        first: 10, organizations: ["aurora"]
      ) { groups { keys { createdAt maxConcurrency } count countDistinct { owner name } sum { monthlyBudget maxConcurrency } avg { maxConcurrency } min { createdAt } max { name } } }
      executionsAggregate { groups { sum { inputSize cpuUsage } avg { inputSize cpuUsage } } }
      executions(orderBy: [{ agent: { owner: { name: ASC } } }]) { nodes { key } }
    }`,
  ])('accepts %s', (document) => {
    expect(validate(schema, parse(document))).toEqual([])
  })

  it.each([
    ['an unknown field in a filter', '{ agents(where: { prompt: { eq: "x" } }) { totalCount } }'],
    ['an unknown operator', '{ agents(where: { name: { regex: "x" } }) { totalCount } }'],
    ['two orders in one object', '{ agents(orderBy: [{ name: ASC, status: ASC }]) { totalCount } }'],
    ['an order by JSON', '{ agents(orderBy: [{ configuration: ASC }]) { totalCount } }'],
    ['an order by key', '{ agents(orderBy: [{ key: ASC }]) { totalCount } }'],
    ['organizations in a nested list', '{ agents { nodes { executions(organizations: []) { totalCount } } } }'],
    ['a sum of texts', '{ agentsAggregate { groups { sum { name } } } }'],
    ['a literal that is no decimal', '{ agents(where: { monthlyBudget: { gt: "1e3" } }) { totalCount } }'],
    ['a time without a zone', '{ agents(where: { createdAt: { gt: "2026-03-01T00:00:00" } }) { totalCount } }'],
    ['a lookup without its organization', '{ agent(key: 7) { key } }'],
  ])('refuses %s', (_, document) => {
    expect(validate(schema, parse(document))).not.toEqual([])
  })

  it('carries descriptions over', () => {
    const agent = schema.getType('Agent')
    expect(agent?.description).toBe('A program that acts.')
    expect(agent instanceof GraphQLObjectType && agent.getFields().name?.description).toBe('Shown to "people".')
  })

  it('leaves out what would have no fields', () => {
    const bare = schemaOf(
      'type Link @entity { key: ID!  data: JSON  to: Link  from: [Link!] @inverse(of: "to") } type Tag @entity(key: ["name"]) { name: String! }',
    )
    expect(validateSchema(bare)).toEqual([])
    expect(
      ['LinkOrderBy', 'LinkSum', 'LinkAvg', 'LinkExtreme', 'LinkSumHaving', 'LinkMeasureOrderBy', 'TagCountDistinct'].map((name) => bare.getType(name)),
    ).toEqual(Array.from({ length: 7 }, () => undefined))
    expect(definition(bare, 'LinkGroup')).toBe('type LinkGroup { keys: LinkGroupKeys! count: BigInt! countDistinct: LinkCountDistinct }')
    expect(definition(bare, 'TagGroup')).toBe('type TagGroup { keys: TagGroupKeys! count: BigInt! min: TagExtreme max: TagExtreme }')
    expect(definition(bare, 'LinkHaving')).toBe('input LinkHaving { and: [LinkHaving!] or: [LinkHaving!] not: LinkHaving count: BigIntFilter }')
    expect(
      bare
        .getQueryType()
        ?.getFields()
        .links?.args.map(({ name }) => name),
    ).toEqual(['where', 'first', 'after', 'last', 'before', 'organizations'])
  })

  it('gives a lookup one argument for each field of the key', () => {
    const schema = schemaOf('type Entry @entity(key: ["playlistId", "trackId"]) { trackId: Int!  playlistId: UUID! }')
    expect(
      schema
        .getQueryType()
        ?.getFields()
        .entry?.args.map(({ name, type }) => `${name}: ${String(type)}`),
    ).toEqual(['playlistId: UUID!', 'trackId: Int!', 'organization: ID!'])
    expect(definition(schema, 'EntryGroupField')).toBe('enum EntryGroupField { ORGANIZATION TRACK_ID }')
    expect(definition(schema, 'EntrySum')).toBeNull()
  })

  it('filters every type of value, and lists of them', () => {
    const scalars = ['String', 'Int', 'Float', 'Boolean', 'BigInt', 'Decimal', 'DateTime', 'LocalDateTime', 'Date', 'UUID', 'JSON', 'ID', 'Mood']
    const fields = scalars.map((name) => `a${name}: ${name}  b${name}: [${name}!]`).join('\n')
    const schema = schemaOf(`type All @entity { key: ID! ${fields} } enum Mood { GOOD BAD }`)
    expect(validateSchema(schema)).toEqual([])
    const where = schema.getType('AllWhere')
    const keys = isInputObjectType(where) ? Object.values(where.getFields()).map(({ name, type }) => `${name}: ${String(type)}`) : []
    expect(keys).toEqual([
      ...['and: [AllWhere!]', 'or: [AllWhere!]', 'not: AllWhere', 'id: IDFilter', 'key: IDFilter'],
      ...scalars.flatMap((name) => (name === 'JSON' ? ['aJSON: JSONFilter'] : [`a${name}: ${name}Filter`, `b${name}: ${name}ListFilter`])),
    ])
  })

  describe('of a type with `@series`', () => {
    const series = schemaOf(`
      type Agent @entity { key: ID!  metrics: [Metric!] @inverse(of: "agent")  others: [Metric!] @inverse(of: "other") }
      type Metric @entity @series(time: "at") { key: ID!  at: DateTime!  load: Float  size: BigInt  agent: Agent  other: Agent }
      type Bare @entity @series(time: "at") { key: ID!  at: LocalDateTime! }`)

    it('has a series at the root and beside each list, named as at the root or for the list', () => {
      expect(validateSchema(series)).toEqual([])
      const query = series.getQueryType()?.getFields() ?? {}
      expect(query.metricSeries?.args.map(({ name, type }) => `${name}: ${String(type)}`)).toEqual([
        ...['range: TimeRange!', 'bucket: Duration!', 'timezone: String!', 'origin: DateTime', 'fill: Fill', 'groupBy: [MetricGroupBy!]', 'where: MetricWhere'],
        'organizations: [ID!]',
      ])
      expect(String(query.metricSeries?.type)).toBe('[MetricSeries!]')
      expect(Object.keys(query)).not.toContain('agentSeries')
      const agent = series.getType('Agent')
      const fields = agent instanceof GraphQLObjectType ? agent.getFields() : {}
      expect(Object.keys(fields).filter((name) => name.endsWith('Series'))).toEqual(['metricSeries', 'othersSeries'])
      expect(fields.metricSeries?.args.map(({ name }) => name)).not.toContain('organizations')
      expect([...apiIndex(catalogOf('type Bare @entity @series(time: "at") { key: ID!  at: LocalDateTime! }')).roots.keys()]).toContain('bareSeries')
    })

    it('has the measures that its fields allow', () => {
      expect(definition(series, 'MetricSeries')).toBe('type MetricSeries { keys: MetricGroupKeys! buckets: [MetricBucket!]! }')
      expect(definition(series, 'MetricBucket')).toBe(
        'type MetricBucket { start: DateTime! end: DateTime! count: BigInt! sum: MetricSum avg: MetricAvg min: MetricExtreme max: MetricExtreme first: MetricExtreme ' +
          'last: MetricExtreme percentile(p: Float!): MetricAvg rate: MetricAvg }',
      )
      expect(definition(series, 'BareBucket')).toBe(
        'type BareBucket { start: DateTime! end: DateTime! count: BigInt! min: BareExtreme max: BareExtreme first: BareExtreme last: BareExtreme }',
      )
      expect(definition(series, 'TimeRange')).toBe('input TimeRange { from: DateTime! to: DateTime! }')
      expect(definition(series, 'Fill')).toBe('enum Fill { NULL PREVIOUS LINEAR }')
    })

    it('alone brings the types of series', () => {
      expect(['Duration', 'TimeRange', 'Fill'].map((name) => schema.getType(name))).toEqual([undefined, undefined, undefined])
    })
  })

  it('survives a large contract', () => {
    const types = Array.from({ length: 300 }, (_, index) => `type T${index} @entity(name: "x${index}") { key: ID! a: Int b: Decimal c: T${(index + 1) % 300} }`)
    expect(validateSchema(schemaOf(types.join('\n')))).toEqual([])
  })
})

describe('apiIndex', () => {
  const index = apiIndex(catalogOf(PLATFORM))

  it('says what each field of Query asks for', () => {
    expect(index.roots.get('execution')).toEqual({ kind: 'lookup', type: 'WorkflowExecution' })
    expect(index.roots.get('executions')).toEqual({ kind: 'connection', type: 'WorkflowExecution' })
    expect(index.roots.get('executionsAggregate')).toEqual({ kind: 'aggregate', type: 'WorkflowExecution' })
    expect(index.roots.get('agentsNearest')).toEqual({ kind: 'nearest', type: 'Agent' })
    expect([...(index.types.get('Agent')?.vectorFields ?? [])]).toEqual([['EMBEDDING', 'embedding']])
    expect(['node', 'nodes', 'organizations'].map((name) => index.roots.get(name)?.kind)).toEqual(['node', 'nodes', 'organizations'])
    expect([...index.roots.keys()].sort()).toEqual(Object.keys(apiSchema(catalogOf(PLATFORM)).getQueryType()?.getFields() ?? {}).sort())
  })

  it('knows every field of a row, and what the values of a group field stand for', () => {
    const agent = index.types.get('Agent')
    expect([...(agent?.fields ?? [])].map(([name, { kind }]) => [name, kind])).toEqual([
      ['id', 'id'],
      ['organization', 'organization'],
      ...['key', 'name', 'status', 'tags', 'configuration', 'monthlyBudget', 'maxConcurrency', 'createdAt', 'embedding'].map((name) => [name, 'value']),
      ['owner', 'toOne'],
      ['executions', 'list'],
      ['executionsAggregate', 'aggregate'],
    ])
    expect(agent?.fields.get('executionsAggregate')).toMatchObject({ field: { name: 'executions', target: 'WorkflowExecution', inverse: 'agent' } })
    expect(agent?.groupFields).toEqual(
      new Map([
        ['ORGANIZATION', 'organization'],
        ['NAME', 'name'],
        ['STATUS', 'status'],
        ['MAX_CONCURRENCY', 'maxConcurrency'],
        ['CREATED_AT', 'createdAt'],
      ]),
    )
  })
})
