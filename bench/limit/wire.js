/** As little of PostgreSQL's protocol (version 3) as one prepared statement takes. Values arrive as the bytes that the server sent. */
import { connect } from 'node:net'

const PROTOCOL = 196_608

/** One connection over a unix socket; one statement at a time. */
class Connection {
  #socket
  #prepared = new Set()
  /** Bytes of messages that are not whole yet. */
  #chunks = []
  #bytes = 0
  #wanted = 5
  #rows = []
  #settle = null

  constructor(url) {
    const { searchParams, pathname, username, port } = new URL(url)
    this.#socket = connect(`${searchParams.get('host')}/.s.PGSQL.${port}`)
    this.#socket.on('data', (chunk) => this.#receive(chunk))
    this.#socket.on('error', (error) => this.#settle?.reject(error))
    const text = ['user', username, 'database', pathname.slice(1), 'client_encoding', 'UTF8', 'TimeZone', 'UTC'].map((part) => `${part}\0`).join('')
    const startup = Buffer.alloc(9 + Buffer.byteLength(text))
    startup.writeInt32BE(startup.length, 0)
    startup.writeInt32BE(PROTOCOL, 4)
    startup.write(text, 8)
    this.#socket.write(startup)
  }

  ready() {
    return new Promise((resolve, reject) => (this.#settle = { resolve, reject }))
  }

  /** @returns {Promise<Buffer[][]>} the columns of each row */
  query({ name, text }, values) {
    const parts = []
    if (!this.#prepared.has(name)) {
      this.#prepared.add(name)
      parts.push(message('P', [`${name}\0${text}\0`, int16(0)]))
    }
    const parameters = values.flatMap((value) => [int32(Buffer.byteLength(value)), value])
    parts.push(message('B', [`\0${name}\0`, int16(0), int16(values.length), ...parameters, int16(0)]), message('E', ['\0', int32(0)]), message('S', []))
    this.#rows = []
    this.#socket.write(Buffer.concat(parts))
    return this.ready()
  }

  #receive(chunk) {
    this.#chunks.push(chunk)
    this.#bytes += chunk.length
    if (this.#bytes < this.#wanted) return
    let buffer = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks)
    this.#wanted = 5
    while (buffer.length >= 5) {
      const length = 1 + buffer.readInt32BE(1)
      if (buffer.length < length) {
        this.#wanted = length
        break
      }
      this.#message(buffer[0], buffer.subarray(5, length))
      buffer = buffer.subarray(length)
    }
    this.#chunks = buffer.length > 0 ? [buffer] : []
    this.#bytes = buffer.length
  }

  #message(type, body) {
    if (type === 0x44)
      this.#rows.push(columnsOf(body)) // DataRow
    else if (type === 0x5a)
      this.#settle?.resolve(this.#rows) // ReadyForQuery
    else if (type === 0x45) this.#settle?.reject(new Error(body.toString().replaceAll('\0', ' '))) // ErrorResponse
  }
}

function columnsOf(body) {
  const columns = []
  for (let offset = 2; offset < body.length;) {
    const length = body.readInt32BE(offset)
    columns.push(length < 0 ? null : body.subarray(offset + 4, offset + 4 + length))
    offset += 4 + Math.max(length, 0)
  }
  return columns
}

function message(type, parts) {
  const body = Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part)))
  return Buffer.concat([Buffer.from(type), int32(body.length + 4), body])
}

function int16(value) {
  const bytes = Buffer.alloc(2)
  bytes.writeInt16BE(value)
  return bytes
}

function int32(value) {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

/** Connections to one database; who finds none free waits. */
export class Pool {
  #idle = []
  #waiting = []

  static async open(url, size) {
    const pool = new Pool()
    for (let index = 0; index < size; index += 1) {
      const connection = new Connection(url)
      await connection.ready()
      pool.#idle.push(connection)
    }
    return pool
  }

  async query(statement, values) {
    const connection = this.#idle.pop() ?? (await new Promise((resolve) => this.#waiting.push(resolve)))
    try {
      return await connection.query(statement, values)
    } finally {
      const next = this.#waiting.shift()
      if (next) next(connection)
      else this.#idle.push(connection)
    }
  }
}
