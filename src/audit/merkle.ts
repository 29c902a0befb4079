/**
 * The Merkle tree of RFC 6962, section 2.1 (the same in RFC 9162), over SHA-256. Pure: the tree's nodes come from whoever keeps them.
 *
 * A perfect subtree is named by its level (0 is a leaf) and its index at that level: it covers the leaves from `index * 2^level` on, `2^level` of them. Once all
 * its leaves are there it never changes, so it is what storage keeps; every proof and root is folded from perfect subtrees. Sizes and indices are safe integers.
 */
import { sha256 } from './digest.js'

/** Bytes of one hash. */
export const HASH_BYTES = 32

/** A perfect subtree: the leaves `[index * 2^level, (index + 1) * 2^level)`. */
export interface Subtree {
  readonly level: number
  readonly index: number
}

/** The leaves `[start, end)`. */
export interface LeafRange {
  readonly start: number
  readonly end: number
}

/** Root of a tree without leaves: the hash of the empty string. */
export const EMPTY_ROOT: Buffer = sha256(Buffer.alloc(0))

/** SHA-256 over 0x00 || leaf. */
export function leafHash(leaf: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(1 + leaf.length)
  bytes[0] = 0
  bytes.set(leaf, 1)
  return sha256(bytes)
}

/** A leaf as UTF-8, and its hash. It is written once, behind the zero byte that is hashed with it, into a buffer that it shares with the leaves after it. */
export function leafOf(text: string): { readonly bytes: Buffer; readonly hash: Buffer } {
  const bytesMax = 1 + text.length * UNIT_BYTES_MAX
  if (bytesMax > LEAVES_BYTES) {
    const bytes = Buffer.from(text)
    return { bytes, hash: leafHash(bytes) }
  }
  if (leavesAt + bytesMax > leaves.length) {
    leaves = Buffer.allocUnsafeSlow(LEAVES_BYTES)
    leavesAt = 0
  }
  const start = leavesAt
  leaves[start] = 0
  leavesAt += 1 + leaves.write(text, start + 1)
  return { bytes: leaves.subarray(start + 1, leavesAt), hash: sha256(leaves.subarray(start, leavesAt)) }
}

const LEAVES_BYTES = 64 * 1024
/** UTF-8 takes no more than this for a UTF-16 unit. */
const UNIT_BYTES_MAX = 3
let leaves = Buffer.alloc(0)
let leavesAt = 0

/**
 * SHA-256 over 0x01 || left || right. The prefix keeps a leaf from posing as a node.
 *
 * INVARIANT: `left` and `right` are 32 bytes.
 */
export function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  NODE.set(left, 1)
  NODE.set(right, 1 + HASH_BYTES)
  return sha256(NODE)
}

/** Filled anew for each hash; nothing waits between filling and hashing. */
const NODE = Buffer.alloc(1 + 2 * HASH_BYTES, 1)

/**
 * The right edge of a growing tree: the roots of its largest perfect subtrees, left to right, at most one a level. All that appending and the root need.
 */
export class Frontier {
  private readonly hashes: Buffer[]

  private constructor(
    private count: number,
    hashes: readonly Buffer[],
  ) {
    this.hashes = [...hashes]
  }

  static empty(): Frontier {
    return new Frontier(0, [])
  }

  /**
   * Reads what `bytes` wrote.
   *
   * @throws RangeError when the bytes cannot be the frontier of a tree of this size.
   */
  static parse(size: number, bytes: Uint8Array): Frontier {
    const hashes: Buffer[] = []
    for (let at = 0; at < bytes.length; at += HASH_BYTES) hashes.push(Buffer.from(bytes.subarray(at, at + HASH_BYTES)))
    if (!isSize(size) || bytes.length % HASH_BYTES !== 0 || hashes.length !== perfectSubtrees({ start: 0, end: size }).length) {
      throw new RangeError('a frontier has one hash for each perfect subtree')
    }
    return new Frontier(size, hashes)
  }

  /** How many leaves the tree has. */
  get size(): number {
    return this.count
  }

  /** Adds a leaf by its hash and calls `completed` for every perfect subtree above it that is now whole, from the lowest up. */
  append(leaf: Buffer, completed: (subtree: Subtree, hash: Buffer) => void = ignore): void {
    let hash = leaf
    let index = this.count
    for (let level = 1; index % 2 === 1; level++) {
      const left = this.hashes.pop()
      if (left === undefined) throw new RangeError('a frontier has one hash for each perfect subtree')
      hash = nodeHash(left, hash)
      index = (index - 1) / 2
      completed({ level, index }, hash)
    }
    this.hashes.push(hash)
    this.count += 1
  }

  root(): Buffer {
    return fold(this.hashes)
  }

  /** The hashes one after the other. */
  bytes(): Buffer {
    return Buffer.concat(this.hashes)
  }
}

function ignore(): void {
  // Nobody wants the subtrees.
}

/** The whole tree in memory, for small trees and as the reference that storage is tested against. */
export class MerkleTree {
  private readonly frontier = Frontier.empty()
  private readonly levels: Buffer[][] = []

  get size(): number {
    return this.frontier.size
  }

  append(leaf: Buffer): void {
    this.keep({ level: 0, index: this.size }, leaf)
    this.frontier.append(leaf, (subtree, hash) => this.keep(subtree, hash))
  }

  /** The root of the first `size` leaves. */
  rootAt(size: number): Buffer {
    return this.hashOf({ start: 0, end: size })
  }

  inclusionProof(index: number, size: number): Buffer[] {
    return inclusionRanges(index, size).map((range) => this.hashOf(range))
  }

  consistencyProof(from: number, to: number): Buffer[] {
    return consistencyRanges(from, to).map((range) => this.hashOf(range))
  }

  private keep(subtree: Subtree, hash: Buffer): void {
    const level = (this.levels[subtree.level] ??= [])
    level[subtree.index] = hash
  }

  private hashOf(range: LeafRange): Buffer {
    return fold(
      perfectSubtrees(range).map(({ level, index }) => {
        const hash = this.levels[level]?.[index]
        if (hash === undefined) throw new RangeError('the tree is smaller than that')
        return hash
      }),
    )
  }
}

/**
 * The perfect subtrees that make up a range, left to right.
 *
 * INVARIANT: the range is one that the tree's recursion yields (it starts at 0, or at a multiple of a power of two that is at least its length).
 */
export function perfectSubtrees(range: LeafRange): Subtree[] {
  const subtrees: Subtree[] = []
  let start = range.start
  while (start < range.end) {
    let level = 0
    let width = 1
    while (start % (width * 2) === 0 && start + width * 2 <= range.end) {
      width *= 2
      level += 1
    }
    subtrees.push({ level, index: start / width })
    start += width
  }
  return subtrees
}

/** Hash of a range from the hashes of its perfect subtrees, left to right. */
export function fold(hashes: readonly Buffer[]): Buffer {
  let folded = hashes.at(-1)
  if (folded === undefined) return EMPTY_ROOT
  for (const hash of hashes.slice(0, -1).reverse()) folded = nodeHash(hash, folded)
  return folded
}

/**
 * The ranges whose hashes are the inclusion proof of leaf `index` in the tree of `size` leaves (PATH of RFC 6962, section 2.1.1), from the leaf up.
 *
 * @throws RangeError when there is no such leaf.
 */
export function inclusionRanges(index: number, size: number): LeafRange[] {
  if (!isSize(size) || !isSize(index) || index >= size) throw new RangeError('no such leaf in a tree of this size')
  const ranges: LeafRange[] = []
  let start = 0
  let end = size
  while (end - start > 1) {
    const middle = start + largestPowerBelow(end - start)
    if (index < middle) {
      ranges.push({ start: middle, end })
      end = middle
    } else {
      ranges.push({ start, end: middle })
      start = middle
    }
  }
  return ranges.reverse()
}

/**
 * The ranges whose hashes are the proof that the tree of `to` leaves begins with that of `from` (PROOF of RFC 6962, section 2.1.2). Empty for `from` 0 and for
 * equal sizes.
 *
 * @throws RangeError when `from` is larger than `to`.
 */
export function consistencyRanges(from: number, to: number): LeafRange[] {
  if (!isSize(from) || !isSize(to) || from > to) throw new RangeError('a tree cannot begin with a larger one')
  if (from === 0 || from === to) return []
  const ranges: LeafRange[] = []
  let start = 0
  let end = to
  while (end !== from) {
    const middle = start + largestPowerBelow(end - start)
    if (from <= middle) {
      ranges.push({ start: middle, end })
      end = middle
    } else {
      ranges.push({ start, end: middle })
      start = middle
    }
  }
  // The old tree itself needs no hash: who checks has its root.
  if (start !== 0) ranges.push({ start, end })
  return ranges.reverse()
}

export interface InclusionClaim {
  readonly index: number
  readonly size: number
  readonly leaf: Uint8Array
  readonly proof: readonly Uint8Array[]
  readonly root: Uint8Array
}

/**
 * Whether the proof leads from the leaf's hash at this index to the root (RFC 9162, section 2.1.3.2).
 *
 * The size only gives the path its shape; that it belongs to the root is what a signed checkpoint says.
 */
export function includes(claim: InclusionClaim): boolean {
  if (!isSize(claim.size) || !isSize(claim.index) || claim.index >= claim.size || !areHashes([claim.leaf, claim.root, ...claim.proof])) return false
  let index = claim.index
  let last = claim.size - 1
  let hash = claim.leaf
  for (const step of claim.proof) {
    if (last === 0) return false
    if (index % 2 === 1 || index === last) {
      hash = nodeHash(step, hash)
      while (index % 2 === 0 && index !== 0) {
        index = half(index)
        last = half(last)
      }
    } else {
      hash = nodeHash(hash, step)
    }
    index = half(index)
    last = half(last)
  }
  return last === 0 && isSame(hash, claim.root)
}

export interface ConsistencyClaim {
  readonly from: { readonly size: number; readonly root: Uint8Array }
  readonly to: { readonly size: number; readonly root: Uint8Array }
  readonly proof: readonly Uint8Array[]
}

/** Whether the proof shows that the larger tree begins with the smaller (RFC 9162, section 2.1.4.2). Every tree begins with the empty one. */
export function isConsistent({ from, to, proof }: ConsistencyClaim): boolean {
  if (!isSize(from.size) || !isSize(to.size) || from.size > to.size || !areHashes([from.root, to.root, ...proof])) return false
  if (from.size === to.size) return proof.length === 0 && isSame(from.root, to.root)
  if (from.size === 0) return proof.length === 0 && isSame(from.root, EMPTY_ROOT)
  let index = from.size - 1
  let last = to.size - 1
  while (index % 2 === 1) {
    index = half(index)
    last = half(last)
  }
  // A smaller tree that is itself a perfect subtree stands in the path as its own root.
  const path = index === 0 ? [from.root, ...proof] : [...proof]
  const first = path.shift()
  if (first === undefined) return false
  let fromHash = first
  let toHash = first
  for (const step of path) {
    if (last === 0) return false
    if (index % 2 === 1 || index === last) {
      fromHash = nodeHash(step, fromHash)
      toHash = nodeHash(step, toHash)
      while (index % 2 === 0 && index !== 0) {
        index = half(index)
        last = half(last)
      }
    } else {
      toHash = nodeHash(toHash, step)
    }
    index = half(index)
    last = half(last)
  }
  return last === 0 && isSame(fromHash, from.root) && isSame(toHash, to.root)
}

/** Largest power of two smaller than `width`, which is at least 2. */
function largestPowerBelow(width: number): number {
  let power = 1
  while (power * 2 < width) power *= 2
  return power
}

function half(value: number): number {
  return Math.floor(value / 2)
}

function isSize(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0
}

function areHashes(values: readonly Uint8Array[]): boolean {
  return values.every((value) => value.length === HASH_BYTES)
}

function isSame(left: Uint8Array, right: Uint8Array): boolean {
  return Buffer.compare(left, right) === 0
}
