/** Starts `writer.ts` as real processes. The sources are stripped of their types first, since Node.js runs no TypeScript. */
import { spawn, type ChildProcess } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { transform } from '@swc/core'
import type { Receipt } from '../../src/audit/ledger.js'
import type { Ground } from './fixture.js'
import type { WriterOrder } from './writer.js'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

/** The audit and its writer as JavaScript, in a folder of their own; gives the writer's path. */
export async function compileWriter(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'concordat-writer-'))
  const audit = (await readdir(join(ROOT, 'src/audit'))).map((name) => `src/audit/${name}`)
  const demo = (await readdir(join(ROOT, 'src/cli/demo'))).filter((name) => name.endsWith('.ts')).map((name) => `src/cli/demo/${name}`)
  for (const file of [...audit, ...demo, 'src/errors.ts', 'test/audit/writer.ts', 'test/audit/fixture.ts', 'test/support/postgres.ts']) {
    const { code } = await transform(await readFile(join(ROOT, file), 'utf8'), {
      filename: file,
      swcrc: false,
      jsc: { target: 'es2022', parser: { syntax: 'typescript' } },
      module: { type: 'es6' },
    })
    const out = join(folder, file.replace(/\.ts$/, '.js'))
    await mkdir(dirname(out), { recursive: true })
    await writeFile(out, code)
  }
  await writeFile(join(folder, 'package.json'), '{"type":"module"}')
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  return join(folder, 'test/audit/writer.js')
}

export interface Writer {
  readonly child: ChildProcess
  /** What the process has told so far. */
  readonly receipts: Receipt[]
  /** It has opened its ledgers, and waits for `go`. */
  readonly ready: Promise<void>
  go(): void
  /** Once it has told so many. */
  told(count: number): Promise<void>
  /** Its exit code, or the signal that ended it. */
  readonly ended: Promise<number | string>
}

export function startWriter(path: string, on: Ground, options: Pick<WriterOrder, 'inFlight' | 'count' | 'intents'>): Writer {
  const keys = Object.fromEntries([...on.signers].map(([organization, { privateKey }]) => [organization, privateKey.export({ format: 'jwk' })]))
  const order: WriterOrder = { url: on.url, checkpoints: on.checkpoints, keys, ...options }
  const child = spawn(process.execPath, [path, JSON.stringify(order)], { stdio: ['pipe', 'pipe', 'inherit'] })
  let isReady: () => void
  const ready = new Promise<void>((resolve) => (isReady = resolve))
  const receipts: Receipt[] = []
  const waiting: { readonly count: number; readonly resolve: () => void }[] = []
  const lines = createInterface({ input: child.stdout })
  lines.on('line', (line) => {
    // A line that the kill cut off was not told.
    if (!line.endsWith('}')) return
    if (line === '{"ready":true}') return isReady()
    receipts.push(JSON.parse(line) as Receipt)
    for (const { count, resolve } of waiting) if (receipts.length >= count) resolve()
  })
  const ended = new Promise<number | string>((resolve) => {
    let result: number | string | null = null
    child.on('exit', (code, signal) => (result = code ?? signal ?? 'unknown'))
    lines.on('close', () => (result === null ? child.on('exit', (code, signal) => resolve(code ?? signal ?? 'unknown')) : resolve(result)))
  })
  const go = (): void => void child.stdin.write('\n')
  return { child, receipts, ended, ready, go, told: (count) => new Promise((resolve) => waiting.push({ count, resolve })) }
}
