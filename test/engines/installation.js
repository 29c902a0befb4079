/** Where the engines of the tests are installed: outside the project, so that a fresh clone finds what an earlier one has brought. */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'

const isRoot = process.getuid?.() === 0
/** Root's is a folder that other accounts can enter: PostgreSQL refuses to run as root. */
const HOME = process.env.CONCORDAT_ENGINES ?? (isRoot ? '/var/cache/concordat/engines' : join(homedir(), '.cache', 'concordat', 'engines'))
const OUTPUT_KEPT = 4_000

/**
 * The folder of `name` in this `version`, made by `make` when it is missing. It is made beside its final name and renamed when complete, so that an interrupted
 * installation is never taken for a whole one; of two that run at a time, one wins.
 *
 * @param {{ name: string, version: string, make: (folder: string) => Promise<void> }} what
 * @returns {Promise<string>}
 */
export async function installed({ name, version, make }) {
  const final = join(HOME, name, version)
  if (existsSync(final)) return final
  await mkdir(join(HOME, name), { recursive: true, mode: 0o755 })
  const draft = await mkdtemp(join(HOME, name, 'new-'))
  try {
    const folder = join(draft, 'installed')
    await mkdir(folder, { mode: 0o755 })
    await make(folder)
    await rename(folder, final).catch((error) => {
      if (!existsSync(final)) throw error
    })
    return final
  } finally {
    await rm(draft, { recursive: true, force: true })
  }
}

/**
 * Runs a package client at low priority. A failure tells the last that it said; a missing one, which Debian packages bring it.
 *
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ cwd: string, from: string, env?: Record<string, string> }} options `from`: the Debian packages that have the command
 */
export async function fetchWith(command, args, { cwd, from, env = {} }) {
  const child = spawn('nice', [command, ...args], { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (said = (said + data).slice(-OUTPUT_KEPT)))
  const code = await new Promise((done, fail) => child.once('error', fail).once('close', done))
  if (code === 127) throw new Error(`\`${command}\` is missing; install it with: apt-get install ${from}`)
  if (code !== 0) throw new Error(`\`${command} ${args.join(' ')}\` ended with ${code} (it comes with: apt-get install ${from}):\n${said}`)
}

/** Python packages in exact versions, with what they need said among them, as files below `folder`. */
export async function fetchWheels(folder, packages) {
  const args = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--no-deps', '--only-binary', ':all:', '--target', folder, ...packages]
  await fetchWith('python3', args, { cwd: folder, from: 'python3 python3-pip' })
}
