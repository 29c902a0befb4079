/**
 * SQL as a tree of text that stands in our source, quoted names, and parameters. No value and no name becomes text any other way: a template's holes take
 * fragments only.
 */
import type { ValueType } from '../../query/catalog.js'
import type { Operand } from '../../query/predicate.js'

/** How the value of a parameter becomes the text that PostgreSQL reads; see `parameter.ts`. */
export type Encoding =
  | { readonly kind: 'text' | 'int' | 'decimal' }
  /** A value of the contract, null unless it is canonical for its type and, where an integer or uuid column holds it (`native`), for that. */
  | { readonly kind: 'value'; readonly type: ValueType; readonly native: 'integer' | 'bigint' | 'uuid' | null }
  /** `<= value + by` or `>= value + by` over integers, clamped to the type's range. */
  | { readonly kind: 'atMost' | 'atLeast'; readonly by: 0 | 1 | -1 }
  /**
   * Contract enum name → stored values, as a list (several stored values may have one name). NULL for what is no name of the enum. `many`: the operand may be a
   * list of names; without it a list fits nothing.
   */
  | { readonly kind: 'stored'; readonly names: readonly string[]; readonly values: ReadonlyMap<string, readonly string[]>; readonly many: boolean }
  /** A list of the inner encoding, as an array literal; elements that cannot be are NULL. */
  | { readonly kind: 'list'; readonly element: Encoding }
  /** The n-th key value (`part` of `parts`) of global ids of this type and owner, as a list. */
  | {
      readonly kind: 'globalId'
      readonly type: string
      readonly organization: string
      readonly part: number
      readonly parts: number
      readonly element: Encoding
    }
  /** A LIKE pattern that finds the text at the start, or anywhere. */
  | { readonly kind: 'prefixPattern' | 'substringPattern' }
  /** The text after every text with this prefix in code point order; null where there is none. */
  | { readonly kind: 'prefixEnd' }
  | { readonly kind: 'limit'; readonly plus: number }
  /** A vector, as an array literal or as the text that pgvector reads. */
  | { readonly kind: 'vector'; readonly as: 'array' | 'text' }
  /** Of a list of times in order: by how much each is later than the one before it, where that is the same for all; null else. */
  | { readonly kind: 'stride' }
  /** SQL NULL, whatever the operand. */
  | { readonly kind: 'null' }

export interface Parameter {
  readonly operand: Operand
  readonly encoding: Encoding
  /** SQL type that the place is cast to; one place has one type. */
  readonly cast: string
}

type Part =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'name'; readonly path: readonly string[] }
  | { readonly kind: 'parameter'; readonly parameter: Parameter }

/** A tree: what is put together is not copied, so compiling costs as much as the text is long, however deep. (W3 of the bench: 117 us against 209.) */
export interface Fragment {
  readonly parts: readonly (Part | Fragment)[]
}

/** SQL text with fragments in its holes. */
export function sql(strings: TemplateStringsArray, ...holes: readonly Fragment[]): Fragment {
  const parts: (Part | Fragment)[] = []
  strings.forEach((text, index) => {
    if (text !== '') parts.push({ kind: 'text', text })
    const hole = holes[index]
    if (hole) parts.push(hole)
  })
  return { parts }
}

export const EMPTY: Fragment = { parts: [] }

/** A quoted name; dots between its steps. */
export function name(...path: readonly string[]): Fragment {
  return { parts: [{ kind: 'name', path }] }
}

/** A place for a value, cast to the SQL type. */
export function parameter(operand: Operand, encoding: Encoding, cast: SqlType | `${SqlType}[]`): Fragment {
  return { parts: [{ kind: 'parameter', parameter: { operand, encoding, cast } }] }
}

export type SqlType =
  | ('text' | 'integer' | 'bigint' | 'numeric' | 'double precision' | 'boolean' | 'timestamptz' | 'timestamp' | 'date' | 'interval' | 'uuid' | 'json' | 'jsonb')
  | 'real[]'

/** A string constant of the plan (response keys, type names, format strings): quoted, never of a request. */
export function constant(text: string): Fragment {
  const quoted = text.replaceAll("'", "''")
  return { parts: [{ kind: 'text', text: quoted.includes('\\') ? ` E'${quoted.replaceAll('\\', '\\\\')}'` : `'${quoted}'` }] }
}

export function join(fragments: readonly Fragment[], separator: string): Fragment {
  const between: Part = { kind: 'text', text: separator }
  const parts: (Part | Fragment)[] = []
  for (const fragment of fragments) {
    if (parts.length > 0) parts.push(between)
    parts.push(fragment)
  }
  return { parts }
}

export interface SqlText {
  readonly text: string
  readonly parameters: readonly Parameter[]
}

/** Text with `$n` for parameters; equal parameters share a place. */
export function render(fragment: Fragment): SqlText {
  const places = new Map<string, number>()
  const parameters: Parameter[] = []
  let text = ''
  eachPart(fragment, (part) => {
    if (part.kind === 'text') text += part.text
    else if (part.kind === 'name') text += quotedPath(part.path)
    else {
      const key = parameterKey(part.parameter)
      let place = places.get(key)
      if (place === undefined) {
        parameters.push(part.parameter)
        place = parameters.length
        places.set(key, place)
      }
      text += `$${place}::${part.parameter.cast}`
    }
  })
  return { text, parameters }
}

/** From left to right, as the text has them. */
export function eachPart(fragment: Fragment, visit: (part: Part) => void): void {
  for (const part of fragment.parts) {
    if ('parts' in part) eachPart(part, visit)
    else visit(part)
  }
}

/** Names with dots between them. */
export function quotedPath(path: readonly string[]): string {
  return path.map(quoteName).join('.')
}

/** The one way in which a name gets into SQL. A name with U+0000 cannot exist in PostgreSQL. */
export function quoteName(step: string): string {
  if (step === '' || step.includes('\0')) throw new Error('invariant: not a name')
  return `"${step.replaceAll('"', '""')}"`
}

function parameterKey(value: Parameter): string {
  // Only stored values have a map; with a replacer JSON takes several times as long.
  if (value.encoding.kind === 'value' || value.encoding.kind === 'limit') return JSON.stringify(value)
  return JSON.stringify(value, (_key, inner: unknown) => (inner instanceof Map ? [...inner] : inner))
}
