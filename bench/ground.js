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
/** A machine that is slow, or busy with other things, shall give bad figures and no errors. */
const PATIENCE = '30s'
const CLAIMS = { capacity: 64, since: '2020-01-01T00:00:00Z' }

/** Conditions that hold for the rows of every workload: they are evaluated for each row, and hide none that the peers show. Two of them refer to the token. */
const CONDITIONS = {
  role: {
    Agent: { status: { ne: 'ARCHIVED' }, maxConcurrency: { lte: { claim: 'capacity' } } },
    WorkflowExecution: { startedAt: { gte: { claim: 'since' } } },
    AgentExecutionMetric: { startedAt: { gte: { claim: 'since' } } },
  },
  agreement: { Agent: { status: { ne: 'ARCHIVED' }, maxConcurrency: { lte: 64 } } },
}
const UNCONDITIONAL = { role: {}, agreement: {} }

const TYPES = ['User', 'Agent', 'Workflow', 'WorkflowExecution', 'AgentExecutionMetric']
const AGREED_FIELDS = { Agent: ['key', 'name', 'status', 'description', 'monthlyBudget', 'maxConcurrency', 'createdAt', 'updatedAt'] }

/**
 * @typedef {object} GroundOptions
 * @property {string} directory is emptied
 * @property {number} port
 * @property {object} stores
 * @property {readonly string[]} [organizations] the first is home: its members may query it, and all others by agreement. The others' members have their own rows only
 * @property {'conditions' | 'none'} [rowPolicy] whether roles and agreements have conditions on rows
 * @property {boolean} [isProtected] false: without row-level security
 * @property {Record<string, string | number>} [limits] over those of the bench
 * @property {number} [connections] to each store
 * @property {{ stores?: object, bindings?: object }} [more] stores of home besides `main`, as in a configuration, and bindings
 */

/**
 * Lays the files and applies the row-level security that follows from them.
 *
 * @param {GroundOptions} options
 * @returns {{ config: string, token: string, tokenOf(organization: string): Promise<string>, protect(): Promise<void> }} path of the configuration, bearer tokens, and
 *   `protect` to apply this ground's row-level security again once another one has applied its own.
 */
export async function layGround(options) {
  const {
    directory,
    port,
    stores,
    organizations: ids = ORGANIZATIONS,
    rowPolicy = 'conditions',
    isProtected = true,
    limits = {},
    connections,
    more = {},
  } = options
  const [home, ...partners] = ids
  const conditions = rowPolicy === 'conditions' ? CONDITIONS : UNCONDITIONAL
  rmSync(directory, { recursive: true, force: true })
  for (const folder of ['policies/roles', 'policies/agreements', 'keys']) mkdirSync(join(directory, folder), { recursive: true, mode: 0o700 })
  const file = (...names) => join(directory, ...names)
  const organizations = {}
  const keys = {}
  for (const id of ids) {
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
      stores: { main: { kind: 'postgres', url: stores.gatewayUrl(id), pool: { connect: PATIENCE, ...(connections && { max: connections }) } } },
    }
    if (id === home) {
      Object.assign(organizations[id].stores, more.stores)
      Object.assign(organizations[id], more.bindings && { bindings: more.bindings })
    }
    writeFileSync(file('policies/roles', `${id}.yaml`), stringify(roleFile(id, conditions.role)))
  }
  for (const grantor of partners) {
    const path = file('policies/agreements', `${grantor}-${home}.yaml`)
    writeFileSync(path, stringify(agreement(grantor, home, conditions.agreement)))
    const outcome = await signAgreement(path, keys[grantor].privateJwk)
    if (outcome.kind !== 'signed') throw new Error(`${path}: ${outcome.problems.join('; ')}`)
  }
  const gateway = {
    listen: `127.0.0.1:${port}`,
    jurisdiction: 'DE',
    audience: AUDIENCE,
    database: await stores.newLedger(),
    checkpoints: './checkpoints',
    log: { level: 'warn' },
    limits: { pageRows: 5_000, deadline: PATIENCE, ...limits },
    audit: { timeout: PATIENCE },
  }
  const config = file('concordat.yaml')
  const contract = fileURLToPath(new URL('../schema', import.meta.url))
  writeFileSync(config, stringify({ contract, policies: './policies', gateway, organizations }), { mode: 0o600 })
  const walls = isProtected ? await rowSecurity(config, ids) : new Map(ids.map((id) => [id, '']))
  const protect = async () => {
    for (const [id, sql] of walls) await stores.protect(id, sql)
  }
  await protect()
  const tokenOf = (organization) => tokenFor(organization, keys[organization].privateJwk)
  return { config, token: await tokenOf(home), tokenOf, protect }
}

function roleFile(organization, rows) {
  const read = Object.fromEntries(TYPES.map((type) => [type, { fields: 'all', ...(rows[type] && { rows: rows[type] }) }]))
  return { organization, version: 1, roles: { service: { read, crossOrganization: ['operations'], explain: true } } }
}

function agreement(grantor, grantee, rows) {
  return {
    agreement: `${grantor}-${grantee}`,
    version: 1,
    grantor,
    grantee,
    purposes: ['operations'],
    from: '2020-01-01T00:00:00Z',
    until: '2099-01-01T00:00:00Z',
    jurisdictions: { stored: ['DE'], gateway: ['DE'], grantee: ['DE'] },
    types: Object.fromEntries(Object.entries(AGREED_FIELDS).map(([type, allow]) => [type, { allow, ...(rows[type] && { rows: rows[type] }) }])),
  }
}

/** By organization: what `concordat rls render` gives for it. */
async function rowSecurity(config, ids) {
  const walls = new Map()
  for (const organization of ids) {
    const scripts = await rlsScripts(loadConfig(config, process.env), { organization, store: null, role: null, ownRoles: [] }, Date.now())
    walls.set(organization, scripts.map(({ statements }) => statements).join('\n'))
  }
  return walls
}

function tokenFor(organization, privateJwk) {
  return issueToken({
    privateJwk,
    issuer: `https://${organization}.example`,
    audience: AUDIENCE,
    subject: `service@${organization}.example`,
    roles: ['service'],
    purposes: ['operations'],
    claims: CLAIMS,
    lifetimeSeconds: 86_400,
    nowMs: Date.now(),
  })
}
