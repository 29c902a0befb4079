/**
 * Completes an organization's binding from what its stores hold, and says what does not fit the contract. Pure.
 *
 * A binding names only what does not fit by name: type `WorkflowExecution` is read from `workflow_executions` or `workflow_execution`, field `startedAt` from
 * `started_at`, relation `owner` from `owner_` and the target's key columns, from `owner`, from `owner_id`, or from the only foreign key to the target's table.
 *
 * The binding that comes back is safe to serve whatever was found: a field with an error is unbound (null in output, not usable in input), and a type whose key
 * or `!` field has an error is left out.
 */
import type { ColumnBinding, OrganizationBinding, RelationBinding, TableBinding, TypeBinding } from '../../query/binding.js'
import type { BuiltinScalar, Catalog, EntityType, Field, ToOneField, ValueField, ValueType } from '../../query/catalog.js'
import { pluralOf, snakeCase } from '../../query/name.js'
import { operandSortKey } from '../../query/value.js'
import { quoteName } from '../sql/fragment.js'
import type { ColumnDescription, IndexDescription, StoreDescription, TableDescription } from './describe.js'

export interface BindingInput {
  readonly catalog: Catalog
  readonly organization: string
  /** By type of the contract; what is not here fits by name. */
  readonly configured: ReadonlyMap<string, ConfiguredType>
  /** By name; the first is meant where a binding names none. A store without a description could not be read: its types are left out without a finding. */
  readonly stores: ReadonlyMap<string, { readonly schema: string; readonly description: StoreDescription | null }>
}

export type ConfiguredType =
  | { readonly kind: 'none' }
  | {
      readonly kind: 'table'
      readonly table: { readonly store: string | null; readonly schema: string | null; readonly table: string } | null
      readonly fields: ReadonlyMap<string, ConfiguredField>
    }

export type ConfiguredField =
  | { readonly kind: 'column'; readonly columns: readonly string[]; readonly values: ReadonlyMap<string, string> | null; readonly multiply: string | null }
  | { readonly kind: 'constant'; readonly value: string | number | boolean | null }

export type FindingRule =
  'store' | 'setting' | 'name' | 'table' | 'column' | 'type' | 'nullability' | 'key' | 'relation' | 'index' | 'order' | 'privilege' | 'rowSecurity'

/** Something that does not fit (`error`), or that serves worse than it could (`warning`). For the owner's eyes: it names tables and columns. */
export interface Finding {
  readonly severity: 'error' | 'warning'
  readonly rule: FindingRule
  readonly type: string | null
  readonly field: string | null
  /** `store.schema.table.column`, as far as it concerns one. */
  readonly place: string | null
  readonly problem: string
  /** How to mend it. */
  readonly hint: string
}

export function resolveBinding(input: BindingInput): { readonly binding: OrganizationBinding; readonly findings: readonly Finding[] } {
  const findings: Finding[] = []
  const report: Report = (finding) => findings.push({ type: null, field: null, place: null, ...finding })
  checkNames(input, report)
  const located = new Map([...input.catalog.entities.values()].map((entity) => [entity.name, locate(entity, input, report)]))
  const tables = [...located.values()].filter((place) => place !== 'none' && place !== null)
  const values = new Map(tables.map((place) => [place.entity.name, { place, columns: boundColumns(place, report) }]))
  const types = new Map<string, TypeBinding>()
  for (const [name, place] of located) {
    const bound = values.get(name)
    if (place === 'none') types.set(name, { kind: 'none', type: name })
    else if (bound && isWhole(bound.place.entity, bound.columns)) types.set(name, tableBinding(bound, { values, located, report }))
  }
  const binding = { organization: input.organization, types }
  for (const { place } of values.values()) checkTable(place, { catalog: input.catalog, bound: types.get(place.entity.name), report })
  for (const [store, { description }] of input.stores) if (description) checkStore({ store, description }, { tables, types, report })
  return { binding, findings }
}

type Report = (finding: Pick<Finding, 'severity' | 'rule' | 'problem' | 'hint'> & Partial<Finding>) => void

/** A type of the contract and the table that holds its rows. */
interface Place {
  readonly entity: EntityType
  readonly store: string
  readonly table: TableDescription
  readonly configured: ReadonlyMap<string, ConfiguredField>
}

interface Bound {
  readonly place: Place
  readonly columns: ReadonlyMap<string, ColumnBinding>
}

// --- names -----------------------------------------------------------------------------------------------------------------------------------------------------

function checkNames({ catalog, configured }: BindingInput, report: Report): void {
  for (const [type, settings] of configured) {
    const entity = catalog.entities.get(type)
    if (!entity)
      report({ severity: 'error', rule: 'name', type, problem: `the contract has no type \`${type}\``, hint: 'take its binding out, or mend its name' })
    if (!entity || settings.kind === 'none') continue
    for (const name of settings.fields.keys()) {
      const field = entity.fields.get(name)
      if (!field)
        report({
          severity: 'error',
          rule: 'name',
          type,
          field: name,
          problem: `the contract has no field \`${type}.${name}\``,
          hint: 'take it out of the binding, or mend its name',
        })
      else if (field.kind === 'toMany')
        report({
          severity: 'error',
          rule: 'name',
          type,
          field: name,
          problem: `\`${type}.${name}\` has no columns of its own`,
          hint: `bind \`${field.target}.${field.inverse}\`, the other end of the relation`,
        })
    }
  }
}

/** Null: there is no such table, which is reported unless its store could not be read. */
function locate(entity: EntityType, { configured, stores }: BindingInput, report: Report): Place | 'none' | null {
  const settings = configured.get(entity.name)
  if (settings?.kind === 'none') return 'none'
  const store = settings?.table?.store ?? [...stores.keys()][0] ?? ''
  const { schema: defaultSchema, description } = stores.get(store) ?? { schema: '', description: null }
  if (!stores.has(store)) {
    report({ severity: 'error', rule: 'store', type: entity.name, problem: `there is no store \`${store}\``, hint: 'name a store of the organization' })
    return null
  }
  if (!description) return null
  const schema = settings?.table?.schema ?? defaultSchema
  const names = settings?.table ? [settings.table.table] : tableNames(entity.name)
  const found = description.tables.filter((table) => table.schema === schema && names.includes(table.name))
  const [table] = found
  if (table && found.length === 1) return { entity, store, table, configured: settings?.fields ?? new Map<string, ConfiguredField>() }
  reportTable(entity, { store, schema, names, found, description, report })
  return null
}

interface Search {
  readonly store: string
  readonly schema: string
  readonly names: readonly string[]
  readonly found: readonly TableDescription[]
  readonly description: StoreDescription
  readonly report: Report
}

function reportTable(entity: EntityType, { store, schema, names, found, description, report }: Search): void {
  const listed = names.map((name) => `\`${placeText(store, schema, name)}\``).join(', ')
  if (found.length > 1) {
    report({
      severity: 'error',
      rule: 'table',
      type: entity.name,
      problem: `more than one table fits \`${entity.name}\` by name: ${listed}`,
      hint: 'say which with `table`',
    })
    return
  }
  const elsewhere = description.tables.find((table) => names.some((name) => name.toLowerCase() === table.name.toLowerCase()))
  report({
    severity: 'error',
    rule: 'table',
    type: entity.name,
    problem: `there is no table for \`${entity.name}\`: looked for ${listed}`,
    hint: elsewhere
      ? `bind \`${entity.name}: { table: ${placeText(store, elsewhere.schema, elsewhere.name)} }\``
      : `name the table with \`table\`, or say \`${entity.name}: none\` if the organization holds no such rows`,
  })
}

/** By convention; the type's own name is how some libraries name tables. */
function tableNames(type: string): readonly string[] {
  const snake = snakeCase(type)
  return [...new Set([pluralOf(snake), snake, type])]
}

/** By convention; the field's own name is how some libraries name columns. */
export function columnNamed(field: string, table: TableDescription): ColumnDescription | null {
  return table.columns.get(snakeCase(field)) ?? table.columns.get(field) ?? null
}

/** As it is written in a configuration: parts with a dot or a quote stand in double quotes. */
export function placeText(...parts: readonly string[]): string {
  return parts.map((part) => (/[."]/.test(part) ? quoteName(part) : part)).join('.')
}

function sqlName(table: TableDescription): string {
  return `${quoteName(table.schema)}.${quoteName(table.name)}`
}

// --- values ----------------------------------------------------------------------------------------------------------------------------------------------------

function boundColumns(place: Place, report: Report): ReadonlyMap<string, ColumnBinding> {
  const columns = new Map<string, ColumnBinding>()
  for (const field of place.entity.fields.values()) {
    const column = field.kind === 'value' ? boundColumn(field, place, report) : null
    if (column) columns.set(field.name, column)
  }
  return columns
}

/** Whether the type keeps what it promises: its key and its `!` fields. */
function isWhole(entity: EntityType, columns: ReadonlyMap<string, ColumnBinding>): boolean {
  return [...entity.fields.values()].every((field) => field.kind !== 'value' || !(field.required || entity.key.includes(field.name)) || columns.has(field.name))
}

/** Null: unbound, which is reported. */
function boundColumn(field: ValueField, place: Place, report: Report): ColumnBinding | null {
  const settings = place.configured.get(field.name)
  const isKey = place.entity.key.includes(field.name)
  const refuse = (rule: FindingRule, problem: string, hint: string, column?: string): null => {
    const at = [place.store, place.table.schema, place.table.name, ...(column === undefined ? [] : [column])]
    report({ severity: 'error', rule, type: place.entity.name, field: field.name, place: placeText(...at), problem, hint })
    return null
  }
  if (settings?.kind === 'constant')
    return isKey ? refuse('key', 'a key cannot be a constant', 'bind a column that tells rows apart') : boundConstant(field, settings.value, refuse)
  if (settings && settings.columns.length !== 1) return refuse('column', 'a value has one column', 'write `column`, not `columns`')
  const name = settings?.columns[0]
  const column = name === undefined ? columnNamed(field.name, place.table) : (place.table.columns.get(name) ?? null)
  if (!column) return refuse('column', `there is no column \`${name ?? snakeCase(field.name)}\``, columnHint(field))
  const bound = { column, values: settings?.values ?? null, multiply: settings?.multiply ?? null }
  if (isKey && (bound.values || bound.multiply !== null)) return refuse('key', 'a key is its column as it is', 'take `values` and `multiply` out', column.name)
  const misfit = misfitOf(field, bound)
  if (misfit) return refuse('type', misfit.problem, misfit.hint, column.name)
  if (field.required && column.nullable && isKept(place.table)) {
    const hint = `\`ALTER TABLE ${sqlName(place.table)} ALTER COLUMN ${quoteName(column.name)} SET NOT NULL\`, or take the \`!\` out of the contract`
    return refuse('nullability', `\`${place.entity.name}.${field.name}\` has \`!\`, but the column can hold NULL`, hint, column.name)
  }
  return {
    kind: 'column',
    column: column.name,
    native: column.native,
    array: column.array,
    nullable: column.nullable,
    values: valuesOf(field, bound),
    multiply: bound.multiply,
  }
}

/** What the database itself keeps promises about; a view's columns say nothing of NULL. */
function isKept(table: TableDescription): boolean {
  return table.kind === 'table' || table.kind === 'partitioned' || table.kind === 'foreign'
}

function columnHint(field: ValueField): string {
  return field.required ? 'name the column that holds it in the binding' : 'name the column that holds it in the binding, or say `{ constant: null }`'
}

type Refuse = (rule: FindingRule, problem: string, hint: string, column?: string) => null

function boundConstant(field: ValueField, value: string | number | boolean | null, refuse: Refuse): ColumnBinding | null {
  if (value === null && field.required)
    return refuse('nullability', `\`${field.name}\` has \`!\`, and the constant is null`, 'give another constant or a column')
  if (value !== null && field.list) return refuse('type', 'a list has no constant but null', 'bind a column')
  if (value !== null && !isConstantOf(field.type, value)) {
    return refuse(
      'type',
      `the constant is no value of \`${field.type.name}\` in its plain form`,
      'write it as the API prints it, in quotes where it is a string there',
    )
  }
  return { kind: 'constant', value }
}

function isConstantOf(type: ValueType, value: string | number | boolean): boolean {
  if (operandSortKey(type, null, value) === null) return false
  return type.name !== 'JSON' || isJson(value)
}

function isJson(value: string | number | boolean): boolean {
  try {
    JSON.parse(String(value))
    return true
  } catch {
    return false
  }
}

// --- types of values -------------------------------------------------------------------------------------------------------------------------------------------

interface ColumnUse {
  readonly column: ColumnDescription
  readonly values: ReadonlyMap<string, string> | null
  readonly multiply: string | null
}

const INTEGERS: ReadonlySet<string> = new Set(['smallint', 'integer', 'bigint'])
const TEXTS: ReadonlySet<string> = new Set(['text', 'character varying', 'character', 'name'])

/** Where the extension is installed decides its schema. */
function isText(column: ColumnDescription): boolean {
  return TEXTS.has(column.native) || /(^|\.)citext$/.test(column.native)
}

/** What each scalar is read from, in words; `fits` says the same. */
const READ_FROM: Readonly<Record<BuiltinScalar, string>> = {
  ID: 'text, integers, uuid',
  String: 'text, character varying, character, citext, enum types',
  Int: 'smallint, integer',
  Float: 'real, double precision',
  Boolean: 'boolean',
  BigInt: 'smallint, integer, bigint, numeric without a fraction',
  Decimal: 'numeric, smallint, integer, bigint',
  DateTime: 'timestamp with time zone',
  LocalDateTime: 'timestamp without time zone',
  Date: 'date',
  UUID: 'uuid',
  JSON: 'json, jsonb',
}

function fits(scalar: BuiltinScalar, column: ColumnDescription): boolean {
  const { native } = column
  switch (scalar) {
    case 'ID':
      return isText(column) || INTEGERS.has(native) || native === 'uuid'
    case 'String':
      return isText(column) || column.labels !== null
    case 'Int':
      return native === 'smallint' || native === 'integer'
    case 'Float':
      return native === 'real' || native === 'double precision'
    case 'Boolean':
      return native === 'boolean'
    case 'BigInt':
      return INTEGERS.has(native) || /^numeric\(\d+,0\)(\[\])?$/.test(column.declared)
    case 'Decimal':
      return native === 'numeric' || INTEGERS.has(native)
    case 'DateTime':
      return native === 'timestamp with time zone'
    case 'LocalDateTime':
      return native === 'timestamp without time zone'
    case 'Date':
      return native === 'date'
    case 'UUID':
      return native === 'uuid'
    case 'JSON':
      return native === 'json' || native === 'jsonb'
  }
}

/** The scalar that holds all values of the column; null where there is none. Enum types are `String` here. */
export function naturalScalar(column: ColumnDescription): BuiltinScalar | null {
  const inOrder: readonly BuiltinScalar[] = ['Int', 'BigInt', 'Decimal', 'Float', 'Boolean', 'DateTime', 'LocalDateTime', 'Date', 'UUID', 'JSON', 'String']
  return inOrder.find((scalar) => fits(scalar, column)) ?? null
}

interface Misfit {
  readonly problem: string
  readonly hint: string
}

function misfitOf(field: ValueField, use: ColumnUse): Misfit | null {
  const { column, values, multiply } = use
  const { type } = field
  if (field.list !== column.array) {
    return {
      problem: `\`${field.name}\` is ${field.list ? 'a list' : 'no list'}, the column is \`${column.declared}\``,
      hint: field.list ? 'bind an array column' : 'bind a column that is no array',
    }
  }
  if (field.list && (values || multiply !== null)) return { problem: '`values` and `multiply` are not for lists', hint: 'convert the elements in a view' }
  if (multiply !== null) {
    const isDecimal = type.name === 'Decimal' && fits('Decimal', column)
    return isDecimal ? null : { problem: '`multiply` makes a Decimal of a number', hint: 'use it for a field of type `Decimal` over numeric or an integer' }
  }
  if (type.kind === 'enum') return enumMisfit(field, type, use)
  if (values) return { problem: '`values` is for enums', hint: 'take it out, or convert in a view' }
  if (fits(type.name, column)) return null
  const natural = naturalScalar(column)
  return {
    problem: `\`${type.name}\` cannot be read from \`${column.declared}\``,
    hint: `it is read from ${READ_FROM[type.name]}; bind another column or a view that converts it${natural ? `, or say \`${natural}\` in the contract` : ''}`,
  }
}

function enumMisfit(field: ValueField, type: Extract<ValueType, { kind: 'enum' }>, { column, values }: ColumnUse): Misfit | null {
  if (!values) {
    if (!isText(column) && column.labels === null) {
      return {
        problem: `\`${type.name}\` cannot be read from \`${column.declared}\` by name`,
        hint: `write \`{ column: ${column.name}, values: { stored: NAME } }\``,
      }
    }
    const strange = (column.labels ?? []).filter((label) => !type.values.includes(label))
    const hint = `map ${listed(strange)} with \`values\`, or add ${strange.length === 1 ? 'it' : 'them'} to \`${type.name}\``
    return strange.length > 0 && (field.required || field.list)
      ? { problem: `the column can hold ${listed(strange)}, which \`${type.name}\` does not have`, hint }
      : null
  }
  if (!isText(column) && column.labels === null && !INTEGERS.has(column.native)) {
    return { problem: `\`values\` cannot be read from \`${column.declared}\``, hint: 'bind a column of text, an enum type or integers' }
  }
  const unknown = [...values.values()].filter((name) => !type.values.includes(name))
  if (unknown.length > 0) return { problem: `\`${type.name}\` does not have ${listed(unknown)}`, hint: `its values are ${listed(type.values)}` }
  const impossible = [...values.keys()].filter((stored) => !canHold(column, stored))
  if (impossible.length > 0)
    return { problem: `\`${column.declared}\` cannot hold ${listed(impossible)}`, hint: 'write the stored values as the database prints them' }
  const left = (column.labels ?? []).filter((label) => !values.has(label))
  return field.required && left.length > 0
    ? { problem: `\`values\` leaves out ${listed(left)}, and the field has \`!\``, hint: 'give each of them a name' }
    : null
}

function canHold(column: ColumnDescription, stored: string): boolean {
  if (column.labels) return column.labels.includes(stored)
  if (isText(column)) return !stored.includes('\0')
  const bits = { smallint: 16, integer: 32, bigint: 64 }[column.native] ?? 0
  return /^(0|-?[1-9]\d{0,18})$/.test(stored) && BigInt.asIntN(bits, BigInt(stored)) === BigInt(stored)
}

/** Labels of an enum type that the contract does not have read as null, as stored values do that `values` does not list. */
function valuesOf(field: ValueField, { column, values }: ColumnUse): ReadonlyMap<string, string> | null {
  const { type } = field
  if (values || type.kind !== 'enum' || !column.labels) return values
  const known = column.labels.filter((label) => type.values.includes(label))
  return known.length === column.labels.length ? null : new Map(known.map((label) => [label, label]))
}

function listed(names: readonly string[]): string {
  return names.map((name) => `\`${name}\``).join(', ')
}

// --- relations -------------------------------------------------------------------------------------------------------------------------------------------------

interface Others {
  readonly values: ReadonlyMap<string, Bound>
  readonly located: ReadonlyMap<string, Place | 'none' | null>
  readonly report: Report
}

function tableBinding({ place, columns }: Bound, others: Others): TableBinding {
  const relations = new Map<string, RelationBinding>()
  for (const field of place.entity.fields.values()) {
    const relation = field.kind === 'toOne' ? boundRelation(field, place, others) : null
    if (relation) relations.set(field.name, relation)
  }
  return { kind: 'table', type: place.entity.name, store: place.store, schema: place.table.schema, table: place.table.name, columns, relations }
}

/** Null: unbound. A relation to a type that the organization does not hold leads nowhere, and needs no columns. */
function boundRelation(field: ToOneField, place: Place, { values, located, report }: Others): RelationBinding | null {
  const settings = place.configured.get(field.name)
  const refuse = (rule: FindingRule, problem: string, hint: string): null => {
    const at = placeText(place.store, place.table.schema, place.table.name)
    report({ severity: 'error', rule, type: place.entity.name, field: field.name, place: at, problem, hint })
    return null
  }
  if (settings?.kind === 'constant') return settings.value === null ? null : refuse('relation', 'a relation has no constant but null', 'bind its columns')
  if (located.get(field.target) === 'none') return { columns: [] }
  const target = values.get(field.target)
  const key = target && keyColumns(target)
  if (!target || !key) return null // the target's own findings say why
  if (target.place.store !== place.store)
    return refuse('relation', `\`${field.target}\` is in another store`, 'bind both types to one store, or say `{ constant: null }`')
  if (settings && (settings.values || settings.multiply !== null)) return refuse('relation', 'a relation has columns only', 'take `values` and `multiply` out')
  if (!settings)
    return (
      relationByName(field, { place, target, key }) ??
      refuse('relation', `no column of \`${place.table.name}\` leads to \`${field.target}\` by name`, relationHint(field, key))
    )
  if (settings.columns.length !== key.length) return refuse('relation', `the key of \`${field.target}\` has ${key.length} columns`, relationHint(field, key))
  const columns = settings.columns.map((name) => place.table.columns.get(name))
  const missing = settings.columns.find((_, index) => columns[index] === undefined)
  if (missing !== undefined) return refuse('column', `there is no column \`${missing}\``, relationHint(field, key))
  return (
    relationOver(columns, key) ??
    refuse(
      'type',
      `the columns are not of the types of the key of \`${field.target}\` (${key.map(({ declared }) => declared).join(', ')})`,
      'bind columns that are compared by the same rules',
    )
  )
}

function relationHint(field: ToOneField, key: readonly ColumnDescription[]): string {
  const columns = key.length === 1 ? 'the column that holds' : `the ${key.length} columns that hold`
  return `name ${columns} the key of \`${field.target}\` in the binding, or say \`{ constant: null }\``
}

/** The columns of the key, in its order; null where one is not bound to a column. */
function keyColumns({ place, columns }: Bound): readonly ColumnDescription[] | null {
  const key = place.entity.key.flatMap((name) => {
    const bound = columns.get(name)
    return (bound?.kind === 'column' && place.table.columns.get(bound.column)) || []
  })
  return key.length === place.entity.key.length ? key : null
}

function relationByName(field: ToOneField, { place, target, key }: { place: Place; target: Bound; key: readonly ColumnDescription[] }): RelationBinding | null {
  const stem = snakeCase(field.name)
  const single = key.length === 1 ? [[stem], [field.name], [`${stem}_id`]] : []
  const candidates = [key.map((column) => `${stem}_${column.name}`), ...single, ...foreignKeyColumns(place, target.place, key)]
  for (const names of candidates) {
    const relation = relationOver(
      names.map((name) => place.table.columns.get(name)),
      key,
    )
    if (relation) return relation
  }
  return null
}

/** The only foreign key that refers to the target's key; none where there are several. */
function foreignKeyColumns(place: Place, target: Place, key: readonly ColumnDescription[]): readonly (readonly string[])[] {
  const keys = place.table.foreignKeys.filter(({ schema, table }) => schema === target.table.schema && table === target.table.name)
  const [only] = keys
  if (!only || keys.length > 1 || only.columns.length !== key.length) return []
  const columns = key.flatMap(({ name }) => only.columns[only.targetColumns.indexOf(name)] ?? [])
  return columns.length === key.length ? [columns] : []
}

function relationOver(columns: readonly (ColumnDescription | undefined)[], key: readonly ColumnDescription[]): RelationBinding | null {
  const found = columns.filter((column) => column !== undefined)
  const comparable = found.length === key.length && found.every((column, index) => isComparable(column, key[index]))
  return comparable ? { columns: found.map(({ name, native, nullable }) => ({ column: name, native, nullable })) } : null
}

function isComparable(column: ColumnDescription, key: ColumnDescription | undefined): boolean {
  if (!key || column.array) return false
  return column.native === key.native || (INTEGERS.has(column.native) && INTEGERS.has(key.native)) || (isVarying(column) && isVarying(key))
}

/** Texts that are compared character by character; `character` drops blanks, citext folds letters. */
function isVarying(column: ColumnDescription): boolean {
  return column.native === 'text' || column.native === 'character varying'
}

// --- keys, indexes, orders -------------------------------------------------------------------------------------------------------------------------------------

interface TableCheck {
  readonly catalog: Catalog
  /** Undefined: the type is left out, so only what is bound matters. */
  readonly bound: TypeBinding | undefined
  readonly report: Report
}

function checkTable(place: Place, { catalog, bound, report }: TableCheck): void {
  if (bound?.kind !== 'table') return
  const at = placeText(place.store, place.table.schema, place.table.name)
  const say = (severity: Finding['severity'], rule: FindingRule, field: string | null, problem: string, hint: string): void =>
    report({ severity, rule, type: place.entity.name, field, place: at, problem, hint })
  if (!isIndexed(place.table)) {
    say(
      'warning',
      'key',
      null,
      `\`${place.table.name}\` is ${KIND_WORDS[place.table.kind]}: nothing says that its key is unique, that \`!\` holds, or which index serves`,
      'be sure of it, or bind a table',
    )
    return
  }
  checkKey(place, bound, say)
  checkRelations(place, { catalog, bound, say })
  checkOrders(place, bound, say)
}

type Say = (severity: Finding['severity'], rule: FindingRule, field: string | null, problem: string, hint: string) => void

const KIND_WORDS = {
  table: 'a table',
  partitioned: 'a partitioned table',
  view: 'a view',
  materializedView: 'a materialized view',
  foreign: 'a foreign table',
} as const

function isIndexed(table: TableDescription): boolean {
  return table.kind === 'table' || table.kind === 'partitioned' || table.kind === 'materializedView'
}

function columnName(bound: TableBinding, field: string): readonly string[] {
  const column = bound.columns.get(field)
  return column?.kind === 'column' ? [column.column] : []
}

function checkKey({ entity, table }: Place, bound: TableBinding, say: Say): void {
  const columns = entity.key.flatMap((field) => columnName(bound, field))
  const isUnique = table.keys.some((key) => key.columns.every((column) => columns.includes(column)))
  const quoted = columns.map(quoteName).join(', ')
  if (!isUnique) {
    say(
      'error',
      'key',
      entity.key[0] ?? null,
      `no unique index says that ${listed(columns)} identifies a row`,
      `\`CREATE UNIQUE INDEX ON ${sqlName(table)} (${quoted})\`, or bind the columns of the primary key`,
    )
  }
  const [first] = columns.flatMap((name) => table.columns.get(name) ?? [])
  if (isUnique && first && isText(first) && !servesOrder(table, first)) {
    say(
      'warning',
      'order',
      entity.key[0] ?? null,
      `rows are in the order of the key by code point, and no index on \`${first.name}\` is in that order`,
      orderHint(table, first),
    )
  }
}

function checkRelations({ entity, table }: Place, { catalog, bound, say }: { catalog: Catalog; bound: TableBinding; say: Say }): void {
  for (const [name, { columns }] of bound.relations) {
    const names = columns.map(({ column }) => column)
    if (names.length === 0 || table.indexes.some((index) => leadsWith(index, names))) continue
    const hasInverse = [...(catalog.entities.get(targetOf(entity.fields.get(name)))?.fields.values() ?? [])].some(
      (field) => field.kind === 'toMany' && field.target === entity.name && field.inverse === name,
    )
    const problem = `no index serves the relation \`${name}\` over ${listed(names)}`
    say(hasInverse ? 'error' : 'warning', 'index', name, problem, `\`CREATE INDEX ON ${sqlName(table)} (${names.map(quoteName).join(', ')})\``)
  }
}

function targetOf(field: Field | undefined): string {
  return field?.kind === 'toOne' ? field.target : ''
}

/** Equality on all of these columns finds rows through the index. */
function leadsWith(index: IndexDescription, columns: readonly string[]): boolean {
  const leading = index.columns.slice(0, columns.length)
  const covers = columns.every((column) => leading.some((part) => part.column === column && part.plain))
  return covers && !index.partial && (index.method === 'btree' || (index.method === 'hash' && index.columns.length === 1))
}

/** The orders that callers will ask for: times and names that every row has, and the time of a series. */
function checkOrders({ entity, table }: Place, bound: TableBinding, say: Say): void {
  for (const field of entity.fields.values()) {
    if (field.kind !== 'value' || entity.key.includes(field.name) || !isLikelyOrder(field, entity)) continue
    const column = table.columns.get(columnName(bound, field.name)[0] ?? '')
    if (!column || servesOrder(table, column)) continue
    const other = isText(column) && table.indexes.some(({ columns }) => columns[0]?.column === column.name)
    const problem = other
      ? `the index on \`${column.name}\` is not in code point order, which is the order of texts here`
      : `no index serves an order by \`${field.name}\``
    say('warning', 'order', field.name, problem, orderHint(table, column))
  }
}

function isLikelyOrder(field: ValueField, entity: EntityType): boolean {
  const isOrderly = !field.list && field.type.kind === 'builtin' && ['DateTime', 'LocalDateTime', 'Date', 'String'].includes(field.type.name)
  return isOrderly && (field.required || field.name === entity.seriesTime)
}

function servesOrder(table: TableDescription, column: ColumnDescription): boolean {
  return table.indexes.some(({ method, partial, columns: [first] }) => {
    const isSame = method === 'btree' && !partial && first?.column === column.name && first.plain
    return isSame && (!isText(column) || (first.collation === 'C' && isVarying(column)))
  })
}

function orderHint(table: TableDescription, column: ColumnDescription): string {
  if (isText(column) && !isVarying(column)) return 'make the column one of type text, with an index in COLLATE "C", if callers order by it'
  return `\`CREATE INDEX ON ${sqlName(table)} (${quoteName(column.name)}${isText(column) ? ' COLLATE "C"' : ''})\` if callers order by it`
}

// --- the store and its role ------------------------------------------------------------------------------------------------------------------------------------

interface StoreCheck {
  readonly tables: readonly Place[]
  readonly types: ReadonlyMap<string, TypeBinding>
  readonly report: Report
}

const VERSION_MIN = 140_000

function checkStore({ store, description }: { store: string; description: StoreDescription }, { tables, types, report }: StoreCheck): void {
  const say = (severity: Finding['severity'], rule: FindingRule, problem: string, hint: string): void => report({ severity, rule, place: store, problem, hint })
  const own = tables.filter((place) => place.store === store)
  const role = quoteName(description.role.name)
  if (description.version < VERSION_MIN) say('error', 'store', 'the server is older than PostgreSQL 14', 'upgrade it')
  if (description.encoding !== 'UTF8') say('error', 'store', `the database is encoded in ${description.encoding}`, 'move the data to a database in UTF8')
  if (description.loggedParameterBytes.statements !== 0 || description.loggedParameterBytes.errors !== 0) {
    const hint = `as a superuser: \`ALTER ROLE ${role} SET log_parameter_max_length = 0; ALTER ROLE ${role} SET log_parameter_max_length_on_error = 0\``
    say('warning', 'setting', "the server may log the parameters of the gateway's statements, which hold values and keys of pseudonyms", hint)
  }
  checkPrivileges(own, { types, role, report })
  checkRowSecurity(own, { description, say })
}

function checkPrivileges(own: readonly Place[], { types, role, report }: { types: StoreCheck['types']; role: string; report: Report }): void {
  for (const { entity, store, table } of own) {
    const bound = types.get(entity.name)
    const used = bound?.kind === 'table' ? usedColumns(bound) : []
    const hidden = used.filter((name) => table.columns.get(name)?.readable === false)
    if (!table.reachable || hidden.length > 0) {
      const schema = table.reachable ? '' : `GRANT USAGE ON SCHEMA ${quoteName(table.schema)} TO ${role}; `
      report({
        severity: 'error',
        rule: 'privilege',
        type: entity.name,
        place: placeText(store, table.schema, table.name),
        problem: table.reachable ? `the gateway's role may not read ${listed(hidden)}` : `the gateway's role may not use the schema \`${table.schema}\``,
        hint: `\`${schema}GRANT SELECT (${used.map(quoteName).join(', ')}) ON ${sqlName(table)} TO ${role}\``,
      })
    }
  }
}

function usedColumns(bound: TableBinding): readonly string[] {
  const values = [...bound.columns.values()].flatMap((column) => (column.kind === 'column' ? [column.column] : []))
  const relations = [...bound.relations.values()].flatMap(({ columns }) => columns.map(({ column }) => column))
  return [...new Set([...values, ...relations])]
}

/** Row-level security is the second wall; the first one stands without it, so these are warnings. */
function checkRowSecurity(
  own: readonly Place[],
  { description, say }: { description: StoreDescription; say: (severity: Finding['severity'], rule: FindingRule, problem: string, hint: string) => void },
): void {
  const tables = [...new Set(own.map(({ table }) => table))]
  const named = (which: readonly TableDescription[]) => listed(which.map(({ schema, name }) => placeText(schema, name)))
  if (description.role.bypassesRowSecurity) {
    const what = description.role.superuser ? 'is a superuser' : 'has BYPASSRLS'
    say(
      'warning',
      'rowSecurity',
      `the gateway's role ${what}, so row-level security does not hold for it`,
      'let the gateway connect as a role with no rights but SELECT',
    )
  }
  const open = tables.filter(({ kind, rowSecurity }) => (kind === 'table' || kind === 'partitioned') && !rowSecurity.enabled)
  if (open.length > 0)
    say('warning', 'rowSecurity', `row-level security is off for ${named(open)}`, '`concordat rls render` writes the policies; apply them as the owner')
  const owned = tables.filter((table) => table.owned && table.rowSecurity.enabled && !table.rowSecurity.forced)
  if (owned.length > 0 && !description.role.bypassesRowSecurity) {
    say(
      'warning',
      'rowSecurity',
      `the gateway's role owns ${named(owned)}, so row-level security does not hold for it`,
      'connect as a role that owns nothing, or `ALTER TABLE … FORCE ROW LEVEL SECURITY`',
    )
  }
  const views = tables.filter(({ kind, invoker }) => kind === 'view' && !invoker)
  if (views.length > 0) {
    say(
      'warning',
      'rowSecurity',
      `the policies of the tables below do not hold for the caller of ${named(views)}`,
      'from PostgreSQL 15 on: `ALTER VIEW … SET (security_invoker = true)`',
    )
  }
}
