/** Builds `dist` when a source is newer than the last build, and does nothing otherwise: `npm start` runs it first. */
import { spawnSync } from 'node:child_process'
import { readdirSync, statSync, utimesSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '../..')
const built = modified(join(root, 'dist/build.tsbuildinfo'))
const sources = readdirSync(join(root, 'src'), { recursive: true }).map((name) => join(root, 'src', String(name)))

if ([...sources, join(root, 'tsconfig.build.json'), join(root, 'tsconfig.json')].some((file) => modified(file) > built)) {
  const compiler = createRequire(import.meta.url).resolve('typescript/bin/tsc')
  const { status } = spawnSync(process.execPath, [compiler, '-p', join(root, 'tsconfig.build.json')], { stdio: 'inherit' })
  // The compiler leaves the file as it was when nothing has changed but times.
  if (status === 0) utimesSync(join(root, 'dist/build.tsbuildinfo'), new Date(), new Date())
  process.exitCode = status ?? 1
}

function modified(file) {
  return statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0
}
