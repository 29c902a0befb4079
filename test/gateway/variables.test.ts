import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import {
  getVariableValues,
  type GraphQLInputType,
  isEnumType,
  isInputObjectType,
  isListType,
  isNonNullType,
  type OperationDefinitionNode,
  parse,
  typeFromAST,
} from 'graphql'
import { GatewayError } from '../../src/errors.js'
import { apiIndex, apiSchema } from '../../src/gateway/api-schema.js'
import { parseContract } from '../../src/gateway/contract.js'
import { preparedOperation } from '../../src/gateway/operation.js'
import { variableReader } from '../../src/gateway/variables.js'
import { times } from '../support/times.js'

const catalog = parseContract([
  {
    name: 'contract.graphql',
    text: `
      enum State { OPEN CLOSED }
      type Item @entity {
        key: ID!  name: String  number: Int  amount: Decimal  big: BigInt  ratio: Float  at: DateTime  local: LocalDateTime  day: Date  done: Boolean  mark: UUID  meta: JSON
        tags: [String!]  state: State!  owner: Person
      }
      type Person @entity { key: ID!  name: String!  items: [Item!] @inverse(of: "owner") }`,
  },
])
const schema = apiSchema(catalog)
const parts = { schema, catalog, index: apiIndex(catalog), limits: { rows: 1_000, nestedRows: 100, defaultRows: 50, terms: 100, seriesBuckets: 100 } }

const LEAVES = ['ID', 'String', 'Int', 'Float', 'Boolean', 'BigInt', 'Decimal', 'DateTime', 'LocalDateTime', 'Date', 'UUID', 'JSON', 'State', 'Order'] as const
const TYPES = [...LEAVES, ...LEAVES, 'ItemWhere', 'ItemOrderBy', 'StringFilter', 'IntFilter'] as const

function readerOf(definitions: readonly string[]) {
  const text = `query${definitions.length === 0 ? '' : ` (${definitions.join(', ')})`} { __typename }`
  const [definition] = parse(text).definitions as [OperationDefinitionNode]
  return { reader: variableReader(preparedOperation({ name: null, text, definition, fragments: new Map() }), parts), definition }
}

/** What graphql-js makes of the variables. */
function byGraphql({ definition }: ReturnType<typeof readerOf>, given: unknown): unknown {
  if (given !== null && given !== undefined && (typeof given !== 'object' || Array.isArray(given))) return 'refused'
  const coerced = getVariableValues(schema, definition.variableDefinitions ?? [], (given ?? {}) as Record<string, unknown>)
  return coerced.errors ? 'refused' : coerced.coerced
}

function read({ reader }: ReturnType<typeof readerOf>, given: unknown): unknown {
  try {
    return reader(given).values
  } catch (error) {
    expect(error).toBeInstanceOf(GatewayError)
    expect((error as GatewayError).code).toBe('BAD_USER_INPUT')
    return 'refused'
  }
}

const GOOD: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
  ID: fc.oneof(fc.string(), fc.integer(), fc.constant(Buffer.from('["Item","alpha","1"]').toString('base64url'))),
  String: fc.string({ unit: 'binary' }),
  Int: fc.integer(),
  Float: fc.oneof(fc.integer(), fc.double()),
  Boolean: fc.boolean(),
  BigInt: fc.oneof(fc.integer(), fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String)),
  Decimal: fc.oneof(fc.integer(), fc.constantFrom('1', '1.50', '-0', '00012.5', '1e3', '12345678901234567890.123')),
  DateTime: fc.constantFrom('2026-01-01T00:00:00Z', '2026-01-01T01:02:03.123456+02:00', '0001-01-01T00:00:00Z'),
  LocalDateTime: fc.constantFrom('2026-01-01T00:00:00', '2026-01-01T01:02:03.5'),
  Date: fc.constantFrom('2026-02-28', '2024-02-29'),
  UUID: fc.uuid(),
  JSON: fc.jsonValue(),
  State: fc.constantFrom('OPEN', 'CLOSED'),
  Order: fc.constantFrom('ASC', 'DESC', 'ASC_NULLS_FIRST'),
  ItemWhere: fc.constantFrom<unknown>(
    {},
    { name: { eq: 'a' } },
    { number: { in: [1, 2] } },
    { and: [{ done: { eq: true } }, { not: { name: { isNull: true } } }] },
  ),
  ItemOrderBy: fc.constantFrom<unknown>({ name: 'ASC' }, { owner: { name: 'DESC' } }),
  StringFilter: fc.constantFrom<unknown>({ eq: 'a' }, { eq: null }, { in: ['a', 'b'] }),
  IntFilter: fc.constantFrom<unknown>({ gt: 1 }, { in: [] }),
}
/** Of which some fit some types. */
const anything = fc.oneof(
  fc.anything({ maxDepth: 1, withBigInt: true, withDate: true, withNullPrototype: true, withObjectString: true }),
  fc.constantFrom<unknown>(
    undefined,
    null,
    NaN,
    Infinity,
    -0,
    2 ** 31,
    -(2 ** 31) - 1,
    1.5,
    '',
    '\0',
    '\ud800',
    '2026-02-30',
    '1.',
    'true',
    ['OPEN'],
    {},
    [],
    Symbol('s'),
  ),
  ...Object.values(GOOD),
)

/** Default values in the document's language, where a type has one here. */
const DEFAULTS: Readonly<Record<string, string>> = {
  ID: '"a"',
  String: '"a"',
  Int: '7',
  Float: '1.5',
  Boolean: 'false',
  BigInt: '"8"',
  Decimal: '"1.5"',
  State: 'OPEN',
  Order: 'DESC',
}
const NAMES = ['a', 'b', 'first', 'constructor', 'toString', 'hasOwnProperty', '__proto__', 'valueOf'] as const

interface Variable {
  readonly name: string
  readonly definition: string
  readonly value: fc.Arbitrary<unknown>
}

const variables: fc.Arbitrary<readonly Variable[]> = fc
  .uniqueArray(
    fc.record({
      name: fc.constantFrom(...NAMES),
      type: fc.constantFrom(...TYPES),
      form: fc.constantFrom('plain', 'plain', 'plain', 'required', 'required', 'list'),
      hasDefault: fc.boolean(),
    }),
    { maxLength: 4, selector: ({ name }) => name },
  )
  .map((all) =>
    all.map(({ name, type, form, hasDefault }): Variable => {
      const fallback = hasDefault && form !== 'list' ? DEFAULTS[type] : undefined
      const good = GOOD[type] ?? anything
      return {
        name,
        definition: `$${name}: ${form === 'list' ? `[${type}!]` : form === 'required' ? `${type}!` : type}${fallback === undefined ? '' : ` = ${fallback}`}`,
        value: fc.oneof({ weight: 12, arbitrary: form === 'list' ? fc.array(good, { maxLength: 3 }) : good }, { weight: 1, arbitrary: anything }),
      }
    }),
  )

/** An object that has a member of each name, `__proto__` too, as `JSON.parse` would make it. */
function objectOf(members: readonly (readonly [string, unknown])[]): Record<string, unknown> {
  const made: Record<string, unknown> = {}
  for (const [key, value] of members) Object.defineProperty(made, key, { value, enumerable: true, configurable: true, writable: true })
  return made
}

describe('the variables of a request', () => {
  it('are read as graphql-js reads them, valid or not', () => {
    const outcomes = { read: 0, refused: 0 }
    const cases = variables.chain((all) =>
      fc.record({
        definitions: fc.constant(all.map(({ definition }) => definition)),
        given: fc
          .tuple(
            ...all.map(({ name, value }) => fc.option(fc.tuple(fc.constant(name), value), { nil: null, freq: 12 })),
            fc.option(fc.tuple(fc.constantFrom('unknown', 'constructor', 'a'), anything), { nil: null, freq: 2 }),
          )
          .map((members) => objectOf(members.filter((member) => member !== null))),
      }),
    )
    fc.assert(
      fc.property(cases, ({ definitions, given }) => {
        const operation = readerOf(definitions)
        const expected = byGraphql(operation, given)
        outcomes[expected === 'refused' ? 'refused' : 'read'] += 1
        const own = read(operation, given)
        expect(own).toEqual(expected)
        if (expected !== 'refused') expect(Object.keys(own as object)).toEqual(Object.keys(expected as object))
      }),
      { numRuns: times(500) },
    )
    expect(Math.min(outcomes.read, outcomes.refused)).toBeGreaterThan(40)
  })

  it.each([
    ['nothing', undefined],
    ['null', null],
    ['no object', 'text'],
    ['a list', [1]],
    ['a number', 0],
    ['no member', {}],
    ['inherited members', Object.create({ a: 'inherited' }) as unknown],
  ])('may come as %s, and mean what graphql-js makes of it', (_what, given) => {
    for (const definition of ['$a: String', '$a: String!', '$a: String = "default"', '$a: String! = "default"']) {
      const operation = readerOf([definition])
      expect(read(operation, given)).toEqual(byGraphql(operation, given))
    }
  })

  it('of names that objects have by themselves are those of the request', () => {
    const operation = readerOf(['$constructor: String', '$toString: Int'])
    expect(read(operation, {})).toEqual({})
    expect(read(operation, { constructor: 'a', toString: 1 })).toEqual({ constructor: 'a', toString: 1 })
  })

  it('are never taken for members of an object that only has them by nature', () => {
    const operation = readerOf(['$__proto__: String', '$a: String'])
    const given = JSON.parse('{"__proto__": "x", "a": "y"}') as unknown
    expect(({} as { x?: unknown }).x).toBeUndefined()
    expect(read(operation, given)).toEqual(byGraphql(operation, given))
  })
})

describe('the shape of variables', () => {
  const shapeOf = (definition: string, given: unknown): string => readerOf([definition]).reader(given).shape

  it.each<[string, string, readonly unknown[]]>([
    ['texts', '$a: String', [{ a: 'x' }, { a: '' }, { a: 'true' }]],
    ['numbers', '$a: Int', [{ a: 0 }, { a: 1 }]],
    ['values of enums of the contract', '$a: State', [{ a: 'OPEN' }, { a: 'CLOSED' }]],
    ['lists of values, however long', '$a: [String!]', [{ a: [] }, { a: ['x'] }, { a: ['x', 'y'] }]],
    ['ids that are of no type', '$a: ID', [{ a: 'x' }, { a: Buffer.from('["Nothing","alpha","1"]').toString('base64url') }]],
    ['ids of one type, of whomever', '$a: ID', ['alpha', 'beta'].map((owner) => ({ a: Buffer.from(`["Item","${owner}","1"]`).toString('base64url') }))],
  ])('is one for %s', (_what, definition, given) => {
    expect(new Set(given.map((each) => shapeOf(definition, each))).size).toBe(1)
  })

  it.each<[string, string, readonly unknown[]]>([
    ['a value, null and nothing', '$a: String', [{ a: 'x' }, { a: null }, {}]],
    ['true and false', '$a: Boolean', [{ a: true }, { a: false }]],
    ['values of enums of the API', '$a: Order', [{ a: 'ASC' }, { a: 'DESC' }]],
    ['ids of other types', '$a: ID', ['Item', 'Person'].map((type) => ({ a: Buffer.from(`["${type}","alpha","1"]`).toString('base64url') }))],
    [
      'members that are there and that are not',
      '$a: ItemWhere',
      [{ a: {} }, { a: { name: { eq: 'x' } } }, { a: { name: { ne: 'x' } } }, { a: { name: { eq: null } } }],
    ],
    ['conditions of other number', '$a: ItemWhere', [{ a: { and: [] } }, { a: { and: [{}] } }, { a: { and: [{}, {}] } }]],
    ['orders', '$a: [ItemOrderBy!]', [{ a: [{ name: 'ASC' }] }, { a: [{ name: 'DESC' }] }, { a: [{ number: 'ASC' }] }, { a: [] }]],
  ])('tells %s apart', (_what, definition, given) => {
    expect(new Set(given.map((each) => shapeOf(definition, each))).size).toBe(given.length)
  })

  it('is one where, besides scalar values, the values are built alike', () => {
    /** What a value is without its scalars. */
    const built = (value: unknown, type: GraphQLInputType): unknown => {
      if (value === undefined) return 'absent'
      if (value === null) return null
      if (isNonNullType(type)) return built(value, type.ofType)
      if (isListType(type)) {
        const named = type.ofType
        const inner = isNonNullType(named) ? named.ofType : named
        return isInputObjectType(inner) || (isEnumType(inner) && !catalog.enums.has(inner.name))
          ? (value as unknown[]).map((item) => built(item, type.ofType))
          : 'list'
      }
      if (isInputObjectType(type))
        return Object.fromEntries(
          Object.entries(type.getFields()).flatMap(([name, field]) => {
            const own = (value as Record<string, unknown>)[name]
            return own === undefined ? [] : [[name, built(own, field.type)]]
          }),
        )
      return typeof value === 'boolean' || (isEnumType(type) && !catalog.enums.has(type.name)) ? value : 'scalar'
    }
    const one = fc.constantFrom('ItemWhere', 'ItemOrderBy', 'StringFilter', 'IntFilter', 'String', 'Int', 'Boolean', 'Order', 'State')
    const pairs = one.chain((type) => fc.record({ type: fc.constant(type), a: GOOD[type] ?? anything, b: GOOD[type] ?? anything }))
    fc.assert(
      fc.property(pairs, ({ type, a, b }) => {
        const operation = readerOf([`$a: ${type}`])
        const variable = operation.definition.variableDefinitions?.[0]
        const inputType = typeFromAST(schema, variable?.type as Parameters<typeof typeFromAST>[1]) as GraphQLInputType
        const [first, second] = [operation.reader({ a }), operation.reader({ a: b })]
        const isAlike = JSON.stringify(built(first.values['a'], inputType)) === JSON.stringify(built(second.values['a'], inputType))
        expect(first.shape === second.shape).toBe(isAlike)
      }),
      { numRuns: times(250) },
    )
  })
})
