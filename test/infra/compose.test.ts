import { describe, expect, it } from '@jest/globals'
import { existsSync, readFileSync } from 'node:fs'
import { parse } from 'yaml'
import { DEMO_ORGANIZATIONS } from '../../src/cli/demo/platform-data.js'

const file = (name: string): URL => new URL(`../../${name}`, import.meta.url)
const text = readFileSync(file('docker-compose.yml'), 'utf8')

interface Service {
  readonly build?: string
  readonly image?: string
  readonly environment?: Readonly<Record<string, string>>
  readonly networks?: readonly string[]
  readonly ports?: readonly string[]
  readonly healthcheck?: { readonly test?: readonly string[]; readonly disable?: boolean }
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>
  readonly volumes?: readonly string[]
  readonly secrets?: readonly string[]
}

const compose = parse(text, { merge: true }) as {
  readonly services: Readonly<Record<string, Service>>
  readonly networks: Readonly<Record<string, { readonly internal?: boolean }>>
  readonly volumes: Readonly<Record<string, unknown>>
  readonly secrets: Readonly<Record<string, { readonly file: string }>>
}

/** Docker is not at hand, so this reads what the files say. */
describe('docker-compose.yml', () => {
  it('has a PostgreSQL for each organization and one for the gateway, each in a network of its own', () => {
    for (const name of [...DEMO_ORGANIZATIONS, 'ledger']) {
      expect(compose.services[name]).toMatchObject({ networks: [name], image: expect.stringContaining('postgres:') })
      expect(compose.services[name]?.ports).toBeUndefined()
      expect(compose.networks[name]).toEqual({ internal: true })
      expect(Object.keys(compose.services).filter((other) => other !== 'gateway' && compose.services[other]?.networks?.includes(name))).toHaveLength(
        name === 'ledger' ? 1 : 2,
      )
    }
  })

  it('knows no password: each comes from the environment, and a missing one stops it', () => {
    const variables = [...text.matchAll(/\$\{([A-Z_]+)([^}]*)\}/g)].map(([, name, rest]) => ({ name, rest }))
    expect(variables.length).toBeGreaterThan(10)
    for (const { name, rest } of variables) expect({ name, rest }).toEqual({ name, rest: name === 'CONCORDAT_PORT' ? ':-4000' : ':?' })
    for (const service of Object.values(compose.services)) {
      for (const [name, value] of Object.entries(service.environment ?? {})) {
        if (/PASSWORD/.test(name)) expect(value).toMatch(/^\$\{[A-Z_]+:\?\}$/)
        if (/URL/.test(name)) expect(value).toMatch(/^postgres:\/\/[a-z_]+:\$\{[A-Z_]+:\?\}@[a-z]+:5432\/[a-z]+$/)
      }
    }
  })

  it('says of every service when it is healthy, and waits for it', () => {
    for (const [name, service] of Object.entries(compose.services)) {
      expect({ name, checked: service.healthcheck?.test !== undefined || service.healthcheck?.disable === true }).toEqual({ name, checked: true })
      for (const [other, { condition }] of Object.entries(service.depends_on ?? {})) {
        expect(compose.services[other]).toBeDefined()
        expect(condition).toBe(compose.services[other]?.healthcheck?.test ? 'service_healthy' : 'service_completed_successfully')
      }
    }
  })

  it('names only networks, volumes and secrets that it defines, and publishes the gateway to this machine alone', () => {
    for (const service of Object.values(compose.services)) {
      for (const network of service.networks ?? []) expect(Object.keys(compose.networks)).toContain(network)
      for (const secret of service.secrets ?? []) expect(Object.keys(compose.secrets)).toContain(secret)
      for (const [volume] of (service.volumes ?? []).map((each) => each.split(':')).filter(([each]) => each?.startsWith('$') === false)) {
        expect(Object.keys(compose.volumes)).toContain(volume)
      }
    }
    expect(compose.services['gateway']?.ports).toEqual(['127.0.0.1:${CONCORDAT_PORT:-4000}:4000'])
  })
})

describe('Dockerfile', () => {
  it('copies files that are there, and does not run as root', () => {
    const dockerfile = readFileSync(file('Dockerfile'), 'utf8')
    const copied = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, sources]) => (sources ?? '').split(' '))
    expect(copied).toContain('schema')
    for (const source of copied) expect({ source, there: existsSync(file(source)) }).toEqual({ source, there: true })
    expect(dockerfile).toMatch(/^USER node$/m)
  })
})
