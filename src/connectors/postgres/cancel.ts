import pg from 'pg'

/**
 * Asks the server to cancel what a client's connection runs (PostgreSQL protocol, CancelRequest). Resolves when the server has closed the request's connection: it
 * has sent the signal by then. Goes over TLS where the client does, so that the secret key is not seen on the way.
 */
export function cancelBackend(client: pg.ClientBase): Promise<void> {
  const target = client as unknown as ConnectedClient
  const { processID, secretKey, ssl, sslNegotiation } = target
  if (processID === null || secretKey === null) return Promise.resolve()
  return new Promise((resolve, reject) => {
    const connection = new pg.Connection({ ssl, sslNegotiation } as pg.ConnectionConfig) as unknown as CancelConnection
    const timer = setTimeout(() => {
      connection.stream.destroy()
      reject(new Error('cancel request timed out'))
    }, CANCEL_TIMEOUT_MS)
    const settle = (then: () => void) => () => {
      clearTimeout(timer)
      then()
    }
    if (ssl && sslNegotiation !== 'direct') connection.on('connect', () => connection.requestSsl())
    connection.on(ssl ? 'sslconnect' : 'connect', () => connection.cancel(processID, secretKey))
    connection.on(
      'error',
      settle(() => reject(new Error('cancel request failed'))),
    )
    connection.on('end', settle(resolve))
    if (target.host.startsWith('/')) connection.connect(`${target.host}/.s.PGSQL.${target.port}`)
    else connection.connect(target.port, target.host)
  })
}

const CANCEL_TIMEOUT_MS = 2000

/** What of the driver's client (`pg` 8.23, lib/client.js) `@types/pg` leaves out. `ssl` is as the URL and the settings say together. */
interface ConnectedClient {
  readonly processID: number | null
  readonly secretKey: number | null
  readonly host: string
  readonly port: number
  readonly ssl: pg.ConnectionConfig['ssl'] | false
  readonly sslNegotiation: string
}

/** The driver's connection (`pg` 8.23, lib/connection.js), of which @types/pg shows little. */
interface CancelConnection {
  readonly stream: { destroy(): void }
  connect(port: number | string, host?: string): void
  requestSsl(): void
  cancel(processID: number, secretKey: number): void
  on(event: string, listener: () => void): void
}
