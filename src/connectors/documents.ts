/** Documents of a cursor as chunks of rows. */
import type { Chunk } from './connector.js'
import { type DocumentShape, type ListDocument, type RowContext, rowJson, sortTexts } from './document-json.js'
import { type ByteText, byteText, Texts } from './texts.js'

/** Null: there are no more. */
export interface DocumentCursor {
  next(): Promise<unknown>
}

export interface ReadChunk extends Chunk {
  /** Of its texts and keys. */
  readonly bytes: number
  readonly isLast: boolean
}

/** Each as large as the buffer; at least one, the last of which says so. */
export async function* documents(cursor: DocumentCursor, pipeline: DocumentShape, context: RowContext, bufferBytes: number): AsyncGenerator<ReadChunk> {
  let next = await cursor.next()
  let totalCount: number | null = null
  if (pipeline.hasTotal) {
    totalCount = next ? Number((next as { readonly n: unknown }).n) : 0
    next = next && (await cursor.next())
  }
  do {
    const chunk = new ChunkBuilder(pipeline, context)
    while (next && chunk.bytes < bufferBytes) {
      chunk.push(next as ListDocument) // as the statement makes them
      next = await cursor.next()
    }
    yield { ...chunk.build(totalCount), isLast: !next }
    totalCount = null
  } while (next)
}

class ChunkBuilder {
  bytes = 0
  private count = 0
  private readonly texts: readonly ByteText[][]
  private readonly keys: readonly (string | null)[][]

  constructor(
    private readonly pipeline: DocumentShape,
    private readonly context: RowContext,
  ) {
    this.texts = Array.from(pipeline.shape.rows, () => [])
    this.keys = pipeline.withKeys ? pipeline.shape.sort.map(() => []) : []
  }

  push(document: ListDocument): void {
    this.count += 1
    this.bytes += 1
    for (const { index, row } of this.pipeline.shape.rows.values()) {
      const text = byteText(rowJson(row, document.n[index] ?? {}, this.context))
      this.bytes += text.length
      this.texts[index]?.push(text)
    }
    for (const [index, text] of this.pipeline.withKeys ? sortTexts(this.pipeline.shape, document, this.context).entries() : []) {
      this.bytes += text?.length ?? 0
      this.keys[index]?.push(text)
    }
  }

  build(totalCount: number | null): Omit<ReadChunk, 'isLast'> {
    return { count: this.count, texts: this.texts.map((column) => Texts.of(column)), keys: this.keys, totalCount, bytes: this.bytes }
  }
}
