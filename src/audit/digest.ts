/** SHA-256 and HMAC over bytes that are all at hand. A leaf takes a handful of them, so they make no hash object and no buffer where they can do without. */
import * as crypto from 'node:crypto'

/** How a digest is wanted: `binary` is its 32 bytes, a character each. */
type DigestText = 'base64' | 'binary'

// Since Node.js 20.12. A digest given as text takes 0.8 us, as a buffer 2.3 us, and by way of a hash object 4.2 us.
const hashText: (bytes: Uint8Array | string, text: DigestText) => string =
  typeof crypto.hash === 'function'
    ? (bytes, text) => crypto.hash('sha256', bytes, text)
    : (bytes, text) => crypto.createHash('sha256').update(bytes).digest(text)

/** SHA-256; of a string, that of its UTF-8. */
export function sha256(bytes: Uint8Array | string): Buffer {
  return Buffer.from(hashText(bytes, 'binary'), 'latin1')
}

/**
 * HMAC-SHA256 (RFC 2104) of two messages, one after the other.
 *
 * INVARIANT: the key is at most 64 bytes, SHA-256's block, so it is never hashed itself; the messages are at most 512 bytes.
 */
export function hmacSha256(key: Uint8Array, message: Uint8Array, more: Uint8Array = NOTHING): Buffer {
  return Buffer.from(hmacSha256Text(key, message, { more, text: 'binary' }), 'latin1')
}

/** As `hmacSha256`, in base64: nothing in between becomes a buffer of its own. */
export function hmacSha256Base64(key: Uint8Array, message: Uint8Array, more: Uint8Array): string {
  return hmacSha256Text(key, message, { more, text: 'base64' })
}

function hmacSha256Text(key: Uint8Array, message: Uint8Array, { more, text }: { readonly more: Uint8Array; readonly text: DigestText }): string {
  if (key.length > BLOCK_BYTES) throw new RangeError('the key is longer than a block')
  const messageBytes = message.length + more.length
  if (messageBytes > MESSAGE_BYTES_MAX) throw new RangeError('the message is too long for this function')
  // Filled for each message: the pads take 0.2 us of 2.0.
  for (let at = 0; at < BLOCK_BYTES; at++) {
    const byte = at < key.length ? (key[at] ?? 0) : 0
    INNER[at] = byte ^ 0x36
    OUTER[at] = byte ^ 0x5c
  }
  INNER.set(message, BLOCK_BYTES)
  INNER.set(more, BLOCK_BYTES + message.length)
  OUTER.write(hashText(INNERS[messageBytes] ?? INNER.subarray(0, BLOCK_BYTES + messageBytes), 'binary'), BLOCK_BYTES, 'latin1')
  return hashText(OUTER, text)
}

const BLOCK_BYTES = 64
const HASH_BYTES = 32
const MESSAGE_BYTES_MAX = 512
const NOTHING = Buffer.alloc(0)
/** Filled anew by each call; nothing waits between filling and hashing. */
const INNER = Buffer.alloc(BLOCK_BYTES + MESSAGE_BYTES_MAX)
const OUTER = Buffer.alloc(BLOCK_BYTES + HASH_BYTES)
/** Views of `INNER` by the messages' length, up to what an entry's digests have: a view made anew costs a fifth of a hash. */
const INNERS = Array.from({ length: 64 }, (_, messageBytes) => INNER.subarray(0, BLOCK_BYTES + messageBytes))
