/** Public keys from JSON: a JWK, or a JWK set. */
import type { JWK } from 'jose'

const KEYS_MAX = 100
const KEY_TYPES: ReadonlySet<string> = new Set(['EC', 'OKP', 'RSA'])
const PRIVATE_PARAMETERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k', 'priv'] as const

/**
 * The keys for signatures in a JWK or JWK set. Keys for encryption, and of kinds that we do not know, are left out.
 *
 * @throws Error in words for the operator, without anything of the keys: the text is none, or it holds a private or symmetric key, which has no business here.
 */
export function parsePublicKeys(text: string): readonly JWK[] {
  const value = parseJson(text)
  const list = isRecord(value) && Array.isArray(value.keys) ? (value.keys as readonly unknown[]) : [value]
  if (list.length === 0 || list.length > KEYS_MAX) throw new Error(`a JWK set has 1 to ${KEYS_MAX} keys`)
  const keys = list.map(publicKey).filter((key) => KEY_TYPES.has(key.kty ?? '') && (key.use === undefined || key.use === 'sig'))
  if (keys.length === 0) throw new Error('the JWK set has no key for signatures')
  return keys
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    throw new Error('expects a JWK or a JWK set in JSON')
  }
}

function publicKey(value: unknown): JWK {
  if (!isRecord(value) || typeof value.kty !== 'string') throw new Error('expects a JWK or a JWK set')
  if (PRIVATE_PARAMETERS.some((name) => Object.hasOwn(value, name))) throw new Error('the key is private; only its public part belongs here')
  return value
}

/** Whether a JWK has no private parameter. */
export function isPublicJwk(value: unknown): value is JWK {
  return isRecord(value) && !PRIVATE_PARAMETERS.some((name) => Object.hasOwn(value, name))
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
