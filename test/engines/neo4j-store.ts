/** The data of the connector contract as a graph holds them: what it cannot hold is left out on both sides. */
import neo4j, { Date as GraphDate, DateTime, type Driver, LocalDateTime } from 'neo4j-driver'
import type { StoredRow, StoredValue } from '../../src/connectors/memory/stored.js'
import { name } from '../../src/connectors/neo4j/cypher.js'
import type { ColumnBinding, OrganizationBinding, RelationBinding, TableBinding, TypeBinding } from '../../src/query/binding.js'
import type { EntityType } from '../../src/query/catalog.js'
import type { AuthorizedPlan } from '../../src/query/plan.js'
import type { ContractData, ContractTable } from '../connectors/contract-data.js'
import { contractData } from '../connectors/contract-data.js'

export interface GraphData {
  /** For the oracle. */
  readonly data: ContractData
  /** The same for the store. */
  readonly binding: OrganizationBinding
}

type Column = Extract<ColumnBinding, { kind: 'column' }>

/** Types whose key a graph cannot hold exactly. */
const LEFT_OUT = new Set(['Reading'])

const TYPES: Readonly<Record<string, string>> = {
  text: 'STRING',
  'character varying': 'STRING',
  character: 'STRING',
  uuid: 'STRING',
  bigint: 'INTEGER',
  integer: 'INTEGER',
  smallint: 'INTEGER',
  'double precision': 'FLOAT',
  boolean: 'BOOLEAN',
  'timestamp with time zone': 'ZONED DATETIME',
  'timestamp without time zone': 'LOCAL DATETIME',
  date: 'DATE',
}

export function graphData(): GraphData {
  const whole = contractData()
  const bound = new Map(
    [...whole.binding.types].filter(([type]) => !LEFT_OUT.has(type)).map(([type, own]) => [type, fitting(own, whole.catalog.entities.get(type))]),
  )
  const entities = new Map(
    [...whole.catalog.entities]
      .filter(([type]) => !LEFT_OUT.has(type))
      .map(
        ([type, entity]) => [type, { ...entity, fields: new Map([...entity.fields].filter(([field, each]) => isHeld(field, each, bound.get(type)))) }] as const,
      ),
  )
  const tables = whole.tables.map((table) => ({ ...table, rows: table.rows.map((row) => storableRow(table, row)) }))
  const data = { ...whole, catalog: { ...whole.catalog, entities }, binding: { ...whole.binding, types: bound }, tables }
  return { data, binding: { ...whole.binding, types: new Map([...bound].map(([type, own]) => [type, inGraph(own)])) } }
}

function isHeld(
  field: string,
  { kind, ...more }: EntityType['fields'] extends ReadonlyMap<string, infer Each> ? Each : never,
  bound: TypeBinding | undefined,
): boolean {
  if (kind !== 'value') return !('target' in more) || !LEFT_OUT.has(String(more.target))
  return bound?.kind !== 'table' || bound.columns.has(field) || field === 'missing'
}

/** The plan over the store's own binding, where the oracle's speaks of PostgreSQL's types. */
export function rebound(plan: AuthorizedPlan, binding: OrganizationBinding): AuthorizedPlan {
  const views = [...plan.views].map(([type, view]) => {
    const source = binding.types.get(type)
    return [type, view.source === 'empty' || source?.kind !== 'table' ? view : { ...view, source }] as const
  })
  return { ...plan, binding, views: new Map(views) }
}

// --- bindings --------------------------------------------------------------------------------------------------------------------------------------------------

/** Without fields of numbers that are multiplied, of single precision, of more than 64 bits, of JSON and of vectors. */
function fitting(type: TypeBinding, entity: EntityType | undefined): TypeBinding {
  if (type.kind === 'none') return type
  const columns = [...type.columns].filter(([field, column]) => {
    const definition = entity?.fields.get(field)
    if (definition?.kind === 'value' && (definition.vector || (definition.type.kind === 'builtin' && ['Decimal', 'JSON'].includes(definition.type.name))))
      return false
    if (column.kind === 'constant') return true
    return column.multiply === null && graphType(column, entity, field) !== null
  })
  // An id is any text here, whatever it is in PostgreSQL.
  const isId = (field: string): boolean => {
    const definition = entity?.fields.get(field)
    return definition?.kind === 'value' && definition.type.name === 'ID'
  }
  return {
    ...type,
    columns: new Map(
      columns.map(([field, column]) => [field, column.kind === 'column' && column.native === 'uuid' && isId(field) ? { ...column, native: 'text' } : column]),
    ),
  }
}

function graphType(column: Column, entity: EntityType | undefined, field: string): string | null {
  const definition = entity?.fields.get(field)
  if (definition?.kind === 'value' && definition.type.kind === 'enum' && TYPES[column.native] === undefined) return 'STRING'
  return TYPES[column.native] ?? null
}

function inGraph(type: TypeBinding): TypeBinding {
  if (type.kind === 'none') return type
  const columns = [...type.columns].map(([field, column]): [string, ColumnBinding] => [
    field,
    column.kind === 'constant' ? column : { ...column, native: TYPES[column.native] ?? 'STRING', nullable: true },
  ])
  const relations = [...type.relations].map(([field, { columns: links }]): [string, RelationBinding] => [
    field,
    { columns: links.length === 0 ? [] : [{ column: relationshipOf(type, field), native: isOut(field) ? 'out' : 'in', nullable: true }] },
  ])
  const table: TableBinding = { ...type, schema: '', table: labelOf(type.table), columns: new Map(columns), relations: new Map(relations) }
  return table
}

function labelOf(table: string): string {
  return table
}

function relationshipOf({ type }: TableBinding, field: string): string {
  return `${type}'s \`${field}\` \\u0060`
}

/** Some lead the other way. */
function isOut(field: string): boolean {
  return field.length % 2 === 0
}

// --- values ----------------------------------------------------------------------------------------------------------------------------------------------------

function storableRow({ columns }: ContractTable, row: StoredRow): StoredRow {
  return new Map([...row].map(([own, value]) => [own, storable(columns.find((column) => column.name === own)?.declared ?? '', value)]))
}

/** No time is infinite, and no list holds a null. */
function storable(declared: string, value: StoredValue): StoredValue {
  if (typeof value === 'string') return /^(timestamp|date)/.test(declared) && value.endsWith('infinity') ? null : value
  return value?.includes(null) || (value && /^(timestamp|date)/.test(declared) && value.some((item) => item?.endsWith('infinity'))) ? null : value
}

/** Nodes first, then a relationship for each row that refers to another. */
export async function fillGraph(driver: Driver, { data, binding }: GraphData): Promise<void> {
  await driver.executeQuery('MATCH (n) DETACH DELETE n')
  for (const [type, bound] of binding.types) {
    const own = data.binding.types.get(type)
    const table = own?.kind === 'table' ? data.tables.find((each) => each.schema === own.schema && each.table === own.table) : undefined
    if (bound.kind !== 'table' || !table) continue
    const [label] = name(bound.table)
    const rows = table.rows.map((row, index) => ({ index: neo4j.int(index), row: propertiesOf(table, row) }))
    await driver.executeQuery(
      `UNWIND $rows AS r CREATE (n:${String(label)}:${String(name(`row of ${type}`)[0])}) SET n = r.row SET n.\`row of the suite\` = r.index`,
      { rows },
    )
  }
  for (const [type, bound] of binding.types) {
    const own = data.binding.types.get(type)
    if (own?.kind !== 'table' || bound.kind !== 'table') continue
    for (const [field, relation] of bound.relations) await relate(driver, data, { own, field, relation })
  }
}

async function relate(
  driver: Driver,
  data: ContractData,
  { own, field, relation }: { own: TableBinding; field: string; relation: RelationBinding },
): Promise<void> {
  const definition = data.catalog.entities.get(own.type)?.fields.get(field)
  const [link] = relation.columns
  const target = definition?.kind === 'toOne' ? data.binding.types.get(definition.target) : undefined
  if (!link || definition?.kind !== 'toOne' || target?.kind !== 'table') return
  const key = (data.catalog.entities.get(target.type)?.key ?? []).map((part) => target.columns.get(part))
  const [from, to] = [own, target].map(({ schema, table }) => data.tables.find((each) => each.schema === schema && each.table === table))
  const columns = own.relations.get(field)?.columns ?? []
  const pairs = (from?.rows ?? []).flatMap((row, a) =>
    (to?.rows ?? []).flatMap((other, b) => {
      const isLinked = columns.every(({ column }, index) => {
        const part = key[index]
        const value = row.get(column) ?? null
        return part?.kind === 'column' && value !== null && value === other.get(part.column)
      })
      return isLinked ? [{ a: neo4j.int(a), b: neo4j.int(b) }] : []
    }),
  )
  const node = (variable: string, { type }: TableBinding): string => `(${variable}:${String(name(`row of ${type}`)[0])} {\`row of the suite\`: p.${variable}})`
  const arrow = `[:${String(name(link.column)[0])}]`
  const pattern = link.native === 'out' ? `(a)-${arrow}->(b)` : `(a)<-${arrow}-(b)`
  await driver.executeQuery(`UNWIND $pairs AS p MATCH ${node('a', own)}, ${node('b', target)} CREATE ${pattern}`, { pairs })
}

function propertiesOf({ columns }: ContractTable, row: StoredRow): Readonly<Record<string, unknown>> {
  return Object.fromEntries(
    columns.flatMap(({ name: own, declared }) => {
      const value = row.get(own) ?? null
      if (value === null || /^(numeric|json|real)/.test(declared)) return []
      const stored = typeof value === 'string' ? graphOf(declared, value) : value.map((item) => graphOf(declared.replace('[]', ''), item ?? ''))
      return [[own, stored]]
    }),
  )
}

function graphOf(declared: string, text: string): unknown {
  if (/^(bigint|integer|smallint)/.test(declared)) return BigInt(text)
  if (/^double/.test(declared)) return Number(text)
  if (/^boolean/.test(declared)) return text === 'true'
  return /^(timestamp|date)/.test(declared) ? momentOf(declared, text) : text
}

/** The same moments on clocks of several zones. */
function momentOf(declared: string, text: string): unknown {
  const [, yearText = '', month = '', day = '', hour = '0', minute = '0', second = '0', fraction = ''] =
    /^(\d+)-(\d\d)-(\d\d)(?: (\d\d):(\d\d):(\d\d)(?:\.(\d+))?)?/.exec(text) ?? []
  const year = text.endsWith('BC') ? 1 - Number(yearText) : Number(yearText)
  const date = [year, Number(month), Number(day)] as const
  const clock = [Number(hour), Number(minute), Number(second), Number(fraction.padEnd(9, '0'))] as const
  if (declared.startsWith('date')) return new GraphDate(...date)
  if (!/^timestamp(tz|(\(6\))? with )/.test(declared)) return new LocalDateTime(...date, ...clock)
  const isEarly = Number(hour) < 23
  return new DateTime(...date, isEarly ? clock[0] + 1 : clock[0], clock[1], clock[2], clock[3], isEarly ? 3_600 : 0)
}
