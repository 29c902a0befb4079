import { beforeAll, describe, expect, it } from '@jest/globals'
import { CompactSign, exportJWK, generateKeyPair, importJWK, type JWK } from 'jose'
import { canonicalText } from '../../src/policy/agreement.js'
import { policySetOf, type Party, type PolicyFile } from '../../src/policy/policy-set.js'
import { printPath } from '../../src/policy/reading.js'
import { words } from '../support/platform-contract.js'

let secret: JWK
let parties: readonly Party[]

beforeAll(async () => {
  const { privateKey, publicKey } = await generateKeyPair('EdDSA', { extractable: true })
  secret = await exportJWK(privateKey)
  const verifyKeys = [await exportJWK(publicKey)]
  parties = [
    { id: 'aurora', verifyKeys },
    { id: 'borealis', verifyKeys },
    { id: 'cascade', verifyKeys: [] },
  ]
})

const ROLES = { organization: 'aurora', version: 1, roles: { analyst: { read: { User: { fields: 'all' } } } } }
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

const roles = (content: unknown, file = 'roles/aurora.yaml'): PolicyFile => ({ file, kind: 'roles', content, signature: null })

async function agreement(changes: object, file = 'agreements/one.yaml'): Promise<PolicyFile> {
  const content = { ...TERMS, ...changes }
  const signature = await new CompactSign(new TextEncoder().encode(canonicalText(content)))
    .setProtectedHeader({ alg: 'EdDSA' })
    .sign(await importJWK(secret, 'EdDSA'))
  return { file, kind: 'agreement', content, signature }
}

async function mistakes(...files: PolicyFile[]): Promise<readonly string[]> {
  const outcome = await policySetOf(files, parties, words)
  return outcome.kind === 'loaded' ? [] : outcome.mistakes.map(({ file, path }) => `${file} ${printPath(path)}`.trim())
}

describe('a set of policies', () => {
  it('holds the roles by organization and the agreements by name', async () => {
    const outcome = await policySetOf([roles(ROLES), await agreement({})], parties, words)
    expect(outcome.kind).toBe('loaded')
    if (outcome.kind !== 'loaded') return
    expect([...outcome.set.roles.keys()]).toEqual(['aurora'])
    expect(outcome.set.agreements.map(({ id }) => id)).toEqual(['one'])
    expect(outcome.set.digest).toMatch(/^[\w-]{43}$/)
    expect(Object.isFrozen(outcome.set)).toBe(true)
  })

  it('is empty where there is no file: nobody may see anything', async () => {
    const outcome = await policySetOf([], parties, words)
    expect(outcome.kind === 'loaded' && [outcome.set.roles.size, outcome.set.agreements.length]).toEqual([0, 0])
  })

  it('has a digest that tells content apart, and nothing else', async () => {
    const digest = async (...files: PolicyFile[]) => {
      const outcome = await policySetOf(files, parties, words)
      return outcome.kind === 'loaded' ? outcome.set.digest : 'refused'
    }
    const reordered = { roles: ROLES.roles, version: 1, organization: 'aurora' }
    expect(await digest(roles(reordered, 'other.yaml'), await agreement({}, 'other.yaml'))).toBe(await digest(await agreement({}), roles(ROLES)))
    expect(await digest(roles({ ...ROLES, version: 2 }))).not.toBe(await digest(roles(ROLES)))
    expect(await digest(roles(ROLES))).not.toBe(await digest(roles(ROLES), await agreement({})))
  })

  it('does not load without the signature, or with that of another content', async () => {
    const signed = await agreement({})
    expect(await mistakes({ ...signed, signature: null })).toEqual(['agreements/one.yaml'])
    expect(await mistakes({ ...signed, content: { ...TERMS, version: 2 } })).toEqual(['agreements/one.yaml'])
    expect(await mistakes({ ...signed, signature: 'x' })).toEqual(['agreements/one.yaml'])
  })

  it('does not load with an agreement by somebody who has no key, or with strangers', async () => {
    expect(await mistakes(await agreement({ grantor: 'cascade' }))).toEqual(['agreements/one.yaml grantor'])
    expect(await mistakes(await agreement({ grantor: 'delta' }))).toEqual(['agreements/one.yaml grantor'])
    expect(await mistakes(await agreement({ grantee: 'delta' }))).toEqual(['agreements/one.yaml grantee'])
    expect(await mistakes(roles({ ...ROLES, organization: 'delta' }))).toEqual(['roles/aurora.yaml organization'])
  })

  it('does not load with two files of roles for one organization', async () => {
    expect(await mistakes(roles(ROLES), roles(ROLES, 'roles/more.yaml'))).toEqual(['roles/more.yaml organization'])
  })

  it('does not load with two agreements that would apply at one time', async () => {
    const first = await agreement({})
    const second = (changes: object) => agreement({ agreement: 'two', ...changes }, 'agreements/two.yaml')
    expect(await mistakes(first, await second({}))).toEqual(['agreements/two.yaml types.User'])
    expect(await mistakes(first, await second({ from: '2026-12-31T23:59:59.999Z', until: '2028-01-01T00:00:00Z' }))).toEqual(['agreements/two.yaml types.User'])
    expect(await mistakes(first, await second({ purposes: ['research', 'operations'] }))).toEqual(['agreements/two.yaml types.User'])
    // One ends where the other begins; another purpose; another type; the other direction.
    expect(await mistakes(first, await second({ from: '2027-01-01T00:00:00Z', until: '2028-01-01T00:00:00Z' }))).toEqual([])
    expect(await mistakes(first, await second({ purposes: ['research'] }))).toEqual([])
    expect(await mistakes(first, await second({ types: { WorkflowExecution: { allow: ['key', 'status', 'startedAt'] } } }))).toEqual([])
    expect(await mistakes(first, await second({ grantor: 'aurora', grantee: 'borealis' }))).toEqual([])
  })

  it('does not load with two agreements of one name', async () => {
    expect(await mistakes(await agreement({}), await agreement({ purposes: ['research'] }, 'agreements/two.yaml'))).toEqual(['agreements/two.yaml agreement'])
  })

  it('lists the mistakes of all files at once', async () => {
    const bad = await agreement({ grantee: 'delta', types: { User: { allow: ['key', 'nam'] } } })
    const found = await mistakes(roles({ ...ROLES, roles: { a: { read: { Nothing: { fields: 'all' } } }, b: { write: {} } } }), bad)
    expect(found).toEqual(['roles/aurora.yaml roles.a.read.Nothing', 'roles/aurora.yaml roles.b.write', 'agreements/one.yaml types.User.allow[1]'])
  })
})
