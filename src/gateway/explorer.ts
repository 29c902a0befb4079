/** The explorer at `/`: GraphiQL and a page of ours, served from this machine. The page may load, run and connect to nothing but this server. */
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { GatewayResponse } from './request.js'

export interface Explorer {
  readonly page: () => GatewayResponse
  /** A file of the page, or null. */
  readonly asset: (name: string) => GatewayResponse | null
}

const OWN = fileURLToPath(new URL('../../assets/explorer/', import.meta.url))

/** Null when GraphiQL, which is optional, is not installed. */
export async function loadExplorer(): Promise<Explorer | null> {
  const require = createRequire(import.meta.url)
  const packaged = (name: string, file: string): string => join(dirname(require.resolve(`${name}/package.json`)), file)
  try {
    const files = await Promise.all([
      asset('react.js', packaged('react', 'umd/react.production.min.js')),
      asset('react-dom.js', packaged('react-dom', 'umd/react-dom.production.min.js')),
      asset('graphiql.js', packaged('graphiql', 'graphiql.min.js')),
      asset('graphiql.css', packaged('graphiql', 'graphiql.min.css')),
      asset('page.js', join(OWN, 'page.js')),
      asset('page.css', join(OWN, 'page.css')),
    ])
    const assets = new Map(files)
    const html = await readFile(join(OWN, 'page.html'))
    const page: GatewayResponse = {
      status: 200,
      headers: { 'content-type': 'text/html; charset=utf-8', 'content-security-policy': PAGE_POLICY },
      body: [Buffer.from(html)],
    }
    return { page: () => page, asset: (name) => assets.get(name) ?? null }
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'MODULE_NOT_FOUND') return null
    throw error
  }
}

/** GraphiQL's editor writes style elements; it needs no inline script and no `eval`. */
const PAGE_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "font-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

async function asset(name: string, file: string): Promise<readonly [string, GatewayResponse]> {
  const type = name.endsWith('.css') ? 'text/css' : 'text/javascript'
  return [name, { status: 200, headers: { 'content-type': `${type}; charset=utf-8`, 'cache-control': 'private, max-age=600' }, body: [await readFile(file)] }]
}
