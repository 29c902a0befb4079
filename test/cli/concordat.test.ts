import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { decodeJwt } from 'jose'
import { main } from '../../src/cli/concordat.js'
import { generateKeyPair } from '../../src/cli/token.js'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'concordat-cli-'))
})
afterAll(() => {
  rmSync(folder, { recursive: true, force: true })
})

interface Running {
  readonly code: Promise<number>
  readonly out: () => string
  readonly err: () => string
  /** As Ctrl-C does. */
  readonly stop: () => void
}

function start(args: readonly string[]): Running {
  const written = { out: '', err: '' }
  const listeners = new Set<() => void>()
  const code = main(args, {
    write: (text) => void (written.out += text),
    writeError: (text) => void (written.err += text),
    environment: { HOME: folder, XDG_CACHE_HOME: join(folder, 'cache') },
    onStop: (listener) => {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
  })
  return { code, out: () => written.out, err: () => written.err, stop: () => listeners.forEach((listener) => listener()) }
}

async function run(...args: string[]): Promise<{ readonly code: number; readonly out: string; readonly err: string }> {
  const running = start(args)
  const code = await running.code
  return { code, out: running.out(), err: running.err() }
}

async function until(condition: () => boolean | Promise<boolean>, waitMs: number): Promise<void> {
  const end = Date.now() + waitMs
  while (!(await condition())) {
    if (Date.now() > end) throw new Error('it did not happen in time')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

const COMMANDS = [
  'demo',
  'serve',
  'introspect',
  'check',
  'explain',
  'token',
  'agreement sign',
  'agreement verify',
  'audit list',
  'audit export',
  'audit verify',
  'audit key',
  'rls render',
]

describe('the command line', () => {
  it('lists its commands, and has help for each of them', async () => {
    const overview = await run('help')
    expect(overview.code).toBe(0)
    for (const command of COMMANDS) {
      expect(overview.out).toContain(`  ${command} `)
      const { code, out } = await run(...command.split(' '), '--help')
      expect([command, code, out.includes(`Usage: concordat ${command}`)]).toEqual([command, 0, true])
    }
    expect((await run('audit', '--help')).out).not.toContain('introspect')
    expect((await run()).code).toBe(2)
  })

  it.each<[string, readonly string[], string]>([
    ['a command that does not exist', ['srve'], 'did you mean `serve`?'],
    ['half a command', ['audit'], 'write `concordat audit list` or'],
    ['a misspelt second word', ['audit', 'verfy'], 'did you mean `audit verify`?'],
    ['something else', ['xyzzy'], '`concordat help` lists the commands'],
    ['a misspelt option', ['demo', '--prot', '5000'], 'did you mean --port?'],
    ['an unknown option', ['serve', '--config', 'x', '--colour'], 'there is no option --colour; there are --config'],
    ['an option without its value', ['demo', '--port'], "'--port <value>' argument missing"],
    ['an option twice', ['demo', '--port', '1', '--port', '2'], '--port stands more than once'],
    ['a missing option', ['serve'], '--config FILE is missing'],
    ['a missing argument', ['introspect', '--organization', 'a', '--out', 'b'], 'URL is missing'],
    ['an argument too many', ['demo', 'now'], '`now` is one argument too many'],
    ['a port that does not exist', ['demo', '--port', '70000'], '`70000` is no port'],
    ['a scale of nothing', ['demo', '--scale', '0'], '`0` is no scale'],
    ['a demo principal that does not exist', ['token', '--demo', 'nobody'], 'there is no demo principal `nobody`; there are ana'],
    ['two kinds of token', ['token', '--demo', 'ana', '--key', 'x'], 'either --demo NAME or --key FILE'],
    ['a lifetime without unit', ['token', '--demo', 'ana', '--lifetime', '5'], '`5` is no time'],
    ['no configuration', ['check'], 'either --config FILE or --demo'],
    ['an unknown format', ['audit', 'export', '--demo', '--organization', 'a', '--out', 'x', '--format', 'xml'], '--format jsonl'],
  ])('refuses %s and says what to write', async (_, args, message) => {
    const { code, out, err } = await run(...args)
    expect([code, out]).toEqual([2, ''])
    expect(err).toContain(message)
  })

  it('shows every mistake of a configuration, with line and path', async () => {
    const file = join(folder, 'wrong.yaml')
    writeFileSync(file, 'contract: ./nowhere\ngatewy: {}\n')
    const { code, err } = await run('serve', '--config', file)
    expect(code).toBe(2)
    expect(
      err
        .split('\n')
        .filter((line) => line.startsWith(`${file}:`))
        .map((line) => line.slice(file.length + 1).replace(/; .*/, '')),
    ).toEqual([
      '2:1 gatewy: unknown key',
      expect.stringMatching(/^1:1 contract: there is no folder /),
      '1:1 policies: this key is missing',
      '1:1 gateway: this key is missing',
      '1:1 organizations: this key is missing',
    ])
    expect((await run('check', '--config', join(folder, 'missing.yaml'))).code).toBe(2)
  })
})

describe('tokens', () => {
  it('of a demo principal have its roles, purposes and claims, whether a demo runs or not', async () => {
    const { code, out } = await run('token', '--demo', 'ana', '--data', join(folder, 'tokens'))
    expect([code, out.trim().split('.').length]).toEqual([0, 3])
    expect(decodeJwt(out.trim())).toMatchObject({
      sub: 'ana@aurora.example',
      roles: ['analyst'],
      purposes: ['operations'],
      team: 'operations',
      aud: 'http://127.0.0.1:4000/graphql',
    })
    const varied = await run('token', '--demo', 'ana', '--data', join(folder, 'tokens'), '--role', 'everything', '--audience', 'x', '--lifetime', '15m')
    const { roles, aud, iat = 0, exp = 0 } = decodeJwt(varied.out.trim())
    expect([roles, aud, exp - iat]).toEqual([['everything'], 'x', 900])
  })

  it('are signed with a key of one’s own', async () => {
    const { privateJwk } = await generateKeyPair('ES256')
    const key = join(folder, 'own.jwk')
    writeFileSync(key, JSON.stringify(privateJwk))
    const { code, out } = await run(
      'token',
      '--key',
      key,
      '--issuer',
      'https://i.example',
      '--audience',
      'a',
      '--subject',
      's',
      '--role',
      'r',
      '--role',
      'q',
      '--claim',
      'team=x=y',
    )
    expect(code).toBe(0)
    expect(decodeJwt(out.trim())).toMatchObject({ iss: 'https://i.example', aud: 'a', sub: 's', roles: ['r', 'q'], purposes: [], team: 'x=y' })
    writeFileSync(key, '{"secret":')
    const refused = await run('token', '--key', key, '--issuer', 'https://i.example', '--audience', 'a', '--subject', 's')
    expect([refused.code, refused.err]).toEqual([1, `concordat token: ${key} cannot be read as a JWK\n`])
  })
})

describe('agreements', () => {
  it('are signed and verified, and a changed one is not verified', async () => {
    const { privateJwk, publicJwk } = await generateKeyPair('EdDSA')
    const [file, own, open] = [join(folder, 'a.yaml'), join(folder, 'a.private.jwk'), join(folder, 'a.public.jwk')]
    const text = readFileSync('schema/demo/agreements/borealis-aurora-operations.yaml', 'utf8')
    writeFileSync(file, text)
    writeFileSync(own, JSON.stringify(privateJwk))
    writeFileSync(open, JSON.stringify(publicJwk))
    expect((await run('agreement', 'verify', file, '--key', open)).code).toBe(1)
    expect((await run('agreement', 'sign', file, '--key', own)).code).toBe(0)
    expect(JSON.parse((await run('agreement', 'verify', file, '--key', open, '--json')).out)).toMatchObject({ kind: 'valid' })
    writeFileSync(file, text.replace('grantee: aurora', 'grantee: cascade'))
    expect((await run('agreement', 'verify', file, '--key', open)).code).toBe(1)
  })
})

interface PrintedDemo {
  readonly url: string
  readonly running: boolean
  readonly data: string
  readonly principals: readonly {
    readonly name: string
    readonly organization: string
    readonly roles: readonly string[]
    readonly purposes: readonly string[]
    readonly token: string
  }[]
}

describe('the demo', () => {
  const data = () => join(folder, 'demo')

  it('refuses a port that is taken, before it makes anything', async () => {
    const other = createServer().listen(0, '127.0.0.1')
    await until(() => other.listening, 1_000)
    const address = other.address()
    const port = typeof address === 'object' && address !== null ? address.port : 0
    const { code, err } = await run('demo', '--port', String(port), '--data', join(folder, 'never'))
    expect([code, err]).toEqual([1, `concordat demo: port ${port} is taken by another program; choose another one with --port N\n`])
    await new Promise((resolve) => other.close(resolve))
  })

  it('prints who could ask while none runs', async () => {
    const printed = JSON.parse((await run('demo', '--json', '--port', '4321', '--data', data())).out) as PrintedDemo
    expect(printed).toMatchObject({ url: 'http://127.0.0.1:4321', running: false, data: data() })
    expect(printed.principals.map(({ name }) => name)).toContain('ana')
  })

  it('starts, answers with the tokens that it prints, is found by other commands, stops, and starts again within 5 s', async () => {
    const first = start(['demo', '--port', '0', '--data', data()])
    await until(() => first.out().includes('Ctrl-C'), 60_000)
    const [, url = ''] = /API +(http:\/\/127\.0\.0\.1:\d+)\/graphql/.exec(first.out()) ?? []
    const [, curl = ''] = /(TOKEN='[\s\S]*)\n\nCtrl-C/.exec(first.out()) ?? []
    const answered = JSON.parse(await shell(curl)) as { data: { agents: { totalCount: number } } }
    expect(answered.data.agents.totalCount).toBeGreaterThan(50)

    const printed = JSON.parse((await run('demo', '--json')).out) as PrintedDemo
    expect(printed).toMatchObject({ url, running: true, data: data() })
    for (const { name, token } of printed.principals)
      expect([name, await statusAs(url, token)]).toEqual([name, name === 'clara' || name === 'priya' || name === 'ruth' ? 403 : 200])
    const fresh = (await run('token', '--demo', 'ana')).out.trim()
    expect(await statusAs(url, fresh)).toBe(200)
    expect((await run('demo', '--port', '0', '--data', data())).err).toContain(`runs already, at ${url}`)
    expect(await run('check', '--demo')).toMatchObject({ code: 0 })
    const explained = await run('explain', '--demo', 'olivia', '{ agents(first: 1) { nodes { name } } }')
    expect([explained.code, explained.err]).toEqual([0, ''])
    expect(explained.out).toContain('borealis: under role operator, version')
    expect(explained.out).toMatch(/SELECT/)
    expect((await run('explain', '--demo', 'noah', '{ agents(first: 1) { nodes { name } } }')).code).toBe(1)
    const asPrincipal = await run('explain', '--demo', 'jonas', '--purpose', 'operations', '{ agents(first: 1) { nodes { name } } }', '--json')
    expect(statementsOf(asPrincipal.out)).toEqual(['aurora'])
    const asOperator = await run('explain', '--demo', 'ana', '--all', '{ agents(first: 1) { nodes { name } } }', '--json')
    expect(statementsOf(asOperator.out)).toEqual(['aurora', 'borealis', 'cascade'])
    const refused = await run('explain', '--demo', 'ana', '--all', '{ agents(orderBy: [{ description: ASC }]) { nodes { name } } }')
    expect([refused.code, refused.err]).toEqual([1, expect.stringContaining('FIELD_NOT_USABLE')])

    const bundle = join(folder, 'aurora.jsonl')
    const { err } = await run('audit', 'export', '--demo', '--organization', 'aurora', '--out', bundle)
    expect(err).toBe('')
    const key = join(folder, 'aurora.vkey')
    writeFileSync(key, (await run('audit', 'key', '--demo', '--organization', 'aurora')).out)
    expect((await run('audit', 'list', '--demo', '--organization', 'aurora')).out).toContain('ana@aurora.example')
    expect(await run('audit', 'verify', bundle, '--key', key)).toMatchObject({ code: 0 })
    writeFileSync(bundle, readFileSync(bundle, 'utf8').replace('ana@aurora.example', 'eve@aurora.example'))
    expect(await run('audit', 'verify', bundle, '--key', key)).toMatchObject({ code: 1 })

    first.stop()
    expect(await first.code).toBe(0)
    await expect(fetch(`${url}/healthz`)).rejects.toThrow()
    expect((JSON.parse((await run('demo', '--json', '--data', data())).out) as PrintedDemo).running).toBe(false)

    const againMs = Date.now()
    const again = start(['demo', '--port', '0', '--data', data()])
    await until(() => again.out().includes('Ctrl-C'), 20_000)
    expect(Date.now() - againMs).toBeLessThan(5_000)
    const [, secondUrl = ''] = /API +(http:\/\/127\.0\.0\.1:\d+)\/graphql/.exec(again.out()) ?? []
    expect(await statusAs(secondUrl, fresh)).toBe(200)
    again.stop()
    expect(await again.code).toBe(0)
  }, 120_000)

  it('is stopped while it starts, and leaves nothing running', async () => {
    const starting = start(['demo', '--port', '0', '--data', join(folder, 'hurried')])
    await until(() => starting.out().includes('Starting'), 10_000)
    starting.stop()
    expect(await starting.code).toBe(0)
    expect(starting.out()).toContain('Stopped.')
  }, 60_000)
})

async function statusAs(url: string, token: string): Promise<number> {
  const headers = {
    'content-type': 'application/json',
    accept: 'application/graphql-response+json',
    authorization: `Bearer ${token}`,
    'x-purpose': purposesOf(token)[0] ?? '',
  }
  return (await fetch(`${url}/graphql`, { method: 'POST', headers, body: JSON.stringify({ query: '{ agents(first: 1) { nodes { name } } }' }) })).status
}

function purposesOf(token: string): readonly string[] {
  const { purposes } = decodeJwt(token)
  return Array.isArray(purposes) ? purposes.map(String) : []
}

/** What the printed lines do when they are pasted. */
function shell(script: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn('sh', ['-c', script], { stdio: ['ignore', 'pipe', 'inherit'] })
    let out = ''
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()))
    child.once('error', reject)
    child.once('close', () => resolve(out))
  })
}

/** Whose statements an explanation shows. */
function statementsOf(json: string): readonly string[] {
  const { extensions } = JSON.parse(json) as { extensions: { explain: { statements: { organization: string }[] } } }
  return extensions.explain.statements.map(({ organization }) => organization)
}
