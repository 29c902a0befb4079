import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { describe, expect, it } from '@jest/globals'

const SOURCE = resolve('src')

/** Room of a file: its folder below `src`, or its own name at the top. Connectors are one room. */
function roomOf(file: string): string {
  const path = relative(SOURCE, file)
  return path.includes('/') ? (path.split('/')[0] ?? path) : path.replace(/\.ts$/, '')
}

/** What each room may import of ours (docs/architecture.md). A room that is not here has no rule yet, and fails. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  abort: [],
  errors: [],
  settings: ['errors'],
  config: ['errors', 'settings'],
  observe: ['errors', 'config'],
  query: ['errors'],
  policy: ['query', 'errors'],
  privacy: ['query', 'errors'],
  pool: ['errors', 'abort'],
  connectors: ['query', 'errors', 'abort', 'pool'],
  audit: ['errors'],
  gateway: ['query', 'errors', 'abort', 'policy', 'privacy', 'connectors', 'pool', 'audit', 'config', 'observe'],
  main: ['query', 'errors', 'abort', 'policy', 'privacy', 'connectors', 'pool', 'audit', 'config', 'observe', 'gateway', 'settings'],
  cli: ['query', 'errors', 'abort', 'policy', 'privacy', 'connectors', 'pool', 'audit', 'config', 'observe', 'gateway', 'settings', 'main'],
}

/** Outside packages with one home: the files, or folders, that may import them. The demo's own launcher and the tools of the command line open connections too. */
const HOMES: Readonly<Record<string, readonly string[]>> = {
  '@casl/ability': ['policy/role.ts'],
  '@graphql-tools/stitch': ['gateway/supergraph.ts'],
  '@apollo/server': ['gateway/operation.ts'],
  pg: ['connectors/postgres/', 'audit/', 'main.ts', 'cli/'],
  mongodb: ['connectors/mongodb/'],
  '@zilliz/milvus2-sdk-node': ['connectors/milvus/'],
  '@pinecone-database/pinecone': ['connectors/pinecone/'],
  pino: ['observe.ts'],
  '@noble/ciphers': ['gateway/cursor.ts'],
}

interface Import {
  readonly from: string
  readonly what: string
  readonly typeOnly: boolean
}

const imports: readonly Import[] = readdirSync(SOURCE, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
  .map((entry) => join(entry.parentPath, entry.name))
  .flatMap((file) =>
    [...readFileSync(file, 'utf8').matchAll(/^(?:import|export)\s+(type\s+)?(?:[^'"]*?\sfrom\s+)?['"]([^'"]+)['"]/gms)].map((match) => ({
      from: file,
      what: match[2] ?? '',
      typeOnly: match[1] !== undefined,
    })),
  )

describe('the house', () => {
  it('lets each room import only what the architecture says', () => {
    const broken = imports.flatMap(({ from, what }) => {
      if (!what.startsWith('.')) return []
      const room = roomOf(from)
      const target = roomOf(resolve(dirname(from), what.replace(/\.js$/, '.ts')))
      return room === target || MAY_IMPORT[room]?.includes(target) ? [] : [`${relative(SOURCE, from)} imports ${target}`]
    })
    expect(broken).toEqual([])
  })

  it('has rooms for all of its files', () => {
    expect([...new Set(imports.map(({ from }) => roomOf(from)))].filter((room) => !(room in MAY_IMPORT))).toEqual([])
  })

  it('keeps each outside package in its one home', () => {
    const broken = imports.flatMap(({ from, what, typeOnly }) => {
      const home = Object.entries(HOMES).find(([name]) => what === name || what.startsWith(`${name}/`))
      const path = relative(SOURCE, from)
      return !home || typeOnly || home[1].some((place) => path.startsWith(place)) ? [] : [`${path} imports ${what}`]
    })
    expect(broken).toEqual([])
  })

  it('verifies an export with nothing but the tree, the checkpoint and the record', () => {
    const reached = imports.filter(({ from, what }) => relative(SOURCE, from) === 'audit/verify.ts' && what.startsWith('.')).map(({ what }) => what)
    expect(reached.filter((what) => !['./merkle.js', './checkpoint.js', './record.js', './canonical-json.js', './bundle.js'].includes(what))).toEqual([])
  })

  it('lets no code of a connector name policy, gateway or audit', () => {
    const crossing = imports.filter(({ from, what }) => roomOf(from) === 'connectors' && /\/(policy|gateway|audit)\//.test(what))
    expect(crossing).toEqual([])
  })
})
