/** Documents that were never seen: what one costs, what many leave behind, and what a flood of them does to others. */
import { graphqlRequest, requestOf, startGateway } from '../contestants.js'
import { FRESH } from '../fresh.js'
import { residentMiB } from '../memory.js'
import { percent, printed, table } from '../markdown.js'
import { cpuOfRequest, median } from '../statistics.js'
import { WORKLOADS } from '../workloads.js'

/** Connections of whoever sends new documents; the steady client has as many as the settings say. */
const CONNECTIONS = 4
/** More than the gateway keeps: from here on each new document takes the place of another. */
const FILLING = 2_000
const DOCUMENTS = 10_000
/** New documents a second beside the steady client. At the goal of 1 ms each they take a tenth of a core. */
const FLOOD_PER_SECOND = 100
const [COLD_MS_MAX, GROWTH_MIB_MAX, SLOWER_MAX] = [1, 16, 0.2]

const W1 = WORKLOADS.find(({ id }) => id === 'W1')
const W3 = WORKLOADS.find(({ id }) => id === 'W3')

/** W3 under another alias each time, so that neither document nor answer is one that was seen. */
const FRESH_DOCUMENT = W3.documents.gateway.replace('{ key name executions', `{ key n${FRESH}: name executions`)
const SAME_DOCUMENT = FRESH_DOCUMENT.replace(FRESH, '00000000')

export const cold = {
  name: 'cold',
  title: 'Cold: documents that were never seen',
  measure: async (bench) => {
    const gateway = await bench.started(startGateway({ ...bench, name: 'cold', ground: { limits: { concurrentPerPrincipal: 10_000 } }, switches: {} }))
    const sample = await bench.sample()
    const requestsOf = (document) => W3.variations(sample).map((values) => graphqlRequest(gateway, document, values))
    const base = {
      port: gateway.port,
      connections: CONNECTIONS,
      pids: { contestant: gateway.pid, ...bench.stores.pids },
      warmMs: 0,
      measuredMs: bench.settings.seconds * 1_000,
    }
    let freshFrom = 1
    /** Each run has numbers of its own. */
    const fresh = (more = {}) => ({ ...base, requests: requestsOf(FRESH_DOCUMENT), freshFrom: (freshFrom += 1_000_000), ...more })
    const same = (more = {}) => ({ ...base, requests: requestsOf(SAME_DOCUMENT), ...more })
    const steady = { ...base, connections: bench.settings.connections, requests: W1.variations(sample).map((values) => requestOf(gateway, W1, values)) }
    const parts = { bench, gateway, generator: bench.generator(), other: bench.generator(), fresh, same, steady }
    const memory = await memoryOf(parts)
    const documents = await costOf(parts)
    const flood = await floodOf(parts)
    return {
      figures: { memory, documents, flood },
      goals: [
        { what: 'a new document (W3), gateway', value: documents.gatewayMs, kind: 'atMost', must: COLD_MS_MAX, noise: 0.1, unit: 'ms' },
        { what: `heap after ${DOCUMENTS} more documents`, value: memory.growthMiB, kind: 'atMost', must: GROWTH_MIB_MAX, unit: 'MiB' },
        { what: 'W1 beside a flood, throughput lost', value: 100 * flood.slower, kind: 'atMost', must: 100 * SLOWER_MAX, noise: 0.15, unit: '%' },
      ],
      tables: tablesOf({ memory, documents, flood }),
      chart: {
        title: 'W1 of a steady client, requests a second',
        groups: ['alone', 'known', 'flooded'].map((name) => ({
          label: name,
          bars: [{ name: 'W1', value: flood[name].rate, text: `${printed(flood[name].rate)}/s` }],
        })),
      },
    }
  },
}

/** The heap once the caches are full, and after ten thousand documents more. */
async function memoryOf({ bench, gateway, generator, fresh }) {
  const looked = async () => {
    const { heapUsed, external } = await gateway.message('memory')
    return { heapMiB: (heapUsed + external) / 1024 ** 2, residentMiB: residentMiB(gateway.pid).now }
  }
  const send = (count) => generator.run(fresh({ requestsMax: count, measuredMs: 600_000 }))
  bench.say(`sending ${FILLING} documents, and ${DOCUMENTS} more`)
  const before = await looked()
  await send(FILLING)
  const filled = await looked()
  await send(DOCUMENTS)
  const after = await looked()
  return { before, filled, after, growthMiB: after.heapMiB - filled.heapMiB }
}

/** Processor time of a request whose document is new, less that of one whose document is known. */
async function costOf({ bench, generator, fresh, same }) {
  const warmMs = bench.settings.warmSeconds * 1_000
  const rounds = []
  for (let round = 0; round < bench.settings.rounds; round += 1) {
    const known = cpuOfRequest(await generator.run(same({ warmMs })))
    const unknown = cpuOfRequest(await generator.run(fresh({ warmMs })))
    rounds.push({ known, unknown })
    bench.say(`round ${round + 1} gateway ${printed(known.contestant)} ms known, ${printed(unknown.contestant)} ms new`)
  }
  const difference = (name) => median(rounds.map(({ known, unknown }) => unknown[name] - known[name]))
  return { rounds, gatewayMs: difference('contestant'), storesMs: difference('stores') }
}

/**
 * A steady client alone, beside one that sends a known document at a rate, and beside one that sends new documents at that rate. The work that both of the latter ask
 * for takes processor time from the steady client on any machine; what new documents add, in preparing them and in pushing others out of the caches, is the
 * difference between the two.
 */
async function floodOf({ bench, generator, other, fresh, same, steady }) {
  const warmMs = bench.settings.warmSeconds * 1_000
  const rounds = []
  await generator.run({ ...steady, warmMs: bench.settings.primeSeconds * 1_000, measuredMs: 0 })
  const beside = async (run) => {
    // The other client begins before and ends after what is measured.
    const aside = run && other.run({ ...run, ratePerSecond: FLOOD_PER_SECOND, warmMs: 0, measuredMs: warmMs + steady.measuredMs + 200 })
    const [figures] = await Promise.all([generator.run({ ...steady, warmMs }), aside])
    return { rate: figures.requests / figures.seconds, p50Ms: figures.p50Ms, cpuMs: cpuOfRequest(figures) }
  }
  for (let round = 0; round < bench.settings.rounds; round += 1) {
    rounds.push({ alone: await beside(null), known: await beside(same()), flooded: await beside(fresh()) })
    const { alone, known, flooded } = rounds.at(-1)
    bench.say(
      `round ${round + 1} W1 ${Math.round(alone.rate)}/s alone, ${Math.round(known.rate)}/s beside known, ${Math.round(flooded.rate)}/s beside new documents`,
    )
  }
  const of = (name) => ({ rate: median(rounds.map((round) => round[name].rate)), p50Ms: median(rounds.map((round) => round[name].p50Ms)) })
  return {
    rounds,
    alone: of('alone'),
    known: of('known'),
    flooded: of('flooded'),
    slower: median(rounds.map(({ known, flooded }) => 1 - flooded.rate / known.rate)),
    slowerThanAlone: median(rounds.map(({ alone, flooded }) => 1 - flooded.rate / alone.rate)),
  }
}

function tablesOf({ memory, documents, flood }) {
  const heap = (name, { heapMiB, residentMiB: resident }) => [name, printed(heapMiB), printed(resident)]
  return [
    table({
      title: 'A document that was never seen (W3), ms of processor time beyond a known one',
      columns: ['', 'gateway', 'PostgreSQL'],
      rows: [['ms', printed(documents.gatewayMs), printed(documents.storesMs)]],
    }),
    table({
      title: 'Memory, MiB',
      columns: ['', 'heap and buffers in use', 'resident'],
      rows: [heap('before', memory.before), heap(`after ${FILLING} documents`, memory.filled), heap(`after ${DOCUMENTS} more`, memory.after)],
    }),
    table({
      title: `W1 of a steady client, beside another with ${FLOOD_PER_SECOND} documents a second`,
      columns: ['', 'requests a second', 'p50, ms'],
      rows: [
        ['alone', printed(flood.alone.rate), printed(flood.alone.p50Ms)],
        ['beside one known document', printed(flood.known.rate), printed(flood.known.p50Ms)],
        ['beside new documents', printed(flood.flooded.rate), printed(flood.flooded.p50Ms)],
      ],
    }),
    `New documents take ${percent(flood.slower)} of the throughput beside a known one, and ${percent(flood.slowerThanAlone)} of that alone.\n\n`,
  ].join('')
}
