/** JSON as PostgreSQL's `jsonb` understands it: numbers are exact decimals, a repeated key keeps its last value, and containment is `@>`. */
import { invariant } from '../errors.js'
import type { Decimal } from './decimal.js'
import { compareDecimals, parseDecimal } from './decimal.js'

export type JsonValue =
  | { readonly kind: 'null' }
  | { readonly kind: 'boolean'; readonly value: boolean }
  | { readonly kind: 'number'; readonly value: Decimal }
  | { readonly kind: 'string'; readonly value: string }
  | { readonly kind: 'list'; readonly items: readonly JsonValue[] }
  | { readonly kind: 'object'; readonly members: ReadonlyMap<string, JsonValue> }

/** Whether `whole` contains `part` as `whole @> part` says. Only at the top a list also contains a scalar that is one of its items. */
export function jsonContains(whole: JsonValue, part: JsonValue): boolean {
  if (whole.kind === 'list' && !isContainer(part)) return whole.items.some((item) => isSameScalar(item, part))
  return containsDeep(whole, part)
}

function containsDeep(whole: JsonValue, part: JsonValue): boolean {
  if (whole.kind === 'object' && part.kind === 'object') {
    return [...part.members].every(([key, value]) => {
      const own = whole.members.get(key)
      return own !== undefined && containsDeep(own, value)
    })
  }
  if (whole.kind === 'list' && part.kind === 'list') return part.items.every((item) => whole.items.some((own) => containsDeep(own, item)))
  return isSameScalar(whole, part)
}

function isContainer(value: JsonValue): boolean {
  return value.kind === 'list' || value.kind === 'object'
}

function isSameScalar(a: JsonValue, b: JsonValue): boolean {
  switch (a.kind) {
    case 'null':
      return b.kind === 'null'
    case 'boolean':
      return b.kind === 'boolean' && a.value === b.value
    case 'string':
      return b.kind === 'string' && a.value === b.value
    case 'number':
      return b.kind === 'number' && compareDecimals(a.value, b.value) === 0
    case 'list':
    case 'object':
      return false
  }
}

/** Reads well-formed JSON; numbers keep all their digits, as `JSON.parse` would not. */
export function parseJson(text: string): JsonValue {
  const tokens = text.matchAll(/"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null|[[\]{},:]/g)
  return new Reader([...tokens].map(([token]) => token)).whole()
}

class Reader {
  private next = 0

  constructor(private readonly tokens: readonly string[]) {}

  whole(): JsonValue {
    const value = this.value()
    invariant(this.next === this.tokens.length, 'text after a JSON value')
    return value
  }

  private value(): JsonValue {
    const token = this.take()
    if (token === '[') return this.list()
    if (token === '{') return this.object()
    if (token === 'null') return { kind: 'null' }
    if (token === 'true' || token === 'false') return { kind: 'boolean', value: token === 'true' }
    if (token.startsWith('"')) return { kind: 'string', value: JSON.parse(token) as string } // a token in quotes is a string
    return { kind: 'number', value: parseDecimal(token) }
  }

  private list(): JsonValue {
    const items: JsonValue[] = []
    while (this.more(']')) items.push(this.value())
    return { kind: 'list', items }
  }

  private object(): JsonValue {
    const members = new Map<string, JsonValue>()
    while (this.more('}')) {
      const key = JSON.parse(this.take()) as string // keys are strings in JSON
      invariant(this.take() === ':', 'a JSON member has a colon')
      members.set(key, this.value())
    }
    return { kind: 'object', members }
  }

  /** Steps over a comma; false at the end of the list or object, which it steps over too. */
  private more(end: string): boolean {
    if (this.tokens[this.next] === ',') this.next++
    if (this.tokens[this.next] !== end) return true
    this.next++
    return false
  }

  private take(): string {
    const token = this.tokens[this.next++]
    invariant(token !== undefined, 'a JSON text ends early')
    return token
  }
}
