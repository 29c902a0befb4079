import { readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { JWK } from 'jose'
import { UsageError, type Command, type CommandInput } from './command.js'
import { cacheFolder } from './demo/demo-folder.js'
import { demoKeys } from './demo/demo-keys.js'
import { demoPerson, demoToken, DEMO_TOKEN_DAYS } from './demo/demo-tokens.js'
import { DEMO_PRINCIPALS } from './demo/principals.js'
import { runningDemo } from './demo/running-demo.js'
import { issueToken } from './token.js'

const DEFAULT_LIFETIME_SECONDS = 3_600

export const TOKEN: Command = {
  name: 'token',
  summary: 'Prints a token: of a demo principal, or signed with a key of yours.',
  positionals: [],
  options: [
    { name: 'demo', value: 'NAME', about: `A principal of the demo: ${DEMO_PRINCIPALS.map(({ name }) => name).join(', ')}.` },
    { name: 'data', value: 'DIR', about: "The demo's folder; if it is not given, that of the running demo, or the default one." },
    { name: 'key', value: 'FILE', about: 'Private JWK to sign with, in place of a demo principal.' },
    { name: 'issuer', value: 'URL', about: '`iss`; with --key.' },
    { name: 'audience', value: 'TEXT', about: '`aud`, as the configuration has it; required with --key.' },
    { name: 'subject', value: 'TEXT', about: '`sub`; with --key.' },
    { name: 'role', value: 'NAME', repeats: true, about: 'A role; with --demo in place of those of the principal.' },
    { name: 'purpose', value: 'NAME', repeats: true, about: 'A purpose; with --demo in place of those of the principal.' },
    { name: 'claim', value: 'NAME=VALUE', repeats: true, about: 'A further claim, as text; with --key.' },
    { name: 'lifetime', value: 'TIME', about: `How long it is valid, such as 15m, 8h or 30d; 1h if it is not given, ${DEMO_TOKEN_DAYS}d with --demo.` },
  ],
  run: async (input, { write, environment }) => {
    const name = input.option('demo')
    if ((name === null) === (input.option('key') === null)) throw new UsageError('write either --demo NAME or --key FILE')
    write(`${name === null ? await ownToken(input) : await tokenOfDemo(name, input, cacheFolder(environment))}\n`)
    return 0
  },
}

async function tokenOfDemo(name: string, input: CommandInput, cache: string): Promise<string> {
  const misplaced = ['issuer', 'subject', 'claim'].find((option) => input.all(option).length > 0)
  if (misplaced !== undefined) throw new UsageError(`--${misplaced} goes with --key; a demo principal has its own`)
  const person = demoPerson(name)
  if (person === null) throw new UsageError(`there is no demo principal \`${name}\`; there are ${DEMO_PRINCIPALS.map((each) => each.name).join(', ')}`)
  const given = input.option('data')
  const usual = join(cache, 'demo')
  const running = given === null ? ((await runningDemo(cache, usual)) ?? (await runningDemo(cache, null))) : null
  const keys = await demoKeys(given === null ? (running?.data ?? usual) : resolve(given))
  const [roles, purposes, audience, lifetime] = [input.all('role'), input.all('purpose'), input.option('audience'), input.option('lifetime')]
  return demoToken(person, keys, Date.now(), {
    ...(roles.length > 0 && { roles }),
    ...(purposes.length > 0 && { purposes }),
    ...(audience !== null && { audience }),
    ...(lifetime !== null && { lifetimeSeconds: secondsOf(lifetime) }),
  })
}

async function ownToken(input: CommandInput): Promise<string> {
  const lifetime = input.option('lifetime')
  return issueToken({
    privateJwk: await readJwk(input.required('key')),
    issuer: input.required('issuer'),
    audience: input.required('audience'),
    subject: input.required('subject'),
    roles: input.all('role'),
    purposes: input.all('purpose'),
    claims: Object.fromEntries(input.all('claim').map(claimOf)),
    lifetimeSeconds: lifetime === null ? DEFAULT_LIFETIME_SECONDS : secondsOf(lifetime),
    nowMs: Date.now(),
  })
}

function claimOf(text: string): [string, string] {
  const at = text.indexOf('=')
  if (at < 1) throw new UsageError(`\`${text}\` is no claim; write --claim NAME=VALUE`)
  return [text.slice(0, at), text.slice(at + 1)]
}

function secondsOf(text: string): number {
  const [, digits = '', unit = ''] = /^(\d{1,6})([smhd])$/.exec(text) ?? []
  const seconds = Number(digits) * ({ s: 1, m: 60, h: 3_600, d: 86_400 }[unit] ?? 0)
  if (seconds <= 0) throw new UsageError(`\`${text}\` is no time; write 30s, 15m, 8h or 30d`)
  return seconds
}

/** @throws Error that names the file and holds nothing of it. */
export async function readJwk(file: string): Promise<JWK> {
  try {
    const value: unknown = JSON.parse(await readFile(file, 'utf8'))
    // What kind of key it is, whoever uses it checks.
    if (typeof value === 'object' && value !== null && 'kty' in value && typeof value.kty === 'string') return value as JWK
  } catch {
    throw new Error(`${file} cannot be read as a JWK`)
  }
  throw new Error(`${file} is no JWK`)
}
