/**
 * Row-level security as the second wall: for each table what the gateway's role may read, by who asks (`concordat.caller`, which the gateway sets in the flush of its
 * query). It states the owner's outer bound, which no compiled filter goes beyond: home sees its rows, a grantee the rows that its agreements could ever show it,
 * and nobody else any. It stands against mistakes of our compiler; against a stolen role it is none, since who may connect as the gateway may say who asks.
 */
import { createHash } from 'node:crypto'
import { invariant } from '../../errors.js'
import type { OrganizationBinding, TableBinding } from '../../query/binding.js'
import type { Catalog } from '../../query/catalog.js'
import { compareText } from '../../query/order.js'
import type { Predicate } from '../../query/predicate.js'
import { ALL, and, or } from '../../query/predicate.js'
import type { Compilation } from '../sql/condition.js'
import { condition } from '../sql/condition.js'
import type { Fragment } from '../sql/fragment.js'
import { join, name, sql } from '../sql/fragment.js'
import { inlined, literal } from '../sql/literal.js'

export interface RowSecurityInput {
  readonly catalog: Catalog
  readonly binding: OrganizationBinding
  /** Tables of this store only. */
  readonly store: string
  /** That the gateway logs in as. */
  readonly role: string
  /** Roles of the organization's own programs, besides the one that applies the text: they go on as before. */
  readonly ownRoles: readonly string[]
  readonly shared: readonly SharedRows[]
  /** Whether PostgreSQL can protect it: a table, and no view. */
  readonly isProtectable: (table: TableName) => boolean
}

/** Rows of a type that an agreement shows a grantee. */
export interface SharedRows {
  readonly grantee: string
  readonly type: string
  /** Three-valued, over the raw row. */
  readonly rows: Predicate
}

export interface TableName {
  readonly schema: string
  readonly table: string
}

export interface RowSecurity {
  /** Statements for one transaction of the tables' owner; they can be applied again. */
  readonly text: string
  /** In the order of schema and table. */
  readonly tables: readonly ProtectedTable[]
  /** Bound, but no tables. */
  readonly unprotected: readonly TableName[]
}

export interface ProtectedTable extends TableName {
  /** The comment of the gateway's two policies: whose they are, and a digest of what they say. */
  readonly mark: string
}

/** Of the gateway's role: the one grants, and the other holds whatever further policies the owner has for everybody. */
export const GATEWAY_POLICY = 'concordat_gateway'
export const GATEWAY_BOUND_POLICY = 'concordat_gateway_bound'
/** Of the owner's own roles. */
const OWN_POLICY = 'concordat_own'

export function rowSecurity(input: RowSecurityInput): RowSecurity {
  const bound = boundTables(input)
  const visible = visibleRows(input)
  const protectable = bound.filter((table) => input.isProtectable(table))
  const tables = protectable.map((table) => protectedTable(table, visible, input))
  const unprotected = bound.filter((table) => !input.isProtectable(table)).map(({ schema, table }) => ({ schema, table }))
  const source = sourceOf(input)
  const parts = [
    sql`SET LOCAL concordat.rls_role = ${literal(input.role)};\nSET LOCAL concordat.rls_source = ${literal(source)};\n`,
    REFUSE_ROLE,
    DROP_FORMER,
    ...tables.map(({ statements }) => statements),
    REFUSE_LOSS,
  ]
  return { text: inlined(join(parts, '\n')), tables: tables.map(({ schema, table, mark }) => ({ schema, table, mark })), unprotected }
}

/** What the policies of one rendering have in common. */
function sourceOf({ binding, store }: Pick<RowSecurityInput, 'binding' | 'store'>): string {
  return `concordat rls render: ${binding.organization}/${store}`
}

interface BoundTable extends TableName {
  /** Several types may be read from one table. */
  readonly types: readonly TableBinding[]
}

function boundTables({ binding, store }: RowSecurityInput): readonly BoundTable[] {
  const found = new Map<string, TableBinding[]>()
  for (const type of binding.types.values()) {
    if (type.kind === 'none' || type.store !== store) continue
    const key = JSON.stringify([type.schema, type.table])
    found.set(key, [...(found.get(key) ?? []), type])
  }
  return [...found.values()]
    .flatMap((types) => (types[0] ? [{ schema: types[0].schema, table: types[0].table, types }] : []))
    .sort((a, b) => compareText(a.schema, b.schema) || compareText(a.table, b.table))
}

// --- the outer bound -------------------------------------------------------------------------------------------------------------------------------------------

/**
 * A condition over the row's own columns and constants that is TRUE wherever the given one is. What depends on a claim or on other rows counts as TRUE, and so
 * does a negation of it: a part is kept whole or not at all, so dropping never narrows.
 */
export function outerBound(rows: Predicate): Predicate {
  if (rows.kind === 'and') return and(rows.terms.map(outerBound))
  if (rows.kind === 'or') return or(rows.terms.map(outerBound))
  if (rows.kind === 'isTrue') return outerBound(rows.term)
  return isOwn(rows) ? rows : ALL
}

/** Comparisons of the row's own values with constants, and nothing else. */
function isOwn(predicate: Predicate): boolean {
  switch (predicate.kind) {
    case 'all':
    case 'none':
    case 'isNull':
      return true
    case 'compare':
    case 'in':
      return predicate.operand.kind === 'constant'
    case 'and':
    case 'or':
      return predicate.terms.every(isOwn)
    case 'not':
    case 'isTrue':
    case 'isFalse':
      return isOwn(predicate.term)
    case 'like':
    case 'startsWith':
    case 'contains':
    case 'listContains':
    case 'jsonContains':
    case 'idIn':
    case 'linked':
    case 'related':
      return false // policies have none of these but `related`, which looks at other rows
  }
}

/**
 * Rows by grantee and type, as outer bounds: those shared, and those that conditions on shared rows look at. A compiled condition such as `owner: { team: … }` reads
 * the owner's raw `User` rows whether users are shared or not; hidden from it, they would change which agents are shown. Of a related table the rows that the inner
 * condition can be TRUE for are enough: the others count as absent in either case, under a `not` too.
 */
function visibleRows({ shared, catalog }: RowSecurityInput): readonly SharedRows[] {
  return shared.flatMap(({ grantee, type, rows }) =>
    [{ type, rows }, ...relatedRows(rows, type, catalog)].map((each) => ({ grantee, type: each.type, rows: outerBound(each.rows) })),
  )
}

interface TypeRows {
  readonly type: string
  readonly rows: Predicate
}

function relatedRows(predicate: Predicate, type: string, catalog: Catalog): readonly TypeRows[] {
  switch (predicate.kind) {
    case 'and':
    case 'or':
      return predicate.terms.flatMap((term) => relatedRows(term, type, catalog))
    case 'not':
    case 'isTrue':
    case 'isFalse':
      return relatedRows(predicate.term, type, catalog)
    case 'related': {
      const relation = catalog.entities.get(type)?.fields.get(predicate.field)
      invariant(relation && relation.kind !== 'value', `\`${type}.${predicate.field}\` is a relation`)
      return [{ type: relation.target, rows: predicate.where }, ...relatedRows(predicate.where, relation.target, catalog)]
    }
    case 'all':
    case 'none':
    case 'compare':
    case 'in':
    case 'isNull':
    case 'like':
    case 'startsWith':
    case 'contains':
    case 'listContains':
    case 'jsonContains':
    case 'idIn':
    case 'linked':
      return []
  }
}

// --- statements ------------------------------------------------------------------------------------------------------------------------------------------------

function protectedTable(bound: BoundTable, visible: readonly SharedRows[], input: RowSecurityInput): ProtectedTable & { readonly statements: Fragment } {
  const { schema, table } = bound
  const on = name(schema, table)
  const role = name(input.role)
  const shown = shownRows(bound, visible, input)
  const own = join([sql`CURRENT_USER`, ...input.ownRoles.map((each) => name(each))], ', ')
  const gateway = join(
    [
      replaced(GATEWAY_POLICY, on, sql`FOR SELECT TO ${role} USING (${shown})`),
      replaced(GATEWAY_BOUND_POLICY, on, sql`AS RESTRICTIVE FOR SELECT TO ${role} USING (${shown})`),
    ],
    '\n',
  )
  const digest = createHash('sha256').update(inlined(gateway)).digest('base64url')
  const mark = `${sourceOf(input)}, ${digest}`
  const marks = [GATEWAY_POLICY, GATEWAY_BOUND_POLICY].map((policy) => sql`COMMENT ON POLICY ${name(policy)} ON ${on} IS ${literal(mark)};\n`)
  const statements = sql`${comment(bound.types.map(({ type }) => type))}ALTER TABLE ${on} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
${replaced(OWN_POLICY, on, sql`FOR ALL TO ${own} USING (TRUE)`)}
${gateway}
${join(marks, '')}`
  return { schema, table, mark, statements }
}

/** For whoever reads the script. The contract's names cannot end a comment. */
function comment(types: readonly string[]): Fragment {
  invariant(
    types.every((type) => /^\w+$/.test(type)),
    'types have names of GraphQL',
  )
  return { parts: [{ kind: 'text', text: `-- ${types.join(', ')}\n` }] }
}

function replaced(policy: string, on: Fragment, terms: Fragment): Fragment {
  return sql`DROP POLICY IF EXISTS ${name(policy)} ON ${on};
CREATE POLICY ${name(policy)} ON ${on} ${terms};`
}

/**
 * The setting is read once for a statement, since it stands in a subquery. CASE and not OR: the planner takes half of the rows for granted rather than one in 200 for
 * each caller, and so stays with the plans that it has without row-level security. The restrictive twin costs nothing: PostgreSQL drops the equal condition.
 */
function shownRows(bound: BoundTable, visible: readonly SharedRows[], input: RowSecurityInput): Fragment {
  const grantees = [...new Set(visible.map(({ grantee }) => grantee))].sort(compareText)
  const branches = grantees.flatMap((grantee) => {
    const rows = granteeRows(
      bound,
      visible.filter((each) => each.grantee === grantee),
      input,
    )
    return rows ? [sql`\n  WHEN ${literal(grantee)} THEN ${rows}`] : []
  })
  return sql`CASE (SELECT nullif(current_setting('concordat.caller', true), ''))
  WHEN ${literal(input.binding.organization)} THEN TRUE${join(branches, '')}
  ELSE FALSE END`
}

/** Null: none of the table's types is shared or needed. */
function granteeRows(bound: BoundTable, visible: readonly SharedRows[], input: RowSecurityInput): Fragment | null {
  const terms = bound.types.flatMap((table) => visible.filter(({ type }) => type === table.type).map(({ rows }) => ({ table, rows })))
  if (terms.length === 0) return null
  if (terms.some(({ rows }) => rows.kind === 'all')) return sql`TRUE`
  const conditions = terms.map(({ table, rows }) => condition(rows, { kind: 'raw', type: table.type, table, alias: bound.table }, compilationOf(input)))
  const distinct = [...new Map(conditions.map((term) => [inlined(term), term])).values()]
  // Unknown is not TRUE, and one term that is TRUE is enough.
  return sql`(${join(distinct, ' OR ')}) IS TRUE`
}

/** For conditions over one raw table, which open no other. */
function compilationOf({ binding, catalog }: RowSecurityInput): Compilation {
  return {
    plan: { organization: binding.organization, views: new Map(), catalog, binding, starts: new Map() },
    byIndex: false,
    alias: () => {
      throw new Error('invariant: an outer bound looks at no other table')
    },
  }
}

/** Where these do not hold, policies would be no wall. */
const REFUSE_ROLE = sql`DO $concordat$
DECLARE
  gateway CONSTANT name := current_setting('concordat.rls_role');
  login record;
BEGIN
  SELECT r.rolsuper OR r.rolbypassrls AS is_free, pg_has_role(r.oid, current_user, 'MEMBER') AS is_owner INTO login FROM pg_roles r WHERE r.rolname = gateway;
  IF login.is_owner IS NULL THEN
    RAISE EXCEPTION 'there is no role % for the gateway', quote_ident(gateway) USING HINT = format('CREATE ROLE %I LOGIN', gateway);
  ELSIF login.is_free THEN
    RAISE EXCEPTION 'row-level security does not hold for %: a superuser, or a role with BYPASSRLS', quote_ident(gateway)
      USING HINT = 'Let the gateway log in as a role with no rights but SELECT.';
  ELSIF login.is_owner THEN
    RAISE EXCEPTION 'the role of the gateway is, or may become, the one that applies this' USING HINT = 'Apply it as the owner of the tables, and let the gateway be another role.';
  END IF;
END
$concordat$;
`

/** Policies of tables that are bound no longer: the gateway sees nothing there. The owner's own roles keep what they have. */
const DROP_FORMER = sql`DO $concordat$
DECLARE
  former record;
BEGIN
  FOR former IN
    SELECT p.polname AS policy, p.polrelid::regclass AS place FROM pg_policy p
    WHERE p.polname IN ('concordat_gateway', 'concordat_gateway_bound')
      AND starts_with(obj_description(p.oid, 'pg_policy'), current_setting('concordat.rls_source') || ', ')
  LOOP
    EXECUTE format('DROP POLICY %I ON %s', former.policy, former.place);
  END LOOP;
END
$concordat$;
`

/**
 * A role without a policy would see no rows from now on, and its programs would take that for an answer: nothing is applied then. Nor where the gateway's role
 * owns a table, whose policies it could change.
 */
const REFUSE_LOSS = sql`DO $concordat$
DECLARE
  gateway CONSTANT oid := (SELECT oid FROM pg_roles WHERE rolname = current_setting('concordat.rls_role'));
  named text;
BEGIN
  WITH guarded AS (
    SELECT c.oid, c.relowner FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
    WHERE p.polname = 'concordat_gateway' AND starts_with(obj_description(p.oid, 'pg_policy'), current_setting('concordat.rls_source') || ', ')
  )
  SELECT string_agg(g.oid::regclass::text, ', ') INTO named FROM guarded g WHERE pg_has_role(gateway, g.relowner, 'MEMBER');
  IF named IS NOT NULL THEN
    RAISE EXCEPTION 'the role of the gateway owns %', named USING HINT = 'Let the gateway log in as a role with no rights but SELECT.';
  END IF;
  WITH guarded AS (
    SELECT c.oid, c.relowner, c.relacl FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
    WHERE p.polname = 'concordat_gateway' AND starts_with(obj_description(p.oid, 'pg_policy'), current_setting('concordat.rls_source') || ', ')
  ), holder AS (
    SELECT g.oid AS place, g.relowner AS role FROM guarded g
    UNION SELECT g.oid, a.grantee FROM guarded g CROSS JOIN LATERAL aclexplode(g.relacl) a
      WHERE a.privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
    UNION SELECT g.oid, a.grantee FROM guarded g JOIN pg_attribute t ON t.attrelid = g.oid CROSS JOIN LATERAL aclexplode(t.attacl) a
  )
  SELECT string_agg(format('%s in %s', CASE h.role WHEN 0 THEN 'PUBLIC' ELSE quote_ident(r.rolname) END, h.place::regclass), ', ') INTO named
  FROM holder h LEFT JOIN pg_roles r ON r.oid = h.role
  WHERE h.role <> gateway AND NOT coalesce(r.rolsuper OR r.rolbypassrls, FALSE) AND NOT EXISTS (
    SELECT FROM pg_policy p CROSS JOIN LATERAL unnest(p.polroles) AS granted(role)
    WHERE p.polrelid = h.place AND p.polpermissive AND p.polname <> 'concordat_gateway'
      AND (granted.role = 0 OR h.role <> 0 AND pg_has_role(h.role, granted.role, 'USAGE')));
  IF named IS NOT NULL THEN
    RAISE EXCEPTION 'roles would see no rows any more: %', named
      USING HINT = 'Render again with --own-role NAME for each that is to go on as before, give it a policy of its own, or revoke its rights.';
  END IF;
END
$concordat$;
`
