/**
 * An exported bundle, and its verification: without a server, and without trust in who exported it.
 *
 * A bundle is a text of JSON lines (UTF-8, each line canonical JSON, each ended by a line feed):
 * - a header: ledger, key, checkpoint, the filter, and the ledger's size when the entries were chosen;
 * - a line an entry: index, leaf, and the inclusion proof that leads to the checkpoint's root;
 * - a trailer: the entry, with its proof, by which the ledger itself recorded this export, with the number of entries and the Merkle root over them.
 *
 * So a changed entry fails its own proof, and one that was removed, added or moved after the export contradicts the trailer, which the checkpoint covers. Where
 * nothing was filtered, every index from 0 on must be there as well. There is one spelling for each bundle: any other byte is a mistake.
 */
import { canonical } from './canonical-json.js'
import { CheckpointError, parseBase64, parseKey, verifyCheckpoint, originOf, type Checkpoint, type CheckpointKey } from './checkpoint.js'
import { Frontier, includes, leafHash } from './merkle.js'
import type { ExportFilter } from './record.js'

export const BUNDLE_FORMAT = 'concordat-audit/1'

export interface BundleHeader {
  readonly bundle: typeof BUNDLE_FORMAT
  readonly ledger: string
  /** The ledger's public key as a line (`vkey`). Who verifies should have it from the ledger's owner. */
  readonly key: string
  /** Signed note; its tree holds all entries of the bundle, and the trailer's. */
  readonly checkpoint: string
  readonly filter: ExportFilter
  readonly size: number
}

export interface BundleEntry {
  readonly index: number
  /** Canonical JSON, as it lies in the ledger. */
  readonly leaf: string
  /** Base64 of the hashes from the leaf up. */
  readonly proof: readonly string[]
}

export interface BundleTrailer {
  readonly export: BundleEntry
}

/** A line of a bundle without its line feed. */
export function bundleLine(value: BundleHeader | BundleEntry | BundleTrailer): string {
  return canonical(value)
}

export interface Problem {
  /** From 1. */
  readonly line: number
  /** The entry's place in the ledger, where the line names one. */
  readonly index?: number
  /** A sentence without a full stop. */
  readonly problem: string
}

export interface Verification {
  readonly verified: boolean
  readonly ledger: string | null
  /** The key that signed, as a line; null when there is none. */
  readonly key: string | null
  /** Whether that is the key that the verifier brought. Without one, the bundle only agrees with itself. */
  readonly trusted: boolean
  /** Size of the tree that the checkpoint signs. */
  readonly size: number | null
  readonly entries: number
  /** Whether these are all entries of the ledger up to the export. */
  readonly complete: boolean
  /** Place of the entry whose receipt the verifier brought; null without a receipt, or when no proven entry is its. */
  readonly receiptIndex: number | null
  /** At most `problemsMax` of them. */
  readonly problems: readonly Problem[]
}

export interface VerifyOptions {
  /** The ledger's key, from a source that the verifier trusts; without it the bundle's own is taken. */
  readonly key: CheckpointKey | null
  /** `leaf` of a receipt: the bundle must hold its entry. */
  readonly receipt: string | null
  readonly problemsMax: number
}

/** Verifies a bundle as it streams by. */
export async function verifyBundle(bytes: AsyncIterable<Uint8Array>, options: VerifyOptions): Promise<Verification> {
  const check = new BundleCheck(options)
  try {
    for await (const line of linesOf(bytes)) {
      check.line(line)
      if (check.isHopeless) break
    }
  } catch (error) {
    if (!(error instanceof MalformedText)) throw error
    check.unreadable(error.message)
  }
  return check.result()
}

class BundleCheck {
  private readonly problems: Problem[] = []
  private problemCount = 0
  private lineNumber = 0
  private header: (BundleHeader & { readonly tree: Checkpoint; readonly from: number; readonly to: number }) | null = null
  private ended = false
  private lastIndex = -1
  private entries = 0
  private readonly leaves = Frontier.empty()

  private receiptIndex: number | null = null

  constructor(private readonly options: VerifyOptions) {}

  /** Nothing can be said of the lines that follow. */
  get isHopeless(): boolean {
    return this.header === null && this.lineNumber > 0
  }

  line(text: string): void {
    this.lineNumber += 1
    const value = parseLine(text)
    if (value === null) this.fail('the line is not canonical JSON')
    else if (this.lineNumber === 1) this.readHeader(value)
    else if (this.ended) this.fail('the bundle goes on after its end')
    else if ('export' in value) this.readTrailer(value)
    else this.readEntry(value)
  }

  /** The text ends in what is no line. */
  unreadable(problem: string): void {
    this.lineNumber += 1
    this.ended = true
    this.fail(problem)
  }

  fail(problem: string, index?: number): void {
    this.problemCount += 1
    if (this.problems.length < this.options.problemsMax) this.problems.push({ line: this.lineNumber, ...(index === undefined ? {} : { index }), problem })
  }

  result(): Verification {
    if (this.lineNumber === 0) this.fail('the bundle is empty')
    else if (!this.ended && this.header !== null) this.fail('the bundle lacks its end')
    else if (this.options.receipt !== null && this.receiptIndex === null) this.fail('the bundle does not hold the entry of the receipt')
    return {
      verified: this.problemCount === 0,
      ledger: this.header?.ledger ?? null,
      key: this.header?.key ?? null,
      trusted: this.header !== null && this.options.key !== null,
      size: this.header?.tree.size ?? null,
      entries: this.entries,
      complete: this.header !== null && isEverything(this.header.filter),
      receiptIndex: this.receiptIndex,
      problems: this.problems,
    }
  }

  private readHeader(value: Fields): void {
    if (value.bundle !== BUNDLE_FORMAT) return this.fail('this is not a bundle of a format that is known here')
    if (!hasExactly(value, ['bundle', 'ledger', 'key', 'checkpoint', 'filter', 'size'])) return this.fail('the header is malformed')
    const { ledger, key, checkpoint, filter, size } = value
    if (typeof ledger !== 'string' || typeof key !== 'string' || typeof checkpoint !== 'string' || !isFilter(filter) || !isCount(size)) {
      return this.fail('the header is malformed')
    }
    try {
      const own = parseKey(key)
      if (own.name !== originOf(ledger)) return this.fail('the key is of another ledger')
      if (this.options.key !== null && !isSameKey(own, this.options.key)) return this.fail('the bundle is not signed with the key that you trust')
      const tree = verifyCheckpoint(checkpoint, own)
      if (size >= tree.size) return this.fail('the checkpoint does not cover the export')
      this.header = {
        bundle: BUNDLE_FORMAT,
        ledger,
        key,
        checkpoint,
        filter,
        size,
        tree,
        from: timeOf(filter.from, -Infinity),
        to: timeOf(filter.to, Infinity),
      }
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw error
      this.fail(error.message)
    }
  }

  private readEntry(value: Fields): void {
    const header = this.header
    const entry = toEntry(value)
    if (header === null || entry === null) return this.fail('the line is neither an entry nor the end')
    const { index } = entry
    this.entries += 1
    if (index <= this.lastIndex) this.fail('the entry is out of order', index)
    else if (isEverything(header.filter) && index !== this.lastIndex + 1) this.fail(`the entries from ${this.lastIndex + 1} to ${index - 1} are missing`, index)
    this.lastIndex = Math.max(index, this.lastIndex)
    if (index >= header.size) this.fail('the entry is younger than the export', index)
    const leaf = this.proven(entry)
    if (leaf !== null && !fits(leaf, header)) this.fail('the entry is not one that the filter chooses', index)
    this.leaves.append(leafHash(Buffer.from(entry.leaf)))
  }

  private readTrailer(value: Fields): void {
    const header = this.header
    const entry = hasExactly(value, ['export']) && isFields(value.export) ? toEntry(value.export) : null
    if (header === null || entry === null) return this.fail('the end is malformed')
    this.ended = true
    const { index } = entry
    if (isEverything(header.filter) && this.lastIndex + 1 !== header.size) {
      this.fail(`the entries from ${this.lastIndex + 1} to ${header.size - 1} are missing`)
    }
    if (index < header.size) this.fail('the record of the export is older than the export', index)
    const leaf = this.proven(entry)
    if (leaf === null) return
    const recorded = leaf.kind === 'audit-export' && isFields(leaf.export) ? leaf.export : null
    if (recorded === null) return this.fail('the last entry is not the record of an export', index)
    const same = isFields(recorded.filter) && canonical(recorded.filter) === canonical(header.filter) && recorded.size === header.size
    if (!same) this.fail('the ledger recorded another export than this', index)
    if (recorded.count !== this.entries) this.fail(`the ledger recorded an export of ${String(recorded.count)} entries; here are ${this.entries}`, index)
    else if (recorded.root !== this.leaves.root().toString('base64')) this.fail('the entries are not those that the ledger recorded as exported', index)
  }

  /** The leaf, when it is a sound entry of this ledger; what is wrong is reported. */
  private proven(entry: BundleEntry): Fields | null {
    const header = this.header
    if (header === null) return null
    const proof = entry.proof.map(parseBase64)
    const hashes = proof.filter((hash) => hash !== null)
    const { size, root } = header.tree
    const hash = leafHash(Buffer.from(entry.leaf))
    const isProven = hashes.length === proof.length && includes({ index: entry.index, size, root, leaf: hash, proof: hashes })
    if (!isProven) this.fail('the entry is not the one that the ledger holds at this place', entry.index)
    else if (hash.toString('base64') === this.options.receipt) this.receiptIndex = entry.index
    const leaf = parseLine(entry.leaf)
    if (leaf === null || (leaf.v !== 1 && leaf.v !== 2)) {
      this.fail('the entry has a form that is not known here', entry.index)
      return null
    }
    if (leaf.ledger !== header.ledger) this.fail('the entry is of another ledger', entry.index)
    return isProven ? leaf : null
  }
}

interface Fields {
  readonly [name: string]: unknown
}

/** Null unless the text is an object in canonical form: no other spelling, no repeated key. */
function parseLine(text: string): Fields | null {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return null
  }
  return isFields(value) && canonical(value) === text ? value : null
}

function toEntry(value: Fields): BundleEntry | null {
  const { index, leaf, proof } = value
  if (!hasExactly(value, ['index', 'leaf', 'proof']) || !isCount(index) || typeof leaf !== 'string' || !isTexts(proof)) return null
  return { index, leaf, proof }
}

function fits(leaf: Fields, header: { readonly filter: ExportFilter; readonly from: number; readonly to: number }): boolean {
  const { subject, purpose } = header.filter
  const time = typeof leaf.time === 'string' ? Date.parse(leaf.time) : Number.NaN
  const principal = isFields(leaf.principal) ? leaf.principal : {}
  return (
    time >= header.from && time < header.to && (subject === undefined || principal.subject === subject) && (purpose === undefined || leaf.purpose === purpose)
  )
}

function isEverything(filter: ExportFilter): boolean {
  return Object.keys(filter).length === 0
}

function isFilter(value: unknown): value is ExportFilter {
  if (!isFields(value)) return false
  const isKnown = Object.entries(value).every(([key, text]) => FILTER_KEYS.has(key) && typeof text === 'string')
  return isKnown && [value.from, value.to].every((time) => time === undefined || !Number.isNaN(Date.parse(String(time))))
}

const FILTER_KEYS: ReadonlySet<string> = new Set(['from', 'to', 'subject', 'purpose'])

function timeOf(time: string | undefined, otherwise: number): number {
  return time === undefined ? otherwise : Date.parse(time)
}

function isSameKey(left: CheckpointKey, right: CheckpointKey): boolean {
  return left.publicKey.equals(right.publicKey)
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((text) => typeof text === 'string')
}

function hasExactly(value: Fields, keys: readonly string[]): boolean {
  return Object.keys(value).length === keys.length && keys.every((key) => Object.hasOwn(value, key))
}

class MalformedText extends Error {}

/** Longer lines than any entry: what cannot be a bundle must not fill the memory. */
const LINE_BYTES_MAX = 64 * 1024 * 1024

async function* linesOf(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  let pending: Uint8Array[] = []
  let pendingBytes = 0
  const take = (last: Uint8Array): string => {
    const line = Buffer.concat([...pending, last])
    pending = []
    pendingBytes = 0
    try {
      return decoder.decode(line)
    } catch {
      throw new MalformedText('the bundle is not UTF-8')
    }
  }
  for await (const chunk of chunks) {
    let start = 0
    for (let end = chunk.indexOf(0x0a); end >= 0; end = chunk.indexOf(0x0a, start)) {
      yield take(chunk.subarray(start, end))
      start = end + 1
    }
    pending.push(chunk.subarray(start))
    pendingBytes += chunk.length - start
    if (pendingBytes > LINE_BYTES_MAX) throw new MalformedText('the bundle has a line that is too long')
  }
  if (pendingBytes > 0) throw new MalformedText('the last line is not ended')
}
