/**
 * What of a condition goes to Pinecone: a filter that every row fits of which the condition is TRUE, and the ids that such rows can have. Rows that come are held against
 * the condition itself in the gateway, so that a filter saves reading, and decides nothing: where its meaning is not documented to be the contract's, it is left out.
 */
import type { Values } from '../connector.js'

/** A condition of Pinecone's language. Values of a request stand in it as scalars, and as items of `$in` and `$nin`; names come from the binding alone. */
export type MetadataFilter =
  { readonly $and: readonly MetadataFilter[] } | { readonly $or: readonly MetadataFilter[] } | { readonly [field: string]: FieldFilter }

export type FieldFilter =
  | { readonly $eq: MetadataScalar }
  | { readonly $ne: MetadataScalar }
  | { readonly $gt: number }
  | { readonly $gte: number }
  | { readonly $lt: number }
  | { readonly $lte: number }
  | { readonly $in: readonly (string | number)[] }
  | { readonly $nin: readonly (string | number)[] }
  | { readonly $exists: boolean }

export type MetadataScalar = string | number | boolean

export type Pushdown =
  /** Nothing is known of the rows. */
  | { readonly kind: 'every' }
  /** No row can fit. */
  | { readonly kind: 'none' }
  /** Where a value of the request, a claim or a constant of the plan goes. */
  | { readonly kind: 'place'; readonly label: string; readonly make: (values: Values) => Asked }
  | { readonly kind: 'and' | 'or'; readonly terms: readonly Pushdown[] }

/** With its values: null where no row can fit. Null `ids`: any; null `filter`: none. */
export type Asked = { readonly ids: ReadonlySet<string> | null; readonly filter: MetadataFilter | null } | null

export const EVERY: Pushdown = { kind: 'every' }
export const NONE: Pushdown = { kind: 'none' }
export const ASK_ALL: Asked = { ids: null, filter: null }

export function allOf(terms: readonly Pushdown[]): Pushdown {
  const rest = terms.filter((term) => term !== EVERY)
  return rest.includes(NONE) ? NONE : rest.length === 0 ? EVERY : rest.length === 1 && rest[0] ? rest[0] : { kind: 'and', terms: rest }
}

export function anyOf(terms: readonly Pushdown[]): Pushdown {
  const rest = terms.filter((term) => term !== NONE)
  return rest.includes(EVERY) ? EVERY : rest.length === 0 ? NONE : rest.length === 1 && rest[0] ? rest[0] : { kind: 'or', terms: rest }
}

export function filled(pushdown: Pushdown, values: Values): Asked {
  switch (pushdown.kind) {
    case 'every':
      return ASK_ALL
    case 'none':
      return null
    case 'place':
      return pushdown.make(values)
    case 'and':
      return pushdown.terms.map((term) => filled(term, values)).reduce(both, ASK_ALL)
    case 'or':
      return pushdown.terms.map((term) => filled(term, values)).reduce(either, null)
  }
}

function both(a: Asked, b: Asked): Asked {
  if (a === null || b === null) return null
  const ids = a.ids && b.ids ? intersection(a.ids, b.ids) : (a.ids ?? b.ids)
  if (ids?.size === 0) return null
  return { ids, filter: a.filter && b.filter ? { $and: [...andTerms(a.filter), ...andTerms(b.filter)] } : (a.filter ?? b.filter) }
}

function either(a: Asked, b: Asked): Asked {
  if (a === null || b === null) return a ?? b
  return {
    ids: a.ids && b.ids ? new Set([...a.ids, ...b.ids]) : null,
    filter: a.filter && b.filter ? { $or: [...orTerms(a.filter), ...orTerms(b.filter)] } : null,
  }
}

/** A field of this name is none: names that begin with `$` are not bound. */
function andTerms(filter: MetadataFilter): readonly MetadataFilter[] {
  return '$and' in filter && Array.isArray(filter.$and) ? filter.$and : [filter]
}

function orTerms(filter: MetadataFilter): readonly MetadataFilter[] {
  return '$or' in filter && Array.isArray(filter.$or) ? filter.$or : [filter]
}

function intersection(a: ReadonlySet<string>, b: ReadonlySet<string>): ReadonlySet<string> {
  return new Set([...a].filter((id) => b.has(id)))
}

/** As text, with the names of places. */
export function printed(pushdown: Pushdown): string {
  switch (pushdown.kind) {
    case 'every':
      return 'every record'
    case 'none':
      return 'no record'
    case 'place':
      return pushdown.label
    case 'and':
    case 'or':
      return pushdown.terms.map((term) => `(${printed(term)})`).join(` ${pushdown.kind} `)
  }
}
