/**
 * The load generator, a process of its own: connections that are kept alive, on each one request after the other. It writes requests that were made before and reads no
 * more of an answer than it must, since it shares the machine with what it measures. A message starts a run; the message that ends it has the figures.
 */
import { connect } from 'node:net'
import { performance } from 'node:perf_hooks'
import { cpuSnapshot } from './process-cpu.js'

/** One answer of so many is parsed and looked at. */
const LOOKED_AT = 64
const LATENCIES_MAX = 500_000

/**
 * @typedef {object} Run
 * @property {number} port
 * @property {readonly string[]} requests HTTP messages, taken in turn
 * @property {number} connections
 * @property {number} warmMs
 * @property {number} measuredMs
 * @property {Record<string, number>} pids whose processor time is taken
 */

process.on('message', (run) => {
  measure(run).then(
    (figures) => process.send({ figures }),
    (error) => process.send({ error: String(error?.stack ?? error) }),
  )
})
process.on('disconnect', () => process.exit())

async function measure({ port, requests, connections, warmMs, measuredMs, pids }) {
  const state = { isMeasuring: false, isOver: false, next: 0, bytes: 0, latencies: [], requests: requests.map((text) => Buffer.from(text)) }
  const all = await Promise.all(Array.from({ length: connections }, () => Client.open(port, state)))
  const ended = Promise.all(all.map((client) => client.run()))
  const over = async () => {
    await delay(warmMs)
    const before = take(pids)
    state.isMeasuring = true
    await delay(measuredMs)
    state.isMeasuring = false
    const after = take(pids)
    state.isOver = true
    return { before, after }
  }
  const [{ before, after }] = await Promise.all([over(), ended])
  for (const client of all) client.close()
  const sorted = Float64Array.from(state.latencies).sort()
  const seconds = (after.at - before.at) / 1_000
  return {
    requests: sorted.length,
    seconds,
    bytesEach: sorted.length > 0 ? state.bytes / sorted.length : 0,
    p50Ms: sorted[Math.floor(sorted.length * 0.5)] ?? null,
    p99Ms: sorted[Math.floor(sorted.length * 0.99)] ?? null,
    cpuMs: Object.fromEntries(Object.keys(pids).map((name) => [name, after.cpu[name] - before.cpu[name]])),
    loadCpuMs: after.own - before.own,
  }
}

function take(pids) {
  const of = cpuSnapshot()
  const { user, system } = process.cpuUsage()
  return { at: performance.now(), cpu: Object.fromEntries(Object.entries(pids).map(([name, pid]) => [name, of(pid)])), own: (user + system) / 1_000 }
}

function delay(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

/** One connection. */
class Client {
  #socket
  #state
  #startedMs = 0
  #answered = 0
  /** Of the answer under way. */
  #chunks = []
  #bytes = 0
  /** Bytes of head and body together; null while the head is not whole, -1 for a chunked body. */
  #whole = null
  #settle

  static open(port, state) {
    return new Promise((resolve, reject) => {
      const socket = connect({ port, host: '127.0.0.1', noDelay: true })
      socket.once('connect', () => resolve(new Client(socket, state)))
      socket.once('error', reject)
    })
  }

  constructor(socket, state) {
    this.#socket = socket
    this.#state = state
    socket.on('data', (chunk) => this.#receive(chunk))
    socket.on('close', () => this.#settle?.reject(new Error('the server closed a connection')))
  }

  run() {
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject }
      this.#send()
    })
  }

  close() {
    this.#settle = undefined
    this.#socket.destroy()
  }

  #send() {
    const { requests } = this.#state
    this.#startedMs = performance.now()
    this.#socket.write(requests[this.#state.next++ % requests.length])
  }

  #receive(chunk) {
    this.#chunks.push(chunk)
    this.#bytes += chunk.length
    if (this.#whole === null) this.#readHead()
    if (this.#whole === null) return
    if (this.#whole === -1 ? this.#endsChunked(chunk) : this.#bytes >= this.#whole) this.#answer()
  }

  #readHead() {
    const start = this.#chunks.length === 1 ? this.#chunks[0] : Buffer.concat(this.#chunks)
    const end = start.indexOf('\r\n\r\n')
    if (end < 0) return
    const head = start.latin1Slice(0, end)
    if (!head.startsWith('HTTP/1.1 200')) {
      this.#settle?.reject(new Error(start.toString('utf8', 0, 500)))
      return
    }
    const length = /content-length: *(\d+)/i.exec(head)
    this.#whole = length ? end + 4 + Number(length[1]) : -1
  }

  #endsChunked(chunk) {
    const tail = chunk.length >= 5 ? chunk : Buffer.concat(this.#chunks.slice(-2))
    return tail.subarray(-5).latin1Slice() === '0\r\n\r\n'
  }

  #answer() {
    const state = this.#state
    if (state.isMeasuring) {
      if (state.latencies.length < LATENCIES_MAX) state.latencies.push(performance.now() - this.#startedMs)
      state.bytes += this.#bytes
    }
    if (this.#answered++ % LOOKED_AT === 0) {
      const text = Buffer.concat(this.#chunks).toString()
      if (!text.includes('"data":{') || text.includes('"errors":')) {
        this.#settle?.reject(new Error(text.slice(0, 1_000)))
        return
      }
    }
    this.#chunks = []
    this.#bytes = 0
    this.#whole = null
    if (state.isOver) this.#settle?.resolve()
    else this.#send()
  }
}
