/** Boolean expressions of Milvus with places for values: what is compiled holds none of a request, and is filled anew for each. */
import type { Values } from '../connector.js'

export type Filter =
  | { readonly kind: 'constant'; readonly value: boolean }
  /** An expression whose literals come from `literal.ts`, and whose field names from the collection's schema. */
  | { readonly kind: 'text'; readonly text: string }
  /** Where a value of the request, a claim or a constant of the plan goes. */
  | { readonly kind: 'place'; readonly label: string; readonly make: (values: Values) => Filter }
  | { readonly kind: 'and' | 'or'; readonly terms: readonly Filter[] }
  | { readonly kind: 'not'; readonly term: Filter }

export const ALWAYS: Filter = { kind: 'constant', value: true }
export const NEVER: Filter = { kind: 'constant', value: false }

export function textFilter(text: string): Filter {
  return { kind: 'text', text }
}

export function allOf(terms: readonly Filter[]): Filter {
  const rest = terms.filter((term) => term !== ALWAYS)
  return rest.includes(NEVER) ? NEVER : rest.length === 0 ? ALWAYS : rest.length === 1 && rest[0] ? rest[0] : { kind: 'and', terms: rest }
}

export function anyOf(terms: readonly Filter[]): Filter {
  const rest = terms.filter((term) => term !== NEVER)
  return rest.includes(ALWAYS) ? ALWAYS : rest.length === 0 ? NEVER : rest.length === 1 && rest[0] ? rest[0] : { kind: 'or', terms: rest }
}

export function negated(term: Filter): Filter {
  return term === ALWAYS ? NEVER : term === NEVER ? ALWAYS : term.kind === 'not' ? term.term : { kind: 'not', term }
}

/** The expression with its values, or what is known of every row without one: Milvus has no constants. */
export function filled(filter: Filter, values: Values): string | boolean {
  switch (filter.kind) {
    case 'constant':
      return filter.value
    case 'text':
      return filter.text
    case 'place':
      return filled(filter.make(values), values)
    case 'not': {
      const term = filled(filter.term, values)
      return typeof term === 'boolean' ? !term : `not (${term})`
    }
    case 'and':
    case 'or': {
      const decisive = filter.kind === 'or'
      const texts: string[] = []
      for (const each of filter.terms) {
        const term = filled(each, values)
        if (term === decisive) return decisive
        if (typeof term === 'string') texts.push(`(${term})`)
      }
      return texts.length === 0 ? !decisive : texts.join(` ${filter.kind} `)
    }
  }
}

/** As text, with the names of places. */
export function printed(filter: Filter): string {
  switch (filter.kind) {
    case 'constant':
      return String(filter.value)
    case 'text':
      return filter.text
    case 'place':
      return filter.label
    case 'not':
      return `not (${printed(filter.term)})`
    case 'and':
    case 'or':
      return filter.terms.map((term) => `(${printed(term)})`).join(` ${filter.kind} `)
  }
}
