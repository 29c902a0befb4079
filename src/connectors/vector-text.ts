/** The text of a vector that a store holds in single precision. */
import type { VectorSpace } from '../query/catalog.js'
import { printFloat } from '../query/decimal.js'

/** Null where it is no vector of the contract's space. */
export function vectorText(elements: readonly unknown[], { dimensions }: VectorSpace): string | null {
  if (elements.length !== dimensions || !elements.every((element) => typeof element === 'number' && Number.isFinite(element))) return null
  return `[${elements.map((element) => printFloat(shortest(Number(element)))).join(',')}]`
}

/** The number of the fewest digits that single precision holds as this one: what other stores print. */
function shortest(value: number): number {
  if (value === 0) return value // whatever its sign
  for (let digits = 1; digits <= 9; digits += 1) {
    const candidate = Number(value.toPrecision(digits))
    if (Math.fround(candidate) === value) return candidate
  }
  return value
}
