/**
 * How one organization's tables and columns give the contract's types. A binding in configuration names only what does not fit by name; a `ResolvedBinding` has
 * been completed and checked against the store's own catalog, so that the compiler never guesses a type.
 */
import type { VectorMetric } from './catalog.js'

/** PostgreSQL's name of a column type as `pg_catalog.format_type(atttypid, null)` prints it, such as `bigint`, `text`, `timestamp with time zone`; elements of arrays without `[]`. */
export type NativeType = string

export type ColumnBinding =
  | {
      readonly kind: 'column'
      readonly column: string
      readonly native: NativeType
      /** The column is an array of `native`. */
      readonly array: boolean
      /** The column can hold NULL. */
      readonly nullable: boolean
      /** Enum values as they are stored (text of the stored value → name in the contract). A stored value that is not listed reads as null. Null: stored as named. */
      readonly values: ReadonlyMap<string, string> | null
      /** Decimal factor: the contract's value is the column times this. Null: as it is. */
      readonly multiply: string | null
      /** Metrics of an index over the vectors of all rows, which finds near ones without looking at each. Absent: there is none. */
      readonly nearBy?: readonly VectorMetric[]
      /** Metrics by which the store itself finds the nearest vectors, looking at each that a condition leaves. Absent: all or none, as its kind has it. */
      readonly exactBy?: readonly VectorMetric[]
    }
  | { readonly kind: 'constant'; readonly value: string | number | boolean | null }

/** Columns of this type's own table that hold the key of the target, in the order of the target's key. */
export interface RelationBinding {
  readonly columns: readonly { readonly column: string; readonly native: NativeType; readonly nullable: boolean }[]
}

/** A value that lies in another table, perhaps of another store, which has it for the keys of rows; null for a row whose key is not there. */
export interface PartBinding {
  readonly store: string
  readonly schema: string
  readonly table: string
  /** Columns that hold the row's key, in its order. */
  readonly key: RelationBinding['columns']
  readonly column: ColumnBinding
}

export interface TableBinding {
  readonly kind: 'table'
  readonly type: string
  readonly store: string
  readonly schema: string
  readonly table: string
  /** By value field of the contract. A field that is not here is unbound: null in output, not usable in input. */
  readonly columns: ReadonlyMap<string, ColumnBinding>
  /** By to-one field of the contract. */
  readonly relations: ReadonlyMap<string, RelationBinding>
  /** By value field that is not in `columns`. Absent: there is none. */
  readonly parts?: ReadonlyMap<string, PartBinding>
}

/** `none`: the organization declares that it holds no rows of the type; the type is an empty table. */
export type TypeBinding = TableBinding | { readonly kind: 'none'; readonly type: string }

export interface OrganizationBinding {
  readonly organization: string
  readonly types: ReadonlyMap<string, TypeBinding>
}
