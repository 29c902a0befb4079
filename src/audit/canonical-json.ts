/** Canonical JSON (RFC 8785): generic for what is made seldom, and the parts of which the entries of each request are put together. */
import canonicalize from 'canonicalize'
import { invariant } from '../errors.js'

// The package is CommonJS whose types are written as a module's: what is imported is the function itself.
const canonicalJson = canonicalize as unknown as (value: unknown) => string | undefined

/**
 * The canonical form of a value.
 *
 * @throws Error when a number in it is not finite.
 */
export function canonical(value: object): string {
  const text = canonicalJson(value)
  invariant(text !== undefined, 'an object has a canonical form')
  return text
}

/** Of a string, null where there is none. ECMAScript's own form is the canonical one (RFC 8785, section 3.2.2.2); half surrogates are escaped. */
export function stringText(value: string | null): string {
  return value === null ? 'null' : JSON.stringify(value)
}

/**
 * Of a number, null where there is none: ECMAScript's own form (RFC 8785, section 3.2.2.3), zero without its sign.
 *
 * @throws Error when it is not finite.
 */
export function numberText(value: number | null): string {
  invariant(value === null || Number.isFinite(value), 'JSON holds finite numbers')
  return String(value)
}
