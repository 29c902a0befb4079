/** What is missing around a binding that fits: keys, indexes, privileges, row-level security. */
import type { TableBinding, TypeBinding } from '../../query/binding.js'
import type { Catalog, EntityType, Field, ValueField } from '../../query/catalog.js'
import { quoteName } from '../sql/fragment.js'
import { isText, isVarying } from './column-fit.js'
import type { ColumnDescription, IndexDescription, StoreDescription, TableDescription } from './describe.js'
import type { Finding, FindingRule, Place, Report } from './finding.js'
import { isIndexable, isUnique, KIND_WORDS, listed, placeText, sqlName } from './finding.js'

interface TableCheck {
  readonly catalog: Catalog
  /** Undefined: the type is left out, so only what is bound matters. */
  readonly bound: TypeBinding | undefined
  /** Of the gateway's role in the store. */
  readonly bypassesRowSecurity: boolean
  readonly report: Report
}

export function checkTable(place: Place, { catalog, bound, bypassesRowSecurity, report }: TableCheck): void {
  if (bound?.kind !== 'table') return
  const at = placeText(place.store, place.table.schema, place.table.name)
  const say = (severity: Finding['severity'], rule: FindingRule, field: string | null, problem: string, hint: string): void =>
    report({ severity, rule, type: place.entity.name, field, place: at, problem, hint })
  checkKey(place, bound, say)
  checkCollations(place, bound, say)
  if (!isIndexable(place.table)) return
  checkRelations(place, { catalog, bound, say })
  checkOrders(place, bound, say)
  checkLeaks(place, { bound, bypassesRowSecurity, say })
}

type Say = (severity: Finding['severity'], rule: FindingRule, field: string | null, problem: string, hint: string) => void

function columnName(bound: TableBinding, field: string): readonly string[] {
  const column = bound.columns.get(field)
  return column?.kind === 'column' ? [column.column] : []
}

function checkKey({ entity, table }: Place, bound: TableBinding, say: Say): void {
  const columns = entity.key.flatMap((field) => columnName(bound, field))
  const field = entity.key[0] ?? null
  if (!isUnique(table, columns)) {
    const more = isIndexable(table) ? '' : ', that `!` holds, or which index serves'
    const problem = `\`${table.name}\` is ${KIND_WORDS[table.kind]}: nothing but the binding says that its key is unique${more}`
    say('warning', 'key', field, problem, isIndexable(table) ? 'be sure of it, or add a unique index' : 'be sure of it, or bind a table')
  }
  const [first] = columns.flatMap((name) => table.columns.get(name) ?? [])
  if (isIndexable(table) && first && isText(first) && !servesOrder(table, first)) {
    say(
      'warning',
      'order',
      field,
      `rows are in the order of the key by code point, and no index on \`${first.name}\` is in that order`,
      orderHint(table, first),
    )
  }
}

/** Callers ask for equal texts, and a nondeterministic collation calls others equal too. */
function checkCollations({ entity, table }: Place, bound: TableBinding, say: Say): void {
  for (const field of entity.fields.keys()) {
    const column = table.columns.get(columnName(bound, field)[0] ?? '')
    if (!column?.foldsText) continue
    say(
      'warning',
      'collation',
      field,
      `the collation of \`${column.name}\` is nondeterministic: \`eq\`, groups and distinct counts take different texts for one`,
      `\`ALTER TABLE ${sqlName(table)} ALTER COLUMN ${quoteName(column.name)} TYPE ${column.declared} COLLATE "C"\`, or bind a column that compares texts exactly`,
    )
  }
}

/**
 * Under row-level security a condition finds rows through an index only where its operator is leakproof: comparisons of numeric and of enum types are not
 * (docs/row-level-security.md).
 */
function checkLeaks({ entity, table }: Place, { bound, bypassesRowSecurity, say }: { bound: TableBinding; bypassesRowSecurity: boolean; say: Say }): void {
  if (!table.rowSecurity.enabled || bypassesRowSecurity) return
  const fields = new Map<string, string>()
  for (const name of entity.fields.keys()) for (const column of columnName(bound, name)) fields.set(column, fields.get(column) ?? name)
  for (const [name, { columns }] of bound.relations) for (const { column } of columns) fields.set(column, fields.get(column) ?? name)
  for (const [name, field] of fields) {
    const column = table.columns.get(name)
    if (!column || column.array || !(column.labels || column.native === 'numeric')) continue
    const [index] = table.indexes.filter(({ columns: [first] }) => first?.column === name)
    if (!index) continue
    const what = column.labels ? 'an enum type' : 'numeric'
    say(
      'warning',
      'index',
      field,
      `the index \`${index.name}\` serves no condition on \`${name}\` under row-level security, since comparisons of ${what} are not leakproof`,
      `where callers search by it, bind a column of ${column.labels ? 'text' : 'bigint or text'} with an index of its own`,
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

export function checkStore({ store, description }: { store: string; description: StoreDescription }, { tables, types, report }: StoreCheck): void {
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
