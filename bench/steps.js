/**
 * `npm run bench:steps`: a page of 50 rows whose related rows are in another database, joined by key in the gateway, beside the pages that each of the two databases gives
 * alone, and beside one database that holds both. A page from two databases may cost 2.2 of the slower one alone.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import os, { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { fileURLToPath } from 'node:url'
import { median } from './statistics.js'

const HERE = fileURLToPath(new URL('.', import.meta.url))
const { status } = spawnSync(process.execPath, [join(HERE, '../infra/scripts/build-if-stale.js')], { stdio: 'inherit' })
if (status !== 0) process.exit(status ?? 1)
const { loadConfig } = await import('../dist/config.js')
const { startGateway } = await import('../dist/main.js')
const { layGround } = await import('./ground.js')
const { startStores } = await import('./stores.js')

const [SCALE, PAGE, ROUNDS, REQUESTS] = [0.2, 50, 11, 150]
const GOAL = 2.2
const ASKED = [
  { name: 'agents', from: 'one', document: '{ agents(first: 50) { nodes { key name status createdAt } } }' },
  {
    name: 'their owners, by key',
    from: 'one',
    document: 'query ($keys: [ID!]) { users(first: 50, where: { key: { in: $keys } }) { nodes { key name email team } } }',
  },
  { name: 'both, from one database', from: 'one', document: '{ agents(first: 50) { nodes { key name status createdAt owner { key name email team } } } }' },
  { name: 'both, from two databases', from: 'two', document: '{ agents(first: 50) { nodes { key name status createdAt owner { key name email team } } } }' },
]

const directory = await mkdtemp(join(tmpdir(), 'concordat-steps-'))
const closing = [() => rm(directory, { recursive: true, force: true })]
try {
  const stores = await startStores({ directory: join(directory, 'data'), scale: SCALE, say: (line) => process.stderr.write(`${line}\n`) })
  closing.push(() => stores.stop())
  // The other database has the same tables, with rows of its own.
  const elsewhere = { stores: { people: { kind: 'postgres', url: stores.gatewayUrl('borealis') } }, bindings: { User: { table: 'people.public.users' } } }
  const gateways = { one: await gatewayOver(stores, 'one', {}), two: await gatewayOver(stores, 'two', elsewhere) }
  const measured = new Map(ASKED.map(({ name }) => [name, []]))
  // In turns, so that what disturbs one disturbs all.
  for (let round = -1; round < ROUNDS; round += 1)
    for (const { name, from, document } of ASKED) {
      const ms = await timed(gateways[from], document)
      if (round >= 0) measured.get(name).push(ms)
    }
  report(measured)
} finally {
  for (const close of closing.reverse()) await close()
}

async function gatewayOver(stores, name, more) {
  const ground = await layGround({ directory: join(directory, name), port: 0, stores, organizations: ['aurora'], isProtected: false, more })
  const { url, stop } = await startGateway({ config: loadConfig(ground.config, {}), demo: null, writeLog: () => {} })
  closing.push(stop)
  return { url, token: ground.token }
}

/** Milliseconds of one request, asked one after the other over one connection. */
async function timed({ url, token }, query) {
  const variables = query.includes('$keys') ? { keys: Array.from({ length: PAGE }, (_, index) => String(1 + index)) } : {}
  const request = {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
    body: JSON.stringify({ query, variables }),
  }
  const startedMs = performance.now()
  for (let index = 0; index < REQUESTS; index += 1) {
    const { data, errors } = await (await fetch(`${url}/graphql`, request)).json()
    const rows = data ? Object.values(data)[0].nodes : []
    if (errors || rows.length !== PAGE || rows.some(({ owner }) => owner === null)) throw new Error(`not a page: ${JSON.stringify(errors ?? rows.slice(0, 2))}`)
  }
  return (performance.now() - startedMs) / REQUESTS
}

function report(measured) {
  const medians = new Map([...measured].map(([name, times]) => [name, median(times)]))
  const [agents, owners, , two] = [...medians.values()]
  const ratio = two / Math.max(agents, owners)
  console.log(
    [
      `Pages of ${PAGE} rows over HTTP, recorded, one after the other, medians of ${ROUNDS} rounds; ${os.cpus().length} cores, Node ${process.versions.node}, ${new Date().toISOString().slice(0, 10)}.`,
      '',
      '| | ms |',
      '|---|--:|',
      ...[...medians].map(([name, ms]) => `| ${name} | ${ms.toPrecision(3)} |`),
      '',
      `Two databases cost ${ratio.toFixed(2)} of the slower one alone (at most ${GOAL}).`,
    ].join('\n'),
  )
  mkdirSync(join(HERE, 'results'), { recursive: true })
  writeFileSync(join(HERE, 'results/steps.json'), `${JSON.stringify({ page: PAGE, ms: Object.fromEntries(medians), ratio }, null, 2)}\n`)
  if (ratio > GOAL) process.exitCode = 1
}
