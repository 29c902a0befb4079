/** Proofs that are remembered so that none serves twice. When there are more, new ones are refused rather than old ones forgotten. */
const REMEMBERED_MAX = 200_000

/** `again`: it was used before. `refused`: nobody can say, or remember it; then it does not count either. */
export type Spending = 'first' | 'again' | 'refused'

/** Uses a proof up. `key` stands for a proof, and holds nothing of it in the clear; from `untilMs` (Unix milliseconds) on it is too old to pass anyway. */
export type SpendProof = (key: string, untilMs: number) => Promise<Spending>

/** Proofs used up, in the memory of one process. Processes that serve one address must share one: a proof that two of them accept is replayed. */
export function proofMemory({ now }: { readonly now: () => number }): SpendProof {
  const used = new Map<string, number>()
  return (key, untilMs) => {
    const nowMs = now()
    for (const [old, oldUntilMs] of used) {
      if (oldUntilMs > nowMs) break
      used.delete(old)
    }
    if (used.has(key)) return Promise.resolve('again')
    if (used.size >= REMEMBERED_MAX) return Promise.resolve('refused')
    used.set(key, untilMs)
    return Promise.resolve('first')
  }
}
