/** What a demo's data folder holds besides keys and databases: the policies, signed with the demo's keys, and the configuration that `serve` would take too. */
import { createHash } from 'node:crypto'
import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parse, stringify } from 'yaml'
import { signAgreement } from '../agreement.js'
import { cursorKeyFile, keyFiles, type DemoKeys } from './demo-keys.js'
import type { DemoStores } from './demo-stores.js'
import { DEMO_AUDIENCE } from './demo-tokens.js'
import { DEMO_ORGANIZATIONS, type DemoOrganization } from './platform-data.js'
import { DEMO_GATEWAY_JURISDICTION, DEMO_PARTIES } from './principals.js'

const SCHEMA = fileURLToPath(new URL('../../../schema/', import.meta.url))

/** The folder of the user's caches that is ours. */
export function cacheFolder(environment: Readonly<Record<string, string | undefined>>): string {
  const given = environment.XDG_CACHE_HOME
  if (given !== undefined && given.startsWith('/')) return join(given, 'concordat')
  const home = environment.HOME ?? homedir()
  return process.platform === 'darwin' ? join(home, 'Library', 'Caches', 'concordat') : join(home, '.cache', 'concordat')
}

/**
 * Brings the demo's policies into the folder. A file that somebody has edited there stays as it is, whatever the demo ships by now.
 *
 * @throws Error where a file cannot be written.
 */
export async function layPolicies(dataDirectory: string, keys: DemoKeys): Promise<void> {
  const shippedFile = join(dataDirectory, 'policies', 'shipped.json')
  await mkdir(join(dataDirectory, 'policies', 'roles'), { recursive: true })
  await mkdir(join(dataDirectory, 'policies', 'agreements'), { recursive: true })
  const before = await readShipped(shippedFile)
  const now: Record<string, string> = {}
  for (const name of await policyNames()) {
    const text = await readFile(join(SCHEMA, 'demo', name), 'utf8')
    const file = join(dataDirectory, 'policies', name)
    const found = await readFile(file, 'utf8').catch(() => null)
    now[name] = digest(text)
    if (found !== null && digest(found) !== before[name]) continue
    if (found !== text) await writeFile(file, text)
    if (name.startsWith('agreements/')) await signed(file, keys)
  }
  await writeFile(shippedFile, `${JSON.stringify(now, null, 2)}\n`)
}

async function signed(file: string, keys: DemoKeys): Promise<void> {
  // The demo's own agreement names its grantor first.
  const { grantor } = parse(await readFile(file, 'utf8')) as { grantor: DemoOrganization }
  const outcome = await signAgreement(file, keys[grantor].agreements)
  if (outcome.kind === 'refused') throw new Error(`${file}: ${outcome.problems.join('; ')}`)
}

async function policyNames(): Promise<string[]> {
  const folders = ['roles', 'agreements']
  const names = await Promise.all(folders.map(async (folder) => (await readdir(join(SCHEMA, 'demo', folder))).map((name) => `${folder}/${name}`)))
  return names.flat().filter((name) => name.endsWith('.yaml'))
}

/** Digests of the files as the demo laid them, by name. */
async function readShipped(file: string): Promise<Readonly<Record<string, unknown>>> {
  try {
    const value: unknown = JSON.parse(await readFile(file, 'utf8'))
    return typeof value === 'object' && value !== null ? { ...value } : {}
  } catch {
    return {}
  }
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('base64url')
}

/** Writes `concordat.yaml` for these stores; the sockets have other names after each start. @returns its path. */
export async function layConfiguration(dataDirectory: string, options: { readonly port: number; readonly stores: DemoStores }): Promise<string> {
  const file = join(dataDirectory, 'concordat.yaml')
  const bindings = parse(await readFile(join(SCHEMA, 'demo', 'bindings.yaml'), 'utf8'), { version: '1.2' }) as Partial<Record<DemoOrganization, unknown>>
  const settings = {
    contract: SCHEMA,
    policies: './policies',
    gateway: {
      listen: `127.0.0.1:${options.port}`,
      jurisdiction: DEMO_GATEWAY_JURISDICTION,
      audience: DEMO_AUDIENCE,
      database: options.stores.gatewayDatabaseUrl,
      cursorKey: { file: cursorKeyFile(dataDirectory) },
      log: { level: 'warn' },
    },
    organizations: Object.fromEntries(
      DEMO_ORGANIZATIONS.map((id) => [id, organization(id, { dataDirectory, stores: options.stores, bindings: bindings[id] })]),
    ),
  }
  const text = `# Written by \`concordat demo\` at each start; changes here are lost. Policies are in policies/, and changes there stay.\n${stringify(settings, { version: '1.2', lineWidth: 0, aliasDuplicateObjects: false })}`
  await mkdir(dirname(file), { recursive: true })
  const draft = `${file}.${process.pid}.draft`
  await writeFile(draft, text, { mode: 0o600 })
  await rename(draft, file)
  return file
}

function organization(id: DemoOrganization, parts: { readonly dataDirectory: string; readonly stores: DemoStores; readonly bindings: unknown }): unknown {
  const { name, jurisdiction, issuer, algorithm } = DEMO_PARTIES[id]
  const files = keyFiles(parts.dataDirectory, id)
  return {
    name,
    jurisdiction,
    issuers: [{ url: issuer, algorithms: [algorithm], keys: { file: files.issuerPublic } }],
    verifyKey: files.agreementsPublic,
    ledgerKey: { file: files.ledger },
    stores: { main: { kind: 'postgres', url: parts.stores.organizations[id].gatewayUrl } },
    ...(parts.bindings !== undefined && { bindings: parts.bindings }),
  }
}
