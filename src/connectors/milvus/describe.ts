/** What a Milvus holds: the schemas of its collections, and the indexes over their vectors. */
import type { MilvusClient } from '@zilliz/milvus2-sdk-node'
import type { NativeType } from '../../query/binding.js'
import { call, type CallOptions, messageOf, messagesOf, pairsOf } from './calls.js'

export interface CollectionDescription {
  readonly name: string
  readonly fields: ReadonlyMap<string, FieldDescription>
}

export interface FieldDescription {
  /** Of the items, where it is an array. */
  readonly native: NativeType
  readonly array: boolean
  readonly isKey: boolean
  /** Of later versions: fields that can hold null. */
  readonly nullable: boolean
  /** Of a vector. */
  readonly dimensions: number | null
  /** Over a vector: its kind, and the metric that it serves. */
  readonly index: { readonly kind: string; readonly metric: string } | null
}

export async function describeCollections(client: MilvusClient, names: readonly string[], options: CallOptions): Promise<readonly CollectionDescription[]> {
  const { collection_names: there } = await call(client, 'ShowCollections', {}, options)
  const found = names.filter((name) => Array.isArray(there) && there.includes(name))
  const described: CollectionDescription[] = []
  for (const name of found) described.push({ name, fields: await fieldsOf(client, name, options) })
  return described
}

async function fieldsOf(client: MilvusClient, collection: string, options: CallOptions): Promise<CollectionDescription['fields']> {
  const { schema } = await call(client, 'DescribeCollection', { collection_name: collection }, options)
  const fields = messagesOf(messageOf(schema).fields)
  const indexes = await indexesOf(client, collection, options)
  return new Map(
    fields.map((field) => {
      const name = String(field.name)
      const array = field.data_type === 'Array'
      const dimensions = pairsOf(field.type_params).get('dim')
      return [
        name,
        {
          native: String(array ? field.element_type : field.data_type),
          array,
          isKey: field.is_primary_key === true,
          nullable: field.nullable === true,
          dimensions: dimensions === undefined ? null : Number(dimensions),
          index: indexes.get(name) ?? null,
        },
      ]
    }),
  )
}

/** A collection without an index answers that it has none, as a refusal. */
async function indexesOf(client: MilvusClient, collection: string, options: CallOptions): Promise<ReadonlyMap<string, NonNullable<FieldDescription['index']>>> {
  const answer = await call(client, 'DescribeIndex', { collection_name: collection }, options).catch((error: unknown) => {
    if (error instanceof Error && error.message.startsWith('index not found')) return null
    throw error
  })
  const indexes = answer ? messagesOf(answer.index_descriptions) : []
  return new Map(
    indexes.flatMap((index) => {
      const params = pairsOf(index.params)
      const [kind, metric] = [params.get('index_type'), params.get('metric_type')]
      return kind === undefined || metric === undefined ? [] : [[String(index.field_name), { kind, metric }] as const]
    }),
  )
}
