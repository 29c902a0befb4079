import type { Principal } from '../policy/principal.js'
import type { Seats } from './answer.js'

/** Requests under way, counted by principal; one that holds `max` of them gets no more. */
export function seatsFor(max: number): Seats & { readonly total: number } {
  const taken = new Map<string, number>()
  let total = 0
  return {
    get total() {
      return total
    },
    take(principal: Principal) {
      const key = `${principal.issuer}\n${principal.subject}` // neither holds a line feed
      const count = taken.get(key) ?? 0
      if (count >= max) return null
      taken.set(key, count + 1)
      total += 1
      let isLeft = false
      return () => {
        if (isLeft) return
        isLeft = true
        total -= 1
        const left = (taken.get(key) ?? 1) - 1
        if (left === 0) taken.delete(key)
        else taken.set(key, left)
      }
    },
  }
}
