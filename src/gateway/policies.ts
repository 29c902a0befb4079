/**
 * Policies on disk: `roles/*.yaml`, `agreements/*.yaml` with their signatures, and the keys that these are verified with. They are read as one set, and again
 * when something changes; a set that does not load leaves the old one in force and says so.
 */
import { readFileSync, watch, type FSWatcher } from 'node:fs'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { JWK } from 'jose'
import type { Words } from '../policy/condition.js'
import { policySetOf, type Party, type PolicyFile, type PolicySet } from '../policy/policy-set.js'
import { printPath, type Path } from '../policy/reading.js'
import { schemaCheck, type SchemaCheck } from './json-schema.js'
import { parsePolicyYaml, type PolicyYaml } from './policy-yaml.js'
import { parsePublicKeys } from './public-keys.js'

export interface PoliciesOptions {
  /** Has the folders `roles` and `agreements`. */
  readonly directory: string
  readonly words: Words
  /** A JWK or JWK set; null: the organization can grant nothing. */
  readonly organizations: readonly { readonly id: string; readonly verifyKeyFile: string | null }[]
  /** How often the files are looked at, where the system does not tell of changes. */
  readonly pollMs: number
  /** A change has been found that does not load. */
  readonly onRefused: (mistakes: readonly PolicyMistake[]) => void
}

export interface PolicyMistake {
  readonly file: string
  /** From 1. */
  readonly line: number
  /** Such as `roles.analyst.read.Agent.rows`; empty for the file as a whole. */
  readonly path: string
  readonly problem: string
}

export interface Policies {
  readonly current: () => PolicySet
  /** Calls back after each change of the set in force; returns a function that ends it. */
  readonly onChange: (listener: (set: PolicySet) => void) => () => void
  /** Reads the files now. */
  readonly reload: () => Promise<Reload>
  readonly close: () => void
}

export type Reload = { readonly kind: 'loaded'; readonly set: PolicySet } | { readonly kind: 'refused'; readonly mistakes: readonly PolicyMistake[] }

/** The policies cannot be used. The message lists every mistake, a line each, as `file:line path: problem`. */
export class PoliciesError extends Error {
  constructor(readonly mistakes: readonly PolicyMistake[]) {
    super(mistakes.map(printMistake).join('\n'))
    this.name = 'PoliciesError'
  }
}

export function printMistake({ file, line, path, problem }: PolicyMistake): string {
  return `${file}:${line} ${path === '' ? '' : `${path}: `}${problem}`
}

/**
 * Loads the policies and keeps them current until `close`.
 *
 * @throws PoliciesError where the first set does not load.
 */
export async function openPolicies(options: PoliciesOptions): Promise<Policies> {
  const first = await loadPolicies(options)
  if (first.kind === 'refused') throw new PoliciesError(first.mistakes)
  return new WatchedPolicies(options, first)
}

type Loaded = Reload & { readonly fingerprint: string }

const DEBOUNCE_MS = 100

class WatchedPolicies implements Policies {
  #set: PolicySet
  #fingerprint: string
  #reloading: Promise<Reload> | null = null
  #debounce: NodeJS.Timeout | null = null
  readonly #listeners = new Set<(set: PolicySet) => void>()
  readonly #poll: NodeJS.Timeout
  readonly #watchers: readonly FSWatcher[]

  constructor(
    private readonly options: PoliciesOptions,
    first: Loaded & { readonly kind: 'loaded' },
  ) {
    this.#set = first.set
    this.#fingerprint = first.fingerprint
    this.#poll = setInterval(() => void this.#look(), options.pollMs).unref()
    this.#watchers = FOLDERS.flatMap(({ folder }) => watcher(join(options.directory, folder), () => this.#soon()))
  }

  readonly current = (): PolicySet => this.#set

  readonly onChange = (listener: (set: PolicySet) => void): (() => void) => {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  /** One at a time; a call while another is under way waits for it and reads again, since it may have begun before the change. */
  readonly reload = async (): Promise<Reload> => {
    while (this.#reloading) await this.#reloading
    this.#reloading = this.#read()
    try {
      return await this.#reloading
    } finally {
      this.#reloading = null
    }
  }

  readonly close = (): void => {
    clearInterval(this.#poll)
    if (this.#debounce) clearTimeout(this.#debounce)
    for (const one of this.#watchers) one.close()
    this.#listeners.clear()
  }

  #soon(): void {
    if (this.#debounce) clearTimeout(this.#debounce)
    this.#debounce = setTimeout(() => void this.#look(), DEBOUNCE_MS).unref()
  }

  async #look(): Promise<void> {
    if (this.#reloading) return
    try {
      const { fingerprint } = await survey(this.options)
      if (fingerprint === this.#fingerprint) return
      await this.reload()
    } catch (error) {
      // Nobody waits for this promise: a bug of ours must not end the process, and the old set stays in force.
      this.options.onRefused([mistakeOf(this.options.directory, error instanceof Error ? error.message : 'cannot be loaded')])
    }
  }

  async #read(): Promise<Reload> {
    const loaded = await loadPolicies(this.options)
    // Whoever asked for this reading: the same mistakes are told once.
    if (loaded.kind === 'refused' && loaded.fingerprint !== this.#fingerprint) this.options.onRefused(loaded.mistakes)
    this.#fingerprint = loaded.fingerprint
    if (loaded.kind === 'loaded' && loaded.set.digest !== this.#set.digest) {
      this.#set = loaded.set
      for (const listener of this.#listeners) listener(loaded.set)
    }
    return loaded
  }
}

/** Where the system cannot watch a folder, polling finds the change. */
function watcher(folder: string, onEvent: () => void): FSWatcher[] {
  try {
    const one = watch(folder, { persistent: false }, onEvent)
    one.on('error', () => one.close())
    return [one]
  } catch {
    return []
  }
}

const FOLDERS = [
  { folder: 'roles', kind: 'roles' },
  { folder: 'agreements', kind: 'agreement' },
] as const

const FILES_MAX = 2_000
const FILE_BYTES_MAX = 1_048_576
const ATTEMPTS = 5

interface Survey {
  /** Another text when a file was added, removed or written. */
  readonly fingerprint: string
  readonly files: readonly { readonly path: string; readonly kind: 'roles' | 'agreement' | 'signature' | 'key' }[]
  readonly mistakes: readonly PolicyMistake[]
}

async function survey({ directory, organizations }: PoliciesOptions): Promise<Survey> {
  const inFolders = await Promise.all(FOLDERS.map(({ folder, kind }) => listFolder(join(directory, folder), kind)))
  const keys = organizations.flatMap(({ verifyKeyFile }) => (verifyKeyFile === null ? [] : [{ path: verifyKeyFile, kind: 'key' as const }]))
  const files = [...inFolders.flat(), ...keys]
  const stamps = await Promise.all(files.map(async ({ path }) => `${path} ${await stampOf(path)}`))
  const mistakes = files.length > FILES_MAX ? [mistakeOf(directory, `has more than ${FILES_MAX} files`)] : await missingFolder(directory)
  return { fingerprint: stamps.join('\n'), files, mistakes }
}

async function listFolder(folder: string, kind: 'roles' | 'agreement'): Promise<Survey['files']> {
  const names = await readdir(folder).catch(() => [])
  return names
    .filter((name) => !name.startsWith('.'))
    .sort()
    .flatMap((name): Survey['files'] => {
      if (/\.ya?ml$/.test(name)) return [{ path: join(folder, name), kind }]
      return kind === 'agreement' && name.endsWith('.jws') ? [{ path: join(folder, name), kind: 'signature' }] : []
    })
}

async function stampOf(path: string): Promise<string> {
  try {
    const { mtimeMs, size, ino } = await stat(path)
    return `${mtimeMs} ${size} ${ino}`
  } catch {
    return 'missing'
  }
}

async function missingFolder(directory: string): Promise<readonly PolicyMistake[]> {
  const isFolder = await stat(directory).then(
    (found) => found.isDirectory(),
    () => false,
  )
  return isFolder ? [] : [mistakeOf(directory, 'is not a folder')]
}

function mistakeOf(file: string, problem: string): PolicyMistake {
  return { file, line: 1, path: '', problem }
}

/** Reads everything, and again if a file changed meanwhile, so that a set never mixes two states of the folder. */
async function loadPolicies(options: PoliciesOptions): Promise<Loaded> {
  let before = await survey(options)
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    const loaded = before.mistakes.length > 0 ? { kind: 'refused' as const, mistakes: before.mistakes } : await loadFiles(options, before)
    const after = await survey(options)
    if (after.fingerprint === before.fingerprint) return { ...loaded, fingerprint: after.fingerprint }
    before = after
  }
  return { kind: 'refused', mistakes: [mistakeOf(options.directory, 'is being written to all the time')], fingerprint: '' }
}

async function loadFiles({ organizations, words }: PoliciesOptions, { files }: Survey): Promise<Reload> {
  const mistakes: PolicyMistake[] = []
  const texts = new Map<string, string>()
  for (const { path } of files) {
    const text = await readText(path)
    if (text.kind === 'text') texts.set(path, text.text)
    else mistakes.push(mistakeOf(path, text.problem))
  }
  const parties = organizations.map(({ id, verifyKeyFile }): Party => ({
    id,
    verifyKeys: verifyKeyFile === null ? [] : keysOf(verifyKeyFile, texts, mistakes),
  }))
  const checks = schemaChecks()
  const yamls = new Map<string, PolicyYaml>()
  const policyFiles: PolicyFile[] = []
  for (const { path, kind } of files) {
    const text = texts.get(path)
    if (text === undefined || (kind !== 'roles' && kind !== 'agreement')) continue
    const yaml = parsePolicyYaml(text)
    yamls.set(path, yaml)
    mistakes.push(...yaml.mistakes.map((mistake) => ({ ...mistake, file: path, path: printPath(mistake.path) })))
    if (yaml.mistakes.length === 0) policyFiles.push({ file: path, kind, content: yaml.content, signature: texts.get(signaturePath(path)) ?? null })
  }
  const located = (file: string, path: Path, problem: string): PolicyMistake => ({
    file,
    line: yamls.get(file)?.lineOf(path) ?? 1,
    path: printPath(path),
    problem,
  })
  const outcome = await policySetOf(policyFiles, parties, words)
  if (outcome.kind === 'refused') mistakes.push(...outcome.mistakes.map(({ file, path, problem }) => located(file, path, problem)))
  // What reading finds says more than the schema; a file that only the schema refuses is refused all the same.
  for (const { file, kind, content } of policyFiles) {
    if (mistakes.some((mistake) => mistake.file === file)) continue
    mistakes.push(...checks[kind](content).map(({ path, problem }) => located(file, path, problem)))
  }
  return outcome.kind === 'loaded' && mistakes.length === 0 ? outcome : { kind: 'refused', mistakes }
}

type Text = { readonly kind: 'text'; readonly text: string } | { readonly kind: 'unreadable'; readonly problem: string }

async function readText(path: string): Promise<Text> {
  try {
    const bytes = await readFile(path)
    if (bytes.byteLength > FILE_BYTES_MAX) return { kind: 'unreadable', problem: 'is larger than 1 MiB' }
    return { kind: 'text', text: new TextDecoder('utf-8', { fatal: true }).decode(bytes) }
  } catch {
    return { kind: 'unreadable', problem: 'cannot be read as UTF-8 text' }
  }
}

/** `x.yaml` is signed in `x.jws`. */
export function signaturePath(file: string): string {
  return file.replace(/\.ya?ml$/, '.jws')
}

function keysOf(file: string, texts: ReadonlyMap<string, string>, mistakes: PolicyMistake[]): readonly JWK[] {
  const text = texts.get(file)
  if (text === undefined) return []
  try {
    return parsePublicKeys(text)
  } catch (error) {
    mistakes.push(mistakeOf(file, error instanceof Error ? error.message : 'is not a JWK'))
    return []
  }
}

let read: Readonly<Record<'roles' | 'agreement', SchemaCheck>> | null = null

function schemaChecks(): Readonly<Record<'roles' | 'agreement', SchemaCheck>> {
  read ??= { roles: readSchema('role.schema.json'), agreement: readSchema('agreement.schema.json') }
  return read
}

function readSchema(name: string): SchemaCheck {
  return schemaCheck(JSON.parse(readFileSync(new URL(`../../schema/json/${name}`, import.meta.url), 'utf8')))
}

/** Mistakes of a file's content by its JSON Schema, for tools that look at one file alone. */
export function schemaMistakesOf(kind: 'roles' | 'agreement', content: unknown): readonly string[] {
  const check = schemaChecks()[kind]
  return check(content).map(({ path, problem }) => `${printPath(path)}: ${problem}`)
}
