import { createServer } from 'node:net'
import { join, resolve } from 'node:path'
import { loadConfig, type Config } from '../config.js'
import type { DemoPrincipal } from '../gateway/server.js'
import { startGateway } from '../main.js'
import { UsageError, type Command, type CommandContext } from './command.js'
import { cacheFolder, layConfiguration, layPolicies } from './demo/demo-folder.js'
import { demoKeys } from './demo/demo-keys.js'
import { startDemoStores, type DemoStores } from './demo/demo-stores.js'
import { DEMO_TOKEN_DAYS, demoPrincipals } from './demo/demo-tokens.js'
import { DEMO_ORGANIZATIONS } from './demo/platform-data.js'
import { noteDemo, runningDemo } from './demo/running-demo.js'
import { rlsScripts } from './rls.js'

const DEFAULT_PORT = 4000

export const DEMO: Command = {
  name: 'demo',
  summary: 'Starts three organizations with a PostgreSQL server each, and a gateway over them.',
  positionals: [],
  options: [
    { name: 'port', value: 'N', about: `Port of the gateway on 127.0.0.1; ${DEFAULT_PORT} if it is not given.` },
    { name: 'data', value: 'DIR', about: "Folder for the databases and keys; if it is not given, a folder under the user's cache." },
    { name: 'scale', value: 'X', about: 'Size of the data: 1 has 300,000 executions for each organization. Another scale than before replaces the rows.' },
    { name: 'json', value: null, about: 'Starts nothing: prints URL and principals of the running demo, or of the one that would start.' },
  ],
  notes: ['Ctrl-C stops everything; the data stay, and the next start takes them up. To begin anew, remove the folder.'],
  run: (input, context) => {
    const port = portOf(input.option('port'))
    const given = input.option('data')
    const cache = cacheFolder(context.environment)
    const demo: Demo = { port: port ?? DEFAULT_PORT, data: resolve(given ?? join(cache, 'demo')), cache, scale: scaleOf(input.option('scale')) }
    return input.flag('json') ? printDemo({ ...demo, isNamed: given !== null }, context) : runDemo(demo, context)
  },
}

interface Demo {
  readonly port: number
  readonly data: string
  readonly cache: string
  readonly scale: number | null
}

function portOf(text: string | null): number | null {
  if (text === null) return null
  if (!/^\d{1,5}$/.test(text) || Number(text) > 65_535) throw new UsageError(`\`${text}\` is no port; write a number from 0 to 65535`)
  return Number(text)
}

function scaleOf(text: string | null): number | null {
  if (text === null) return null
  const scale = Number(text)
  if (!/^\d{0,3}(\.\d{1,6})?$/.test(text) || !(scale > 0)) throw new UsageError(`\`${text}\` is no scale; write a number above 0, such as 0.01`)
  return scale
}

async function printDemo({ data, port, cache, isNamed }: Demo & { readonly isNamed: boolean }, { write }: CommandContext): Promise<number> {
  const running = (await runningDemo(cache, data)) ?? (isNamed ? null : await runningDemo(cache, null))
  const url = running?.url ?? `http://127.0.0.1:${port}`
  const principals = running?.principals ?? (await demoPrincipals(await demoKeys(data), Date.now()))
  write(`${JSON.stringify({ url, api: `${url}/graphql`, explorer: `${url}/`, running: running !== null, data: running?.data ?? data, principals }, null, 2)}\n`)
  return 0
}

async function runDemo(demo: Demo, context: CommandContext): Promise<number> {
  const { data, cache, port, scale } = demo
  const running = await runningDemo(cache, data)
  if (running !== null) throw new Error(`a demo of ${data} runs already, at ${running.url}`)
  await refuseTakenPort(port)
  const stopping = new AbortController()
  let stop: () => void = () => stopping.abort()
  const unlisten = context.onStop(() => stop())
  try {
    const keys = await demoKeys(data)
    await layPolicies(data, keys)
    context.write('Starting four PostgreSQL servers …\n')
    const stores = await startDemoStores({ dataDirectory: data, signal: stopping.signal, ...(scale !== null && { scale }) })
    try {
      const config = loadConfig(await layConfiguration(data, { port, stores }), context.environment)
      await protectStores(stores, config)
      const principals = await demoPrincipals(keys, Date.now())
      const gateway = await startGateway({ config, demo: principals })
      const forget = await noteDemo(cache, { url: gateway.url, data, startedMs: Date.now() })
      context.write(greeting(gateway.url, data, principals))
      await new Promise<void>((ended) => {
        stop = () => void gateway.stop().then(ended, ended)
        if (stopping.signal.aborted) stop()
      })
      await forget()
    } finally {
      await stores.stop()
    }
    context.write('Stopped.\n')
    return 0
  } catch (error) {
    if (!stopping.signal.aborted) throw error
    context.write('Stopped.\n')
    return 0
  } finally {
    unlisten()
  }
}

/** The second wall, as the owners of the demo would apply it; only where policies have changed is there anything to do. */
async function protectStores(stores: DemoStores, config: Config): Promise<void> {
  const nowMs = Date.now()
  await Promise.all(
    DEMO_ORGANIZATIONS.map(async (organization) => {
      const scripts = await rlsScripts(config, { organization, store: null, role: null, ownRoles: [] }, nowMs)
      for (const { statements } of scripts) await stores.protect(organization, statements)
    }),
  )
}

/** Before minutes are spent on databases. @throws Error when somebody listens on the port. */
function refuseTakenPort(port: number): Promise<void> {
  return new Promise((free, taken) => {
    const probe = createServer()
    probe.once('error', (error: NodeJS.ErrnoException) => {
      const reason = error.code === 'EADDRINUSE' ? 'is taken by another program' : `cannot be used (${error.code ?? 'unknown'})`
      taken(new Error(`port ${port} ${reason}; choose another one with --port N`))
    })
    probe.listen({ host: '127.0.0.1', port }, () => probe.close(() => free()))
  })
}

const EXAMPLE = '{ agents(first: 5, orderBy: [{ name: ASC }]) { totalCount nodes { organization name status monthlyBudget } } }'

function greeting(url: string, data: string, principals: readonly DemoPrincipal[]): string {
  const rows = principals.flatMap(({ name, organization, roles, purposes, token }) => [
    `  ${name.padEnd(8)}${organization.padEnd(10)}${roles.join(', ').padEnd(12)}for ${purposes.join(', ')}`,
    `    ${token}`,
  ])
  const [first] = principals
  return [
    '',
    'Concordat: three organizations, one API.',
    '',
    `  API       ${url}/graphql`,
    `  Explorer  ${url}/`,
    `  Data      ${data}`,
    '',
    `Principals, each with a token for ${DEMO_TOKEN_DAYS} days (\`npx concordat token --demo NAME\` prints one):`,
    '',
    ...rows,
    '',
    `A first query, as ${first?.name ?? 'nobody'}:`,
    '',
    `TOKEN='${first?.token ?? ''}'`,
    `curl -s ${url}/graphql -H "authorization: Bearer $TOKEN" -H 'content-type: application/json' \\`,
    `  -d '${JSON.stringify({ query: EXAMPLE })}'`,
    '',
    'Ctrl-C stops everything.',
    '',
  ].join('\n')
}
