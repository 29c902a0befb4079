import { once } from 'node:events'
import { request as httpRequest } from 'node:http'
import { connect } from 'node:net'
import { afterEach, describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { CODES, GatewayError } from '../../src/errors.js'
import { loadExplorer } from '../../src/gateway/explorer.js'
import { acceptsHtml, isJson, MEDIA_TYPES, negotiate } from '../../src/gateway/media.js'
import { piecesOf } from '../../src/gateway/pieces.js'
import type { GatewayRequest } from '../../src/gateway/request.js'
import { startServer, type Answer, type RunningServer, type ServerParts } from '../../src/gateway/server.js'
import type { Observation } from '../../src/observe.js'

const LIMITS = { bodyBytes: 2_000, receiveMs: 5_000, nesting: 20, concurrent: 50, stallMs: 5_000 }
const running: RunningServer[] = []
afterEach(async () => {
  await Promise.all(running.splice(0).map((each) => each.stop()))
})

interface Started extends RunningServer {
  readonly requests: GatewayRequest[]
  readonly observations: Observation[]
}

const echo: Answer = (request) =>
  Promise.resolve({
    status: 200,
    headers: { 'content-type': MEDIA_TYPES[request.accept] },
    body: piecesOf(JSON.stringify({ data: { document: request.document } })),
  })

async function start(options: Partial<ServerParts> = {}): Promise<Started> {
  const requests: GatewayRequest[] = []
  const observations: Observation[] = []
  let count = 0
  const { answer = echo, ...rest } = options
  const server = await startServer({
    answer: (request) => {
      requests.push(request)
      return answer(request)
    },
    listen: { host: '127.0.0.1', port: 0 },
    url: null,
    limits: LIMITS,
    drainMs: 2_000,
    ready: () => true,
    requestId: () => `id-${(count += 1)}`,
    observe: (observation) => observations.push(observation),
    explorer: null,
    demo: null,
    ...rest,
  })
  running.push(server)
  return { ...server, requests, observations }
}

const post = (server: RunningServer, body: unknown, headers: Record<string, string> = {}, path = '/graphql') =>
  fetch(`${server.url}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })

interface Refused {
  readonly errors: readonly { readonly message: string; readonly extensions: { readonly code: string } }[]
  readonly extensions: { readonly requestId: string }
}
const codeOf = async (response: Response): Promise<string> => ((await response.json()) as Refused).errors[0]?.extensions.code ?? 'none'

/** What the server writes on a connection of its own, to raw bytes. */
async function raw(server: RunningServer, text: string): Promise<string> {
  const { port, hostname } = new URL(server.url)
  const socket = connect(Number(port), hostname)
  const chunks: Buffer[] = []
  socket.on('data', (chunk) => chunks.push(chunk))
  socket.on('error', () => undefined)
  socket.write(text)
  await once(socket, 'close')
  return Buffer.concat(chunks).toString()
}

async function until(condition: () => boolean): Promise<void> {
  for (let tries = 0; tries < 400 && !condition(); tries += 1) await new Promise((resolve) => setTimeout(resolve, 5))
  expect(condition()).toBe(true)
}

describe('a request', () => {
  it('arrives with its document, variables, operation name, purpose and proof', async () => {
    const server = await start({ url: 'https://gateway.example' })
    const response = await post(
      server,
      { query: '{ a }', variables: { x: [1, { y: null }] }, operationName: 'A', extensions: {} },
      { authorization: 'Bearer t', 'x-purpose': 'operations', dpop: 'p' },
    )
    expect(response.status).toBe(200)
    expect(await response.json()).toEqual({ data: { document: '{ a }' } })
    expect(server.requests[0]).toMatchObject({
      id: 'id-1',
      authorization: 'Bearer t',
      purpose: 'operations',
      proof: { dpop: 'p', method: 'POST', url: 'https://gateway.example/graphql' },
      method: 'POST',
      document: '{ a }',
      operationName: 'A',
      variables: { x: [1, { y: null }] },
      accept: 'json',
      explain: false,
    })
    expect(response.headers.get('x-request-id')).toBe('id-1')
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      'content-type': 'application/json; charset=utf-8',
    })
  })

  it('comes by GET too, and to /explain by POST only', async () => {
    const server = await start()
    const search = new URLSearchParams({ query: '{ a }', variables: '{"x":1}', operationName: 'A' })
    await fetch(`${server.url}/graphql?${search.toString()}`)
    await post(server, { query: '{ b }' }, {}, '/explain')
    expect(server.requests).toMatchObject([
      { method: 'GET', document: '{ a }', variables: { x: 1 }, operationName: 'A', explain: false, proof: { url: `${server.url}/graphql` } },
      { method: 'POST', document: '{ b }', variables: null, operationName: null, explain: true, proof: { url: `${server.url}/explain` } },
    ])
    const refused = await fetch(`${server.url}/explain?query={a}`)
    expect([refused.status, refused.headers.get('allow')]).toEqual([405, 'POST'])
  })

  it.each<[string, unknown, number]>([
    ['a batch', [{ query: '{ a }' }], 400],
    ['a text', '"{ a }"', 400],
    ['null', 'null', 400],
    ['nothing', '', 400],
    ['broken JSON', '{"query": "{ a }"', 400],
    ['a query that is no text', { query: 1 }, 400],
    ['an operation name that is no text', { query: '{ a }', operationName: {} }, 400],
    ['variables that are a list', { query: '{ a }', variables: [] }, 400],
    ['variables that are a text', { query: '{ a }', variables: '{}' }, 400],
    ['extensions that are a number', { query: '{ a }', extensions: 1 }, 400],
    ['JSON that is nested too deeply', `{"query":"{ a }","variables":{"x":${'['.repeat(19)}${']'.repeat(19)}}}`, 400],
    ['a body that is too large', { query: ' '.repeat(2_000) }, 413],
  ])('is refused when it is %s', async (_, body, status) => {
    const server = await start()
    const response = await post(server, body)
    const refused = (await response.json()) as Refused
    expect(response.status).toBe(status)
    const code = status === 413 ? 'PAYLOAD_TOO_LARGE' : 'BAD_REQUEST'
    expect(refused).toEqual({ errors: [{ message: CODES[code].message, extensions: { code } }], extensions: { requestId: 'id-1' } })
    expect(server.requests).toEqual([])
  })

  it('may be as nested and as large as the limits say', async () => {
    const server = await start()
    const nested = `{"query":"{ a }","variables":{"x":${'['.repeat(18)}${']'.repeat(18)}}}`
    const brackets = JSON.stringify({ query: '[{"'.repeat(100), variables: { '[[{\\"': '}]' } })
    const large = JSON.stringify({ query: ' '.repeat(2_000 - 12) })
    for (const body of [nested, brackets, large]) expect((await post(server, body)).status).toBe(200)
    expect(large.length).toBe(2_000)
  })

  it('keeps names of the prototype as plain data, and finds nothing in them', async () => {
    const server = await start()
    expect((await post(server, '{"__proto__":{"query":"{ a }"},"constructor":1}')).status).toBe(200)
    expect(server.requests[0]).toMatchObject({ document: null, operationName: null, variables: null })
    await post(server, '{"query":"{ a }","variables":{"__proto__":{"admin":true}}}')
    const { variables } = server.requests[1] ?? {}
    expect(Object.keys(variables ?? {})).toEqual(['__proto__'])
    expect(({} as { admin?: boolean }).admin).toBeUndefined()
  })

  it('is refused with 415 for another type, charset or encoding, 406 for another answer, 405 for another method', async () => {
    const server = await start()
    const statuses = async (headers: Record<string, string>) => (await post(server, { query: '{ a }' }, headers)).status
    expect(await statuses({ 'content-type': 'text/plain' })).toBe(415)
    expect(await statuses({ 'content-type': 'application/x-www-form-urlencoded' })).toBe(415)
    expect(await statuses({ 'content-type': 'application/json; charset=iso-8859-1' })).toBe(415)
    expect(await statuses({ 'content-type': 'application/json; charset="UTF-8"' })).toBe(200)
    expect(await statuses({ 'content-encoding': 'gzip' })).toBe(415)
    expect(await statuses({ accept: 'text/html' })).toBe(406)
    expect(await statuses({ accept: 'application/json;q=0' })).toBe(406)
    const put = await fetch(`${server.url}/graphql`, { method: 'PUT' })
    expect([put.status, put.headers.get('allow'), await codeOf(put)]).toEqual([405, 'GET, POST', 'BAD_REQUEST'])
    expect((await fetch(`${server.url}/graphql`, { method: 'OPTIONS' })).status).toBe(405)
    const latin = await fetch(`${server.url}/graphql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: Buffer.from('{"query":"\xe9"}', 'latin1'),
    })
    expect(latin.status).toBe(400)
  })

  it('by GET is refused when a parameter stands twice or is no JSON', async () => {
    const server = await start()
    for (const search of [
      'query={a}&query={b}',
      'query={a}&variables=x',
      'query={a}&variables=[]',
      'query={a}&extensions=1',
      'query={a}&variables=1&variables=2',
    ])
      expect([search, (await fetch(`${server.url}/graphql?${search}`)).status]).toEqual([search, 400])
    expect((await fetch(`${server.url}/graphql`)).status).toBe(200)
    expect(server.requests).toMatchObject([{ document: null }])
  })

  it('is whole however its bytes are cut, one after the other on a connection', async () => {
    const server = await start()
    const documents = ['{ a }', `{ b # ${'ä€'.repeat(100)}\n }`, '{ c }']
    const bytes = Buffer.concat(
      documents.map((query, index) => {
        const body = Buffer.from(JSON.stringify({ query }))
        const end = index === documents.length - 1 ? 'connection: close\r\n' : ''
        const head = `POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n${end}content-length: ${body.length}\r\n\r\n`
        return Buffer.concat([Buffer.from(head), body])
      }),
    )
    const { port, hostname } = new URL(server.url)
    const socket = connect({ port: Number(port), host: hostname, noDelay: true })
    const closed = once(socket, 'close')
    socket.resume()
    for (let at = 0; at < bytes.length; at += 37) {
      socket.write(bytes.subarray(at, at + 37))
      await new Promise((resolve) => setImmediate(resolve))
    }
    await closed
    expect(server.requests.map(({ document }) => document)).toEqual(documents)
  })

  it('that breaks off in the middle of its body is asked of nobody, and leaves its place', async () => {
    const server = await start({ limits: { ...LIMITS, concurrent: 1 } })
    const { port, hostname } = new URL(server.url)
    const socket = connect(Number(port), hostname)
    socket.write('POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"query"')
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect((await post(server, { query: '{ b }' })).status).toBe(503) // the one place is taken
    socket.destroy()
    await until(() => server.observations.some(({ kind }) => kind === 'abandoned'))
    expect((await post(server, { query: '{ a }' })).status).toBe(200)
    expect(server.requests.map(({ document }) => document)).toEqual(['{ a }'])
  })

  it('that is refused may be sent to its end, but not on and on', async () => {
    const server = await start()
    const head = (type: string, length: number): string => `POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: ${type}\r\ncontent-length: ${length}\r\n`
    const next = `${head('application/json', 17)}connection: close\r\n\r\n{"query":"{ a }"}`
    const answers = await raw(server, `${head('text/plain', 9_000)}\r\n${' '.repeat(9_000)}${next}`)
    expect(answers).toMatch(/HTTP\/1.1 415[^]*HTTP\/1.1 200/)
    // Its connection is cut before the end, so what follows is never read.
    const cut = await raw(server, `${head('text/plain', 100_000)}\r\n${' '.repeat(100_000)}${next}`)
    expect(cut).not.toMatch(/HTTP\/1.1 (200|408)/)
    expect(server.requests).toHaveLength(1)
  })

  it('that says a small length and sends on is cut off by HTTP itself, one that says nothing is counted', async () => {
    const server = await start()
    const chunk = '3e8\r\n' + ' '.repeat(1_000) + '\r\n'
    const answer = await raw(
      server,
      `POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n${chunk.repeat(30)}`,
    )
    expect(answer).toContain('HTTP/1.1 413')
    expect(answer).not.toContain('HTTP/1.1 408') // it was cut off for its bytes, not for its time
    expect(server.requests).toEqual([])
  })

  it('that does not arrive in time is ended', async () => {
    const server = await start({ limits: { ...LIMITS, receiveMs: 300 } })
    expect(await raw(server, 'POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{')).toContain('HTTP/1.1 408')
    expect(await raw(server, 'POST /graphql HTTP/1.1\r\nhost: x\r\nx-slow: ')).toContain('HTTP/1.1 408')
  })

  it('that is no HTTP, has no host or an endless header is refused, and the server lives on', async () => {
    const server = await start()
    expect(await raw(server, 'nonsense\r\n\r\n')).toContain('HTTP/1.1 400')
    expect(await raw(server, 'GET / HTTP/1.1\r\n\r\n')).toContain('HTTP/1.1 400')
    expect(await raw(server, `GET / HTTP/1.1\r\nhost: x\r\nx-long: ${'a'.repeat(20_000)}\r\n\r\n`)).toContain('HTTP/1.1 431')
    expect((await post(server, { query: '{ a }' })).status).toBe(200)
  })

  it('never brings the server down, whatever the bytes of its body', async () => {
    const server = await start()
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(fc.json(), fc.string({ unit: 'binary' }), fc.constantFrom('{"query":', '[[', '"\\u', '{"variables":{"a":1e999}}')),
        async (body) => {
          const { status } = await post(server, body)
          expect([200, 400, 413]).toContain(status)
        },
      ),
      { numRuns: 60 },
    )
  })
})

describe('an answer', () => {
  it('that fails leaves as INTERNAL with the request id, and its reason stays in the log', async () => {
    const cause = new TypeError('a secret value')
    const server = await start({ answer: () => Promise.reject(cause) })
    const response = await post(server, { query: '{ a }' })
    expect(response.status).toBe(500)
    expect(await response.text()).toBe(
      JSON.stringify({ errors: [{ message: CODES.INTERNAL.message, extensions: { code: 'INTERNAL' } }], extensions: { requestId: 'id-1' } }),
    )
    expect(server.observations).toContainEqual({ kind: 'failed', requestId: 'id-1', cause })
  })

  it('that is a refusal has the status of its code and nothing of its detail', async () => {
    const server = await start({ answer: () => Promise.reject(new GatewayError('UNAUTHENTICATED', 'the signature is of an unknown key')) })
    const response = await post(server, { query: '{ a }' }, { accept: 'application/graphql-response+json' })
    expect([response.status, response.headers.get('www-authenticate'), response.headers.get('content-type')]).toEqual([
      401,
      'Bearer',
      MEDIA_TYPES['graphql-response'],
    ])
    expect(await response.text()).not.toContain('signature')
  })

  it('is logged with its code and without its text', async () => {
    const server = await start({ answer: () => Promise.resolve({ status: 200, code: 'SOURCE_TIMEOUT', headers: {}, body: piecesOf('{"data":"private"}') }) })
    await post(server, { query: '{ a }' })
    await until(() => server.observations.some(({ kind }) => kind === 'answered'))
    expect(server.observations.at(-1)).toMatchObject({ kind: 'answered', requestId: 'id-1', route: '/graphql', status: 200, code: 'SOURCE_TIMEOUT', bytes: 18 })
    expect(JSON.stringify(server.observations)).not.toContain('private')
  })

  it('is given up when the client goes away first', async () => {
    const aborted: boolean[] = []
    const server = await start({
      answer: async (request) => {
        await new Promise<void>((resolve) => request.signal.addEventListener('abort', resolve))
        aborted.push(request.signal.aborted)
        return echo(request)
      },
    })
    const leaving = new AbortController()
    const gone = fetch(`${server.url}/graphql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"query":"{ a }"}',
      signal: leaving.signal,
    })
    await until(() => server.requests.length === 1)
    leaving.abort()
    await expect(gone).rejects.toThrow()
    await until(() => aborted.length === 1)
    expect(server.observations).toContainEqual(expect.objectContaining({ kind: 'abandoned', requestId: 'id-1' }))
  })

  it('is not given up once it has been sent', async () => {
    const server = await start()
    await post(server, { query: '{ a }' })
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(server.requests[0]?.signal.aborted).toBe(false)
  })
})

/** An answer that waits until it is let go. */
function held(): { readonly answer: Answer; readonly letGo: () => void } {
  let letGo: () => void = () => undefined
  const gate = new Promise<void>((resolve) => (letGo = resolve))
  return { answer: (request) => gate.then(() => echo(request)), letGo }
}

describe('under load', () => {
  it('the next request beyond the limit is refused and the others are answered', async () => {
    const { answer, letGo } = held()
    const server = await start({ answer, limits: { ...LIMITS, concurrent: 3 } })
    const accepted = [1, 2, 3].map(() => post(server, { query: '{ a }' }))
    await until(() => server.requests.length === 3)
    const refused = await post(server, { query: '{ a }' })
    expect([refused.status, refused.headers.get('retry-after'), await codeOf(refused)]).toEqual([503, '1', 'OVERLOADED'])
    expect((await fetch(`${server.url}/healthz`)).status).toBe(200)
    letGo()
    expect((await Promise.all(accepted)).map(({ status }) => status)).toEqual([200, 200, 200])
    expect((await post(server, { query: '{ a }' })).status).toBe(200)
  })
})

describe('stopping', () => {
  it('lets requests under way finish, refuses new ones and ends', async () => {
    const { answer, letGo } = held()
    const server = await start({ answer })
    const underWay = post(server, { query: '{ a }' })
    await until(() => server.requests.length === 1)
    const stopped = server.stop()
    const refused = await post(server, { query: '{ a }' })
    expect([refused.status, refused.headers.get('connection')]).toEqual([503, 'close'])
    expect((await fetch(`${server.url}/readyz`)).status).toBe(503)
    letGo()
    expect((await underWay).status).toBe(200)
    await stopped
    await expect(fetch(`${server.url}/healthz`)).rejects.toThrow()
    expect(server.observations.at(-1)).toEqual({ kind: 'stopped', cut: 0 })
    running.splice(0)
  })

  it('ends after the time for it, and at once when it is told twice', async () => {
    for (const twice of [false, true]) {
      const server = await start({ answer: held().answer, drainMs: twice ? 60_000 : 100 })
      const cut = post(server, { query: '{ a }' }).catch(() => 'cut')
      await until(() => server.requests.length === 1)
      const stopped = server.stop()
      if (twice) await server.stop()
      await stopped
      expect(await cut).toBe('cut')
      await until(() => server.requests[0]?.signal.aborted === true)
      expect(server.observations.at(-1)).toEqual({ kind: 'stopped', cut: 1 })
      running.splice(0)
    }
  })
})

describe('other addresses', () => {
  it('say whether the process lives and whether it is ready', async () => {
    let ready = false
    const server = await start({ ready: () => ready })
    expect((await fetch(`${server.url}/healthz`)).status).toBe(200)
    expect((await fetch(`${server.url}/readyz`)).status).toBe(503)
    ready = true
    expect((await fetch(`${server.url}/readyz`)).status).toBe(200)
    expect((await fetch(`${server.url}/readyz`, { method: 'HEAD' })).status).toBe(200)
    expect((await fetch(`${server.url}/healthz`, { method: 'POST' })).status).toBe(405)
  })

  it('are not found, also without explorer and demo', async () => {
    const server = await start()
    for (const path of ['/', '/graphql/', '/GRAPHQL', '/..', '/explorer/page.js', '/demo/principals', '//graphql', '/%00'])
      expect([path, (await fetch(`${server.url}${path}`, { headers: { accept: 'text/html' } })).status]).toEqual([path, 404])
  })

  it('have an explorer that loads nothing from elsewhere', async () => {
    const server = await start({ explorer: await loadExplorer() })
    const page = await fetch(server.url, { headers: { accept: 'text/html,*/*;q=0.8' } })
    const html = await page.text()
    expect([page.status, page.headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8'])
    expect(page.headers.get('content-security-policy')).toContain("script-src 'self'; ")
    expect(html).not.toMatch(/(src|href)="(?!\/explorer\/|data:,)/)
    const assets = [...html.matchAll(/(?:src|href)="(\/explorer\/[^"]+)"/g)].map((match) => match[1] ?? '')
    expect(assets.length).toBeGreaterThan(4)
    for (const asset of assets) expect([asset, (await fetch(`${server.url}${asset}`)).status]).toEqual([asset, 200])
    for (const path of ['/explorer/', '/explorer/../package.json', '/explorer/%2e%2e/package.json', '/explorer/constructor'])
      expect((await fetch(`${server.url}${path}`)).status).toBe(404)
    expect((await fetch(server.url, { headers: { accept: 'application/json' } })).status).toBe(404)
  })

  it('give the demo’s tokens to this machine’s own pages only', async () => {
    const demo = [{ name: 'ana', organization: 'aurora', roles: ['analyst'], purposes: ['operations'], token: 't' }]
    const server = await start({ demo })
    expect(await (await fetch(`${server.url}/demo/principals`)).json()).toEqual(demo)
    const status = (headers: Record<string, string>) =>
      new Promise((resolve) => httpRequest(`${server.url}/demo/principals`, { headers }, (response) => resolve(response.resume().statusCode)).end())
    expect(await status({ host: 'localhost:4000' })).toBe(200)
    expect(await status({ host: 'rebound.example:4000' })).toBe(404)
    expect(await status({ 'sec-fetch-site': 'cross-site' })).toBe(404)
    expect(await status({ 'sec-fetch-site': 'same-origin' })).toBe(200)
  })
})

describe('media types', () => {
  it.each<[string | undefined, ReturnType<typeof negotiate>]>([
    [undefined, 'json'],
    ['', 'json'],
    ['*/*', 'json'],
    ['application/*', 'json'],
    ['application/json', 'json'],
    ['Application/JSON; Charset=UTF-8', 'json'],
    ['application/graphql-response+json', 'graphql-response'],
    ['application/graphql-response+json, application/json;q=0.9', 'graphql-response'],
    ['application/json, application/graphql-response+json', 'graphql-response'],
    ['application/json, application/graphql-response+json;q=0.5', 'json'],
    ['application/graphql-response+json;q=0.5, */*;q=0.1', 'graphql-response'],
    ['text/html, */*;q=0.1', 'json'],
    ['application/json;q=0, */*', 'graphql-response'],
    ['text/html', null],
    ['application/json;q=0', null],
    ['application/json;q=2', null],
    ['application/json; charset=iso-8859-1', null],
    ['text/plain;x="a, application/json"', null],
    ['nonsense', null],
    [';,;,', null],
  ])('for %j the answer is %j', (accept, media) => {
    expect(negotiate(accept)).toBe(media)
  })

  it('tell a page and JSON from other things', () => {
    expect([acceptsHtml('text/html,application/xhtml+xml'), acceptsHtml('*/*'), acceptsHtml(undefined), acceptsHtml('text/html;q=0')]).toEqual([
      true,
      false,
      false,
      false,
    ])
    expect([isJson('application/json'), isJson('application/json;charset=utf-8'), isJson('application/jsonp'), isJson(undefined), isJson('text/json')]).toEqual(
      [true, true, false, false, false],
    )
  })
})
