/**
 * Checked reading of a policy file's content. Every mistake of a file is found in one go, each with its path; a value that could not be read is `null`, and a
 * file with a mistake gives nothing.
 */

/** Keys and list positions from the top of a file. */
export type Path = readonly (string | number)[]

export interface Mistake {
  readonly path: Path
  /** What is wrong and what to write instead, without a full stop; names in backticks. */
  readonly problem: string
}

/** `roles.analyst.read.Agent[0].rows`; keys that are no plain names stand in brackets. */
export function printPath(path: Path): string {
  return path.map((step, index) => printStep(step, index === 0)).join('')
}

function printStep(step: string | number, first: boolean): string {
  if (typeof step === 'number') return `[${step}]`
  if (!/^[\w-]+$/.test(step)) return `[${JSON.stringify(step.slice(0, 60))}]`
  return first ? step : `.${step}`
}

/** Names that reach into JavaScript's own objects. No policy has a use for them. */
const PROTOTYPE_NAMES: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype', 'toString', 'valueOf', 'hasOwnProperty'])

export function isPrototypeName(name: string): boolean {
  return PROTOTYPE_NAMES.has(name) || name.startsWith('__')
}

/** Own keys and values of a mapping; what comes from YAML or JSON has no others. */
export type Entries = ReadonlyMap<string, unknown>

export class Reading {
  readonly mistakes: Mistake[] = []

  /** Notes a mistake; returns null, so that a reader can end with it. */
  mistake(path: Path, problem: string): null {
    this.mistakes.push({ path, problem })
    return null
  }

  entries(value: unknown, path: Path, expects: string): Entries | null {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return this.mistake(path, `expects ${expects}`)
    const entries = new Map(Object.entries(value))
    const hostile = [...entries.keys()].filter(isPrototypeName)
    for (const name of hostile) this.mistake([...path, name], 'is not a name that can stand here')
    return hostile.length > 0 ? null : entries
  }

  /** A mapping with these keys and no others. */
  object(value: unknown, path: Path, keys: { readonly required: readonly string[]; readonly optional: readonly string[] }): Entries | null {
    const known = [...keys.required, ...keys.optional]
    const entries = this.entries(value, path, `a mapping with ${quoted(known)}`)
    if (!entries) return null
    const unknown = [...entries.keys()].filter((name) => !known.includes(name))
    const missing = keys.required.filter((name) => !entries.has(name))
    for (const name of unknown) this.mistake([...path, name], `is unknown; known here are ${quoted(known)}`)
    for (const name of missing) this.mistake(path, `lacks \`${name}\``)
    return unknown.length > 0 || missing.length > 0 ? null : entries
  }

  text(value: unknown, path: Path, pattern: RegExp, expects: string): string | null {
    if (typeof value !== 'string' || value.length > 500 || !pattern.test(value) || isPrototypeName(value)) return this.mistake(path, `expects ${expects}`)
    return value
  }

  /** A list of different names, at most 1,000. */
  names(value: unknown, path: Path, options: { readonly pattern: RegExp; readonly expects: string; readonly min: 0 | 1 }): readonly string[] | null {
    if (!Array.isArray(value) || value.length < options.min || value.length > 1_000) {
      return this.mistake(path, `expects a list of ${options.expects}${options.min === 1 ? ', at least one' : ''}`)
    }
    const names = value.map((item: unknown, index) => this.text(item, [...path, index], options.pattern, options.expects))
    names.forEach((name, index) => {
      if (name !== null && names.indexOf(name) !== index) this.mistake([...path, index], 'stands twice in this list')
    })
    return names.every((name) => name !== null) ? names : null
  }

  version(value: unknown, path: Path): number | null {
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 1) return this.mistake(path, 'expects a whole number from 1')
    return value
  }
}

export function quoted(names: readonly string[]): string {
  return names.map((name) => `\`${name}\``).join(', ')
}

/** Names of purposes, roles and organizations. */
export const NAME = /^[A-Za-z][A-Za-z0-9._-]{0,63}$/
