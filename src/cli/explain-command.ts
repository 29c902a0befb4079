import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { loadConfig, type Config } from '../config.js'
import { GatewayError } from '../errors.js'
import { explainOperation } from '../main.js'
import { UsageError, type Command, type CommandContext, type CommandInput } from './command.js'
import { cacheFolder } from './demo/demo-folder.js'
import type { Sovereignty } from '../gateway/outcome.js'
import { type RunningDemo, runningDemo } from './demo/running-demo.js'

export const EXPLAIN: Command = {
  name: 'explain',
  summary: 'Says what a query would do: whom it would ask, what each owner gives, masks or withholds, and the statements.',
  positionals: ['QUERY'],
  options: [
    { name: 'demo', value: 'NAME', about: 'Ask the running demo as this principal.' },
    { name: 'url', value: 'URL', about: 'The gateway, such as http://127.0.0.1:4000; with --token.' },
    { name: 'config', value: 'FILE', about: 'As the operator of this configuration, with --token: every owner’s statements; no gateway need run.' },
    { name: 'all', value: null, about: 'With --demo: as the operator of the demo, every owner’s statements.' },
    { name: 'token', value: 'TOKEN', about: 'Who asks; a role of theirs must allow `explain`.' },
    { name: 'purpose', value: 'NAME', about: 'The purpose, where the token carries several.' },
    { name: 'variables', value: 'JSON', about: 'Variables of the query.' },
    { name: 'json', value: null, about: 'Prints the answer as it came.' },
  ],
  notes: [
    'QUERY is a GraphQL document, or `@FILE` to read it from one. Nothing is asked of any store but its catalog.',
    'A gateway shows a principal the statements of its own organization, and records the explanation as every answer. Who has the configuration sees all statements.',
  ],
  run: async (input, context) => {
    const [text = ''] = input.positionals
    const query = text.startsWith('@') ? await readFile(text.slice(1), 'utf8') : text
    const asked = { query, variables: variablesOf(input.option('variables')), purpose: input.option('purpose') }
    const answer = input.option('config') !== null || input.flag('all') ? await asOperator(input, asked, context) : await asPrincipal(input, asked, context)
    if (input.flag('json')) context.write(`${JSON.stringify(answer, null, 2)}\n`)
    else if (answer.errors === undefined) context.write(explanationText(answer))
    else context.writeError(answer.errors.map(({ message, extensions }) => `${extensions.code}: ${message}\n`).join(''))
    return answer.errors === undefined ? 0 : 1
  },
}

interface Asked {
  readonly query: string
  readonly variables: unknown
  readonly purpose: string | null
}

async function asPrincipal(input: CommandInput, { query, variables, purpose }: Asked, { environment }: CommandContext): Promise<Explanation> {
  const { url, token } = await target(input, cacheFolder(environment))
  const response = await fetch(`${url}/explain`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/graphql-response+json',
      authorization: `Bearer ${token}`,
      ...(purpose !== null && { 'x-purpose': purpose }),
    },
    body: JSON.stringify({ query, variables }),
  }).catch(() => {
    throw new Error(`${url} does not answer`)
  })
  return (await response.json()) as Explanation // The gateway's own form of an answer.
}

async function asOperator(input: CommandInput, { query, variables, purpose }: Asked, { environment }: CommandContext): Promise<Explanation> {
  const file = input.option('config')
  const { config, token } =
    file === null ? await demoAs(input.required('demo'), environment) : { config: loadConfig(file, environment), token: input.required('token') }
  try {
    const { sovereignty, statements, cost } = await explainOperation(config, { token, purpose, document: query, variables })
    return { extensions: { sovereignty, explain: { statements, cost } } }
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error
    const NOTHING = { served: [], leftOut: [], masked: [], withheld: [] }
    const extensions = { sovereignty: NOTHING, explain: { statements: [], cost: 0 } }
    return { errors: [{ message: error.detail, extensions: { code: error.code } }], extensions }
  }
}

async function demoAs(name: string, environment: CommandContext['environment']): Promise<{ readonly config: Config; readonly token: string }> {
  const running = await demoOf(cacheFolder(environment))
  return { config: loadConfig(join(running.data, 'concordat.yaml'), environment), token: tokenOf(name, running) }
}

interface Explanation {
  readonly errors?: readonly { readonly message: string; readonly extensions: { readonly code: string } }[]
  readonly extensions: {
    readonly sovereignty: Omit<Sovereignty, 'failed'>
    readonly explain: {
      readonly cost: number
      readonly statements: readonly { readonly organization: string; readonly responseKey: string; readonly type: string; readonly text: string }[]
    }
  }
}

async function target(input: CommandInput, cache: string): Promise<{ readonly url: string; readonly token: string }> {
  const name = input.option('demo')
  if (name === null) return { url: input.required('url').replace(/\/(graphql)?$/, ''), token: input.required('token') }
  const running = await demoOf(cache)
  return { url: running.url, token: tokenOf(name, running) }
}

async function demoOf(cache: string): Promise<RunningDemo> {
  const running = (await runningDemo(cache, join(cache, 'demo'))) ?? (await runningDemo(cache, null))
  if (running === null) throw new Error('no demo is running; start one with `concordat demo`')
  return running
}

function tokenOf(name: string, { principals }: RunningDemo): string {
  const principal = principals.find((each) => each.name === name)
  if (principal === undefined) throw new UsageError(`there is no demo principal \`${name}\`; there are ${principals.map((each) => each.name).join(', ')}`)
  return principal.token
}

function variablesOf(text: string | null): unknown {
  if (text === null) return null
  try {
    return JSON.parse(text)
  } catch {
    throw new UsageError('--variables is not JSON')
  }
}

function explanationText({ extensions: { sovereignty, explain } }: Explanation): string {
  const { served, leftOut, masked, withheld } = sovereignty
  const organizations = served.flatMap(({ organization, roles, agreement, version }) => {
    const here = <T extends { readonly organization: string }>(items: readonly T[]): readonly T[] => items.filter((item) => item.organization === organization)
    return [
      `${organization}: under ${agreement === undefined ? `role ${(roles ?? []).join(', ')}` : `agreement ${agreement}`}, version ${version}`,
      ...here(masked).map(({ type, field, mask }) => `  masked    ${type}.${field} (${mask})`),
      ...here(withheld).map(({ type, field, conditional }) => `  withheld  ${type}.${field}${conditional ? ' (where a condition does not hold)' : ''}`),
      ...here(explain.statements).flatMap(({ responseKey, type, text }) => [`  ${responseKey} (${type}):`, ...text.split('\n').map((line) => `    ${line}`)]),
      '',
    ]
  })
  return [...organizations, ...leftOut.map(({ organization, code }) => `${organization}: left out (${code})`), `Cost: ${explain.cost} rows at most.`, ''].join(
    '\n',
  )
}
