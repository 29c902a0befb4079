/** The keys of a demo, made once for each data folder: issuers, signers of agreements and of ledgers, and the gateway's cursor key. */
import { generateKeyPairSync, randomBytes, randomUUID } from 'node:crypto'
import { link, mkdir, readFile, unlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { JWK } from 'jose'
import { generateKeyPair, type KeyAlgorithm, type KeyPair } from '../token.js'
import { DEMO_ORGANIZATIONS, type DemoOrganization } from './platform-data.js'
import { DEMO_PARTIES } from './principals.js'

export interface OrganizationKeys {
  /** Signs tokens. */
  readonly issuer: JWK
  /** Signs agreements. */
  readonly agreements: JWK
}

export type DemoKeys = Readonly<Record<DemoOrganization, OrganizationKeys>>

/** Where the keys of a data folder are. */
export function keyFiles(dataDirectory: string, organization: DemoOrganization) {
  const folder = join(dataDirectory, 'keys', organization)
  return {
    issuer: join(folder, 'issuer.private.jwk'),
    issuerPublic: join(folder, 'issuer.jwks.json'),
    agreements: join(folder, 'agreements.private.jwk'),
    agreementsPublic: join(folder, 'agreements.public.jwk'),
    ledger: join(folder, 'ledger.pem'),
  }
}

export function cursorKeyFile(dataDirectory: string): string {
  return join(dataDirectory, 'keys', 'cursor.key')
}

/** Makes what is missing. Two processes that begin together end with the same keys. */
export async function demoKeys(dataDirectory: string): Promise<DemoKeys> {
  const made = await Promise.all(DEMO_ORGANIZATIONS.map(async (organization) => [organization, await organizationKeys(dataDirectory, organization)] as const))
  await kept(cursorKeyFile(dataDirectory), () => Promise.resolve(randomBytes(32).toString('base64url')))
  // One entry for each organization.
  return Object.fromEntries(made) as DemoKeys
}

async function organizationKeys(dataDirectory: string, organization: DemoOrganization): Promise<OrganizationKeys> {
  const files = keyFiles(dataDirectory, organization)
  const issuer = await keptPair(files.issuer, DEMO_PARTIES[organization].algorithm)
  const agreements = await keptPair(files.agreements, 'EdDSA')
  await kept(files.ledger, () => Promise.resolve(generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()))
  await writePublic(files.issuerPublic, { keys: [issuer.publicJwk] })
  await writePublic(files.agreementsPublic, agreements.publicJwk)
  return { issuer: issuer.privateJwk, agreements: agreements.privateJwk }
}

async function keptPair(file: string, algorithm: KeyAlgorithm): Promise<KeyPair> {
  const text = await kept(file, async () => JSON.stringify((await generateKeyPair(algorithm)).privateJwk))
  // Written by this function, whole or not at all.
  const privateJwk = JSON.parse(text) as JWK
  return { privateJwk, publicJwk: publicPart(privateJwk) }
}

function publicPart(jwk: JWK): JWK {
  const { kty, crv, x, y, n, e, kid, alg, use } = jwk
  const all = { kty, crv, x, y, n, e, kid, alg, use }
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as JWK
}

/** The file's text; made first when the file is not there. A file is there whole or not at all. */
async function kept(file: string, make: () => Promise<string>): Promise<string> {
  const found = await readFile(file, 'utf8').catch(() => null)
  if (found !== null) return found
  await mkdir(dirname(file), { recursive: true, mode: 0o700 })
  const draft = `${file}.${randomUUID()}.draft`
  await writeFile(draft, await make(), { mode: 0o600, flag: 'wx' })
  // A link is refused where somebody was faster; theirs is read then.
  await link(draft, file).catch((error: unknown) => {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error
  })
  await unlink(draft)
  return readFile(file, 'utf8')
}

async function writePublic(file: string, value: unknown): Promise<void> {
  await writeFile(file, `${JSON.stringify(value, null, 2)}\n`, { mode: 0o644 })
}
