/** Proofs of possession (DPoP, RFC 9449, section 4.3): a small JWT, made for one request, by the key that the token is bound to. */
import { createHash } from 'node:crypto'
import { calculateJwkThumbprint, decodeProtectedHeader, importJWK, jwtVerify, type JWK } from 'jose'
import { GatewayError } from '../errors.js'
import type { SpendProof } from './proof-memory.js'
import { isPublicJwk } from './public-keys.js'

export interface Proof {
  /** The `DPoP` header, or null. */
  readonly dpop: string | null
  readonly method: string
  /** Of the request, as the client called it. */
  readonly url: string
  readonly token: string
  /** SHA-256 thumbprint (RFC 7638) of the key that the token is bound to. */
  readonly thumbprint: string
}

const PROOF_CHARS_MAX = 8_192
const ALGORITHMS = ['ES256', 'EdDSA', 'RS256', 'PS256']
/** How far `iat` may be from now, either way. */
const WINDOW_MS = 60_000
export function proofVerifier({ now, spend }: { readonly now: () => number; readonly spend: SpendProof }): (proof: Proof) => Promise<void> {
  /** @throws GatewayError UNAUTHENTICATED */
  return async (proof) => {
    const jti = await verify(proof, now()).catch((error: unknown) => {
      throw error instanceof GatewayError ? error : new GatewayError('UNAUTHENTICATED', 'the proof of possession does not verify')
    })
    // Only a proof that verified is remembered, so a stranger cannot use up somebody's identifiers.
    const spending = await spend(`${proof.thumbprint} ${createHash('sha256').update(jti).digest('base64')}`, now() + 2 * WINDOW_MS)
    if (spending === 'again') refuse('the proof of possession was used before')
    if (spending === 'refused') refuse('the proof of possession cannot be remembered')
  }
}

/** The proof's `jti`. */
async function verify({ dpop, method, url, token, thumbprint }: Proof, nowMs: number): Promise<string> {
  if (dpop === null || dpop.length > PROOF_CHARS_MAX) return refuse('there is no proof of possession')
  const header = decodeProtectedHeader(dpop)
  if (Object.hasOwn(header, 'crit') || header.typ !== 'dpop+jwt' || !isPublicJwk(header.jwk)) return refuse('the proof of possession is of another kind')
  const key: JWK = header.jwk
  if ((await calculateJwkThumbprint(key, 'sha256')) !== thumbprint) return refuse('the proof of possession is by another key')
  const { payload } = await jwtVerify(dpop, await importJWK(key, header.alg), {
    algorithms: ALGORITHMS,
    typ: 'dpop+jwt',
    currentDate: new Date(nowMs),
    requiredClaims: ['jti', 'iat'],
  })
  const { jti, iat } = payload
  const isForRequest = payload.htm === method && typeof payload.htu === 'string' && addressOf(payload.htu) === addressOf(url)
  const isForToken = payload.ath === createHash('sha256').update(token).digest('base64url')
  const isNow = typeof iat === 'number' && Math.abs(iat * 1_000 - nowMs) <= WINDOW_MS
  if (!isForRequest || !isForToken || !isNow) return refuse('the proof of possession is for another request')
  return typeof jti === 'string' && jti.length > 0 && jti.length <= 256 ? jti : refuse('the proof of possession has no identifier')
}

/** Without query and fragment (RFC 9449, section 4.3, step 9). */
function addressOf(text: string): string {
  const url = new URL(text)
  return `${url.origin}${url.pathname}`
}

function refuse(detail: string): never {
  throw new GatewayError('UNAUTHENTICATED', detail)
}
