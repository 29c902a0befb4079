/** Cypher as text that stands in our source, quoted names, parameters, and places that are filled for each request. No value becomes text. */
import type { Values } from '../connector.js'

export type Cypher = readonly Part[]

type Part =
  | string
  /** A parameter of the statement. */
  | { readonly kind: 'value'; readonly value: unknown }
  /** Where a value of the request, a claim or a constant of the plan goes. */
  | { readonly kind: 'place'; readonly label: string; readonly make: (values: Values) => Cypher }

/** Text with fragments in its holes. */
export function cypher(strings: TemplateStringsArray, ...holes: readonly Cypher[]): Cypher {
  return strings.flatMap((text, index): Part[] => [...(text === '' ? [] : [text]), ...(holes[index] ?? [])])
}

export function value(of: unknown): Cypher {
  return [{ kind: 'value', value: of }]
}

export function place(label: string, make: (values: Values) => Cypher): Cypher {
  return [{ kind: 'place', label, make }]
}

/** A whole number that is checked to be one. */
export function integerText(of: number): Cypher {
  if (!Number.isSafeInteger(of) || of < 0) throw new Error('invariant: not a count')
  return [String(of)]
}

/** The one way in which a name gets into a statement. A backslash stands as an escape of its own, since escapes are read before anything else is. */
export function name(of: string): Cypher {
  if (of === '' || of.includes('\0')) throw new Error('invariant: not a name')
  return [`\`${of.replaceAll('\\', '\\u005C').replaceAll('`', '``')}\``]
}

export const TRUE: Cypher = ['true']
export const FALSE: Cypher = ['false']
/** Of a condition: unknown. */
export const NULL: Cypher = ['null']

export function join(of: readonly Cypher[], separator: string): Cypher {
  return of.flatMap((each, index) => (index === 0 ? each : [separator, ...each]))
}

export function allOf(terms: readonly Cypher[]): Cypher {
  const rest = terms.filter((term) => term !== TRUE)
  if (rest.includes(FALSE)) return FALSE
  const [only] = rest
  return rest.length === 1 && only ? only : rest.length === 0 ? TRUE : cypher`(${join(rest, ' AND ')})`
}

export function anyOf(terms: readonly Cypher[]): Cypher {
  const rest = terms.filter((term) => term !== FALSE)
  if (rest.includes(TRUE)) return TRUE
  const [only] = rest
  return rest.length === 1 && only ? only : rest.length === 0 ? FALSE : cypher`(${join(rest, ' OR ')})`
}

export function not(term: Cypher): Cypher {
  return term === TRUE ? FALSE : term === FALSE ? TRUE : cypher`(NOT ${term})`
}

export function isKnown(of: Cypher): Cypher {
  return cypher`(${of} IS NOT NULL)`
}

/** The statement with its values. */
export function filled(of: Cypher, values: Values): { readonly text: string; readonly parameters: Readonly<Record<string, unknown>> } {
  const parameters: Record<string, unknown> = {}
  let count = 0
  const textOf = (parts: Cypher): string =>
    parts
      .map((part) => {
        if (typeof part === 'string') return part
        if (part.kind === 'place') return textOf(part.make(values))
        const own = `p${count++}`
        parameters[own] = part.value
        return `$${own}`
      })
      .join('')
  return { text: textOf(of), parameters }
}

/** As text, with the names of places. */
export function printed(of: Cypher): string {
  return of.map((part) => (typeof part === 'string' ? part : part.kind === 'place' ? `<${part.label}>` : '<constant>')).join('')
}
