/** The border between HTTP and the engine. */
import type { Signal } from '../abort.js'
import type { Bytes } from '../connectors/texts.js'
import type { Code } from '../errors.js'

export interface GatewayRequest {
  /** UUIDv7. */
  readonly id: string
  /** Milliseconds of the monotonic clock at arrival. */
  readonly startedMs: number
  /** The whole `Authorization` header, or null. */
  readonly authorization: string | null
  /** The `DPoP` header, or null, with what a proof must speak of. */
  readonly proof: { readonly dpop: string | null; readonly method: string; readonly url: string }
  /** The `x-purpose` header, or null. */
  readonly purpose: string | null
  readonly method: 'GET' | 'POST'
  readonly document: string | null
  readonly operationName: string | null
  /** As the client sent it; checked when the operation is bound. */
  readonly variables: unknown
  /** What the client accepts: with `json` (the older media type) refusals of a well-formed request that concern the document have status 200. */
  readonly accept: 'graphql-response' | 'json'
  /** Answer with the decisions and the compiled queries instead of data. */
  readonly explain: boolean
  /** Stands for the client's connection, and lives as long; null where there is none. */
  readonly connection: object | null
  /** Aborted when the client goes away. */
  readonly signal: Signal
}

export function isStream(body: GatewayResponse['body']): body is AsyncIterable<readonly Bytes[]> {
  return Symbol.asyncIterator in body
}

export interface GatewayResponse {
  /** Why it is not a whole answer, for the log; absent or null where it is one, or no answer to an operation. */
  readonly code?: Code | null
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** In pieces: all of them, or as they come; an error among those breaks the connection off. */
  readonly body: readonly Bytes[] | AsyncIterable<readonly Bytes[]>
  /** Of a body that comes: aborted when not another byte of it may leave. */
  readonly cut?: Signal
}
