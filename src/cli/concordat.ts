/** The command `concordat`: finds the command that is meant, reads its arguments, and says in one line why it cannot be run. */
import { help, readArguments, UsageError, type Command, type CommandContext } from './command.js'
import { nearest, SettingsError } from '../settings.js'

/** By name. Each is loaded when it is meant: a supervisor of workers, or `token`, has no use for what a gateway loads (1 s of CPU, all commands together). */
const COMMANDS: ReadonlyMap<string, () => Promise<Command>> = new Map([
  ['demo', async () => (await import('./demo-command.js')).DEMO],
  ['serve', async () => (await import('./serve-command.js')).SERVE],
  ['introspect', async () => (await import('./introspect-command.js')).INTROSPECT],
  ['check', async () => (await import('./check-command.js')).CHECK],
  ['explain', async () => (await import('./explain-command.js')).EXPLAIN],
  ['token', async () => (await import('./token-command.js')).TOKEN],
  ['agreement sign', async () => (await import('./agreement-command.js')).AGREEMENT_SIGN],
  ['agreement verify', async () => (await import('./agreement-command.js')).AGREEMENT_VERIFY],
  ['audit list', async () => (await import('./audit-command.js')).AUDIT_LIST],
  ['audit export', async () => (await import('./audit-command.js')).AUDIT_EXPORT],
  ['audit verify', async () => (await import('./audit-command.js')).AUDIT_VERIFY],
  ['audit key', async () => (await import('./audit-command.js')).AUDIT_KEY],
  ['rls render', async () => (await import('./rls-command.js')).RLS_RENDER],
])

const [FOUND_MISTAKES, UNUSABLE] = [1, 2]

/** @returns the exit code: 0; 1 where something was found or failed; 2 where the command line or the configuration cannot be used. */
export async function main(args: readonly string[], context: CommandContext): Promise<number> {
  const words = args.slice(0, 2)
  const load = COMMANDS.get(words.join(' ')) ?? COMMANDS.get(words[0] ?? '')
  if (load === undefined) return overview(words, args, context)
  const found = await load()
  const rest = args.slice(found.name.split(' ').length)
  if (rest.includes('--help') || rest.includes('-h')) {
    context.write(help(found))
    return 0
  }
  try {
    return await found.run(readArguments(found, rest), context)
  } catch (error) {
    if (error instanceof UsageError) {
      context.writeError(`concordat ${found.name}: ${error.message}\n\nconcordat ${found.name} --help says more.\n`)
      return UNUSABLE
    }
    if (error instanceof SettingsError) {
      context.writeError(`${error.message}\n`)
      return UNUSABLE
    }
    context.writeError(`concordat ${found.name}: ${error instanceof Error ? error.message : 'failed'}\n`)
    return FOUND_MISTAKES
  }
}

async function overview(words: readonly string[], args: readonly string[], { write, writeError }: CommandContext): Promise<number> {
  const [first, second] = words
  const asksForHelp = args.length === 0 || first === 'help' || args.includes('--help') || args.includes('-h')
  const names = [...COMMANDS.keys()]
  const group = names.filter((name) => name.startsWith(`${first ?? ''} `))
  if (asksForHelp) {
    const shown = group.length > 0 ? group : names
    const commands: Command[] = []
    for (const name of shown) {
      const command = await COMMANDS.get(name)?.()
      if (command) commands.push(command)
    }
    write(overviewText(commands))
    return args.length === 0 ? UNUSABLE : 0
  }
  writeError(`concordat: ${group.length > 0 ? unknownInGroup(group, second) : unknownCommand(first ?? '')}\n`)
  return UNUSABLE
}

function unknownCommand(word: string): string {
  const near = nearest(word, [...new Set([...COMMANDS.keys()].map((name) => name.split(' ')[0] ?? name))])
  return `there is no command \`${word}\`; ${near === null ? '`concordat help` lists the commands' : `did you mean \`${near}\`?`}`
}

/** For a first word that several commands share. */
function unknownInGroup(group: readonly string[], word: string | undefined): string {
  const near =
    word === undefined
      ? null
      : nearest(
          word,
          group.map((name) => name.split(' ')[1] ?? ''),
        )
  const [first] = group[0]?.split(' ') ?? []
  return near === null
    ? `write ${group.map((name) => `\`concordat ${name}\``).join(' or ')}`
    : `there is no command \`${first} ${word}\`; did you mean \`${first} ${near}\`?`
}

function overviewText(commands: readonly Command[]): string {
  const width = Math.max(...commands.map(({ name }) => name.length))
  const lines = commands.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`)
  return `Concordat: one GraphQL API over data that stays with its owners.\n\nUsage: concordat COMMAND\n\n${lines.join('\n')}\n\nconcordat COMMAND --help says more about each.\n`
}
