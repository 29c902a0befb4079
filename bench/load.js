/**
 * The load generator, a process of its own over connections that are kept alive. It writes requests that were made before and reads no more of an answer than it must,
 * since it shares the machine with what it measures. A message starts a run; the message that ends it has the figures.
 *
 * Closed loop: on each connection one request after the other. Open loop: requests arrive at a rate, whatever becomes of those before them; one that finds no free
 * connection waits, and the wait is part of its latency.
 */
import { connect } from 'node:net'
import { performance } from 'node:perf_hooks'
import { cpuSnapshot } from './process-cpu.js'
import { FRESH } from './fresh.js'

/** One answer of so many is parsed and looked at. */
const LOOKED_AT = 64
const LATENCIES_MAX = 2_000_000
/** Arrivals that wait for a connection: beyond that the rate cannot be kept, and the run fails. */
const WAITING_MAX = 20_000
/** Between two looks at the arrivals that are due. */
const TICK_MS = 1
/** How many times half the asked time is added where too few answers have come. */
const LONGER = 8

/**
 * @typedef {object} Run
 * @property {number} port
 * @property {readonly string[]} requests HTTP messages, taken in turn; where one holds the word `FRESH`, each gets a number of its own there
 * @property {number} [freshFrom] the first of these numbers
 * @property {number} connections
 * @property {number | null} [ratePerSecond] of an open loop; absent or null: a closed one
 * @property {number} [requestsMax] no more are sent, and the run ends early once they are answered
 * @property {number} warmMs
 * @property {number} measuredMs
 * @property {number} [answersMin] measured for longer until there are so many, five times as long at most; and one on each connection comes before. What is under way at both
 *   ends takes processor time of answers that do not count, or counts without it: of few answers that is much
 * @property {Record<string, number>} pids whose processor time is taken
 */

process.on('message', (run) => {
  measure(run).then(
    (figures) => process.send({ figures }),
    (error) => process.send({ error: String(error?.stack ?? error) }),
  )
})
process.on('disconnect', () => process.exit())

async function measure({ port, requests, freshFrom = 0, connections, ratePerSecond = null, requestsMax = Infinity, warmMs, measuredMs, answersMin = 0, pids }) {
  const state = {
    isMeasuring: false,
    isOver: false,
    sent: 0,
    requestsMax,
    /** Of all, and of those that were measured. */
    finished: 0,
    answered: 0,
    bytes: 0,
    latencies: [],
    nextRequest: requestsFrom(requests, freshFrom),
  }
  const clients = await Promise.all(Array.from({ length: connections }, () => Client.open(port, state)))
  const work = ratePerSecond === null ? Promise.all(clients.map((client) => client.run())) : openLoop(clients, state, ratePerSecond)
  const timed = async () => {
    const rest = new globalThis.AbortController()
    const allSent = Promise.resolve(work).then(() => rest.abort())
    allSent.catch(() => undefined) // reported by `work` itself
    const atLeast = async (ms, isEnough) => {
      await delay(ms, rest.signal)
      for (let more = 0; more < LONGER && !isEnough(); more += 1) await delay(ms / 2, rest.signal)
    }
    await atLeast(warmMs, () => state.finished >= Math.min(answersMin, connections))
    const before = take(pids)
    state.isMeasuring = true
    await atLeast(measuredMs, () => state.answered >= answersMin)
    state.isMeasuring = false
    const after = take(pids)
    state.isOver = true
    return { before, after }
  }
  const [{ before, after }] = await Promise.all([timed(), work])
  for (const client of clients) client.close()
  const sorted = Float64Array.from(state.latencies).sort()
  const seconds = (after.at - before.at) / 1_000
  return {
    requests: state.answered,
    seconds,
    bytesEach: state.answered > 0 ? state.bytes / state.answered : 0,
    p50Ms: sorted[Math.floor(sorted.length * 0.5)] ?? null,
    p99Ms: sorted[Math.floor(sorted.length * 0.99)] ?? null,
    cpuMs: Object.fromEntries(Object.keys(pids).map((name) => [name, after.cpu[name] - before.cpu[name]])),
    loadCpuMs: after.own - before.own,
  }
}

/** Numbers take the place of a word of equal length, so that the length of the message stays. */
function requestsFrom(texts, freshFrom) {
  let next = 0
  if (!texts.some((text) => text.includes(FRESH))) {
    const buffers = texts.map((text) => Buffer.from(text))
    return () => buffers[next++ % buffers.length]
  }
  const parts = texts.map((text) => text.split(FRESH))
  return () => {
    const number = String(freshFrom + next).padStart(FRESH.length, '0')
    return parts[next++ % parts.length].join(number)
  }
}

/** Arrivals without memory (Poisson), from a fixed seed: bursts and gaps are the same in each run. */
async function openLoop(clients, state, ratePerSecond) {
  const free = [...clients]
  const waiting = []
  const random = seeded(20_261_125)
  const gapMs = () => (-Math.log(1 - random()) * 1_000) / ratePerSecond
  let underWay = 0
  let dueMs = performance.now() + gapMs()
  let fail
  const failed = new Promise((_, reject) => (fail = reject))
  failed.catch(() => undefined) // it is raced below
  const begin = (client, arrivedMs) => {
    underWay += 1
    client.once(arrivedMs).then(() => {
      underWay -= 1
      const next = waiting.shift()
      if (next === undefined) free.push(client)
      else begin(client, next)
    }, fail)
  }
  const arrivals = async () => {
    while (!state.isOver) {
      const now = performance.now()
      for (; dueMs <= now; dueMs += gapMs()) {
        // The clock of the arrivals has whole ticks: that this process looks only then is no delay of the server's. That it looks late is one.
        const arrivedMs = Math.ceil(dueMs / TICK_MS) * TICK_MS
        const client = free.pop()
        if (client) begin(client, Math.min(arrivedMs, now))
        else waiting.push(arrivedMs)
      }
      if (waiting.length > WAITING_MAX) throw new Error(`${ratePerSecond} requests a second cannot be kept up`)
      await delay(TICK_MS)
    }
    waiting.length = 0
    while (underWay > 0) await delay(TICK_MS)
  }
  await Promise.race([arrivals(), failed])
}

/** Numbers from 0 to 1 (mulberry32). */
function seeded(seed) {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

function take(pids) {
  const of = cpuSnapshot()
  const { user, system } = process.cpuUsage()
  return { at: performance.now(), cpu: Object.fromEntries(Object.entries(pids).map(([name, pid]) => [name, of(pid)])), own: (user + system) / 1_000 }
}

/** Ends early, without an error, when the signal says so. */
function delay(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms)
    signal?.addEventListener('abort', () => {
      clearTimeout(timer)
      resolve()
    })
    if (signal?.aborted) resolve()
  })
}

/** One connection. */
class Client {
  #socket
  #state
  #goesOn = false
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

  /** One request after the other, until the run is over. */
  run() {
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject }
      this.#goesOn = true
      this.#next()
    })
  }

  /** One request. */
  once(arrivedMs) {
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject }
      this.#send(arrivedMs)
    })
  }

  close() {
    this.#settle = undefined
    this.#socket.destroy()
  }

  #next() {
    if (this.#goesOn && !this.#state.isOver && this.#state.sent < this.#state.requestsMax) this.#send(performance.now())
    else this.#settle?.resolve()
  }

  #send(startedMs) {
    this.#state.sent += 1
    this.#startedMs = startedMs
    this.#socket.write(this.#state.nextRequest())
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
    state.finished += 1
    if (state.isMeasuring) {
      state.answered += 1
      if (state.latencies.length < LATENCIES_MAX) state.latencies.push(performance.now() - this.#startedMs)
      state.bytes += this.#bytes
    }
    if (this.#answered++ % LOOKED_AT === 0) {
      // Without the marks of a chunked body, which may stand anywhere.
      const text = Buffer.concat(this.#chunks)
        .toString()
        .replaceAll(/\r\n[0-9a-f]+\r\n/g, '')
      if (!text.includes('"data":{') || text.includes('"errors":')) {
        this.#settle?.reject(new Error(text.slice(0, 1_000)))
        return
      }
    }
    this.#chunks = []
    this.#bytes = 0
    this.#whole = null
    this.#next()
  }
}
