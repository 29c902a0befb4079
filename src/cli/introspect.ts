/** `concordat introspect`: from an existing PostgreSQL database, a contract, its binding and a configuration that `serve` takes as it is. */
import { generateKeyPairSync } from 'node:crypto'
import { chmod, mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { stringify } from 'yaml'
import type { ConfiguredField, ConfiguredType } from '../connectors/configured.js'
import { resolveBinding } from '../connectors/postgres/bind-tables.js'
import type { Finding } from '../connectors/postgres/finding.js'
import { placeText } from '../connectors/postgres/finding.js'
import type { StoreDescription } from '../connectors/postgres/describe.js'
import { parseContract } from '../gateway/contract.js'
import { readStore } from './check.js'
import type { StartingContract } from './starting-contract.js'
import { startingContract } from './starting-contract.js'
import { generateKeyPair } from './token.js'

export interface IntrospectOptions {
  /** Id of the organization that owns the database. */
  readonly organization: string
  /** Folder to make. It must not exist, or be empty. */
  readonly out: string
  /** `public` when absent. */
  readonly schemas?: readonly string[]
  /** Key columns of views and of tables without a primary key, by `schema.table`. */
  readonly keys?: ReadonlyMap<string, readonly string[]>
  /** Where the organization is (ISO 3166); `ZZ`, which says that it is not known, when absent. */
  readonly jurisdiction?: string
  /** URL of the gateway's own database; when absent, its ledgers go to a schema of their own in the same database. */
  readonly gatewayDatabase?: string
}

export interface IntrospectReport {
  /** Absolute. */
  readonly folder: string
  /** Relative to the folder. */
  readonly files: readonly string[]
  readonly types: readonly string[]
  /** What was renamed or left out, a sentence each. */
  readonly notes: readonly string[]
  /** What `check` will say of the binding. */
  readonly findings: readonly Finding[]
}

/** Nothing was written. The message is for the person who runs the command. */
export class IntrospectError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'IntrospectError'
  }
}

const STORE = 'main'
const CONNECT_MS = 10_000
/** Of the role that the starting policies have. */
const STARTING_ROLE = 'everything'

/** @throws IntrospectError where the database cannot be read, holds nothing to share, or the folder is taken. */
export async function introspect(url: string, options: IntrospectOptions): Promise<IntrospectReport> {
  refuseOptions(url, options)
  const folder = resolve(options.out)
  await refuseFolder(folder)
  const reading = await readStore(url, { connectMs: CONNECT_MS })
  if (reading.kind === 'failed') throw new IntrospectError(`the database could not be read: ${reading.reason}`)
  const schemas = options.schemas ?? ['public']
  const contract = startingContract(reading.description, { store: STORE, schemas, keys: options.keys ?? new Map<string, readonly string[]>() })
  if (contract.types.length === 0) throw new IntrospectError(nothingFound(reading.description, { schemas, contract }))
  const files = await startingFiles(url, { options, contract, schema: schemas[0] ?? 'public' })
  await writeFolder(folder, files)
  return {
    folder,
    files: files.map(({ path }) => path),
    types: contract.types,
    notes: contract.notes,
    findings: findingsOf(contract, { description: reading.description, schema: schemas[0] ?? 'public', organization: options.organization }),
  }
}

function refuseOptions(url: string, { organization, schemas, jurisdiction, gatewayDatabase }: IntrospectOptions): void {
  for (const each of [url, ...(gatewayDatabase === undefined ? [] : [gatewayDatabase])]) {
    if (!/^postgres(ql)?:\/\/./.test(each) || !URL.canParse(each)) throw new IntrospectError('name a database as `postgres://user:password@host:5432/database`')
  }
  if (!/^[a-z][a-z0-9-]{0,62}$/.test(organization))
    throw new IntrospectError('the id of an organization has lower case letters, digits and hyphens, such as `aurora`')
  if (schemas?.length === 0 || schemas?.includes('')) throw new IntrospectError('name at least one schema')
  if (jurisdiction !== undefined && !/^[A-Z]{2}(-[A-Z0-9]{1,3})?$/.test(jurisdiction))
    throw new IntrospectError('a jurisdiction is a country such as `DE`, or a part of one such as `CA-QC`')
}

async function refuseFolder(folder: string): Promise<void> {
  const entries = await readdir(folder).catch((error: unknown) => {
    if (isMissing(error)) return []
    throw new IntrospectError(`${folder} cannot be used as a folder`)
  })
  if (entries.length > 0) throw new IntrospectError(`${folder} is not empty; name a new folder`)
}

function isMissing(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === 'ENOENT'
}

function nothingFound({ tables }: StoreDescription, { schemas, contract }: { schemas: readonly string[]; contract: StartingContract }): string {
  const others = [...new Set(tables.map(({ schema }) => schema))].filter((schema) => !schemas.includes(schema))
  const found = contract.notes.length > 0 ? contract.notes.join('\n') : `there are no tables in ${schemas.join(', ')}`
  return `${found}${others.length > 0 ? `\nother schemas with tables: ${others.join(', ')}` : ''}`
}

function findingsOf(
  { sdl, bindings }: StartingContract,
  { description, schema, organization }: { description: StoreDescription; schema: string; organization: string },
): readonly Finding[] {
  const catalog = parseContract([{ name: 'contract.graphql', text: sdl }])
  return resolveBinding({ catalog, organization, configured: bindings, stores: new Map([[STORE, { schema, description }]]) }).findings
}

// --- files -----------------------------------------------------------------------------------------------------------------------------------------------------

interface StartingFile {
  readonly path: string
  readonly text: string
  /** Read by its owner alone. */
  readonly secret: boolean
}

interface FileParts {
  readonly options: IntrospectOptions
  readonly contract: StartingContract
  readonly schema: string
}

async function startingFiles(url: string, parts: FileParts): Promise<readonly StartingFile[]> {
  const { organization, gatewayDatabase } = parts.options
  const issuer = await generateKeyPair('ES256')
  const ledgerKey = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  const open = (path: string, text: string): StartingFile => ({ path, text, secret: false })
  const secret = (path: string, text: string): StartingFile => ({ path, text, secret: true })
  return [
    open('concordat.yaml', configurationText(parts)),
    open('schema/contract.graphql', parts.contract.sdl),
    open(`policies/roles/${organization}.yaml`, roleText(parts)),
    open('policies/agreements/README.md', AGREEMENTS),
    open(`keys/${organization}.jwks.json`, `${JSON.stringify({ keys: [issuer.publicJwk] }, null, 2)}\n`),
    secret(`secrets/${organization}-issuer.private.jwk`, `${JSON.stringify(issuer.privateJwk, null, 2)}\n`),
    secret(`secrets/${organization}-ledger.pem`, ledgerKey),
    secret(`secrets/${organization}-url`, `${url}\n`),
    secret('secrets/gateway-url', `${gatewayDatabase ?? url}\n`),
    open('.gitignore', '/secrets/\n/checkpoints/\n'),
  ]
}

const AGREEMENTS = `# Agreements

One file for each agreement with another organization, and its signature beside it. There is none yet: nobody else sees anything.
`

/** The issuer of tokens that the private key beside the configuration signs. */
function localIssuer(organization: string): string {
  return `http://localhost/${organization}`
}

const AUDIENCE = 'http://127.0.0.1:4000/graphql'

/** Prints a token that the configuration in `folder` accepts. */
export function tokenCommand(organization: string, folder: string): string {
  const key = join(folder, `secrets/${organization}-issuer.private.jwk`)
  return `concordat token --key ${key} --issuer ${localIssuer(organization)} --audience ${AUDIENCE} --subject me --role ${STARTING_ROLE}`
}

function configurationText({ options, contract, schema }: FileParts): string {
  const { organization, jurisdiction = 'ZZ', gatewayDatabase } = options
  const store = { kind: 'postgres', url: { file: `./secrets/${organization}-url` }, ...(schema === 'public' ? {} : { schema }) }
  const bindings = Object.fromEntries([...contract.bindings].map(([type, settings]) => [type, settingsOf(settings)]))
  const gateway = { listen: '127.0.0.1:4000', jurisdiction, audience: AUDIENCE, database: { file: './secrets/gateway-url' } }
  const settings = {
    name: organization,
    jurisdiction,
    issuers: [{ url: localIssuer(organization), algorithms: ['ES256'], keys: { file: `./keys/${organization}.jwks.json` } }],
    ledgerKey: { file: `./secrets/${organization}-ledger.pem` },
    stores: { [STORE]: store },
    ...(contract.bindings.size === 0 ? {} : { bindings }),
  }
  const yaml = (value: unknown) => stringify(value, { version: '1.2', lineWidth: 0, aliasDuplicateObjects: false, collectionStyle: 'any' })
  return [
    '# Written by `concordat introspect`; `concordat check` and `concordat serve` take it as it is. docs/configuration.md has every key.',
    '# A token, from this folder:',
    `#   ${tokenCommand(organization, '.')}`,
    '# In production an identity provider takes the place of that key, and the gateway connects to each store as a role with no rights but SELECT.',
    ...(jurisdiction === 'ZZ' ? ['# `ZZ` stands for a place that is not known: say where the gateway runs, and where the organization is.'] : []),
    ...(gatewayDatabase === undefined
      ? ["# The gateway's ledgers lie in the schema `concordat` of the same database, to begin with: give them a database of their own (secrets/gateway-url)."]
      : []),
    yaml({ contract: './schema', policies: './policies', gateway, organizations: { [organization]: settings } }),
  ].join('\n')
}

function settingsOf(settings: ConfiguredType): unknown {
  if (settings.kind === 'none') return 'none'
  const { table, fields, uniqueKey = false } = settings
  return {
    ...(table === null ? {} : { table: placeText(table.store ?? STORE, table.schema ?? 'public', table.table) }),
    ...(fields.size === 0 ? {} : { fields: Object.fromEntries([...fields].map(([name, field]) => [name, fieldSettings(field)])) }),
    ...(uniqueKey && { uniqueKey }),
  }
}

function fieldSettings(field: ConfiguredField): unknown {
  if (field.kind === 'constant') return { constant: field.value }
  const [column] = field.columns
  if (field.columns.length !== 1) return { columns: field.columns }
  return field.values ? { column, values: Object.fromEntries(field.values) } : column
}

function roleText({ options, contract }: FileParts): string {
  const read = Object.fromEntries(contract.types.map((type) => [type, { fields: 'all' }]))
  const role = { read, audit: ['list', 'export'], explain: true }
  return `# What people of the organization may do with its own data. Begin here: a role for each kind of task, with fields and rows.\n${stringify(
    { organization: options.organization, version: 1, roles: { [STARTING_ROLE]: role } },
    { version: '1.2', lineWidth: 0 },
  )}`
}

/** All files or none: they are written beside the folder, which then gets its name. */
async function writeFolder(folder: string, files: readonly StartingFile[]): Promise<void> {
  const draft = `${folder}.${process.pid}.draft`
  try {
    for (const { path, text, secret } of files) {
      const file = join(draft, path)
      await mkdir(dirname(file), { recursive: true, mode: secret ? 0o700 : 0o755 })
      await writeFile(file, text, { mode: secret ? 0o600 : 0o644, flag: 'wx' })
    }
    await chmod(join(draft, 'secrets'), 0o700)
    await rename(draft, folder)
  } catch {
    await rm(draft, { recursive: true, force: true })
    throw new IntrospectError(`${folder} could not be written`)
  }
}
