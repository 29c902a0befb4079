import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { createHash, createHmac, createPublicKey, randomUUID, type JsonWebKey } from 'node:crypto'
import { mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { calculateJwkThumbprint, CompactSign, importJWK, SignJWT, type JWK } from 'jose'
import { generateKeyPair, issueToken, type KeyPair } from '../../src/cli/token.js'
import { GatewayError } from '../../src/errors.js'
import { authenticator, type Authentic, type AuthenticateConfig, type TrustedIssuer } from '../../src/gateway/authenticate.js'
import { proofMemory } from '../../src/gateway/proof-memory.js'
import type { Principal } from '../../src/policy/principal.js'

const NOW = Date.UTC(2026, 5, 1)
const AURORA = 'https://id.aurora.example'
const BOREALIS = 'https://login.borealis.example'
const AUDIENCE = 'https://gateway.example/graphql'
const URL_OF_API = 'https://gateway.example/graphql'

let aurora: KeyPair
let borealis: KeyPair
let rsa: KeyPair
let stranger: KeyPair
let clock = NOW

beforeAll(async () => {
  ;[aurora, borealis, rsa, stranger] = [
    await generateKeyPair('ES256'),
    await generateKeyPair('EdDSA'),
    await generateKeyPair('RS256'),
    await generateKeyPair('ES256'),
  ]
})

function trusted(): readonly TrustedIssuer[] {
  return [
    { url: AURORA, organization: 'aurora', algorithms: ['ES256', 'RS256'], keys: { kind: 'jwks', jwks: { keys: [aurora.publicJwk, rsa.publicJwk] } } },
    { url: BOREALIS, organization: 'borealis', algorithms: ['EdDSA'], keys: { kind: 'jwks', jwks: { keys: [borealis.publicJwk] } } },
  ]
}

/** What comes at once and what comes later are one to the tests. */
function authenticate(changes: Partial<AuthenticateConfig> = {}): (request: Authentic) => Promise<Principal> {
  clock = NOW
  const admit = authenticator({
    issuers: trusted(),
    audience: AUDIENCE,
    clockToleranceMs: 5_000,
    principalsMax: 100,
    now: () => clock,
    spendProof: proofMemory({ now: () => clock }),
    onKeysUnavailable: () => undefined,
    ...changes,
  })
  return async (request) => admit(request)
}

interface Crafted {
  readonly key?: JWK
  readonly header?: Record<string, unknown>
  readonly claims?: Record<string, unknown>
  /** Claims that are left out. */
  readonly without?: readonly string[]
}

/** A token that is fine but for what is changed. */
async function craft({ key = aurora.privateJwk, header = {}, claims = {}, without = [] }: Crafted = {}): Promise<string> {
  const seconds = NOW / 1_000
  const whole: Record<string, unknown> = {
    iss: AURORA,
    aud: AUDIENCE,
    sub: 'ana',
    nbf: seconds,
    exp: seconds + 600,
    roles: ['analyst'],
    purposes: ['operations'],
    ...claims,
  }
  const payload = Object.fromEntries(Object.entries(whole).filter(([name]) => !without.includes(name)))
  const full = { alg: key.alg ?? 'ES256', typ: 'at+jwt', kid: key.kid ?? '', ...header }
  return new CompactSign(new TextEncoder().encode(JSON.stringify(payload)))
    .setProtectedHeader(full)
    .sign(await importJWK(key, full.alg), { crit: { exp: true } })
}

const request = (authorization: string | null, dpop: string | null = null) => ({ authorization, proof: { dpop, method: 'POST', url: URL_OF_API } })
const bearer = (token: string) => request(`Bearer ${token}`)

async function outcome(answer: Promise<Principal>): Promise<string> {
  try {
    return (await answer).subject
  } catch (error) {
    if (error instanceof GatewayError) return error.code
    throw error
  }
}

const admit = async (crafted: Crafted, auth = authenticate()) => outcome(auth(bearer(await craft(crafted))))
const principal = async (crafted: Crafted) => authenticate()(bearer(await craft(crafted)))
const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')

describe('a token', () => {
  it('makes its subject a principal of the organization that its issuer belongs to', async () => {
    const token = await issueToken({
      privateJwk: aurora.privateJwk,
      issuer: AURORA,
      audience: AUDIENCE,
      subject: 'ana',
      roles: ['analyst', 'auditor'],
      purposes: ['operations', 'research'],
      claims: { team: 'billing', teams: ['a', 'b'], level: 3, remote: true },
      lifetimeSeconds: 600,
      nowMs: NOW,
    })
    const found = await authenticate()(bearer(token))
    expect(found).toMatchObject({
      subject: 'ana',
      organization: 'aurora',
      issuer: AURORA,
      roles: ['analyst', 'auditor'],
      purposes: ['operations', 'research'],
      actors: [],
      proof: 'none',
      expiresMs: NOW + 605_000,
    })
    expect(found.tokenId).toMatch(/^[0-9a-f-]{36}$/)
    expect(['team', 'teams', 'level', 'remote'].map((name) => found.claims.get(name))).toEqual(['billing', ['a', 'b'], 3, true])
  })

  it('counts with any algorithm that its issuer is configured for', async () => {
    expect(await admit({})).toBe('ana')
    expect(await admit({ key: rsa.privateJwk })).toBe('ana')
    expect(await admit({ key: borealis.privateJwk, claims: { iss: BOREALIS } })).toBe('ana')
    expect(await admit({ header: { typ: 'JWT' } })).toBe('ana')
    expect(await admit({ header: { typ: 'application/at+jwt' } })).toBe('ana')
    expect(await admit({ claims: { aud: ['https://other.example', AUDIENCE] } })).toBe('ana')
  })

  it('can carry one purpose as a text', async () => {
    expect((await principal({ claims: { purpose: 'research' }, without: ['purposes'] })).purposes).toEqual(['research'])
    expect((await principal({ without: ['purposes'] })).purposes).toEqual([])
  })

  it.each<[string, Crafted]>([
    ['another audience', { claims: { aud: 'https://gateway.example' } }],
    ['an audience within a longer one', { claims: { aud: `${AUDIENCE}/x` } }],
    ['an issuer that nobody trusts', { claims: { iss: 'https://evil.example' } }],
    ['an issuer with a slash more', { claims: { iss: `${AURORA}/` } }],
    ['a list of issuers', { claims: { iss: [AURORA] } }],
    ['a subject that is no text', { claims: { sub: { $ne: null } } }],
    ['an empty subject', { claims: { sub: '' } }],
    ['a subject with a line break', { claims: { sub: 'ana\nadmin' } }],
    ['a subject beyond 256 characters', { claims: { sub: 'a'.repeat(257) } }],
    ['an expiry that is a text', { claims: { exp: '9999999999' } }],
    ['the type of another kind of token', { header: { typ: 'logout+jwt' } }],
    ['the type of a proof', { header: { typ: 'dpop+jwt' } }],
    ['no type', { header: { typ: undefined } }],
    ['an unknown critical parameter', { header: { crit: ['exp'], exp: 1 } }],
    ['an address for its key', { header: { jku: 'https://evil.example/jwks' } }],
    ['an address for its certificate', { header: { x5u: 'https://evil.example/cert' } }],
    ['a key that the issuer does not have', { header: { kid: 'other' } }],
    ['a path in place of the key', { header: { kid: '../../../../dev/null' } }],
    ['an injection in place of the key', { header: { kid: "' OR '1'='1" } }],
    ['an empty key name', { header: { kid: '' } }],
    ['an object in place of the key', { header: { kid: { $ne: null } } }],
  ])('is refused with %s', async (_, crafted) => {
    expect(await admit(crafted)).toBe('UNAUTHENTICATED')
  })

  it.each(['iss', 'aud', 'sub', 'exp', 'nbf'])('is refused without `%s`', async (name) => {
    expect(await admit({ without: [name] })).toBe('UNAUTHENTICATED')
  })

  it('counts from `nbf` until `exp`, give or take the tolerance', async () => {
    const seconds = NOW / 1_000
    expect(await admit({ claims: { exp: seconds - 4 } })).toBe('ana')
    expect(await admit({ claims: { exp: seconds - 5 } })).toBe('UNAUTHENTICATED')
    expect(await admit({ claims: { nbf: seconds + 5 } })).toBe('ana')
    expect(await admit({ claims: { nbf: seconds + 6 } })).toBe('UNAUTHENTICATED')
  })

  it('by another key is refused, also where it brings that key along', async () => {
    expect(await admit({ key: stranger.privateJwk })).toBe('UNAUTHENTICATED')
    expect(await admit({ key: stranger.privateJwk, header: { kid: aurora.privateJwk.kid } })).toBe('UNAUTHENTICATED')
    expect(await admit({ key: stranger.privateJwk, header: { jwk: stranger.publicJwk } })).toBe('UNAUTHENTICATED')
    expect(await admit({ header: { jwk: aurora.publicJwk } })).toBe('UNAUTHENTICATED')
  })

  it('of one issuer does not speak for another organization', async () => {
    expect(await admit({ key: borealis.privateJwk })).toBe('UNAUTHENTICATED')
    expect(await admit({ key: borealis.privateJwk, header: { kid: aurora.privateJwk.kid } })).toBe('UNAUTHENTICATED')
    expect(await admit({ claims: { iss: BOREALIS } })).toBe('UNAUTHENTICATED')
    expect((await principal({ claims: { organization: 'borealis', org: 'borealis' } })).organization).toBe('aurora')
  })

  it('without a signature, or with one made from the public key, is refused', async () => {
    const [, payload = '', signature = ''] = (await craft()).split('.')
    for (const alg of ['none', 'None', 'NONE', 'nOnE']) {
      const header = encode({ alg, typ: 'at+jwt', kid: aurora.publicJwk.kid })
      for (const last of ['', signature, 'AA']) expect(await outcome(authenticate()(bearer(`${header}.${payload}.${last}`)))).toBe('UNAUTHENTICATED')
    }
    const header = encode({ alg: 'HS256', typ: 'at+jwt', kid: rsa.publicJwk.kid })
    const pem = createPublicKey({ key: rsa.publicJwk as JsonWebKey, format: 'jwk' }).export({ type: 'spki', format: 'pem' })
    for (const secret of [pem, JSON.stringify(rsa.publicJwk), rsa.publicJwk.n ?? '', rsa.publicJwk.kid ?? '', '']) {
      const forged = createHmac('sha256', secret).update(`${header}.${payload}`).digest('base64url')
      expect(await outcome(authenticate()(bearer(`${header}.${payload}.${forged}`)))).toBe('UNAUTHENTICATED')
    }
  })

  it('with an algorithm that its issuer does not use is refused', async () => {
    expect(await admit({ key: rsa.privateJwk, header: { alg: 'PS256' } }, authenticate())).toBe('UNAUTHENTICATED')
    const issuers = trusted().map((issuer) => ({ ...issuer, algorithms: ['EdDSA'] as const }))
    expect(await admit({}, authenticate({ issuers }))).toBe('UNAUTHENTICATED')
  })

  it('that somebody has changed is refused', async () => {
    const [header = '', , signature = ''] = (await craft()).split('.')
    const payload = encode({ iss: AURORA, aud: AUDIENCE, sub: 'admin', nbf: 0, exp: 9_999_999_999, roles: ['analyst'] })
    expect(await outcome(authenticate()(bearer(`${header}.${payload}.${signature}`)))).toBe('UNAUTHENTICATED')
  })

  it.each<[string, string | null]>([
    ['nothing', null],
    ['an empty header', ''],
    ['no token', 'Bearer '],
    ['another scheme', 'Basic YTpi'],
    ['a text', 'Bearer hello'],
    ['five parts', 'Bearer a.b.c.d.e'],
    ['parts that are no JSON', 'Bearer YQ.YQ.YQ'],
    ['parts that are JSON of no object', 'Bearer bnVsbA.bnVsbA.bnVsbA'],
    ['a megabyte', `Bearer ${'a'.repeat(1_000_000)}.a.a`],
    ['two tokens', 'Bearer a.b.c, Bearer a.b.c'],
  ])('is not %s', async (_, authorization) => {
    expect(await outcome(authenticate()(request(authorization)))).toBe('UNAUTHENTICATED')
  })

  it('is refused in one and the same way, whatever the reason', async () => {
    const refusals: GatewayError[] = []
    for (const crafted of [{ claims: { aud: 'x' } }, { claims: { exp: 1 } }, { key: stranger.privateJwk }]) {
      await authenticate()(bearer(await craft(crafted))).catch((error: unknown) => refusals.push(error as GatewayError))
    }
    expect(new Set(refusals.map((error) => JSON.stringify([error.message, error.extensions]))).size).toBe(1)
    // Errors of the library hold the claims; none may travel into a log.
    expect(refusals.every((error) => error.cause === undefined)).toBe(true)
  })
})

describe('the claims of a token', () => {
  it('count as own properties that are scalars or lists of them, and all else is left out', async () => {
    const { claims } = await principal({
      claims: {
        object: { $ne: null },
        nested: [['a']],
        mixed: ['a', 1],
        empty: [],
        nothing: null,
        holes: ['a', null],
        rounded: 2 ** 53,
        nul: 'a\0b',
        half: '\ud800',
        long: 'x'.repeat(1_001),
        exact: 2 ** 53 - 1,
      },
    })
    for (const name of ['object', 'nested', 'mixed', 'empty', 'nothing', 'holes', 'rounded', 'nul', 'half', 'long'])
      expect([name, claims.get(name)]).toEqual([name, undefined])
    expect(claims.get('exact')).toBe(2 ** 53 - 1)
  })

  it('never come from a prototype', async () => {
    const hostile = JSON.parse(`{ "__proto__": { "roles": ["admin"], "team": "x" }, "constructor": { "roles": ["admin"] } }`) as Record<string, unknown>
    const found = await principal({ claims: hostile, without: ['roles'] })
    expect(found.roles).toEqual([])
    for (const name of ['__proto__', 'constructor', 'toString', 'team']) expect(found.claims.has(name)).toBe(false)
    expect(Object.hasOwn(Object.prototype, 'roles')).toBe(false)
  })

  it.each<[string, unknown]>([
    ['an object', { $ne: null }],
    ['a text', 'analyst'],
    ['a list with an object', ['analyst', {}]],
    ['a list within a list', [['analyst']]],
    ['a list that is like one', { 0: 'analyst', length: 1 }],
    ['more than 100', Array.from({ length: 101 }, (_, index) => `r${index}`)],
  ])('give no roles and no purposes where they are %s', async (_, value) => {
    const found = await principal({ claims: { roles: value, purposes: value } })
    expect([found.roles, found.purposes]).toEqual([[], []])
  })

  it('name the chain of actors, outermost first, at most four', async () => {
    const chain = (length: number): unknown =>
      length === 0 ? undefined : { sub: `a${length}`, ...(length % 2 === 0 && { iss: 'https://agents.example' }), act: chain(length - 1) }
    expect((await principal({ claims: { act: chain(2) } })).actors).toEqual([
      { issuer: 'https://agents.example', subject: 'a2' },
      { issuer: AURORA, subject: 'a1' },
    ])
    expect((await principal({ claims: { act: chain(4) } })).actors).toHaveLength(4)
    expect(await admit({ claims: { act: chain(5) } })).toBe('UNAUTHENTICATED')
  })

  it.each<[string, unknown]>([
    ['null', null],
    ['a text', 'robot'],
    ['a list', [{ sub: 'robot' }]],
    ['an object without a subject', {}],
    ['an object with a subject that is no text', { sub: { $ne: null } }],
    ['an object with an issuer that is no text', { sub: 'robot', iss: 1 }],
  ])('are refused where the actor is %s', async (_, act) => {
    expect(await admit({ claims: { act } })).toBe('UNAUTHENTICATED')
  })
})

interface ProofChanges {
  readonly key?: KeyPair
  readonly header?: Record<string, unknown>
  readonly claims?: Record<string, unknown>
}

describe('a token that is bound to a key', () => {
  let client: KeyPair
  let token: string

  beforeAll(async () => {
    client = await generateKeyPair('ES256')
    token = await craft({ claims: { cnf: { jkt: await calculateJwkThumbprint(client.publicJwk) } } })
  })

  async function proof({ key = client, header = {}, claims = {} }: ProofChanges = {}): Promise<string> {
    const { kid: _, alg: __, use: ___, ...jwk } = key.publicJwk
    const payload = {
      jti: randomUUID(),
      htm: 'POST',
      htu: URL_OF_API,
      iat: NOW / 1_000,
      ath: createHash('sha256').update(token).digest('base64url'),
      ...claims,
    }
    return new SignJWT(payload).setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk, ...header }).sign(await importJWK(key.privateJwk, 'ES256'))
  }
  const present = async (dpop: string | null, auth = authenticate()) => outcome(auth(request(`DPoP ${token}`, dpop)))

  it('counts with a proof by that key, and the principal has it', async () => {
    expect((await authenticate()(request(`DPoP ${token}`, await proof()))).proof).toBe('dpop')
    expect(await present(await proof({ claims: { htu: `${URL_OF_API}?x=1#y` } }))).toBe('ana')
    expect(await present(await proof({ claims: { iat: NOW / 1_000 - 60 } }))).toBe('ana')
  })

  it('is refused without a proof, and as a bearer token', async () => {
    expect(await present(null)).toBe('UNAUTHENTICATED')
    expect(await outcome(authenticate()(request(`Bearer ${token}`, null)))).toBe('UNAUTHENTICATED')
    expect(await outcome(authenticate()(request(`Bearer ${token}`, await proof())))).toBe('UNAUTHENTICATED')
  })

  it('needs the scheme: a token that is not bound does not come by DPoP', async () => {
    expect(await outcome(authenticate()(request(`DPoP ${await craft()}`, await proof())))).toBe('UNAUTHENTICATED')
  })

  it('is refused with a proof that was used before, also once the token is kept', async () => {
    const auth = authenticate()
    const [first, second] = [await proof(), await proof()]
    expect(await present(first, auth)).toBe('ana')
    expect(await present(first, auth)).toBe('UNAUTHENTICATED')
    expect(await present(second, auth)).toBe('ana')
    clock += 59_000
    expect(await present(first, auth)).toBe('UNAUTHENTICATED')
    clock += 3_600_000
    expect(await present(first, auth)).toBe('UNAUTHENTICATED')
  })

  it('is refused with one proof in two requests at the same moment', async () => {
    const auth = authenticate()
    const same = await proof()
    expect((await Promise.all([present(same, auth), present(same, auth), present(same, auth)])).sort()).toEqual(['UNAUTHENTICATED', 'UNAUTHENTICATED', 'ana'])
  })

  it.each<[string, () => ProofChanges]>([
    ['by another key', () => ({ key: stranger })],
    ['by another key that shows the right one', () => ({ key: stranger, header: { jwk: client.publicJwk } })],
    ['that shows its private key', () => ({ header: { jwk: client.privateJwk } })],
    ['of another type', () => ({ header: { typ: 'JWT' } })],
    ['for another method', () => ({ claims: { htm: 'GET' } })],
    ['for another address', () => ({ claims: { htu: 'https://other.example/graphql' } })],
    ['for another path', () => ({ claims: { htu: 'https://gateway.example/' } })],
    ['for no address', () => ({ claims: { htu: 'graphql' } })],
    ['for another token', () => ({ claims: { ath: createHash('sha256').update('other').digest('base64url') } })],
    ['for no token', () => ({ claims: { ath: undefined } })],
    ['from too long ago', () => ({ claims: { iat: NOW / 1_000 - 61 } })],
    ['from the future', () => ({ claims: { iat: NOW / 1_000 + 61 } })],
    ['from no time', () => ({ claims: { iat: undefined } })],
    ['without an identifier', () => ({ claims: { jti: undefined } })],
    ['with an identifier that is no text', () => ({ claims: { jti: { $ne: null } } })],
    ['with an identifier beyond 256 characters', () => ({ claims: { jti: 'x'.repeat(257) } })],
  ])('is refused with a proof %s', async (_, changes) => {
    expect(await present(await proof(changes()))).toBe('UNAUTHENTICATED')
  })

  it.each(['', 'x', 'a.b.c', `${encode({ alg: 'none', typ: 'dpop+jwt' })}.e30.`, 'x'.repeat(100_000)])('is refused with a proof like %.20s', async (dpop) => {
    expect(await present(dpop)).toBe('UNAUTHENTICATED')
  })

  it.each<[string, unknown]>([
    ['a certificate, which is not checked here', { 'x5t#S256': 'bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2' }],
    ['a key and a certificate', { jkt: 'x', 'x5t#S256': 'y' }],
    ['a key in an unknown way', { jwk: {} }],
    ['nothing that can be read', 'x'],
    ['nothing', {}],
    ['null', null],
    ['a key that is no text', { jkt: { $ne: null } }],
  ])('is refused where it is bound to %s', async (_, cnf) => {
    expect(await admit({ claims: { cnf } })).toBe('UNAUTHENTICATED')
  })
})

describe('verified tokens that are kept', () => {
  it('do not outlive the token, nor a minute', async () => {
    const auth = authenticate()
    const short = await craft({ claims: { exp: NOW / 1_000 + 30 } })
    expect(await outcome(auth(bearer(short)))).toBe('ana')
    clock += 34_999
    expect(await outcome(auth(bearer(short)))).toBe('ana')
    clock += 1
    expect(await outcome(auth(bearer(short)))).toBe('UNAUTHENTICATED')
  })

  it('are found by all of their text: no other signature gets in on theirs', async () => {
    const auth = authenticate()
    const token = await craft()
    expect(await outcome(auth(bearer(token)))).toBe('ana')
    const [header = '', payload = '', signature = ''] = token.split('.')
    expect(await outcome(auth(bearer(`${header}.${payload}.${signature.slice(0, -4)}AAAA`)))).toBe('UNAUTHENTICATED')
    expect(await outcome(auth(bearer(`${header}.${payload}.${signature}AAAA`)))).toBe('UNAUTHENTICATED')
  })

  it('are no more than configured, and those in use stay', async () => {
    const auth = authenticate({ principalsMax: 2 })
    for (const sub of ['a', 'b', 'c', 'd']) expect(await outcome(auth(bearer(await craft({ claims: { sub } }))))).toBe(sub)
  })
})

describe('the keys of an issuer', () => {
  const folder = mkdtempSync(join(tmpdir(), 'issuer-'))
  const file = join(folder, 'keys.json')
  afterAll(() => rmSync(folder, { recursive: true }))

  let written = 0
  const write = (content: unknown) => {
    writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content))
    written += 1
    utimesSync(file, written, written)
  }
  const fromFile = (problems: string[] = []) =>
    authenticate({
      issuers: [{ url: AURORA, organization: 'aurora', algorithms: ['ES256'], keys: { kind: 'file', file } }],
      onKeysUnavailable: (_, reason) => problems.push(reason),
    })

  it('can stand in a file, as a set or alone, with a name or without', async () => {
    write({ keys: [aurora.publicJwk, borealis.publicJwk] })
    expect(await admit({}, fromFile())).toBe('ana')
    write(aurora.publicJwk)
    expect(await admit({}, fromFile())).toBe('ana')
    const { kid: _, ...nameless } = aurora.publicJwk
    write(nameless)
    expect(await admit({}, fromFile())).toBe('ana')
    expect(await admit({ header: { kid: undefined } }, fromFile())).toBe('ana')
  })

  it('serve the first requests, however many come at once', async () => {
    write(aurora.publicJwk)
    const auth = fromFile()
    const token = await craft()
    expect(await Promise.all(Array.from({ length: 5 }, () => outcome(auth(bearer(token)))))).toEqual(Array(5).fill('ana'))
  })

  it('take tokens with them when they go, kept ones too', async () => {
    write(aurora.publicJwk)
    const auth = fromFile()
    const token = await craft()
    expect(await outcome(auth(bearer(token)))).toBe('ana')
    write(stranger.publicJwk)
    clock += 1_001
    expect(await outcome(auth(bearer(token)))).toBe('UNAUTHENTICATED')
    expect(await outcome(auth(bearer(await craft({ key: stranger.privateJwk }))))).toBe('ana')
  })

  it('admit nobody while they cannot be read, and the operator hears of it', async () => {
    write(aurora.publicJwk)
    const problems: string[] = []
    const auth = fromFile(problems)
    const token = await craft()
    expect(await outcome(auth(bearer(token)))).toBe('ana')
    for (const broken of ['{', '[]', '{"keys":[]}', JSON.stringify(aurora.privateJwk), JSON.stringify({ kty: 'oct', k: 'AAAA' })]) {
      write(broken)
      clock += 1_001
      expect(await outcome(auth(bearer(token)))).toBe('UNAUTHENTICATED')
    }
    expect(problems).toHaveLength(5)
    expect(problems.join(' ')).not.toContain(String(aurora.privateJwk.d))
    rmSync(file)
    clock += 1_001
    expect(await outcome(auth(bearer(token)))).toBe('UNAUTHENTICATED')
    write(aurora.publicJwk)
    clock += 1_001
    expect(await outcome(auth(bearer(token)))).toBe('ana')
  })

  describe('at an address', () => {
    let server: Server
    let answer: () => { readonly status: number; readonly body: string; readonly location?: string }
    let asked = 0
    const address = () => `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`
    const remote = (problems: string[] = []) =>
      authenticate({
        issuers: [{ url: AURORA, organization: 'aurora', algorithms: ['ES256'], keys: { kind: 'url', url: address() } }],
        onKeysUnavailable: (_, reason) => problems.push(reason),
      })

    beforeAll(async () => {
      server = createServer((_, response) => {
        asked += 1
        const { status, body, location } = answer()
        response.writeHead(status, { 'content-type': 'application/json', ...(location !== undefined && { location }) }).end(body)
      })
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    })
    afterAll(() => new Promise((resolve) => server.close(resolve)))

    it('are fetched once', async () => {
      answer = () => ({ status: 200, body: JSON.stringify({ keys: [aurora.publicJwk] }) })
      asked = 0
      const auth = remote()
      for (const sub of ['a', 'b', 'c']) expect(await outcome(auth(bearer(await craft({ claims: { sub } }))))).toBe(sub)
      expect(asked).toBe(1)
    })

    it('admit nobody where they cannot be had, and are not asked for again at once', async () => {
      for (const bad of [
        { status: 500, body: '{}' },
        { status: 200, body: 'x' },
        { status: 200, body: `{"keys":[${'1,'.repeat(200_000)}1]}` },
        { status: 200, body: JSON.stringify({ keys: [{ kty: 'oct', k: 'AAAA' }] }) },
        { status: 302, body: '', location: '/elsewhere' },
      ]) {
        answer = () => bad
        asked = 0
        const problems: string[] = []
        const auth = remote(problems)
        const token = await craft()
        expect(await outcome(auth(bearer(token)))).toBe('UNAUTHENTICATED')
        expect(await outcome(auth(bearer(token)))).toBe('UNAUTHENTICATED')
        expect(asked).toBe(1)
        expect(problems.length).toBeGreaterThan(0)
      }
    })

    it('do not come over plain http from elsewhere', () => {
      const at = (url: string) => () => authenticate({ issuers: [{ url: AURORA, organization: 'aurora', algorithms: ['ES256'], keys: { kind: 'url', url } }] })
      expect(at('https://id.aurora.example/jwks')).not.toThrow()
      expect(at('http://id.aurora.example/jwks')).toThrow()
      expect(at('file:///etc/keys.json')).toThrow()
    })
  })
})

describe('the configuration', () => {
  it('cannot give one issuer to two organizations', () => {
    const [first] = trusted()
    if (!first) throw new Error('there is an issuer')
    expect(() => authenticate({ issuers: [first, { ...first, organization: 'borealis' }] })).toThrow()
  })

  it('cannot widen algorithms, tolerance or audience', () => {
    const weak = trusted().map((issuer) => ({ ...issuer, algorithms: ['HS256'] as unknown as TrustedIssuer['algorithms'] }))
    expect(() => authenticate({ issuers: weak })).toThrow()
    expect(() => authenticate({ issuers: trusted().map((issuer) => ({ ...issuer, algorithms: [] })) })).toThrow()
    expect(() => authenticate({ clockToleranceMs: 60_000 })).not.toThrow()
    expect(() => authenticate({ clockToleranceMs: 60_001 })).toThrow()
    expect(() => authenticate({ clockToleranceMs: Number.NaN })).toThrow()
    expect(() => authenticate({ audience: '' })).toThrow()
  })
})
