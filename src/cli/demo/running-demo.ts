/** Which demos run now, for commands in other terminals: each leaves a note in the cache folder, and a note counts only while its server answers. */
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { DemoPrincipal } from '../../gateway/server.js'

export interface RunningDemo {
  readonly url: string
  /** Absolute. */
  readonly data: string
  readonly principals: readonly DemoPrincipal[]
}

interface Note {
  readonly url: string
  readonly data: string
  /** Unix milliseconds. */
  readonly startedMs: number
}

/** @returns how to take the note away. */
export async function noteDemo(cache: string, note: Note): Promise<() => Promise<void>> {
  const folder = join(cache, 'running')
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const file = join(folder, `${process.pid}.json`)
  await writeFile(file, JSON.stringify(note), { mode: 0o600 })
  return () => rm(file, { force: true })
}

/** The demo of this data folder, or, where none is named, the one that started last. */
export async function runningDemo(cache: string, data: string | null): Promise<RunningDemo | null> {
  const folder = join(cache, 'running')
  const names = await readdir(folder).catch(() => [])
  const notes = await Promise.all(names.map((name) => readNote(join(folder, name))))
  const fitting = notes.filter((note): note is Note => note !== null && (data === null || note.data === data)).sort((a, b) => b.startedMs - a.startedMs)
  for (const note of fitting) {
    const principals = await principalsAt(note.url)
    if (principals !== null) return { url: note.url, data: note.data, principals }
  }
  return null
}

async function readNote(file: string): Promise<Note | null> {
  try {
    const note: unknown = JSON.parse(await readFile(file, 'utf8'))
    if (typeof note !== 'object' || note === null || !('url' in note) || !('data' in note) || !('startedMs' in note)) return null
    const { url, data, startedMs } = note
    return typeof url === 'string' && /^http:\/\/127\.0\.0\.1:\d+$/.test(url) && typeof data === 'string' && typeof startedMs === 'number'
      ? { url, data, startedMs }
      : null
  } catch {
    return null
  }
}

const ANSWER_MS = 2_000

async function principalsAt(url: string): Promise<readonly DemoPrincipal[] | null> {
  try {
    const response = await fetch(`${url}/demo/principals`, { signal: AbortSignal.timeout(ANSWER_MS) })
    // This is what `demo` serves there; another program that took the port has no such list.
    return response.ok ? ((await response.json()) as DemoPrincipal[]) : null
  } catch {
    return null
  }
}
