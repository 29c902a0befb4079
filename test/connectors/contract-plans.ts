/** Random grants, plans and values over the contract's data: whatever `authorize` would let through. */
import fc from 'fast-check'
import type { Capability } from '../../src/connectors/connector.js'
import { maskedValue } from '../../src/connectors/memory/mask.js'
import type { OwnerGrant, TypeGrant } from '../../src/policy/authority.js'
import { bucketBounds } from '../../src/query/buckets.js'
import type { EntityType, Field, ValueField, ValueType } from '../../src/query/catalog.js'
import type {
  AggregatePlan,
  ConnectionField,
  EdgeField,
  GroupField,
  GroupKey,
  GroupOrder,
  Having,
  ListPlan,
  Mask,
  Measure,
  MeasureFunction,
  OrderKey,
  PageInfoField,
  Plan,
  RowField,
  RowSelection,
  SeriesMeasure,
  SeriesPlan,
  TimeUnit,
  Traversal,
  TraversalEdgeField,
  TraversalField,
  ViewField,
} from '../../src/query/plan.js'
import type { CompareOp, Operand, Predicate, Scalar } from '../../src/query/predicate.js'
import type { ContractData } from './contract-data.js'
import { ORGANIZATION } from './contract-data.js'

type Shown = Exclude<ViewField, { kind: 'absent' }>
type Use = 'equal' | 'range' | 'text' | 'null' | 'related' | 'order' | 'group' | 'measure' | 'countDistinct' | 'search'

/** What `authorize` allows (see policy/authorize.ts). */
function isUsable(shown: Shown | undefined, use: Use): boolean {
  if (!shown) return false
  if (shown.kind === 'plain') return true
  if (shown.kind === 'cell') return use !== 'measure'
  switch (shown.mask.kind) {
    case 'pseudonym':
      return use === 'equal' || use === 'group' || use === 'countDistinct'
    case 'generalize':
    case 'generalizeTime':
      return use === 'equal' || use === 'range' || use === 'group' || use === 'countDistinct' || use === 'order'
    case 'null':
    case 'constant':
    case 'redact':
      return false
  }
}

const UNITS: readonly TimeUnit[] = ['HOUR', 'DAY', 'WEEK', 'MONTH', 'QUARTER', 'YEAR']
const ZONES = ['UTC', 'America/New_York', 'Asia/Kathmandu', 'Europe/Dublin', 'America/Havana', 'Pacific/Apia', 'Etc/GMT+12']
/** Widths with ranges that they suit: the clocks of Berlin change on 2026-03-29 and 2026-10-25, those of Apia left out a day. */
const SPANS: readonly { readonly widths: readonly string[]; readonly ranges: readonly (readonly [from: string, to: string])[] }[] = [
  {
    widths: ['PT1H', 'PT15M', 'PT1H30M', 'P1D', 'P2D', 'PT24H', 'PT7.5S', 'P1W'],
    ranges: [
      ['2026-03-28T12:00:00Z', '2026-03-30T12:00:00Z'],
      ['2026-03-01T22:14:03.12051Z', '2026-03-01T22:14:03.120512Z'],
      ['2026-03-01T22:00:00Z', '2026-03-01T22:14:03.120511Z'],
      ['2026-10-24T00:30:00Z', '2026-10-25T01:30:00.000001Z'],
      ['2011-12-28T00:00:00Z', '2012-01-02T00:00:00Z'],
    ],
  },
  {
    widths: ['P1D', 'P1W', 'P1M', 'P3M', 'P1Y', 'P7Y', 'P100Y', 'PT1000H'],
    ranges: [
      ['2025-12-01T00:00:00Z', '2026-11-05T12:00:00Z'],
      ['2024-01-01T00:00:00Z', '2026-03-29T01:00:00Z'],
    ],
  },
  {
    widths: ['P1Y', 'P5Y', 'P13M', 'P1000D', 'PT99999H'],
    ranges: [
      ['1969-12-31T23:59:59.999999Z', '2026-10-25T00:30:00.000001Z'],
      ['0203-01-01T00:00:00Z', '9890-01-01T00:00:00Z'],
    ],
  },
]
const ORIGINS = ['2026-03-29T01:30:00Z', '2020-01-28T06:00:00.5Z', '1970-01-01T00:00:00Z', '2031-07-15T23:59:59Z']
const BUCKETS_MAX = 10_000

const COMPARE: readonly CompareOp[] = ['=', '<', '<=', '>', '>=']
const CLAIMS = ['c0', 'c1', 'c2', '__proto__', 'missing']
/** What a token may hold that is no value of a column: each must match nothing. */
const HOSTILE: readonly Scalar[] = [
  'x\0',
  '\ud800',
  '041',
  '1.50',
  '2026-02-30T00:00:00Z',
  'infinity',
  '2026-03-01',
  '1e5',
  ' 1',
  41,
  1.5,
  2 ** 40,
  -0,
  Number.MAX_VALUE,
  true,
  'ACTIVE',
  'active',
  '',
]

const WORDS: readonly string[] = ['a', 'b2', '_x', 'Keys', 'nodes', 'f', 'long'.repeat(20)]

/** Draws by fast-check's `g`, so that a failure shrinks and a seed repeats it. */
export class Draw {
  readonly slots: (Scalar | readonly Scalar[] | null)[] = []
  /** Response keys are drawn anew each time. */
  private keys = 0

  constructor(
    private readonly g: fc.GeneratorValue,
    private readonly data: ContractData,
    /** What the store claims: nothing else is drawn. */
    private readonly capabilities: ReadonlySet<Capability>,
  ) {}

  chance(percent: number): boolean {
    return this.g(fc.integer, { min: 0, max: 99 }) >= 100 - percent
  }

  count(min: number, max: number): number {
    return this.g(fc.integer, { min, max })
  }

  pick<Value>(values: readonly Value[]): Value {
    const value = values[this.count(0, values.length - 1)]
    if (value === undefined) throw new Error('nothing to pick from')
    return value
  }

  some<Value>(values: readonly Value[], percent: number): Value[] {
    return values.filter(() => this.chance(percent))
  }

  // --- values --------------------------------------------------------------------------------------------------------------------------------------------------

  private scalar(type: ValueType): Scalar {
    if (type.kind === 'builtin' && type.name === 'String' && this.chance(20)) return this.g(anyText)
    return this.pick(this.data.operands(type))
  }

  /** A list, or one value, as a slot of the request or as a constant of the document. */
  private operand(value: Scalar | readonly Scalar[]): Operand {
    if (this.chance(30)) return { kind: 'constant', value }
    this.slots.push(value)
    return { kind: 'slot', index: this.slots.length - 1 }
  }

  claims(): ReadonlyMap<string, Scalar | readonly Scalar[]> {
    const types: ValueType[] = ['String', 'ID', 'Int', 'BigInt', 'Decimal', 'Float', 'Boolean', 'DateTime', 'UUID', 'Date'].map(
      (name) => ({ kind: 'builtin', name }) as ValueType,
    )
    const one = (): Scalar => (this.chance(25) ? this.pick(HOSTILE) : this.scalar(this.pick(types)))
    return new Map(CLAIMS.filter((name) => name !== 'missing').map((name) => [name, this.chance(35) ? Array.from({ length: this.count(0, 3) }, one) : one()]))
  }

  // --- grants --------------------------------------------------------------------------------------------------------------------------------------------------

  /** Sometimes everything, as at home; else rows, cells, masks and fields left out. */
  grant(root: string): OwnerGrant {
    const isWhole = this.chance(25)
    const types = new Map<string, TypeGrant>()
    for (const entity of this.data.catalog.entities.values()) {
      if (!isWhole && entity.name !== root && this.chance(15)) continue
      const rows: Predicate = isWhole || this.chance(60) ? { kind: 'all' } : this.condition(entity, 2)
      const fields = new Map<string, Shown>()
      for (const field of entity.fields.values()) {
        const shown = isWhole ? ({ kind: 'plain' } as const) : this.shown(entity, field)
        if (shown) fields.set(field.name, shown)
      }
      types.set(entity.name, { type: entity.name, rows, fields, source: { kind: 'roles', roles: [], version: 1, digest: '' } })
    }
    return { organization: ORGANIZATION, types }
  }

  private shown(entity: EntityType, field: Field): Shown | null {
    const isKey = entity.key.includes(field.name)
    if (isKey)
      return field.kind === 'value' && this.chance(15) && this.canBePseudonym(field) ? { kind: 'masked', mask: this.pseudonym(entity.name) } : { kind: 'plain' }
    if (field.kind !== 'value') return this.chance(10) ? null : this.chance(15) ? { kind: 'cell', condition: this.condition(entity, 1) } : { kind: 'plain' }
    if (!field.required && this.chance(8)) return null
    if (!field.required && this.chance(field.vector ? 40 : 12)) return { kind: 'cell', condition: this.condition(entity, 1) }
    return this.chance(25) ? { kind: 'masked', mask: this.mask(entity, field) } : { kind: 'plain' }
  }

  private canBePseudonym(field: ValueField): boolean {
    return this.capabilities.has('masks') && !field.list && field.type.kind === 'builtin' && (field.type.name === 'ID' || field.type.name === 'String')
  }

  private pseudonym(domain: string): Mask {
    return { kind: 'pseudonym', domain, grantee: this.pick([...this.data.pseudonymKeys.keys()]), revealNulls: this.chance(30) }
  }

  private mask(entity: EntityType, field: ValueField): Mask {
    const revealNulls = this.chance(30)
    const name = field.type.kind === 'enum' ? 'enum' : field.type.name
    const masks: Mask[] = field.required ? [] : [{ kind: 'null' }]
    if (!this.capabilities.has('masks')) return this.simpleMask(field, masks)
    if (!field.list && name !== 'JSON' && name !== 'Vector') masks.push({ kind: 'constant', value: this.scalar(field.type) })
    if (this.canBePseudonym(field)) masks.push(this.pseudonym(`${entity.name}.${field.name}`), { kind: 'redact', keepLast: this.count(0, 4), revealNulls })
    if (!field.list && (name === 'Int' || name === 'BigInt'))
      masks.push({ kind: 'generalize', step: this.pick(['1', '7', '1000', '999999999999999999']), revealNulls })
    if (!field.list && (name === 'Decimal' || name === 'Float'))
      masks.push({ kind: 'generalize', step: this.pick(['1', '1000', '0.5', '0.10', '0.000000000000000007']), revealNulls })
    if (!field.list && (name === 'DateTime' || name === 'LocalDateTime' || name === 'Date'))
      masks.push({ kind: 'generalizeTime', unit: this.pick(name === 'Date' ? UNITS.slice(1) : UNITS), revealNulls })
    return masks.length === 0 ? { kind: 'constant', value: this.scalar(field.type) } : this.pick(masks)
  }

  /** What every store can do. */
  private simpleMask(field: ValueField, masks: Mask[]): Mask {
    const name = field.type.kind === 'enum' ? 'enum' : field.type.name
    if (!field.list && ['String', 'Int', 'Boolean', 'enum'].includes(name)) masks.push({ kind: 'constant', value: this.scalar(field.type) })
    if (!field.list && name === 'String') masks.push({ kind: 'redact', keepLast: this.count(0, 4), revealNulls: this.chance(30) })
    return masks.length === 0 ? { kind: 'null' } : this.pick(masks)
  }

  // --- conditions of policies ----------------------------------------------------------------------------------------------------------------------------------

  /** Three-valued, over the raw row. */
  private condition(entity: EntityType, depth: number): Predicate {
    const related = this.capabilities.has('filterRelation') ? (['related'] as const) : []
    const kind = depth <= 0 ? 'leaf' : this.pick(['leaf', 'leaf', 'leaf', 'and', 'or', 'not', 'isTrue', 'isFalse', ...related])
    switch (kind) {
      case 'and':
      case 'or':
        return { kind, terms: Array.from({ length: this.count(0, 3) }, () => this.condition(entity, depth - 1)) }
      case 'not':
      case 'isTrue':
      case 'isFalse':
        return { kind, term: this.condition(entity, depth - 1) }
      case 'related': {
        const relations = [...entity.fields.values()].filter((field) => field.kind !== 'value')
        if (relations.length === 0) return this.condition(entity, 0)
        const field = this.pick(relations)
        return { kind: 'related', field: field.name, where: this.chance(20) ? { kind: 'all' } : this.condition(this.entity(field.target), depth - 1) }
      }
      default: {
        if (this.chance(4)) return { kind: this.pick(['all', 'none'] as const) }
        const field = this.pick(
          [...entity.fields.values()].filter(
            (candidate) => candidate.kind === 'value' && this.isBound(entity, candidate) && !this.isApart(candidate),
          ) as ValueField[],
        )
        if (field.list || this.isJson(field) || this.chance(10)) return { kind: 'isNull', field: field.name }
        if (this.chance(30)) return { kind: 'in', field: field.name, operand: this.policyOperand(field.type, true) }
        const ops = this.isOrdered(field) ? COMPARE : (['='] as const)
        return { kind: 'compare', field: field.name, op: this.pick(ops), operand: this.policyOperand(field.type, false) }
      }
    }
  }

  private policyOperand(type: ValueType, isList: boolean): Operand {
    if (this.chance(40)) return { kind: 'claim', name: this.pick(CLAIMS) }
    return { kind: 'constant', value: isList ? Array.from({ length: this.count(0, 3) }, () => this.scalar(type)) : this.scalar(type) }
  }

  private isBound(entity: EntityType, field: Field): boolean {
    const bound = this.data.binding.types.get(entity.name)
    return bound?.kind !== 'table' || bound.columns.has(field.name)
  }

  private isApart({ name }: Field): boolean {
    return this.data.apart?.fields.has(name) ?? false
  }

  /** Neither ordered nor equal to another: JSON, and vectors. */
  private isJson(field: ValueField): boolean {
    return field.type.kind === 'builtin' && (field.type.name === 'JSON' || field.type.name === 'Vector')
  }

  private isOrdered(field: ValueField): boolean {
    return field.type.kind === 'builtin' && !['ID', 'Boolean', 'JSON', 'Vector'].includes(field.type.name)
  }

  private entity(type: string): EntityType {
    const entity = this.data.catalog.entities.get(type)
    if (!entity) throw new Error(`no type ${type}`)
    return entity
  }

  // --- plans ---------------------------------------------------------------------------------------------------------------------------------------------------

  plan(root: string, grant: OwnerGrant): Plan {
    if (this.capabilities.has('aggregate') && this.chance(30)) return { kind: 'aggregate', aggregate: this.aggregate(root, grant) }
    const vectors = this.usable(this.entity(root), 'search', grant).filter((field) => field.vector)
    if (this.capabilities.has('search') && vectors.length > 0 && this.chance(30))
      return { kind: 'list', withKeys: true, list: this.search(root, grant, this.pick(vectors)) }
    const series = this.capabilities.has('series') && this.chance(30) ? this.series(root, grant, 'root') : null
    if (series) return { kind: 'series', series }
    return { kind: 'list', withKeys: true, list: this.list(root, grant, { depth: 2, path: 'root' }) }
  }

  private search(type: string, grant: OwnerGrant, { name, type: vector }: ValueField): ListPlan {
    const path = 'root'
    const fields = this.some(['typename', 'edges', 'edges'] as const, 70).map((kind): ConnectionField => {
      const responseKey = this.key()
      return kind === 'edges'
        ? { kind, responseKey, fields: this.edge(type, grant, { depth: 1, path: `${path}.${responseKey}` }, ['score', 'node', 'typename']) }
        : { kind, responseKey }
    })
    return {
      ...{ type, where: this.where(this.entity(type), grant, this.count(0, 1)), path, fields, backward: false, cursor: null },
      order: [{ path: [], field: name, descending: true, nulls: 'last' }],
      search: { field: name, metric: this.pick(['COSINE', 'L2', 'INNER_PRODUCT'] as const), to: this.operand(this.scalar(vector)) },
      limit: this.operand(this.pick([1, 2, 3, 5, 20, 1_000])),
    }
  }

  list(type: string, grant: OwnerGrant, { depth, path }: { readonly depth: number; readonly path: string }): ListPlan {
    const fields: ConnectionField[] = []
    for (const kind of this.some(['typename', 'totalCount', 'nodes', 'nodes', 'edges', 'pageInfo'] as const, 45)) {
      const responseKey = this.key()
      const at = { depth, path: `${path}.${responseKey}` }
      if (kind === 'nodes') fields.push({ kind, responseKey, row: this.row(type, grant, at) })
      else if (kind === 'edges') fields.push({ kind, responseKey, fields: this.edge(type, grant, at) })
      else if (kind === 'pageInfo') fields.push({ kind, responseKey, fields: this.pageInfo() })
      else fields.push({ kind, responseKey })
    }
    return {
      type,
      where: this.where(this.entity(type), grant, this.count(0, 2)),
      order: this.order(type, grant),
      search: null,
      limit: this.operand(this.pick([0, 1, 2, 3, 5, 20, 1_000, 1_000])),
      backward: this.chance(30),
      cursor: null,
      fields,
      path,
    }
  }

  private edge(
    type: string,
    grant: OwnerGrant,
    at: { readonly depth: number; readonly path: string },
    kinds: readonly EdgeField['kind'][] = ['typename', 'cursor', 'node', 'cursor'],
  ): EdgeField[] {
    return this.some(kinds, 55).map((kind) => {
      const responseKey = this.key()
      return kind === 'node' ? { kind, responseKey, row: this.row(type, grant, { depth: at.depth, path: `${at.path}.${responseKey}` }) } : { kind, responseKey }
    })
  }

  private pageInfo(): PageInfoField[] {
    return this.some(['typename', 'hasNextPage', 'hasPreviousPage', 'startCursor', 'endCursor'] as const, 60).map((kind) => ({ kind, responseKey: this.key() }))
  }

  private row(type: string, grant: OwnerGrant, { depth, path }: { readonly depth: number; readonly path: string }): RowSelection {
    const entity = this.entity(type)
    const fields: RowField[] = this.some(['typename', 'id', 'organization', 'absent'] as const, 25).map((kind) => ({ kind, responseKey: this.key() }))
    // Now and then more fields than one call of a function takes.
    const rounds = this.chance(4) ? 8 : 1
    for (const field of Array.from({ length: rounds }, () => [...entity.fields.values()]).flat()) {
      const responseKey = this.key()
      const at = { depth: depth - 1, path: `${path}.${responseKey}` }
      if (field.kind === 'value') {
        if (this.chance(30)) fields.push({ kind: 'value', responseKey, field: field.name })
      } else if (!this.capabilities.has('nested') || depth <= 0 || !this.chance(35 / rounds)) continue
      else if (field.kind === 'toOne') fields.push({ kind: 'toOne', responseKey, field: field.name, row: this.row(field.target, grant, at) })
      else {
        const kind = this.pick(['list', 'list', ...(['aggregate', 'series'] as const).filter((each) => this.capabilities.has(each))] as const)
        const series = kind === 'series' ? this.series(field.target, grant, at.path) : null
        if (series) fields.push({ kind: 'series', responseKey, field: field.name, series })
        else if (kind === 'aggregate') fields.push({ kind, responseKey, field: field.name, aggregate: this.aggregate(field.target, grant) })
        else fields.push({ kind: 'list', responseKey, field: field.name, list: this.list(field.target, grant, at) })
      }
    }
    if (this.capabilities.has('traverse') && depth > 0 && this.chance(15)) fields.push(...this.traversal(entity, grant, { depth: depth - 1, path }))
    return { type, fields: fields.length === 0 ? [{ kind: 'id', responseKey: this.key() }] : fields }
  }

  /** All rows, each with what is some steps away; null where no steps lead back to the type. */
  traversals(root: string, grant: OwnerGrant): Plan | null {
    const [field] = this.traversal(this.entity(root), grant, { depth: 0, path: 'root.nodes' })
    if (!field) return null
    const row: RowSelection = { type: root, fields: [{ kind: 'id', responseKey: 'id' }, field] }
    const page = { where: { kind: 'all' }, order: [], search: null, limit: { kind: 'constant', value: 1_000 }, backward: false, cursor: null } as const
    return { kind: 'list', withKeys: true, list: { type: root, ...page, fields: [{ kind: 'nodes', responseKey: 'nodes', row }], path: 'root' } }
  }

  /** Relations that lead from a type back to it: one, or two with another type of the same store between. */
  private waysBack(entity: EntityType, field: Field): readonly (readonly string[])[] {
    if (field.kind === 'value') return []
    if (field.target === entity.name) return [[field.name]]
    if (this.storeOf(field.target) !== this.storeOf(entity.name)) return []
    const others = [...this.entity(field.target).fields.values()]
    return others.flatMap((other) => (other.kind !== 'value' && other.target === entity.name ? [[field.name, other.name]] : []))
  }

  private storeOf(type: string): string {
    const bound = this.data.binding.types.get(type)
    return bound?.kind === 'table' ? bound.store : ''
  }

  private traversal(entity: EntityType, grant: OwnerGrant, { depth, path }: { readonly depth: number; readonly path: string }): RowField[] {
    const ways = [...entity.fields.values()].flatMap((field) => this.waysBack(entity, field))
    if (ways.length === 0) return []
    const responseKey = this.key()
    const fields = this.some(['typename', 'edges', 'edges'] as const, 70).map((kind): TraversalField => {
      const key = this.key()
      if (kind === 'typename') return { kind, responseKey: key }
      const members = this.some(['typename', 'depth', 'node', 'node'] as const, 60).map((member): TraversalEdgeField => {
        const inner = this.key()
        if (member !== 'node') return { kind: member, responseKey: inner }
        return { kind: member, responseKey: inner, row: this.row(entity.name, grant, { depth, path: `${path}.${responseKey}.${key}.${inner}` }) }
      })
      return { kind, responseKey: key, fields: members }
    })
    const traversal: Traversal = {
      ...{ type: entity.name, via: this.pick(ways), direction: this.pick(['out', 'in', 'both'] as const), fields },
      depth: this.operand(this.pick([1, 2, 3, 6])),
      where: this.where(entity, grant, this.count(0, 1)),
      limit: this.operand(this.pick([0, 1, 3, 100])),
    }
    return [{ kind: 'traversal', responseKey, traversal }]
  }

  private key(): string {
    this.keys += 1
    return `${this.pick(WORDS)}${this.keys}`
  }

  // --- where ---------------------------------------------------------------------------------------------------------------------------------------------------

  where(entity: EntityType, grant: OwnerGrant, depth: number): Predicate {
    const kind = depth <= 0 ? this.pick(['all', 'leaf', 'leaf']) : this.pick(['leaf', 'leaf', 'and', 'or', 'not', 'related', 'id'])
    switch (kind) {
      case 'all':
        return { kind: this.chance(90) ? 'all' : 'none' }
      case 'and':
      case 'or':
        return { kind, terms: Array.from({ length: this.count(0, 3) }, () => this.where(entity, grant, depth - 1)) }
      case 'not':
        return { kind, term: this.where(entity, grant, depth - 1) }
      case 'related': {
        const relations = [...entity.fields.values()].filter((field) => field.kind !== 'value' && this.isUsable(entity, field, 'related', grant))
        if (relations.length === 0 || !this.capabilities.has('filterRelation')) return this.leaf(entity, grant)
        const field = this.pick(relations) as Exclude<Field, ValueField> // filtered above
        return { kind: 'related', field: field.name, where: this.where(this.entity(field.target), grant, depth - 1) }
      }
      case 'id':
        return { kind: 'idIn', operand: this.operand(Array.from({ length: this.count(0, 4) }, () => this.globalId(entity, grant))) }
      default:
        return this.leaf(entity, grant)
    }
  }

  private isUsable(entity: EntityType, field: Field, use: Use, grant: OwnerGrant): boolean {
    const isReachable = field.kind === 'value' ? this.isBound(entity, field) && (use === 'search' || !this.isApart(field)) : grant.types.has(field.target)
    return isReachable && isUsable(grant.types.get(entity.name)?.fields.get(field.name), use)
  }

  private usable(entity: EntityType, use: Use, grant: OwnerGrant): ValueField[] {
    return [...entity.fields.values()].filter((field): field is ValueField => field.kind === 'value' && this.isUsable(entity, field, use, grant))
  }

  private leaf(entity: EntityType, grant: OwnerGrant): Predicate {
    const texts = this.capabilities.has('filterText') ? (['text'] as const) : []
    const use = this.pick(['equal', 'equal', 'range', ...texts, 'null'] as const)
    const isText = (field: ValueField): boolean => !field.list && field.type.kind === 'builtin' && field.type.name === 'String'
    const fields = this.usable(entity, use, grant).filter(
      (field) =>
        !this.isApart(field) &&
        (use === 'null' || (use === 'text' ? isText(field) : use === 'range' ? !field.list && this.isOrdered(field) : !(field.list && this.isJson(field)))),
    )
    if (fields.length === 0) return { kind: 'all' }
    const field = this.pick(fields)
    const scalars = (max: number): Scalar[] => Array.from({ length: this.count(0, max) }, () => this.seen(entity, field, grant))
    switch (use) {
      case 'null':
        return { kind: 'isNull', field: field.name }
      case 'text': {
        const text = String(this.scalar(field.type))
        if (this.chance(50))
          return { kind: this.pick(['startsWith', 'contains'] as const), field: field.name, operand: this.operand([...text].slice(0, 3).join('')) }
        const pattern = this.chance(50)
          ? this.pick(['%', '_', '%a%', '_%', 'A_%', '\\%%', '%\\\\%', '', '%😀%', 'É%', '%\\a', '__'])
          : `${text.replace(/[\\%_]/g, '\\$&')}%`
        return { kind: 'like', field: field.name, operand: this.operand(pattern), fold: this.chance(50) }
      }
      case 'range':
        return { kind: 'compare', field: field.name, op: this.pick(COMPARE), operand: this.operand(this.seen(entity, field, grant)) }
      case 'equal':
        if (field.list) return { kind: 'listContains', field: field.name, operand: this.operand(scalars(2)) }
        if (field.vector) return { kind: 'isNull', field: field.name }
        if (this.isJson(field)) return { kind: 'jsonContains', field: field.name, operand: this.operand(this.scalar(field.type)) }
        if (this.chance(40)) return { kind: 'in', field: field.name, operand: this.operand(scalars(4)) }
        return { kind: 'compare', field: field.name, op: '=', operand: this.operand(this.seen(entity, field, grant)) }
    }
  }

  /** A value as the caller may have seen it: the pseudonym of some value, where that is what the caller sees. */
  private seen(entity: EntityType, field: ValueField, grant: OwnerGrant): Scalar {
    const value = this.scalar(field.type)
    const shown = grant.types.get(entity.name)?.fields.get(field.name)
    if (shown?.kind !== 'masked' || shown.mask.kind !== 'pseudonym' || this.chance(20)) return value
    return maskedValue(shown.mask, field.type, String(value), (grantee) => this.keyFor(grantee)) ?? ''
  }

  private keyFor(grantee: string): Buffer {
    const key = this.data.pseudonymKeys.get(grantee)
    if (!key) throw new Error(`no key for ${grantee}`)
    return key
  }

  private globalId(entity: EntityType, grant: OwnerGrant): string {
    const key = this.chance(60)
      ? this.pick(this.data.keys(entity.name))
      : entity.key.map((name) => String(this.seen(entity, entity.fields.get(name) as ValueField, grant))) // keys are values
    const parts = this.chance(90)
      ? [entity.name, ORGANIZATION, ...key]
      : this.pick([
          ['Thing', 'aurora', ...key],
          ['Gone', ORGANIZATION, ...key],
          [entity.name, ORGANIZATION],
          [entity.name, ORGANIZATION, ...key, 'x'],
        ])
    const id = Buffer.from(JSON.stringify(parts)).toString('base64url')
    return this.chance(95) ? id : this.pick([`${id}=`, '', 'x', id.slice(1), `${id}A`])
  }

  // --- order -------------------------------------------------------------------------------------------------------------------------------------------------

  private order(type: string, grant: OwnerGrant): OrderKey[] {
    return Array.from({ length: this.pick([0, 1, 1, 2, 3]) }, () => this.orderKey(this.entity(type), grant, 2)).filter((key) => key !== null)
  }

  private orderKey(entity: EntityType, grant: OwnerGrant, depth: number): OrderKey | null {
    const relations = [...entity.fields.values()].filter((field) => field.kind === 'toOne' && this.isUsable(entity, field, 'order', grant))
    if (this.capabilities.has('orderRelation') && depth > 0 && relations.length > 0 && this.chance(30)) {
      const relation = this.pick(relations)
      const inner = relation.kind === 'toOne' ? this.orderKey(this.entity(relation.target), grant, depth - 1) : null
      return inner && { ...inner, path: [relation.name, ...inner.path] }
    }
    const fields = this.usable(entity, 'order', grant).filter(
      (field) => !field.list && !this.isJson(field) && !(this.isId(field) && entity.key.includes(field.name)),
    )
    if (fields.length === 0) return null
    return { path: [], field: this.pick(fields).name, descending: this.chance(50), nulls: this.pick(['first', 'last'] as const) }
  }

  private isId(field: ValueField): boolean {
    return field.type.kind === 'builtin' && field.type.name === 'ID'
  }

  // --- aggregates ----------------------------------------------------------------------------------------------------------------------------------------------

  aggregate(type: string, grant: OwnerGrant): AggregatePlan {
    const entity = this.entity(type)
    const groupBy = this.groupBy(entity, grant)
    const measures = this.measures(entity, grant)
    return {
      type,
      where: this.where(entity, grant, this.count(0, 1)),
      groupBy,
      measures,
      having: this.chance(75) ? { kind: 'all' } : this.having(entity, measures, 2),
      order: Array.from({ length: this.count(0, 2) }, () => this.groupOrder(groupBy, measures)),
      limit: this.operand(this.pick([0, 1, 3, 20, 1_000, 1_000, 1_000])),
      fields: this.some(['typename', 'groups', 'groups'] as const, 80).map((kind) => {
        const responseKey = this.key()
        return kind === 'groups' ? { kind, responseKey, fields: this.groupFields(entity, groupBy, measures) } : { kind, responseKey }
      }),
    }
  }

  private groupBy(entity: EntityType, grant: OwnerGrant): GroupKey[] {
    const names = ['Int', 'Boolean', 'String', 'Date', 'DateTime', 'LocalDateTime']
    const fields = this.usable(entity, 'group', grant).filter((field) => !field.list && (field.type.kind === 'enum' || names.includes(field.type.name)))
    const keys = Array.from({ length: this.pick([0, 1, 1, 2, 3]) }, (): GroupKey => {
      if (fields.length === 0 || this.chance(15)) return { field: 'organization', unit: null, timezone: null }
      const { name, type } = this.pick(fields)
      const isTime = type.kind === 'builtin' && names.slice(3).includes(type.name)
      if (!isTime || this.chance(30)) return { field: name, unit: null, timezone: null }
      return { field: name, unit: this.pick(UNITS), timezone: this.chance(50) ? this.pick(ZONES) : null }
    })
    return keys.filter((key, index) => keys.findIndex(({ field }) => field === key.field) === index)
  }

  private measures(entity: EntityType, grant: OwnerGrant): Measure[] {
    const named = (names: readonly string[], use: Use): string[] =>
      this.usable(entity, use, grant)
        .filter((field) => !field.list && (field.type.kind === 'enum' ? names.includes('enum') : names.includes(field.type.name)))
        .map(({ name }) => name)
    const numbers = named(['Int', 'BigInt', 'Decimal', 'Float'], 'measure').filter((name) => !entity.key.includes(name))
    const extremes = named(['String', 'Int', 'BigInt', 'Decimal', 'Float', 'Date', 'DateTime', 'LocalDateTime'], 'measure')
    const relations = [...entity.fields.values()]
      .filter((field) => field.kind === 'toOne' && this.isUsable(entity, field, 'countDistinct', grant))
      .map(({ name }) => name)
    const distinct = [
      ...named(['enum', 'String', 'ID', 'Int', 'BigInt', 'UUID', 'Date'], 'countDistinct'),
      ...(this.capabilities.has('countRelation') ? relations : []),
    ]
    const fields: Readonly<Record<MeasureFunction, readonly string[]>> = { sum: numbers, avg: numbers, min: extremes, max: extremes, countDistinct: distinct }
    return (['sum', 'avg', 'min', 'max', 'countDistinct'] as const).flatMap((fn) => this.some(fields[fn], 25).map((field) => ({ fn, field })))
  }

  // --- series --------------------------------------------------------------------------------------------------------------------------------------------------

  /** Null where the type has no time that may be used so. */
  series(type: string, grant: OwnerGrant, path: string): SeriesPlan | null {
    const entity = this.entity(type)
    const times = this.usable(entity, 'group', grant).filter(({ list, type: { name } }) => !list && (name === 'DateTime' || name === 'LocalDateTime'))
    if (times.length === 0) return null
    const time = this.pick(times)
    const isLocal = time.type.name === 'LocalDateTime'
    const { bounds, ...buckets } = this.buckets(isLocal)
    const clock = (text: string): Operand => this.operand(isLocal ? text.replace('Z', '') : text)
    const range: Predicate[] = [
      { kind: 'compare', field: time.name, op: '>=', operand: clock(buckets.from) },
      { kind: 'compare', field: time.name, op: '<', operand: clock(buckets.to) },
    ]
    return {
      ...{ type, time: time.name, path, fill: null, fields: [], groupBy: this.groupBy(entity, grant), measures: this.seriesMeasures(entity, grant) },
      where: { kind: 'and', terms: [...range, this.where(entity, grant, this.count(0, 1))] },
      buckets: {
        from: this.operand(buckets.from),
        to: this.operand(buckets.to),
        width: this.operand(buckets.width),
        timezone: this.operand(buckets.timezone),
        origin: buckets.origin === null ? null : this.operand(buckets.origin),
      },
      bounds: this.operand(bounds.map((text) => (isLocal ? text : `${text}Z`))),
      bucketsMax: this.pick([1, 3, BUCKETS_MAX, BUCKETS_MAX, BUCKETS_MAX]),
    }
  }

  private buckets(isLocal: boolean): Parameters<typeof bucketBounds>[0] & { readonly bounds: readonly string[] } {
    const { widths, ranges } = this.pick(SPANS)
    const [from, to] = this.pick(ranges)
    const width = this.pick(widths)
    const timezone = isLocal ? 'UTC' : this.pick(['Europe/Berlin', 'UTC', ...ZONES])
    const origin = this.chance(40) ? this.pick(ORIGINS) : null
    for (const spec of [
      { from, to, width, timezone, origin },
      { from, to, width: 'P100Y', timezone, origin: null },
    ]) {
      try {
        return { ...spec, bounds: bucketBounds(spec, { bucketsMax: BUCKETS_MAX, path: 'drawn' }) }
      } catch {
        continue // refused, as it would be of a caller
      }
    }
    throw new Error('a century is a bucket in every zone')
  }

  private seriesMeasures(entity: EntityType, grant: OwnerGrant): SeriesMeasure[] {
    const measures = this.measures(entity, grant)
    const numbers = measures.filter(({ fn }) => fn === 'sum' || fn === 'avg')
    const extremes = measures.filter(({ fn }) => fn === 'min' || fn === 'max')
    const p = (): Operand => this.operand(this.pick([0, 0.5, 0.95, 1, 1e-7, 0.3333333333333333]))
    return [
      ...[...numbers, ...extremes].map(({ fn, field }) => ({ fn, field }) as SeriesMeasure), // those of a series, just chosen
      ...extremes.map(({ fn, field }): SeriesMeasure => ({ fn: fn === 'min' ? 'first' : 'last', field })),
      ...numbers.map(({ fn, field }): SeriesMeasure => (fn === 'sum' ? { fn: 'percentile', field, p: p() } : { fn: 'rate', field })),
    ]
  }

  private having(entity: EntityType, measures: readonly Measure[], depth: number): Having {
    const kind = depth <= 0 ? 'leaf' : this.pick(['leaf', 'leaf', 'and', 'or', 'not'])
    switch (kind) {
      case 'and':
      case 'or':
        return { kind, terms: Array.from({ length: this.count(0, 2) }, () => this.having(entity, measures, depth - 1)) }
      case 'not':
        return { kind, term: this.having(entity, measures, depth - 1) }
      default: {
        const of = this.pick<'count' | Measure>(['count', ...measures.filter(({ fn }) => fn === 'sum' || fn === 'avg')])
        if (this.chance(15)) return { kind: 'isNull', of }
        const type = this.releasedType(entity, of)
        if (this.chance(25)) return { kind: 'in', of, operand: this.operand(Array.from({ length: this.count(0, 3) }, () => this.scalar(type))) }
        return { kind: 'compare', of, op: this.pick(COMPARE), operand: this.operand(this.scalar(type)) }
      }
    }
  }

  private releasedType(entity: EntityType, of: 'count' | Measure): ValueType {
    if (of === 'count') return { kind: 'builtin', name: 'BigInt' }
    const field = entity.fields.get(of.field)
    const name = field?.kind === 'value' && field.type.kind === 'builtin' ? field.type.name : 'Decimal'
    if (name === 'Float') return { kind: 'builtin', name }
    return { kind: 'builtin', name: of.fn === 'sum' && name !== 'Decimal' ? 'BigInt' : 'Decimal' }
  }

  private groupOrder(groupBy: readonly GroupKey[], measures: readonly Measure[]): GroupOrder {
    const measured = measures.filter(({ fn }) => fn === 'sum' || fn === 'avg').map((measure) => ({ kind: 'measure', measure }) as const)
    const by = this.pick<GroupOrder['by']>([{ kind: 'count' }, ...groupBy.map(({ field }) => ({ kind: 'key', field }) as const), ...measured])
    return { by, descending: this.chance(50), nulls: this.pick(['first', 'last'] as const) }
  }

  private groupFields(entity: EntityType, groupBy: readonly GroupKey[], measures: readonly Measure[]): GroupField[] {
    const fields: GroupField[] = this.some(['typename', 'count'] as const, 60).map((kind) => ({ kind, responseKey: this.key() }))
    const other = this.pick([...entity.fields.keys()])
    const keys = this.some(['__typename', 'organization', other, ...groupBy.map(({ field }) => field)], 75)
    if (keys.length > 0) fields.push({ kind: 'keys', responseKey: this.key(), fields: keys.map((key) => ({ responseKey: this.key(), key })) })
    for (const fn of ['sum', 'avg', 'min', 'max', 'countDistinct'] as const) {
      const names = this.some(['__typename', ...measures.filter((measure) => measure.fn === fn).map(({ field }) => field)], 80)
      if (names.length > 0) fields.push({ kind: fn, responseKey: this.key(), fields: names.map((field) => ({ responseKey: this.key(), field })) })
    }
    return fields
  }
}

/** Any text that a store can hold. */
function anyText(): fc.Arbitrary<string> {
  return fc.string({ unit: 'binary', maxLength: 4 }).filter((text) => !text.includes('\0'))
}
