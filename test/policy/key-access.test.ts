import { beforeAll, describe, expect, it } from '@jest/globals'
import { CompactSign, exportJWK, generateKeyPair, type JWK } from 'jose'
import { canonicalText } from '../../src/policy/agreement.js'
import type { AuthorityContext } from '../../src/policy/authority-of.js'
import { keyAccess, type KeyRequest } from '../../src/policy/key-access.js'
import { policySetOf, type PolicySet } from '../../src/policy/policy-set.js'
import { catalog, words } from '../support/platform-contract.js'

let keys: { readonly privateKey: Parameters<CompactSign['sign']>[0]; readonly verifyKey: JWK }
beforeAll(async () => {
  const { privateKey, publicKey } = await generateKeyPair('EdDSA', { extractable: true })
  keys = { privateKey, verifyKey: await exportJWK(publicKey) }
})

/** Borealis lets aurora, which runs a service, read users. */
const TERMS = {
  agreement: 'one',
  version: 1,
  grantor: 'borealis',
  grantee: 'aurora',
  purposes: ['operations'],
  from: '2026-01-01T00:00:00Z',
  until: '2027-01-01T00:00:00Z',
  jurisdictions: { stored: ['CA'], gateway: ['DE'], grantee: ['DE'] },
  types: { User: { allow: ['key', 'name'] } },
}

const CONTEXT: AuthorityContext = {
  catalog,
  nowMs: Date.parse('2026-06-01T00:00:00Z'),
  gatewayJurisdiction: 'DE',
  organizations: [
    { id: 'aurora', jurisdiction: 'DE', storeJurisdictions: ['DE'] },
    { id: 'borealis', jurisdiction: 'CA', storeJurisdictions: ['CA'] },
    { id: 'cascade', jurisdiction: 'US', storeJurisdictions: ['US'] },
  ],
  epoch: 0n,
}

const REQUEST: KeyRequest = { recipient: { organization: 'aurora', jurisdiction: 'DE' }, owner: 'borealis', type: 'User', purpose: 'operations' }

async function policies(terms: object): Promise<PolicySet> {
  const content = { ...TERMS, ...terms }
  const signature = await new CompactSign(new TextEncoder().encode(canonicalText(content))).setProtectedHeader({ alg: 'EdDSA' }).sign(keys.privateKey)
  const parties = ['aurora', 'borealis', 'cascade'].map((id) => ({ id, verifyKeys: [keys.verifyKey] }))
  const outcome = await policySetOf([{ file: 'one.yaml', kind: 'agreement', content, signature }], parties, words)
  if (outcome.kind === 'refused') throw new Error(JSON.stringify(outcome.mistakes))
  return outcome.set
}

async function access(terms: object, request: Partial<KeyRequest> = {}, context: Partial<AuthorityContext> = {}): Promise<string> {
  const found = keyAccess({ ...REQUEST, ...request }, await policies(terms), { ...CONTEXT, ...context })
  return found.kind === 'agreed' ? `agreed ${found.grant.organization} ${found.grant.types.get('User')?.rows.kind}` : found.kind
}

describe('keys of rows for a service of another organization', () => {
  it('may go where an agreement lets it read them, for all rows or for some', async () => {
    expect(await access({})).toBe('agreed borealis all')
    expect(await access({ types: { User: { rows: { name: { eq: 'x' } }, allow: ['key', 'name'] } } })).toBe('agreed borealis compare')
  })

  it('may go to the own service of their owner, whatever agreements say', async () => {
    expect(await access({}, { owner: 'aurora', purpose: null })).toBe('own')
  })

  it.each([
    ['nobody agreed with', {}, { owner: 'cascade' }, {}],
    ['another organization runs', {}, { recipient: { organization: 'cascade', jurisdiction: 'US' } }, {}],
    ['another purpose asks', {}, { purpose: 'reporting' }, {}],
    ['no purpose asks', {}, { purpose: null }, {}],
    ['may read other types', {}, { type: 'Agent' }, {}],
    ['may read pseudonyms', { types: { User: { allow: ['name'], mask: { key: { pseudonym: {} } } } } }, {}, {}],
    ['stands elsewhere', {}, { recipient: { organization: 'aurora', jurisdiction: 'US' } }, {}],
    ['is asked from a gateway elsewhere', {}, {}, { gatewayJurisdiction: 'US' }],
    ['comes too late', {}, {}, { nowMs: Date.parse(TERMS.until) }],
    ['comes too early', {}, {}, { nowMs: Date.parse(TERMS.from) - 1 }],
    ['would have to prove that it holds a token', { require: ['dpop'] }, {}, {}],
  ] as const)('stay where a service that %s would get them', async (_what, terms, request, context) => {
    expect(await access(terms, request, context)).toBe('none')
  })
})
