/** The gateway as a process of its own, started by `concordat serve`. The sources are stripped of their types first, since Node.js runs no TypeScript. */
import { spawn, type ChildProcess } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { transform } from '@swc/core'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

export interface CompiledGateway {
  /**
   * Runs `concordat serve` on a configuration file, with further arguments; ready to answer when the promise resolves.
   *
   * @throws Error with its output where it ends before it listens.
   */
  serve(config: string, ...more: readonly string[]): Promise<GatewayProcess>
  /** Kills the processes that still run, and removes the folder. */
  remove(): Promise<void>
}

/** The project as JavaScript, in a folder of its own. */
export async function compileGateway(): Promise<CompiledGateway> {
  const folder = await mkdtemp(join(tmpdir(), 'concordat-compiled-'))
  const files = (await readdir(join(ROOT, 'src'), { recursive: true })).filter((name) => name.endsWith('.ts'))
  await Promise.all(
    files.map(async (file) => {
      const { code } = await transform(await readFile(join(ROOT, 'src', file), 'utf8'), {
        filename: file,
        swcrc: false,
        jsc: { target: 'es2022', parser: { syntax: 'typescript' } },
        module: { type: 'es6' },
      })
      const out = join(folder, 'dist', file.replace(/\.ts$/, '.js'))
      await mkdir(dirname(out), { recursive: true })
      await writeFile(out, code)
    }),
  )
  for (const name of ['assets', 'migrations', 'node_modules', 'schema']) await symlink(join(ROOT, name), join(folder, name))
  await cp(join(ROOT, 'bin'), join(folder, 'bin'), { recursive: true })
  await writeFile(join(folder, 'package.json'), '{"type":"module"}')
  const started = new Set<ChildProcess>()
  return {
    serve: (config, ...more) => serve([join(folder, 'bin/concordat.js'), 'serve', '--config', config, ...more], started),
    remove: async () => {
      for (const child of started) child.kill('SIGKILL')
      await rm(folder, { recursive: true, force: true })
    },
  }
}

export interface GatewayProcess {
  readonly url: string
  readonly child: ChildProcess
  /** Lines of its log, parsed. */
  readonly log: Readonly<Record<string, unknown>>[]
  /** The exit code, or the signal that ended it. */
  readonly ended: Promise<number | string>
  /** Sends a signal and waits for the end. */
  end(signal: 'SIGTERM' | 'SIGKILL'): Promise<number | string>
}

async function serve(command: readonly string[], started: Set<ChildProcess>): Promise<GatewayProcess> {
  const child = spawn(process.execPath, command, { stdio: ['ignore', 'pipe', 'pipe'] })
  started.add(child)
  const log: Readonly<Record<string, unknown>>[] = []
  let errors = ''
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()))
  const ended = new Promise<number | string>((resolve) => child.on('close', (code, signal) => resolve(code ?? signal ?? 'unknown')))
  const listening = new Promise<string>((resolve) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      // A line that a kill cut off is none.
      if (!line.endsWith('}')) return
      const entry = JSON.parse(line) as Readonly<Record<string, unknown>>
      log.push(entry)
      if (entry.event === 'listening') resolve(String(entry.url))
    })
  })
  const failed = ended.then((how): never => {
    throw new Error(`concordat serve ended with ${how} before it listened: ${errors}${JSON.stringify(log)}`)
  })
  const url = await Promise.race([listening, failed])
  failed.catch(() => undefined)
  return {
    url,
    child,
    log,
    ended,
    end: (signal) => {
      child.kill(signal)
      return ended
    },
  }
}
