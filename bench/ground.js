/** What our gateway needs besides databases: keys, roles, signed agreements, the configuration, and the token of the principal that all requests come from. */
import { generateKeyPairSync } from 'node:crypto'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { stringify } from 'yaml'
import { signAgreement } from '../dist/cli/agreement.js'
import { rlsScripts } from '../dist/cli/rls.js'
import { generateKeyPair, issueToken } from '../dist/cli/token.js'
import { loadConfig } from '../dist/config.js'
import { ORGANIZATIONS } from './stores.js'

const AUDIENCE = 'https://gateway.example/graphql'
const HOME = 'aurora'
const [, ...PARTNERS] = ORGANIZATIONS

/** Conditions that hold for the rows of every workload: they are evaluated for each row, and hide none that the peers show. Two of them refer to the token. */
const READ = {
  User: { fields: 'all' },
  Agent: { fields: 'all', rows: { status: { ne: 'ARCHIVED' }, maxConcurrency: { lte: { claim: 'capacity' } } } },
  Workflow: { fields: 'all' },
  WorkflowExecution: { fields: 'all', rows: { startedAt: { gte: { claim: 'since' } } } },
  AgentExecutionMetric: { fields: 'all', rows: { startedAt: { gte: { claim: 'since' } } } },
}
const CLAIMS = { capacity: 64, since: '2020-01-01T00:00:00Z' }

const AGREED = {
  Agent: {
    rows: { status: { ne: 'ARCHIVED' }, maxConcurrency: { lte: 64 } },
    allow: ['key', 'name', 'status', 'description', 'monthlyBudget', 'maxConcurrency', 'createdAt', 'updatedAt'],
  },
}

/**
 * Lays the files and applies the row-level security that follows from them.
 *
 * @param {{ directory: string, port: number, stores: object }} options `directory` is emptied.
 * @returns {{ config: string, token: string }} path of the configuration, and the bearer token.
 */
export async function layGround({ directory, port, stores }) {
  rmSync(directory, { recursive: true, force: true })
  for (const folder of ['policies/roles', 'policies/agreements', 'keys']) mkdirSync(join(directory, folder), { recursive: true, mode: 0o700 })
  const file = (...names) => join(directory, ...names)
  const organizations = {}
  const keys = {}
  for (const id of ORGANIZATIONS) {
    const pair = (keys[id] = await generateKeyPair('EdDSA'))
    writeFileSync(file('keys', `${id}.jwks.json`), JSON.stringify({ keys: [pair.publicJwk] }))
    const ledgerKey = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' })
    writeFileSync(file('keys', `${id}.ledger.pem`), ledgerKey, { mode: 0o600 })
    organizations[id] = {
      name: id,
      jurisdiction: 'DE',
      issuers: [{ url: `https://${id}.example`, algorithms: ['EdDSA'], keys: { file: `./keys/${id}.jwks.json` } }],
      verifyKey: `./keys/${id}.jwks.json`,
      ledgerKey: { file: `./keys/${id}.ledger.pem` },
      stores: { main: { kind: 'postgres', url: stores.gatewayUrl(id) } },
    }
  }
  writeFileSync(
    file('policies/roles', `${HOME}.yaml`),
    stringify({ organization: HOME, version: 1, roles: { service: { read: READ, crossOrganization: ['operations'], explain: true } } }),
  )
  for (const grantor of PARTNERS) {
    const path = file('policies/agreements', `${grantor}-${HOME}.yaml`)
    writeFileSync(path, stringify(agreement(grantor)))
    const outcome = await signAgreement(path, keys[grantor].privateJwk)
    if (outcome.kind !== 'signed') throw new Error(`${path}: ${outcome.problems.join('; ')}`)
  }
  const gateway = {
    listen: `127.0.0.1:${port}`,
    jurisdiction: 'DE',
    audience: AUDIENCE,
    database: stores.ledgerUrl,
    checkpoints: './checkpoints',
    log: { level: 'warn' },
    limits: { pageRows: 5_000 },
  }
  const config = file('concordat.yaml')
  const contract = fileURLToPath(new URL('../schema', import.meta.url))
  writeFileSync(config, stringify({ contract, policies: './policies', gateway, organizations }), { mode: 0o600 })
  for (const organization of ORGANIZATIONS) {
    const scripts = await rlsScripts(loadConfig(config, process.env), { organization, store: null, role: null, ownRoles: [] }, Date.now())
    await stores.protect(organization, scripts.map(({ statements }) => statements).join('\n'))
  }
  const token = await issueToken({
    privateJwk: keys[HOME].privateJwk,
    issuer: `https://${HOME}.example`,
    audience: AUDIENCE,
    subject: 'service@aurora.example',
    roles: ['service'],
    purposes: ['operations'],
    claims: CLAIMS,
    lifetimeSeconds: 86_400,
    nowMs: Date.now(),
  })
  return { config, token }
}

function agreement(grantor) {
  return {
    agreement: `${grantor}-${HOME}`,
    version: 1,
    grantor,
    grantee: HOME,
    purposes: ['operations'],
    from: '2020-01-01T00:00:00Z',
    until: '2099-01-01T00:00:00Z',
    jurisdictions: { stored: ['DE'], gateway: ['DE'], grantee: ['DE'] },
    types: AGREED,
  }
}
