/** A million rows to a client that reads slowly, and then goes away: the gateway keeps little of them, and the database is free at once. */
import { once } from 'node:events'
import { connect } from 'node:net'
import { performance } from 'node:perf_hooks'
import { setTimeout as delay } from 'node:timers/promises'
import { graphqlRequest } from '../contestants.js'
import { residentMiB, resetPeak } from '../memory.js'
import { printed, table } from '../markdown.js'
import { LONG, longGateway } from './rows.js'

const READ_BYTES = 30_000_000
const BYTES_PER_SECOND = 1_000_000
const STEP_MS = 50
const [ABOVE_IDLE_MIB_MAX, FREE_MS_MAX] = [48, 1_000]
const PATIENCE_MS = 10_000
const DOCUMENT = `query Stream { users(first: ${LONG}) { nodes { key name team createdAt } } }`

export const stream = {
  name: 'stream',
  title: 'Stream: a million rows to a slow client',
  measure: async (bench) => {
    const gateway = await longGateway(bench, 'stream')
    // The paths are compiled, and the idle memory is that of a gateway that has worked.
    for (let index = 0; index < 20; index += 1)
      await read({ gateway, document: DOCUMENT.replace(String(LONG), '1000'), bytes: Infinity, bytesPerSecond: Infinity })
    await gateway.message('memory')
    const idleMiB = residentMiB(gateway.pid).now
    resetPeak(gateway.pid)
    bench.say(`reading ${READ_BYTES / 1e6} MB at ${BYTES_PER_SECOND / 1e6} MB/s`)
    const found = await read({ gateway, document: DOCUMENT, bytes: READ_BYTES, bytesPerSecond: BYTES_PER_SECOND })
    const peakMiB = residentMiB(gateway.pid).peak - idleMiB
    const isStreamed = found.bytes >= READ_BYTES
    if (!isStreamed) bench.say(`it ended after ${found.bytes} bytes: ${found.start}`)
    const freeMs = isStreamed ? await freeAfter(bench.stores) : NaN
    const figures = { idleMiB, peakMiB: isStreamed ? peakMiB : NaN, freeMs, bytes: found.bytes, firstByteMs: found.firstByteMs }
    return {
      figures,
      goals: [
        { what: 'memory above idle', value: figures.peakMiB, kind: 'atMost', must: ABOVE_IDLE_MIB_MAX, unit: 'MiB' },
        { what: 'until the backend is free', value: freeMs, kind: 'atMost', must: FREE_MS_MAX, unit: 'ms' },
      ],
      tables: table({
        title: `${LONG.toLocaleString('en')} rows, the first ${READ_BYTES / 1e6} MB at ${BYTES_PER_SECOND / 1e6} MB/s`,
        columns: ['', 'bytes read', 'first byte, ms', 'idle, MiB', 'peak above idle, MiB', 'backend free, ms'],
        rows: [['stream', printed(found.bytes), printed(found.firstByteMs), printed(idleMiB), printed(figures.peakMiB), printed(freeMs)]],
      }),
      chart: {
        title: 'Peak of memory above idle, MiB',
        mark: ABOVE_IDLE_MIB_MAX,
        groups: [{ label: 'stream', bars: [{ name: 'MiB', value: figures.peakMiB || 0, text: printed(figures.peakMiB) }] }],
      },
    }
  },
}

/** Reads no faster than it should, and goes away once it has read enough. @returns bytes read, the first of them, and when they came */
async function read({ gateway, document, bytes, bytesPerSecond }) {
  const socket = connect({ port: gateway.port, host: '127.0.0.1' })
  await once(socket, 'connect')
  const startedMs = performance.now()
  const result = { bytes: 0, start: '', firstByteMs: NaN }
  socket.on('error', () => undefined) // it ends, and that is seen
  const ended = new Promise((resolve) => socket.once('close', resolve))
  let isWhole = false
  socket.on('data', (chunk) => {
    if (result.bytes === 0) {
      result.firstByteMs = performance.now() - startedMs
      result.start = chunk.toString('utf8', 0, 1_000)
    }
    result.bytes += chunk.length
    isWhole =
      chunk.subarray(-3).equals(Buffer.from('}}\n')) || chunk.subarray(-2).equals(Buffer.from('}}')) || chunk.subarray(-5).equals(Buffer.from('0\r\n\r\n'))
    if (result.bytes >= allowed()) socket.pause()
  })
  // From the first byte on: what was waited for before is not read the faster for it.
  const allowed = () => Math.min(bytes, ((performance.now() - startedMs - result.firstByteMs) / 1_000) * bytesPerSecond)
  socket.write(graphqlRequest(gateway, document, {}))
  let isOver = false
  void ended.then(() => (isOver = true))
  // A whole answer that is shorter than what was to be read ends it too.
  while (!isOver && result.bytes < bytes && !isWhole) {
    await delay(Number.isFinite(bytesPerSecond) ? STEP_MS : 1)
    if (!(result.bytes >= allowed())) socket.resume()
  }
  socket.destroy()
  await ended
  return result
}

/** Milliseconds until no backend of the long database works for the gateway any more; NaN where that takes too long. */
async function freeAfter(stores) {
  const startedMs = performance.now()
  while (performance.now() - startedMs < PATIENCE_MS) {
    const [{ busy }] = await stores.query(
      'long',
      `SELECT count(*)::int AS busy FROM pg_stat_activity WHERE datname = 'long' AND usename = 'concordat_gateway' AND state <> 'idle'`,
    )
    if (busy === 0) return performance.now() - startedMs
    await delay(10)
  }
  return NaN
}
