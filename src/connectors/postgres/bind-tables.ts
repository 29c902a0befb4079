/**
 * Completes an organization's binding from what its stores hold, and says what does not fit the contract. Pure.
 *
 * A binding names only what does not fit by name: type `WorkflowExecution` is read from `workflow_executions` or `workflow_execution`, field `startedAt` from
 * `started_at`, relation `owner` from `owner_` and the target's key columns, from `owner`, from `owner_id`, or from the only foreign key to the target's table.
 *
 * The binding that comes back is safe to serve whatever was found: a field with an error is unbound (null in output, not usable in input), and a type whose key
 * or `!` field has an error is left out, with every relation to it. A key that nothing says is unique is such an error: two rows of one key would make pages skip
 * rows, and a relation to one fail.
 */
import type { ColumnBinding, OrganizationBinding, PartBinding, RelationBinding, TableBinding, TypeBinding } from '../../query/binding.js'
import type { Catalog, EntityType, ToOneField, ValueField, ValueType } from '../../query/catalog.js'
import { pluralOf, snakeCase } from '../../query/name.js'
import { operandSortKey } from '../../query/value.js'
import type { ConfiguredField, ConfiguredType } from '../configured.js'
import { quoteName } from '../sql/fragment.js'
import { isComparable, misfitOf, nearMetrics, valuesOf } from './column-fit.js'
import type { ColumnDescription, StoreDescription, TableDescription } from './describe.js'
import type { Finding, FindingRule, Place, Report } from './finding.js'
import { isIndexable, isUnique, KIND_WORDS, listed, placeText, sqlName } from './finding.js'
import { checkStore, checkTable } from './table-findings.js'

export interface BindingInput {
  readonly catalog: Catalog
  readonly organization: string
  /** By type of the contract; what is not here fits by name. */
  readonly configured: ReadonlyMap<string, ConfiguredType>
  /** By name; the first is meant where a binding names none. A store without a description could not be read: its types are left out without a finding. */
  readonly stores: ReadonlyMap<string, { readonly schema: string; readonly description: StoreDescription | null }>
}

export function resolveBinding(input: BindingInput): { readonly binding: OrganizationBinding; readonly findings: readonly Finding[] } {
  const findings: Finding[] = []
  const report: Report = (finding) => findings.push({ type: null, field: null, place: null, ...finding })
  checkNames(input, report)
  const located = new Map([...input.catalog.entities.values()].map((entity) => [entity.name, locate(entity, input, report)]))
  const tables = [...located.values()].filter((place) => place !== 'none' && place !== null)
  const values = new Map(tables.map((place) => [place.entity.name, { place, columns: boundColumns(place, report) }]))
  const served = new Map([...values].filter(([, bound]) => isWhole(bound) && hasUniqueKey(bound, report)))
  const types = new Map<string, TypeBinding>()
  for (const [name, place] of located) {
    const bound = served.get(name)
    if (place === 'none') types.set(name, { kind: 'none', type: name })
    else if (bound) types.set(name, tableBinding(bound, { served, located, stores: input.stores, report }))
  }
  const binding = { organization: input.organization, types }
  for (const { place } of values.values()) {
    const bypassesRowSecurity = input.stores.get(place.store)?.description?.role.bypassesRowSecurity ?? false
    checkTable(place, { catalog: input.catalog, bound: types.get(place.entity.name), bypassesRowSecurity, report })
  }
  for (const [store, { description }] of input.stores) if (description) checkStore({ store, description }, { tables, types, report })
  return { binding, findings }
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
  if (table && found.length === 1) {
    return { entity, store, table, configured: settings?.fields ?? new Map<string, ConfiguredField>(), uniqueKey: settings?.uniqueKey ?? false }
  }
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
function isWhole({ place: { entity }, columns }: Bound): boolean {
  return [...entity.fields.values()].every((field) => field.kind !== 'value' || !(field.required || entity.key.includes(field.name)) || columns.has(field.name))
}

/** Whether a unique index, or else the owner, says that the key tells rows apart; reported where neither does. */
function hasUniqueKey(bound: Bound, report: Report): boolean {
  const { entity, store, table, uniqueKey } = bound.place
  const columns = (keyColumns(bound) ?? []).map(({ name }) => name)
  if (isUnique(table, columns) || uniqueKey) return true
  const declare = `say \`${entity.name}: { uniqueKey: true }\` in the binding if it is sure that no two rows share it`
  report({
    severity: 'error',
    rule: 'key',
    type: entity.name,
    field: entity.key[0] ?? null,
    place: placeText(store, table.schema, table.name),
    problem: isIndexable(table)
      ? `no unique index says that ${listed(columns)} identifies a row`
      : `\`${table.name}\` is ${KIND_WORDS[table.kind]}: nothing says that ${listed(columns)} identifies a row`,
    hint: isIndexable(table)
      ? `\`CREATE UNIQUE INDEX ON ${sqlName(table)} (${columns.map(quoteName).join(', ')})\`, or bind the columns of the primary key; or ${declare}`
      : `bind a table, or ${declare}`,
  })
  return false
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
  if (settings?.kind === 'column' && settings.part)
    return isKey || field.required ? refuse('key', 'a key or `!` field is a column of its own table', 'bind a column of the type’s table') : null
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
    ...(field.vector && { nearBy: nearMetrics(column.name, place.table) }),
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

// --- relations -------------------------------------------------------------------------------------------------------------------------------------------------

interface Others {
  readonly stores: BindingInput['stores']
  /** Types that are not left out. */
  readonly served: ReadonlyMap<string, Bound>
  readonly located: ReadonlyMap<string, Place | 'none' | null>
  readonly report: Report
}

function tableBinding({ place, columns }: Bound, others: Others): TableBinding {
  const relations = new Map<string, RelationBinding>()
  for (const field of place.entity.fields.values()) {
    const relation = field.kind === 'toOne' ? boundRelation(field, place, others) : null
    if (relation) relations.set(field.name, relation)
  }
  const parts = new Map<string, PartBinding>()
  for (const field of place.entity.fields.values()) {
    const part = field.kind === 'value' ? boundPart(field, { place, columns }, others) : null
    if (part) parts.set(field.name, part)
  }
  const { schema, name: table } = place.table
  return { kind: 'table', type: place.entity.name, store: place.store, schema, table, columns, relations, ...(parts.size > 0 && { parts }) }
}

/** A value that lies in another table, which is bound as if it were a type of the key and the value. Null: it does not, or does not fit, which is reported. */
function boundPart(field: ValueField, bound: Bound, { stores, report }: Others): PartBinding | null {
  const { place } = bound
  const settings = place.configured.get(field.name)
  if (settings?.kind !== 'column' || !settings.part) return null
  const refuse = (rule: FindingRule, problem: string, hint: string): null => {
    report({ severity: 'error', rule, type: place.entity.name, field: field.name, problem, hint })
    return null
  }
  const key = keyColumns(bound)
  if (!key || !canTravel(bound, key)) return refuse('key', `the key of \`${place.entity.name}\` has no text that is the same in both tables`, TRAVELLING)
  if ('bound' in settings.part) return settings.part.bound
  const columns = settings.part.key.map((column): [string, ConfiguredField] => ['', { kind: 'column', columns: [column], values: null, multiply: null }])
  if (columns.length !== key.length) return refuse('key', `the key of \`${place.entity.name}\` has ${key.length} columns`, 'name as many in `key`')
  const configured = new Map<string, ConfiguredField>([
    ...place.entity.key.map((name, index): [string, ConfiguredField] => [name, columns[index]?.[1] ?? { kind: 'constant', value: null }]),
    [field.name, { kind: 'column', columns: settings.columns, values: settings.values, multiply: settings.multiply }],
  ])
  const names = [...place.entity.key, field.name]
  const entity: EntityType = { ...place.entity, fields: new Map([...place.entity.fields].filter(([name]) => names.includes(name))) }
  const catalog: Catalog = { entities: new Map([[entity.name, entity]]), enums: new Map() }
  const types = new Map<string, ConfiguredType>([[entity.name, { kind: 'table', table: settings.part.table, fields: configured, uniqueKey: place.uniqueKey }]])
  const at = locate(entity, { catalog, organization: '', configured: types, stores }, report)
  if (at === 'none' || at === null) return null
  const part = { place: at, columns: boundColumns(at, report) }
  const held = keyColumns(part)
  const column = part.columns.get(field.name)
  if (!column || !held || !hasUniqueKey(part, report)) return null
  if (!canTravel(part, held)) return refuse('key', `the key of \`${place.entity.name}\` has no text that is the same in both tables`, TRAVELLING)
  return {
    store: at.store,
    schema: at.table.schema,
    table: at.table.name,
    key: held.map(({ name, native, nullable }) => ({ column: name, native, nullable })),
    column,
  }
}

/** Null: unbound. A relation to a type that the organization does not hold leads nowhere, and needs no columns. */
function boundRelation(field: ToOneField, place: Place, { served, located, report }: Others): RelationBinding | null {
  const settings = place.configured.get(field.name)
  const refuse = (rule: FindingRule, problem: string, hint: string): null => {
    const at = placeText(place.store, place.table.schema, place.table.name)
    report({ severity: 'error', rule, type: place.entity.name, field: field.name, place: at, problem, hint })
    return null
  }
  if (settings?.kind === 'constant') return settings.value === null ? null : refuse('relation', 'a relation has no constant but null', 'bind its columns')
  if (located.get(field.target) === 'none') return { columns: [] }
  const target = served.get(field.target)
  const key = target && keyColumns(target)
  if (!target || !key) return null // the target's own findings say why
  if (target.place.store !== place.store && !canTravel(target, key))
    return refuse('relation', `the key of \`${field.target}\`, which is in another store, has no text that is the same in both`, TRAVELLING)
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

/** Keys of rows in other stores are compared by their texts: those of integers, uuids and texts are the values' own. */
function canTravel({ place, columns }: Bound, key: readonly ColumnDescription[]): boolean {
  const isOwn = place.entity.key.every((name) => {
    const [field, bound] = [place.entity.fields.get(name), columns.get(name)]
    return field?.kind === 'value' && TRAVELLING_TYPES.has(field.type.name) && bound?.kind === 'column' && !bound.values && bound.multiply === null
  })
  return isOwn && key.every(({ native, array }) => !array && TRAVELLING_NATIVES.has(native))
}

const TRAVELLING = 'bind both types to one store, say `{ constant: null }`, or take a key of integers, uuids or texts'
const TRAVELLING_TYPES: ReadonlySet<string> = new Set(['ID', 'String', 'Int', 'BigInt', 'UUID'])
const TRAVELLING_NATIVES: ReadonlySet<string> = new Set(['smallint', 'integer', 'bigint', 'uuid', 'text', 'character varying'])

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
  if (place.store !== target.store) return []
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
