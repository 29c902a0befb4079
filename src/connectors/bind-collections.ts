/** Types of collections of every kind. The modules of a kind, and with them its driver, are loaded by who has such a store. */
import type { OrganizationBinding } from '../query/binding.js'
import type { CollectionInput, CollectionMistake } from './collections.js'
import type { CollectionDescription } from './milvus/describe.js'

/** `described`: the stores of Milvus; null where one could not be read. */
export type BindCollections = (
  input: CollectionInput,
  described: ReadonlyMap<string, readonly CollectionDescription[] | null>,
) => { readonly types: OrganizationBinding['types']; readonly mistakes: readonly CollectionMistake[] }

/** Null: no store has collections. */
export async function collectionBinder({ stores }: Pick<CollectionInput, 'stores'>): Promise<BindCollections | null> {
  const has = (kind: string): boolean => stores.some((store) => store.kind === kind)
  const mongodb = has('mongodb') ? await import('./mongodb/bind-collections.js') : null
  const milvus = has('milvus') ? await import('./milvus/bind-collections.js') : null
  if (!mongodb && !milvus) return null
  return (input, described) => {
    const bound = [mongodb?.bindCollections(input), milvus?.bindMilvus({ ...input, described })].filter((each) => each !== undefined)
    return { types: new Map(bound.flatMap(({ types }) => [...types])), mistakes: bound.flatMap(({ mistakes }) => mistakes) }
  }
}
