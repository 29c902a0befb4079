/** Runs beside the packages that timescale.js has installed: `node server.mjs PORT DATA`. */
import { PGlite } from '@electric-sql/pglite'
import { timescaledb } from '@electric-sql/pglite/timescaledb'
import { vector } from '@electric-sql/pglite/vector'
import { PGLiteSocketServer } from '@electric-sql/pglite-socket'

const [port, data] = process.argv.slice(2)
const db = await PGlite.create(data, { extensions: { timescaledb, vector } })
await db.exec('CREATE EXTENSION IF NOT EXISTS timescaledb')
const server = new PGLiteSocketServer({ db, host: '127.0.0.1', port: Number(port) })
await server.start()
process.once('SIGTERM', async () => {
  await server.stop()
  await db.close()
  process.exit(0)
})
