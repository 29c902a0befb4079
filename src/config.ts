/** One frozen Config from a file and the environment. Every limit is named, with its unit; `docs/configuration.md` lists every key. */
import { createPrivateKey, type JsonWebKey } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import {
  count,
  defaultsOf,
  duration,
  either,
  flag,
  key,
  list,
  mapping,
  object,
  oneOf,
  path,
  readSettings,
  refined,
  scalar,
  secret,
  SettingsError,
  size,
  text,
  type DocumentedKey,
  type Secret,
} from './settings.js'

export interface Config {
  /** Absolute path of the file. */
  readonly file: string
  /** Folder with the contract's `*.graphql`. */
  readonly contract: string
  /** Folder with `roles/*.yaml` and `agreements/*.yaml`. */
  readonly policies: string
  readonly gateway: GatewayConfig
  /** By id, in the order of the file. */
  readonly organizations: ReadonlyMap<string, OrganizationConfig>
}

export interface GatewayConfig {
  readonly listen: Listen
  /** What clients call, without a path; proofs of possession must name it. */
  readonly url: string | null
  /** Where this process runs. */
  readonly jurisdiction: string
  /** `aud` of the tokens. */
  readonly audience: string
  /** PostgreSQL URL of the gateway's own database (ledgers, policy epoch). */
  readonly database: Secret
  /** At least 32 bytes in base64 or base64url; null: made anew at each start, and cursors end with the process. */
  readonly cursorKey: Secret | null
  /** Folder for the last signed checkpoint of each ledger, outside of the database. */
  readonly checkpoints: string
  readonly introspection: boolean
  readonly explorer: boolean
  readonly clockToleranceMs: number
  /** How often policies are looked at for changes. */
  readonly reloadMs: number
  /** How long requests under way may take to end once the process is told to stop. */
  readonly drainMs: number
  readonly log: LogConfig
  readonly limits: Limits
  readonly cache: CacheConfig
  readonly audit: AuditConfig
}

export interface Listen {
  readonly host: string
  readonly port: number
}

export type LogLevel = 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'silent'
export interface LogConfig {
  readonly level: LogLevel
}

export interface Limits {
  /** From the arrival of a request to its answer. */
  readonly deadlineMs: number
  /** From the first byte of a request to its last. */
  readonly receiveMs: number
  readonly bodyBytes: number
  readonly documentBytes: number
  /** Lexical tokens of a document. */
  readonly tokens: number
  /** Brackets of any kind within each other in a document; also levels of selections once fragments are in place. */
  readonly depth: number
  /** Brackets within each other in the JSON of a request. */
  readonly nesting: number
  /** Operations in a document, one of which runs; fields; aliases, directives and fragments; root fields of an operation. */
  readonly operations: number
  readonly fields: number
  readonly aliases: number
  readonly directives: number
  readonly fragments: number
  readonly rootFields: number
  /** Fields once every fragment stands where it is spread. */
  readonly expandedFields: number
  /** Pairs of fields that answer under one name, which validation compares. */
  readonly comparisons: number
  readonly pageRows: number
  readonly defaultRows: number
  readonly nestedRows: number
  readonly groups: number
  readonly seriesBuckets: number
  readonly steps: number
  /** Elements of all lists among the variables; those in the document are bounded by its tokens. */
  readonly listValues: number
  /** Conditions of an operation; one on a relation counts as several. */
  readonly conditions: number
  /** Keys that one condition on a relation to another store of its owner may send there. */
  readonly joinKeys: number
  /** Rows that one operation may ask for, nested ones multiplied. */
  readonly cost: number
  /** Of an answer that cannot stream. */
  readonly answerBytes: number
  /** Answers up to this are held until they are recorded; larger ones stream. */
  readonly bufferedBytes: number
  /** How long a streamed answer may take, and how long its reader may take nothing of it. */
  readonly streamMs: number
  readonly stallMs: number
  /** The contract's part of an answer that takes fields from services: it is parsed and completed here. */
  readonly stitchedBytes: number
  /** Requests under way, in all. */
  readonly concurrent: number
  readonly concurrentPerPrincipal: number
}

/** What is kept for the next request, at most. */
export interface CacheConfig {
  /** Prepared documents, and the bytes of their text. */
  readonly operations: number
  readonly operationBytes: number
  /** Bound plans and compiled statements, for each document. */
  readonly plans: number
  /** Prepared statements, for each connection to a store. */
  readonly statements: number
  /** Verified tokens. */
  readonly principals: number
}

export interface AuditConfig {
  /** How long an answer waits for its entries to be durable. */
  readonly timeoutMs: number
  /** Answers that wait for their entries, at most. */
  readonly queue: number
  /** Entries of one commit, at most. */
  readonly batch: number
  /** Between two checkpoints. */
  readonly checkpointMs: number
  /** How often the counts of refusals without a principal are written. */
  readonly refusalsMs: number
  /** Connections to the gateway's own database. */
  readonly connections: number
}

export type Algorithm = 'ES256' | 'EdDSA' | 'RS256' | 'PS256'
export interface IssuerConfig {
  /** `iss` of the tokens. */
  readonly url: string
  readonly algorithms: readonly Algorithm[]
  /** A JWK set. */
  readonly keys: { readonly kind: 'file'; readonly file: string } | { readonly kind: 'url'; readonly url: string }
}

export interface StoreConfig {
  readonly kind: 'postgres' | 'mongodb' | 'milvus' | 'pinecone' | 'neo4j'
  /** Of MongoDB with the name of the database; of Milvus `http` or `https`, with a token as the password; of Pinecone its control plane, with the API key as the password. */
  readonly url: Secret
  /** Where the data lie. */
  readonly jurisdiction: string
  /** Schema of tables that no binding names. */
  readonly schema: string
  /** Statements are prepared under a name; false behind a pooler that cannot keep them. */
  readonly prepared: boolean
  readonly pool: PoolConfig
  /** Rows that one statement may read from a store that cannot order or score them itself. */
  readonly scanRows: number
}

export interface PoolConfig {
  /** Connections. */
  readonly max: number
  /** Requests that wait for a connection. */
  readonly queue: number
  readonly connectMs: number
  readonly idleMs: number
}

export type FieldBinding =
  | {
      readonly kind: 'column'
      /** One column for a value; those of the target's key, in its order, for a relation. */
      readonly columns: readonly string[]
      /** Text of the stored value → name in the contract's enum. */
      readonly values: ReadonlyMap<string, string> | null
      readonly multiply: string | null
      /** BSON type, over a collection; absent or null: the one that the contract's type is held by as a rule. */
      readonly bson?: string | null
      /** Type of a property, over a graph; likewise. */
      readonly property?: string | null
      /** Of a relation over a graph: whether its relationships lead from the type's nodes. Absent or null: they do. */
      readonly direction?: 'out' | 'in' | null
      /** Another table, that has the column for keys of the type's rows. Absent: the type's own. */
      readonly part?: { readonly table: TableName; readonly key: readonly string[] }
    }
  | { readonly kind: 'constant'; readonly value: string | number | boolean | null }

export interface TableName {
  /** Null: the organization's first store. */
  readonly store: string | null
  /** Null: the store's own default. */
  readonly schema: string | null
  readonly table: string
}

export type TypeBindingConfig =
  | { readonly kind: 'none' }
  /** `table` null: the name fits. Fields that are not here fit by name. */
  | {
      readonly kind: 'table'
      readonly table: TableName | null
      readonly fields: ReadonlyMap<string, FieldBinding>
      /** The owner says that the key tells rows apart, where no unique index does. Absent: not said. */
      readonly uniqueKey?: boolean
    }

/** A GraphQL service that an organization runs: it adds fields to types of the contract, joined by global id. */
export interface ServiceConfig {
  readonly url: string
  /** Its schema in SDL. */
  readonly schemaFile: string
  /** The whole `Authorization` header that it is asked with; null: none. */
  readonly authorization: Secret | null
  /** Where it runs. */
  readonly jurisdiction: string
  /** By type of the contract: the field of the service's `Query` that gives rows by key, and its argument that takes the keys. */
  readonly joins: ReadonlyMap<string, { readonly field: string; readonly argument: string }>
  readonly deadlineMs: number
  readonly answerBytes: number
  /** Requests under way. */
  readonly concurrent: number
  /** Keys of one request. */
  readonly keys: number
}

/** A service that makes vectors of texts, of the OpenAI-compatible kind. */
export interface EmbeddingsConfig {
  readonly url: string
  /** Its own name of the model; null: the contract's. */
  readonly servedAs: string | null
  /** The whole `Authorization` header that it is asked with; null: none. */
  readonly authorization: Secret | null
  /** Where it runs. */
  readonly jurisdiction: string
  readonly deadlineMs: number
  /** Requests under way. */
  readonly concurrent: number
}

export interface OrganizationConfig {
  readonly id: string
  readonly name: string
  readonly jurisdiction: string
  readonly issuers: readonly IssuerConfig[]
  /** Public JWK, or JWK set, that its agreements are signed with; null: it can grant nothing to others. */
  readonly verifyKey: string | null
  readonly ledgerKey: Secret
  readonly stores: ReadonlyMap<string, StoreConfig>
  readonly bindings: ReadonlyMap<string, TypeBindingConfig>
  /** By name. */
  readonly services: ReadonlyMap<string, ServiceConfig>
  /** By model of the contract. */
  readonly embeddings: ReadonlyMap<string, EmbeddingsConfig>
}

const jurisdiction = text({
  expects: 'a country such as `DE`, or a part of one such as `CA-QC` (ISO 3166)',
  accepts: (value) => /^[A-Z]{2}(-[A-Z0-9]{1,3})?$/.test(value),
})
const someText = (expects: string) => text({ expects, accepts: (value) => value.trim() !== '' && value.length <= 500 })
const identifier = someText('a name')

const postgresUrl = secret({
  holds: 'a URL such as `postgres://user:password@host:5432/database`',
  accepts: isPostgresUrl,
  plain: {
    expects: 'a URL without a password, such as `postgres://user@host:5432/database`',
    accepts: (value) => isPostgresUrl(value) && !holdsPassword(value),
  },
})
const storeUrl = secret({
  holds:
    'a URL such as `postgres://user:password@host:5432/database`, `mongodb://user:password@host:27017/database`, `https://:token@host:19530`, `https://:key@api.pinecone.io` or `neo4j+s://user:password@host:7687`',
  accepts: isStoreUrl,
  plain: {
    expects: 'a URL without a password, such as `postgres://user@host:5432/database`',
    accepts: (value) => isStoreUrl(value) && !holdsPassword(value),
  },
})
const key32 = secret({
  holds: 'at least 32 bytes in base64url',
  accepts: (value) => /^[A-Za-z0-9_+/-]+={0,2}$/.test(value) && Buffer.from(value, 'base64url').length >= 32,
})
const ledgerKey = secret({ holds: 'a private Ed25519 key (PKCS #8 in PEM, or a JWK)', accepts: isEd25519 })

function isEd25519(value: string): boolean {
  try {
    const key = value.trimStart().startsWith('{') ? createPrivateKey({ key: JSON.parse(value) as JsonWebKey, format: 'jwk' }) : createPrivateKey(value)
    return key.asymmetricKeyType === 'ed25519'
  } catch {
    return false
  }
}

function isPostgresUrl(value: string): boolean {
  return /^postgres(ql)?:\/\/./.test(value) && URL.canParse(value)
}

function isStoreUrl(value: string): boolean {
  return Object.values(URL_OF).some((accepts) => accepts(value))
}

/** What leads to a store of each kind. */
const URL_OF: Readonly<Record<StoreConfig['kind'], (value: string) => boolean>> = {
  postgres: isPostgresUrl,
  mongodb: isMongoUrl,
  milvus: isMilvusUrl,
  pinecone: isPineconeUrl,
  neo4j: isGraphUrl,
}

/** With the name of a database, where that is not the default one. */
function isGraphUrl(value: string): boolean {
  if (!/^(bolt|neo4j)(\+s)?:\/\/./.test(value) || !URL.canParse(value)) return false
  const { host, pathname, search, hash } = new URL(value)
  return host !== '' && /^\/?[^/]*$/.test(pathname) && search === '' && hash === ''
}

/** Encrypted but on this machine. */
function isPineconeUrl(value: string): boolean {
  if (!/^https?:\/\/./.test(value) || !URL.canParse(value)) return false
  const { protocol, hostname, username, password, pathname, search, hash } = new URL(value)
  const isHere = hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(hostname)
  return (protocol === 'https:' || isHere) && username === '' && /^[\w.~-]+$/.test(password) && pathname === '/' && search === '' && hash === ''
}

/** With the name of a database, where that is not the default one. */
function isMilvusUrl(value: string): boolean {
  if (!/^https?:\/\/./.test(value) || !URL.canParse(value)) return false
  const { pathname, search, hash } = new URL(value)
  return /^\/?[^/]*$/.test(pathname) && search === '' && hash === ''
}

/** Of one host or several, which a URL of its own standard could not have; with the name of a database. */
function isMongoUrl(value: string): boolean {
  return /^mongodb(\+srv)?:\/\/(?:[^@/?#]*@)?[^@/?#]+\/[^/?#]+(\?[^#]*)?$/.test(value)
}

function holdsPassword(value: string): boolean {
  if (isMongoUrl(value)) return /^[^@]*:\/\/[^@/]*:[^@/]*@/.test(value)
  const url = new URL(value)
  return url.password !== '' || [...url.searchParams.keys()].some((name) => /password|passfile/i.test(name))
}

const httpUrl = text({
  expects: 'an `https://` URL (`http://` for this machine only), without a final slash',
  accepts: (value) => {
    if (!URL.canParse(value) || value.endsWith('/')) return false
    const { protocol, hostname, username, password, hash } = new URL(value)
    return (
      (protocol === 'https:' || (protocol === 'http:' && ['127.0.0.1', 'localhost', '[::1]'].includes(hostname))) &&
      username === '' &&
      password === '' &&
      hash === ''
    )
  },
})

const listen = refined<string, Listen>(
  text({ expects: '`host:port`, such as `127.0.0.1:4000`', accepts: (value) => /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):\d{1,5}$/.test(value) }),
  (value, refuse) => {
    const split = value.lastIndexOf(':')
    const port = Number(value.slice(split + 1))
    return port <= 65_535 ? { host: value.slice(0, split).replace(/^\[|\]$/g, ''), port } : refuse(`there is no port ${port}`, 'write a port from 0 to 65535')
  },
)

const LIMITS = {
  deadlineMs: key('deadline', duration({ min: '50ms', max: '5m' }), {
    fallback: 2_000,
    shown: '2s',
    about: 'Time from the arrival of a request to its answer.',
  }),
  receiveMs: key('receive', duration({ min: '100ms', max: '5m' }), { fallback: 10_000, shown: '10s', about: 'Time for a request to arrive whole.' }),
  bodyBytes: key('body', size({ min: '1KiB', max: '16MiB' }), { fallback: 256 * 1024, shown: '256KiB', about: 'Bytes of a request body.' }),
  documentBytes: key('document', size({ min: '1KiB', max: '1MiB' }), { fallback: 32 * 1024, shown: '32KiB', about: 'Bytes of a GraphQL document.' }),
  tokens: key('tokens', count({ unit: 'tokens', min: 50, max: 20_000 }), { fallback: 2_000, shown: '2000', about: 'Lexical tokens of a document.' }),
  depth: key('depth', count({ unit: 'levels', min: 5, max: 100 }), {
    fallback: 32,
    shown: '32',
    about: 'Brackets within each other in a document, and levels of selections with fragments in place.',
  }),
  nesting: key('nesting', count({ unit: 'levels', min: 5, max: 500 }), {
    fallback: 64,
    shown: '64',
    about: 'Brackets within each other in the JSON of a request.',
  }),
  operations: key('operations', count({ unit: 'operations', min: 1, max: 1_000 }), {
    fallback: 50,
    shown: '50',
    about: 'Operations of a document, one of which runs.',
  }),
  fields: key('fields', count({ unit: 'fields', min: 10, max: 5_000 }), { fallback: 500, shown: '500', about: 'Fields of a document.' }),
  aliases: key('aliases', count({ unit: 'aliases', min: 0, max: 1_000 }), { fallback: 50, shown: '50', about: 'Aliases of a document.' }),
  directives: key('directives', count({ unit: 'directives', min: 1, max: 1_000 }), { fallback: 50, shown: '50', about: 'Directives of a document.' }),
  fragments: key('fragments', count({ unit: 'fragments', min: 0, max: 500 }), { fallback: 50, shown: '50', about: 'Fragments that a document defines.' }),
  rootFields: key('rootFields', count({ unit: 'root fields', min: 1, max: 100 }), { fallback: 20, shown: '20', about: 'Root fields of an operation.' }),
  expandedFields: key('expandedFields', count({ unit: 'fields', min: 10, max: 20_000 }), {
    fallback: 2_000,
    shown: '2000',
    about: 'Fields of an operation with every fragment in the places where it is spread.',
  }),
  comparisons: key('comparisons', count({ unit: 'pairs', min: 100, max: 1_000_000 }), {
    fallback: 5_000,
    shown: '5000',
    about: 'Pairs of fields of a document that answer under one name; validation compares each.',
  }),
  pageRows: key('pageRows', count({ unit: 'rows', min: 1, max: 10_000_000 }), { fallback: 1_000, shown: '1000', about: 'Rows of a page (`first`, `last`).' }),
  defaultRows: key('defaultRows', count({ unit: 'rows', min: 1, max: 1_000 }), {
    fallback: 50,
    shown: '50',
    about: 'Rows of a page that names neither `first` nor `last`.',
  }),
  nestedRows: key('nestedRows', count({ unit: 'rows', min: 1, max: 1_000 }), { fallback: 100, shown: '100', about: 'Rows of a nested page, for each parent.' }),
  groups: key('groups', count({ unit: 'groups', min: 1, max: 10_000 }), { fallback: 1_000, shown: '1000', about: 'Groups of an aggregate.' }),
  seriesBuckets: key('seriesBuckets', count({ unit: 'buckets', min: 1, max: 100_000 }), {
    fallback: 10_000,
    shown: '10000',
    about: 'Buckets that the range of a series touches, and that one series field lists for all of its groups.',
  }),
  steps: key('steps', count({ unit: 'steps', min: 1, max: 100 }), { fallback: 10, shown: '10', about: 'Steps of a traversal (`related`).' }),
  listValues: key('listValues', count({ unit: 'values', min: 1, max: 100_000 }), {
    fallback: 5_000,
    shown: '5000',
    about: 'Elements of all lists among the variables of a request; those that stand in the document are bounded by its tokens.',
  }),
  conditions: key('conditions', count({ unit: 'conditions', min: 1, max: 10_000 }), {
    fallback: 500,
    shown: '500',
    about: 'Conditions of an operation; one on a relation counts as several.',
  }),
  joinKeys: key('joinKeys', count({ unit: 'keys', min: 1, max: 1_000_000 }), {
    fallback: 10_000,
    shown: '10000',
    about: 'Keys that one condition on a relation to another store of its owner may send there.',
  }),
  cost: key('cost', count({ unit: 'rows', min: 1, max: 10_000_000 }), {
    fallback: 50_000,
    shown: '50000',
    about: 'Rows that one operation may ask for, nested ones multiplied.',
  }),
  answerBytes: key('answer', size({ min: '1KiB', max: '256MiB' }), {
    fallback: 16 * 1024 ** 2,
    shown: '16MiB',
    about: 'Bytes of an answer that cannot stream.',
  }),
  bufferedBytes: key('buffered', size({ min: '1KiB', max: '256MiB' }), {
    fallback: 1024 ** 2,
    shown: '1MiB',
    about: 'Bytes of an answer that is held until it is recorded; a larger one streams, with an entry before and one after it.',
  }),
  streamMs: key('stream', duration({ min: '1s', max: '24h' }), {
    fallback: 600_000,
    shown: '10m',
    about: 'Time for an answer that streams, however slowly it is read.',
  }),
  stallMs: key('stall', duration({ min: '1s', max: '1h' }), {
    fallback: 30_000,
    shown: '30s',
    about: 'Time in which the reader of a streamed answer must take some of it.',
  }),
  stitchedBytes: key('stitched', size({ min: '1KiB', max: '64MiB' }), {
    fallback: 128 * 1024,
    shown: '128KiB',
    about: "Bytes of the contract's part of an answer that takes fields from services.",
  }),
  concurrent: key('concurrent', count({ unit: 'requests', min: 1, max: 100_000 }), {
    fallback: 1_000,
    shown: '1000',
    about: 'Requests under way in this process.',
  }),
  concurrentPerPrincipal: key('concurrentPerPrincipal', count({ unit: 'requests', min: 1, max: 10_000 }), {
    fallback: 64,
    shown: '64',
    about: 'Requests under way for one principal in this process.',
  }),
}

const CACHE = {
  operations: key('operations', count({ unit: 'documents', min: 1, max: 100_000 }), {
    fallback: 1_000,
    shown: '1000',
    about: 'Prepared documents that are kept.',
  }),
  operationBytes: key('operationText', size({ min: '64KiB', max: '256MiB' }), {
    fallback: 8 * 1024 ** 2,
    shown: '8MiB',
    about: 'Bytes of text of the prepared documents that are kept.',
  }),
  plans: key('plans', count({ unit: 'plans', min: 1, max: 10_000 }), {
    fallback: 100,
    shown: '100',
    about: 'Bound plans and compiled statements that are kept for each document.',
  }),
  statements: key('statements', count({ unit: 'statements', min: 1, max: 10_000 }), {
    fallback: 200,
    shown: '200',
    about: 'Prepared statements that each connection to a store keeps.',
  }),
  principals: key('principals', count({ unit: 'tokens', min: 1, max: 1_000_000 }), {
    fallback: 10_000,
    shown: '10000',
    about: 'Verified tokens that are kept, each at most 60 s.',
  }),
}

const AUDIT = {
  timeoutMs: key('timeout', duration({ min: '50ms', max: '1m' }), {
    fallback: 2_000,
    shown: '2s',
    about: 'Time that an answer waits for its entries to be durable; without them it is not sent.',
  }),
  queue: key('queue', count({ unit: 'answers', min: 1, max: 1_000_000 }), {
    fallback: 10_000,
    shown: '10000',
    about: 'Answers that may wait for their entries.',
  }),
  batch: key('batch', count({ unit: 'entries', min: 1, max: 100_000 }), { fallback: 1_000, shown: '1000', about: 'Entries of one commit.' }),
  checkpointMs: key('checkpoint', duration({ min: '100ms', max: '1h' }), {
    fallback: 1_000,
    shown: '1s',
    about: 'Time between two signed checkpoints of a ledger.',
  }),
  refusalsMs: key('refusals', duration({ min: '1s', max: '1h' }), {
    fallback: 10_000,
    shown: '10s',
    about: 'How often the counts of refusals without a known principal are written.',
  }),
  connections: key('connections', count({ unit: 'connections', min: 2, max: 100 }), {
    fallback: 4,
    shown: '4',
    about: "Connections to the gateway's own database, shared by all workers; each has at least 2.",
  }),
}

const LOG = {
  level: key('level', oneOf(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']), {
    fallback: 'info' as LogLevel,
    shown: 'info',
    about: 'The least severe entries that are logged; the log goes to standard output, a JSON object a line.',
  }),
}

const POOL = {
  max: key('max', count({ unit: 'connections', min: 1, max: 1_000 }), {
    fallback: 10,
    shown: '10',
    about: 'Connections to the store, shared by all workers; each has at least 1.',
  }),
  queue: key('queue', count({ unit: 'requests', min: 0, max: 100_000 }), { fallback: 500, shown: '500', about: 'Requests that may wait for a connection.' }),
  connectMs: key('connect', duration({ min: '10ms', max: '1m' }), { fallback: 2_000, shown: '2s', about: 'Time to open a connection.' }),
  idleMs: key('idle', duration({ min: '1s', max: '24h' }), { fallback: 60_000, shown: '1m', about: 'Time after which an unused connection is closed.' }),
}

interface StoreSettings extends Omit<StoreConfig, 'jurisdiction'> {
  readonly jurisdiction: string | null
}

const store = refined<StoreSettings, StoreSettings>(
  object<StoreSettings>({
    kind: key('kind', oneOf(['postgres', 'mongodb', 'milvus', 'pinecone', 'neo4j']), { about: 'The kind of store.' }),
    url: key('url', storeUrl, { about: 'Where the store is.' }),
    jurisdiction: key('jurisdiction', jurisdiction, { fallback: null, shown: "the organization's", about: 'Where the data lie.' }),
    schema: key('schema', identifier, { fallback: 'public', shown: 'public', about: 'The schema of tables whose binding names none.' }),
    prepared: key('prepared', flag, {
      fallback: true,
      shown: 'true',
      about: 'Statements are prepared under names; `false` behind a pooler that cannot keep them.',
    }),
    pool: key('pool', object<PoolConfig>(POOL), { fallback: defaultsOf<PoolConfig>(POOL), shown: 'its defaults', about: 'Connections to the store.' }),
    scanRows: key('scan', count({ unit: 'rows', min: 1, max: 1_000_000 }), {
      fallback: 10_000,
      shown: '10000',
      about: 'Of Milvus and Pinecone: rows that one statement may read where the store cannot order or score them itself; more are `QUERY_TOO_COSTLY`.',
    }),
  }),
  (settings, refuse) =>
    URL_OF[settings.kind](settings.url.reveal()) ? settings : refuse(`the URL is not one of kind \`${settings.kind}\``, 'write the `kind` that the URL is of'),
)

interface IssuerSettings {
  readonly url: string
  readonly algorithms: readonly Algorithm[]
  readonly keys: { readonly file: string | null; readonly url: string | null } | null
}

const issuer = refined<IssuerSettings, IssuerConfig>(
  object<IssuerSettings>({
    url: key('url', httpUrl, { about: 'The `iss` of its tokens. An issuer belongs to one organization.' }),
    algorithms: key('algorithms', list(oneOf(['ES256', 'EdDSA', 'RS256', 'PS256']), { min: 1, max: 4 }), { about: 'Signature algorithms that are accepted.' }),
    keys: key(
      'keys',
      object({
        file: key('file', path('file'), { fallback: null, shown: 'none', about: 'A JWK set in a file; a demo token is trusted this way.' }),
        url: key('url', httpUrl, { fallback: null, shown: 'none', about: 'A JWK set at an address.' }),
      }),
      { fallback: null, shown: '`<url>/.well-known/jwks.json`', about: 'Where its public keys are: `file` or `url`.' },
    ),
  }),
  ({ url, algorithms, keys }, refuse) => {
    if (keys === null) return { url, algorithms, keys: { kind: 'url', url: `${url}/.well-known/jwks.json` } }
    if (keys.file !== null && keys.url === null) return { url, algorithms, keys: { kind: 'file', file: keys.file } }
    if (keys.file === null && keys.url !== null) return { url, algorithms, keys: { kind: 'url', url: keys.url } }
    return refuse('the keys of an issuer have one source', 'write `keys: { file: PATH }` or `keys: { url: URL }`')
  },
)

interface FieldSettings {
  readonly column: string | null
  readonly columns: readonly string[] | null
  readonly values: ReadonlyMap<string, string> | null
  readonly multiply: string | null
  readonly constant: string | number | boolean | null | undefined
  readonly bson: string | null
  readonly property: string | null
  readonly direction: 'out' | 'in' | null
  readonly table: TableName | null
  readonly key: readonly string[] | null
}

/** `table`, `schema.table` or `store.schema.table`; a part with a dot stands in double quotes, as in SQL. */
export function tableName(value: string): TableName | null {
  const part = /"((?:[^"]|"")+)"|([^".]+)/y
  const parts: string[] = []
  let at = 0
  while (at <= value.length) {
    part.lastIndex = at
    const match = part.exec(value)
    if (match === null) return null
    parts.push(match[1]?.replaceAll('""', '"') ?? match[2] ?? '')
    at = part.lastIndex
    if (at === value.length) break
    if (value[at] !== '.') return null
    at += 1
  }
  const [table, schema, store, ...rest] = parts.reverse()
  return table === undefined || rest.length > 0 ? null : { table, schema: schema ?? null, store: store ?? null }
}

const boundTable = refined<string, TableName>(
  identifier,
  (value, refuse) => tableName(value) ?? refuse(`\`${value}\` is no name of a table`, 'write `store.schema.table`, `schema.table` or `table`'),
)

const plainField = refined<string, FieldBinding>(identifier, (column) => ({ kind: 'column', columns: [column], values: null, multiply: null }))
const describedField = refined<FieldSettings, FieldBinding>(
  object<FieldSettings>({
    column: key('column', identifier, { fallback: null, shown: 'none', about: 'The column that holds the value.' }),
    columns: key('columns', list(identifier, { min: 1, max: 16 }), {
      fallback: null,
      shown: 'none',
      about: "For a relation to a type with several key fields: the columns that hold the target's key, in its order.",
    }),
    values: key(
      'values',
      mapping(text({ expects: 'a value of the enum', accepts: (value) => /^[_A-Za-z]\w*$/.test(value) }), {
        names: 'a stored value',
        accepts: () => true,
        placeholder: 'VALUE',
        min: 1,
        max: 1_000,
      }),
      { fallback: null, shown: 'stored as named', about: "Stored values and the names that they have in the contract's enum; others read as null." },
    ),
    multiply: key(
      'multiply',
      text({
        expects: 'a decimal factor other than 0 in quotes, such as `"0.01"`',
        accepts: (value) => /^-?\d{1,20}(\.\d{1,20})?$/.test(value) && /[1-9]/.test(value),
      }),
      {
        fallback: null,
        shown: '1',
        about: "The contract's value is the column times this.",
      },
    ),
    bson: key('bson', oneOf(['string', 'int', 'long', 'double', 'decimal', 'bool', 'date', 'objectId', 'uuid', 'json']), {
      fallback: null,
      shown: "by the contract's type",
      about: 'Over a collection: the BSON type of the values; those of another type read as null.',
    }),
    property: key('property', oneOf(['STRING', 'INTEGER']), {
      fallback: null,
      shown: "by the contract's type",
      about: 'Over a graph: the type of the property, where several could hold the value; those of another type read as null.',
    }),
    direction: key('direction', oneOf(['out', 'in']), {
      fallback: null,
      shown: '`out`',
      about: "Over a graph: whether a relation's relationships lead from the type's nodes (`out`) or to them.",
    }),
    table: key('table', boundTable, {
      fallback: null,
      shown: "the type's own",
      about: 'Another table, perhaps of another store, that has the column for keys of rows: `store.schema.table`. Needs `key`.',
    }),
    key: key('key', list(identifier, { min: 1, max: 16 }), {
      fallback: null,
      shown: 'none',
      about: "With `table`: its columns that hold the row's key, in its order.",
    }),
    constant: key('constant', scalar, { fallback: undefined, shown: 'none', about: 'This value for every row, in place of a column.' }),
  }),
  ({ column, columns, values, multiply, constant, bson, property, direction, table, key: keyColumns }, refuse) => {
    const sources = [column !== null, columns !== null, constant !== undefined].filter(Boolean).length
    if (sources !== 1) return refuse('a field has one source', 'write one of `column`, `columns` and `constant`')
    if (values !== null && multiply !== null) return refuse('`values` and `multiply` exclude each other', 'keep one of them')
    if (column === null && (values !== null || multiply !== null)) return refuse('`values` and `multiply` need a `column`', 'write `column`, or leave them out')
    if ((table === null) !== (keyColumns === null) || (table !== null && column === null))
      return refuse('`table`, `key` and `column` go together', 'write all three, or `column` alone')
    if (constant !== undefined) return { kind: 'constant', value: constant }
    const part = table && keyColumns ? { table, key: keyColumns } : null
    return {
      kind: 'column',
      columns: columns ?? (column === null ? [] : [column]),
      values,
      multiply,
      ...(bson !== null && { bson }),
      ...(property !== null && { property }),
      ...(direction !== null && { direction }),
      ...(part && { part }),
    }
  },
)

interface TableSettings {
  readonly table: TableName | null
  readonly fields: ReadonlyMap<string, FieldBinding>
  readonly uniqueKey: boolean
}

const binding = either(
  refined<'none', TypeBindingConfig>(oneOf(['none']), () => ({ kind: 'none' })),
  refined<TableSettings, TypeBindingConfig>(
    object<TableSettings>({
      table: key('table', boundTable, {
        fallback: null,
        shown: "the type's name in snake case, or its plural",
        about: 'The table or view: `store.schema.table`, `schema.table` or `table`.',
      }),
      fields: key(
        'fields',
        mapping(either(plainField, describedField), {
          names: "a field of the contract's type",
          accepts: isGraphqlName,
          placeholder: 'FIELD',
          min: 0,
          max: 1_000,
        }),
        {
          fallback: new Map<string, FieldBinding>(),
          shown: 'fields fit by name (camelCase to snake_case)',
          about: 'Fields whose column has another name or form: a column, or one of the keys below.',
        },
      ),
      uniqueKey: key('uniqueKey', flag, {
        fallback: false,
        shown: 'false',
        about: 'Says that the key is never null and never twice, for a view or another table without a unique index over it, which is not served otherwise.',
      }),
    }),
    ({ table, fields, uniqueKey }) => ({ kind: 'table', table, fields, uniqueKey }),
  ),
)

function isGraphqlName(name: string): boolean {
  return /^[_A-Za-z]\w*$/.test(name) && !name.startsWith('__')
}

interface ServiceSettings extends Omit<ServiceConfig, 'jurisdiction'> {
  readonly jurisdiction: string | null
}

const graphqlName = text({ expects: 'a name of the schema', accepts: isGraphqlName })

const authorization = key(
  'authorization',
  secret({ holds: 'the value of a header `Authorization`', accepts: (value) => /^[\x21-\x7e]+( [\x21-\x7e]+)*$/.test(value) }),
  {
    fallback: null,
    shown: 'none',
    about: "The gateway's own `Authorization` header there; tokens of callers are never passed on.",
  },
)

interface EmbeddingsSettings extends Omit<EmbeddingsConfig, 'jurisdiction'> {
  readonly jurisdiction: string | null
}

const embeddings = object<EmbeddingsSettings>({
  url: key('url', httpUrl, { about: "Where it takes `POST` requests as OpenAI's `/v1/embeddings` does." }),
  servedAs: key('model', someText('a name of a model'), { fallback: null, shown: "the contract's", about: 'Its own name of the model.' }),
  authorization,
  jurisdiction: key('jurisdiction', jurisdiction, { fallback: null, shown: "the organization's", about: 'Where the service runs.' }),
  deadlineMs: key('deadline', duration({ min: '10ms', max: '5m' }), { fallback: 1_000, shown: '1s', about: 'Time for one text.' }),
  concurrent: key('concurrent', count({ unit: 'requests', min: 1, max: 10_000 }), { fallback: 32, shown: '32', about: 'Requests to it under way.' }),
})

const service = object<ServiceSettings>({
  url: key('url', httpUrl, { about: 'Where the service takes GraphQL requests.' }),
  schemaFile: key('schema', path('file'), { about: 'Its schema in SDL.' }),
  authorization,
  jurisdiction: key('jurisdiction', jurisdiction, { fallback: null, shown: "the organization's", about: 'Where the service runs.' }),
  joins: key(
    'joins',
    mapping(
      object({
        field: key('field', graphqlName, { about: "The field of the service's `Query` that gives rows by their keys." }),
        argument: key('argument', graphqlName, { about: 'Its argument that takes a list of keys.' }),
      }),
      { names: 'a type of the contract', accepts: isGraphqlName, placeholder: 'TYPE', min: 1, max: 100 },
    ),
    { about: 'The types that it adds fields to.' },
  ),
  deadlineMs: key('deadline', duration({ min: '10ms', max: '5m' }), { fallback: 1_000, shown: '1s', about: 'Time for one request to it.' }),
  answerBytes: key('answer', size({ min: '1KiB', max: '64MiB' }), { fallback: 4 * 1024 ** 2, shown: '4MiB', about: 'Bytes of one answer.' }),
  concurrent: key('concurrent', count({ unit: 'requests', min: 1, max: 10_000 }), { fallback: 32, shown: '32', about: 'Requests to it under way.' }),
  keys: key('keys', count({ unit: 'keys', min: 1, max: 10_000 }), { fallback: 200, shown: '200', about: 'Keys of one request.' }),
})

interface OrganizationSettings extends Omit<OrganizationConfig, 'id' | 'stores' | 'services' | 'embeddings'> {
  readonly stores: ReadonlyMap<string, StoreSettings>
  readonly services: ReadonlyMap<string, ServiceSettings>
  readonly embeddings: ReadonlyMap<string, EmbeddingsSettings>
}

const organization = object<OrganizationSettings>({
  name: key('name', someText('a name'), { about: 'As people call it.' }),
  jurisdiction: key('jurisdiction', jurisdiction, { about: 'Where it is.' }),
  issuers: key('issuers', list(issuer, { min: 0, max: 20 }), { fallback: [], shown: '[]', about: 'Whose tokens speak for it; without any, nobody does.' }),
  verifyKey: key('verifyKey', path('file'), {
    fallback: null,
    shown: 'none',
    about: 'Public JWK that it signs its agreements with; without it, it grants nothing to others.',
  }),
  ledgerKey: key('ledgerKey', ledgerKey, { about: 'Private Ed25519 key that signs the checkpoints of its ledger.' }),
  stores: key('stores', mapping(store, { names: 'a store', accepts: isId, placeholder: 'STORE', min: 1, max: 50 }), {
    about: 'Its databases. The first is the one meant where a binding names none.',
  }),
  bindings: key('bindings', mapping(binding, { names: 'a type of the contract', accepts: isGraphqlName, placeholder: 'TYPE', min: 0, max: 1_000 }), {
    fallback: new Map<string, TypeBindingConfig>(),
    shown: 'types fit by name',
    about: 'How its tables give the types of the contract; `none` says that it holds no rows of a type.',
  }),
  services: key('services', mapping(service, { names: 'a service', accepts: isId, placeholder: 'SERVICE', min: 0, max: 100 }), {
    fallback: new Map<string, ServiceSettings>(),
    shown: 'none',
    about: 'GraphQL services that it runs, which add fields to types of the contract.',
  }),
  embeddings: key('embeddings', mapping(embeddings, { names: 'a model', accepts: isModel, placeholder: 'MODEL', min: 0, max: 100 }), {
    fallback: new Map<string, EmbeddingsSettings>(),
    shown: 'none',
    about: "Services that make vectors of its callers' texts, by the model that the contract names.",
  }),
})

function isModel(name: string): boolean {
  return name.trim() !== '' && name.length <= 200
}

/** Ids stand in URLs, tokens and file names. */
function isId(name: string): boolean {
  return /^[a-z][a-z0-9-]{0,62}$/.test(name)
}

const GATEWAY = object<GatewayConfig>({
  listen: key('listen', listen, {
    fallback: { host: '127.0.0.1', port: 4000 } satisfies Listen,
    shown: '127.0.0.1:4000',
    about: 'Address and port; port 0 takes a free one. TLS is the business of a proxy in front.',
  }),
  url: key('url', httpUrl, {
    fallback: null,
    shown: '`http://` and `listen`',
    about: 'What clients call, without the path; a proof of possession (DPoP) must name it.',
  }),
  jurisdiction: key('jurisdiction', jurisdiction, { about: 'Where this process runs.' }),
  audience: key('audience', someText('the `aud` of the tokens, such as `https://gateway.example/graphql`'), { about: 'The `aud` that tokens must carry.' }),
  database: key('database', postgresUrl, { about: "The gateway's own PostgreSQL database, for ledgers and the policy epoch." }),
  cursorKey: key('cursorKey', key32, {
    fallback: null,
    shown: 'made at each start',
    about: 'Seals cursors. The same on every machine of one gateway; without it, cursors end with `concordat serve`.',
  }),
  checkpoints: key('checkpoints', path('any'), {
    fallback: 'checkpoints',
    shown: 'checkpoints',
    about: 'Folder for the last checkpoint of each ledger. Keep it apart from the database: it shows when a restore would fork a ledger.',
  }),
  introspection: key('introspection', flag, {
    fallback: true,
    shown: 'true',
    about: 'The schema may be asked for. `false` also takes the suggestions out of error messages.',
  }),
  explorer: key('explorer', flag, { fallback: true, shown: 'true', about: 'A page at `/` to write and run queries. It loads nothing from elsewhere.' }),
  clockToleranceMs: key('clockTolerance', duration({ min: '0s', max: '60s' }), {
    fallback: 5_000,
    shown: '5s',
    about: "How far an issuer's clock may be off.",
  }),
  reloadMs: key('reload', duration({ min: '100ms', max: '5m' }), {
    fallback: 1_000,
    shown: '1s',
    about: 'How often the policy files and the policy epoch are looked at.',
  }),
  drainMs: key('drain', duration({ min: '0s', max: '10m' }), {
    fallback: 10_000,
    shown: '10s',
    about: 'Time for requests under way to end once the process is told to stop.',
  }),
  log: key('log', object<LogConfig>(LOG), {
    fallback: defaultsOf<LogConfig>(LOG),
    shown: 'its defaults',
    about: 'Structured logs, with the request id; never a token, a value of a row or a parameter.',
  }),
  cache: key('cache', object<CacheConfig>(CACHE), {
    fallback: defaultsOf<CacheConfig>(CACHE),
    shown: 'its defaults',
    about: 'What is kept for the next request, at most.',
  }),
  audit: key('audit', object<AuditConfig>(AUDIT), {
    fallback: defaultsOf<AuditConfig>(AUDIT),
    shown: 'its defaults',
    about: 'How entries are written to the ledgers.',
  }),
  limits: key('limits', object<Limits>(LIMITS), {
    fallback: defaultsOf<Limits>(LIMITS),
    shown: 'its defaults',
    about: 'What one request, and all together, may take.',
  }),
})

interface Settings {
  readonly contract: string
  readonly policies: string
  readonly gateway: GatewayConfig
  readonly organizations: ReadonlyMap<string, OrganizationSettings>
}

/** What one organization's settings contradict. */
const consistent = refined<OrganizationSettings, OrganizationSettings>(organization, (settings, refuse) => {
  const stores = [...settings.stores.keys()]
  for (const [type, each] of settings.bindings) {
    const name = each.kind === 'table' ? (each.table?.store ?? null) : null
    if (name !== null && !settings.stores.has(name))
      refuse(`there is no store \`${name}\``, `write one of ${stores.map((store) => `\`${store}\``).join(', ')}`, ['bindings', type, 'table'])
  }
  return settings
})

const organizations = refined(
  mapping(consistent, {
    names: 'an id such as `aurora` (lower case letters, digits, hyphens)',
    accepts: isId,
    placeholder: 'ORGANIZATION',
    min: 1,
    max: 1_000,
  }),
  (all, refuse) => {
    const owners = new Map<string, string>()
    for (const [id, { issuers }] of all) {
      for (const [index, { url }] of issuers.entries()) {
        const other = owners.get(url)
        if (other !== undefined) refuse(`the issuer ${url} speaks for \`${other}\` already`, 'name each issuer once', [id, 'issuers', index, 'url'])
        owners.set(url, id)
      }
    }
    return all
  },
)

const SETTINGS = object<Settings>(
  {
    contract: key('contract', path('folder'), {
      about: 'Folder with the `*.graphql` files of the contract. Paths start at the folder of the configuration file.',
    }),
    policies: key('policies', path('folder'), { about: 'Folder with `roles/*.yaml` and `agreements/*.yaml`. They are watched, and loaded as one set.' }),
    gateway: key('gateway', GATEWAY, { about: 'This process.' }),
    organizations: key('organizations', organizations, { about: 'The owners of data, by id.' }),
  },
  'a mapping with `contract`, `policies`, `gateway` and `organizations`',
)

/** The defaults of `gateway.limits`. */
export const DEFAULT_LIMITS: Limits = defaultsOf<Limits>(LIMITS)

/** Every key there is, for the documentation. */
export function documentedKeys(): readonly DocumentedKey[] {
  return SETTINGS.keys?.('') ?? []
}

/**
 * Reads and checks a configuration file, and the secrets that it names.
 * @throws SettingsError with every mistake, its path and what to write instead.
 */
export function loadConfig(file: string, environment: Readonly<Record<string, string | undefined>>): Config {
  return parseConfig(fileText(file), { file, environment })
}

function fileText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    throw new SettingsError(file, [
      { path: '', line: 1, column: 1, problem: 'this file cannot be read', instead: 'name a configuration file with `--config FILE`' },
    ])
  }
}

/** As `loadConfig`, from text; relative paths start at the folder of `file`. */
export function parseConfig(source: string, options: { readonly file: string; readonly environment: Readonly<Record<string, string | undefined>> }): Config {
  const file = resolve(options.file)
  const directory = dirname(file)
  const settings = readSettings(source, { file: options.file, directory, environment: options.environment }, SETTINGS)
  const completed = new Map(Array.from(settings.organizations, ([id, each]) => [id, organizationConfig(id, each)] as const))
  const gateway = { ...settings.gateway, checkpoints: resolve(directory, settings.gateway.checkpoints) }
  return Object.freeze({ file, contract: settings.contract, policies: settings.policies, gateway: Object.freeze(gateway), organizations: completed })
}

function organizationConfig(id: string, settings: OrganizationSettings): OrganizationConfig {
  const stores = new Map(
    Array.from(settings.stores, ([name, each]) => [name, Object.freeze({ ...each, jurisdiction: each.jurisdiction ?? settings.jurisdiction })] as const),
  )
  const services = new Map(
    Array.from(settings.services, ([name, each]) => [name, Object.freeze({ ...each, jurisdiction: each.jurisdiction ?? settings.jurisdiction })] as const),
  )
  const embeddings = new Map(
    Array.from(settings.embeddings, ([model, each]) => [model, Object.freeze({ ...each, jurisdiction: each.jurisdiction ?? settings.jurisdiction })] as const),
  )
  return Object.freeze({ ...settings, id, stores, services, embeddings })
}
