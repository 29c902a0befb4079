/** The public keys of an issuer: given, in a file that is looked at again when it changes, or at an address of its own. */
import { createHash } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { createLocalJWKSet, createRemoteJWKSet, customFetch, type JSONWebKeySet, type JWK, type JWTVerifyGetKey } from 'jose'
import { parsePublicKeys } from './public-keys.js'

export type KeysAt =
  | { readonly kind: 'file'; readonly file: string }
  /** `https`, or `http` on this machine. */
  | { readonly kind: 'url'; readonly url: string }
  | { readonly kind: 'jwks'; readonly jwks: { readonly keys: readonly JWK[] } }

export interface KeySource {
  /** Looks for a change where that is due. What is wrong, for the operator, or null. */
  readonly ready: () => Promise<string | null>
  /** The key that the header of a token names; for jose. Throws where there is none. */
  readonly keyFor: JWTVerifyGetKey
  /** Another number when the keys are others. */
  readonly generation: () => Promise<number>
  /** The same without waiting, where no look is due; else null. */
  readonly currentGeneration: () => number | null
}

export function keySource(at: KeysAt, now: () => number): KeySource {
  switch (at.kind) {
    case 'jwks':
      return fixedKeys(parsePublicKeys(JSON.stringify(at.jwks)))
    case 'file':
      return fileKeys(at.file, now)
    case 'url':
      return remoteKeys(at.url, now)
  }
}

function fixedKeys(keys: readonly JWK[]): KeySource {
  return { ready: () => Promise.resolve(null), keyFor: keyAmong(keys), generation: () => Promise.resolve(0), currentGeneration: () => 0 }
}

/** By `kid`, algorithm and key type. A single key without a `kid` is meant by every token, whatever its own `kid` says. */
function keyAmong(keys: readonly JWK[]): JWTVerifyGetKey {
  const find = createLocalJWKSet({ keys: [...keys] })
  const [sole] = keys
  if (keys.length !== 1 || sole?.kid !== undefined) return find
  return ({ kid: _, ...header }, token) => find(header, token)
}

const LOOK_AGAIN_MS = 1_000

function fileKeys(file: string, now: () => number): KeySource {
  let lookedMs = -Infinity
  let stamp = ''
  let generation = 0
  let problem: string | null = null
  let keyFor: JWTVerifyGetKey = noKey
  let looking: Promise<void> | null = null

  const look = async () => {
    const { mtimeMs, size, ino } = await stat(file)
    const seen = `${mtimeMs} ${size} ${ino}`
    if (seen === stamp) return
    const found = keyAmong(parsePublicKeys(await readFile(file, 'utf8')))
    ;[stamp, keyFor, problem, generation] = [seen, found, null, generation + 1]
  }
  const lookAgain = async () => {
    try {
      await look()
    } catch (error) {
      // No keys rather than old ones: they may have been taken away for a reason.
      ;[stamp, keyFor, problem, generation] = ['', noKey, problemOf(error), generation + 1]
    }
  }
  const ready = async () => {
    if (now() - lookedMs >= LOOK_AGAIN_MS) {
      lookedMs = now()
      const mine = lookAgain().then(() => {
        if (looking === mine) looking = null
      })
      looking = mine
    }
    await looking
    return problem
  }
  const currentGeneration = () => (looking === null && now() - lookedMs < LOOK_AGAIN_MS ? generation : null)
  return { ready, keyFor: (header, token) => keyFor(header, token), generation: async () => ready().then(() => generation), currentGeneration }
}

const noKey: JWTVerifyGetKey = () => {
  throw new Error('the keys of the issuer are not available')
}

function problemOf(error: unknown): string {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return `the key file cannot be read (${error.code})`
  return error instanceof Error ? error.message : 'the key file cannot be read'
}

const FETCH_TIMEOUT_MS = 3_000
const FETCH_COOLDOWN_MS = 30_000
/** After a failure no other attempt is made for so long. */
const FETCH_AGAIN_MS = 5_000
const KEYS_AGE_MAX_MS = 300_000
const KEYS_BYTES_MAX = 262_144

function remoteKeys(address: string, now: () => number): KeySource {
  const url = new URL(address)
  const isLocal = ['127.0.0.1', '[::1]', 'localhost'].includes(url.hostname)
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && isLocal)) throw new Error('keys come over https, or http on this machine')
  const remote = createRemoteJWKSet(url, {
    timeoutDuration: FETCH_TIMEOUT_MS,
    cooldownDuration: FETCH_COOLDOWN_MS,
    cacheMaxAge: KEYS_AGE_MAX_MS,
    [customFetch]: async (href, options) => boundedResponse(await fetch(href, options)),
  })
  let [seen, generation]: [string, number] = ['', 0]
  let seenKeys: JSONWebKeySet | undefined
  let failedMs = -Infinity
  const isDown = () => now() - failedMs < FETCH_AGAIN_MS
  const ready = async () => {
    if (remote.fresh) return null
    if (isDown()) return UNREACHABLE
    try {
      await remote.reload()
      return null
    } catch {
      failedMs = now()
      return UNREACHABLE
    }
  }
  const current = () => {
    const keys = remote.jwks()
    if (keys === seenKeys && seen !== '') return generation // what is fetched anew is another object
    const text = digestOf(keys)
    seenKeys = keys
    if (text !== seen) [seen, generation] = [text, generation + 1]
    return generation
  }
  // A stranger's tokens must not make every request wait for an address that does not answer.
  return {
    ready,
    keyFor: (header, token) => (isDown() && !remote.fresh ? noKey(header, token) : remote(header, token)),
    generation: () => Promise.resolve(current()),
    currentGeneration: current,
  }
}

const UNREACHABLE = 'the JWK set of the issuer cannot be fetched'

function digestOf(jwks: JSONWebKeySet | undefined): string {
  return createHash('sha256')
    .update(JSON.stringify(jwks ?? null))
    .digest('base64')
}

/** The whole answer, public keys only. A redirect is no answer: jose asks for none to be followed. */
async function boundedResponse(response: Response): Promise<Response> {
  if (response.status !== 200 || !response.body) return response
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
    bytes += chunk.byteLength
    if (bytes > KEYS_BYTES_MAX) throw new Error('the JWK set is too large')
    chunks.push(chunk)
  }
  const text = Buffer.concat(chunks).toString('utf8')
  return new Response(JSON.stringify({ keys: parsePublicKeys(text) }), { status: 200, headers: { 'content-type': 'application/json' } })
}
