/** The demo's four PostgreSQL servers: one for each organization, which is the owner of its data, and one for the gateway's own ledgers. */
import { join } from 'node:path'
import { Client } from 'pg'
import type { RunningPostgres } from './embedded-postgres.js'
import { accountFor, startPostgres } from './embedded-postgres.js'
import { GATEWAY_ROLE, makeGatewayRole, seedOrganization, setupOrganization } from './organization-store.js'
import type { DemoOrganization } from './platform-data.js'
import { DEMO_ORGANIZATIONS } from './platform-data.js'
import type { PostgresBinaries } from './postgres-binaries.js'
import { locateBinaries } from './postgres-binaries.js'

export interface DemoStoreUrls {
  /** As the gateway: least rights, read only, under row-level security. */
  readonly gatewayUrl: string
  /** As the organization itself: owner of its tables. */
  readonly ownerUrl: string
}

export interface DemoStores {
  readonly organizations: Readonly<Record<DemoOrganization, DemoStoreUrls>>
  /** The gateway's own database, as its owner; commits are durable. */
  readonly gatewayDatabaseUrl: string
  /** Applies an organization's row-level security; see `setupOrganization`. */
  protect(organization: DemoOrganization, rlsSql: string): Promise<boolean>
  /** Ends all servers. May be called more than once. */
  stop(): Promise<void>
}

export interface DemoStoresOptions {
  /** Each server has a folder of its own in `postgres` below it. */
  readonly dataDirectory: string
  /** Of the rows, see `platformData`; absent: what is there stays, and a new demo is small. Another scale replaces the organizations' rows. */
  readonly scale?: number
  readonly signal?: AbortSignal
}

/** Login role that owns an organization's database and tables. Row-level security is for the gateway; the organization's own programs go on as before. */
const OWNER_ROLE = 'platform'
/** Database, and login role that owns it, for the gateway's ledgers. */
const GATEWAY_DATABASE = 'gateway'

/**
 * Starts the four servers at one time, creating and filling what is missing. A start that was killed at any point is taken up by the next one.
 *
 * @throws PostgresLaunchError as `startPostgres` does; the servers that have started are ended again.
 */
export async function startDemoStores(options: DemoStoresOptions): Promise<DemoStores> {
  const folder = join(options.dataDirectory, 'postgres')
  const names = [...DEMO_ORGANIZATIONS, GATEWAY_DATABASE] as const
  // All four folders were made by one user; a folder that another user made since is looked at again by `startPostgres`.
  const binaries = await locateBinaries({ account: await accountFor(join(folder, GATEWAY_DATABASE)) })
  const started = await Promise.allSettled(names.map((name) => startStore(name, { folder, binaries, options })))
  const servers = started.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
  const stop = async (): Promise<void> => {
    await Promise.all(servers.map(({ server }) => server.stop()))
  }
  const failed = started.find((result) => result.status === 'rejected')
  if (failed) {
    await stop()
    throw failed.reason
  }
  const serverOf = (name: string): RunningPostgres => {
    const found = servers.find((each) => each.name === name)
    if (!found) throw new Error('invariant: every server has started')
    return found.server
  }
  const urls = (name: DemoOrganization): DemoStoreUrls => ({
    gatewayUrl: serverOf(name).url(name, GATEWAY_ROLE),
    ownerUrl: serverOf(name).url(name, OWNER_ROLE),
  })
  return {
    organizations: { aurora: urls('aurora'), borealis: urls('borealis'), cascade: urls('cascade') },
    gatewayDatabaseUrl: serverOf(GATEWAY_DATABASE).url(GATEWAY_DATABASE, GATEWAY_DATABASE),
    protect: (organization, rlsSql) => connected(urls(organization).ownerUrl, (client) => setupOrganization(client, { organization, rlsSql })),
    stop,
  }
}

type StoreName = DemoOrganization | typeof GATEWAY_DATABASE

async function startStore(
  name: StoreName,
  { folder, binaries, options }: { readonly folder: string; readonly binaries: PostgresBinaries; readonly options: DemoStoresOptions },
): Promise<{ readonly name: StoreName; readonly server: RunningPostgres }> {
  const server = await startPostgres({
    directory: join(folder, name),
    durability: name === GATEWAY_DATABASE ? 'durable' : 'relaxed',
    binaries,
    ...(options.signal ? { signal: options.signal } : {}),
  })
  try {
    if (name === GATEWAY_DATABASE) await makeDatabase(server, { database: GATEWAY_DATABASE, owner: GATEWAY_DATABASE })
    else await makeOrganization(server, name, options.scale ?? null)
    return { name, server }
  } catch (error) {
    await server.stop()
    throw error
  }
}

async function makeOrganization(server: RunningPostgres, name: DemoOrganization, scale: number | null): Promise<void> {
  await makeDatabase(server, { database: name, owner: OWNER_ROLE })
  await connected(server.url(name), async (client) => {
    await makeGatewayRole(client)
    await client.query(`ALTER ROLE ${OWNER_ROLE} NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION BYPASSRLS`)
    await client.query(`REVOKE ALL ON DATABASE ${name} FROM PUBLIC`)
    await client.query(`GRANT CONNECT ON DATABASE ${name} TO ${GATEWAY_ROLE}`)
    await client.query('REVOKE ALL ON SCHEMA public FROM PUBLIC')
  })
  await connected(server.url(name, OWNER_ROLE), async (client) => {
    await seedOrganization(client, name, scale)
    await setupOrganization(client, { organization: name, rlsSql: null })
  })
}

/** `database` and `owner` are constants of this file. */
async function makeDatabase(server: RunningPostgres, { database, owner }: { readonly database: string; readonly owner: string }): Promise<void> {
  await connected(server.url('postgres'), async (client) => {
    await makeRole(client, owner)
    const { rowCount } = await client.query('SELECT FROM pg_database WHERE datname = $1', [database])
    if (rowCount === 0) await client.query(`CREATE DATABASE ${database} OWNER ${owner}`)
  })
}

async function makeRole(client: Client, role: string): Promise<void> {
  const { rowCount } = await client.query('SELECT FROM pg_roles WHERE rolname = $1', [role])
  if (rowCount === 0) await client.query(`CREATE ROLE ${role} LOGIN`)
}

async function connected<T>(url: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: url, application_name: 'concordat demo' })
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}
