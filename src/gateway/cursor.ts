/**
 * Cursors: where a page ended, sealed with AES-SIV (RFC 5297), so that the same place always has the same text and nobody can read or make one. A cursor is bound to
 * principal, list, arguments and decision shape through the associated data, and padded, so that its length tells little of the values in it.
 */
import { createHash, hkdfSync } from 'node:crypto'
import { aessiv } from '@noble/ciphers/aes.js'
import { GatewayError } from '../errors.js'

export interface CursorPlace {
  /** Sort values of the row, as sort text. */
  readonly order: readonly (string | null)[]
  readonly organization: string
  readonly key: readonly string[]
  /** Owners that served the first page, in code point order; empty for nested lists. */
  readonly owners: readonly string[]
}

export interface Cursors {
  seal(place: CursorPlace, binding: string): string
  /** @throws GatewayError CURSOR_INVALID */
  open(text: string, binding: string): CursorPlace
}

const PREFIX = 'c1.'
const PAD_BYTES = 64
/** Texts that rows are ordered by stand in cursors whole. A request's own limit is near. */
const TEXT_MAX = 262_144

/** @param secret at least 32 bytes; all processes of one gateway share it. */
export function cursors(secret: Uint8Array): Cursors {
  const key = new Uint8Array(hkdfSync('sha256', secret, new Uint8Array(0), 'concordat cursor v1', 64))
  const cipher = (binding: string): ReturnType<typeof aessiv> => aessiv(key, createHash('sha256').update(binding).digest())
  return {
    seal(place, binding) {
      const plain = Buffer.from(JSON.stringify([place.order, place.organization, place.key, place.owners]), 'utf8')
      const padded = Buffer.alloc(Math.ceil((plain.length + 1) / PAD_BYTES) * PAD_BYTES, 0x20) // JSON may end in spaces
      plain.copy(padded)
      return PREFIX + Buffer.from(cipher(binding).encrypt(padded)).toString('base64url')
    },
    open(text, binding) {
      const sealed = text.startsWith(PREFIX) && text.length <= TEXT_MAX ? Buffer.from(text.slice(PREFIX.length), 'base64url') : null
      if (!sealed || PREFIX + sealed.toString('base64url') !== text) throw new GatewayError('CURSOR_INVALID', 'not a cursor')
      try {
        const [order, organization, keyValues, owners] = JSON.parse(Buffer.from(cipher(binding).decrypt(sealed)).toString('utf8')) as [
          (string | null)[],
          string,
          string[],
          string[],
        ] // ours: it was sealed
        return { order, organization, key: keyValues, owners }
      } catch (error) {
        throw new GatewayError('CURSOR_INVALID', 'a cursor of another query, caller or policy', { cause: error })
      }
    },
  }
}
