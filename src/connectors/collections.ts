/** Types that are bound to collections, which have no tables: of which store each is, and how their bindings join those of the tables. Pure. */
import type { OrganizationBinding, TypeBinding } from '../query/binding.js'
import type { Catalog } from '../query/catalog.js'
import type { ConfiguredTable, ConfiguredType } from './configured.js'

/** Kinds of stores that hold collections. */
export type CollectionKind = 'mongodb' | 'milvus' | 'pinecone' | 'neo4j'

export interface CollectionInput {
  readonly catalog: Catalog
  readonly configured: ReadonlyMap<string, ConfiguredType>
  /** The organization's stores, its first one first. */
  readonly stores: readonly { readonly name: string; readonly kind: string }[]
}

/** What is wrong with a field of a collection's type that is bound to a table of its own. */
export const PART = 'only a type whose rows are in a table has fields in another one'

export interface CollectionMistake {
  readonly type: string
  readonly field: string | null
  readonly problem: string
}

export interface CollectionPlace {
  readonly store: string
  readonly kind: CollectionKind
  readonly collection: string
  /** What the collection is in, where the binding names it: the index of a namespace. */
  readonly within: string | null
}

export function holdsCollections(kind: string): kind is CollectionKind {
  return kind === 'mongodb' || kind === 'milvus' || kind === 'pinecone' || kind === 'neo4j'
}

/** The store and the collection that a type is bound to; null where it is bound elsewhere. `store.collection` and `collection` are both names. */
export function collectionOf(type: string, { configured, stores }: Pick<CollectionInput, 'configured' | 'stores'>): CollectionPlace | null {
  const settings = configured.get(type)
  return settings?.kind === 'table' && settings.table ? placeNamed(settings.table, stores) : null
}

/** Null: it is a table. */
export function placeNamed({ store: own, schema, table }: ConfiguredTable, stores: CollectionInput['stores']): CollectionPlace | null {
  const named = own ?? schema ?? stores[0]?.name
  const store = stores.find(({ name }) => name === named)
  if (!store || !holdsCollections(store.kind)) return null
  return { store: store.name, kind: store.kind, collection: table, within: own === null ? null : schema }
}

/** Both halves of a binding. A relation from a table to a collection is unbound: the two are in different stores. */
export function joinedBinding(tables: OrganizationBinding, collections: OrganizationBinding['types'], input: CollectionInput): OrganizationBinding {
  const own = [...tables.types].flatMap(([type, bound]): [string, TypeBinding][] => {
    if (collectionOf(type, input)) return []
    if (bound.kind === 'none') return [[type, bound]]
    const relations = [...bound.relations].filter(([field]) => {
      const definition = input.catalog.entities.get(type)?.fields.get(field)
      return definition?.kind !== 'toOne' || !collectionOf(definition.target, input)
    })
    return [[type, { ...bound, relations: new Map(relations) }]]
  })
  return { ...tables, types: new Map([...own, ...collections]) }
}
