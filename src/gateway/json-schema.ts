/**
 * JSON Schema (draft 2020-12), as far as the schemas of policy files use it. A schema with another keyword is refused, so none is overlooked.
 *
 * A validator that generates code for any schema took 290 ms of CPU at each start to load and compile these two; this takes 7 ms. A test holds the two against each
 * other.
 */
import { isDeepStrictEqual } from 'node:util'
import type { Path } from '../policy/reading.js'

export interface SchemaMistake {
  readonly path: Path
  readonly problem: string
}

/** What a schema says against a JSON value; empty where it fits. */
export type SchemaCheck = (content: unknown) => readonly SchemaMistake[]

/** @throws Error where the schema is none, or has a keyword that is not known here. */
export function schemaCheck(schema: unknown): SchemaCheck {
  const reader = new SchemaReader(schema)
  const check = reader.check(schema)
  return (content) => check(content, [])
}

type Check = (value: unknown, path: Path) => readonly SchemaMistake[]
type JsonObject = Readonly<Record<string, unknown>>

const NO_MISTAKES: readonly SchemaMistake[] = []
/** Keywords that say nothing about a value. */
const ANNOTATIONS: ReadonlySet<string> = new Set(['$schema', '$id', '$defs', 'title', 'description'])

class SchemaReader {
  readonly #definitions: JsonObject
  /** By name; a definition may refer to itself. */
  readonly #defined = new Map<string, Check>()

  constructor(top: unknown) {
    this.#definitions = objectOf(objectOf(top)['$defs'] ?? {})
    for (const [name, definition] of Object.entries(this.#definitions)) this.#defined.set(name, this.check(definition))
  }

  check(schema: unknown): Check {
    const keywords = objectOf(schema)
    const checks = Object.keys(keywords).flatMap((keyword) => (ANNOTATIONS.has(keyword) ? [] : [this.#keyword(keyword, keywords)]))
    return (value, path) => checks.flatMap((check) => check(value, path))
  }

  #keyword(keyword: string, keywords: JsonObject): Check {
    const argument = keywords[keyword]
    switch (keyword) {
      case '$ref':
        return this.#reference(argument)
      case 'type':
        return typeCheck(Array.isArray(argument) ? argument.map(textOf) : [textOf(argument)])
      case 'const':
        return rule((value) => value === argument, `is not ${JSON.stringify(argument)}`)
      case 'enum': {
        const values = listOf(argument)
        return rule((value) => values.includes(value), `is none of ${values.map((value) => JSON.stringify(value)).join(', ')}`)
      }
      case 'anyOf':
        return this.#forms(argument, (fitting) => fitting >= 1)
      case 'oneOf':
        return this.#forms(argument, (fitting) => fitting === 1)
      case 'pattern': {
        const pattern = new RegExp(textOf(argument), 'u')
        return rule((value) => typeof value !== 'string' || pattern.test(value), `does not match ${pattern.source}`)
      }
      case 'items': {
        const item = this.check(argument)
        return (value, path) => (Array.isArray(value) ? value.flatMap((each, index) => item(each, [...path, index])) : NO_MISTAKES)
      }
      case 'uniqueItems':
        return rule((value) => argument !== true || !Array.isArray(value) || !hasTwins(value), 'has an item twice')
      case 'required': {
        const names = listOf(argument).map(textOf)
        return (value, path) =>
          isObject(value) ? names.filter((name) => !Object.hasOwn(value, name)).map((name) => ({ path, problem: `lacks \`${name}\`` })) : NO_MISTAKES
      }
      case 'properties':
        return this.#properties(argument)
      case 'additionalProperties':
        return this.#additional(argument, new Set(Object.keys(objectOf(keywords['properties'] ?? {}))))
      case 'propertyNames': {
        const name = this.check(argument)
        return (value, path) => (isObject(value) ? Object.keys(value).flatMap((key) => name(key, path)) : NO_MISTAKES)
      }
      default:
        return boundCheck(keyword, argument)
    }
  }

  #reference(argument: unknown): Check {
    const name = /^#\/\$defs\/(\w+)$/.exec(textOf(argument))?.[1]
    if (name === undefined || !Object.hasOwn(this.#definitions, name)) throw new Error(`the schema refers to ${JSON.stringify(argument)}, which is not there`)
    // Looked up when it is used: by then every definition has been read.
    return (value, path) => this.#defined.get(name)?.(value, path) ?? unknownPart(`reference to ${name}`)
  }

  #forms(argument: unknown, fits: (fitting: number) => boolean): Check {
    const forms = listOf(argument).map((form) => this.check(form))
    return (value, path) =>
      fits(forms.filter((form) => form(value, path).length === 0).length)
        ? NO_MISTAKES
        : [{ path, problem: 'has none of the forms that it may have, or several' }]
  }

  #properties(argument: unknown): Check {
    const properties = Object.entries(objectOf(argument)).map(([name, schema]) => [name, this.check(schema)] as const)
    return (value, path) =>
      isObject(value) ? properties.flatMap(([name, check]) => (Object.hasOwn(value, name) ? check(value[name], [...path, name]) : [])) : NO_MISTAKES
  }

  #additional(argument: unknown, named: ReadonlySet<string>): Check {
    const check: Check = argument === false ? (_value, path) => [{ path, problem: 'is not known here' }] : this.check(argument)
    return (value, path) => (isObject(value) ? Object.keys(value).flatMap((name) => (named.has(name) ? [] : check(value[name], [...path, name]))) : NO_MISTAKES)
  }
}

function rule(fits: (value: unknown) => boolean, problem: string): Check {
  return (value, path) => (fits(value) ? NO_MISTAKES : [{ path, problem }])
}

const TYPES: Readonly<Record<string, (value: unknown) => boolean>> = {
  null: (value) => value === null,
  boolean: (value) => typeof value === 'boolean',
  number: (value) => typeof value === 'number',
  integer: (value) => Number.isInteger(value),
  string: (value) => typeof value === 'string',
  array: Array.isArray,
  object: isObject,
}

function typeCheck(names: readonly string[]): Check {
  const types = names.map((name) => TYPES[name] ?? unknownPart(`type ${name}`))
  return rule((value) => types.some((type) => type(value)), `is no ${names.join(' or ')}`)
}

/** What is measured of a value; null: nothing, and every bound fits. Texts are measured in code points. */
const MEASURES: Readonly<Record<string, (value: unknown) => number | null>> = {
  imum: (value) => (typeof value === 'number' ? value : null),
  Length: (value) => (typeof value === 'string' ? Array.from(value).length : null),
  Items: (value) => (Array.isArray(value) ? value.length : null),
  Properties: (value) => (isObject(value) ? Object.keys(value).length : null),
}

function boundCheck(keyword: string, argument: unknown): Check {
  const [, end = '', what = ''] = /^(min|max)(imum|Length|Items|Properties)$/.exec(keyword) ?? []
  const measure = MEASURES[what] ?? unknownPart(`keyword ${keyword}`)
  if (typeof argument !== 'number') throw new Error(`the schema has a ${keyword} that is no number`)
  return rule(
    (value) => {
      const measured = measure(value)
      return measured === null || (end === 'min' ? measured >= argument : measured <= argument)
    },
    `is ${end === 'min' ? 'below' : 'above'} ${keyword} ${argument}`,
  )
}

function hasTwins(items: readonly unknown[]): boolean {
  const scalars = new Set(items.filter((item) => typeof item !== 'object' || item === null))
  const others = items.filter((item) => typeof item === 'object' && item !== null)
  return scalars.size + others.length < items.length || others.some((item, index) => others.slice(0, index).some((other) => isDeepStrictEqual(item, other)))
}

function unknownPart(what: string): never {
  throw new Error(`the schema has the ${what}, which is not known here`)
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function objectOf(value: unknown): JsonObject {
  if (!isObject(value)) throw new Error('the schema has something else where an object belongs')
  return value
}

function listOf(value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw new Error('the schema has something else where a list belongs')
  return value
}

function textOf(value: unknown): string {
  if (typeof value !== 'string') throw new Error('the schema has something else where a text belongs')
  return value
}
