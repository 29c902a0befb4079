/**
 * Values of fields as SQL: what a field of the readable view (or, for policy conditions, of the raw table) is, how it is compared, printed as JSON and as a sort key.
 * Every expression is total: it raises no error, whatever row it meets.
 */
import { invariant } from '../../errors.js'
import type { ColumnBinding, TableBinding } from '../../query/binding.js'
import type { ValueField, ValueType, VectorSpace } from '../../query/catalog.js'
import type { Mask } from '../../query/plan.js'
import type { Encoding, Fragment, SqlType } from './fragment.js'
import { constant, join, name, parameter, sql } from './fragment.js'
import type { Json } from './object-json.js'

/** The SQL type that an expression has, once binding and mask are applied. */
export type Form = 'text' | 'int' | 'bigint' | 'numeric' | 'float8' | 'bool' | 'timestamptz' | 'timestamp' | 'date' | 'uuid' | 'json' | 'jsonb' | 'vector'

export interface Expression {
  readonly sql: Fragment
  readonly form: Form
  readonly array: boolean
  readonly nullable: boolean
  readonly type: ValueType
  /** An enum whose stored values differ from its names: the bare column, to compare with stored values, so that its index serves. */
  readonly stored: {
    readonly sql: Fragment
    readonly native: string
    readonly names: readonly string[]
    readonly values: ReadonlyMap<string, readonly string[]>
  } | null
  /** How a vector is stored: an array of float4, or a type of pgvector in this schema (null: one on the search path). Of a vector only. */
  readonly vector?: 'array' | { readonly schema: string | null }
}

/** The column (or constant) of a binding as the contract's value. */
export function boundValue(table: TableBinding, field: ValueField, alias: string): Expression | null {
  const bound = table.columns.get(field.name)
  if (!bound) return null
  if (bound.kind === 'constant') return constantValue(field, bound.value)
  const column = name(alias, bound.column)
  const base = { array: bound.array, nullable: bound.nullable, type: field.type, stored: null }
  if (field.vector) return vectorValue(bound, field.vector, field, column)
  if (bound.values) return mappedEnum(bound, bound.values, field, column)
  const form = formOf(field.type, bound.native)
  if (bound.multiply !== null)
    return { ...base, form: 'numeric', sql: sql`(${column} * ${parameter({ kind: 'constant', value: bound.multiply }, { kind: 'decimal' }, 'numeric')})` }
  if (bound.array) return { ...base, form, sql: bound.native === LIST_NATIVES[form] ? column : sql`${column}${cast(`${SQL_TYPES[form]}[]`)}` }
  return { ...base, form, sql: form === 'text' && !TEXT_TYPES.has(bound.native) ? sql`${column}::text` : column }
}

/**
 * A vector of the contract's dimensions and of finite elements; anything else in an array is null. (pgvector's types hold nothing else, and the binding has checked the
 * dimensions that the column declares.)
 */
function vectorValue(bound: Extract<ColumnBinding, { kind: 'column' }>, { dimensions }: VectorSpace, field: ValueField, column: Fragment): Expression {
  const base = { form: 'vector' as const, array: false, nullable: true, type: field.type, stored: null }
  if (!bound.array) return { ...base, nullable: bound.nullable, sql: column, vector: { schema: extensionSchema(bound.native) } }
  const size = parameter({ kind: 'constant', value: dimensions }, { kind: 'int' }, 'integer')
  const isWhole = sql`array_ndims(${column}) = 1 AND cardinality(${column}) = ${size}`
  const isFinite = sql`(SELECT bool_and((u.e - u.e = 0) IS TRUE) FROM unnest(${column}) AS u(e))`
  return { ...base, sql: sql`(CASE WHEN ${isWhole} AND ${isFinite} THEN ${column} END)`, vector: 'array' }
}

/** `format_type` names the schema of a type that is not on the search path. */
function extensionSchema(native: string): string | null {
  const [, quoted, plain] = /^(?:"((?:[^"]|"")*)"|([^."]*))\./.exec(native) ?? []
  return quoted?.replaceAll('""', '"') ?? plain ?? null
}

/** Lists are compared with lists of the form's own type only: unlike scalars, `smallint[]` has no operator with `integer[]`. */
const LIST_NATIVES: Readonly<Record<Form, string>> = {
  text: 'text',
  int: 'integer',
  bigint: 'bigint',
  numeric: 'numeric',
  float8: 'double precision',
  bool: 'boolean',
  timestamptz: 'timestamp with time zone',
  timestamp: 'timestamp without time zone',
  date: 'date',
  uuid: 'uuid',
  json: 'json',
  jsonb: 'jsonb',
  vector: 'real[]',
}

function cast(type: `${SqlType}[]`): Fragment {
  return { parts: [{ kind: 'text', text: `::${type}` }] }
}

const TEXT_TYPES: ReadonlySet<string> = new Set(['text', 'character varying'])

function mappedEnum(bound: Extract<ColumnBinding, { kind: 'column' }>, values: ReadonlyMap<string, string>, field: ValueField, column: Fragment): Expression {
  const stored = new Map<string, string[]>()
  for (const [value, label] of values) stored.set(label, [...(stored.get(label) ?? []), value])
  const cases = [...values].map(([value, label]) => sql` WHEN ${constant(value)} THEN ${constant(label)}`)
  const names = field.type.kind === 'enum' ? field.type.values : []
  const mapped = sql`(CASE ${column}::text${join(cases, '')} END)`
  return { sql: mapped, form: 'text', array: false, nullable: true, type: field.type, stored: { sql: column, native: bound.native, names, values: stored } }
}

function formOf(type: ValueType, native: string): Form {
  if (type.kind === 'enum') return 'text'
  switch (type.name) {
    case 'ID':
      return INTEGER_TYPES.has(native) ? 'bigint' : native === 'uuid' ? 'uuid' : 'text'
    case 'String':
      return 'text'
    case 'Int':
      return 'int'
    case 'BigInt':
      return INTEGER_TYPES.has(native) ? 'bigint' : 'numeric'
    case 'Decimal':
      return 'numeric'
    case 'Float':
      return 'float8'
    case 'Boolean':
      return 'bool'
    case 'DateTime':
      return 'timestamptz'
    case 'LocalDateTime':
      return 'timestamp'
    case 'Date':
      return 'date'
    case 'UUID':
      return 'uuid'
    case 'JSON':
      return native === 'json' ? 'json' : 'jsonb'
    case 'Vector':
      return 'vector'
  }
}

const INTEGER_TYPES: ReadonlySet<string> = new Set(['bigint', 'integer', 'smallint'])

/** The form of a type where no column decides it: constants and masks. */
export function plainForm(type: ValueType): Form {
  return formOf(type, 'text') // a BigInt need not fit a bigint
}

export function constantValue(field: ValueField, value: string | number | boolean | null): Expression {
  const form = plainForm(field.type)
  const base = { form, array: field.list, type: field.type, stored: null }
  if (value === null)
    return { ...base, nullable: true, sql: parameter({ kind: 'constant', value: [] }, { kind: 'null' }, field.list ? `${SQL_TYPES[form]}[]` : SQL_TYPES[form]) }
  return { ...base, nullable: false, sql: parameter({ kind: 'constant', value }, encodingOf(form, field.type), SQL_TYPES[form]) }
}

export const SQL_TYPES: Readonly<Record<Form, SqlType>> = {
  text: 'text',
  int: 'integer',
  bigint: 'bigint',
  numeric: 'numeric',
  float8: 'double precision',
  bool: 'boolean',
  timestamptz: 'timestamptz',
  timestamp: 'timestamp',
  date: 'date',
  uuid: 'uuid',
  json: 'json',
  jsonb: 'jsonb',
  vector: 'real[]',
}

/** How a value of the contract is sent to be compared with an expression of this form. */
export function encodingOf(form: Form, type: ValueType): Encoding {
  return { kind: 'value', type, native: form === 'bigint' || form === 'uuid' ? form : null }
}

/** A masked value. The raw value stays in the store: masks run in the statement. */
export function masked(raw: Expression, mask: Mask, field: ValueField): Expression {
  const text = sql`(${raw.sql})::text`
  const revealed = (value: Fragment, reveal: boolean): Fragment => (reveal && raw.nullable ? sql`(CASE WHEN ${raw.sql} IS NOT NULL THEN ${value} END)` : value)
  const base = { array: false, type: field.type, stored: null, nullable: raw.nullable }
  switch (mask.kind) {
    case 'null':
      return constantValue(field, null)
    case 'constant':
      return constantValue(field, mask.value)
    case 'redact': {
      const keep = parameter({ kind: 'constant', value: mask.keepLast }, { kind: 'int' }, 'integer')
      const redacted = sql`(CASE WHEN char_length(${text}) > ${keep} THEN '***' || right(${text}, ${keep}) ELSE '***' END)`
      return {
        ...base,
        form: 'text',
        nullable: raw.nullable && mask.revealNulls,
        sql: revealed(mask.keepLast === 0 ? sql`'***'::text` : redacted, mask.revealNulls),
      }
    }
    case 'pseudonym': {
      const grantee = parameter({ kind: 'constant', value: mask.grantee }, { kind: 'text' }, 'text')
      const domain = parameter({ kind: 'constant', value: mask.domain }, { kind: 'text' }, 'text')
      const pseudonym = sql`concordat.pseudonym(${grantee}, ${domain}, ${text})`
      // NULL where the owner has no key for the grantee.
      return { ...base, form: 'text', nullable: true, sql: revealed(pseudonym, mask.revealNulls) }
    }
    case 'generalize':
      return generalizedNumber(raw, mask, base, revealed)
    case 'generalizeTime': {
      const unit = constant(mask.unit.toLowerCase())
      // Clamped, so that every unit begins where a timestamp can be; such times have no JSON form anyway.
      const truncated =
        raw.form === 'timestamptz'
          ? sql`date_trunc(${unit}, greatest(coalesce(${raw.sql}, '1970-01-01Z'::timestamptz), '4713-01-01Z BC'::timestamptz), 'UTC')`
          : raw.form === 'date'
            ? sql`date_trunc(${unit}, least(greatest(coalesce(${raw.sql}, '1970-01-01'::date), '4713-01-01 BC'::date), '294276-12-31'::date)::timestamp)::date`
            : sql`date_trunc(${unit}, greatest(coalesce(${raw.sql}, '1970-01-01'::timestamp), '4713-01-01 BC'::timestamp))`
      return { ...base, form: raw.form, nullable: raw.nullable && mask.revealNulls, sql: revealed(truncated, mask.revealNulls) }
    }
  }
}

function generalizedNumber(
  raw: Expression,
  mask: Extract<Mask, { kind: 'generalize' }>,
  base: Omit<Expression, 'sql' | 'form'>,
  revealed: (value: Fragment, reveal: boolean) => Fragment,
): Expression {
  const step = parameter({ kind: 'constant', value: mask.step }, { kind: 'decimal' }, 'numeric')
  const exact = raw.form === 'float8' ? sql`coalesce(${raw.sql}, 0)::double precision::text::numeric` : sql`coalesce(${raw.sql}, 0)::numeric`
  // Not by division, which rounds: 2.999… of enough digits would reach the next step.
  const grid = sql`((div(${exact}, ${step}) - (CASE WHEN mod(${exact}, ${step}) < 0 THEN 1 ELSE 0 END)) * ${step})`
  const nullable = raw.nullable && mask.revealNulls
  if (raw.form === 'int') {
    // The grid below the least int has no int: clamped, so that the cast cannot fail.
    return { ...base, nullable, form: 'int', sql: revealed(sql`greatest(${grid}, -2147483648)::integer`, mask.revealNulls) }
  }
  if (raw.form === 'float8') return { ...base, nullable, form: 'float8', sql: revealed(sql`${grid}::double precision`, mask.revealNulls) }
  return { ...base, nullable, form: 'numeric', sql: revealed(grid, mask.revealNulls) }
}

// --- printing --------------------------------------------------------------------------------------------------------------------------------------------------

/**
 * The JSON of a value, for a format: what prints as JSON by its own type's output is not made text before. 5,000 rows of 8 fields take 25.4 ms with it, and 27.0
 * without.
 */
export function jsonOf(value: Expression): Json {
  if (value.array) return [listJson(value)]
  switch (value.form) {
    case 'text':
      return [orNull(value, sql`to_json(${value.sql})`)]
    case 'json':
    case 'jsonb':
      return [orNull(value, value.sql)]
    case 'int':
      return value.nullable ? [jsonText(value)] : [value.sql]
    case 'bigint':
    case 'uuid':
      return value.nullable ? [jsonText(value)] : ['"', value.sql, '"']
    case 'numeric':
    case 'float8':
    case 'bool': // its output is `t` or `f`
    case 'timestamptz':
    case 'timestamp':
    case 'date':
    case 'vector':
      return [jsonText(value)]
  }
}

/** `json`: an expression of type json or jsonb, NULL where the value is. */
function orNull(value: Expression, json: Fragment): Fragment {
  return value.nullable ? sql`coalesce(${json}, 'null')` : json
}

/** The JSON text of a value; never NULL: a null value is the text `null`. */
export function jsonText(value: Expression): Fragment {
  if (value.array) return listJson(value)
  const text = scalarJson(value)
  return text.total || !value.nullable ? text.sql : sql`coalesce(${text.sql}, 'null')`
}

/** Null where the list holds what is null in JSON, or is one of lists. Where PostgreSQL's own JSON of an element is not ours, elements are printed one by one. */
function listJson(value: Expression): Fragment {
  const holdsNull = sql`array_position(s.v, NULL) IS NOT NULL`
  const list = ELEMENTS_AS_THEY_ARE.has(value.form)
    ? sql`CASE WHEN ${holdsNull} THEN 'null' ELSE to_json(${hasTextElements(value) ? sql`s.v::text[]` : sql`s.v`})::text END`
    : sql`CASE WHEN ${holdsNull} THEN 'null' ELSE (${elementsJson(value)}) END`
  return sql`(SELECT CASE WHEN array_ndims(s.v) = 1 THEN ${list} WHEN cardinality(s.v) = 0 THEN '[]' ELSE 'null' END FROM (SELECT ${value.sql} AS v) AS s)`
}

const ELEMENTS_AS_THEY_ARE: ReadonlySet<Form> = new Set<Form>(['text', 'int', 'bigint', 'bool', 'uuid', 'json', 'jsonb'])

/** Exact numbers are strings. */
function hasTextElements({ form }: Expression): boolean {
  return form === 'bigint' || form === 'uuid'
}

function elementsJson(value: Expression): Fragment {
  const element = scalarJson({ ...value, array: false, nullable: false, sql: sql`u.e` }).sql
  const elements = sql`SELECT ${element} AS j, u.n FROM unnest(s.v) WITH ORDINALITY AS u(e, n)`
  return sql`SELECT CASE WHEN bool_or(x.j = 'null') THEN 'null' ELSE '[' || string_agg(x.j, ',' ORDER BY x.n) || ']' END FROM (${elements}) AS x`
}

/** `total`: gives the text `null` for NULL by itself. */
function scalarJson(value: Expression): { readonly sql: Fragment; readonly total: boolean } {
  const { form } = value
  const isId = value.type.kind === 'builtin' && value.type.name === 'ID'
  switch (form) {
    case 'text':
      return { sql: sql`to_json(${value.sql})::text`, total: false }
    case 'int':
      return { sql: sql`(${value.sql})::text`, total: false }
    case 'bigint':
    case 'uuid':
      invariant(isId || value.type.kind === 'builtin', 'a number or a uuid')
      return { sql: sql`'"' || (${value.sql})::text || '"'`, total: false }
    case 'numeric':
      return { sql: sql`coalesce('"' || nullif(nullif(nullif((${value.sql})::text, 'NaN'), 'Infinity'), '-Infinity') || '"', 'null')`, total: true }
    case 'float8':
      return { sql: sql`(CASE WHEN ${value.sql} - ${value.sql} = 0 THEN (${value.sql})::double precision::text ELSE 'null' END)`, total: true }
    case 'bool':
      return { sql: sql`(${value.sql})::text`, total: false }
    case 'timestamptz':
      return {
        sql: sql`(CASE WHEN ${value.sql} >= '0001-01-01Z'::timestamptz AND ${value.sql} < '10000-01-01Z'::timestamptz THEN '"' || ${utcText(value)} || 'Z"' ELSE 'null' END)`,
        total: true,
      }
    case 'timestamp':
      return {
        sql: sql`(CASE WHEN ${value.sql} >= '0001-01-01'::timestamp AND ${value.sql} < '10000-01-01'::timestamp THEN to_json(${value.sql})::text ELSE 'null' END)`,
        total: true,
      }
    case 'date':
      return {
        sql: sql`(CASE WHEN ${value.sql} >= '0001-01-01'::date AND ${value.sql} < '10000-01-01'::date THEN to_json(${value.sql})::text ELSE 'null' END)`,
        total: true,
      }
    case 'json':
    case 'jsonb':
      return { sql: sql`(${value.sql})::text`, total: false }
    case 'vector':
      return { sql: value.vector === 'array' ? sql`to_json(${value.sql})::text` : sql`(${value.sql})::text`, total: false }
  }
}

/** The value as the text that merges and cursors use; NULL for null. PostgreSQL reads it back as the same value. */
export function sortText(value: Expression): Fragment {
  switch (value.form) {
    case 'text':
      return value.sql
    case 'timestamptz':
      return utcText(value)
    case 'timestamp':
    case 'date':
      return unquoted(sql`to_json(${value.sql})`)
    case 'float8':
      return sql`(${value.sql})::double precision::text`
    case 'int':
    case 'bigint':
    case 'numeric':
    case 'bool':
    case 'uuid':
    case 'json':
    case 'jsonb':
    case 'vector':
      return sql`(${value.sql})::text`
  }
}

/**
 * In UTC, without zone. By interval and not by name, which is looked up for each value; and cut out of the quotes, since other ways count characters: 13.7 ms for
 * 10,000 times with `'UTC'` and `rtrim`, 12.1 so.
 */
function utcText(value: Expression): Fragment {
  return unquoted(sql`to_json(${value.sql} AT TIME ZONE INTERVAL '0')`)
}

/** The text of a JSON string that has no escapes. */
function unquoted(json: Fragment): Fragment {
  return sql`split_part(${json}::text, '"', 2)`
}

/** The value as it is ordered: text by code point. */
export function ordered(value: Expression): Fragment {
  return value.form === 'text' ? sql`${value.sql} COLLATE "C"` : value.sql
}

/** A sort text as a parameter, back in the type of the expression. */
export function sortParameter(value: Expression, operand: Parameters<typeof parameter>[0]): Fragment {
  if (value.form === 'timestamptz') return sql`(${parameter(operand, { kind: 'text' }, 'timestamp')} AT TIME ZONE 'UTC')`
  return parameter(operand, { kind: 'text' }, SQL_TYPES[value.form])
}
