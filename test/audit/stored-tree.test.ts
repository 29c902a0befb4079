import { describe, expect, it } from '@jest/globals'
import { MissingNode, StoredTree } from '../../src/audit/ledger-store.js'
import { consistencyRanges, Frontier, includes, inclusionRanges, isConsistent, leafHash, type LeafRange } from '../../src/audit/merkle.js'

describe('the stored tree', () => {
  // More than 256 * 256 leaves, so that three stored levels take part.
  const size = 66_000
  const { levels, roots } = stored(size, [1, 255, 256, 257, 40_000, 65_535, 65_536, 65_537, size])

  it('proves leaves and smaller trees from every eighth level alone', async () => {
    const tree = new StoredTree('aurora', size, read(levels))
    const root = await tree.rootAt(size)
    expect(root).toEqual(roots.get(size))
    for (const index of [0, 1, 255, 256, 257, 511, 512, 32_768, 65_535, 65_536, 65_999, size - 1]) {
      const proof = await tree.hashes(inclusionRanges(index, size))
      expect(includes({ index, size, leaf: leaf(index), proof, root })).toBe(true)
    }
    for (const [from, fromRoot] of roots) {
      const proof = await tree.hashes(consistencyRanges(from, size))
      expect(isConsistent({ from: { size: from, root: fromRoot }, to: { size, root }, proof })).toBe(true)
    }
  })

  it('reads no more than 256 hashes of each stored level for a proof, but for the right edge', async () => {
    const asked: LeafRange[] = []
    const tree = new StoredTree('aurora', 65_536, (level, range) => {
      asked.push(range)
      return read(levels)(level, range)
    })
    await tree.hashes(inclusionRanges(12_345, 65_536))
    expect(asked.map(({ start, end }) => end - start)).toEqual([256, 256])
  })

  it('says so when a node is missing', async () => {
    const holey = new Map([...levels].map(([level, hashes]) => [level, level === 0 ? hashes.toSpliced(300, 1) : hashes]))
    const short = new StoredTree('aurora', size, (level, { start, end }) => Promise.resolve((holey.get(level) ?? []).slice(start, end - (level === 0 ? 1 : 0))))
    await expect(short.hashes(inclusionRanges(301, size))).rejects.toThrow(MissingNode)
  })
})

function leaf(index: number): Buffer {
  return leafHash(Buffer.from(`leaf ${index}`))
}

/** What the database would hold, by level, and the roots of some sizes. */
function stored(size: number, sizes: readonly number[]): { readonly levels: Map<number, Buffer[]>; readonly roots: Map<number, Buffer> } {
  const levels = new Map<number, Buffer[]>([[0, []]])
  const roots = new Map<number, Buffer>()
  const frontier = Frontier.empty()
  for (let index = 0; index < size; index++) {
    const hash = leaf(index)
    levels.get(0)?.push(hash)
    frontier.append(hash, (subtree, node) => {
      if (subtree.level % 8 !== 0) return
      const level = levels.get(subtree.level) ?? []
      levels.set(subtree.level, level)
      level[subtree.index] = node
    })
    if (sizes.includes(frontier.size)) roots.set(frontier.size, frontier.root())
  }
  return { levels, roots }
}

function read(levels: ReadonlyMap<number, readonly Buffer[]>) {
  return (level: number, { start, end }: LeafRange) => Promise.resolve((levels.get(level) ?? []).slice(start, end))
}
