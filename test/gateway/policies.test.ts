import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { signAgreement, verifyAgreement } from '../../src/cli/agreement.js'
import { generateKeyPair, type KeyPair } from '../../src/cli/token.js'
import { parseContract } from '../../src/gateway/contract.js'
import { openPolicies, PoliciesError, schemaMistakesOf, type Policies, type PolicyMistake } from '../../src/gateway/policies.js'
import { parsePolicyYaml } from '../../src/gateway/policy-yaml.js'
import { parseInput } from '../../src/gateway/scalars.js'
import { words } from '../support/platform-contract.js'

const ROLES = `
organization: aurora
version: 1
roles:
  analyst:
    read:
      User: { fields: [key, name] }
`
const AGREEMENT = `
agreement: borealis-aurora   # comments are free
version: 1
grantor: borealis
grantee: aurora
purposes: [operations]
from: 2026-01-01T00:00:00Z
until: 2027-01-01T00:00:00Z
jurisdictions: { stored: [CA], gateway: [DE], grantee: [NO] }   # NO is Norway
types:
  User: { allow: [key, name] }
`

let folder: string
let key: KeyPair
let open: Policies[] = []

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'policies-'))
  mkdirSync(join(folder, 'roles'))
  mkdirSync(join(folder, 'agreements'))
  key = await generateKeyPair('EdDSA')
  write('key.jwk', JSON.stringify(key.publicJwk))
  write('roles/aurora.yaml', ROLES)
  write('agreements/one.yaml', AGREEMENT)
  await signAgreement(at('agreements/one.yaml'), key.privateJwk)
})

afterEach(() => {
  for (const policies of open) policies.close()
  open = []
  rmSync(folder, { recursive: true })
})

const at = (name: string) => join(folder, name)
const write = (name: string, text: string) => writeFileSync(at(name), text)

async function load(refused: (readonly PolicyMistake[])[] = [], pollMs = 60_000): Promise<Policies> {
  const policies = await openPolicies({
    directory: folder,
    words,
    organizations: [
      { id: 'aurora', verifyKeyFile: null },
      { id: 'borealis', verifyKeyFile: at('key.jwk') },
    ],
    pollMs,
    onRefused: (mistakes) => refused.push(mistakes),
  })
  open.push(policies)
  return policies
}

async function mistakes(): Promise<readonly string[]> {
  try {
    await load()
  } catch (error) {
    if (error instanceof PoliciesError) return error.mistakes.map(({ file, line, path }) => `${file.slice(folder.length + 1)}:${line} ${path}`.trim())
    throw error
  }
  return []
}

async function until(condition: () => boolean): Promise<void> {
  for (let waited = 0; !condition(); waited += 20) {
    if (waited > 8_000) throw new Error('it did not happen')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

describe('policies on disk', () => {
  it('are one set of roles and signed agreements', async () => {
    const set = (await load()).current()
    expect([...(set.roles.get('aurora')?.roles.keys() ?? [])]).toEqual(['analyst'])
    expect(set.agreements.map(({ id }) => id)).toEqual(['borealis-aurora'])
    expect([...(set.agreements[0]?.jurisdictions.grantee ?? [])]).toEqual(['NO'])
  })

  it('do not load with a mistake, and name file, line and path of each', async () => {
    write('roles/aurora.yaml', `${ROLES}      Agent: { fields: [key, nam] }\n    crossOrganisation: [operations]\n`)
    write('agreements/one.yaml', AGREEMENT.replace('[key, name]', '[key]'))
    expect(await mistakes()).toEqual(['roles/aurora.yaml:9 roles.analyst.crossOrganisation', 'agreements/one.yaml:11 types.User'])
    write('roles/aurora.yaml', `${ROLES}      Agent: { fields: [key, nam] }\n`)
    expect(await mistakes()).toEqual(['roles/aurora.yaml:8 roles.analyst.read.Agent.fields[1]', 'agreements/one.yaml:11 types.User'])
  })

  it('do not load with an agreement that nobody signed, or that was changed since', async () => {
    write('agreements/one.yaml', AGREEMENT.replace('2027', '2030'))
    expect(await mistakes()).toEqual(['agreements/one.yaml:2'])
    rmSync(at('agreements/one.jws'))
    write('agreements/one.yaml', AGREEMENT)
    expect(await mistakes()).toEqual(['agreements/one.yaml:2'])
    write('agreements/one.jws', '')
    expect(await mistakes()).toEqual(['agreements/one.yaml:2'])
  })

  it('let layout and comments of a signed agreement be free', async () => {
    write('agreements/one.yaml', AGREEMENT.replace('# comments are free', '').replace('User: { allow: [key, name] }', 'User:\n    allow: ["key", name]'))
    expect(await mistakes()).toEqual([])
  })

  it('do not load where a folder or a key is missing, or a key is private', async () => {
    write('key.jwk', JSON.stringify(key.privateJwk))
    expect(await mistakes()).toEqual(['key.jwk:1', 'agreements/one.yaml:4 grantor'])
    rmSync(at('key.jwk'))
    expect((await mistakes())[0]).toBe('key.jwk:1')
    renameSync(folder, `${folder}-gone`)
    try {
      expect(await mistakes()).toHaveLength(1)
    } finally {
      renameSync(`${folder}-gone`, folder)
    }
  })

  it('pass over other files', async () => {
    write('roles/README.md', 'x')
    write('roles/.aurora.yaml.swp', 'x')
    write('agreements/old.yaml.bak', 'x')
    write('agreements/stray.jws', 'x')
    expect(await mistakes()).toEqual([])
  })
})

describe('policies that change', () => {
  it('are read again by themselves, as a whole', async () => {
    const policies = await load()
    const seen: number[] = []
    policies.onChange((set) => seen.push(set.roles.get('aurora')?.version ?? 0))
    write('roles/aurora.yaml', ROLES.replace('version: 1', 'version: 2'))
    await until(() => seen.length > 0)
    expect(seen).toEqual([2])
    expect(policies.current().roles.get('aurora')?.version).toBe(2)
  })

  it('are found by polling where the system does not tell of them', async () => {
    rmSync(join(folder, 'roles'), { recursive: true })
    const policies = await load([], 50)
    expect(policies.current().roles.size).toBe(0)
    // The folder is new, so nobody watches it.
    mkdirSync(join(folder, 'roles'))
    write('roles/aurora.yaml', ROLES)
    await until(() => policies.current().roles.size === 1)
  })

  it('stay as they were where the new ones do not load, and say so once', async () => {
    const refused: (readonly PolicyMistake[])[] = []
    const policies = await load(refused, 50)
    const before = policies.current()
    const changes: unknown[] = []
    policies.onChange((set) => changes.push(set))
    write('roles/aurora.yaml', ROLES.replace('fields: [key, name]', 'fields: [key, nothing]'))
    await until(() => refused.length > 0)
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(policies.current()).toBe(before)
    expect(refused).toHaveLength(1)
    expect(refused[0]?.[0]).toMatchObject({ line: 7, path: 'roles.analyst.read.User.fields[1]' })
    expect(changes).toEqual([])
    write('roles/aurora.yaml', ROLES.replace('version: 1', 'version: 9'))
    await until(() => policies.current().roles.get('aurora')?.version === 9)
  })

  it('that do not load are told of once, whoever has them read', async () => {
    const refused: (readonly PolicyMistake[])[] = []
    const policies = await load(refused, 50)
    write('roles/aurora.yaml', ROLES.replace('fields: [key, name]', 'fields: [key, nothing]'))
    expect((await policies.reload()).kind).toBe('refused')
    await policies.reload()
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(refused).toHaveLength(1)
  })

  it('do not load half: a new role waits for the agreement that is broken beside it', async () => {
    const policies = await load()
    write('roles/aurora.yaml', ROLES.replace('version: 1', 'version: 2'))
    write('agreements/one.yaml', AGREEMENT.replace('version: 1', 'version: 2'))
    const reload = await policies.reload()
    expect(reload.kind).toBe('refused')
    expect(policies.current().roles.get('aurora')?.version).toBe(1)
    await signAgreement(at('agreements/one.yaml'), key.privateJwk)
    expect((await policies.reload()).kind).toBe('loaded')
    expect(policies.current().roles.get('aurora')?.version).toBe(2)
  })

  it('do not load once the key of the grantor is another', async () => {
    const policies = await load()
    write('key.jwk', JSON.stringify((await generateKeyPair('ES256')).publicJwk))
    expect((await policies.reload()).kind).toBe('refused')
  })

  it('are no news where only the layout is another', async () => {
    const policies = await load()
    let changes = 0
    policies.onChange(() => (changes += 1))
    write('roles/aurora.yaml', `# a comment\n${ROLES}`)
    await policies.reload()
    expect(changes).toBe(0)
  })

  it('can be read again by many at once', async () => {
    const policies = await load()
    write('roles/aurora.yaml', ROLES.replace('version: 1', 'version: 2'))
    const reloads = await Promise.all([policies.reload(), policies.reload(), policies.reload()])
    expect(reloads.every((reload) => reload.kind === 'loaded' && reload.set.roles.get('aurora')?.version === 2)).toBe(true)
  })

  it('are followed no more once closed', async () => {
    const policies = await load([], 30)
    policies.close()
    write('roles/aurora.yaml', ROLES.replace('version: 1', 'version: 2'))
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(policies.current().roles.get('aurora')?.version).toBe(1)
  })
})

describe('the YAML of policies', () => {
  const read = (text: string) => parsePolicyYaml(text)

  it('has the values that it shows: NO is Norway, keys are what they look like', () => {
    expect(read('a: NO\nb: yes\nc: 012\nd: 2026-01-01\ne: ~\nf: 0x1F\n1: one\nnull: { x: "1" }\n').content).toEqual({
      a: 'NO',
      b: 'yes',
      c: 12,
      d: '2026-01-01',
      e: null,
      f: 31,
      1: 'one',
      null: { x: '1' },
    })
  })

  it.each<[string, string, number]>([
    ['a key twice', 'a: 1\nb: 2\na: 3\n', 3],
    ['a key twice, quoted once', '1: x\n"1": y\n', 2],
    ['an anchor', 'a: &x 1\n', 1],
    ['an alias', 'a: 1\nb: &x 2\nc: *x\n', 3],
    ['a tag', 'a: 1\nb: !!str 2\n', 2],
    ['a tag of its own', 'a: !secret x\n', 1],
    ['a directive', '%YAML 1.1\n---\na: NO\n', 1],
    ['a directive for tags', '%TAG !e! tag:example.com,2000:\n---\na: 1\n', 1],
    ['two documents', 'a: 1\n---\nb: 2\n', 2],
    ['a bracket that stays open', 'a: [1\nb: 2\n', 2],
    ['a key that is a list', '? [a]\n: 1\n', 1],
    ['a key that is nothing', '? \n: 1\n', 1],
    ['the prototype', 'a: 1\n__proto__: { x: 1 }\n', 2],
    ['a number that is too large', 'a: 9007199254740993\n', 1],
    ['a number that is none', 'a: .nan\n', 1],
    ['a number without end', 'a: 1e999\n', 1],
    ['U+0000 in quotes', 'a: "x\\0"\n', 1],
    ['half a character', 'a: "\\ud800"\n', 1],
    ['thousands of brackets', `a: ${'['.repeat(20_000)}\n`, 1],
    ['hundreds of levels', `a: ${'['.repeat(200)}${']'.repeat(200)}\n`, 1],
    ['more than a megabyte', `a: ${'x'.repeat(1_100_000)}\n`, 1],
  ])('is refused with %s', (_, text, line) => {
    const { content, mistakes: found } = read(text)
    expect(content).toBeNull()
    expect(found.map((mistake) => mistake.line)).toContain(line)
  })

  it('has no merge keys: `<<` is a key like any other', () => {
    expect(read('a: { <<: { b: 1 } }\n').content).toEqual({ a: { '<<': { b: 1 } } })
  })

  it('knows the line of each path', () => {
    const { lineOf } = read('a:\n  b:\n    - x\n    - c: 1\n  d: 2\n')
    expect([[], ['a'], ['a', 'b', 0], ['a', 'b', 1, 'c'], ['a', 'd'], ['a', 'nothing']].map(lineOf)).toEqual([1, 1, 3, 4, 5, 1])
  })
})

describe('the JSON Schemas of policies', () => {
  it('take what loads', () => {
    expect(schemaMistakesOf('roles', parsePolicyYaml(ROLES).content)).toEqual([])
    expect(schemaMistakesOf('agreement', parsePolicyYaml(AGREEMENT).content)).toEqual([])
  })

  it.each(readdirSync('schema/demo/agreements').filter((name) => name.endsWith('.yaml')))('take %s of the demo, and so does the contract', async (name) => {
    expect(schemaMistakesOf('agreement', parsePolicyYaml(readFileSync(`schema/demo/agreements/${name}`, 'utf8')).content)).toEqual([])
  })

  it('let the demo load as one set', async () => {
    const contract = parseContract([{ name: 'contract.graphql', text: readFileSync('schema/contract.graphql', 'utf8') }])
    rmSync(at('agreements'), { recursive: true })
    mkdirSync(at('agreements'))
    for (const name of readdirSync('schema/demo/roles')) copyFileSync(`schema/demo/roles/${name}`, at(`roles/${name}`))
    for (const name of readdirSync('schema/demo/agreements').filter((file) => file.endsWith('.yaml'))) {
      copyFileSync(`schema/demo/agreements/${name}`, at(`agreements/${name}`))
      await signAgreement(at(`agreements/${name}`), key.privateJwk)
    }
    const organizations = ['aurora', 'borealis', 'cascade'].map((id) => ({ id, verifyKeyFile: at('key.jwk') }))
    const policies = await openPolicies({
      directory: folder,
      words: { catalog: contract, parseScalar: parseInput },
      organizations,
      pollMs: 60_000,
      onRefused: () => undefined,
    })
    open.push(policies)
    expect(policies.current().roles.size).toBe(3)
  })

  it.each<['roles' | 'agreement', string]>([
    ['roles', 'organization: aurora\nversion: 0\nroles: {}\n'],
    ['roles', 'organization: aurora\nversion: 1\nroles: { a: { write: {} } }\n'],
    ['roles', 'organization: aurora\nversion: 1\nroles: { a: { read: { User: { fields: [] } } } }\n'],
    ['roles', 'organization: aurora\nversion: 1\nroles: { a: { read: { User: { fields: all, rows: {} } } } }\n'],
    ['roles', 'organization: aurora\nversion: 1\nroles: { a: { purposes: [] } }\n'],
    ['agreement', AGREEMENT.replace('[operations]', '[]')],
    ['agreement', AGREEMENT.replace('[key, name]', 'all')],
    ['agreement', AGREEMENT.replace('grantee: [NO]', 'grantee: []')],
    ['agreement', AGREEMENT.replace('allow: [key, name]', 'allow: [key], mask: { name: { hash: {} } }')],
    ['agreement', AGREEMENT.replace('allow: [key, name]', 'aggregateOnly: {}')],
  ])('refuse %s that do not load', (kind, text) => {
    const { content, mistakes: unreadable } = parsePolicyYaml(text)
    expect(unreadable).toEqual([])
    expect(schemaMistakesOf(kind, content).length).toBeGreaterThan(0)
  })
})

describe('the signature of an agreement', () => {
  it('is made beside the file, and verifies with the public key alone', async () => {
    const file = at('agreements/one.yaml')
    expect(await verifyAgreement(file, key.publicJwk)).toMatchObject({ kind: 'valid', file })
    expect(await verifyAgreement(file, (await generateKeyPair('EdDSA')).publicJwk)).toMatchObject({ kind: 'invalid' })
    expect(readFileSync(at('agreements/one.jws'), 'utf8')).toMatch(/^[\w-]+\.\.[\w-]+\n$/)
    expect(readdirSync(at('agreements')).sort()).toEqual(['one.jws', 'one.yaml'])
  })

  it('is not made over what is no agreement', async () => {
    write('agreements/two.yaml', AGREEMENT.replace('purposes: [operations]\n', ''))
    expect(await signAgreement(at('agreements/two.yaml'), key.privateJwk)).toMatchObject({ kind: 'refused' })
    write('agreements/two.yaml', 'a: &x 1\n')
    expect(await signAgreement(at('agreements/two.yaml'), key.privateJwk)).toMatchObject({ kind: 'refused' })
    expect(existsSync(at('agreements/two.jws'))).toBe(false)
    expect(await verifyAgreement(at('agreements/two.yaml'), key.publicJwk)).toMatchObject({ kind: 'invalid' })
  })

  it('is made with EdDSA or ES256, and with a private key', async () => {
    const file = at('agreements/one.yaml')
    const other = await generateKeyPair('ES256')
    await signAgreement(file, other.privateJwk)
    expect(await verifyAgreement(file, other.publicJwk)).toMatchObject({ kind: 'valid' })
    await expect(signAgreement(file, (await generateKeyPair('RS256')).privateJwk)).rejects.toThrow()
    await expect(signAgreement(file, other.publicJwk)).rejects.toThrow()
    expect(await verifyAgreement(file, other.publicJwk)).toMatchObject({ kind: 'valid' })
  })

  it('is missing where there is none', async () => {
    rmSync(at('agreements/one.jws'))
    expect(await verifyAgreement(at('agreements/one.yaml'), key.publicJwk)).toMatchObject({
      kind: 'invalid',
      problems: ['there is no signature beside the file'],
    })
  })
})
