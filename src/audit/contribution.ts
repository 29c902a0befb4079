/** The digest of what one owner's rows gave to an answer. */
import { createHash, type Hash } from 'node:crypto'
import { invariant } from '../errors.js'
import { sha256 } from './digest.js'

/**
 * SHA-256 over one owner's row texts in answer order, as the JSON list of them that was sent: `[`, the texts joined by `,`, `]`. A row text is a whole JSON value, so
 * no two lists of them look alike, and rows of one owner that stand side by side in an answer are hashed as one slice of it.
 *
 * Texts are bytes of UTF-8, one character (U+0000 to U+00FF) a byte.
 */
export class Contribution {
  private hash: Hash | null = null
  /** What is not hashed yet. Most answers are smaller than a piece: they make no hash object. */
  private pending = '['
  private rows = false
  private done: Buffer | null = null

  /** Of texts that are all at hand. One takes 1.3 us, 5,000 (1.2 MB) take 1.4 ms; as one slice those take 0.9 ms, which is SHA-256 itself. */
  static of(texts: readonly (string | Uint8Array)[]): Contribution {
    const contribution = new Contribution()
    for (const text of texts) contribution.addJoined(text)
    return contribution
  }

  /** Adds the JSON text of one row. */
  add(text: string): void {
    this.addJoined(text)
  }

  /** Adds the texts of one or more rows that are joined by commas already. */
  addJoined(texts: string | Uint8Array): void {
    invariant(texts.length > 0 && this.done === null, 'a row has a text, and comes before the digest is taken')
    if (this.rows) this.pending += ','
    this.rows = true
    // A large slice is hashed where it is: joined to what is pending, it would be copied once more.
    if (typeof texts !== 'string' || texts.length >= PIECE_BYTES) this.update(this.pending, texts)
    else {
      this.pending += texts
      if (this.pending.length >= PIECE_BYTES) this.update(this.pending)
    }
  }

  /** SHA-256 of all rows; of none, that of `[]`. Nothing can be added once it is taken. */
  digest(): Buffer {
    this.done ??= this.hash === null ? sha256(Buffer.from(`${this.pending}]`, 'latin1')) : this.hash.update(`${this.pending}]`, 'latin1').digest()
    return this.done
  }

  private update(...pieces: readonly (string | Uint8Array)[]): void {
    this.hash ??= createHash('sha256')
    for (const piece of pieces) {
      if (typeof piece === 'string') this.hash.update(piece, 'latin1')
      else this.hash.update(piece)
    }
    this.pending = ''
  }
}

const PIECE_BYTES = 64 * 1024
