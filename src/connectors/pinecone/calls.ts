/** What is asked of one namespace of an index by the driver, and what it answers, checked: nothing is taken for a record that is none. */
import { Index } from '@pinecone-database/pinecone'
import { nonsense } from './driver-error.js'
import type { MetadataFilter } from './pushdown.js'
import type { StoredRecord } from './row.js'
import type { CallOptions, Transport } from './transport.js'

export interface Namespace {
  /** With its scheme. */
  readonly host: string
  readonly apiKey: string
  readonly namespace: string
  readonly dimensions: number
}

export interface Page<Item> {
  readonly items: readonly Item[]
  /** Null: it was the last one. */
  readonly next: string | null
}

/** Records of one answer: as many as `list` gives, and their ids fit into an address. */
export const PAGE_RECORDS = 100
const ADDRESS_CHARACTERS = 6_000
/** How many a query gives at most. */
export const HITS_MAX = 10_000

/** Of a record's id, and of its metadata (40 KB) with escapes, in an answer. */
const [ID_BYTES, METADATA_BYTES] = [4_096, 65_536]
/** Of a float's text, and of what stands around the records. */
const [ELEMENT_BYTES, FRAME_BYTES] = [32, 65_536]

export class Calls {
  constructor(
    private readonly at: Namespace,
    private readonly transport: Transport,
    private readonly options: CallOptions,
  ) {}

  /** Those that there are, in no order. */
  async fetch(ids: readonly string[]): Promise<readonly StoredRecord[]> {
    const answer = await this.index(this.recordBytes(ids.length)).fetch({ ids: [...ids] })
    const asked = new Set(ids)
    const records = recordsOf(this.own(answer).records)
    if (!records.every(({ id }) => asked.has(id))) throw nonsense('records that were not asked for')
    return records
  }

  async fetchByMetadata(filter: MetadataFilter, next: string | null): Promise<Page<StoredRecord>> {
    const asked = { filter, limit: PAGE_RECORDS, ...(next !== null && { paginationToken: next }) }
    const answer = this.own(await this.index(this.recordBytes(PAGE_RECORDS)).fetchByMetadata(asked))
    const items = recordsOf(answer.records)
    if (items.length > PAGE_RECORDS) throw nonsense('more records than were asked for')
    return { items, next: nextOf(answer.pagination) }
  }

  /** Ids in ascending order of their bytes. */
  async list(next: string | null): Promise<Page<string>> {
    const asked = { limit: PAGE_RECORDS, ...(next !== null && { paginationToken: next }) }
    const answer = this.own(await this.index(PAGE_RECORDS * ID_BYTES + FRAME_BYTES).listPaginated(asked))
    const items = idsOf(answer.vectors ?? [])
    if (items.length > PAGE_RECORDS) throw nonsense('more ids than were asked for')
    return { items, next: nextOf(answer.pagination) }
  }

  /** Ids of records that the index finds near. */
  async query(vector: readonly number[], hits: number, filter: MetadataFilter | null): Promise<readonly string[]> {
    const asked = { vector: [...vector], topK: hits, includeValues: false, includeMetadata: false, ...(filter && { filter }) }
    const answer = messageOf(await this.index(hits * ID_BYTES + FRAME_BYTES).query(asked))
    const ids = idsOf(answer.matches)
    if (ids.length > hits || new Set(ids).size !== ids.length) throw nonsense('hits that are none')
    return ids
  }

  private index(bytesMax: number): Index {
    const { host, apiKey, namespace } = this.at
    // The transport is a `fetch` as far as the driver goes.
    const fetchApi = this.transport.fetch(this.options, bytesMax) as unknown as typeof fetch
    return new Index({ host, namespace }, { apiKey, fetchApi, maxRetries: 0 })
  }

  private recordBytes(records: number): number {
    return records * (ID_BYTES + METADATA_BYTES + this.at.dimensions * ELEMENT_BYTES) + FRAME_BYTES
  }

  /** The default namespace has an empty name, too. */
  private own(answer: unknown): Message {
    const message = messageOf(answer)
    const { namespace } = this.at
    if (message.namespace !== namespace && !(namespace === DEFAULT_NAMESPACE && message.namespace === '')) throw nonsense('records of another namespace')
    return message
  }
}

export const DEFAULT_NAMESPACE = '__default__'

/** What a message holds, before it has been looked at. */
export type Message = Readonly<Record<string, unknown>>

export function messageOf(value: unknown): Message {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw nonsense('what is no message')
  return value as Message // checked just now
}

function recordsOf(records: unknown): readonly StoredRecord[] {
  return Object.entries(messageOf(records)).map(([id, given]) => {
    const record = messageOf(given)
    if (record.id !== id) throw nonsense('a record of another id')
    return { id, values: record.values, metadata: messageOf(record.metadata ?? {}) }
  })
}

function idsOf(items: unknown): readonly string[] {
  if (!Array.isArray(items)) throw nonsense('what is no list')
  return items.map((item) => {
    const { id } = messageOf(item)
    if (typeof id !== 'string') throw nonsense('an id that is no text')
    return id
  })
}

function nextOf(pagination: unknown): string | null {
  if (pagination === undefined || pagination === null) return null
  const { next } = messageOf(pagination)
  if (next === undefined || next === '') return null
  if (typeof next !== 'string') throw nonsense('a page that is none')
  return next
}

/** What can be an id: others are those of no record. */
export function isRecordId(text: string): boolean {
  return text.length > 0 && text.length <= 512 && [...text].every((character) => character > '\0' && character <= '\x7f')
}

/** Ids in groups, each of which one address has room for. */
export function* groupsOf(ids: readonly string[]): Generator<readonly string[]> {
  let group: string[] = []
  let characters = 0
  for (const id of ids) {
    const length = encodeURIComponent(id).length + '&ids='.length
    if (group.length === PAGE_RECORDS || (group.length > 0 && characters + length > ADDRESS_CHARACTERS)) {
      yield group
      group = []
      characters = 0
    }
    group.push(id)
    characters += length
  }
  if (group.length > 0) yield group
}
