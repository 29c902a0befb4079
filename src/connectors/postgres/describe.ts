/** What a PostgreSQL database holds, read from its own catalog: tables, columns, keys, indexes, and what the role that asks may do. */
import type { ClientBase } from 'pg'
import type { NativeType } from '../../query/binding.js'

export interface StoreDescription {
  /** As `server_version_num`: 150018 is 15.18. */
  readonly version: number
  readonly encoding: string
  readonly role: RoleDescription
  /** `log_parameter_max_length` and `log_parameter_max_length_on_error` of this role's sessions: bytes, -1 for all. */
  readonly loggedParameterBytes: { readonly statements: number; readonly errors: number }
  /** In the order of schema and name, by code point; partitions are left out, their parents are here. */
  readonly tables: readonly TableDescription[]
}

export interface RoleDescription {
  readonly name: string
  readonly superuser: boolean
  readonly bypassesRowSecurity: boolean
}

export type TableKind = 'table' | 'partitioned' | 'view' | 'materializedView' | 'foreign'

export interface TableDescription {
  readonly schema: string
  readonly name: string
  readonly kind: TableKind
  readonly comment: string | null
  readonly columns: ReadonlyMap<string, ColumnDescription>
  /** From unique indexes over plain columns that are valid and cover all rows; the primary key first. */
  readonly keys: readonly KeyDescription[]
  readonly foreignKeys: readonly ForeignKeyDescription[]
  readonly indexes: readonly IndexDescription[]
  readonly rowSecurity: { readonly enabled: boolean; readonly forced: boolean }
  /** The role is the owner, or has the owner's rights. */
  readonly owned: boolean
  /** The role may use the schema. */
  readonly reachable: boolean
  /** Of a view: it runs with the rights of who asks (`security_invoker`), so that policies of the tables below hold. */
  readonly invoker: boolean
}

export interface ColumnDescription {
  readonly name: string
  /** Domains are resolved; the elements of an array without `[]`. Types outside of `pg_catalog` carry their schema. */
  readonly native: NativeType
  readonly array: boolean
  /** As declared, with its modifiers: `character varying(160)`, `numeric(10,2)`, `public.mood[]`. */
  readonly declared: string
  readonly nullable: boolean
  /** Of a nondeterministic collation: texts that differ can be equal. */
  readonly foldsText: boolean
  /** Labels of an enum type (or of the elements of its arrays), in their order. */
  readonly labels: readonly string[] | null
  readonly comment: string | null
  /** The role may read it. */
  readonly readable: boolean
}

export interface KeyDescription {
  readonly columns: readonly string[]
  readonly primary: boolean
}

export interface ForeignKeyDescription {
  readonly name: string
  readonly columns: readonly string[]
  readonly schema: string
  readonly table: string
  /** In the order of `columns`. */
  readonly targetColumns: readonly string[]
}

export interface IndexDescription {
  readonly name: string
  /** `btree`, `hash`, `gin` … */
  readonly method: string
  /** Covers only some rows. */
  readonly partial: boolean
  readonly columns: readonly IndexColumnDescription[]
}

export interface IndexColumnDescription {
  /** Null: an expression. */
  readonly column: string | null
  /** Such as `C` or `default`; null where the type has none. */
  readonly collation: string | null
  /** The operator class is the default one of the type, so that plain comparisons and orders use it. */
  readonly plain: boolean
  /** Such as `text_ops` or `vector_cosine_ops`. */
  readonly operatorClass: string
}

/**
 * Reads all schemas but PostgreSQL's own, in one snapshot. The client must not be in a transaction.
 *
 * @throws whatever the driver throws; `timeoutMs` limits each of the few statements.
 */
export async function describeStore(client: Pick<ClientBase, 'query'>, options: { readonly timeoutMs: number }): Promise<StoreDescription> {
  await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY')
  try {
    // With nothing else in the path, every type that is not PostgreSQL's own prints with its schema.
    await client.query("SELECT set_config('search_path', 'pg_catalog', true), set_config('statement_timeout', $1, true)", [String(options.timeoutMs)])
    const [server] = (await client.query<ServerRow>(SERVER)).rows
    const tables = (await client.query<TableRow>(TABLES)).rows
    const columns = (await client.query<ColumnRow>(COLUMNS)).rows
    const indexes = (await client.query<IndexRow>(INDEXES)).rows
    const foreignKeys = (await client.query<ForeignKeyRow>(FOREIGN_KEYS)).rows
    if (!server) throw new Error('invariant: the server describes itself in one row')
    await client.query('ROLLBACK')
    return { ...serverFrom(server), tables: tablesFrom({ tables, columns, indexes, foreignKeys }) }
  } catch (error) {
    // A connection that broke cannot roll back; what broke it is the error to tell.
    await client.query('ROLLBACK').catch(() => undefined)
    throw error
  }
}

interface ServerRow {
  readonly version: number
  readonly encoding: string
  readonly role: string
  readonly superuser: boolean
  readonly bypasses: boolean
  readonly statements: number
  readonly errors: number
}

const SERVER = `
SELECT current_setting('server_version_num')::int AS version, current_setting('server_encoding') AS encoding,
  r.rolname::text AS role, r.rolsuper AS superuser, r.rolbypassrls AS bypasses,
  (SELECT setting::int FROM pg_settings WHERE name = 'log_parameter_max_length') AS statements,
  (SELECT setting::int FROM pg_settings WHERE name = 'log_parameter_max_length_on_error') AS errors
FROM pg_roles r WHERE r.rolname = current_user`

/**
 * Relations of the database's own schemas. Toast tables, indexes and sequences are no tables; partitions are their parent's business, and what lies in the schema of an
 * extension is the extension's (as TimescaleDB's chunks are).
 */
const OWN_RELATIONS = `
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_toast%' AND n.nspname NOT LIKE 'pg\\_temp\\_%'
  AND NOT EXISTS (SELECT FROM pg_depend x WHERE x.classid = 'pg_namespace'::regclass AND x.objid = n.oid AND x.deptype = 'e')`

interface TableRow {
  readonly oid: number
  readonly schema: string
  readonly name: string
  readonly kind: 'r' | 'p' | 'v' | 'm' | 'f'
  readonly comment: string | null
  readonly enabled: boolean
  readonly forced: boolean
  readonly owned: boolean
  readonly reachable: boolean
  readonly invoker: boolean
}

const TABLES = `
SELECT c.oid::int8::float8 AS oid, n.nspname::text AS schema, c.relname::text AS name, c.relkind::text AS kind, obj_description(c.oid, 'pg_class') AS comment,
  c.relrowsecurity AS enabled, c.relforcerowsecurity AS forced, pg_has_role(c.relowner, 'USAGE') AS owned, has_schema_privilege(n.oid, 'USAGE') AS reachable,
  EXISTS (SELECT FROM pg_options_to_table(c.reloptions) o WHERE o.option_name = 'security_invoker' AND o.option_value IN ('true', 'on', 'yes', '1')) AS invoker
${OWN_RELATIONS}
ORDER BY n.nspname::text COLLATE "C", c.relname::text COLLATE "C"`

interface ColumnRow {
  readonly table: number
  readonly name: string
  readonly native: string
  readonly array: boolean
  readonly declared: string
  readonly nullable: boolean
  readonly folds: boolean
  readonly labels: string[] | null
  readonly comment: string | null
  readonly readable: boolean
}

/** `domain`: each domain with the type at its end, and whether a domain on the way is NOT NULL. */
const COLUMNS = `
WITH RECURSIVE step AS (
  SELECT t.oid AS domain, t.typbasetype AS type, t.typnotnull AS required FROM pg_type t WHERE t.typtype = 'd'
  UNION ALL
  SELECT step.domain, t.typbasetype, step.required OR t.typnotnull FROM step JOIN pg_type t ON t.oid = step.type WHERE t.typtype = 'd'
), domain AS (
  SELECT step.domain, step.type, step.required FROM step JOIN pg_type t ON t.oid = step.type WHERE t.typtype <> 'd'
), own AS (
  SELECT c.oid ${OWN_RELATIONS}
), base AS (
  SELECT a.*, coalesce(d.type, a.atttypid) AS type, coalesce(d.required, false) AS required
  FROM own JOIN pg_attribute a ON a.attrelid = own.oid LEFT JOIN domain d ON d.domain = a.atttypid
  WHERE a.attnum > 0 AND NOT a.attisdropped
), plain AS (
  SELECT base.*, coalesce(e.oid, base.type) AS item, e.oid IS NOT NULL AS is_array
  FROM base JOIN pg_type t ON t.oid = base.type LEFT JOIN pg_type e ON e.oid = t.typelem AND e.typarray = t.oid
)
SELECT p.attrelid::int8::float8 AS table, p.attname::text AS name, format_type(coalesce(d.type, p.item), NULL) AS native, p.is_array AS array,
  format_type(p.atttypid, p.atttypmod) AS declared, NOT (p.attnotnull OR p.required) AS nullable,
  EXISTS (SELECT FROM pg_collation co WHERE co.oid = p.attcollation AND NOT co.collisdeterministic) AS folds,
  (SELECT array_agg(e.enumlabel::text ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = coalesce(d.type, p.item)) AS labels,
  col_description(p.attrelid, p.attnum) AS comment, has_column_privilege(p.attrelid, p.attnum, 'SELECT') AS readable
FROM plain p LEFT JOIN domain d ON d.domain = p.item
ORDER BY p.attrelid, p.attnum`

interface IndexRow {
  readonly table: number
  readonly name: string
  readonly method: string
  readonly unique: boolean
  readonly primary: boolean
  readonly partial: boolean
  readonly columns: (string | null)[]
  readonly collations: (string | null)[]
  readonly plain: boolean[]
  readonly classes: string[]
}

const INDEXES = `
SELECT i.indrelid::int8::float8 AS table, x.relname::text AS name, am.amname::text AS method, i.indisunique AS unique, i.indisprimary AS primary,
  i.indpred IS NOT NULL AS partial, k.columns, k.collations, k.plain, k.classes
FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am am ON am.oid = x.relam
CROSS JOIN LATERAL (
  SELECT array_agg(a.attname::text ORDER BY s.n) AS columns, array_agg(co.collname::text ORDER BY s.n) AS collations, array_agg(oc.opcdefault ORDER BY s.n) AS plain,
    array_agg(oc.opcname::text ORDER BY s.n) AS classes
  FROM generate_series(0, i.indnkeyatts - 1) AS s(n)
  LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[s.n] AND a.attnum > 0
  LEFT JOIN pg_collation co ON co.oid = i.indcollation[s.n]
  JOIN pg_opclass oc ON oc.oid = i.indclass[s.n]
) k
WHERE i.indisvalid AND i.indrelid IN (SELECT c.oid ${OWN_RELATIONS})
ORDER BY i.indrelid, NOT i.indisprimary, x.relname::text COLLATE "C"`

interface ForeignKeyRow {
  readonly table: number
  readonly name: string
  readonly columns: string[]
  readonly target_schema: string
  readonly target: string
  readonly target_columns: string[]
}

/** Without the copies that partitions on either side bring. */
const FOREIGN_KEYS = `
SELECT f.conrelid::int8::float8 AS table, f.conname::text AS name, k.columns, tn.nspname::text AS target_schema, t.relname::text AS target, k.target_columns
FROM pg_constraint f JOIN pg_class t ON t.oid = f.confrelid JOIN pg_namespace tn ON tn.oid = t.relnamespace
CROSS JOIN LATERAL (
  SELECT array_agg(a.attname::text ORDER BY s.n) AS columns, array_agg(ta.attname::text ORDER BY s.n) AS target_columns
  FROM generate_subscripts(f.conkey, 1) AS s(n)
  JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = f.conkey[s.n]
  JOIN pg_attribute ta ON ta.attrelid = f.confrelid AND ta.attnum = f.confkey[s.n]
) k
WHERE f.contype = 'f' AND f.conparentid = 0 AND f.conrelid IN (SELECT c.oid ${OWN_RELATIONS})
ORDER BY f.conrelid, f.conname::text COLLATE "C"`

function serverFrom(row: ServerRow): Omit<StoreDescription, 'tables'> {
  return {
    version: row.version,
    encoding: row.encoding,
    role: { name: row.role, superuser: row.superuser, bypassesRowSecurity: row.superuser || row.bypasses },
    loggedParameterBytes: { statements: row.statements, errors: row.errors },
  }
}

const KINDS: Readonly<Record<TableRow['kind'], TableKind>> = { r: 'table', p: 'partitioned', v: 'view', m: 'materializedView', f: 'foreign' }

interface CatalogRows {
  readonly tables: readonly TableRow[]
  readonly columns: readonly ColumnRow[]
  readonly indexes: readonly IndexRow[]
  readonly foreignKeys: readonly ForeignKeyRow[]
}

function tablesFrom(rows: CatalogRows): readonly TableDescription[] {
  const columns = byTable(rows.columns)
  const indexes = byTable(rows.indexes)
  const foreignKeys = byTable(rows.foreignKeys)
  return rows.tables.map((row) => ({
    schema: row.schema,
    name: row.name,
    kind: KINDS[row.kind],
    comment: row.comment,
    columns: new Map((columns.get(row.oid) ?? []).map(({ table: _, folds, ...column }) => [column.name, { ...column, foldsText: folds }])),
    keys: (indexes.get(row.oid) ?? []).flatMap((index) => keyFrom(index) ?? []),
    foreignKeys: (foreignKeys.get(row.oid) ?? []).map((key) => ({
      name: key.name,
      columns: key.columns,
      schema: key.target_schema,
      table: key.target,
      targetColumns: key.target_columns,
    })),
    indexes: (indexes.get(row.oid) ?? []).map(indexFrom),
    rowSecurity: { enabled: row.enabled, forced: row.forced },
    owned: row.owned,
    reachable: row.reachable,
    invoker: row.invoker,
  }))
}

function keyFrom(index: IndexRow): KeyDescription | null {
  const columns = index.columns.filter((column) => column !== null)
  return index.unique && !index.partial && columns.length === index.columns.length ? { columns, primary: index.primary } : null
}

function indexFrom(index: IndexRow): IndexDescription {
  const columns = index.columns.map((column, place) => ({
    column,
    collation: index.collations[place] ?? null,
    plain: index.plain[place] ?? false,
    operatorClass: index.classes[place] ?? '',
  }))
  return { name: index.name, method: index.method, partial: index.partial, columns }
}

function byTable<Row extends { readonly table: number }>(rows: readonly Row[]): ReadonlyMap<number, readonly Row[]> {
  const found = new Map<number, Row[]>()
  for (const row of rows) {
    const same = found.get(row.table)
    if (same) same.push(row)
    else found.set(row.table, [row])
  }
  return found
}
