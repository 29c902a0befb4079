/**
 * What a document may be before anybody validates it. graphql-js parses by recursion and validates some rules in quadratic time: 15 KB can overflow the stack and
 * 5 KB can take 100 ms. Everything here is linear in the document, or bounded by the limits themselves.
 */
import type { DocumentNode, FragmentDefinitionNode, OperationDefinitionNode, SelectionNode, SelectionSetNode } from 'graphql'
import { Kind, Lexer, parse, Source, TokenKind, visit } from 'graphql'
import { GatewayError } from '../errors.js'

export interface DocumentLimits {
  readonly documentBytes: number
  readonly tokens: number
  /** Brackets within each other, and levels of selections with fragments in place. */
  readonly depth: number
  readonly operations: number
  readonly fields: number
  readonly aliases: number
  readonly directives: number
  readonly fragments: number
  readonly rootFields: number
  /** Fields and spreads of an operation with fragments in place. */
  readonly expandedFields: number
  /** Pairs of fields that answer under one name, which validation compares. */
  readonly comparisons: number
}

/**
 * Refuses a document that is too large, deep or costly to be prepared. What is not valid GraphQL passes: the parser says it better.
 * @throws GatewayError QUERY_TOO_COSTLY, or BAD_REQUEST for an alias that JavaScript reserves.
 */
export function checkDocument(text: string, limits: DocumentLimits): void {
  const bytes = Buffer.byteLength(text)
  if (bytes > limits.documentBytes) throw costly(`the document has ${bytes} bytes of ${limits.documentBytes}`)
  if (!checkTokens(text, limits)) return
  const document = parsed(text)
  if (document === null) return
  countNodes(document, limits)
  const expansion = new Expansion(document, limits)
  for (const definition of document.definitions) if ('selectionSet' in definition) expansion.check(definition)
}

function fragmentsOf(document: DocumentNode): ReadonlyMap<string, FragmentDefinitionNode> {
  const fragments = document.definitions.filter((definition): definition is FragmentDefinitionNode => definition.kind === Kind.FRAGMENT_DEFINITION)
  return new Map(fragments.map((fragment) => [fragment.name.value, fragment]))
}

function costly(detail: string): GatewayError {
  return new GatewayError('QUERY_TOO_COSTLY', detail)
}

function parsed(text: string): DocumentNode | null {
  try {
    return parse(text, { noLocation: true })
  } catch {
    return null
  }
}

/** Whether the text can be read as tokens. */
function checkTokens(text: string, limits: DocumentLimits): boolean {
  const lexer = new Lexer(new Source(text))
  let [count, depth] = [0, 0]
  try {
    for (let token = lexer.advance(); token.kind !== TokenKind.EOF; token = lexer.advance()) {
      count += 1
      depth += OPENING.has(token.kind) ? 1 : CLOSING.has(token.kind) ? -1 : 0
      if (count > limits.tokens) break
      if (depth > limits.depth) break
    }
  } catch {
    return false
  }
  if (count > limits.tokens) throw costly(`the document has more than ${limits.tokens} tokens`)
  if (depth > limits.depth) throw costly(`the document has more than ${limits.depth} brackets within each other`)
  return true
}

const OPENING: ReadonlySet<TokenKind> = new Set([TokenKind.BRACE_L, TokenKind.BRACKET_L, TokenKind.PAREN_L])
const CLOSING: ReadonlySet<TokenKind> = new Set([TokenKind.BRACE_R, TokenKind.BRACKET_R, TokenKind.PAREN_R])

/** An object with such a key is not what it seems to the code that reads it. */
const RESERVED: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype'])

function countNodes(document: DocumentNode, limits: DocumentLimits): void {
  const counts = { fields: 0, aliases: 0, directives: 0, fragments: 0, operations: 0 }
  const count = (what: keyof typeof counts): void => {
    counts[what] += 1
    if (counts[what] > limits[what]) throw costly(`the document has more than ${limits[what]} ${what}`)
  }
  visit(document, {
    OperationDefinition: () => {
      count('operations')
    },
    FragmentDefinition: () => {
      count('fragments')
    },
    Directive: () => {
      count('directives')
    },
    Field: ({ alias }) => {
      count('fields')
      if (alias === undefined) return
      count('aliases')
      if (RESERVED.has(alias.value)) throw new GatewayError('BAD_REQUEST', `the alias \`${alias.value}\` is reserved`)
    },
  })
  checkIntrospection(document)
}

/**
 * The answer to an introspection is made in one go, so it may not be multiplied: no alias in it, no list of a type's parts below another one, and not more than
 * two of them. Tools need nothing of the kind.
 */
function checkIntrospection(document: DocumentNode): void {
  const fragments = fragmentsOf(document)
  const seen = new Set<string>()
  let found = 0
  const inside = (set: SelectionSetNode, listed: boolean): void => {
    for (const selection of set.selections) {
      if (selection.kind === Kind.INLINE_FRAGMENT) inside(selection.selectionSet, listed)
      else if (selection.kind === Kind.FRAGMENT_SPREAD) {
        const [mark, fragment] = [`${listed ? '1' : '0'} ${selection.name.value}`, fragments.get(selection.name.value)]
        if (seen.has(mark) || fragment === undefined) continue
        seen.add(mark)
        inside(fragment.selectionSet, listed)
      } else {
        const lists = PARTS.has(selection.name.value)
        if (selection.alias !== undefined) throw costly('an introspection has aliases')
        if (lists && listed) throw costly('an introspection asks for parts of the types of parts')
        if (selection.selectionSet !== undefined) inside(selection.selectionSet, listed || lists)
      }
    }
  }
  visit(document, {
    Field: ({ name, selectionSet }) => {
      if (name.value !== '__schema' && name.value !== '__type') return undefined
      found += 1
      if (found > INTROSPECTIONS) throw costly('the document has too many introspections')
      if (selectionSet !== undefined) inside(selectionSet, false)
      return false
    },
  })
}

const PARTS: ReadonlySet<string> = new Set(['fields', 'inputFields', 'interfaces', 'possibleTypes'])
const INTROSPECTIONS = 2

/** Operations and fragments, with each fragment where it is spread. */
class Expansion {
  readonly #fragments: ReadonlyMap<string, FragmentDefinitionNode>
  /** Of each fragment; null while it is being counted. */
  readonly #known = new Map<string, Size | null>()
  #comparisons = 0
  constructor(
    document: DocumentNode,
    private readonly limits: DocumentLimits,
  ) {
    this.#fragments = fragmentsOf(document)
  }

  check(definition: OperationDefinitionNode | FragmentDefinitionNode): void {
    const { selectionSet } = definition
    const { fields, depth } = this.#size(selectionSet)
    if (fields > this.limits.expandedFields) throw costly(`more than ${this.limits.expandedFields} fields with fragments in place`)
    if (depth > this.limits.depth) throw costly(`more than ${this.limits.depth} levels with fragments in place`)
    const roots = [...this.#byResponseName([selectionSet]).values()].flat().length
    if (definition.kind === Kind.OPERATION_DEFINITION && roots > this.limits.rootFields)
      throw costly(`an operation has more than ${this.limits.rootFields} root fields`)
    this.#compare([selectionSet])
  }

  #size(selectionSet: SelectionSetNode): Size {
    const sizes = selectionSet.selections.map((selection) => this.#sizeOf(selection))
    return { fields: sizes.reduce((sum, { fields }) => sum + fields, 0), depth: sizes.reduce((most, { depth }) => Math.max(most, depth), 0) }
  }

  #sizeOf(selection: SelectionNode): Size {
    const inner =
      selection.kind === Kind.FRAGMENT_SPREAD
        ? this.#sizeOfFragment(selection.name.value)
        : selection.selectionSet === undefined
          ? NOTHING
          : this.#size(selection.selectionSet)
    // A spread counts as a field, for it has to be walked; it is no level of its own.
    return { fields: inner.fields + 1, depth: inner.depth + (selection.kind === Kind.FIELD ? 1 : 0) }
  }

  #sizeOfFragment(name: string): Size {
    const known = this.#known.get(name)
    if (known === null) throw new GatewayError('GRAPHQL_VALIDATION_FAILED', `the fragment \`${name}\` is spread within itself`)
    if (known !== undefined) return known
    const fragment = this.#fragments.get(name)
    this.#known.set(name, null)
    const size = fragment === undefined ? NOTHING : this.#size(fragment.selectionSet)
    this.#known.set(name, size)
    return size
  }

  /** Counts the pairs that validation compares; the walk itself is bounded by `expandedFields`. */
  #compare(sets: readonly SelectionSetNode[]): void {
    for (const inner of this.#byResponseName(sets).values()) {
      this.#comparisons += (inner.length * (inner.length - 1)) / 2
      if (this.#comparisons > this.limits.comparisons) throw costly('too many fields answer under one name')
      const below = inner.filter((set): set is SelectionSetNode => set !== undefined)
      if (below.length > 0) this.#compare(below)
    }
  }

  /** The selection sets of the fields under each response name; a fragment counts once in a set, as in execution. */
  #byResponseName(sets: readonly SelectionSetNode[]): Map<string, (SelectionSetNode | undefined)[]> {
    const names = new Map<string, (SelectionSetNode | undefined)[]>()
    const seen = new Set<string>()
    const collect = (set: SelectionSetNode): void => {
      for (const selection of set.selections) {
        if (selection.kind === Kind.FIELD) {
          const name = selection.alias?.value ?? selection.name.value
          const inner = names.get(name)
          if (inner === undefined) names.set(name, [selection.selectionSet])
          else inner.push(selection.selectionSet)
        } else if (selection.kind === Kind.INLINE_FRAGMENT) collect(selection.selectionSet)
        else if (!seen.has(selection.name.value)) {
          seen.add(selection.name.value)
          const fragment = this.#fragments.get(selection.name.value)
          if (fragment !== undefined) collect(fragment.selectionSet)
        }
      }
    }
    sets.forEach(collect)
    return names
  }
}

interface Size {
  readonly fields: number
  readonly depth: number
}
const NOTHING: Size = { fields: 0, depth: 0 }
