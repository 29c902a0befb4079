/** What `check` says of a binding: findings, and the words that they are written in. */
import type { EntityType } from '../../query/catalog.js'
import { quoteName } from '../sql/fragment.js'
import type { ConfiguredField } from '../configured.js'
import type { TableDescription } from './describe.js'

export type FindingRule =
  | 'store'
  | 'setting'
  | 'name'
  | 'table'
  | 'column'
  | 'type'
  | 'nullability'
  | 'key'
  | 'relation'
  | 'index'
  | 'order'
  | 'collation'
  | 'privilege'
  | 'rowSecurity'
  | 'policy'

/** Something that does not fit (`error`), or that serves worse than it could (`warning`). For the owner's eyes: it names tables and columns. */
export interface Finding {
  readonly severity: 'error' | 'warning'
  readonly rule: FindingRule
  readonly type: string | null
  readonly field: string | null
  /** `store.schema.table.column`, as far as it concerns one. */
  readonly place: string | null
  readonly problem: string
  /** How to mend it. */
  readonly hint: string
}

export type Report = (finding: Pick<Finding, 'severity' | 'rule' | 'problem' | 'hint'> & Partial<Finding>) => void

/** A type of the contract and the table that holds its rows. */
export interface Place {
  readonly entity: EntityType
  readonly store: string
  readonly table: TableDescription
  readonly configured: ReadonlyMap<string, ConfiguredField>
  /** The owner says that the key tells rows apart. */
  readonly uniqueKey: boolean
}

export const KIND_WORDS: Readonly<Record<TableDescription['kind'], string>> = {
  table: 'a table',
  partitioned: 'a partitioned table',
  view: 'a view',
  materializedView: 'a materialized view',
  foreign: 'a foreign table',
}

/** Whether it can have indexes, so that what it lacks can be mended there. */
export function isIndexable(table: TableDescription): boolean {
  return table.kind === 'table' || table.kind === 'partitioned' || table.kind === 'materializedView'
}

/** Whether a unique index over all rows says that no two have the same values in these columns. */
export function isUnique(table: TableDescription, columns: readonly string[]): boolean {
  return table.keys.some((key) => key.columns.every((column) => columns.includes(column)))
}

/** As it is written in a configuration: parts with a dot or a quote stand in double quotes. */
export function placeText(...parts: readonly string[]): string {
  return parts.map((part) => (/[."]/.test(part) ? quoteName(part) : part)).join('.')
}

export function sqlName(table: TableDescription): string {
  return `${quoteName(table.schema)}.${quoteName(table.name)}`
}

export function listed(names: readonly string[]): string {
  return names.map((name) => `\`${name}\``).join(', ')
}
