/** A service that makes vectors of texts, for tests: a real one over HTTP, of the OpenAI-compatible kind, which can also be made to misbehave. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface EmbeddingExchange {
  readonly headers: IncomingMessage['headers']
  readonly body: unknown
}

export interface EmbeddingServer {
  readonly url: string
  readonly exchanges: EmbeddingExchange[]
  /** Null: it answers well. */
  misbehave(how: ((response: ServerResponse) => void) | null): void
  stop(): Promise<void>
}

/** @param vectorOf a text's vector. */
export async function startEmbeddingService(vectorOf: (text: string) => readonly number[]): Promise<EmbeddingServer> {
  const exchanges: EmbeddingExchange[] = []
  let how: ((response: ServerResponse) => void) | null = null
  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = []
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
    const body = JSON.parse(Buffer.concat(chunks).toString('utf8')) as { readonly model: string; readonly input: string }
    exchanges.push({ headers: request.headers, body })
    if (how) return how(response)
    sendVector(response, vectorOf(body.input), body.model)
  }
  const server = createServer((request, response) => void handle(request, response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}/v1/embeddings`,
    exchanges,
    misbehave: (misbehaviour) => {
      how = misbehaviour
    },
    stop: async () => {
      server.closeAllConnections()
      await new Promise<void>((resolve) => server.close(() => resolve()))
    },
  }
}

export function sendVector(response: ServerResponse, embedding: unknown, model = 'm'): void {
  response.writeHead(200, { 'content-type': 'application/json' })
  response.end(JSON.stringify({ object: 'list', data: [{ object: 'embedding', index: 0, embedding }], model, usage: { prompt_tokens: 1, total_tokens: 1 } }))
}
