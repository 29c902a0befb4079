/** Pipelines with places for values: a compiled pipeline holds none of a request, and is filled anew for each. */
import type { Values } from '../connector.js'

/** What stands where a value of the request, a claim or a constant of the plan goes. `make` gives expressions in which every value is a literal. */
export class Place {
  constructor(
    readonly label: string,
    readonly make: (values: Values) => Template,
  ) {}
}

/** An expression or a stage: BSON values, operators and places. */
export type Template = unknown
export type Stage = Readonly<Record<string, Template>>

/** The text, number or other BSON value itself, whatever it looks like: the server reads no operator, path or variable in it. */
export function literal(value: unknown): Template {
  return { $literal: value }
}

/** The pipeline with its values. Only plain objects and lists are walked, and never what stands under `$literal`. */
export function filled(template: Template, values: Values): unknown {
  if (template instanceof Place) return filled(template.make(values), values)
  if (Array.isArray(template)) return template.map((item) => filled(item, values))
  if (!isPlain(template) || '$literal' in template) return template
  return Object.fromEntries(Object.entries(template).map(([name, inner]) => [name, filled(inner, values)]))
}

/** As text, with the names of places. */
export function printed(template: Template): string {
  return JSON.stringify(template, (_, inner: unknown) => (inner instanceof Place ? `<${inner.label}>` : inner))
}

function isPlain(value: unknown): value is Readonly<Record<string, Template>> {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype
}

export function allOf(terms: readonly Template[]): Template {
  return terms.length === 1 ? terms[0] : terms.length === 0 ? true : { $and: terms }
}

export function anyOf(terms: readonly Template[]): Template {
  return terms.length === 1 ? terms[0] : terms.length === 0 ? false : { $or: terms }
}

export function negated(term: Template): Template {
  return { $not: [term] }
}

export function isKnown(value: Template): Template {
  return { $ne: [value, null] }
}
