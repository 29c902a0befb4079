/**
 * A whole gateway for tests: a real PostgreSQL server with a database for each organization and one for the ledgers, real keys, signed agreements, and
 * `startGateway` of the composition root, asked over HTTP.
 */
import { createHash, generateKeyPairSync } from 'node:crypto'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { JWK } from 'jose'
import pg from 'pg'
import { parse, stringify } from 'yaml'
import { signAgreement } from '../../src/cli/agreement.js'
import { GATEWAY_ROLE, makeGatewayRole, seedOrganization, setupOrganization } from '../../src/cli/demo/organization-store.js'
import { DEMO_ORGANIZATIONS } from '../../src/cli/demo/platform-data.js'
import { DEMO_GATEWAY_JURISDICTION, DEMO_PARTIES, DEMO_PRINCIPALS, subjectOf } from '../../src/cli/demo/principals.js'
import { rlsScripts } from '../../src/cli/rls.js'
import { generateKeyPair, issueToken } from '../../src/cli/token.js'
import { loadConfig } from '../../src/config.js'
import { ownerFunctions } from '../../src/connectors/postgres/owner-functions.js'
import { startGateway } from '../../src/main.js'
import type { Scalar } from '../../src/query/predicate.js'
import type { TestPostgres } from './postgres.js'
import { startTestPostgres, withClient } from './postgres.js'

export { GATEWAY_ROLE }

/** An organization with tables of its own. */
export interface TestOrganization {
  /** Runs as the owner in an empty database; the gateway may then read every table and view in it. */
  readonly sql: string
  readonly jurisdiction?: string
  /** As under `organizations.<id>.bindings` of the configuration. */
  readonly bindings?: Readonly<Record<string, unknown>>
  /** As under `organizations.<id>.embeddings`. */
  readonly embeddings?: Readonly<Record<string, unknown>>
  /** As under `roles` of a roles file; absent: the organization has no roles file. */
  readonly roles?: Readonly<Record<string, unknown>>
  /** Settings of the store `main` besides its URL, such as `{ pool: { max: 2 } }`. */
  readonly store?: Readonly<Record<string, unknown>>
}

/** What the organizations of a test share. */
export interface TestWorld {
  /** SDL. */
  readonly contract: string
  /** By id. */
  readonly organizations: Readonly<Record<string, TestOrganization>>
  /** Contents of agreement files; `agreementOf` writes the usual parts. */
  readonly agreements?: readonly TestAgreement[]
}

export interface TestAgreement {
  readonly agreement: string
  readonly grantor: string
  readonly grantee: string
  readonly [key: string]: unknown
}

export interface TestGatewayOptions {
  /** Absent: the demo's three organizations, at their smallest. */
  readonly world?: TestWorld
  /** A server that is running; absent: one of its own, which ends with the gateway. */
  readonly postgres?: TestPostgres
  /** Merged into the configuration's `gateway`, such as `{ limits: { deadline: '500ms' } }`. */
  readonly gateway?: Readonly<Record<string, unknown>>
  /** Row-level security in the organizations' databases; absent: as the environment variable TEST_ROW_SECURITY says (1 is on). */
  readonly rowSecurity?: boolean
  /** Further stores by organization and name, whole. */
  readonly moreStores?: Readonly<Record<string, Readonly<Record<string, Readonly<Record<string, unknown>>>>>>
  /** Of the stores of all organizations, such as `{ pool: { max: 2 } }`. */
  readonly store?: Readonly<Record<string, unknown>>
}

export interface TestStart extends TestGatewayOptions {
  /** Runs when all is there but the gateway. */
  readonly beforeStart?: (ground: TestGround) => Promise<void>
}

/** Somebody to ask as: a principal of the demo by name, or claims. */
export type TestPrincipal = string | TestClaims

export interface TestClaims {
  readonly organization: string
  readonly roles: readonly string[]
  /** Absent: `['testing']`, which `agreementOf` names too. */
  readonly purposes?: readonly string[]
  readonly subject?: string
  readonly claims?: Readonly<Record<string, Scalar | readonly Scalar[]>>
}

/** The members of an answer that tests look at. */
export interface AnswerBody {
  // Tests read whatever their document asks for.
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  readonly data?: any
  readonly errors?: readonly {
    readonly message: string
    readonly path?: readonly (string | number)[]
    readonly locations?: readonly { readonly line: number; readonly column: number }[]
    readonly extensions: { readonly code: string; readonly organization?: string; readonly argument?: string }
  }[]
  readonly extensions: {
    readonly requestId: string
    readonly sovereignty: {
      readonly served: readonly Readonly<Record<string, unknown>>[]
      readonly leftOut: readonly { readonly organization: string; readonly code: string }[]
      readonly failed: readonly { readonly organization: string; readonly code: string }[]
      readonly masked: readonly Readonly<Record<string, unknown>>[]
      readonly withheld: readonly Readonly<Record<string, unknown>>[]
      readonly receipt?: { readonly entry: string; readonly ledger: string; readonly leaf: string }
    }
    readonly explain?: { readonly statements: readonly { readonly organization: string; readonly text: string }[]; readonly cost: number }
  }
}

export interface TestAnswer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  readonly json: AnswerBody
}

export interface AskOptions {
  readonly variables?: Readonly<Record<string, unknown>>
  readonly headers?: Readonly<Record<string, string>>
  readonly operationName?: string
  readonly signal?: AbortSignal
  /** `/graphql` when absent. */
  readonly path?: string
}

/** All that a gateway of the test needs, before it runs: databases, keys, policies and a configuration. */
export interface TestGround {
  readonly postgres: TestPostgres
  /** Path of the configuration file; paths in it start at its folder. */
  readonly config: string
  /** Folder of the policies: `roles/<organization>.yaml`, `agreements/<name>.yaml` with signatures. */
  readonly policies: string
  token(principal: TestPrincipal): Promise<string>
  /** Who an organization is to the gateway: for tokens that `token` does not make. */
  party(organization: string): TestParty
  /** Name of an organization's database, or of the ledgers' where it is `gateway`. */
  database(name: string): string
  /** A connection to any database of the server, as a superuser; closed by `stop`. */
  connect(database: string): Promise<pg.Client>
  /** A connection as the owner; closed by `stop`. */
  ownerClient(organization: string): Promise<pg.Client>
  /** A connection to the ledgers' database as a superuser; closed by `stop`. */
  ledgerClient(): Promise<pg.Client>
  /** Writes (and signs) an agreement into the policies' folder. */
  writeAgreement(agreement: TestAgreement): Promise<void>
  removeAgreement(name: string): void
  writeRoles(organization: string, roles: Readonly<Record<string, unknown>>, version?: number): void
  /** Ends what was started, the server too where it is its own. */
  stop(): Promise<void>
}

export interface TestGateway extends TestGround, Asking {
  readonly url: string
  /** Lines of the log, parsed. */
  readonly log: Record<string, unknown>[]
}

/** Asking a gateway over HTTP. */
export interface Asking {
  /** POSTs the document as JSON; `null` asks without a token. */
  ask(
    principal: TestPrincipal | null,
    document: string,
    variables?: Readonly<Record<string, unknown>>,
    headers?: Readonly<Record<string, string>>,
  ): Promise<TestAnswer>
  /** As `ask`, with more to choose. */
  request(principal: TestPrincipal | null, document: string, options: AskOptions): Promise<TestAnswer>
}

const AUDIENCE = 'https://gateway.example/graphql'
/** Login role that owns the ledgers' database. */
export const LEDGER_ROLE = 'concordat_ledger'
/** Rows per table at their floor: 40 agents, 600 executions. */
const TINY = 0.001

/** An agreement with the usual parts; `types` says what it gives. */
export function agreementOf(
  grantor: string,
  grantee: string,
  types: Readonly<Record<string, unknown>>,
  more: Readonly<Record<string, unknown>> = {},
): TestAgreement {
  return {
    agreement: `${grantor}-${grantee}`,
    version: 1,
    grantor,
    grantee,
    purposes: ['testing'],
    from: '2020-01-01T00:00:00Z',
    until: '2099-01-01T00:00:00Z',
    jurisdictions: { stored: ['DE'], gateway: ['DE'], grantee: ['DE'] },
    types,
    ...more,
  }
}

/** An organization with its identity provider; one key serves for its tokens and its agreements. */
export interface TestParty {
  readonly id: string
  /** `iss` of its tokens. */
  readonly issuer: string
  readonly privateJwk: JWK
}

export async function startTestGateway(options: TestStart = {}): Promise<TestGateway> {
  const ground = await makeTestGround(options)
  try {
    await options.beforeStart?.(ground)
    const log: Record<string, unknown>[] = []
    const running = await startGateway({
      config: loadConfig(ground.config, {}),
      demo: null,
      writeLog: (line) => log.push(JSON.parse(line) as Record<string, unknown>),
    })
    const stop = async (): Promise<void> => {
      void running.stop()
      await running.stop() // a second call cuts what is still under way
      await ground.stop()
    }
    return { ...ground, ...asking(running.url, ground), url: running.url, log, stop }
  } catch (error) {
    await ground.stop()
    throw error
  }
}

/** Asks the gateway at this address with tokens of the ground. */
export function asking(url: string, { token }: Pick<TestGround, 'token'>): Asking {
  const request = async (principal: TestPrincipal | null, document: string, asked: AskOptions): Promise<TestAnswer> => {
    const response = await fetch(`${url}${asked.path ?? '/graphql'}`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        accept: 'application/graphql-response+json',
        ...(principal !== null && { authorization: `Bearer ${await token(principal)}` }),
        ...asked.headers,
      },
      body: JSON.stringify({ query: document, variables: asked.variables, operationName: asked.operationName }),
      ...(asked.signal && { signal: asked.signal }),
    })
    const text = await response.text()
    return { status: response.status, headers: response.headers, text, json: JSON.parse(text) as AnswerBody }
  }
  return {
    request,
    ask: (principal, document, variables, headers) => request(principal, document, { ...(variables && { variables }), ...(headers && { headers }) }),
  }
}

/** Nothing is started but the PostgreSQL server, where it is the ground's own. */
export async function makeTestGround(options: TestGatewayOptions = {}): Promise<TestGround> {
  const { world = null } = options
  const folder = mkdtempSync(join(tmpdir(), 'concordat-test-'))
  const closing: (() => Promise<unknown> | void)[] = [() => rmSync(folder, { recursive: true, force: true })]
  const stop = async (): Promise<void> => {
    for (const close of closing.splice(0).reverse()) await close()
  }
  try {
    const postgres = options.postgres ?? (await startTestPostgres())
    if (!options.postgres) closing.push(() => postgres.stop())
    const ids = world ? Object.keys(world.organizations) : [...DEMO_ORGANIZATIONS]
    const databases = await makeDatabases(postgres, world, ids)
    const parties = await makeKeys(folder, world, ids)
    const policies = await writePolicies(folder, world, parties)
    const config = writeConfig(folder, { options, ids, postgres, databases, parties })
    if (options.rowSecurity ?? process.env['TEST_ROW_SECURITY'] === '1') await protect(config, databases, postgres)
    const connect = async (database: string): Promise<pg.Client> => {
      const client = new pg.Client({ connectionString: postgres.url(database), application_name: 'test' })
      client.on('error', () => undefined)
      await client.connect()
      closing.push(() => client.end().catch(() => undefined))
      return client
    }
    const tokens = new Map<string, Promise<string>>()
    const token = (principal: TestPrincipal): Promise<string> => {
      const key = JSON.stringify(principal)
      const known = tokens.get(key) ?? makeToken(principal, parties)
      tokens.set(key, known)
      return known
    }
    return {
      postgres,
      config,
      policies,
      token,
      party: (organization) => partyOf(parties, organization),
      database: (name) => databaseOf(databases, name),
      connect,
      ownerClient: (organization) => connect(databaseOf(databases, organization)),
      ledgerClient: () => connect(databaseOf(databases, 'gateway')),
      writeAgreement: (agreement) => writeAgreement(policies, agreement, parties),
      removeAgreement: (name) => {
        for (const ending of ['yaml', 'jws']) rmSync(join(policies, 'agreements', `${name}.${ending}`), { force: true })
      },
      writeRoles: (organization, roles, version = 1) => writeRoles(policies, organization, { version, roles }),
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

// --- databases -------------------------------------------------------------------------------------------------------------------------------------------------

async function makeDatabases(postgres: TestPostgres, world: TestWorld | null, ids: readonly string[]): Promise<ReadonlyMap<string, string>> {
  const databases = new Map<string, string>()
  await withClient(postgres.url('postgres'), async (client) => {
    await makeGatewayRole(client)
    const { rowCount } = await client.query('SELECT FROM pg_roles WHERE rolname = $1', [LEDGER_ROLE])
    if (rowCount === 0) await client.query(`CREATE ROLE ${LEDGER_ROLE} LOGIN`)
  })
  for (const id of [...ids, 'gateway']) databases.set(id, (await postgres.createDatabase()).name)
  await withClient(postgres.url('postgres'), (client) => client.query(`ALTER DATABASE ${databaseOf(databases, 'gateway')} OWNER TO ${LEDGER_ROLE}`))
  for (const id of ids) {
    await withClient(postgres.url(databaseOf(databases, id)), async (client) => {
      const own = world?.organizations[id]
      if (own) {
        await client.query(own.sql)
        await grantReading(client)
      } else {
        const organization = DEMO_ORGANIZATIONS.find((known) => known === id) ?? 'aurora'
        await seedOrganization(client, organization, TINY)
        await setupOrganization(client, { organization, rlsSql: null })
      }
      await installPseudonyms(client, id, ids)
    })
  }
  return databases
}

function databaseOf(databases: ReadonlyMap<string, string>, name: string): string {
  const database = databases.get(name)
  if (database === undefined) throw new Error(`the test has no database for ${name}`)
  return database
}

/** Lets the gateway read every table and view of the database. */
export async function grantReading(client: pg.ClientBase): Promise<void> {
  const { rows } = await client.query<{ name: string }>(
    `SELECT quote_ident(nspname) AS name FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%' AND nspname NOT IN ('information_schema', 'concordat')`,
  )
  for (const { name } of rows)
    await client.query(`GRANT USAGE ON SCHEMA ${name} TO ${GATEWAY_ROLE}; GRANT SELECT ON ALL TABLES IN SCHEMA ${name} TO ${GATEWAY_ROLE}`)
}

/** The key of a grantor's pseudonyms for one grantee. */
export function pseudonymKey(grantor: string, grantee: string): Buffer {
  return createHash('sha256').update(`${grantor} to ${grantee}`).digest()
}

/** The owner's function for pseudonyms as `concordat rls render` writes it, with keys that are known here. */
async function installPseudonyms(client: pg.ClientBase, grantor: string, grantees: readonly string[]): Promise<void> {
  await client.query(
    `CREATE SCHEMA concordat; CREATE TABLE concordat.pseudonym_key (grantee text PRIMARY KEY, inner_pad bytea NOT NULL, outer_pad bytea NOT NULL)`,
  )
  for (const grantee of grantees) {
    const block = Buffer.alloc(64)
    pseudonymKey(grantor, grantee).copy(block)
    const pads = [0x36, 0x5c].map((pad) => Buffer.from(block.map((byte) => byte ^ pad))) // RFC 2104
    await client.query('INSERT INTO concordat.pseudonym_key VALUES ($1, $2, $3)', [grantee, ...pads])
  }
  await client.query(`BEGIN; ${ownerFunctions({ role: GATEWAY_ROLE, grantees })} COMMIT`)
}

/** Applies what `concordat rls render` writes, as the owner. */
async function protect(config: string, databases: ReadonlyMap<string, string>, postgres: TestPostgres): Promise<void> {
  const loaded = loadConfig(config, {})
  for (const organization of loaded.organizations.keys()) {
    const scripts = await rlsScripts(loaded, { organization, store: null, role: null, ownRoles: [] }, Date.now())
    await withClient(postgres.url(databaseOf(databases, organization)), async (client) => {
      for (const { statements } of scripts) await client.query(`BEGIN; ${statements} COMMIT`)
    })
  }
}

// --- keys, policies, configuration -----------------------------------------------------------------------------------------------------------------------------

async function makeKeys(folder: string, world: TestWorld | null, ids: readonly string[]): Promise<ReadonlyMap<string, TestParty>> {
  mkdirSync(join(folder, 'keys'))
  // The same in every test, so that gateways over equal data give equal cursors.
  writeFileSync(join(folder, 'keys', 'cursor.key'), Buffer.alloc(32, 7).toString('base64url'))
  const parties = new Map<string, TestParty>()
  for (const id of ids) {
    const { privateJwk, publicJwk } = await generateKeyPair('EdDSA')
    writeFileSync(join(folder, 'keys', `${id}.jwk`), JSON.stringify(publicJwk))
    writeFileSync(join(folder, 'keys', `${id}.jwks`), JSON.stringify({ keys: [publicJwk] }))
    writeFileSync(join(folder, 'keys', `${id}.ledger.pem`), generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }))
    const demo = DEMO_ORGANIZATIONS.find((known) => known === id)
    parties.set(id, { id, privateJwk, issuer: !world && demo ? DEMO_PARTIES[demo].issuer : `https://${id}.example` })
  }
  return parties
}

async function writePolicies(folder: string, world: TestWorld | null, parties: ReadonlyMap<string, TestParty>): Promise<string> {
  const policies = join(folder, 'policies')
  const demo = join(process.cwd(), 'schema')
  mkdirSync(join(policies, 'roles'), { recursive: true })
  mkdirSync(join(policies, 'agreements'))
  mkdirSync(join(folder, 'schema'))
  if (world) {
    writeFileSync(join(folder, 'schema', 'contract.graphql'), world.contract)
    for (const [id, { roles }] of Object.entries(world.organizations)) if (roles) writeRoles(policies, id, { version: 1, roles })
    for (const agreement of world.agreements ?? []) await writeAgreement(policies, agreement, parties)
    return policies
  }
  cpSync(join(demo, 'contract.graphql'), join(folder, 'schema', 'contract.graphql'))
  cpSync(join(demo, 'demo', 'roles'), join(policies, 'roles'), { recursive: true })
  for (const name of readdirSync(join(demo, 'demo', 'agreements')).filter((file) => file.endsWith('.yaml'))) {
    await writeAgreement(policies, parse(readFileSync(join(demo, 'demo', 'agreements', name), 'utf8')) as TestAgreement, parties)
  }
  return policies
}

function writeRoles(policies: string, organization: string, content: { readonly version: number; readonly roles: Readonly<Record<string, unknown>> }): void {
  writeFileSync(join(policies, 'roles', `${organization}.yaml`), stringify({ organization, ...content }, PLAIN))
}

async function writeAgreement(policies: string, agreement: TestAgreement, parties: ReadonlyMap<string, TestParty>): Promise<void> {
  const file = join(policies, 'agreements', `${agreement.agreement}.yaml`)
  writeFileSync(file, stringify(agreement, PLAIN))
  const outcome = await signAgreement(file, partyOf(parties, agreement.grantor).privateJwk)
  if (outcome.kind === 'refused') throw new Error(`the agreement ${agreement.agreement} is refused: ${outcome.problems.join('; ')}`)
}

/** Anchors are refused where the gateway reads. */
const PLAIN = { aliasDuplicateObjects: false } as const

function partyOf(parties: ReadonlyMap<string, TestParty>, id: string): TestParty {
  const party = parties.get(id)
  if (!party) throw new Error(`the test has no organization ${id}`)
  return party
}

interface ConfigFacts {
  readonly options: TestGatewayOptions
  readonly ids: readonly string[]
  readonly postgres: TestPostgres
  readonly databases: ReadonlyMap<string, string>
  readonly parties: ReadonlyMap<string, TestParty>
}

/** @returns the path of the file. */
function writeConfig(folder: string, { options, ids, postgres, databases, parties }: ConfigFacts): string {
  const { world, gateway, store } = options
  const demoBindings = world ? {} : (parse(readFileSync(join(process.cwd(), 'schema/demo/bindings.yaml'), 'utf8')) as Record<string, unknown>)
  const organizations = ids.map((id) => {
    const own = world?.organizations[id]
    const demo = DEMO_ORGANIZATIONS.find((known) => known === id)
    const bindings = own ? own.bindings : demoBindings[id]
    const settings = {
      name: !world && demo ? DEMO_PARTIES[demo].name : `Organization ${id}`,
      jurisdiction: own?.jurisdiction ?? (!world && demo ? DEMO_PARTIES[demo].jurisdiction : 'DE'),
      issuers: [{ url: partyOf(parties, id).issuer, algorithms: ['EdDSA'], keys: { file: `keys/${id}.jwks` } }],
      verifyKey: `keys/${id}.jwk`,
      ledgerKey: { file: `keys/${id}.ledger.pem` },
      stores: { main: { kind: 'postgres', url: postgres.url(databaseOf(databases, id), GATEWAY_ROLE), ...store, ...own?.store }, ...options.moreStores?.[id] },
      ...(bindings ? { bindings } : {}),
      ...(own?.embeddings && { embeddings: own.embeddings }),
    }
    return [id, settings] as const
  })
  const config = {
    contract: 'schema',
    policies: 'policies',
    gateway: {
      listen: '127.0.0.1:0',
      jurisdiction: DEMO_GATEWAY_JURISDICTION,
      audience: AUDIENCE,
      database: postgres.url(databaseOf(databases, 'gateway'), LEDGER_ROLE),
      cursorKey: { file: 'keys/cursor.key' },
      explorer: false,
      reload: '100ms',
      drain: '0s',
      ...gateway,
    },
    organizations: Object.fromEntries(organizations),
  }
  const file = join(folder, 'concordat.yaml')
  writeFileSync(file, stringify(config, PLAIN))
  return file
}

async function makeToken(principal: TestPrincipal, parties: ReadonlyMap<string, TestParty>): Promise<string> {
  const claims = typeof principal === 'string' ? demoClaims(principal) : principal
  const party = partyOf(parties, claims.organization)
  return issueToken({
    privateJwk: party.privateJwk,
    issuer: party.issuer,
    audience: AUDIENCE,
    subject: claims.subject ?? `somebody@${claims.organization}.example`,
    roles: claims.roles,
    purposes: claims.purposes ?? ['testing'],
    claims: claims.claims ?? {},
    lifetimeSeconds: 3_600,
    nowMs: Date.now(),
  })
}

function demoClaims(name: string): TestClaims {
  const found = DEMO_PRINCIPALS.find((each) => each.name === name)
  if (!found) throw new Error(`nobody in the demo is called ${name}`)
  return { ...found, subject: subjectOf(found) }
}
