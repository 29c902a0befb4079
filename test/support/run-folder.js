/** A folder for what the test files of one run share; `test/support/postgres.ts` keeps a cluster there. */
import { mkdtemp, rm, statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A file system in memory, where there is one: making databases there takes a fifth of the time. */
const MEMORY = '/dev/shm'
/** Bytes that the servers of a few tests at once take at most. */
const ROOM_BYTES = 2 * 1024 ** 3

export default async function makeRunFolder() {
  const room = await statfs(MEMORY).catch(() => null)
  const parent = room !== null && room.bavail * room.bsize >= ROOM_BYTES ? MEMORY : tmpdir()
  process.env.CONCORDAT_TEST_RUN = await mkdtemp(join(parent, 'concordat-test-'))
}

export async function removeRunFolder() {
  await rm(process.env.CONCORDAT_TEST_RUN, { recursive: true, force: true })
}
