/** Types of collections of every kind. The modules of a kind, and with them its driver, are loaded by who has such a store. */
import { type BoundCollections, withoutPartTypes, withPartTypes } from './collection-parts.js'
import type { CollectionInput } from './collections.js'
import type { CollectionDescription } from './milvus/describe.js'
import type { IndexDescription } from './pinecone/describe.js'

/** What a store of Milvus or of Pinecone has of what types are bound to. */
export type StoreContents = readonly CollectionDescription[] | readonly IndexDescription[]

/** `described`: the stores of Milvus and of Pinecone; null where one could not be read. */
export type BindCollections = (input: CollectionInput, described: ReadonlyMap<string, StoreContents | null>) => BoundCollections

/** Null: no store has collections. */
export async function collectionBinder({ stores }: Pick<CollectionInput, 'stores'>): Promise<BindCollections | null> {
  const has = (kind: string): boolean => stores.some((store) => store.kind === kind)
  const mongodb = has('mongodb') ? await import('./mongodb/bind-collections.js') : null
  const milvus = has('milvus') ? await import('./milvus/bind-collections.js') : null
  const pinecone = has('pinecone') ? await import('./pinecone/bind-indexes.js') : null
  const neo4j = has('neo4j') ? await import('./neo4j/bind-graph.js') : null
  if (!mongodb && !milvus && !pinecone && !neo4j) return null
  return (own, described) => {
    const input = withPartTypes(own)
    const bound = [
      mongodb?.bindCollections(input),
      neo4j?.bindGraph(input),
      milvus?.bindMilvus({ ...input, described: contentsOf(described, isOfMilvus) }),
      pinecone?.bindIndexes({ ...input, described: contentsOf(described, isOfPinecone) }),
    ].filter((each) => each !== undefined)
    return withoutPartTypes({ types: new Map(bound.flatMap(({ types }) => [...types])), mistakes: bound.flatMap(({ mistakes }) => mistakes) }, own)
  }
}

function contentsOf<Contents extends StoreContents>(
  described: ReadonlyMap<string, StoreContents | null>,
  isOwn: (contents: StoreContents) => contents is Contents,
): ReadonlyMap<string, Contents | null> {
  return new Map([...described].flatMap(([store, contents]) => (contents === null || isOwn(contents) ? [[store, contents] as const] : [])))
}

/** A store that has nothing is of either kind. */
function isOfMilvus(contents: StoreContents): contents is readonly CollectionDescription[] {
  return contents.every((each) => 'fields' in each)
}

function isOfPinecone(contents: StoreContents): contents is readonly IndexDescription[] {
  return contents.every((each) => 'host' in each)
}
