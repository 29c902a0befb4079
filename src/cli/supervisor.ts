/**
 * Keeps the workers of `concordat serve --workers N` running. It opens the address for them and remembers what they must agree on; it reads no configuration and
 * holds no key but the one that it makes for them.
 */
import cluster, { type Worker } from 'node:cluster'
import { randomBytes } from 'node:crypto'
import type { LogLevel } from '../config.js'
import { proofMemory } from '../gateway/proof-memory.js'
import type { Observe } from '../observe.js'
import { isMessage, type ToSupervisor, type ToWorker } from './worker-message.js'

/** A worker that ends is started again at once, and later each time that it does not last. */
const AGAIN = { firstMs: 100, longestMs: 10_000, lastedMs: 10_000 } as const

/**
 * Runs until the workers have been told to stop and have ended, or the first one cannot serve: then there is something wrong with the configuration, and it has said
 * so itself.
 *
 * @param parts `onStop` calls back each time that the process is asked to stop.
 * @returns the exit code.
 * @throws Error where the first one cannot serve and has not said why.
 */
export async function supervise(parts: { readonly workers: number; readonly onStop: (listener: () => void) => () => void }): Promise<number> {
  /**
   * The workers share the listening socket, and the kernel chooses who takes a connection. Measured with a new connection for each request, on two workers: 380 us of
   * CPU, against 960 us when the supervisor accepts and hands the socket on, and 310 us in one process. A client keeps its connections, so an uneven choice
   * lasts: 32 connections that came at once fell 20:12 as a rule, and 30:2 at worst; handed on in turn they fell no better than 18:14.
   */
  cluster.schedulingPolicy = cluster.SCHED_NONE
  const supervisor = new Supervisor(parts.workers)
  const unlisten = parts.onStop(() => supervisor.stop())
  try {
    return await supervisor.run()
  } finally {
    unlisten()
  }
}

interface Post {
  readonly number: number
  worker: Worker | null
  /** Null: it does not serve yet. */
  servingSinceMs: number | null
  /** How long to wait before the next start. */
  againMs: number
  timer: NodeJS.Timeout | null
}

class Supervisor {
  readonly #secret = randomBytes(32).toString('base64')
  readonly #spendProof = proofMemory({ now: () => Date.now() })
  readonly #posts: readonly Post[]
  #orders: readonly ('drain' | 'cut')[] = []
  /** From the first moment that a worker serves. */
  #observe: Observe | null = null
  #end: (code: number) => void = () => undefined
  #fail: (error: Error) => void = () => undefined

  constructor(workers: number) {
    this.#posts = Array.from({ length: workers }, (_unused, index) => ({
      number: index + 1,
      worker: null,
      servingSinceMs: null,
      againMs: AGAIN.firstMs,
      timer: null,
    }))
  }

  /** The first worker alone: it brings the database up to date, and what is wrong is said once. */
  run(): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#end = resolve
      this.#fail = reject
      const [first] = this.#posts
      if (first) this.#start(first)
    })
  }

  /** First the requests under way may finish; the second time nothing is waited for. */
  stop(): void {
    this.#orders = this.#orders.length === 0 ? ['drain'] : ['drain', 'cut']
    const order = this.#orders.at(-1)
    for (const post of this.#posts) {
      if (post.timer) clearTimeout(post.timer)
      if (post.worker && order) send(post.worker, { kind: order })
    }
    this.#endIfDone(0)
  }

  #start(post: Post): void {
    const worker = cluster.fork()
    post.worker = worker
    post.servingSinceMs = null
    worker.on('message', (message: unknown) => {
      if (isMessage(message)) this.#heard(post, worker, message as ToSupervisor) // Only our worker has the other end.
    })
    // What cannot be written to has ended, or will; only one that could not be started has no end to tell of it.
    worker.on('error', () => {
      if (worker.process.pid === undefined) this.#ended(post, worker, 'no process')
    })
    worker.on('exit', (code: number | null, signal: string | null) => this.#ended(post, worker, code ?? signal ?? 'unknown'))
  }

  #heard(post: Post, worker: Worker, message: ToSupervisor): void {
    switch (message.kind) {
      case 'hello':
        send(worker, { kind: 'begin', worker: post.number, workers: this.#posts.length, secret: this.#secret })
        for (const kind of this.#orders) send(worker, { kind })
        return
      case 'serving':
        void this.#serves(post, worker, message.logLevel)
        return
      case 'spend': {
        const { id } = message
        void this.#spendProof(message.key, message.untilMs).then((spending) => send(worker, { kind: 'spent', id, spending }))
      }
    }
  }

  async #serves(post: Post, worker: Worker, logLevel: LogLevel): Promise<void> {
    post.servingSinceMs = performance.now()
    const isFirst = this.#observe === null
    if (isFirst) {
      // Loaded now rather than before the first worker has its processor.
      const { observer } = await import('../observe.js')
      this.#observe = observer({ level: logLevel })
    }
    this.#observe?.({ kind: 'worker-started', worker: post.number, pid: worker.process.pid ?? 0 })
    if (isFirst && this.#orders.length === 0) for (const other of this.#posts) if (!other.worker && !other.timer) this.#start(other)
  }

  #ended(post: Post, worker: Worker, how: number | string): void {
    post.worker = null
    const lastedMs = post.servingSinceMs === null ? 0 : performance.now() - post.servingSinceMs
    const isStopping = this.#orders.length > 0
    if (this.#observe === null && post.servingSinceMs === null && !isStopping) return this.#neverServed(how)
    if (lastedMs >= AGAIN.lastedMs) post.againMs = AGAIN.firstMs
    const againMs = isStopping ? null : post.againMs
    if (how !== 0 || againMs !== null) this.#observe?.({ kind: 'worker-ended', worker: post.number, pid: worker.process.pid ?? 0, how, againMs })
    if (againMs === null) return this.#endIfDone(0)
    post.againMs = Math.min(againMs * 2, AGAIN.longestMs)
    post.timer = setTimeout(() => {
      post.timer = null
      this.#start(post)
    }, againMs)
  }

  /** An exit code: it has said itself what is wrong. */
  #neverServed(how: number | string): void {
    if (typeof how === 'number' && how !== 0) this.#end(how)
    else this.#fail(new Error(`the first worker ended before it served (${how})`))
  }

  #endIfDone(code: number): void {
    if (this.#posts.every(({ worker }) => worker === null)) this.#end(code)
  }
}

function send(worker: Worker, message: ToWorker): void {
  if (worker.isConnected()) worker.send(message)
}
