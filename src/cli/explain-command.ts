import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { UsageError, type Command, type CommandInput } from './command.js'
import { cacheFolder } from './demo/demo-folder.js'
import { runningDemo } from './demo/running-demo.js'

export const EXPLAIN: Command = {
  name: 'explain',
  summary: 'Asks a running gateway what a query would do: whom it would ask, what each owner gives, masks or withholds, and the statements.',
  positionals: ['QUERY'],
  options: [
    { name: 'demo', value: 'NAME', about: 'Ask the running demo as this principal.' },
    { name: 'url', value: 'URL', about: 'The gateway, such as http://127.0.0.1:4000; with --token.' },
    { name: 'token', value: 'TOKEN', about: 'Who asks; a role of theirs must allow `explain`.' },
    { name: 'purpose', value: 'NAME', about: 'The purpose, where the token carries several.' },
    { name: 'variables', value: 'JSON', about: 'Variables of the query.' },
    { name: 'json', value: null, about: 'Prints the answer as it came.' },
  ],
  notes: [
    'QUERY is a GraphQL document, or `@FILE` to read it from one. Nothing is asked of any store; the explanation is recorded in the ledger as every answer is.',
  ],
  run: async (input, { write, writeError, environment }) => {
    const { url, token } = await target(input, cacheFolder(environment))
    const [text = ''] = input.positionals
    const query = text.startsWith('@') ? await readFile(text.slice(1), 'utf8') : text
    const purpose = input.option('purpose')
    const response = await fetch(`${url}/explain`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        accept: 'application/graphql-response+json',
        authorization: `Bearer ${token}`,
        ...(purpose !== null && { 'x-purpose': purpose }),
      },
      body: JSON.stringify({ query, variables: variablesOf(input.option('variables')) }),
    }).catch(() => {
      throw new Error(`${url} does not answer`)
    })
    const answer = (await response.json()) as Explanation // The gateway's own form of an answer.
    if (input.flag('json')) write(`${JSON.stringify(answer, null, 2)}\n`)
    else if (answer.errors === undefined) write(explanationText(answer))
    else writeError(answer.errors.map(({ message, extensions }) => `${extensions.code}: ${message}\n`).join(''))
    return answer.errors === undefined ? 0 : 1
  },
}

interface Explanation {
  readonly errors?: readonly { readonly message: string; readonly extensions: { readonly code: string } }[]
  readonly extensions: {
    readonly sovereignty: {
      readonly served: readonly { readonly organization: string; readonly roles?: readonly string[]; readonly agreement?: string; readonly version: number }[]
      readonly leftOut: readonly { readonly organization: string; readonly code: string }[]
      readonly masked: readonly { readonly organization: string; readonly type: string; readonly field: string; readonly mask: string }[]
      readonly withheld: readonly { readonly organization: string; readonly type: string; readonly field: string; readonly conditional: boolean }[]
    }
    readonly explain: {
      readonly cost: number
      readonly statements: readonly { readonly organization: string; readonly responseKey: string; readonly type: string; readonly text: string }[]
    }
  }
}

async function target(input: CommandInput, cache: string): Promise<{ readonly url: string; readonly token: string }> {
  const name = input.option('demo')
  if (name === null) return { url: input.required('url').replace(/\/(graphql)?$/, ''), token: input.required('token') }
  const running = (await runningDemo(cache, join(cache, 'demo'))) ?? (await runningDemo(cache, null))
  if (running === null) throw new Error('no demo is running; start one with `concordat demo`')
  const principal = running.principals.find((each) => each.name === name)
  if (principal === undefined)
    throw new UsageError(`there is no demo principal \`${name}\`; there are ${running.principals.map((each) => each.name).join(', ')}`)
  return { url: running.url, token: principal.token }
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
