import type { FragmentDefinitionNode, OperationDefinitionNode } from 'graphql'

/** A document that was parsed and validated once. Knows nothing of who asks. */
export interface Operation {
  /** SHA-256 of document and operation name, base64url. */
  readonly id: string
  readonly name: string | null
  readonly text: string
  readonly definition: OperationDefinitionNode
  readonly fragments: ReadonlyMap<string, FragmentDefinitionNode>
  /** Whether an `@sovereignty` directive, introspection or foreign fields stand in it is the engine's business; it keeps what it derives here, bounded. */
  readonly derived: Map<string, unknown>
}

/** An answer that Apollo framed because the document cannot be executed: parse and validation errors, unknown operations, GET with a mutation. */
export interface FramedRefusal {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly errors: readonly { readonly message: string; readonly locations?: readonly { line: number; column: number }[]; readonly extensions: Readonly<Record<string, unknown>> & { readonly code: string } }[]
}
