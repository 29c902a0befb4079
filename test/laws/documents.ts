/** Random operations over the laws' contract: what they ask, as data; their text and variables; and which fields they touch in which way. */
import fc from 'fast-check'
import type { TypeName } from './world.js'
import { METAS, TAGS, TEAMS, TEXTS, TIMES, UUIDS } from './world.js'

/** A value of an enum: a bare word in a document, a string in variables. */
export class Enum {
  constructor(readonly name: string) {}
  toString(): string {
    return this.name
  }
  toJSON(): string {
    return this.name
  }
}

export type Value = string | number | boolean | Enum | null | readonly Value[] | { readonly [key: string]: Value }
export type Filter = Readonly<Record<string, Value>>
export interface Where {
  readonly [name: string]: Where | Filter | readonly Where[] | Readonly<Record<string, Where>>
}
export interface Order {
  readonly [name: string]: Enum | Order
}
export interface Having {
  readonly [name: string]: Having | Filter | readonly Having[] | Readonly<Record<string, Filter>>
}

export interface ListSpec {
  readonly type: TypeName
  readonly where?: Where
  readonly orderBy?: readonly Order[]
  readonly first?: number
  readonly last?: number
  /** By relation to many: the nested lists that are selected. */
  readonly nested?: Readonly<Record<string, ListSpec>>
}

export interface AggregateSpec {
  readonly type: TypeName
  readonly where?: Where
  readonly groupBy: readonly { readonly field: string; readonly unit?: Enum; readonly timezone?: string }[]
  /** Fields by function. */
  readonly measures: Readonly<Record<string, readonly string[]>>
  readonly having?: Having
  readonly orderBy?: readonly Readonly<Record<string, unknown>>[]
  readonly first?: number
}

export type FieldDefinition =
  | { readonly kind: 'value'; readonly scalar: string; readonly list?: true }
  | { readonly kind: 'one'; readonly target: TypeName }
  | { readonly kind: 'many'; readonly target: TypeName; readonly inverse: string }

const value = (scalar: string): FieldDefinition => ({ kind: 'value', scalar })

export const FIELDS: Readonly<Record<TypeName, Readonly<Record<string, FieldDefinition>>>> = {
  Person: {
    key: value('ID'),
    name: value('String'),
    email: value('String'),
    team: value('String'),
    level: value('Int'),
    salary: value('Decimal'),
    hiredOn: value('Date'),
    tasks: { kind: 'many', target: 'Task', inverse: 'owner' },
  },
  Task: {
    key: value('ID'),
    title: value('String'),
    status: value('TaskStatus'),
    priority: value('Int'),
    effort: value('Float'),
    points: value('BigInt'),
    budget: value('Decimal'),
    done: value('Boolean'),
    due: value('DateTime'),
    seen: value('LocalDateTime'),
    day: value('Date'),
    trace: value('UUID'),
    tags: { kind: 'value', scalar: 'String', list: true },
    meta: value('JSON'),
    note: value('String'),
    createdAt: value('DateTime'),
    owner: { kind: 'one', target: 'Person' },
    project: { kind: 'one', target: 'Project' },
  },
  Project: {
    key: value('ID'),
    name: value('String'),
    code: value('String'),
    lead: { kind: 'one', target: 'Person' },
    tasks: { kind: 'many', target: 'Task', inverse: 'project' },
  },
}

export const ROOTS: Readonly<Record<TypeName, { readonly one: string; readonly many: string }>> = {
  Person: { one: 'person', many: 'people' },
  Task: { one: 'task', many: 'tasks' },
  Project: { one: 'project', many: 'projects' },
}

/** Whether rows can be told apart by comparing the field with a value. */
export function isFilterKey(field: FieldDefinition): boolean {
  return field.kind === 'value' && !field.list && field.scalar !== 'JSON'
}

// --- operators -------------------------------------------------------------------------------------------------------------------------------------------------

const EQUALITY = ['eq', 'ne', 'in', 'notIn'] as const
const RANGE = [...EQUALITY, 'lt', 'lte', 'gt', 'gte'] as const

export function operatorsOf(type: TypeName, name: string): readonly string[] {
  const field = FIELDS[type][name]
  if (field?.kind !== 'value') return []
  if (field.list) return ['contains', 'isNull']
  switch (field.scalar) {
    case 'ID':
      return EQUALITY
    case 'TaskStatus':
      return [...EQUALITY, 'isNull']
    case 'Boolean':
      return ['eq', 'ne', 'isNull']
    case 'JSON':
      return ['contains', 'isNull']
    case 'String':
      return [...RANGE, 'like', 'ilike', 'startsWith', 'contains', 'isNull']
    default:
      return [...RANGE, 'isNull']
  }
}

// --- generators ------------------------------------------------------------------------------------------------------------------------------------------------

/** Values that rows have, by type and field; besides them come those below. */
export type Pools = Readonly<Record<TypeName, Readonly<Record<string, readonly Value[]>>>>

const OTHERS: Readonly<Record<string, readonly Value[]>> = {
  ID: ['', '0', '12', '012', '+12', '99999999999999999999', '-20', "'; DROP TABLE tasks; --", 'p-0', '00000000-0000-4000-8000-000000000001'],
  String: [...TEXTS, ...TEAMS, 'ALP', '%', '_', '\\', '😀'],
  TaskStatus: [new Enum('OPEN'), new Enum('ACTIVE'), new Enum('CLOSED')],
  Int: [-2147483648, -1, 0, 3, 5, 2147483647],
  Float: [0, -0.5, 0.1, 1e21, 1e-300, 1.5],
  BigInt: ['0', '-4', '10', '9007199254740993', '9223372036854775807', '-9223372036854775809', '123456789012345678901234567890'],
  Decimal: ['0', '0.5', '75.25', '75.250', '-1', '100', '0.000000000000000000000001', '99999999999999999999999999'],
  Boolean: [true, false],
  DateTime: [...TIMES, '2026-02-01T01:00:00+01:00', '0001-01-01T00:00:00Z', '9999-12-31T23:59:59.999999Z'],
  LocalDateTime: [...TIMES.map((time) => time.slice(0, -1)), '0001-01-01T00:00:00'],
  Date: ['2026-01-31', '2026-02-01', '2020-02-29', '0001-01-01', '9999-12-31'],
  UUID: [...UUIDS, '00000000-0000-0000-0000-000000000000', 'FFFFFFFF-0000-4000-8000-000000000003'],
  JSON: METAS.map((text) => JSON.parse(text) as Value).filter((meta) => meta !== null),
}

const PATTERNS = ['a%', '%', '_lp%', 'A%', 'a\\%b', 'a\\_b', '%\\\\%', '%😀%', 'ünï%', '%"', "o'%", 'alpha', '%B'] as const

const NESTED_MAX = 3

/** Whether a field may stand in a document in this way. */
export type Usable = (type: TypeName, field: string, how: Use['how']) => boolean

export class Documents {
  /** @param usable narrows what documents touch; absent: everything, refused or not. */
  constructor(
    private readonly pools: Pools,
    private readonly usable: Usable = () => true,
  ) {}

  /** One value that fits the field. */
  valueOf(type: TypeName, name: string): fc.Arbitrary<Value> {
    const field = FIELDS[type][name]
    const others = OTHERS[field?.kind === 'value' ? field.scalar : 'ID'] ?? []
    const known = this.pools[type][name] ?? []
    return known.length === 0
      ? fc.constantFrom(...others)
      : fc.oneof({ weight: 3, arbitrary: fc.constantFrom(...known) }, { weight: 2, arbitrary: fc.constantFrom(...others) })
  }

  filter(type: TypeName, name: string): fc.Arbitrary<Filter> {
    const one = fc
      .constantFrom(...this.operators(type, name))
      .chain((operator) => this.operand(type, name, operator).map((operand) => [operator, operand] as const))
    return fc.array(one, { minLength: 1, maxLength: 2 }).map((entries) => Object.fromEntries(entries))
  }

  private operators(type: TypeName, name: string): readonly string[] {
    return operatorsOf(type, name).filter((operator) => this.usable(type, name, HOW[operator] ?? 'text'))
  }

  private operand(type: TypeName, name: string, operator: string): fc.Arbitrary<Value> {
    const field = FIELDS[type][name]
    if (operator === 'isNull') return fc.boolean()
    if (operator === 'in' || operator === 'notIn') return fc.array(this.valueOf(type, name), { maxLength: 4 })
    if (operator === 'like' || operator === 'ilike') return fc.constantFrom(...PATTERNS)
    if (field?.kind === 'value' && field.list) return fc.array(fc.constantFrom(...TAGS), { maxLength: 2 })
    return this.valueOf(type, name)
  }

  private idFilter(type: TypeName): fc.Arbitrary<Filter> {
    const id = fc.oneof({ weight: 4, arbitrary: this.valueOf(type, 'id') }, { weight: 1, arbitrary: fc.constantFrom('WyJUYXNrIl0', 'x', '') })
    return fc.oneof(
      fc.record({ eq: id }),
      fc.record({ ne: id }),
      fc.record({ in: fc.array(id, { maxLength: 4 }) }),
      fc.record({ notIn: fc.array(id, { maxLength: 4 }) }),
    )
  }

  where(type: TypeName, depth = 0): fc.Arbitrary<Where> {
    const fields = Object.entries(FIELDS[type])
    const values = fields.flatMap(([name, field]) => (field.kind === 'value' && this.operators(type, name).length > 0 ? [name] : []))
    const relations = fields.flatMap(([name, field]) => (field.kind === 'value' || !this.usable(type, name, 'related') ? [] : [{ name, field }]))
    const id = this.idFilter(type).map((filter): Where => ({ id: filter }))
    const leaf = values.length === 0 ? id : fc.constantFrom(...values).chain((name) => this.filter(type, name).map((filter): Where => ({ [name]: filter })))
    if (depth >= NESTED_MAX) return fc.oneof({ weight: 9, arbitrary: leaf }, { weight: 1, arbitrary: fc.constant<Where>({}) })
    const inner = this.where(type, depth + 1)
    const related =
      relations.length === 0
        ? leaf
        : fc.constantFrom(...relations).chain(({ name, field }): fc.Arbitrary<Where> => {
            const target = this.where(field.target, depth + 1)
            if (field.kind === 'one') return target.map((where) => ({ [name]: where }))
            return fc
              .dictionary(fc.constantFrom('some', 'every', 'none'), target, { minKeys: 1, maxKeys: 2, noNullPrototype: true })
              .map((quantifiers): Where => ({ [name]: quantifiers }))
          })
    return fc.oneof(
      { weight: 8, arbitrary: leaf },
      { weight: 1, arbitrary: id },
      { weight: 4, arbitrary: related },
      { weight: 2, arbitrary: fc.array(inner, { maxLength: 3 }).map((and): Where => ({ and })) },
      { weight: 2, arbitrary: fc.array(inner, { maxLength: 3 }).map((or): Where => ({ or })) },
      { weight: 2, arbitrary: inner.map((not): Where => ({ not })) },
      { weight: 2, arbitrary: fc.tuple(leaf, leaf).map(([a, b]): Where => ({ ...a, ...b })) },
      { weight: 1, arbitrary: fc.constant<Where>({}) },
    )
  }

  order(type: TypeName, depth = 0): fc.Arbitrary<Order> {
    const direction = fc.constantFrom('ASC', 'DESC', 'ASC_NULLS_FIRST', 'DESC_NULLS_LAST').map((name) => new Enum(name))
    const values = Object.entries(FIELDS[type]).flatMap(([name, field]) =>
      field.kind === 'value' && !field.list && field.scalar !== 'JSON' && field.scalar !== 'ID' && this.usable(type, name, 'order') ? [name] : [],
    )
    const relations = Object.entries(FIELDS[type]).flatMap(([name, field]) =>
      field.kind === 'one' && this.usable(type, name, 'related') ? [{ name, target: field.target }] : [],
    )
    // A name is in every view.
    const byValue = fc
      .tuple(fc.constantFrom(...(values.length > 0 ? values : [type === 'Task' ? 'title' : 'name'])), direction)
      .map(([name, how]): Order => ({ [name]: how }))
    if (depth > 1 || relations.length === 0) return byValue
    const byRelation = fc.constantFrom(...relations).chain(({ name, target }) => this.order(target, depth + 1).map((inner): Order => ({ [name]: inner })))
    return fc.oneof({ weight: 4, arbitrary: byValue }, { weight: 1, arbitrary: byRelation })
  }

  list(type: TypeName, options: { readonly nested: boolean }): fc.Arbitrary<ListSpec> {
    const relations = Object.entries(FIELDS[type]).flatMap(([name, field]) => (field.kind === 'many' ? [{ name, target: field.target }] : []))
    const size = fc.option(fc.tuple(fc.boolean(), fc.constantFrom(0, 1, 2, 5, 30)), { nil: undefined })
    const nested = options.nested
      ? fc.option(fc.record(Object.fromEntries(relations.map(({ name, target }) => [name, this.list(target, { nested: false })]))), { nil: undefined, freq: 3 })
      : fc.constant(undefined)
    return fc
      .record({
        where: fc.option(this.where(type), { nil: undefined, freq: 5 }),
        orderBy: fc.option(fc.array(this.order(type), { maxLength: 3 }), { nil: undefined, freq: 5 }),
        size,
        nested,
      })
      .map(({ where, orderBy, size: page, nested: inner }) => ({
        type,
        ...(where && { where }),
        ...(orderBy && { orderBy }),
        ...(page && (page[0] ? { first: page[1] } : { last: page[1] })),
        ...(inner && { nested: inner }),
      }))
  }

  aggregate(type: TypeName): fc.Arbitrary<AggregateSpec> {
    const groupable = AGGREGABLE[type].groupable.filter((field) => field === 'organization' || this.usable(type, field, 'group'))
    const measurable = AGGREGABLE[type].measurable.filter(([fn, field]) => this.usable(type, field, fn === 'countDistinct' ? fn : 'measure'))
    const key = fc.constantFrom(...groupable).chain((field) => {
      const unit = fc.constantFrom('DAY', 'WEEK', 'MONTH', 'QUARTER', 'YEAR').map((name) => new Enum(name))
      if (!isTime(type, field)) return fc.constant({ field })
      const timezone = isInstant(type, field) ? fc.option(fc.constantFrom('Europe/Berlin', 'America/New_York'), { nil: undefined }) : fc.constant(undefined)
      return fc.option(fc.tuple(unit, timezone), { nil: undefined }).map((chosen) => ({
        field,
        ...(chosen && { unit: chosen[0], ...(chosen[1] !== undefined && { timezone: chosen[1] }) }),
      }))
    })
    const measures = fc
      .array(fc.constantFrom(...(measurable.length > 0 ? measurable : AGGREGABLE[type].measurable)), { maxLength: measurable.length > 0 ? 3 : 0 })
      .map((chosen) => {
        const by: Record<string, string[]> = {}
        for (const [fn, field] of chosen) by[fn] = [...new Set([...(by[fn] ?? []), field])]
        return by
      })
    return fc
      .tuple(fc.uniqueArray(key, { maxLength: 2, selector: ({ field }) => field }), measures, fc.option(this.where(type), { nil: undefined }))
      .chain(([groupBy, chosen, where]) =>
        fc
          .record({
            having: fc.option(this.having(chosen), { nil: undefined }),
            orderBy: fc.option(fc.array(groupOrder(groupBy, chosen), { maxLength: 2 }), { nil: undefined }),
            first: fc.option(fc.constantFrom(0, 1, 2, 50), { nil: undefined }),
          })
          .map(({ having, orderBy, first }) => ({
            type,
            groupBy,
            measures: chosen,
            ...(where && { where }),
            ...(having && { having }),
            ...(orderBy && { orderBy }),
            ...(first !== undefined && { first }),
          })),
      )
  }

  private having(measures: Readonly<Record<string, readonly string[]>>): fc.Arbitrary<Having> {
    const range = (values: readonly Value[]): fc.Arbitrary<Filter> =>
      fc.tuple(fc.constantFrom('eq', 'ne', 'lt', 'lte', 'gt', 'gte'), fc.constantFrom(...values)).map(([operator, operand]) => ({ [operator]: operand }))
    const count = range(['0', '1', '2', '3', '5', '10', '20']).map((filter): Having => ({ count: filter }))
    const numbers = ['sum', 'avg'].flatMap((fn) => (measures[fn] ?? []).filter((field) => field !== 'effort').map((field) => ({ fn, field })))
    const leaf =
      numbers.length === 0
        ? count
        : fc.oneof(
            count,
            fc.constantFrom(...numbers).chain(({ fn, field }) => range(['0', '1', '7', '-4', '50']).map((filter): Having => ({ [fn]: { [field]: filter } }))),
          )
    return fc.oneof(
      { weight: 3, arbitrary: leaf },
      { weight: 1, arbitrary: fc.array(leaf, { maxLength: 2 }).map((or): Having => ({ or })) },
      { weight: 1, arbitrary: leaf.map((not): Having => ({ not })) },
    )
  }
}

function groupOrder(groupBy: AggregateSpec['groupBy'], measures: AggregateSpec['measures']): fc.Arbitrary<Readonly<Record<string, unknown>>> {
  const direction = fc.constantFrom('ASC', 'DESC', 'ASC_NULLS_FIRST', 'DESC_NULLS_LAST').map((name) => new Enum(name))
  const choices: fc.Arbitrary<Readonly<Record<string, unknown>>>[] = [direction.map((count) => ({ count }))]
  if (groupBy.length > 0)
    choices.push(fc.tuple(fc.constantFrom(...groupBy), direction).map(([{ field }, order]) => ({ key: { field: new Enum(screaming(field)), order } })))
  for (const fn of ['sum', 'avg']) for (const field of measures[fn] ?? []) choices.push(direction.map((order) => ({ [fn]: { [field]: order } })))
  return fc.oneof(...choices)
}

function screaming(field: string): string {
  return field.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()
}

const AGGREGABLE: Readonly<Record<TypeName, { readonly groupable: readonly string[]; readonly measurable: readonly (readonly [string, string])[] }>> = {
  Person: {
    groupable: ['organization', 'name', 'team', 'level', 'hiredOn'],
    measurable: [
      ...['sum', 'avg', 'min', 'max'].flatMap(
        (fn) =>
          [
            [fn, 'level'],
            [fn, 'salary'],
          ] as const,
      ),
      ['min', 'name'],
      ['max', 'hiredOn'],
      ['countDistinct', 'team'],
    ],
  },
  Task: {
    groupable: ['organization', 'title', 'status', 'priority', 'done', 'due', 'seen', 'day', 'note', 'createdAt'],
    measurable: [
      ...['sum', 'avg', 'min', 'max'].flatMap(
        (fn) =>
          [
            [fn, 'priority'],
            [fn, 'effort'],
            [fn, 'points'],
            [fn, 'budget'],
          ] as const,
      ),
      ['min', 'title'],
      ['max', 'due'],
      ['min', 'seen'],
      ['max', 'createdAt'],
      ['countDistinct', 'title'],
      ['countDistinct', 'status'],
      ['countDistinct', 'trace'],
      ['countDistinct', 'owner'],
      ['countDistinct', 'project'],
    ],
  },
  Project: {
    groupable: ['organization', 'name', 'code'],
    measurable: [
      ['countDistinct', 'lead'],
      ['max', 'name'],
    ],
  },
}

function isTime(type: TypeName, name: string): boolean {
  const field = FIELDS[type][name]
  return field?.kind === 'value' && ['DateTime', 'LocalDateTime', 'Date'].includes(field.scalar)
}

function isInstant(type: TypeName, name: string): boolean {
  const field = FIELDS[type][name]
  return field?.kind === 'value' && field.scalar === 'DateTime'
}

// --- text ------------------------------------------------------------------------------------------------------------------------------------------------------

/** How arguments travel: in the document, or as variables. */
export type Style = 'literal' | 'variable'

export interface Printed {
  readonly document: string
  readonly variables: Readonly<Record<string, unknown>>
}

/** Prints operations; variables are gathered as they come. */
export class Printer {
  private readonly declared: string[] = []
  private readonly variables: Record<string, unknown> = {}
  constructor(private readonly style: Style) {}

  operation(selection: string, directive = ''): Printed {
    const head = this.declared.length === 0 ? '' : `(${this.declared.join(', ')})`
    return { document: `query${head} ${directive} { ${selection} }`, variables: this.variables }
  }

  arguments(given: readonly (readonly [name: string, type: string, value: unknown])[]): string {
    const present = given.filter(([, , argument]) => argument !== undefined)
    if (present.length === 0) return ''
    return `(${present.map(([name, type, argument]) => `${name}: ${this.argument(type, argument)}`).join(', ')})`
  }

  argument(type: string, argument: unknown): string {
    if (this.style === 'literal') return literal(argument)
    const name = `v${this.declared.length}`
    this.declared.push(`$${name}: ${type}`)
    this.variables[name] = argument
    return `$${name}`
  }

  list(list: ListSpec, more: readonly (readonly [string, string, unknown])[] = []): string {
    const { type, where, orderBy, first, last } = list
    const page = [
      ['where', `${type}Where`, where],
      ['orderBy', `[${type}OrderBy!]`, orderBy],
      ['first', 'Int', first],
      ['last', 'Int', last],
    ] as const
    return `${this.arguments([...page, ...more])} { totalCount nodes { ${this.row(list)} } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } }`
  }

  row(list: Pick<ListSpec, 'type' | 'nested'>): string {
    const fields = Object.entries(FIELDS[list.type]).flatMap(([name, field]) => {
      if (field.kind === 'value') return [name]
      if (field.kind === 'one') return [`${name} { organization ${valuesOf(field.target)} }`]
      const nested = list.nested?.[name]
      return nested ? [`${name}${this.list(nested)}`] : []
    })
    return ['id organization', ...fields].join(' ')
  }

  aggregate(aggregate: AggregateSpec, more: readonly (readonly [string, string, unknown])[] = []): string {
    const { type, where, groupBy, having, orderBy, first, measures } = aggregate
    // A time zone stands in the document, always.
    const keys = groupBy.map(({ field, unit, timezone }) =>
      literal({ field: new Enum(screaming(field)), ...(unit && { unit }), ...(timezone !== undefined && { timezone }) }),
    )
    const given = this.arguments([
      ['where', `${type}Where`, where],
      ['having', `${type}Having`, having],
      ['orderBy', `[${type}GroupOrderBy!]`, orderBy],
      ['first', 'Int', first],
      ...more,
    ])
    const all = keys.length === 0 ? given : given === '' ? `(groupBy: [${keys.join(', ')}])` : `(groupBy: [${keys.join(', ')}], ${given.slice(1)}`
    const selected = Object.entries(measures).map(([fn, fields]) => `${fn} { ${fields.join(' ')} }`)
    const selectedKeys = groupBy.length === 0 ? '' : `keys { ${groupBy.map(({ field }) => field).join(' ')} }`
    return `${all} { groups { ${selectedKeys} count ${selected.join(' ')} } }`
  }
}

function valuesOf(type: TypeName): string {
  return Object.entries(FIELDS[type])
    .flatMap(([name, field]) => (field.kind === 'value' ? [name] : []))
    .join(' ')
}

export function literal(given: unknown): string {
  if (given instanceof Enum) return given.name
  if (Array.isArray(given)) return `[${given.map(literal).join(', ')}]`
  if (typeof given === 'object' && given !== null)
    return `{ ${Object.entries(given)
      .map(([key, item]) => `${key}: ${literal(item)}`)
      .join(', ')} }`
  return JSON.stringify(given)
}

// --- uses ------------------------------------------------------------------------------------------------------------------------------------------------------

/** A field in an input position. */
export interface Use {
  readonly type: TypeName
  readonly field: string
  readonly how: 'equal' | 'range' | 'text' | 'null' | 'related' | 'order' | 'group' | 'measure' | 'countDistinct'
}

export function usesOfList(list: ListSpec): readonly Use[] {
  return [
    ...usesOfWhere(list.type, list.where),
    ...(list.orderBy ?? []).flatMap((order) => usesOfOrder(list.type, order)),
    ...Object.values(list.nested ?? {}).flatMap(usesOfList),
  ]
}

export function usesOfAggregate({ type, where, groupBy, measures, having, orderBy }: AggregateSpec): readonly Use[] {
  const inHaving = (given: Having | undefined): Use[] =>
    Object.entries(given ?? {}).flatMap(([name, inner]): Use[] => {
      if (name === 'and' || name === 'or') return (inner as readonly Having[]).flatMap(inHaving)
      if (name === 'not') return inHaving(inner as Having)
      return name === 'count' ? [] : Object.keys(inner).map((field) => ({ type, field, how: 'measure' }))
    })
  const inOrder = (orderBy ?? []).flatMap((order) =>
    Object.entries(order).flatMap(([by, inner]): Use[] =>
      by === 'sum' || by === 'avg' ? Object.keys(inner as object).map((field) => ({ type, field, how: 'measure' })) : [],
    ),
  )
  return [
    ...usesOfWhere(type, where),
    ...groupBy.flatMap(({ field }): Use[] => (field === 'organization' ? [] : [{ type, field, how: 'group' }])),
    ...Object.entries(measures).flatMap(([fn, fields]) =>
      fields.map((field): Use => ({ type, field, how: fn === 'countDistinct' ? 'countDistinct' : 'measure' })),
    ),
    ...inHaving(having),
    ...inOrder,
  ]
}

function usesOfOrder(type: TypeName, order: Order): readonly Use[] {
  return Object.entries(order).flatMap(([name, inner]): readonly Use[] => {
    const field = FIELDS[type][name]
    if (field?.kind === 'one' && !(inner instanceof Enum)) return [{ type, field: name, how: 'related' }, ...usesOfOrder(field.target, inner)]
    return [{ type, field: name, how: 'order' }]
  })
}

export function usesOfWhere(type: TypeName, where: Where | undefined): readonly Use[] {
  return Object.entries(where ?? {}).flatMap(([name, given]): readonly Use[] => {
    if (name === 'and' || name === 'or') return (given as readonly Where[]).flatMap((part) => usesOfWhere(type, part))
    if (name === 'not') return usesOfWhere(type, given as Where)
    if (name === 'id') return [{ type, field: 'key', how: 'equal' }]
    const field = FIELDS[type][name]
    if (!field) return []
    if (field.kind === 'one') return [{ type, field: name, how: 'related' }, ...usesOfWhere(field.target, given as Where)]
    if (field.kind === 'many')
      return [
        { type, field: name, how: 'related' },
        ...Object.values(given as Readonly<Record<string, Where>>).flatMap((inner) => usesOfWhere(field.target, inner)),
      ]
    return Object.keys(given).map((operator): Use => ({ type, field: name, how: HOW[operator] ?? 'text' }))
  })
}

const HOW: Readonly<Record<string, Use['how']>> = {
  eq: 'equal',
  ne: 'equal',
  in: 'equal',
  notIn: 'equal',
  lt: 'range',
  lte: 'range',
  gt: 'range',
  gte: 'range',
  isNull: 'null',
}
