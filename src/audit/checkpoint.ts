/**
 * Checkpoints: a ledger's size and root, signed. The text is that of c2sp.org/tlog-checkpoint, the signature that of c2sp.org/signed-note with Ed25519, so any
 * tool for transparency logs reads them. Pure.
 *
 * ```
 * concordat/aurora
 * 20852163
 * CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
 *
 * — concordat/aurora Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
 * ```
 */
import { createHash, createPrivateKey, createPublicKey, sign, verify, type JsonWebKey, type KeyObject } from 'node:crypto'
import { HASH_BYTES } from './merkle.js'

export interface Checkpoint {
  /** Which log this is: `concordat/<organization>`. */
  readonly origin: string
  readonly size: number
  readonly root: Buffer
}

/** Who may sign for one origin. */
export interface CheckpointKey {
  /** Equals the origin. */
  readonly name: string
  readonly publicKey: KeyObject
  /** First four bytes of SHA-256 over name, LF, 0x01 and the key's 32 bytes. */
  readonly id: Buffer
}

export interface CheckpointSigner extends CheckpointKey {
  readonly privateKey: KeyObject
}

/** A note or key that is not what it should be. The message says what is wrong, without a full stop. */
export class CheckpointError extends Error {
  override readonly name = 'CheckpointError'
}

export function originOf(organization: string): string {
  return `concordat/${organization}`
}

/**
 * The signer of an organization's ledger.
 *
 * @param privateKey Ed25519.
 */
export function checkpointSigner(organization: string, privateKey: KeyObject): CheckpointSigner {
  return { ...checkpointKey(originOf(organization), createPublicKey(privateKey)), privateKey }
}

/** @throws CheckpointError when the name cannot stand in a note or the key is not an Ed25519 key. */
export function checkpointKey(name: string, publicKey: KeyObject): CheckpointKey {
  if (!isKeyName(name)) throw new CheckpointError('a key name has no spaces, no plus and no control characters')
  if (publicKey.asymmetricKeyType !== 'ed25519') throw new CheckpointError('the key is not an Ed25519 key')
  const id = createHash('sha256')
    .update(`${name}\n`)
    .update(Buffer.concat([ED25519, rawKey(publicKey)]))
    .digest()
    .subarray(0, KEY_ID_BYTES)
  return { name, publicKey, id }
}

/** The signed note of a checkpoint. Ed25519 is deterministic: whoever signs the same tree writes the same bytes. */
export function signCheckpoint(tree: { readonly size: number; readonly root: Buffer }, signer: CheckpointSigner): string {
  const text = `${signer.name}\n${tree.size}\n${tree.root.toString('base64')}\n`
  const signature = sign(null, Buffer.from(text), signer.privateKey)
  return `${text}\n— ${signer.name} ${Buffer.concat([signer.id, signature]).toString('base64')}\n`
}

/**
 * Reads a signed note as a checkpoint of this key's log. Lines of other signers (witnesses, older keys) are passed over, as the specification asks.
 *
 * @throws CheckpointError when the note is malformed, is of another origin, or has no valid signature of this key.
 */
export function verifyCheckpoint(note: string, key: CheckpointKey): Checkpoint {
  verifyNote(note, key)
  const checkpoint = parseCheckpoint(note)
  if (checkpoint.origin !== key.name) throw new CheckpointError('the checkpoint is of another log')
  return checkpoint
}

/**
 * The text of a note that this key has signed.
 *
 * @throws CheckpointError when the note is malformed or has no valid signature of this key.
 */
export function verifyNote(note: string, key: CheckpointKey): string {
  const { text, signatures } = parseNote(note)
  const own = signatures.filter(({ name, bytes }) => name === key.name && bytes.subarray(0, KEY_ID_BYTES).equals(key.id))
  if (own.length === 0) throw new CheckpointError('the note is not signed with this key')
  for (const { bytes } of own) {
    if (!verify(null, Buffer.from(text), key.publicKey, bytes.subarray(KEY_ID_BYTES))) throw new CheckpointError('the signature does not fit the note')
  }
  return text
}

/** A public key as one line: name, key id and key (the `vkey` of signed notes). */
export function formatKey(key: CheckpointKey): string {
  return `${key.name}+${key.id.toString('hex')}+${Buffer.concat([ED25519, rawKey(key.publicKey)]).toString('base64')}`
}

/** @throws CheckpointError when the line is not a key, or its id is not the key's. */
export function parseKey(line: string): CheckpointKey {
  const [name = '', id = '', encoded = '', ...rest] = splitKey(line)
  const bytes = parseBase64(encoded)
  if (rest.length > 0 || bytes?.length !== 1 + KEY_BYTES || bytes[0] !== ED25519[0]) throw new CheckpointError('the key is not an Ed25519 key of a signed note')
  const key = checkpointKey(name, publicKeyOf(bytes.subarray(1)))
  if (key.id.toString('hex') !== id) throw new CheckpointError('the key id is not that of the key')
  return key
}

/**
 * A private Ed25519 key from the text of a secret: a JWK, or PEM (PKCS 8).
 *
 * @throws CheckpointError when it is neither. The message holds nothing of the secret.
 */
export function parseLedgerKey(secret: string): KeyObject {
  let key: KeyObject
  try {
    key = secret.trimStart().startsWith('{') ? createPrivateKey({ key: JSON.parse(secret) as JsonWebKey, format: 'jwk' }) : createPrivateKey(secret)
  } catch {
    // The library's message may quote what it could not read.
    throw new CheckpointError('the ledger key is neither a private JWK nor a private key in PEM')
  }
  if (key.asymmetricKeyType !== 'ed25519') throw new CheckpointError('the key is not an Ed25519 key')
  return key
}

/** Standard base64 that writes back to the same text; anything else is null. A proof must have one spelling only. */
export function parseBase64(text: string): Buffer | null {
  const bytes = Buffer.from(text, 'base64')
  return bytes.toString('base64') === text ? bytes : null
}

const ED25519 = Buffer.from([1])
const KEY_BYTES = 32
const KEY_ID_BYTES = 4
/** The specification asks for at least 16 to be accepted. */
const SIGNATURES_MAX = 100
const NOTE_CHARACTERS_MAX = 1_000_000

function parseCheckpoint(note: string): Checkpoint {
  const { text } = parseNote(note)
  const [origin = '', size = '', encodedRoot = '', ...extensions] = text.slice(0, -1).split('\n')
  const root = parseBase64(encodedRoot)
  if (origin === '' || extensions.includes('')) throw new CheckpointError('a checkpoint has no empty lines')
  if (!/^(0|[1-9][0-9]*)$/.test(size) || !Number.isSafeInteger(Number(size))) throw new CheckpointError('the checkpoint has no size')
  if (root?.length !== HASH_BYTES) throw new CheckpointError('the checkpoint has no root')
  return { origin, size: Number(size), root }
}

interface Note {
  /** With its last line feed. */
  readonly text: string
  readonly signatures: readonly { readonly name: string; readonly bytes: Buffer }[]
}

function parseNote(note: string): Note {
  // The last empty line parts text and signatures.
  const split = note.lastIndexOf('\n\n')
  if (split < 1 || !note.endsWith('\n') || note.length > NOTE_CHARACTERS_MAX) throw new CheckpointError('the note has no text and signatures')
  if (/[\u0000-\u0009\u000b-\u001f]/.test(note) || /\p{Surrogate}/u.test(note)) throw new CheckpointError('the note has characters that it must not have')
  const lines = note.slice(split + 2, -1).split('\n')
  if (lines.length > SIGNATURES_MAX) throw new CheckpointError('the note has too many signatures')
  return { text: note.slice(0, split + 1), signatures: lines.map(parseSignature) }
}

function parseSignature(line: string): Note['signatures'][number] {
  const [dash, name = '', encoded = '', ...rest] = line.split(' ')
  const bytes = parseBase64(encoded)
  if (dash !== '—' || !isKeyName(name) || rest.length > 0 || bytes === null || bytes.length <= KEY_ID_BYTES) {
    throw new CheckpointError('the note has a malformed signature line')
  }
  return { name, bytes }
}

function isKeyName(name: string): boolean {
  return name !== '' && !/[\p{White_Space}\p{Control}\p{Surrogate}+]/u.test(name)
}

/** The key's base64 may itself have a plus. */
function splitKey(line: string): string[] {
  const [name = '', id = '', ...key] = line.split('+')
  return [name, id, key.join('+')]
}

function rawKey(key: KeyObject): Buffer {
  const { x } = key.export({ format: 'jwk' })
  return Buffer.from(x ?? '', 'base64url')
}

function publicKeyOf(raw: Buffer): KeyObject {
  return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: raw.toString('base64url') }, format: 'jwk' })
}
