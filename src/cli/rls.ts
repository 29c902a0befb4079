/** `concordat rls render`: the second wall of one organization as SQL that its owner reads and applies, with the function and keys for pseudonyms. */
import type { ClientBase } from 'pg'
import type { Config } from '../config.js'
import { resolveBinding } from '../connectors/postgres/bind-tables.js'
import type { StoreDescription, TableKind } from '../connectors/postgres/describe.js'
import type { Finding } from '../connectors/postgres/finding.js'
import { listed, placeText } from '../connectors/postgres/finding.js'
import { ownerFunctions } from '../connectors/postgres/owner-functions.js'
import type { ProtectedTable, SharedRows, TableName } from '../connectors/postgres/row-security.js'
import { GATEWAY_BOUND_POLICY, GATEWAY_POLICY, rowSecurity } from '../connectors/postgres/row-security.js'
import { contractSources, parseContract } from '../gateway/contract.js'
import { openPolicies } from '../gateway/policies.js'
import { parseInput } from '../gateway/scalars.js'
import type { AgreedField } from '../policy/agreement.js'
import type { PolicySet } from '../policy/policy-set.js'
import type { OrganizationBinding } from '../query/binding.js'
import type { Catalog } from '../query/catalog.js'
import { compareText } from '../query/order.js'
import { readStore } from './check.js'

export interface RlsOptions {
  readonly organization: string
  /** Null: every store of the organization that holds tables of the contract. */
  readonly store: string | null
  /** That the gateway logs in as; null: the one in the store's URL. */
  readonly role: string | null
  /** Roles of the organization's own programs, besides the one that applies the script: they go on seeing all rows. */
  readonly ownRoles: readonly string[]
}

export interface RlsScript {
  readonly organization: string
  readonly store: string
  readonly role: string
  /** Statements for one transaction, without its beginning and end. Equal policies, bindings and options give equal text. */
  readonly statements: string
  readonly tables: readonly ProtectedTable[]
  /** Grantees whose agreements mask by pseudonym. */
  readonly pseudonymous: readonly string[]
  /** What the script cannot protect, a sentence each. */
  readonly warnings: readonly string[]
}

/** Nothing was rendered. The message is for the person who runs the command. */
export class RlsError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'RlsError'
  }
}

export interface RlsInput {
  readonly catalog: Catalog
  readonly binding: OrganizationBinding
  readonly policies: PolicySet
  readonly store: string
  readonly description: StoreDescription
  readonly role: string
  readonly ownRoles: readonly string[]
  /** Unix milliseconds: agreements that have ended by then count no more; one that is still to come counts. */
  readonly nowMs: number
}

/** Pure. */
export function rlsScript(input: RlsInput): RlsScript {
  const { catalog, binding, policies, store, description, role, ownRoles, nowMs } = input
  const agreements = policies.agreements.filter(({ grantor, untilMs }) => grantor === binding.organization && nowMs < untilMs)
  const shared = agreements.flatMap(({ grantee, types }): SharedRows[] => [...types.values()].map(({ type, rows }) => ({ grantee, type, rows })))
  const kindOf = ({ schema, table }: TableName): TableKind | null =>
    description.tables.find((each) => each.schema === schema && each.name === table)?.kind ?? null
  const isProtectable = (table: TableName): boolean => ['table', 'partitioned', null].includes(kindOf(table))
  const { text, tables, unprotected } = rowSecurity({ catalog, binding, store, role, ownRoles, shared, isProtectable })
  const pseudonymous = agreements
    .filter(({ types }) => [...types.values()].some(({ fields }) => [...fields.values()].some(isPseudonym)))
    .map(({ grantee }) => grantee)
  const functions = ownerFunctions({ role, grantees: agreements.map(({ grantee }) => grantee) })
  const warnings = unprotected.map((table) => `${printName(table)} is ${KIND_WORDS[kindOf(table) ?? 'view']}: only the tables below it can be protected`)
  const statements = `${SETTINGS}\n${text}\n${functions}`
  return { organization: binding.organization, store, role, statements, tables, pseudonymous: [...new Set(pseudonymous)].sort(compareText), warnings }
}

function isPseudonym(field: AgreedField): boolean {
  return field.kind === 'masked' && field.mask.kind === 'pseudonym'
}

const KIND_WORDS: Readonly<Record<TableKind, string>> = {
  table: 'a table',
  partitioned: 'a partitioned table',
  view: 'a view',
  materializedView: 'a materialized view',
  foreign: 'a foreign table',
}

/** Names and constants mean the same whatever the session is set to; and a long query makes this give up rather than hold everybody back. */
const SETTINGS = `SET LOCAL client_encoding = 'UTF8';
SET LOCAL TimeZone = 'UTC';
SET LOCAL DateStyle = 'ISO, YMD';
SET LOCAL client_min_messages = 'warning';
SET LOCAL lock_timeout = '5s';
SET LOCAL search_path = pg_catalog, pg_temp;
`

function printName({ schema, table }: TableName): string {
  return printable(`${schema}.${table}`)
}

/** For a comment or a terminal: no text ends a line that it stands in. */
function printable(text: string): string {
  return text.replace(/[\p{Control}\u2028\u2029]/gu, '?')
}

/** What `psql --set ON_ERROR_STOP=1 --file FILE` takes. */
export function scriptText({ organization, store, statements, warnings }: RlsScript): string {
  const head = [
    `Row-level security of ${organization}, store ${store}, as written by \`concordat rls render\`.`,
    'To be applied by the owner of the tables; again whenever agreements or bindings have changed. It holds no secret: keys are made in the database.',
    ...warnings.map((warning) => `Not protected: ${warning}.`),
  ]
  return `${head.map((line) => `-- ${printable(line)}\n`).join('')}BEGIN;\n${statements}COMMIT;\n`
}

/** From configuration, policies and the stores' own catalogs. @throws RlsError, and what reading contract and policies throws. */
export async function rlsScripts(
  config: Pick<Config, 'contract' | 'policies' | 'organizations'>,
  { organization: id, store, role, ownRoles }: RlsOptions,
  nowMs: number,
): Promise<readonly RlsScript[]> {
  const organization = config.organizations.get(id)
  if (!organization) throw new RlsError(`there is no organization \`${id}\` in the configuration; write one of ${[...config.organizations.keys()].join(', ')}`)
  if (store !== null && !organization.stores.has(store))
    throw new RlsError(`\`${id}\` has no store \`${store}\`; write one of ${[...organization.stores.keys()].join(', ')}`)
  const catalog = parseContract(await contractSources(config.contract))
  const policies = await currentPolicies(config, catalog)
  const stores = new Map<string, { schema: string; description: StoreDescription }>()
  for (const [name, { url, schema, pool, kind }] of organization.stores) {
    if (kind !== 'postgres') continue // it has no row-level security
    const reading = await readStore(url.reveal(), pool)
    if (reading.kind === 'failed') throw new RlsError(`the store \`${name}\` could not be read: ${reading.reason}`)
    stores.set(name, { schema, description: reading.description })
  }
  const { binding } = resolveBinding({ catalog, organization: id, configured: organization.bindings, stores })
  const asked = [...stores].filter(([name]) => store === null || name === store)
  const scripts = asked.map(([name, { description }]) => {
    const gateway = role ?? description.role.name
    if (ownRoles.includes(gateway)) throw new RlsError(`\`${gateway}\` is the role of the gateway, and so none of the organization's own`)
    return rlsScript({ catalog, binding, policies, store: name, description, role: gateway, ownRoles, nowMs })
  })
  const filled = scripts.filter(({ tables, warnings }) => tables.length + warnings.length > 0)
  if (filled.length === 0)
    throw new RlsError(
      `no type of the contract is bound to a table of ${store === null ? `\`${id}\`` : `the store \`${store}\``}; \`concordat check\` says why`,
    )
  return filled
}

async function currentPolicies({ policies, organizations }: Pick<Config, 'policies' | 'organizations'>, catalog: Catalog): Promise<PolicySet> {
  const opened = await openPolicies({
    directory: policies,
    words: { catalog, parseScalar: parseInput },
    organizations: [...organizations.values()].map(({ id, verifyKey }) => ({ id, verifyKeyFile: verifyKey })),
    pollMs: 60_000,
    onRefused: () => undefined,
  })
  opened.close()
  return opened.current()
}

/** Writes the script of one store; with several, one must be named. @throws RlsError */
export async function renderRls(
  config: Pick<Config, 'contract' | 'policies' | 'organizations'>,
  options: RlsOptions,
  { nowMs, write, writeError }: { readonly nowMs: number; readonly write: (text: string) => void; readonly writeError: (text: string) => void },
): Promise<number> {
  const [script, ...others] = await rlsScripts(config, options, nowMs)
  if (!script || others.length > 0)
    throw new RlsError(
      `\`${options.organization}\` has several stores, each a script of its own; name one with --store: ${[script, ...others].map((each) => each?.store).join(', ')}`,
    )
  for (const warning of script.warnings) writeError(`${warning}\n`)
  write(scriptText(script))
  return 0
}

// --- in force --------------------------------------------------------------------------------------------------------------------------------------------------

interface PolicyRow {
  readonly schema: string
  readonly table: string
  /** Null: there is none for the gateway. */
  readonly policy: string | null
  readonly permissive: boolean | null
  readonly forced: boolean
  readonly mark: string | null
}

/** Of tables under row-level security: the gateway's policies, and all that narrow what it sees. */
const POLICIES_IN_FORCE = `
SELECT n.nspname::text AS schema, c.relname::text AS table, p.polname::text AS policy, p.polpermissive AS permissive, c.relforcerowsecurity AS forced,
  obj_description(p.oid, 'pg_policy') AS mark
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_policy p ON p.polrelid = c.oid AND p.polcmd IN ('r', '*')
  AND EXISTS (SELECT FROM unnest(p.polroles) AS granted(role) WHERE granted.role = 0 OR pg_has_role($1::name, granted.role, 'USAGE'))
WHERE c.relrowsecurity`

/**
 * Whether a store's second wall is the one that the script would build: a wall of older agreements can hide rows that newer ones give. Tables without row-level
 * security are left to `check`, which names them. The client is connected as the gateway.
 */
export async function rlsFindings(client: Pick<ClientBase, 'query'>, script: RlsScript): Promise<readonly Finding[]> {
  const { rows } = await client.query<PolicyRow>(POLICIES_IN_FORCE, [script.role])
  const stale = script.tables.flatMap((table) =>
    tableFindings(
      table,
      rows.filter((row) => row.schema === table.schema && row.table === table.table),
      script,
    ),
  )
  return [...stale, ...(await pseudonymFindings(client, script))]
}

function tableFindings(table: ProtectedTable, policies: readonly PolicyRow[], { organization, store }: RlsScript): readonly Finding[] {
  if (policies.length === 0) return []
  const finding = (problem: string, hint: string): Finding => ({
    severity: 'warning',
    rule: 'rowSecurity',
    type: null,
    field: null,
    place: placeText(store, table.schema, table.table),
    problem,
    hint,
  })
  const ours = [GATEWAY_POLICY, GATEWAY_BOUND_POLICY].flatMap((name) => policies.filter(({ policy }) => policy === name))
  const isCurrent = ours.length === 2 && ours.every(({ mark, forced }) => mark === table.mark && forced)
  const narrowing = policies.flatMap((each) => (each.policy !== null && each.permissive === false && !ours.includes(each) ? [each.policy] : []))
  return [
    ...(isCurrent
      ? []
      : [
          finding(
            'row-level security is not what agreements and bindings now say: it may hide rows that they give',
            `apply what \`concordat rls render --organization ${organization} --store ${store}\` writes, as the owner`,
          ),
        ]),
    ...(narrowing.length === 0
      ? []
      : [
          finding(
            `further policies hide rows from the gateway: ${listed(narrowing)}`,
            'say the same in roles and agreements, so that answers name their reasons',
          ),
        ]),
  ]
}

async function pseudonymFindings(client: Pick<ClientBase, 'query'>, { organization, store, pseudonymous }: RlsScript): Promise<readonly Finding[]> {
  const missing: string[] = []
  for (const grantee of pseudonymous) if (!(await hasKey(client, grantee))) missing.push(grantee)
  if (missing.length === 0) return []
  return [
    {
      severity: 'error',
      rule: 'privilege',
      type: null,
      field: null,
      place: store,
      problem: `there are no pseudonyms for ${listed(missing)}: their agreements mask by them, and the owner has not installed the function or the keys`,
      hint: `apply what \`concordat rls render --organization ${organization} --store ${store}\` writes, as the owner`,
    },
  ]
}

async function hasKey(client: Pick<ClientBase, 'query'>, grantee: string): Promise<boolean> {
  try {
    const { rows } = await client.query<{ found: boolean }>("SELECT concordat.pseudonym($1, 'check', '') IS NOT NULL AS found", [grantee])
    return rows[0]?.found === true
  } catch {
    return false // no function, or no right to it
  }
}
