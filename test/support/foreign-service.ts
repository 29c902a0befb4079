/** A foreign GraphQL service for tests: a real one over HTTP, which can also be made to misbehave. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buildSchema, graphql } from 'graphql'

export interface ForeignExchange {
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly query: string
  readonly variables: Readonly<Record<string, unknown>>
}

/** What the service does instead of answering; `answer` gives what it would have said. */
export type Misbehaviour = (exchange: ForeignExchange, response: ServerResponse, answer: () => Promise<Record<string, unknown>>) => void | Promise<void>

export interface ForeignServer {
  readonly url: string
  /** Requests so far, in order of arrival. */
  readonly exchanges: ForeignExchange[]
  /** Null: it answers well. */
  misbehave(how: Misbehaviour | null): void
  stop(): Promise<void>
}

/** @param root resolvers of the fields of `Query`. */
export async function startForeignService(sdl: string, root: Readonly<Record<string, unknown>>): Promise<ForeignServer> {
  const schema = buildSchema(sdl)
  const exchanges: ForeignExchange[] = []
  let how: Misbehaviour | null = null
  const server = createServer((request, response) => void handle(request, response))
  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = []
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
    const { query, variables } = JSON.parse(Buffer.concat(chunks).toString('utf8')) as { query: string; variables: Record<string, unknown> }
    const exchange = { headers: request.headers, query, variables }
    exchanges.push(exchange)
    const answer = async (): Promise<Record<string, unknown>> => ({ ...(await graphql({ schema, source: query, rootValue: root, variableValues: variables })) })
    if (how) await how(exchange, response, answer)
    else sendJson(response, await answer())
  }
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}/graphql`,
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

export function sendJson(response: ServerResponse, body: unknown): void {
  response.writeHead(200, { 'content-type': 'application/graphql-response+json; charset=utf-8' })
  response.end(JSON.stringify(body))
}
