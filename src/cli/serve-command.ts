import cluster from 'node:cluster'
import { availableParallelism } from 'node:os'
import { UsageError, type Command, type CommandContext } from './command.js'
import type { WorkerPost } from './worker.js'

const WORKERS_MAX = 256

export const SERVE: Command = {
  name: 'serve',
  summary: 'Runs the gateway of a configuration file.',
  positionals: [],
  options: [
    { name: 'config', value: 'FILE', required: true, about: 'The configuration; docs/configuration.md has every key.' },
    { name: 'workers', value: 'N', about: 'Processes that serve the address together, or `auto`: one for each processor; 1 if it is not given.' },
  ],
  notes: [
    'SIGTERM and Ctrl-C let requests under way finish, for the time that `gateway.drain` says, and refuse new ones; a second one ends at once.',
    'Stores and the gateway’s database may be down at the start: they are looked for until they answer.',
    'Workers share what `pool.max` and `audit.connections` allow; other limits are those of each. One that ends is started again.',
  ],
  run: async (input, context) => {
    const workers = workersOf(input.option('workers'))
    if (workers === 1) return serve(input.required('config'), context)
    if (cluster.isWorker) return serveAsWorker(input.required('config'), context)
    // Whoever supervises loads nothing of the gateway.
    const { supervise } = await import('./supervisor.js')
    return supervise({ workers, onStop: context.onStop })
  },
}

function workersOf(text: string | null): number {
  if (text === null) return 1
  if (text === 'auto') return availableParallelism()
  const workers = Number(text)
  if (!/^\d{1,3}$/.test(text) || workers < 1 || workers > WORKERS_MAX)
    throw new UsageError(`\`${text}\` is no number of workers; write 1 to ${WORKERS_MAX}, or auto`)
  return workers
}

/** Asked once, requests under way may finish; asked again, they are cut. */
async function serve(file: string, { environment, onStop }: CommandContext): Promise<number> {
  const [first, second] = [stopRequest(), stopRequest()]
  const unlisten = onStop(() => (first.isMade() ? second.make() : first.make()))
  try {
    return await serveUntil({ file, environment, drain: first.made, cut: second.made })
  } finally {
    unlisten()
  }
}

/** Signals of its own only drain it: one that reaches the whole group of processes comes by the supervisor too, and would count twice. */
async function serveAsWorker(file: string, { environment, onStop }: CommandContext): Promise<number> {
  const { joinSupervisor } = await import('./worker.js')
  const post = await joinSupervisor()
  const own = stopRequest()
  const unlisten = onStop(() => own.make())
  try {
    return await serveUntil({ file, environment, drain: Promise.race([own.made, post.drained]), cut: post.cut, post })
  } finally {
    unlisten()
    // The channel would keep the process alive.
    cluster.worker?.disconnect()
  }
}

interface Serving {
  readonly file: string
  readonly environment: CommandContext['environment']
  readonly drain: Promise<void>
  readonly cut: Promise<void>
  /** Absent: this is the only process. */
  readonly post?: WorkerPost
}

async function serveUntil({ file, environment, drain, cut, post }: Serving): Promise<number> {
  // Not before it is clear who runs: the gateway's modules take most of a start.
  const [{ loadConfig }, { startGateway }, { workerShare }] = await Promise.all([import('../config.js'), import('../main.js'), import('./worker-share.js')])
  const whole = loadConfig(file, environment)
  const config = post ? workerShare(whole, post.workers) : whole
  const fleet = post && { worker: post.worker, cursorSecret: post.secret, spendProof: post.spendProof }
  const gateway = await startGateway({ config, demo: null, ...(fleet && { fleet }) }).catch((error: unknown) => {
    throw explained(error, `${config.gateway.listen.host}:${config.gateway.listen.port}`)
  })
  post?.serving(config.gateway.log.level)
  await drain
  void cut.then(() => gateway.stop()) // a second call cuts what is still under way
  await gateway.stop().catch(() => undefined)
  return 0
}

interface StopRequest {
  readonly made: Promise<void>
  readonly isMade: () => boolean
  readonly make: () => void
}

function stopRequest(): StopRequest {
  let [isMade, make]: [boolean, () => void] = [false, () => undefined]
  const made = new Promise<void>((resolve) => (make = resolve))
  return {
    made,
    isMade: () => isMade,
    make: () => {
      isMade = true
      make()
    },
  }
}

/** Where the address cannot be listened on, which key to change. */
function explained(error: unknown, address: string): unknown {
  if (!(error instanceof Error) || !('code' in error) || !['EADDRINUSE', 'EACCES', 'EADDRNOTAVAIL'].includes(String(error.code))) return error
  const reason = error.code === 'EADDRINUSE' ? 'is taken by another program' : 'cannot be listened on'
  return new Error(`${address} ${reason}; write another address under gateway.listen`)
}
