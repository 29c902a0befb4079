/** The command `concordat`: finds the command that is meant, reads its arguments, and says in one line why it cannot be run. */
import { AGREEMENT_SIGN, AGREEMENT_VERIFY } from './agreement-command.js'
import { AUDIT_EXPORT, AUDIT_KEY, AUDIT_LIST, AUDIT_VERIFY } from './audit-command.js'
import { CHECK } from './check-command.js'
import { help, readArguments, UsageError, type Command, type CommandContext } from './command.js'
import { DEMO } from './demo-command.js'
import { EXPLAIN } from './explain-command.js'
import { INTROSPECT } from './introspect-command.js'
import { RLS_RENDER } from './rls-command.js'
import { SERVE } from './serve-command.js'
import { TOKEN } from './token-command.js'
import { nearest, SettingsError } from '../settings.js'

const COMMANDS: readonly Command[] = [
  DEMO,
  SERVE,
  INTROSPECT,
  CHECK,
  EXPLAIN,
  TOKEN,
  AGREEMENT_SIGN,
  AGREEMENT_VERIFY,
  AUDIT_LIST,
  AUDIT_EXPORT,
  AUDIT_VERIFY,
  AUDIT_KEY,
  RLS_RENDER,
]

const [FOUND_MISTAKES, UNUSABLE] = [1, 2]

/** @returns the exit code: 0; 1 where something was found or failed; 2 where the command line or the configuration cannot be used. */
export async function main(args: readonly string[], context: CommandContext): Promise<number> {
  const words = args.slice(0, 2)
  const found = COMMANDS.find(({ name }) => name === words.join(' ')) ?? COMMANDS.find(({ name }) => name === words[0])
  if (found === undefined) return overview(words, args, context)
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

function overview(words: readonly string[], args: readonly string[], { write, writeError }: CommandContext): number {
  const [first, second] = words
  const asksForHelp = args.length === 0 || first === 'help' || args.includes('--help') || args.includes('-h')
  const group = COMMANDS.filter(({ name }) => name.startsWith(`${first ?? ''} `))
  if (asksForHelp) {
    write(overviewText(group.length > 0 ? group : COMMANDS))
    return args.length === 0 ? UNUSABLE : 0
  }
  writeError(`concordat: ${group.length > 0 ? unknownInGroup(group, second) : unknownCommand(first ?? '')}\n`)
  return UNUSABLE
}

function unknownCommand(word: string): string {
  const near = nearest(word, [...new Set(COMMANDS.map(({ name }) => name.split(' ')[0] ?? name))])
  return `there is no command \`${word}\`; ${near === null ? '`concordat help` lists the commands' : `did you mean \`${near}\`?`}`
}

/** For a first word that several commands share. */
function unknownInGroup(group: readonly Command[], word: string | undefined): string {
  const near =
    word === undefined
      ? null
      : nearest(
          word,
          group.map(({ name }) => name.split(' ')[1] ?? ''),
        )
  const [first] = group[0]?.name.split(' ') ?? []
  return near === null
    ? `write ${group.map(({ name }) => `\`concordat ${name}\``).join(' or ')}`
    : `there is no command \`${first} ${word}\`; did you mean \`${first} ${near}\`?`
}

function overviewText(commands: readonly Command[]): string {
  const width = Math.max(...commands.map(({ name }) => name.length))
  const lines = commands.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`)
  return `Concordat: one GraphQL API over data that stays with its owners.\n\nUsage: concordat COMMAND\n\n${lines.join('\n')}\n\nconcordat COMMAND --help says more about each.\n`
}
