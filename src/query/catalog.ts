/**
 * The contract as data: the entity types that organizations share, without anything physical. Made from `schema/*.graphql` by `gateway/contract.ts`; pure.
 */

export type BuiltinScalar =
  'ID' | 'String' | 'Int' | 'Float' | 'Boolean' | 'BigInt' | 'Decimal' | 'DateTime' | 'LocalDateTime' | 'Date' | 'UUID' | 'JSON' | 'Vector'

export type ValueType =
  { readonly kind: 'builtin'; readonly name: BuiltinScalar } | { readonly kind: 'enum'; readonly name: string; readonly values: readonly string[] }

export type VectorMetric = 'COSINE' | 'L2' | 'INNER_PRODUCT'

/** Where vectors of a field lie: only those of one space are comparable. */
export interface VectorSpace {
  readonly model: string
  readonly dimensions: number
  readonly metric: VectorMetric
}

/** A value of the row itself. `required` is the contract's `!`: the least disclosure of the type. */
export interface ValueField {
  readonly kind: 'value'
  readonly name: string
  readonly description: string | null
  readonly type: ValueType
  readonly list: boolean
  readonly required: boolean
  /** Of a field of type `Vector`; null for all others. */
  readonly vector: VectorSpace | null
}

/** A relation to one row or none. Always nullable: the target may be hidden. Its columns are the binding's business. */
export interface ToOneField {
  readonly kind: 'toOne'
  readonly name: string
  readonly description: string | null
  readonly target: string
}

/** The other end of the target's to-one relation `inverse`. */
export interface ToManyField {
  readonly kind: 'toMany'
  readonly name: string
  readonly description: string | null
  readonly target: string
  readonly inverse: string
}

export type Field = ValueField | ToOneField | ToManyField

export interface EntityType {
  readonly name: string
  readonly description: string | null
  /** Value fields that identify a row within its owner, in order; at least one, all `required`. */
  readonly key: readonly string[]
  /** Stem of the generated names: `agent` gives `agent(...)`, `agents(...)` and `agentsAggregate(...)`. */
  readonly singular: string
  readonly plural: string
  readonly fields: ReadonlyMap<string, Field>
  /** Time field, where rows are measurements (`@series`). */
  readonly seriesTime: string | null
}

export interface Catalog {
  readonly entities: ReadonlyMap<string, EntityType>
  readonly enums: ReadonlyMap<string, { readonly name: string; readonly description: string | null; readonly values: readonly string[] }>
}

/** The names that every row has besides its fields. */
export const ID_FIELD = 'id'
export const ORGANIZATION_FIELD = 'organization'
