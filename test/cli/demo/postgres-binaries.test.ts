import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, statSync, symlinkSync, truncateSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { canEnter } from '../../../src/cli/demo/postgres-binaries.js'
import type { LauncherProject } from './launcher-project.js'
import { makeLauncherProject, other } from './launcher-project.js'

let whole: LauncherProject
let unlinked: LauncherProject
let scratch = ''

beforeAll(() => {
  whole = makeLauncherProject({ mode: 0o755 })
  unlinked = makeLauncherProject({ mode: 0o755 })
  // As it lies there when npm was told not to run install scripts.
  for (const entry of readdirSync(join(unlinked.native, 'lib'), { withFileTypes: true })) if (entry.isSymbolicLink()) rmSync(join(entry.parentPath, entry.name))
})

afterAll(() => {
  whole.remove()
  unlinked.remove()
})

beforeEach(() => {
  scratch = realpathSync(mkdtempSync(join(tmpdir(), 'concordat-test-')))
  chmodSync(scratch, 0o755)
})

afterEach(() => rmSync(scratch, { recursive: true, force: true }))

function parent(name: string): string {
  const folder = join(scratch, name)
  mkdirSync(folder, { recursive: true })
  return folder
}

/** The name that a copy gets in `folder`. */
async function copyName(): Promise<string> {
  const { root = '' } = await unlinked.locate({ copyParents: [parent('naming')] })
  return root.slice(root.lastIndexOf('/') + 1)
}

describe('locateBinaries', () => {
  it('uses the package where it lies when it runs there', async () => {
    expect(await whole.locate({ copyParents: [] })).toMatchObject({ root: whole.native })
  })

  it('uses a copy with the libraries linked when the install script did not run, and the same one again', async () => {
    const first = await unlinked.locate({ copyParents: [parent('one')] })
    expect(first.root).toMatch(new RegExp(`^${join(scratch, 'one')}/concordat-postgres-`))
    expect(execFileSync(join(first.root ?? '', 'bin/postgres'), ['--version'], { encoding: 'utf8' })).toContain('PostgreSQL')
    const made = statSync(first.root ?? '').ctimeMs
    expect(await unlinked.locate({ copyParents: [parent('one')] })).toEqual(first)
    expect(statSync(first.root ?? '').ctimeMs).toBe(made)
    expect(readdirSync(parent('one'))).toHaveLength(1)
  })

  it('makes one whole copy when several processes start at once', async () => {
    const found = await Promise.all(Array.from({ length: 4 }, () => unlinked.locate({ copyParents: [parent('one')] })))
    expect(new Set(found.map(({ root }) => root)).size).toBe(1)
    expect(found[0]?.root).toBeDefined()
    expect(readdirSync(parent('one'))).toHaveLength(1)
  })

  it('mends a copy that has lost files', async () => {
    const { root = '' } = await unlinked.locate({ copyParents: [parent('one')] })
    rmSync(join(root, 'share/postgresql/postgres.bki'))
    truncateSync(join(root, 'bin/initdb'), 100)
    expect(await unlinked.locate({ copyParents: [parent('one')] })).toMatchObject({ root })
    expect(existsSync(join(root, 'share/postgresql/postgres.bki'))).toBe(true)
    expect(readdirSync(parent('one'))).toHaveLength(1)
  })

  it('never uses a folder that others could have filled, and goes on to the next place', async () => {
    const name = await copyName()
    mkdirSync(join(parent('writable'), name))
    chmodSync(join(scratch, 'writable', name), 0o777)
    symlinkSync(join(scratch, 'naming', name), join(parent('linked'), name))
    const { root } = await unlinked.locate({ copyParents: [parent('writable'), parent('linked'), parent('good')] })
    expect(root).toBe(join(scratch, 'good', name))
    const { error, message } = await unlinked.locate({ copyParents: [parent('writable'), parent('linked')] })
    expect(error).toBe('PostgresLaunchError')
    expect(message).toContain('belongs to somebody else')
    expect(readdirSync(join(scratch, 'writable', name))).toEqual([])
  })

  it('never puts a copy where others can exchange it', async () => {
    chmodSync(parent('shared'), 0o777)
    expect((await unlinked.locate({ copyParents: [parent('shared')] })).error).toBe('PostgresLaunchError')
    chmodSync(parent('shared'), 0o1777)
    expect((await unlinked.locate({ copyParents: [parent('shared')] })).error).toBeUndefined()
  })

  it('makes a copy that another account can run, whatever the umask', async () => {
    const before = process.umask(0o077)
    try {
      const account = other ?? { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }
      chmodSync(parent('one'), 0o755)
      const { root = '', message } = await unlinked.locate({ account, copyParents: [parent('one')] })
      expect(message).toBeUndefined()
      expect(statSync(join(root, 'share/postgresql/postgres.bki')).mode & 0o777).toBe(0o644)
      expect(statSync(join(root, 'lib')).mode & 0o777).toBe(0o755)
    } finally {
      process.umask(before)
    }
  })
})

describe('canEnter', () => {
  const stranger = { uid: 4_000_001, gid: 4_000_001 }

  it('asks every folder on the way', async () => {
    const inner = parent('outer/inner')
    expect(await canEnter(inner, stranger)).toBe(true)
    chmodSync(join(scratch, 'outer'), 0o750)
    expect(await canEnter(inner, stranger)).toBe(false)
    expect(await canEnter(inner, undefined)).toBe(true)
  })

  it('knows owner and group', async () => {
    const inner = parent('outer/inner')
    const { uid, gid } = statSync(inner)
    chmodSync(inner, 0o710)
    expect(await canEnter(inner, { uid: 4_000_001, gid })).toBe(true)
    chmodSync(inner, 0o701)
    if (uid !== 0) expect(await canEnter(inner, { uid: 4_000_001, gid })).toBe(false)
    chmodSync(inner, 0o077)
    if (uid === 0) chownSync(inner, stranger.uid, stranger.gid)
    expect(await canEnter(inner, uid === 0 ? stranger : { uid, gid })).toBe(false)
  })
})
