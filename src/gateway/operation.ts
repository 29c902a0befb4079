import { createHash } from 'node:crypto'
import type { ApolloServerPlugin, BaseContext, HTTPGraphQLRequest, HTTPGraphQLResponse } from '@apollo/server'
import { ApolloServer, HeaderMap } from '@apollo/server'
import {
  ApolloServerPluginLandingPageDisabled,
  ApolloServerPluginSchemaReportingDisabled,
  ApolloServerPluginUsageReportingDisabled,
} from '@apollo/server/plugin/disabled'
import type { FragmentDefinitionNode, GraphQLSchema, OperationDefinitionNode, ValidationRule } from 'graphql'
import { GraphQLError, Kind, OperationTypeNode } from 'graphql'
import { CODES, type Code } from '../errors.js'
import { checkDocument, type DocumentLimits } from './document-limits.js'

/** A document that was parsed and validated once. Knows nothing of who asks. */
export interface Operation {
  readonly name: string | null
  readonly text: string
  readonly definition: OperationDefinitionNode
  readonly fragments: ReadonlyMap<string, FragmentDefinitionNode>
  /** Whether an `@sovereignty` directive, introspection or foreign fields stand in it is the engine's business; it keeps what it derives here, bounded. */
  readonly derived: Map<string, unknown>
  /** Routes of the engine, bounded as well. */
  readonly routes: Map<string, unknown>
  /** SHA-256 of the text: every entry of a ledger has a digest of it. */
  readonly sha256: Uint8Array
}

/** An answer that Apollo framed because the document cannot be executed: parse and validation errors, unknown operations, GET with a mutation. */
export interface FramedRefusal {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly errors: readonly {
    readonly message: string
    readonly locations?: readonly { line: number; column: number }[]
    readonly extensions: Readonly<Record<string, unknown>> & { readonly code: string }
  }[]
}

export interface OperationRequest {
  readonly method: 'GET' | 'POST'
  readonly document: string
  readonly operationName: string | null
  readonly accept: 'graphql-response' | 'json'
}

export interface OperationParts {
  readonly schema: GraphQLSchema
  readonly limits: DocumentLimits
  /** Documents that are kept, and the bytes of their text. */
  readonly cache: { readonly operations: number; readonly operationBytes: number }
  readonly introspection: boolean
}

/**
 * Prepares documents through Apollo Server, which parses and validates them, finds the operation and formats what is wrong with them; nothing is executed there.
 * A document that has been prepared is kept, so that cold and warm requests take the same road from here on. What is kept knows nothing of who asks.
 */
export class Operations {
  readonly #kept = new Map<string, Operation>()
  #keptBytes = 0
  private constructor(
    private readonly apollo: ApolloServer<Capture>,
    private readonly parts: OperationParts,
  ) {}

  static async start(parts: OperationParts): Promise<Operations> {
    const apollo = new ApolloServer<Capture>({
      schema: parts.schema,
      introspection: parts.introspection,
      hideSchemaDetailsFromClientErrors: !parts.introspection,
      includeStacktraceInErrorResponses: false,
      // Nothing but a bearer token counts as proof of who asks, and browsers never attach one by themselves: a forged request has nobody's rights.
      csrfPrevention: false,
      documentStore: null,
      persistedQueries: false,
      stopOnTerminationSignals: false,
      validationRules: [OperationTypeExists],
      validationOptions: { maxErrors: ERRORS_MAX },
      logger: SILENT,
      plugins: [ApolloServerPluginLandingPageDisabled(), ApolloServerPluginUsageReportingDisabled(), ApolloServerPluginSchemaReportingDisabled(), CAPTURE],
    })
    await apollo.start()
    return new Operations(apollo, parts)
  }

  /** A document that has been prepared, without waiting; null where it has not. */
  known(request: OperationRequest): Operation | null {
    const key = operationKey(request)
    const kept = this.#kept.get(key)
    if (kept === undefined) return null
    this.#kept.delete(key)
    this.#kept.set(key, kept) // The last in the map is the one used last.
    return kept
  }

  /** @throws GatewayError QUERY_TOO_COSTLY, BAD_REQUEST */
  async prepare(request: OperationRequest): Promise<Operation | FramedRefusal> {
    const known = this.known(request)
    if (known) return known
    checkDocument(request.document, this.parts.limits)
    let captured: Captured | null = null as Captured | null
    const capture: Capture = { take: (operation) => (captured = operation) }
    const response = await this.apollo.executeHTTPGraphQLRequest({ httpGraphQLRequest: httpRequest(request), context: () => Promise.resolve(capture) })
    if (captured === null) return framed(response, request.accept)
    const operation = preparedOperation({ ...captured, text: request.document })
    // Only queries are kept: Apollo alone decides by which method another kind of operation may come.
    if (operation.definition.operation === OperationTypeNode.QUERY) this.#keep(operationKey(request), operation)
    return operation
  }

  async stop(): Promise<void> {
    await this.apollo.stop()
  }

  #keep(key: string, operation: Operation): void {
    if (this.#kept.has(key)) return
    const { operations, operationBytes } = this.parts.cache
    this.#kept.set(key, operation)
    this.#keptBytes += operation.text.length
    for (const [first, oldest] of this.#kept) {
      if (this.#kept.size <= operations && this.#keptBytes <= operationBytes) break
      this.#kept.delete(first)
      this.#keptBytes -= oldest.text.length
    }
  }
}

/** More would only cost: each is looked for in the whole document, and compared with all names of the schema. */
const ERRORS_MAX = 5

/** Apollo's own words never reach the log: they can quote the document. */
const SILENT = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined }

type Captured = Pick<Operation, 'name' | 'definition' | 'fragments'>

/** Apollo hands a copy of its context on, so it holds a way to answer and not a place for the answer. */
interface Capture extends BaseContext {
  readonly take: (operation: Captured) => void
}

/** An operation of a kind that the schema does not have passes the rules of graphql-js and fails only when it is executed. */
const OperationTypeExists: ValidationRule = (context) => ({
  OperationDefinition: (node) => {
    if (context.getSchema().getRootType(node.operation) === undefined)
      context.reportError(new GraphQLError(`The schema has no ${node.operation}.`, { nodes: node }))
  },
})

/** Takes the operation once Apollo has validated and resolved it, and leaves nothing to execute. */
const CAPTURE: ApolloServerPlugin<Capture> = {
  requestDidStart: () =>
    Promise.resolve({
      responseForOperation: ({ document, operation, contextValue }) => {
        // Without an operation Apollo goes on to say why.
        if (operation === undefined) return Promise.resolve(null)
        const fragments = document.definitions.filter((definition): definition is FragmentDefinitionNode => definition.kind === Kind.FRAGMENT_DEFINITION)
        contextValue.take({
          name: operation.name?.value ?? null,
          definition: operation,
          fragments: new Map(fragments.map((fragment) => [fragment.name.value, fragment])),
        })
        return Promise.resolve({ http: { status: 200, headers: new HeaderMap() }, body: { kind: 'single', singleResult: {} } })
      },
    }),
}

/** The length keeps a document and a name from being read as other ones. */
function operationKey({ document, operationName }: OperationRequest): string {
  return operationName === null ? `-${document}` : `+${operationName.length}:${operationName}${document}`
}

export function preparedOperation(parts: Pick<Operation, 'name' | 'text' | 'definition' | 'fragments'>): Operation {
  return { ...parts, derived: new Map(), routes: new Map(), sha256: createHash('sha256').update(parts.text).digest() }
}

/** Variables stay behind: they are checked when the operation is bound, by the same code for cold and warm requests. */
function httpRequest({ method, document, operationName }: OperationRequest): HTTPGraphQLRequest {
  const body = { query: document, ...(operationName !== null && { operationName }) }
  const headers = new HeaderMap([['accept', 'application/json']])
  if (method === 'GET') return { method, headers, search: `?${new URLSearchParams(body).toString()}`, body: undefined }
  headers.set('content-type', 'application/json')
  return { method, headers, search: '', body }
}

function framed(response: HTTPGraphQLResponse, accept: OperationRequest['accept']): FramedRefusal {
  if (response.body.kind !== 'complete') throw new Error('invariant: Apollo streamed a refusal')
  // Apollo's own text: the errors are graphql-js's `toJSON`, with a code each.
  const { errors } = JSON.parse(response.body.string) as { errors?: FramedRefusal['errors'] }
  if (errors === undefined || errors.length === 0) throw new Error('invariant: Apollo captured nothing and refused nothing')
  const code = errors[0]?.extensions.code ?? ''
  if (!Object.hasOwn(CODES, code)) throw new Error(`invariant: Apollo refused with ${code}`)
  const wellFormed = CONCERNS_DOCUMENT.has(code)
  return {
    status: accept === 'json' && wellFormed ? 200 : (response.status ?? 400),
    headers: Object.fromEntries([...response.headers].filter(([name]) => name === 'allow')),
    errors: errors.map(({ message, locations, extensions }) => ({
      message,
      ...(locations !== undefined && { locations }),
      extensions: { code: extensions.code },
    })),
  }
}

const CONCERNS_DOCUMENT: ReadonlySet<string> = new Set(['GRAPHQL_PARSE_FAILED', 'GRAPHQL_VALIDATION_FAILED', 'OPERATION_RESOLUTION_FAILURE'] satisfies Code[])
