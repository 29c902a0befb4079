import type { Scalar } from '../query/predicate.js'

/** One link of a delegation chain (`act`), outermost first. */
export interface Actor {
  readonly issuer: string
  readonly subject: string
}

/** Who asks; always from a verified token. */
export interface Principal {
  readonly subject: string
  /** The organization of the token's issuer, whatever the token's claims say. */
  readonly organization: string
  readonly issuer: string
  readonly roles: readonly string[]
  /** Purposes that the token carries; the one of the request is chosen among them. */
  readonly purposes: readonly string[]
  readonly actors: readonly Actor[]
  /** `jti`, or null. */
  readonly tokenId: string | null
  /** Proof of possession that was verified with this request. */
  readonly proof: 'none' | 'dpop' | 'mtls'
  /** Own claims that are scalars or lists of scalars of one kind; all else is left out. */
  readonly claims: ReadonlyMap<string, Scalar | readonly Scalar[]>
  /** Unix milliseconds; the principal is not to be used from here on. */
  readonly expiresMs: number
}
