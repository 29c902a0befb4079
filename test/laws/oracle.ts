/**
 * What an answer must be, from the hand-written views: all owners' views of one viewer stand as tables in one database of their own, and a document becomes one
 * SQL query over them, as if there were no federation and no policy.
 */
import type pg from 'pg'
import type { TestGateway } from '../support/gateway.js'
import { withClient } from '../support/postgres.js'
import type { AggregateSpec, Filter, Having, ListSpec, Order, Value, Where } from './documents.js'
import { Enum, FIELDS, isFilterKey } from './documents.js'
import type { TypeName, Viewer } from './world.js'
import { VIEWERS } from './world.js'

const VIEW_COLUMNS: Readonly<Record<TypeName, string>> = {
  Person: 'key text, sort_number numeric, sort_text text, name text, email text, team text, level integer, salary numeric, "hiredOn" date, tasks boolean',
  Task: `key text, sort_number numeric, sort_text text, title text, status text, priority integer, effort double precision, points numeric, budget numeric, done boolean,
    due timestamptz, seen timestamp, day date, trace uuid, tags text[], meta jsonb, note text, "createdAt" timestamptz, owner text, project text`,
  Project: 'key text, sort_number numeric, sort_text text, name text, code text, lead text, tasks boolean',
}
const TYPES: readonly TypeName[] = ['Person', 'Task', 'Project']

/** Copies each viewer's views from the owners' databases into the oracle's. */
export async function makeOracle(gateway: TestGateway, viewers: readonly Viewer[] = VIEWERS): Promise<pg.Client> {
  const database = await gateway.postgres.createDatabase()
  const oracle = await gateway.connect(database.name)
  await oracle.query(`SET timezone = 'UTC'; ${FUNCTIONS}`)
  for (const viewer of viewers) {
    const schema = schemaOf(viewer)
    await oracle.query(`CREATE SCHEMA ${schema}; ${TYPES.map((type) => `CREATE TABLE ${schema}.${type} (organization text, ${VIEW_COLUMNS[type]});`).join('')}`)
    for (const [organization, views] of Object.entries(viewer.views)) {
      await withClient(gateway.postgres.url(gateway.database(organization)), async (owner) => {
        await owner.query(`SET timezone = 'UTC'`)
        for (const [type, view] of Object.entries(views)) {
          const { rows } = await owner.query<{ all: string }>(`SELECT coalesce(json_agg(v), '[]')::text AS all FROM (${view}) AS v`)
          await oracle.query(
            `INSERT INTO ${schema}.${type} SELECT r.* FROM json_populate_recordset(json_populate_record(NULL::${schema}.${type}, json_build_object('organization', $1::text)), $2) AS r`,
            [organization, rows[0]?.all],
          )
        }
      })
    }
  }
  return oracle
}

const FUNCTIONS = `
  CREATE FUNCTION iso(timestamp) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT to_char($1, 'YYYY-MM-DD"T"HH24:MI:SS') || CASE WHEN to_char($1, 'US') = '000000' THEN '' ELSE '.' || rtrim(to_char($1, 'US'), '0') END $$;
  CREATE FUNCTION iso(timestamptz) RETURNS text LANGUAGE sql STABLE AS $$ SELECT iso($1 AT TIME ZONE 'UTC') || 'Z' $$;
  CREATE FUNCTION folded(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT translate($1, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', 'abcdefghijklmnopqrstuvwxyz') $$;`

export function schemaOf(viewer: Viewer): string {
  return `v${VIEWERS.indexOf(viewer)}`
}

/** A query under construction: parameters, and aliases that never meet. */
interface Building {
  readonly schema: string
  readonly parameters: unknown[]
  alias(): string
}

export function building(viewer: Viewer): Building {
  let count = 0
  return { schema: schemaOf(viewer), parameters: [], alias: () => `t${count++}` }
}

/** A row as the API shows it; nested lists whole, in order. */
export interface ExpectedRow {
  readonly organization: string
  readonly key: string
  readonly [field: string]: unknown
}

/** Every row that fits, in order, whatever the page. */
export async function expectedRows(oracle: pg.Client, viewer: Viewer, list: ListSpec, owners: readonly string[]): Promise<readonly ExpectedRow[]> {
  const build = building(viewer)
  const alias = build.alias()
  const text = `SELECT ${rowSql(list, alias, build)} AS row FROM ${build.schema}.${list.type} ${alias}
    WHERE ${alias}.organization = ANY (${place(owners, 'text[]', build)}) AND ${whereSql(list.type, list.where, alias, build)} ORDER BY ${orderSql(list.type, list.orderBy, alias, build)}`
  const { rows } = await oracle.query<{ row: ExpectedRow }>(text, build.parameters)
  return rows.map(({ row }) => row)
}

export function place(value: unknown, cast: string, build: Building): string {
  build.parameters.push(value)
  return `$${build.parameters.length}::${cast}`
}

// --- rows ------------------------------------------------------------------------------------------------------------------------------------------------------

export const OUTPUT: Readonly<Record<string, (column: string) => string>> = {
  ID: (column) => column,
  String: (column) => column,
  Int: (column) => column,
  Float: (column) => column,
  BigInt: (column) => `${column}::text`,
  Decimal: (column) => `${column}::text`,
  Boolean: (column) => column,
  DateTime: (column) => `iso(${column})`,
  LocalDateTime: (column) => `iso(${column})`,
  Date: (column) => `${column}::text`,
  UUID: (column) => column,
  JSON: (column) => column,
  TaskStatus: (column) => column,
}

function valuesSql(type: TypeName, alias: string): string[] {
  return Object.entries(FIELDS[type]).flatMap(([name, field]) =>
    field.kind === 'value' ? [`'${name}', ${(OUTPUT[field.scalar] ?? String)(`${alias}."${name}"`)}`] : [],
  )
}

function rowSql(list: ListSpec, alias: string, build: Building): string {
  const { type } = list
  const relations = Object.entries(FIELDS[type]).flatMap(([name, field]) => {
    if (field.kind === 'one') {
      const target = build.alias()
      return [
        `'${name}', (SELECT json_build_object('organization', ${target}.organization, ${valuesSql(field.target, target).join(', ')}) FROM ${build.schema}.${field.target} ${target} WHERE ${linkSql(field, name, alias, target)})`,
      ]
    }
    const nested = list.nested?.[name]
    if (field.kind !== 'many' || !nested) return []
    const target = build.alias()
    const rows = `SELECT json_agg(${rowSql(nested, target, build)} ORDER BY ${orderSql(nested.type, nested.orderBy, target, build)}) FROM ${build.schema}.${field.target} ${target}
      WHERE ${linkSql(field, name, alias, target)} AND ${whereSql(nested.type, nested.where, target, build)}`
    return [`'${name}', CASE WHEN ${alias}."${name}" THEN coalesce((${rows}), '[]'::json) END`]
  })
  // json_build_object takes 100 arguments at most.
  return `(json_build_object('organization', ${alias}.organization, ${valuesSql(type, alias).join(', ')})::jsonb || json_build_object(${relations.join(', ')})::jsonb)`
}

type Relation = { readonly kind: 'one'; readonly target: TypeName } | { readonly kind: 'many'; readonly target: TypeName; readonly inverse: string }

/** `from` and `to` are rows of one owner's view, and the relation is visible. */
function linkSql(field: Relation, name: string, from: string, to: string): string {
  const joined = field.kind === 'one' ? `${to}.key = ${from}."${name}"` : `${to}."${field.inverse}" = ${from}.key AND ${from}."${name}"`
  return `${to}.organization = ${from}.organization AND ${joined}`
}

// --- where -----------------------------------------------------------------------------------------------------------------------------------------------------

const CASTS: Readonly<Record<string, string>> = {
  ID: 'text',
  String: 'text',
  TaskStatus: 'text',
  Int: 'numeric',
  BigInt: 'numeric',
  Decimal: 'numeric',
  Float: 'double precision',
  Boolean: 'boolean',
  DateTime: 'timestamptz',
  LocalDateTime: 'timestamp',
  Date: 'date',
  UUID: 'uuid',
}

/** Two-valued. */
export function whereSql(type: TypeName, where: Where | undefined, alias: string, build: Building): string {
  const terms = Object.entries(where ?? {}).map(([name, given]): string => {
    if (name === 'and' || name === 'or') {
      const parts = (given as readonly Where[]).map((part) => whereSql(type, part, alias, build))
      return parts.length === 0 ? (name === 'and' ? 'TRUE' : 'FALSE') : `(${parts.join(name === 'and' ? ' AND ' : ' OR ')})`
    }
    if (name === 'not') return `(NOT ${whereSql(type, given as Where, alias, build)})`
    if (name === 'id') return idSql(type, given as Filter, alias, build)
    const field = FIELDS[type][name]
    if (!field) throw new Error(`the oracle does not know ${type}.${name}`)
    if (field.kind === 'value') return filterSql(field, `${alias}."${name}"`, given as Filter, build)
    if (field.kind === 'one') return existsSql(field, name, given as Where, alias, build)
    const quantifiers = Object.entries(given as Readonly<Record<string, Where>>).map(([quantifier, inner]) => {
      if (quantifier === 'some') return existsSql(field, name, inner, alias, build)
      if (quantifier === 'none') return `(NOT ${existsSql(field, name, inner, alias, build)})`
      return `(NOT ${existsSql(field, name, { not: inner }, alias, build)})`
    })
    return quantifiers.length === 0 ? 'TRUE' : `(${quantifiers.join(' AND ')})`
  })
  return terms.length === 0 ? 'TRUE' : `(${terms.join(' AND ')})`
}

function existsSql(field: Relation, name: string, inner: Where, alias: string, build: Building): string {
  const target = build.alias()
  return `EXISTS (SELECT FROM ${build.schema}.${field.target} ${target} WHERE ${linkSql(field, name, alias, target)} AND ${whereSql(field.target, inner, target, build)})`
}

function idSql(type: TypeName, filter: Filter, alias: string, build: Building): string {
  const known = (ids: readonly Value[]): string => {
    const pairs = ids.flatMap((id) => {
      try {
        const [named, organization, key] = JSON.parse(Buffer.from(String(id), 'base64url').toString()) as string[]
        return named === type && organization !== undefined && key !== undefined
          ? [`(${alias}.organization = ${place(organization, 'text', build)} AND ${alias}.key = ${place(key, 'text', build)})`]
          : []
      } catch {
        return []
      }
    })
    return pairs.length === 0 ? 'FALSE' : `(${pairs.join(' OR ')})`
  }
  const terms = Object.entries(filter).map(([operator, operand]) => {
    const fits = known([operand].flat() as readonly Value[])
    return operator === 'eq' || operator === 'in' ? fits : `(NOT ${fits})`
  })
  return `(${terms.join(' AND ')})`
}

function filterSql(field: { readonly scalar: string; readonly list?: boolean }, column: string, filter: Filter, build: Building): string {
  const cast = CASTS[field.scalar] ?? 'text'
  const isText = cast === 'text'
  const one = (operand: unknown): string => place(isText ? String(operand) : operand, cast, build)
  const many = (operand: unknown): string =>
    place(
      (operand as readonly unknown[]).map((value) => (isText ? String(value) : value)),
      `${cast}[]`,
      build,
    )
  const value = isText && !field.list ? `(${column} COLLATE "C")` : column
  const terms = Object.entries(filter).map(([operator, operand]): string => {
    switch (operator) {
      case 'eq':
        return `(${value} = ${one(operand)}) IS TRUE`
      case 'ne':
        return `(${value} = ${one(operand)}) IS NOT TRUE`
      case 'in':
        return `(${value} = ANY (${many(operand)})) IS TRUE`
      case 'notIn':
        return `(${value} = ANY (${many(operand)})) IS NOT TRUE`
      case 'lt':
        return `(${value} < ${one(operand)}) IS TRUE`
      case 'lte':
        return `(${value} <= ${one(operand)}) IS TRUE`
      case 'gt':
        return `(${value} > ${one(operand)}) IS TRUE`
      case 'gte':
        return `(${value} >= ${one(operand)}) IS TRUE`
      case 'like':
        return `(${value} LIKE ${one(operand)}) IS TRUE`
      case 'ilike':
        return `(folded(${column}) LIKE folded(${one(operand)})) IS TRUE`
      case 'startsWith':
        return `(left(${column}, char_length(${one(operand)})) = ${one(operand)}) IS TRUE`
      case 'contains':
        if (field.list) return `(${column} @> ${many(operand)}) IS TRUE`
        if (field.scalar === 'JSON') return `(${column} @> ${place(JSON.stringify(operand), 'jsonb', build)}) IS TRUE`
        return `(position(${one(operand)} IN ${column}) > 0) IS TRUE`
      case 'isNull':
        return operand === true ? `${column} IS NULL` : `${column} IS NOT NULL`
      default:
        throw new Error(`the oracle does not know ${operator}`)
    }
  })
  return `(${terms.join(' AND ')})`
}

// --- order -----------------------------------------------------------------------------------------------------------------------------------------------------

function orderSql(type: TypeName, orders: readonly Order[] | undefined, alias: string, build: Building): string {
  const terms = (orders ?? []).map((order) => orderTermSql(type, order, alias, build))
  return [...terms, `${alias}.organization COLLATE "C"`, `${alias}.sort_number`, `${alias}.sort_text COLLATE "C"`].join(', ')
}

const DIRECTIONS: Readonly<Record<string, string>> = {
  ASC: 'ASC NULLS LAST',
  DESC: 'DESC NULLS FIRST',
  ASC_NULLS_FIRST: 'ASC NULLS FIRST',
  DESC_NULLS_LAST: 'DESC NULLS LAST',
}

function orderTermSql(type: TypeName, order: Order, alias: string, build: Building): string {
  const { sql, direction } = orderedSql(type, order, alias, build)
  return `${sql} ${DIRECTIONS[direction]}`
}

function orderedSql(type: TypeName, order: Order, alias: string, build: Building): { readonly sql: string; readonly direction: string } {
  const [entry] = Object.entries(order)
  if (!entry) throw new Error('an order has a key')
  const [name, given] = entry
  const field = FIELDS[type][name]
  if (field?.kind === 'value') {
    const text = CASTS[field.scalar] === 'text'
    return { sql: `(${alias}."${name}"${text ? ' COLLATE "C"' : ''})`, direction: String(given) }
  }
  if (field?.kind !== 'one' || given instanceof Enum) throw new Error('an order goes through relations to one')
  const target = build.alias()
  const { sql, direction } = orderedSql(field.target, given as Order, target, build)
  return { sql: `(SELECT ${sql} FROM ${build.schema}.${field.target} ${target} WHERE ${linkSql(field, name, alias, target)})`, direction }
}

// --- aggregates ------------------------------------------------------------------------------------------------------------------------------------------------

export interface ExpectedGroup {
  readonly keys: Readonly<Record<string, unknown>>
  readonly count: string
  readonly [measure: string]: unknown
}

/** The groups in order, before `first`. Ties go by the JSON texts of the keys. */
export async function expectedGroups(
  oracle: pg.Client,
  viewer: Viewer,
  aggregate: AggregateSpec,
  owners: readonly string[],
): Promise<readonly ExpectedGroup[]> {
  const build = building(viewer)
  const alias = build.alias()
  const keys = aggregate.groupBy.map(({ field, unit, timezone }) => ({ field, sql: groupKeySql(aggregate.type, field, { unit, timezone }, alias) }))
  const keyColumns = keys.map(({ sql }, index) => `${sql} AS k${index}`)
  const measures = Object.entries(aggregate.measures).flatMap(([fn, fields]) => fields.map((field) => ({ fn, field })))
  const measureColumns = measures.map(({ fn, field }, index) => `${measureSql(aggregate.type, fn, field, alias, build)} AS m${index}`)
  const inner = `SELECT ${[...keyColumns, 'count(*) AS n', ...measureColumns].join(', ')} FROM ${build.schema}.${aggregate.type} ${alias}
    WHERE ${alias}.organization = ANY (${place(owners, 'text[]', build)}) AND ${whereSql(aggregate.type, aggregate.where, alias, build)}
    ${keys.length > 0 ? `GROUP BY ${keys.map((_key, index) => index + 1).join(', ')}` : ''}`
  const column = (fn: string, field: string): string => (fn === 'count' ? 'g.n' : `g.m${measures.findIndex((each) => each.fn === fn && each.field === field)}`)
  const having = havingSql(aggregate.having, column, build)
  const order = (aggregate.orderBy ?? []).map((term): string => {
    const [[by, given] = ['', null]] = Object.entries(term)
    if (by === 'count') return `g.n ${DIRECTIONS[String(given)]}`
    if (by === 'key') {
      const { field, order: direction } = given as { field: Enum; order: Enum }
      const index = keys.findIndex((key) => enumOf(key.field) === field.name)
      const isText = keys[index]?.field === 'organization' || CASTS[scalarOf(aggregate.type, keys[index]?.field ?? '')] === 'text'
      return `g.k${index}${isText ? ' COLLATE "C"' : ''} ${DIRECTIONS[String(direction)]}`
    }
    const [[field, direction] = ['', null]] = Object.entries(given as Readonly<Record<string, Enum>>)
    // Released values: of floats those that a double can hold.
    const cast = scalarOf(aggregate.type, field) === 'Float' ? '::double precision' : ''
    return `${column(by, field)}${cast} ${DIRECTIONS[String(direction)]}`
  })
  const keyJson = keys.map(({ field }, index) =>
    field === 'organization' ? `g.k${index}` : (OUTPUT[scalarOf(aggregate.type, field)] ?? String)(`g.k${index}`),
  )
  const ties = keyJson.map((sql) => `coalesce(to_json(${sql})::text, 'null') COLLATE "C"`)
  const tail = [...order, ...ties]
  const outer = `SELECT ${keyJson
    .map((sql, index) => `to_json(${sql}) AS k${index}`)
    .concat(
      'g.n::text AS n',
      measures.map(({ fn, field }, index) => `to_json(${measureOutput(aggregate.type, fn, field)(`g.m${index}`)}) AS m${index}`),
    )
    .join(', ')}
    FROM (${inner}) AS g WHERE ${having} ${tail.length > 0 ? `ORDER BY ${tail.join(', ')}` : ''}`
  const { rows } = await oracle.query<Record<string, unknown>>(outer, build.parameters)
  return rows.map((row) => {
    const group: Record<string, unknown> = { keys: Object.fromEntries(keys.map(({ field }, index) => [field, row[`k${index}`]])), count: row['n'] }
    measures.forEach(({ fn, field }, index) => {
      group[fn] = { ...(group[fn] as object | undefined), [field]: row[`m${index}`] }
    })
    return group as ExpectedGroup // it has keys and count, above
  })
}

export function enumOf(field: string): string {
  return field.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()
}

export function scalarOf(type: TypeName, name: string): string {
  const field = FIELDS[type][name]
  return field?.kind === 'value' ? field.scalar : 'ID'
}

export function groupKeySql(
  type: TypeName,
  field: string,
  { unit, timezone }: { unit?: Enum | undefined; timezone?: string | undefined },
  alias: string,
): string {
  const column = `${alias}."${field}"`
  if (!unit) return column
  const part = String(unit).toLowerCase()
  const scalar = scalarOf(type, field)
  if (scalar === 'DateTime') return `date_trunc('${part}', ${column}, '${timezone ?? 'UTC'}')`
  return scalar === 'Date' ? `date_trunc('${part}', ${column}::timestamp)::date` : `date_trunc('${part}', ${column})`
}

export function measureSql(type: TypeName, fn: string, field: string, alias: string, build: Building): string {
  const column = `${alias}."${field}"`
  const definition = FIELDS[type][field]
  if (fn === 'countDistinct') {
    if (definition?.kind === 'value') return `count(DISTINCT ${column})`
    if (definition?.kind !== 'one') throw new Error('distinct values of a field or a relation to one')
    const target = build.alias()
    return `count(DISTINCT (SELECT ${target}.key FROM ${build.schema}.${definition.target} ${target} WHERE ${linkSql(definition, field, alias, target)}))`
  }
  const scalar = scalarOf(type, field)
  const exact = scalar === 'Float' ? `${column}::text::numeric` : `${column}::numeric`
  if (fn === 'sum') return `sum(${exact})`
  if (fn === 'avg') return `sum(${exact})::numeric(400, 60) / nullif(count(${column}), 0)`
  return `${fn}(${CASTS[scalar] === 'text' ? `${column} COLLATE "C"` : column})`
}

export function measureOutput(type: TypeName, fn: string, field: string): (column: string) => string {
  if (fn === 'countDistinct') return (column) => `${column}::text`
  const scalar = scalarOf(type, field)
  if (fn === 'min' || fn === 'max') return OUTPUT[scalar] ?? String
  if (scalar === 'Float') return (column) => `${column}::double precision`
  return fn === 'sum' ? (column) => `${column}::text` : (column) => `trim_scale(round(${column}, 16))::text`
}

function havingSql(having: Having | undefined, column: (fn: string, field: string) => string, build: Building): string {
  const terms = Object.entries(having ?? {}).flatMap(([name, given]): string[] => {
    if (name === 'and' || name === 'or') {
      const parts = (given as readonly Having[]).map((part) => havingSql(part, column, build))
      return [parts.length === 0 ? (name === 'and' ? 'TRUE' : 'FALSE') : `(${parts.join(name === 'and' ? ' AND ' : ' OR ')})`]
    }
    if (name === 'not') return [`(NOT ${havingSql(given as Having, column, build)})`]
    if (name === 'count') return [filterSql({ scalar: 'BigInt' }, 'g.n', given as Filter, build)]
    return Object.entries(given as Readonly<Record<string, Filter>>).map(([field, filter]) => {
      const rounded = name === 'avg' ? `round(${column(name, field)}, 16)` : column(name, field)
      return filterSql({ scalar: 'Decimal' }, rounded, filter, build)
    })
  })
  return terms.length === 0 ? 'TRUE' : `(${terms.join(' AND ')})`
}

/** Values that a field has in a viewer's view, as the API writes them. */
export async function poolsOf(oracle: pg.Client, viewer: Viewer): Promise<Readonly<Record<TypeName, Readonly<Record<string, readonly Value[]>>>>> {
  const pools: Record<string, Record<string, readonly Value[]>> = {}
  for (const type of TYPES) {
    const found: Record<string, readonly Value[]> = {}
    const { rows: keys } = await oracle.query<{ organization: string; key: string }>(`SELECT organization, key FROM ${schemaOf(viewer)}.${type} ORDER BY 1, 2`)
    found['id'] = keys.map(({ organization, key }) => globalId(type, organization, key))
    for (const [name, field] of Object.entries(FIELDS[type])) {
      if (field.kind !== 'value' || !isFilterKey(field)) continue
      const output = (OUTPUT[field.scalar] ?? String)(`"${name}"`)
      const { rows } = await oracle.query<{ value: Value }>(
        `SELECT DISTINCT to_jsonb(${output})::text, to_jsonb(${output}) AS value FROM ${schemaOf(viewer)}.${type} WHERE "${name}" IS NOT NULL ORDER BY 1`,
      )
      found[name] = rows.map(({ value }) => (field.scalar === 'TaskStatus' ? new Enum(String(value)) : value))
    }
    pools[type] = found
  }
  return pools as Readonly<Record<TypeName, Readonly<Record<string, readonly Value[]>>>> // one for each type, above
}

export function globalId(type: string, organization: string, key: string): string {
  return Buffer.from(JSON.stringify([type, organization, key])).toString('base64url')
}
