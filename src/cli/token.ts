/** Tokens and key pairs for tests, demos and first steps; in production an identity provider issues them. */
import { randomUUID } from 'node:crypto'
import { calculateJwkThumbprint, exportJWK, generateKeyPair as generate, importJWK, SignJWT, type JWK } from 'jose'
import type { Scalar } from '../query/predicate.js'

export interface TokenRequest {
  readonly privateJwk: JWK
  /** `iss`: a trusted issuer of the configuration. */
  readonly issuer: string
  /** `aud`: the gateway's audience. */
  readonly audience: string
  readonly subject: string
  readonly roles: readonly string[]
  readonly purposes: readonly string[]
  /** Further claims, for conditions; none of those that this function sets. */
  readonly claims: Readonly<Record<string, Scalar | readonly Scalar[]>>
  readonly lifetimeSeconds: number
  /** Unix milliseconds. */
  readonly nowMs: number
  /** SHA-256 thumbprint of the key that the token is bound to (DPoP); absent: a bearer token. */
  readonly boundTo?: string
}

const OWN_CLAIMS: ReadonlySet<string> = new Set(['iss', 'aud', 'sub', 'exp', 'nbf', 'iat', 'jti', 'cnf', 'act', 'roles', 'purposes', 'purpose'])

/**
 * A signed access token (RFC 9068).
 *
 * @throws Error where a claim is one that the function sets itself, or the key is none to sign with.
 */
export async function issueToken(request: TokenRequest): Promise<string> {
  const taken = Object.keys(request.claims).find((name) => OWN_CLAIMS.has(name))
  if (taken !== undefined) throw new Error(`the claim ${taken} is set by the token itself`)
  if (!Number.isFinite(request.lifetimeSeconds) || request.lifetimeSeconds <= 0) throw new Error('the lifetime is a number of seconds above 0')
  const alg = algorithmOf(request.privateJwk)
  const nowSeconds = Math.floor(request.nowMs / 1_000)
  const confirmation = request.boundTo === undefined ? {} : { cnf: { jkt: request.boundTo } }
  return new SignJWT({ ...request.claims, ...confirmation, roles: [...request.roles], purposes: [...request.purposes] })
    .setProtectedHeader({ alg, typ: 'at+jwt', ...(request.privateJwk.kid !== undefined && { kid: request.privateJwk.kid }) })
    .setIssuer(request.issuer)
    .setAudience(request.audience)
    .setSubject(request.subject)
    .setJti(randomUUID())
    .setIssuedAt(nowSeconds)
    .setNotBefore(nowSeconds)
    .setExpirationTime(nowSeconds + Math.ceil(request.lifetimeSeconds))
    .sign(await importJWK(request.privateJwk, alg))
}

export type KeyAlgorithm = 'ES256' | 'EdDSA' | 'RS256' | 'PS256'

export interface KeyPair {
  readonly privateJwk: JWK
  readonly publicJwk: JWK
}

/** A new key pair; `kid` is its thumbprint (RFC 7638). */
export async function generateKeyPair(alg: KeyAlgorithm): Promise<KeyPair> {
  const { privateKey, publicKey } = await generate(alg, { extractable: true })
  const publicJwk = await exportJWK(publicKey)
  const named = { kid: await calculateJwkThumbprint(publicJwk), alg, use: 'sig' }
  return { privateJwk: { ...(await exportJWK(privateKey)), ...named }, publicJwk: { ...publicJwk, ...named } }
}

/** The algorithm that a key says, or that its kind implies. */
export function algorithmOf(jwk: JWK): KeyAlgorithm {
  const stated = (['ES256', 'EdDSA', 'RS256', 'PS256'] as const).find((alg) => alg === jwk.alg)
  if (stated) return stated
  if (jwk.alg === undefined && jwk.kty === 'EC' && jwk.crv === 'P-256') return 'ES256'
  if (jwk.kty === 'OKP' && jwk.crv === 'Ed25519') return 'EdDSA'
  if (jwk.alg === undefined && jwk.kty === 'RSA') return 'RS256'
  throw new Error('the key is none for ES256, EdDSA, RS256 or PS256')
}
