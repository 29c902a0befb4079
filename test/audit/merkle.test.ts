import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { EMPTY_ROOT, Frontier, includes, isConsistent, leafHash, MerkleTree, nodeHash } from '../../src/audit/merkle.js'

/** The reference leaves, roots and proofs of the certificate-transparency project (they are in each of its implementations). */
const LEAVES = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f'].map(hex)
const ROOTS = [
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
].map(hex)
const INCLUSION = [
  { index: 0, size: 1, proof: [] },
  {
    index: 0,
    size: 8,
    proof: [
      '96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7',
      '5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e',
      '6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4',
    ],
  },
  {
    index: 5,
    size: 8,
    proof: [
      'bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b',
      'ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0',
      'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
    ],
  },
  { index: 2, size: 3, proof: ['fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125'] },
  {
    index: 1,
    size: 5,
    proof: [
      '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
      '5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e',
      'bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b',
    ],
  },
]
const CONSISTENCY = [
  { from: 1, to: 1, proof: [] },
  {
    from: 1,
    to: 8,
    proof: [
      '96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7',
      '5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e',
      '6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4',
    ],
  },
  {
    from: 6,
    to: 8,
    proof: [
      '0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a',
      'ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0',
      'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
    ],
  },
  {
    from: 2,
    to: 5,
    proof: ['5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e', 'bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b'],
  },
  {
    from: 6,
    to: 7,
    proof: [
      '0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a',
      'b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f',
      'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
    ],
  },
]

describe('the Merkle tree', () => {
  it('has the reference roots, whole and from its frontier', () => {
    expect(EMPTY_ROOT.toString('hex')).toBe('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855')
    const frontier = Frontier.empty()
    const tree = treeOf(LEAVES.map(leafHash))
    expect(tree.rootAt(0)).toEqual(EMPTY_ROOT)
    expect(frontier.root()).toEqual(EMPTY_ROOT)
    LEAVES.forEach((leaf, index) => {
      frontier.append(leafHash(leaf))
      expect(frontier.root()).toEqual(ROOTS[index])
      expect(tree.rootAt(index + 1)).toEqual(ROOTS[index])
    })
  })

  it.each(INCLUSION)('gives and accepts the reference inclusion proof of leaf $index of $size', ({ index, size, proof }) => {
    const tree = treeOf(LEAVES.map(leafHash))
    expect(tree.inclusionProof(index, size).map((hash) => hash.toString('hex'))).toEqual(proof)
    expect(includes({ index, size, leaf: leafHash(LEAVES[index]!), proof: proof.map(hex), root: ROOTS[size - 1]! })).toBe(true)
  })

  it.each(CONSISTENCY)('gives and accepts the reference consistency proof from $from to $to', ({ from, to, proof }) => {
    const tree = treeOf(LEAVES.map(leafHash))
    expect(tree.consistencyProof(from, to).map((hash) => hash.toString('hex'))).toEqual(proof)
    expect(isConsistent({ from: { size: from, root: ROOTS[from - 1]! }, to: { size: to, root: ROOTS[to - 1]! }, proof: proof.map(hex) })).toBe(true)
  })

  it('follows the recursive definition of the RFC for every size', () => {
    const hashes = leaves(70)
    const tree = treeOf(hashes)
    for (let size = 1; size <= hashes.length; size++) expect(tree.rootAt(size)).toEqual(recursiveRoot(hashes.slice(0, size)))
  })

  it('proves every leaf of every size, and every smaller tree, up to 40 leaves', () => {
    const hashes = leaves(40)
    const tree = treeOf(hashes)
    for (let size = 0; size <= hashes.length; size++) {
      const root = tree.rootAt(size)
      for (let index = 0; index < size; index++) {
        expect(includes({ index, size, leaf: hashes[index]!, proof: tree.inclusionProof(index, size), root })).toBe(true)
      }
      for (let from = 0; from <= size; from++) {
        expect(isConsistent({ from: { size: from, root: tree.rootAt(from) }, to: { size, root }, proof: tree.consistencyProof(from, size) })).toBe(true)
      }
    }
  })

  it('refuses an inclusion proof once any bit of leaf, proof, root or index is flipped', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 300 }), fc.nat(), fc.nat(), (size, pick, bit) => {
        const hashes = leaves(size)
        const tree = treeOf(hashes)
        const index = pick % size
        const claim = { index, size, leaf: hashes[index]!, proof: tree.inclusionProof(index, size), root: tree.rootAt(size) }
        expect(includes(claim)).toBe(true)
        expect(includes({ ...claim, leaf: flipped(claim.leaf, bit) })).toBe(false)
        expect(includes({ ...claim, root: flipped(claim.root, bit) })).toBe(false)
        for (let at = 0; at < 53; at++) expect(includes({ ...claim, index: flippedNumber(index, at) })).toBe(false)
        claim.proof.forEach((hash, step) => {
          expect(includes({ ...claim, proof: claim.proof.with(step, flipped(hash, bit)) })).toBe(false)
        })
        expect(includes({ ...claim, proof: [...claim.proof, hashes[0]!] })).toBe(false)
        if (size > 1) expect(includes({ ...claim, proof: claim.proof.slice(0, -1) })).toBe(false)
      }),
      { numRuns: 60 },
    )
  })

  it('refuses a consistency proof once any bit of a root or of the proof is flipped, or a size is not the one meant', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 300 }), fc.nat(), fc.nat(), (to, pick, bit) => {
        const tree = treeOf(leaves(to))
        const from = 1 + (pick % (to - 1))
        const claim = { from: { size: from, root: tree.rootAt(from) }, to: { size: to, root: tree.rootAt(to) }, proof: tree.consistencyProof(from, to) }
        expect(isConsistent(claim)).toBe(true)
        expect(isConsistent({ ...claim, from: { size: from, root: flipped(claim.from.root, bit) } })).toBe(false)
        expect(isConsistent({ ...claim, to: { size: to, root: flipped(claim.to.root, bit) } })).toBe(false)
        expect(isConsistent({ ...claim, from: { size: to + 1, root: claim.from.root } })).toBe(false)
        expect(isConsistent({ from: claim.to, to: claim.from, proof: claim.proof })).toBe(false)
        claim.proof.forEach((hash, step) => {
          expect(isConsistent({ ...claim, proof: claim.proof.with(step, flipped(hash, bit)) })).toBe(false)
          expect(isConsistent({ ...claim, proof: claim.proof.toSpliced(step, 1) })).toBe(false)
        })
        expect(isConsistent({ ...claim, proof: [...claim.proof, claim.to.root] })).toBe(false)
      }),
      { numRuns: 100 },
    )
  })

  it('tells a tree with another history apart, even of the same size', () => {
    const hashes = leaves(20)
    const tree = treeOf(hashes)
    const forked = treeOf([...hashes.slice(0, 9), leafHash(Buffer.from('other')), ...hashes.slice(10)])
    expect(isConsistent({ from: { size: 12, root: tree.rootAt(12) }, to: { size: 20, root: forked.rootAt(20) }, proof: forked.consistencyProof(12, 20) })).toBe(
      false,
    )
  })

  it('refuses sizes, indices and hashes that cannot be', () => {
    const tree = treeOf(leaves(3))
    const claim = { index: 0, size: 3, leaf: leaves(3)[0]!, proof: tree.inclusionProof(0, 3), root: tree.rootAt(3) }
    for (const index of [-1, 0.5, 3, Number.NaN, Infinity]) expect(includes({ ...claim, index })).toBe(false)
    for (const size of [-3, 0, 3.5, Number.NaN, 2 ** 53]) expect(includes({ ...claim, size })).toBe(false)
    expect(includes({ ...claim, leaf: Buffer.alloc(31) })).toBe(false)
    expect(includes({ index: 0, size: 1, leaf: Buffer.alloc(0), proof: [], root: Buffer.alloc(0) })).toBe(false)
    expect(() => tree.inclusionProof(3, 3)).toThrow(RangeError)
    expect(() => tree.consistencyProof(4, 3)).toThrow(RangeError)
    expect(() => tree.rootAt(4)).toThrow(RangeError)
  })

  it('reads the frontier that it wrote, and refuses one of another size', () => {
    fc.assert(
      fc.property(fc.nat({ max: 200 }), (size) => {
        const frontier = Frontier.empty()
        for (const hash of leaves(size)) frontier.append(hash)
        const again = Frontier.parse(size, frontier.bytes())
        expect(() => Frontier.parse(size, Buffer.concat([frontier.bytes(), EMPTY_ROOT]))).toThrow(RangeError)
        expect(() => Frontier.parse(size, Buffer.concat([frontier.bytes(), Buffer.alloc(31)]))).toThrow(RangeError)
        expect(again.root()).toEqual(frontier.root())
        again.append(leafHash(Buffer.from('next')))
        frontier.append(leafHash(Buffer.from('next')))
        expect(again.bytes()).toEqual(frontier.bytes())
      }),
    )
  })

  it('keeps proofs right for trees far larger than memory or 32 bits', () => {
    // A proof over made-up hashes: only its shape is at stake, and that a shorter or longer one is refused.
    const size = 2 ** 45 + 12_345
    const index = 2 ** 44 + 7
    const leaf = leafHash(Buffer.from('far away'))
    const step = leafHash(Buffer.from('step'))
    const lengths = [...Array(60).keys()].filter((length) => {
      const proof = Array.from({ length }, () => step)
      return includes({ index, size, leaf, proof, root: rootAlong(index, size, leaf, proof) ?? EMPTY_ROOT })
    })
    expect(lengths).toEqual([46])
  })
})

function hex(text: string): Buffer {
  return Buffer.from(text, 'hex')
}

function leaves(count: number): Buffer[] {
  return Array.from({ length: count }, (_, index) => leafHash(Buffer.from(`leaf ${index}`)))
}

function treeOf(hashes: readonly Buffer[]): MerkleTree {
  const tree = new MerkleTree()
  for (const hash of hashes) tree.append(hash)
  return tree
}

/** MTH of RFC 6962, section 2.1, as it is written there. */
function recursiveRoot(hashes: readonly Buffer[]): Buffer {
  if (hashes.length === 0) return EMPTY_ROOT
  if (hashes.length === 1) return hashes[0]!
  let k = 1
  while (k * 2 < hashes.length) k *= 2
  return nodeHash(recursiveRoot(hashes.slice(0, k)), recursiveRoot(hashes.slice(k)))
}

/** The root that a path of the given hashes leads to, by the recursion; undefined when the length does not fit. */
function rootAlong(index: number, size: number, leaf: Buffer, proof: readonly Buffer[]): Buffer | undefined {
  if (size === 1) return proof.length === 0 ? leaf : undefined
  const last = proof.at(-1)
  if (last === undefined) return undefined
  let k = 1
  while (k * 2 < size) k *= 2
  const inner = index < k ? rootAlong(index, k, leaf, proof.slice(0, -1)) : rootAlong(index - k, size - k, leaf, proof.slice(0, -1))
  if (inner === undefined) return undefined
  return index < k ? nodeHash(inner, last) : nodeHash(last, inner)
}

function flipped(bytes: Buffer, bit: number): Buffer {
  const copy = Buffer.from(bytes)
  const at = bit % (bytes.length * 8)
  copy[at >> 3]! ^= 1 << (at & 7)
  return copy
}

function flippedNumber(value: number, bit: number): number {
  return Number(BigInt(value) ^ (1n << BigInt(bit)))
}
