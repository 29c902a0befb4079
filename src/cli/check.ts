/** `concordat check`: connects to every store and says, for each organization, what does not fit the contract. */
import pg from 'pg'
import type { Config, OrganizationConfig, StoreConfig } from '../config.js'
import { collectionBinder, type StoreContents } from '../connectors/bind-collections.js'
import type { CollectionInput } from '../connectors/collections.js'
import type { Connector } from '../connectors/connector.js'
import type { MilvusOptions } from '../connectors/milvus/connector.js'
import type { PineconeOptions } from '../connectors/pinecone/connector.js'
import type { Finding } from '../connectors/postgres/finding.js'
import { type BindingInput, resolveBinding } from '../connectors/postgres/bind-tables.js'
import type { StoreDescription } from '../connectors/postgres/describe.js'
import { describeStore } from '../connectors/postgres/describe.js'
import type { ContractMistake } from '../gateway/contract.js'
import { ContractError, contractSources, parseContract } from '../gateway/contract.js'
import type { Catalog } from '../query/catalog.js'

export interface CheckOptions {
  readonly json: boolean
  readonly write: (text: string) => void
}

/** The machine's form of the answer; stable. */
export interface CheckReport {
  readonly ok: boolean
  readonly errors: number
  readonly warnings: number
  readonly contract: { readonly mistakes: readonly ContractMistake[]; readonly types: readonly string[] }
  readonly organizations: readonly { readonly organization: string; readonly findings: readonly Finding[] }[]
}

/** Organizations whose stores are read at one time. */
const PARALLEL = 8
/** One query of a store's catalog, at the store; a connection that says nothing is given up after twice this time. */
const CATALOG_QUERY_MS = 30_000

/** Exit code: 0, or 1 where there is an error. Warnings alone do not count. */
export async function check(config: Pick<Config, 'contract' | 'organizations'>, { json, write }: CheckOptions): Promise<number> {
  const report = await checkReport(config)
  write(json ? `${JSON.stringify(report, null, 2)}\n` : reportText(report))
  return report.ok ? 0 : 1
}

export async function checkReport(config: Pick<Config, 'contract' | 'organizations'>): Promise<CheckReport> {
  const catalog = await contractOf(config.contract)
  if (catalog instanceof ContractError) {
    return { ok: false, errors: catalog.mistakes.length, warnings: 0, contract: { mistakes: catalog.mistakes, types: [] }, organizations: [] }
  }
  const organizations: CheckReport['organizations'][number][] = []
  const waiting = [...config.organizations.values()]
  while (waiting.length > 0) {
    const batch = waiting.splice(0, PARALLEL)
    organizations.push(...(await Promise.all(batch.map(async (each) => ({ organization: each.id, findings: await checkOrganization(each, catalog) })))))
  }
  const findings = organizations.flatMap((each) => each.findings)
  const errors = findings.filter(({ severity }) => severity === 'error').length
  const types = [...catalog.entities.keys()]
  return { ok: errors === 0, errors, warnings: findings.length - errors, contract: { mistakes: [], types }, organizations }
}

async function contractOf(folder: string): Promise<Catalog | ContractError> {
  try {
    return parseContract(await contractSources(folder))
  } catch (error) {
    if (error instanceof ContractError) return error
    throw error
  }
}

async function checkOrganization(organization: OrganizationConfig, catalog: Catalog): Promise<readonly Finding[]> {
  const unreachable: Finding[] = []
  const stores = new Map<string, { schema: string; description: StoreDescription | null }>()
  for (const [name, store] of organization.stores) {
    if (store.kind !== 'postgres') continue
    const read = await readStore(store.url.reveal(), store.pool)
    if (read.kind === 'failed') unreachable.push(unreachableFinding(name, read.reason))
    stores.set(name, { schema: store.schema, description: read.kind === 'read' ? read.description : null })
  }
  const collections = await collectionFindings(organization, catalog)
  const configured = collections?.configured ?? organization.bindings
  const { findings } = resolveBinding({ catalog, organization: organization.id, configured, stores })
  return [...unreachable, ...findings, ...(collections?.findings ?? [])]
}

function unreachableFinding(store: string, reason: string): Finding {
  return {
    severity: 'error',
    rule: 'store',
    type: null,
    field: null,
    place: store,
    problem: `the store could not be read: ${reason}`,
    hint: 'mend its `url`, or start it; the types that it holds were not checked',
  }
}

export type StoreReading = { readonly kind: 'read'; readonly description: StoreDescription } | { readonly kind: 'failed'; readonly reason: string }

/** What a database holds, over one connection that is closed again. The reason of a failure is the driver's, which names no password. */
export async function readStore(url: string, { connectMs }: Pick<StoreConfig['pool'], 'connectMs'>): Promise<StoreReading> {
  const client = new pg.Client({
    connectionString: url,
    connectionTimeoutMillis: connectMs,
    query_timeout: 2 * CATALOG_QUERY_MS,
    application_name: 'concordat',
  })
  // A connection that breaks while idle also fails its next query; without a listener it would end the process.
  client.on('error', () => undefined)
  try {
    await client.connect()
    return { kind: 'read', description: await describeStore(client, { timeoutMs: CATALOG_QUERY_MS }) }
  } catch (error) {
    return { kind: 'failed', reason: reasonOf(error) }
  } finally {
    await client.end().catch(() => undefined)
  }
}

/** A host with several addresses fails with an error for each. */
function reasonOf(error: unknown): string {
  if (typeof error !== 'object' || error === null) return 'unknown'
  if ('errors' in error && Array.isArray(error.errors)) return [...new Set(error.errors.map(reasonOf))].join(', ')
  return 'message' in error && typeof error.message === 'string' && error.message !== '' ? error.message : 'unknown'
}

// --- for people ------------------------------------------------------------------------------------------------------------------------------------------------

function reportText(report: CheckReport): string {
  const contract = report.contract.mistakes.map(({ source, line, column, message }) => `contract: ${source}:${line}:${column}: ${message}\n`)
  const organizations = report.organizations.map(({ organization, findings }) => `${organization}: ${verdict(findings)}\n${findings.map(findingText).join('')}`)
  return [...contract, ...organizations, report.ok ? '' : 'The contract does not hold everywhere.\n'].join('')
}

function verdict(findings: readonly Finding[]): string {
  const errors = findings.filter(({ severity }) => severity === 'error').length
  const warnings = findings.length - errors
  const counted = [counts(errors, 'error'), counts(warnings, 'warning')].filter((text) => text !== '')
  return errors === 0 ? ['fits', ...counted].join(', ') : counted.join(', ')
}

function counts(count: number, word: string): string {
  return count === 0 ? '' : `${count} ${word}${count === 1 ? '' : 's'}`
}

function findingText({ severity, type, field, place, problem, hint }: Finding): string {
  const subject = [type, field].filter((part) => part !== null).join('.')
  const where = [subject, place === null ? '' : `(${place})`].filter((part) => part !== '').join(' ')
  return `  ${severity}  ${where === '' ? '' : `${where}: `}${problem}\n    mend: ${hint}\n`
}

/** Null: no store has collections. Those of MongoDB and Neo4j have no catalog, so that only the binding itself is looked at. */
async function collectionFindings(
  { stores, bindings }: OrganizationConfig,
  catalog: Catalog,
): Promise<{ readonly configured: BindingInput['configured']; readonly findings: readonly Finding[] } | null> {
  const input = { catalog, configured: bindings, stores: Array.from(stores, ([name, { kind }]) => ({ name, kind })) }
  const bindCollections = await collectionBinder(input)
  if (!bindCollections) return null
  const described = new Map<string, StoreContents | null>()
  const unreachable: Finding[] = []
  for (const [name, store] of stores) {
    if (store.kind !== 'milvus' && store.kind !== 'pinecone') continue
    const read = await readContents(name, store, input)
    if (typeof read === 'string') unreachable.push(unreachableFinding(name, read))
    described.set(name, typeof read === 'string' ? null : read)
  }
  const { configured, mistakes } = bindCollections(input, described)
  const findings = mistakes.map(({ type, field, problem }): Finding => ({
    severity: 'error',
    rule: 'type',
    type,
    field,
    place: null,
    problem,
    hint: 'mend the binding',
  }))
  return { configured, findings: [...unreachable, ...findings] }
}

/** A text says why it could not be read. */
async function readContents(name: string, store: StoreConfig, input: CollectionInput): Promise<StoreContents | string> {
  const { url, pool, scanRows } = store
  const own = { store: name, url: url.reveal(), pool: { max: 1, waitingMax: 1, connectMs: pool.connectMs, idleMs: pool.idleMs }, rowsMax: scanRows }
  const { connector, contents } = store.kind === 'pinecone' ? await pineconeContents(own, input) : await milvusContents(own, input)
  try {
    return await contents()
  } catch (error) {
    return reasonOf(error instanceof Error ? (error.cause ?? error) : error)
  } finally {
    await connector.close()
  }
}

interface Contents {
  readonly connector: Connector
  contents(): Promise<StoreContents>
}

async function milvusContents(own: MilvusOptions, input: CollectionInput): Promise<Contents> {
  const { MilvusConnector } = await import('../connectors/milvus/connector.js')
  const { collectionsIn } = await import('../connectors/milvus/bind-collections.js')
  const connector = new MilvusConnector(own)
  return { connector, contents: () => connector.describeCollections(collectionsIn(own.store, input), new AbortController().signal) }
}

async function pineconeContents(own: PineconeOptions, input: CollectionInput): Promise<Contents> {
  const { PineconeConnector } = await import('../connectors/pinecone/connector.js')
  const { indexesIn } = await import('../connectors/pinecone/bind-indexes.js')
  const connector = new PineconeConnector(own)
  return { connector, contents: () => connector.describeIndexes(indexesIn(own.store, input), new AbortController().signal) }
}
