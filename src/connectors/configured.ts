/** What a configuration says of how an organization's stores hold the contract's types: what does not fit by name. */
import type { PartBinding } from '../query/binding.js'

export type ConfiguredType =
  | { readonly kind: 'none' }
  | {
      readonly kind: 'table'
      readonly table: ConfiguredTable | null
      readonly fields: ReadonlyMap<string, ConfiguredField>
      /** The owner says that the key is never null and never twice, where no unique index does. Absent: not said. */
      readonly uniqueKey?: boolean
    }

export interface ConfiguredTable {
  /** Null: the organization's first one. */
  readonly store: string | null
  readonly schema: string | null
  readonly table: string
}

export type ConfiguredField =
  | {
      readonly kind: 'column'
      readonly columns: readonly string[]
      readonly values: ReadonlyMap<string, string> | null
      readonly multiply: string | null
      /** BSON type, of a collection of MongoDB. */
      readonly bson?: string | null
      /** Type of a property, of a graph. */
      readonly property?: string | null
      /** Of a relation of a graph. */
      readonly direction?: 'out' | 'in' | null
      /** Another table, which has the column for keys of rows; bound already where it is a collection, if it could be. */
      readonly part?: { readonly table: ConfiguredTable; readonly key: readonly string[] } | { readonly bound: PartBinding | null }
    }
  | { readonly kind: 'constant'; readonly value: string | number | boolean | null }
