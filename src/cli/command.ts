/** Commands as data: what they are called, what they take, and their help; one reader for all of their arguments. */
import { parseArgs } from 'node:util'
import { nearest } from '../settings.js'

export interface CommandOption {
  readonly name: string
  /** What the value is, in capitals, such as `FILE`; null: a flag without one. */
  readonly value: string | null
  readonly repeats?: true
  readonly required?: true
  readonly about: string
}

/** What a command may touch. */
export interface CommandContext {
  readonly write: (text: string) => void
  readonly writeError: (text: string) => void
  readonly environment: Readonly<Record<string, string | undefined>>
  /** Calls back when the user or the system asks the process to stop; returns a function that ends it. */
  readonly onStop: (listener: () => void) => () => void
}

export interface CommandInput {
  readonly flag: (name: string) => boolean
  /** The last one given, or null. */
  readonly option: (name: string) => string | null
  readonly required: (name: string) => string
  readonly all: (name: string) => readonly string[]
  readonly positionals: readonly string[]
}

export interface Command {
  /** One or two words, such as `audit verify`. */
  readonly name: string
  readonly summary: string
  /** Positional arguments, such as `URL`; all are required. */
  readonly positionals: readonly string[]
  readonly options: readonly CommandOption[]
  /** Lines after the options. */
  readonly notes?: readonly string[]
  /** Exit code. */
  readonly run: (input: CommandInput, context: CommandContext) => Promise<number>
}

/** The command line is not one that can be run. The message says why and what to write. */
export class UsageError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'UsageError'
  }
}

/** @throws UsageError */
export function readArguments(command: Command, args: readonly string[]): CommandInput {
  const options = Object.fromEntries(
    command.options.map(({ name, value }) => [name, { type: value === null ? ('boolean' as const) : ('string' as const), multiple: true as const }]),
  )
  const { values, positionals } = parsed(command, args, options)
  const given = (name: string): readonly (string | boolean)[] => values.get(name) ?? []
  const texts = (name: string): string[] => given(name).filter((value): value is string => typeof value === 'string')
  for (const { name, repeats, required, value } of command.options) {
    if (repeats !== true && given(name).length > 1) throw new UsageError(`--${name} stands more than once`)
    if (required === true && given(name).length === 0) throw new UsageError(`--${name} ${value ?? ''} is missing`)
  }
  if (positionals.length !== command.positionals.length) throw new UsageError(argumentMistake(command, positionals))
  return {
    flag: (name) => given(name).length > 0,
    option: (name) => texts(name).at(-1) ?? null,
    required: (name) => {
      const value = texts(name).at(-1)
      if (value === undefined) throw new UsageError(`--${name} is missing`)
      return value
    },
    all: texts,
    positionals,
  }
}

function argumentMistake({ positionals }: Command, given: readonly string[]): string {
  const extra = given[positionals.length]
  return extra === undefined ? `${positionals[given.length] ?? 'an argument'} is missing` : `\`${extra}\` is one argument too many`
}

function parsed(
  command: Command,
  args: readonly string[],
  options: Readonly<Record<string, { readonly type: 'boolean' | 'string'; readonly multiple: true }>>,
): { readonly values: ReadonlyMap<string, readonly (string | boolean)[]>; readonly positionals: readonly string[] } {
  try {
    const { values, positionals } = parseArgs({ args: [...args], options, strict: true, allowPositionals: true })
    const named = Object.entries(values).flatMap(([name, value]): [string, (string | boolean)[]][] => (Array.isArray(value) ? [[name, value]] : []))
    return { values: new Map(named), positionals }
  } catch (error) {
    throw new UsageError(parseMistake(command, args, error))
  }
}

function parseMistake(command: Command, args: readonly string[], error: unknown): string {
  const names = command.options.map(({ name }) => name)
  const unknown = args.map((arg) => /^-{1,2}([^=]*)/.exec(arg)?.[1] ?? null).find((name) => name !== null && name !== '' && !names.includes(name))
  if (unknown === undefined || unknown === null) {
    const said = typeof error === 'object' && error !== null && 'message' in error ? String(error.message).split('\n')[0] : undefined
    return said ?? 'the arguments cannot be read'
  }
  const near = nearest(unknown, names)
  if (near !== null) return `there is no option --${unknown}; did you mean --${near}?`
  return names.length === 0
    ? `there is no option --${unknown}, nor any other`
    : `there is no option --${unknown}; there are ${names.map((name) => `--${name}`).join(', ')}`
}

export function usage({ name, positionals, options }: Command): string {
  const shown = options.map(({ name: option, value, required, repeats }) => {
    const text = value === null ? `--${option}` : `--${option} ${value}`
    return required === true ? text : `[${text}]${repeats === true ? '…' : ''}`
  })
  return ['concordat', name, ...positionals, ...shown].join(' ')
}

export function help(command: Command): string {
  const rows = [
    ...command.options.map(({ name, value, about }): [string, string] => [value === null ? `--${name}` : `--${name} ${value}`, about]),
    ['--help', 'This text.'] as [string, string],
  ]
  const width = Math.max(...rows.map(([left]) => left.length))
  const lines = [command.summary, '', `Usage: ${usage(command)}`, '', ...rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`)]
  return `${[...lines, ...(command.notes === undefined ? [] : ['', ...command.notes])].join('\n')}\n`
}
