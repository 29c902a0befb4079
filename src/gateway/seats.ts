import type { Principal } from '../policy/principal.js'
import type { Seats } from './answer.js'

/** So many requests under way for each principal, whatever its tokens. What is kept is bounded by the requests under way in all. */
export function seats(max: number): Seats {
  const taken = new Map<string, number>()
  return {
    take: (principal: Principal) => {
      const who = JSON.stringify([principal.issuer, principal.subject])
      const count = taken.get(who) ?? 0
      if (count >= max) return null
      taken.set(who, count + 1)
      let left = false
      return () => {
        if (left) return
        left = true
        const rest = (taken.get(who) ?? 1) - 1
        if (rest === 0) taken.delete(who)
        else taken.set(who, rest)
      }
    },
  }
}
