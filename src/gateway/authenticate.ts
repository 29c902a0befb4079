/**
 * From the headers of a request to the principal, by JSON Web Tokens (RFC 7519, RFC 9068) and, for tokens that are bound to a key, proofs of possession (DPoP,
 * RFC 9449). Whoever fails here learns that a valid token is needed, and nothing else.
 */
import { createHash } from 'node:crypto'
import { decodeJwt, decodeProtectedHeader, errors, jwtVerify, type JWTPayload, type ProtectedHeaderParameters } from 'jose'
import { GatewayError } from '../errors.js'
import type { Actor, Principal } from '../policy/principal.js'
import { isPrototypeName } from '../policy/reading.js'
import type { Scalar } from '../query/predicate.js'
import { keySource, type KeySource, type KeysAt } from './key-source.js'
import { proofVerifier } from './proof.js'
import type { SpendProof } from './proof-memory.js'
import type { GatewayRequest } from './request.js'

export type Algorithm = 'ES256' | 'EdDSA' | 'RS256' | 'PS256'
const ALGORITHMS: readonly Algorithm[] = ['ES256', 'EdDSA', 'RS256', 'PS256']

/** An identity provider. It speaks for one organization, and only for that one. */
export interface TrustedIssuer {
  /** `iss` of its tokens. */
  readonly url: string
  readonly organization: string
  readonly algorithms: readonly Algorithm[]
  readonly keys: KeysAt
}

export interface AuthenticateConfig {
  readonly issuers: readonly TrustedIssuer[]
  /** `aud` that every token must name. */
  readonly audience: string
  /** At most 60 s. */
  readonly clockToleranceMs: number
  /** Verified tokens that are kept. */
  readonly principalsMax: number
  /** Unix milliseconds. */
  readonly now: () => number
  /** Uses up proofs of possession, for every process that serves the same address. */
  readonly spendProof: SpendProof
  /** The keys of an issuer cannot be had; its tokens are refused until they can. */
  readonly onKeysUnavailable: (issuer: string, reason: string) => void
}

/**
 * At once where the connection's last request came with the same token; `connection` is any object that lives as long as the connection.
 *
 * @throws GatewayError UNAUTHENTICATED, or rejects with it.
 */
export type Authenticate = (request: Authentic) => Principal | Promise<Principal>

export type Authentic = Pick<GatewayRequest, 'authorization' | 'proof'> & Partial<Pick<GatewayRequest, 'connection'>>

const CLOCK_TOLERANCE_MAX_MS = 60_000
const TOKEN_CHARS_MAX = 16_384
/** Verified tokens are kept no longer than this, nor past their expiry or a change of their issuer's keys. */
const KEPT_MS = 60_000

/** A token that verified, without what belongs to a single request. */
interface Verified {
  readonly principal: Principal
  /** Thumbprint of the key that the token is bound to. */
  readonly boundTo: string | null
}

interface Kept extends Verified {
  readonly issuer: Issuer
  readonly generation: number
  readonly untilMs: number
}

interface Issuer extends TrustedIssuer {
  readonly source: KeySource
}

/**
 * Authentication by the configured issuers; every failure is a GatewayError UNAUTHENTICATED.
 *
 * @throws Error where the configuration contradicts itself: two issuers of one name, an algorithm that is not allowed, too large a tolerance.
 */
export function authenticator(config: AuthenticateConfig): Authenticate {
  checkConfig(config)
  const issuers = new Map(config.issuers.map((issuer): [string, Issuer] => [issuer.url, { ...issuer, source: keySource(issuer.keys, config.now) }]))
  const kept = new Map<string, Kept>()
  const verifyProof = proofVerifier({ now: config.now, spend: config.spendProof })

  /** What the last request of a connection was verified with: the header is compared instead of hashed. */
  const lastOf = new WeakMap<object, { readonly header: string; readonly kept: Kept }>()

  return (request) => {
    const { authorization, connection } = request
    const last = connection && lastOf.get(connection)
    if (last && last.header === authorization && isCurrent(last.kept)) return last.kept.principal
    return authenticated(request)
  }

  function isCurrent({ issuer, generation, untilMs }: Kept): boolean {
    return issuer.source.currentGeneration() === generation && config.now() < untilMs
  }

  async function authenticated(request: Authentic): Promise<Principal> {
    const { scheme, token } = parseAuthorization(request.authorization)
    const verified = (await recall(token)) ?? (await verify(token))
    if (verified.boundTo === null) {
      if (scheme === 'dpop') refuse('the token is not bound to a key')
      if (request.connection && request.authorization !== null) lastOf.set(request.connection, { header: request.authorization, kept: verified })
      return verified.principal
    }
    // A stolen token must not pass as a bearer token (RFC 9449, section 7.2).
    if (scheme !== 'dpop') refuse('the token is bound to a key and came without a proof')
    await verifyProof({ ...request.proof, token, thumbprint: verified.boundTo })
    return { ...verified.principal, proof: 'dpop' }
  }

  /** Tokens are kept under the hash of their whole text: under part of it, another signature would do. */
  async function recall(token: string): Promise<Kept | null> {
    const key = sha256(token)
    const found = kept.get(key)
    if (!found) return null
    const isValid = (await found.issuer.source.generation()) === found.generation && config.now() < found.untilMs
    kept.delete(key)
    // At the end again: the one that was not used for the longest time goes first.
    if (isValid) kept.set(key, found)
    return isValid ? found : null
  }

  async function verify(token: string): Promise<Kept> {
    const issuer = issuers.get(claimedIssuer(token)) ?? refuse('the issuer is not trusted')
    const { verified, generation } = await verifyBy(issuer, token, config)
    const untilMs = Math.min(verified.principal.expiresMs, config.now() + KEPT_MS)
    const made: Kept = { ...verified, issuer, generation, untilMs }
    kept.set(sha256(token), made)
    const [oldest] = kept.keys()
    if (kept.size > config.principalsMax && oldest !== undefined) kept.delete(oldest)
    return made
  }
}

function checkConfig(config: AuthenticateConfig): void {
  const urls = config.issuers.map(({ url }) => url)
  if (new Set(urls).size !== urls.length) throw new Error('two trusted issuers have one url: a token could speak for two organizations')
  for (const { url, algorithms } of config.issuers) {
    if (algorithms.length === 0 || !algorithms.every((algorithm) => ALGORITHMS.includes(algorithm)))
      throw new Error(`the issuer ${url} needs algorithms among ${ALGORITHMS.join(', ')}`)
  }
  if (!(config.clockToleranceMs >= 0 && config.clockToleranceMs <= CLOCK_TOLERANCE_MAX_MS)) throw new Error('the clock tolerance is 0 to 60 s')
  if (config.audience === '') throw new Error('the audience is empty')
}

function parseAuthorization(header: string | null): { readonly scheme: 'bearer' | 'dpop'; readonly token: string } {
  const [, scheme = '', token = ''] =
    /^(bearer|dpop) +([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+)$/i.exec((header ?? '').slice(0, TOKEN_CHARS_MAX + 10)) ?? []
  if (token === '' || token.length > TOKEN_CHARS_MAX) refuse('there is no token')
  return { scheme: scheme.toLowerCase() === 'dpop' ? 'dpop' : 'bearer', token }
}

/** Whom the token says it is from; only to choose whose keys must have signed it. */
function claimedIssuer(token: string): string {
  try {
    return decodeJwt(token).iss ?? ''
  } catch {
    return refuse('the token is not a JWT')
  }
}

async function verifyBy(issuer: Issuer, token: string, config: AuthenticateConfig): Promise<{ readonly verified: Verified; readonly generation: number }> {
  try {
    checkHeader(decodeProtectedHeader(token))
    const problem = await issuer.source.ready()
    if (problem !== null) config.onKeysUnavailable(issuer.url, problem)
    // Before the keys are used: a change while they are makes the token one to be verified again.
    const generation = await issuer.source.generation()
    const { payload } = await jwtVerify(token, issuer.source.keyFor, {
      algorithms: [...issuer.algorithms],
      issuer: issuer.url,
      audience: config.audience,
      requiredClaims: ['iss', 'aud', 'sub', 'exp', 'nbf'],
      clockTolerance: config.clockToleranceMs / 1_000,
      currentDate: new Date(config.now()),
    })
    return { verified: { principal: principalOf(payload, issuer, config), boundTo: confirmation(payload) }, generation }
  } catch (error) {
    if (error instanceof GatewayError) throw error
    // Errors of jose hold the claims of the token, which must not reach the log: only their code does.
    return refuse(`the token does not verify (${error instanceof errors.JOSEError ? error.code : 'unexpected'})`)
  }
}

/** A token that says where its own key is, or that asks for what we do not understand, is no token for us. */
function checkHeader(header: ProtectedHeaderParameters): void {
  for (const name of ['jku', 'x5u', 'jwk', 'crit']) if (Object.hasOwn(header, name)) refuse(`the token has the header parameter \`${name}\``)
  const typ = typeof header.typ === 'string' ? header.typ.toLowerCase().replace(/^application\//, '') : ''
  if (typ !== 'at+jwt' && typ !== 'jwt') refuse('the token is of another type')
}

function principalOf(payload: JWTPayload, issuer: TrustedIssuer, config: AuthenticateConfig): Principal {
  const claims = claimsOf(payload)
  const { exp } = payload
  if (typeof exp !== 'number') return refuse('the token does not expire')
  return {
    subject: identifier(own(payload, 'sub')) ?? refuse('the subject is not a name'),
    organization: issuer.organization,
    issuer: issuer.url,
    roles: names(own(payload, 'roles')),
    purposes: purposesOf(payload),
    actors: actorsOf(own(payload, 'act'), issuer.url),
    tokenId: identifier(own(payload, 'jti')),
    proof: 'none',
    claims,
    expiresMs: Math.min(Math.floor(exp * 1_000) + config.clockToleranceMs, Number.MAX_SAFE_INTEGER),
  }
}

function own(value: object, name: string): unknown {
  return Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined
}

/** A text that can stand in a log and in a ledger. */
function identifier(value: unknown): string | null {
  return typeof value === 'string' && value.length > 0 && value.length <= 256 && !/[\p{Cc}\p{Surrogate}]/u.test(value) ? value : null
}

const NAMES_MAX = 100

/** A list of names; anything else in its place, or within it, gives none. */
function names(value: unknown): readonly string[] {
  if (!Array.isArray(value) || value.length > NAMES_MAX) return []
  const list = value.map(identifier)
  return list.every((name) => name !== null) ? [...new Set(list)] : []
}

function purposesOf(payload: JWTPayload): readonly string[] {
  if (Object.hasOwn(payload, 'purposes')) return names(own(payload, 'purposes'))
  return names([own(payload, 'purpose')])
}

const ACTORS_MAX = 4

/** The chain of `act` (RFC 8693, section 4.1), outermost first. An actor without an issuer is one of the token's. */
function actorsOf(act: unknown, tokenIssuer: string): readonly Actor[] {
  const actors: Actor[] = []
  for (let link = act; link !== undefined; link = own(link, 'act')) {
    if (typeof link !== 'object' || link === null || Array.isArray(link)) return refuse('an actor is not an object')
    const subject = identifier(own(link, 'sub'))
    const issuer = Object.hasOwn(link, 'iss') ? identifier(own(link, 'iss')) : tokenIssuer
    if (subject === null || issuer === null) return refuse('an actor has no subject')
    actors.push({ issuer, subject })
    if (actors.length > ACTORS_MAX) return refuse('the chain of actors is too long')
  }
  return actors
}

/** The key that the token is bound to. A binding that cannot be checked here makes the token useless, not free. */
function confirmation(payload: JWTPayload): string | null {
  if (!Object.hasOwn(payload, 'cnf')) return null
  const cnf = own(payload, 'cnf')
  const members = typeof cnf === 'object' && cnf !== null && !Array.isArray(cnf) ? Object.entries(cnf) : []
  const [member] = members
  if (members.length !== 1 || member?.[0] !== 'jkt' || typeof member[1] !== 'string') return refuse('the token is bound in a way that cannot be checked here')
  return member[1]
}

const CLAIMS_MAX = 200
const LIST_MAX = 1_000
const TEXT_MAX = 1_000

/** Own claims that conditions can use. All others are left out, and match nothing: objects, mixed and empty lists, numbers that JSON has rounded. */
function claimsOf(payload: JWTPayload): ReadonlyMap<string, Scalar | readonly Scalar[]> {
  const entries = Object.entries(payload).slice(0, CLAIMS_MAX)
  return new Map(
    entries.flatMap(([name, value]): [string, Scalar | readonly Scalar[]][] => {
      if (isPrototypeName(name)) return []
      if (isScalar(value)) return [[name, value]]
      return isScalarList(value) ? [[name, value]] : []
    }),
  )
}

function isScalar(value: unknown): value is Scalar {
  if (typeof value === 'string') return value.length <= TEXT_MAX && !/[\0\p{Surrogate}]/u.test(value)
  if (typeof value === 'number') return Number.isFinite(value) && (!Number.isInteger(value) || Number.isSafeInteger(value))
  return typeof value === 'boolean'
}

function isScalarList(value: unknown): value is readonly Scalar[] {
  if (!Array.isArray(value) || value.length === 0 || value.length > LIST_MAX) return false
  return value.every((item) => isScalar(item) && typeof item === typeof value[0])
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('base64')
}

function refuse(detail: string): never {
  throw new GatewayError('UNAUTHENTICATED', detail)
}
