import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { describe, expect, it } from '@jest/globals'
import type pg from 'pg'
import { cancelBackend } from '../../../src/connectors/postgres/cancel.js'

const SSL_REQUEST = '0000000804d2162f'
const CANCEL_REQUEST = '0000001004d2162e'

/** The first bytes that a cancel request sends to a server that then refuses it. */
async function firstBytes(settings: { readonly ssl: object | false; readonly sslNegotiation: string }): Promise<string> {
  const server = createServer((socket) => socket.once('data', (bytes) => (received.push(bytes.toString('hex')), socket.end('N'))))
  const received: string[] = []
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const client = { processID: 1, secretKey: 2, host: '127.0.0.1', port, ...settings }
  await cancelBackend(client as unknown as pg.ClientBase).catch(() => undefined)
  server.close()
  return received.join('')
}

describe('a cancel request', () => {
  it('asks for TLS first where the connection has it, so that the secret key is not seen on the way', async () => {
    expect(await firstBytes({ ssl: { rejectUnauthorized: false }, sslNegotiation: 'postgres' })).toBe(SSL_REQUEST)
  })

  it('begins with TLS where the connection did', async () => {
    expect(await firstBytes({ ssl: { rejectUnauthorized: false }, sslNegotiation: 'direct' })).toMatch(/^16/) // a TLS handshake record
  })

  it('goes in the clear where the connection does', async () => {
    expect(await firstBytes({ ssl: false, sslNegotiation: 'postgres' })).toBe(`${CANCEL_REQUEST}0000000100000002`)
  })
})
