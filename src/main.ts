/** The composition root: the only place that builds pools, connectors, keys, clocks and loggers, and hands them to each other. */
import { hkdfSync, randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import pg from 'pg'
import { CheckpointKeeper } from './audit/checkpoint-keeper.js'
import { checkpointSigner, parseLedgerKey, type CheckpointSigner } from './audit/checkpoint.js'
import { LedgerStore } from './audit/ledger-store.js'
import { LEASE, PostgresLedger } from './audit/ledger.js'
import { migrate, MIGRATIONS } from './audit/migrate.js'
import { pooledRandom, type Random, uuidV7 } from './audit/uuid.js'
import type { Config, OrganizationConfig, StoreConfig } from './config.js'
import { collectionBinder, type StoreContents } from './connectors/bind-collections.js'
import { type CollectionInput, holdsCollections, joinedBinding } from './connectors/collections.js'
import type { Connector, StoresTogether } from './connectors/connector.js'
import { resolveBinding } from './connectors/postgres/bind-tables.js'
import { PostgresConnector } from './connectors/postgres/connector.js'
import { describeStore, type StoreDescription } from './connectors/postgres/describe.js'
import { GatewayError } from './errors.js'
import { answer, type AnswerParts } from './gateway/answer.js'
import { apiIndex, apiSchema } from './gateway/api-schema.js'
import { type AuthenticateConfig, authenticator } from './gateway/authenticate.js'
import { PolicyAuthorities } from './gateway/authorities.js'
import { contractSources, parseContract } from './gateway/contract.js'
import { cursors } from './gateway/cursor.js'
import { Engine } from './gateway/engine.js'
import { loadExplorer } from './gateway/explorer.js'
import { type EmbeddingParts, Embeddings, type EmbeddingService } from './gateway/embedding.js'
import { HttpForeignTransport } from './gateway/foreign-service.js'
import { keyRecorder } from './gateway/key-disclosure.js'
import { Operations } from './gateway/operation.js'
import { openPolicies, type Policies, type PoliciesOptions, printMistake } from './gateway/policies.js'
import { proofMemory, type SpendProof } from './gateway/proof-memory.js'
import { parseInput } from './gateway/scalars.js'
import { seatsFor } from './gateway/seats.js'
import { type DemoPrincipal, startServer } from './gateway/server.js'
import { OrganizationStores } from './gateway/stores.js'
import { StepsConnector } from './connectors/steps/steps-connector.js'
import type { ForeignService, Supergraph, SupergraphParts } from './gateway/supergraph.js'
import { type Observe, observer } from './observe.js'
import { keyAccess } from './policy/key-access.js'
import { authorityOf } from './policy/authority-of.js'
import type { Catalog } from './query/catalog.js'

export interface StartOptions {
  readonly config: Config
  /** Principals that the explorer offers; null: this is no demo. */
  readonly demo: readonly DemoPrincipal[] | null
  /** For the bench alone: what measures the cost of a guarantee does without it. No configuration reaches these. */
  readonly bench?: {
    readonly unrecorded?: boolean
    /** Stands in for a store's connector. */
    readonly connectorOf?: (own: Connector) => Connector
  }
  /** Where log lines go; standard output where absent. */
  readonly writeLog?: (line: string) => void
  /** Absent: no other process of this machine serves the same address. */
  readonly fleet?: Fleet
}

/** What processes that serve one address together have in common. */
export interface Fleet {
  /** Which of them this is, from 1; in each line of the log. */
  readonly worker: number
  /** 32 bytes; seals cursors where the configuration has no key, so that any of them goes on where another stopped. */
  readonly cursorSecret: Uint8Array
  readonly spendProof: SpendProof
}

export interface RunningGateway {
  /** Without a path. */
  readonly url: string
  /** Ends once requests under way have ended, or the time for it is over. A second call ends at once. */
  stop(): Promise<void>
}

const RETRY = { firstMs: 500, longestMs: 15_000 } as const
const DESCRIBE_TIMEOUT_MS = 10_000

/** @throws Error where contract, policies or keys do not load, or the address cannot be listened on; nothing is left running. */
export async function startGateway(options: StartOptions): Promise<RunningGateway> {
  const { config, fleet } = options
  const observe = observer({
    level: config.gateway.log.level,
    ...(options.writeLog && { write: options.writeLog }),
    ...(fleet && { worker: fleet.worker }),
  })
  const closing: (() => Promise<unknown> | undefined)[] = []
  const closeAll = async (): Promise<void> => {
    for (const close of closing.splice(0).reverse()) await close()
  }
  try {
    const catalog = parseContract(await contractSources(config.contract))
    const policies = await openPolicies({
      ...policySources(config, catalog),
      onRefused: (mistakes) => observe({ kind: 'policies-refused', mistakes: mistakes.map(printMistake) }),
    })
    closing.push(async () => policies.close())
    const random = pooledRandom()
    const seats = seatsFor(config.gateway.limits.concurrentPerPrincipal)
    const database = ledgerDatabase(config, { random, underWay: () => seats.total, observe })
    closing.push(() => database.close())
    const organizations = await storesOfAll({ catalog, config, observe, connectorOf: options.bench?.connectorOf ?? itself })
    closing.push(() => Promise.all([...organizations.values()].map((organization) => organization.close())))
    await Promise.all([database.open(), ...[...organizations.values()].map((organization) => organization.open())])
    const authorities = new PolicyAuthorities({
      policies,
      ledger: database.ledger,
      context: { catalog, gatewayJurisdiction: config.gateway.jurisdiction, organizations: jurisdictionsOf(config) },
      now: () => Date.now(),
      keptMax: config.gateway.cache.principals,
      onAdopted: (set, epoch) => observe({ kind: 'policies-loaded', epoch: String(epoch), roles: set.roles.size, agreements: set.agreements.length }),
    })
    closing.push(async () => authorities.close())
    const secret = cursorSecret(config, () => fleet?.cursorSecret ?? random(32), observe)
    const { limits, cache } = config.gateway
    const entryParts = { tokenKey: new Uint8Array(hkdfSync('sha256', secret, new Uint8Array(0), 'concordat token ids v1', 32)), random }
    const contractSchema = apiSchema(catalog)
    const services = await foreignServices(config)
    closing.push(async () => services.forEach(({ transport }) => transport.close()))
    const embeddings = embeddingsOf(config, { ledger: database.ledger, entryParts })
    closing.push(async () => embeddings.close())
    const foreign = { contractSchema, catalog, services, policies, ledger: database.ledger, entryParts }
    const graph = services.length > 0 ? await foreignGraph(foreign, config, observe) : null
    const schema = graph?.schema ?? contractSchema
    const operations = await Operations.start({ schema, limits, cache, introspection: config.gateway.introspection })
    closing.push(() => operations.stop())
    const engine = new Engine({
      schema,
      catalog,
      index: apiIndex(catalog),
      organizations,
      cursors: cursors(secret),
      embeddings,
      gatewayJurisdiction: config.gateway.jurisdiction,
      limits: { ...limits, derived: cache.plans },
    })
    const parts: AnswerParts = {
      authenticate: authenticator({ ...authenticateConfig(config, observe), ...(fleet && { spendProof: fleet.spendProof }) }),
      operations,
      engine,
      supergraph: graph,
      authorities,
      ledger: database.ledger,
      seats,
      entryParts,
      clock: { now: () => Date.now(), monotonic: () => performance.now() },
      answerBytes: limits.answerBytes,
      unrecorded: options.bench?.unrecorded ?? false,
      observe,
    }
    const server = await startServer({
      answer: (request) => answer(request, parts),
      listen: config.gateway.listen,
      url: config.gateway.url,
      limits,
      drainMs: config.gateway.drainMs,
      ready: () => database.ledger.obstacle() === null,
      requestId: () => uuidV7(Date.now(), random),
      observe,
      explorer: config.gateway.explorer ? await loadExplorer() : null,
      demo: options.demo,
    })
    let stopping: Promise<void> | null = null
    return {
      url: server.url,
      stop: () => {
        const draining = server.stop() // a second call cuts what is still under way
        stopping ??= draining.then(closeAll)
        return stopping
      },
    }
  } catch (error) {
    await closeAll()
    throw error
  }
}

export interface ExplainRequest {
  readonly token: string
  readonly purpose: string | null
  readonly document: string
  readonly variables: unknown
}

/**
 * What an operation would ask of whom, for the operator: decisions, and every owner's statements. Nothing is asked but the stores' own catalogs, no ledger is written,
 * and no gateway need run.
 *
 * @throws GatewayError every code of a refusal.
 */
export async function explainOperation(config: Config, request: ExplainRequest): Promise<ReturnType<Engine['explain']>> {
  const observe = observer({ level: 'silent' })
  const catalog = parseContract(await contractSources(config.contract))
  const policies = await openPolicies({ ...policySources(config, catalog), onRefused: () => undefined })
  const organizations = await storesOfAll({ catalog, config, observe, connectorOf: itself })
  const schema = apiSchema(catalog)
  const { limits, cache, introspection, jurisdiction } = config.gateway
  const operations = await Operations.start({ schema, limits, cache, introspection })
  try {
    await Promise.all([...organizations.values()].map((organization) => organization.open()))
    const proof = { dpop: null, method: 'POST', url: config.gateway.audience }
    const principal = await authenticator(authenticateConfig(config, observe))({ authorization: `Bearer ${request.token}`, proof })
    const context = { catalog, nowMs: Date.now(), gatewayJurisdiction: jurisdiction, organizations: jurisdictionsOf(config), epoch: 0n }
    const authority = authorityOf(principal, { purposeHeader: request.purpose }, policies.current(), context)
    const operation = await operations.prepare({ method: 'POST', document: request.document, operationName: null, accept: 'graphql-response' })
    if ('errors' in operation) throw new GatewayError('GRAPHQL_VALIDATION_FAILED', operation.errors.map(({ message }) => message).join(' '))
    const engine = new Engine({
      schema,
      catalog,
      index: apiIndex(catalog),
      organizations,
      cursors: cursors(pooledRandom()(32)),
      embeddings: embeddingsOf(config, NOBODY_IS_ASKED),
      gatewayJurisdiction: jurisdiction,
      limits: { ...limits, derived: cache.plans },
    })
    return engine.explain({ operation, variables: request.variables, principal, authority, signal: new AbortController().signal }, 'all')
  } finally {
    policies.close()
    await operations.stop()
    await Promise.all([...organizations.values()].map((organization) => organization.close()))
  }
}

function policySources(config: Config, catalog: Catalog): Omit<PoliciesOptions, 'onRefused'> {
  return {
    directory: config.policies,
    words: { catalog, parseScalar: parseInput },
    organizations: [...config.organizations.values()].map(({ id, verifyKey }) => ({ id, verifyKeyFile: verifyKey })),
    pollMs: config.gateway.reloadMs,
  }
}

function authenticateConfig(config: Config, observe: Observe): AuthenticateConfig {
  return {
    issuers: [...config.organizations.values()].flatMap(({ id, issuers }) => issuers.map((issuer) => ({ ...issuer, organization: id }))),
    audience: config.gateway.audience,
    clockToleranceMs: config.gateway.clockToleranceMs,
    principalsMax: config.gateway.cache.principals,
    now: () => Date.now(),
    spendProof: proofMemory({ now: () => Date.now() }),
    onKeysUnavailable: (issuer, reason) => observe({ kind: 'keys-unavailable', issuer, reason }),
  }
}

function jurisdictionsOf(config: Config): readonly { id: string; jurisdiction: string; storeJurisdictions: readonly string[] }[] {
  return [...config.organizations.values()].map(({ id, jurisdiction, stores }) => ({
    id,
    jurisdiction,
    storeJurisdictions: [...stores.values()].map((store) => store.jurisdiction),
  }))
}

/** Cursors hold only as long as their key: one that is made here ends with the process. */
function cursorSecret(config: Config, make: () => Uint8Array, observe: Observe): Uint8Array {
  const given = config.gateway.cursorKey
  if (given) return Buffer.from(given.reveal(), 'base64')
  observe({ kind: 'cursor-key-made' })
  return make()
}

// --- the gateway's own database --------------------------------------------------------------------------------------------------------------------------------

interface LedgerSurroundings {
  readonly random: Random
  /** Requests of this process. */
  readonly underWay: () => number
  readonly observe: Observe
}

interface LedgerDatabase {
  readonly ledger: PostgresLedger
  /** Brings the database up to date and checks every tree; what fails is tried again in the background, and nothing is answered until then. */
  open(): Promise<void>
  close(): Promise<void>
}

function ledgerDatabase(config: Config, { random, underWay, observe }: LedgerSurroundings): LedgerDatabase {
  const { timeoutMs, queue, batch, checkpointMs, refusalsMs, connections } = config.gateway.audit
  const pool = new pg.Pool({ connectionString: config.gateway.database.reveal(), max: connections, connectionTimeoutMillis: timeoutMs })
  pool.on('error', () => undefined) // an idle connection that is lost is replaced; who uses one sees the failure
  pool.on('connect', (client) => client.on('error', () => undefined)) // without a listener of its own the event would end the process
  const store = new LedgerStore(pool, timeoutMs)
  const process = randomUUID()
  const ledger = new PostgresLedger({
    store,
    limits: { timeoutMs, queueMax: queue, batchMax: batch, refusalsMs, ...LEASE },
    now: () => Date.now(),
    process,
    random,
    underWay,
  })
  const signers = new Map<string, CheckpointSigner>(
    [...config.organizations.values()].map(({ id, ledgerKey }) => [id, checkpointSigner(id, parseLedgerKey(ledgerKey.reveal()))]),
  )
  const keeper = new CheckpointKeeper({
    store,
    signers,
    directory: config.gateway.checkpoints,
    ledger,
    process,
    intervalMs: checkpointMs,
    report: observe,
  })
  let timer: NodeJS.Timeout | null = null
  let isClosed = false
  let isOpen = false
  const open = async (waitMs: number): Promise<void> => {
    try {
      const client = await pool.connect()
      try {
        await migrate(client, { directory: MIGRATIONS })
      } finally {
        client.release()
      }
      await keeper.start()
      ledger.start()
      isOpen = true
      observe({ kind: 'database-available' })
    } catch (cause) {
      observe({ kind: 'database-unavailable', cause })
      if (!isClosed) timer = setTimeout(() => void open(Math.min(waitMs * 2, RETRY.longestMs)), waitMs)
    }
  }
  return {
    ledger,
    open: () => open(RETRY.firstMs),
    close: async () => {
      isClosed = true
      if (timer) clearTimeout(timer)
      await ledger.close()
      if (isOpen) await keeper.stop()
      await pool.end()
    },
  }
}

// --- foreign services ------------------------------------------------------------------------------------------------------------------------------------------

function embeddingsOf(config: Config, parts: Pick<EmbeddingParts, 'ledger' | 'entryParts'>): Embeddings {
  return new Embeddings({ ...parts, services: embeddingServices(config), gatewayJurisdiction: config.gateway.jurisdiction, now: () => Date.now() })
}

/** What explains asks nobody, so there is nothing to record. */
const NOBODY_IS_ASKED: Pick<EmbeddingParts, 'ledger' | 'entryParts'> = {
  ledger: { append: () => Promise.reject(new Error('invariant: an explanation sends nothing')) },
  entryParts: { tokenKey: new Uint8Array(32), random: pooledRandom() },
}

function embeddingServices(config: Config): readonly EmbeddingService[] {
  return [...config.organizations.values()].flatMap(({ id, embeddings }) =>
    Array.from(embeddings, ([model, { url, servedAs, authorization, jurisdiction, deadlineMs, concurrent }]) => ({
      organization: id,
      model,
      servedAs: servedAs ?? model,
      jurisdiction,
      transport: new HttpForeignTransport({
        url,
        authorization: authorization?.reveal() ?? null,
        limits: { deadlineMs, responseBytes: EMBEDDING_BYTES, concurrent },
      }),
    })),
  )
}

/** 16,000 numbers of 20 digits, and more than any service says beside them. */
const EMBEDDING_BYTES = 1024 ** 2

async function foreignServices(config: Config): Promise<readonly ForeignService[]> {
  const configured = [...config.organizations.values()].flatMap(({ id, services }) => [...services].map(([name, service]) => ({ id, name, service })))
  return Promise.all(
    configured.map(async ({ id, name, service }) => ({
      name: `${id}/${name}`, // two organizations may each have a service of this name
      organization: id,
      jurisdiction: service.jurisdiction,
      sdl: await readFile(service.schemaFile, 'utf8'),
      joins: service.joins,
      keysMax: service.keys,
      transport: new HttpForeignTransport({
        url: service.url,
        authorization: service.authorization?.reveal() ?? null,
        limits: { deadlineMs: service.deadlineMs, responseBytes: service.answerBytes, concurrent: service.concurrent },
      }),
    })),
  )
}

interface ForeignGraphParts extends Pick<SupergraphParts, 'contractSchema' | 'catalog' | 'services'>, Pick<AnswerParts, 'ledger' | 'entryParts'> {
  readonly policies: Policies
}

/** Its modules are loaded by who has services: 60 ms of a start. */
async function foreignGraph({ policies, ledger, entryParts, ...parts }: ForeignGraphParts, config: Config, observe: Observe): Promise<Supergraph> {
  const { supergraph } = await import('./gateway/supergraph.js')
  const { limits, jurisdiction: gatewayJurisdiction } = config.gateway
  const context = { catalog: parts.catalog, gatewayJurisdiction, organizations: jurisdictionsOf(config) }
  return supergraph({
    ...parts,
    // Once other policies are in force the ledger refuses the keys of requests from before, and these are authorized afresh.
    mayReceiveKey: (request) => keyAccess(request, policies.current(), { ...context, nowMs: Date.now() }),
    recordKeys: keyRecorder({
      ledger,
      entryParts,
      keyOf: (type) => parts.catalog.entities.get(type)?.key ?? [],
      gatewayJurisdiction,
      jurisdictionOf: (service) => parts.services.find(({ name }) => name === service)?.jurisdiction ?? null,
      now: () => Date.now(),
    }),
    gatewayJurisdiction,
    jurisdictionOf: (organization) => config.organizations.get(organization)?.jurisdiction ?? null,
    limits,
    onFailure: (service, cause) => observe({ kind: 'service-failed', service, cause }),
  })
}

// --- the organizations' stores ---------------------------------------------------------------------------------------------------------------------------------

interface StoresParts {
  readonly catalog: Catalog
  readonly config: Config
  readonly observe: Observe
  readonly connectorOf: (own: Connector) => Connector
}

function itself(own: Connector): Connector {
  return own
}

/** A MongoDB or Neo4j has nothing to describe; `collections` says that it answers. */
type Description = StoreDescription | StoreContents | 'collections'
type Stores = OrganizationStores<Description>

async function storesOfAll(parts: StoresParts): Promise<ReadonlyMap<string, Stores>> {
  const opened = [...parts.config.organizations.values()].map(async (organization) => [organization.id, await organizationStores(organization, parts)] as const)
  return new Map(await Promise.all(opened))
}

async function organizationStores(organization: OrganizationConfig, { catalog, config, observe, connectorOf }: StoresParts): Promise<Stores> {
  const { id, name, jurisdiction } = organization
  const input = { catalog, configured: organization.bindings, stores: Array.from(organization.stores, ([store, { kind }]) => ({ name: store, kind })) }
  const bindCollections = await collectionBinder(input)
  const stores = await Promise.all(
    Array.from(organization.stores, async ([store, each]) => {
      switch (each.kind) {
        case 'postgres':
          return [store, postgresStore(store, each, { config, connectorOf })] as const
        case 'mongodb':
          return [store, await mongoStore(store, each, connectorOf)] as const
        case 'milvus':
          return [store, await milvusStore(store, each, { input, connectorOf })] as const
        case 'neo4j':
          return [store, await graphStore(store, each, connectorOf)] as const
        case 'pinecone':
          return [store, await pineconeStore(store, each, { input, connectorOf })] as const
      }
    }),
  )
  return new OrganizationStores<Description>({
    id,
    name,
    jurisdiction,
    stores: new Map<string, { jurisdiction: string; connector: Connector; describe(): Promise<Description> }>(stores),
    steps: stores.length > 1 || hasParts(organization) ? stepsOf(id, stores, config) : null,
    retry: RETRY,
    bind: (descriptions) => {
      const described = [...organization.stores].flatMap(([store, { schema, kind }]) => {
        const description = descriptions.get(store) ?? null
        return holdsCollections(kind) || (description !== null && !isOfTables(description)) ? [] : [[store, { schema, description }] as const]
      })
      const contents = new Map([...descriptions].map(([store, description]) => [store, isOfCollections(description) ? description : null]))
      const collections = bindCollections?.(input, contents) ?? null
      const configured = collections?.configured ?? organization.bindings
      const { binding, findings } = resolveBinding({ catalog, organization: id, configured, stores: new Map(described) })
      for (const finding of findings) {
        if (finding.severity === 'error')
          observe({ kind: 'binding-mistake', organization: id, place: finding.place ?? finding.type ?? '', problem: finding.problem })
      }
      if (!collections) return binding
      for (const { type, field, problem } of collections.mistakes)
        observe({ kind: 'binding-mistake', organization: id, place: field === null ? type : `${type}.${field}`, problem })
      const reached = [...collections.types].filter(([, each]) => each.kind === 'none' || (descriptions.get(each.store) ?? null) !== null)
      return joinedBinding(binding, new Map(reached), input)
    },
    onUnavailable: (store, cause) => observe({ kind: 'store-unavailable', organization: id, store, cause }),
    onAvailable: (store) => observe({ kind: 'store-available', organization: id, store }),
  })
}

function hasParts({ bindings }: OrganizationConfig): boolean {
  return [...bindings.values()].some((type) => type.kind === 'table' && [...type.fields.values()].some((field) => field.kind === 'column' && field.part))
}

function stepsOf(
  organization: string,
  stores: readonly (readonly [string, { readonly connector: Connector }])[],
  { gateway: { limits } }: Config,
): StoresTogether {
  const connectors = new Map(stores.map(([store, { connector }]) => [store, connector]))
  return new StepsConnector({ organization, stores: connectors, keysMax: limits.joinKeys, answerBytes: limits.answerBytes })
}

function isOfTables(description: Description): description is StoreDescription {
  return typeof description === 'object' && 'tables' in description
}

function isOfCollections(description: Description | null): description is StoreContents {
  return Array.isArray(description)
}

/** The driver is loaded by who has such a store. */
async function milvusStore(
  store: string,
  { url, pool, jurisdiction, scanRows }: StoreConfig,
  { input, connectorOf }: { readonly input: CollectionInput; readonly connectorOf: StoresParts['connectorOf'] },
): Promise<{ jurisdiction: string; connector: Connector; describe(): Promise<StoreContents> }> {
  const { MilvusConnector } = await import('./connectors/milvus/connector.js')
  const { collectionsIn } = await import('./connectors/milvus/bind-collections.js')
  const { max, queue, connectMs, idleMs } = pool
  const connector = new MilvusConnector({ store, url: url.reveal(), pool: { max, waitingMax: queue, connectMs, idleMs }, rowsMax: scanRows })
  return {
    jurisdiction,
    connector: connectorOf(connector),
    describe: () => connector.describeCollections(collectionsIn(store, input), new AbortController().signal),
  }
}

/** The driver is loaded by who has such a store. */
async function pineconeStore(
  store: string,
  { url, pool, jurisdiction, scanRows }: StoreConfig,
  { input, connectorOf }: { readonly input: CollectionInput; readonly connectorOf: StoresParts['connectorOf'] },
): Promise<{ jurisdiction: string; connector: Connector; describe(): Promise<StoreContents> }> {
  const { PineconeConnector } = await import('./connectors/pinecone/connector.js')
  const { indexesIn } = await import('./connectors/pinecone/bind-indexes.js')
  const { max, queue, connectMs, idleMs } = pool
  const connector = new PineconeConnector({ store, url: url.reveal(), pool: { max, waitingMax: queue, connectMs, idleMs }, rowsMax: scanRows })
  return {
    jurisdiction,
    connector: connectorOf(connector),
    describe: () => connector.describeIndexes(indexesIn(store, input), new AbortController().signal),
  }
}

/** The driver is loaded by who has such a store. */
async function mongoStore(
  store: string,
  { url, pool, jurisdiction }: StoreConfig,
  connectorOf: StoresParts['connectorOf'],
): Promise<{ jurisdiction: string; connector: Connector; describe(): Promise<'collections'> }> {
  const { MongoConnector } = await import('./connectors/mongodb/connector.js')
  const { max, queue, connectMs, idleMs } = pool
  const connector = new MongoConnector({ store, url: url.reveal(), pool: { max, waitingMax: queue, connectMs, idleMs } })
  return {
    jurisdiction,
    connector: connectorOf(connector),
    describe: async () => {
      await connector.ping(new AbortController().signal)
      return 'collections'
    },
  }
}

/** The driver is loaded by who has such a store. */
async function graphStore(
  store: string,
  { url, pool, jurisdiction }: StoreConfig,
  connectorOf: StoresParts['connectorOf'],
): Promise<{ jurisdiction: string; connector: Connector; describe(): Promise<'collections'> }> {
  const { Neo4jConnector } = await import('./connectors/neo4j/connector.js')
  const { max, queue, connectMs, idleMs } = pool
  const connector = new Neo4jConnector({ store, url: url.reveal(), pool: { max, waitingMax: queue, connectMs, idleMs } })
  return {
    jurisdiction,
    connector: connectorOf(connector),
    describe: async () => {
      await connector.ping(new AbortController().signal)
      return 'collections'
    },
  }
}

function postgresStore(
  store: string,
  each: StoreConfig,
  { config, connectorOf }: Pick<StoresParts, 'config' | 'connectorOf'>,
): { jurisdiction: string; connector: Connector; describe(): Promise<StoreDescription> } {
  const connection: pg.ClientConfig = { connectionString: each.url.reveal(), application_name: 'concordat', keepAlive: true }
  const { max, queue, connectMs, idleMs } = each.pool
  const connector = new PostgresConnector({
    store,
    connection,
    pool: { max, waitingMax: queue, connectMs, idleMs },
    named: each.prepared,
    preparedMax: config.gateway.cache.statements,
  })
  return {
    jurisdiction: each.jurisdiction,
    connector: connectorOf(connector),
    describe: async () => {
      const client = new pg.Client({ ...connection, connectionTimeoutMillis: connectMs })
      client.on('error', () => undefined) // who uses it sees the failure
      await client.connect()
      try {
        return await describeStore(client, { timeoutMs: DESCRIBE_TIMEOUT_MS })
      } finally {
        await client.end()
      }
    },
  }
}
