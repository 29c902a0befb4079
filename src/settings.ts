/**
 * Checked reading of a settings file in YAML 1.2 (core schema). A reader checks a value once and gives a stronger type; every mistake of a file is found in one
 * go, each with its path, its line and what to write instead. Anchors, aliases, tags, duplicate and unknown keys are refused: a file means what it shows.
 */
import { readFileSync, statSync } from 'node:fs'
import { isAbsolute, resolve } from 'node:path'
import { inspect } from 'node:util'
import { isAlias, isMap, isNode, isScalar, isSeq, LineCounter, parseDocument, visit, type Document, type Node, type Pair } from 'yaml'

export interface Mistake {
  /** Keys from the top, such as `gateway.limits.deadline`; empty for the file as a whole. */
  readonly path: string
  /** From 1. */
  readonly line: number
  readonly column: number
  /** What is wrong, as a clause without a full stop. */
  readonly problem: string
  /** What to write instead, as a clause without a full stop; empty where there is nothing to say. */
  readonly instead: string
}

/** The file cannot be used. The message lists every mistake, a line each, as `file:line:column path: problem; instead`. */
export class SettingsError extends Error {
  constructor(
    readonly file: string,
    readonly mistakes: readonly Mistake[],
  ) {
    super(mistakes.map((mistake) => describeMistake(file, mistake)).join('\n'))
    this.name = 'SettingsError'
  }
}

function describeMistake(file: string, { path, line, column, problem, instead }: Mistake): string {
  return `${file}:${line}:${column} ${path === '' ? '' : `${path}: `}${problem}${instead === '' ? '' : `; ${instead}`}`
}

/** A value that must not be printed. It shows as `[secret]` wherever it is logged, inspected or turned into JSON. */
export class Secret {
  readonly #value: string
  constructor(value: string) {
    this.#value = value
  }
  reveal(): string {
    return this.#value
  }
  toJSON(): string {
    return '[secret]'
  }
  toString(): string {
    return '[secret]'
  }
  [inspect.custom](): string {
    return '[secret]'
  }
}

/** Stands for a value that could not be read; its mistake has been reported. */
const MISTAKEN = Symbol('mistaken')
type Read<T> = T | typeof MISTAKEN

/** What the reading of one file knows. */
export interface Surroundings {
  /** As messages name it. */
  readonly file: string
  /** Relative paths in the file start here. */
  readonly directory: string
  readonly environment: Readonly<Record<string, string | undefined>>
}

interface OpenFile extends Surroundings {
  readonly lines: LineCounter
  readonly mistakes: Mistake[]
}

/** A value in the file, present or missing. */
interface Place {
  readonly open: OpenFile
  readonly path: string
  /** Character position that a message points at. */
  readonly offset: number
  readonly node: Node | null
}

export interface Reader<T> {
  /** What belongs here, to stand after "write", such as `a duration such as 2s`. */
  readonly expects: string
  readonly read: (at: Place) => Read<T>
  /** Keys below this value, for the documentation. */
  readonly keys?: (path: string) => readonly DocumentedKey[]
}

export interface DocumentedKey {
  readonly path: string
  readonly expects: string
  /** `required`, or the default as the file would have it. */
  readonly fallback: string
  readonly about: string
}

function mistake(at: Place, problem: string, instead: string): typeof MISTAKEN {
  const { line, col } = at.open.lines.linePos(at.offset)
  at.open.mistakes.push({ path: at.path, line: Math.max(line, 1), column: Math.max(col, 1), problem, instead })
  return MISTAKEN
}

/**
 * Reads a whole file.
 * @throws SettingsError with every mistake.
 */
export function readSettings<T>(text: string, surroundings: Surroundings, reader: Reader<T>): T {
  const lines = new LineCounter()
  const open: OpenFile = { ...surroundings, lines, mistakes: [] }
  const document = parseDocument(text, { version: '1.2', schema: 'core', strict: true, uniqueKeys: true, merge: false, lineCounter: lines })
  const top: Place = { open, path: '', offset: 0, node: document.contents }
  refuseSyntax(document, top)
  const value = open.mistakes.length > 0 ? MISTAKEN : reader.read(top)
  if (value === MISTAKEN || open.mistakes.length > 0) throw new SettingsError(surroundings.file, open.mistakes)
  return value
}

function refuseSyntax(document: Document, top: Place): void {
  for (const error of [...document.errors, ...document.warnings]) {
    const duplicate = error.code === 'DUPLICATE_KEY'
    const at = { ...top, offset: error.pos[0], path: '' }
    mistake(
      at,
      duplicate ? 'a key stands twice in one mapping' : `not readable as YAML 1.2 (${error.code.toLowerCase().replaceAll('_', ' ')})`,
      duplicate ? 'keep one of them' : '',
    )
  }
  visit(document, {
    Node: (_, node) => {
      const at = { ...top, offset: node.range?.[0] ?? 0 }
      if (isAlias(node)) mistake(at, `alias *${node.source} is not allowed`, 'write the value out')
      else if (node.anchor !== undefined) mistake(at, `anchor &${node.anchor} is not allowed`, 'write the value out where it is used')
      else if (node.tag !== undefined && !node.tag.startsWith('tag:yaml.org,2002:')) mistake(at, `tag ${node.tag} is not allowed`, 'leave it out')
    },
  })
}

function found({ node }: Place): string {
  if (node === null) return 'nothing'
  if (isMap(node)) return 'a mapping'
  if (isSeq(node)) return 'a list'
  const value = isScalar(node) ? node.value : null
  return value === null ? 'nothing' : `\`${String(value).slice(0, 60)}\``
}

function unexpected(at: Place, expects: string): typeof MISTAKEN {
  return mistake(at, `found ${found(at)}`, `write ${expects}`)
}

/** A scalar as text, exactly as written; null where the value is no scalar or is empty. */
function written({ node }: Place): string | null {
  if (!isScalar(node) || node.value === null) return null
  return typeof node.value === 'string' ? node.value : (node.source ?? String(node.value))
}

export function text(options: { readonly expects: string; readonly accepts: (value: string) => boolean }): Reader<string> {
  const { expects, accepts } = options
  return {
    expects,
    read: (at) => {
      const value = written(at)
      return value !== null && accepts(value) ? value : unexpected(at, expects)
    },
  }
}

export function oneOf<const T extends string>(values: readonly T[]): Reader<T> {
  const expects = values.length === 1 ? `\`${values[0]}\`` : `one of ${values.map((value) => `\`${value}\``).join(', ')}`
  return { expects, read: (at) => values.find((value) => value === written(at)) ?? unexpected(at, expects) }
}

/** Any scalar, null included, as YAML's core schema reads it. */
export const scalar: Reader<string | number | boolean | null> = {
  expects: 'a text, a number, `true`, `false` or `null`',
  read: (at) => {
    const value = isScalar(at.node) ? at.node.value : undefined
    if (value === null || typeof value === 'string' || typeof value === 'boolean') return value
    return typeof value === 'number' && Number.isFinite(value) ? value : unexpected(at, 'a text, a finite number, `true`, `false` or `null`')
  },
}

export const flag: Reader<boolean> = {
  expects: '`true` or `false`',
  read: (at) => (isScalar(at.node) && typeof at.node.value === 'boolean' ? at.node.value : unexpected(at, '`true` or `false`')),
}

/** A whole number of `unit`, both ends included. */
export function count(options: { readonly unit: string; readonly min: number; readonly max: number }): Reader<number> {
  const expects = `a number of ${options.unit} from ${options.min} to ${options.max}`
  return {
    expects,
    read: (at) => {
      const value = isScalar(at.node) ? at.node.value : null
      return typeof value === 'number' && Number.isInteger(value) && value >= options.min && value <= options.max ? value : unexpected(at, expects)
    },
  }
}

/** A whole number with one of the given units; the result is in the smallest. */
function quantity(options: {
  readonly what: string
  readonly units: Readonly<Record<string, number>>
  readonly min: string
  readonly max: string
}): Reader<number> {
  const { what, units } = options
  const measure = (value: string): number | null => {
    const [, digits = '', unit = ''] = /^(\d{1,9})([A-Za-z]+)$/.exec(value) ?? []
    return Object.hasOwn(units, unit) ? Number(digits) * (units[unit] ?? 1) : null
  }
  const [min, max] = [measure(options.min) ?? 0, measure(options.max) ?? 0]
  const expects = `${what} from \`${options.min}\` to \`${options.max}\``
  return {
    expects,
    read: (at) => {
      const value = measure(written(at) ?? '')
      return value !== null && value >= min && value <= max ? value : unexpected(at, expects)
    },
  }
}

/** Milliseconds. */
export function duration(options: { readonly min: string; readonly max: string }): Reader<number> {
  return quantity({ what: 'a duration (ms, s, m, h)', units: { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 }, ...options })
}

/** Bytes. */
export function size(options: { readonly min: string; readonly max: string }): Reader<number> {
  return quantity({ what: 'a size (B, KiB, MiB)', units: { B: 1, KiB: 1024, MiB: 1024 ** 2 }, ...options })
}

/** A path, absolute or from the file's own folder; the result is absolute. `any` need not exist. */
export function path(kind: 'file' | 'folder' | 'any'): Reader<string> {
  const expects = kind === 'any' ? 'a path' : `the path of a ${kind} that exists`
  return {
    expects,
    read: (at) => {
      const value = written(at)
      if (value === null || value === '' || value.includes('\0')) return unexpected(at, expects)
      const absolute = isAbsolute(value) ? value : resolve(at.open.directory, value)
      const stat = kind === 'any' ? undefined : statSync(absolute, { throwIfNoEntry: false })
      const fits = kind === 'any' || (kind === 'file' ? stat?.isFile() : stat?.isDirectory())
      return fits === true ? absolute : mistake(at, `there is no ${kind} ${absolute}`, `write ${expects}`)
    },
  }
}

/**
 * `{ env: NAME }` or `{ file: PATH }`; `plain`, where given, says which texts may stand in the file itself, and how to describe them. A final line break of a
 * file is not part of the secret.
 */
export function secret(options: {
  readonly accepts: (value: string) => boolean
  readonly holds: string
  readonly plain?: { readonly expects: string; readonly accepts: (value: string) => boolean }
}): Reader<Secret> {
  const { plain, holds } = options
  const expects = `\`{ env: NAME }\` or \`{ file: PATH }\` with ${holds}${plain === undefined ? '' : `, or ${plain.expects}`}`
  const checked = (at: Place, value: string, origin: string): Read<Secret> =>
    options.accepts(value) ? new Secret(value) : mistake(at, `${origin} does not hold ${holds}`, `write ${holds} there`)
  const sources = object<{ env: string | null; file: string | null }>(
    {
      env: key('env', text({ expects: 'the name of an environment variable', accepts: (value) => /^[A-Za-z_][A-Za-z0-9_]*$/.test(value) }), {
        fallback: null,
        shown: 'none',
        about: '',
      }),
      file: key('file', path('file'), { fallback: null, shown: 'none', about: '' }),
    },
    expects,
  )
  return {
    expects,
    read: (at) => {
      const value = written(at)
      // The text itself is not repeated in the message: it may be the secret.
      if (value !== null)
        return plain?.accepts(value) ? new Secret(value) : mistake(at, 'a secret stands in the file itself, or is no value for this key', `write ${expects}`)
      const from = sources.read(at)
      if (from === MISTAKEN) return MISTAKEN
      if ((from.env === null) === (from.file === null)) return mistake(at, 'a secret has one source', `write ${expects}`)
      if (from.env !== null) {
        const held = at.open.environment[from.env]
        if (held === undefined || held === '') return mistake(at, `the environment variable ${from.env} is not set`, `set it to ${holds}`)
        return checked(at, held, `the environment variable ${from.env}`)
      }
      const held = contents(from.file ?? '')
      return held === null
        ? mistake(at, `the file ${from.file} cannot be read`, 'let this process read it')
        : checked(at, held.replace(/\r?\n$/, ''), `the file ${from.file}`)
    },
  }
}

function contents(file: string): string | null {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return null
  }
}

export function list<T>(item: Reader<T>, options: { readonly min: number; readonly max: number }): Reader<readonly T[]> {
  const expects = `a list of ${options.min} to ${options.max}, each ${item.expects}`
  return {
    expects,
    read: (at) => {
      const { node } = at
      if (!isSeq(node) || node.items.length < options.min || node.items.length > options.max) return unexpected(at, expects)
      const items = node.items.map((each, index) => item.read(below(at, `[${index}]`, each)))
      return items.includes(MISTAKEN) ? MISTAKEN : items.filter((each): each is T & {} => each !== MISTAKEN)
    },
    ...(item.keys && { keys: (prefix) => item.keys?.(`${prefix}[]`) ?? [] }),
  }
}

/** A mapping whose keys are names that the writer chooses, in the order of the file. `placeholder` names such a key in the documentation. */
export function mapping<T>(
  item: Reader<T>,
  options: { readonly names: string; readonly accepts: (name: string) => boolean; readonly placeholder: string; readonly min: number; readonly max: number },
): Reader<ReadonlyMap<string, T>> {
  const expects = `a mapping from ${options.names} to ${item.expects}`
  return {
    expects,
    read: (at) => {
      const pairs = pairsOf(at)
      if (pairs === null) return unexpected(at, expects)
      if (pairs.length < options.min || pairs.length > options.max) return mistake(at, `${pairs.length} entries`, `write ${options.min} to ${options.max}`)
      const result = new Map<string, T>()
      for (const { name, place } of pairs) {
        if (!options.accepts(name)) mistake(place, `\`${name.slice(0, 60)}\` is no name for this`, `write ${options.names}`)
        const value = item.read(place)
        if (value !== MISTAKEN) result.set(name, value)
      }
      return result.size === pairs.length ? result : MISTAKEN
    },
    ...(item.keys && { keys: (prefix) => item.keys?.(joined(prefix, options.placeholder)) ?? [] }),
  }
}

/** One key of an `object`: its name in the file, and what a file without it means. */
export interface Key<T> {
  readonly name: string
  readonly reader: Reader<T>
  /** Null: the key is required. */
  readonly fallback: { readonly value: T; readonly shown: string } | null
  readonly about: string
}

export function key<T>(name: string, reader: Reader<T>, options: { readonly about: string }): Key<T>
export function key<T, D>(name: string, reader: Reader<T>, options: { readonly fallback: D; readonly shown: string; readonly about: string }): Key<T | D>
export function key<T>(name: string, reader: Reader<T>, options: { readonly fallback?: T; readonly shown?: string; readonly about: string }): Key<T> {
  const { shown, about } = options
  // Overloads: with `shown` there is a fallback, which may itself be null.
  return { name, reader, about, fallback: shown === undefined ? null : { value: options.fallback as T, shown } }
}

/** A mapping with the given keys and no others. */
export function object<T extends object>(keys: { readonly [K in keyof T]-?: Key<T[K]> }, expects = 'a mapping'): Reader<T> {
  const entries = Object.entries<Key<unknown>>(keys)
  const names = entries.map(([, { name }]) => name)
  return {
    expects,
    read: (at) => {
      const pairs = pairsOf(at)
      if (pairs === null) return unexpected(at, expects)
      const places = new Map(pairs.map(({ name, place }) => [name, place]))
      for (const [name, place] of places) if (!names.includes(name)) mistake(place, 'unknown key', instead(name, names))
      const values = entries.map(([field, { name, reader, fallback }]): readonly [string, unknown] => {
        const place = places.get(name)
        if (place !== undefined) return [field, reader.read(place)]
        return [field, fallback === null ? mistake({ ...at, path: joined(at.path, name) }, 'this key is missing', `write ${reader.expects}`) : fallback.value]
      })
      if (values.some(([, value]) => value === MISTAKEN)) return MISTAKEN
      // The keys of `T` are those of `keys`, and each has been read by its own reader or has its own fallback.
      return Object.freeze(Object.fromEntries(values)) as T
    },
    keys: (prefix) =>
      entries.flatMap(([, { name, reader, fallback, about }]) => [
        { path: joined(prefix, name), expects: reader.expects, fallback: fallback === null ? 'required' : fallback.shown, about },
        ...(reader.keys?.(joined(prefix, name)) ?? []),
      ]),
  }
}

/** What an `object` gives when the file leaves it out: all its fallbacks. */
export function defaultsOf<T extends object>(keys: { readonly [K in keyof T]-?: Key<T[K]> }): T {
  const values = Object.entries<Key<unknown>>(keys).map(([field, { name, fallback }]) => {
    if (fallback === null) throw new Error(`invariant: \`${name}\` has no default`)
    return [field, fallback.value]
  })
  // Every key of `T` has a fallback of its own type.
  return Object.freeze(Object.fromEntries(values)) as T
}

/** One reader for scalars, another for mappings. */
export function either<A, B>(scalar: Reader<A>, structured: Reader<B>): Reader<A | B> {
  const expects = `${scalar.expects}, or ${structured.expects}`
  return {
    expects,
    read: (at): Read<A | B> => (isMap(at.node) ? structured.read(at) : isScalar(at.node) ? scalar.read(at) : unexpected(at, expects)),
    ...(structured.keys && { keys: structured.keys }),
  }
}

/** Reports that a value, or the one at `steps` below it, cannot be used. */
export type Refuse = (problem: string, instead: string, steps?: readonly (string | number)[]) => typeof MISTAKEN

/** The same value, further checked or turned into something stronger. */
export function refined<A, B>(reader: Reader<A>, refine: (value: A, refuse: Refuse) => Read<B>): Reader<B> {
  return {
    ...reader,
    read: (at) => {
      const value = reader.read(at)
      return value === MISTAKEN ? MISTAKEN : refine(value, (problem, instead, steps = []) => mistake(descended(at, steps), problem, instead))
    },
  }
}

function descended(at: Place, steps: readonly (string | number)[]): Place {
  return steps.reduce<Place>((place, step) => {
    if (typeof step === 'string') return pairsOf(place)?.find(({ name }) => name === step)?.place ?? place
    return isSeq(place.node) ? below(place, `[${step}]`, place.node.items[step]) : place
  }, at)
}

function below(at: Place, name: string, node: unknown, offset?: number): Place {
  const child = isNode(node) ? node : null
  return {
    open: at.open,
    path: name.startsWith('[') ? `${at.path}${name}` : joined(at.path, name),
    offset: offset ?? child?.range?.[0] ?? at.offset,
    node: child,
  }
}

function pairsOf(at: Place): { name: string; place: Place }[] | null {
  if (!isMap(at.node)) return null
  return at.node.items.map((pair: Pair) => {
    const name = isScalar(pair.key) ? (typeof pair.key.value === 'string' ? pair.key.value : (pair.key.source ?? String(pair.key.value))) : '?'
    const offset = isNode(pair.key) ? pair.key.range?.[0] : undefined
    return { name, place: below(at, name, pair.value, offset) }
  })
}

function joined(prefix: string, name: string): string {
  return prefix === '' ? name : `${prefix}.${name}`
}

function instead(name: string, names: readonly string[]): string {
  const near = nearest(name, names)
  return near === null ? `the keys here are ${names.map((each) => `\`${each}\``).join(', ')}` : `write \`${near}\`, or leave it out`
}

/** The one of `names` that `name` was probably meant to be, or null. */
export function nearest(name: string, names: readonly string[]): string | null {
  const ranked = names
    .map((each) => ({ each, distance: editDistance(name.toLowerCase().slice(0, 40), each.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance)
  const best = ranked[0]
  return best !== undefined && best.distance <= Math.max(1, Math.floor(name.length / 3)) ? best.each : null
}

/** With swapped neighbours as one edit (optimal string alignment). */
function editDistance(a: string, b: string): number {
  const rows = [Array.from({ length: b.length + 1 }, (_, index) => index)]
  for (let row = 1; row <= a.length; row += 1) {
    const [previous = [], before] = [rows.at(-1), rows.at(-2)]
    const current = [row]
    for (let column = 1; column <= b.length; column += 1) {
      const substituted = (previous[column - 1] ?? 0) + (a[row - 1] === b[column - 1] ? 0 : 1)
      const swapped = a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1] ? (before?.[column - 2] ?? Infinity) + 1 : Infinity
      current.push(Math.min(substituted, swapped, (previous[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1))
    }
    rows.push(current)
  }
  return rows.at(-1)?.[b.length] ?? 0
}
