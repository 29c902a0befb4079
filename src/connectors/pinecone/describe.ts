/** What the control plane says of an index: where it is, and what vectors it has. */
import { Pinecone } from '@pinecone-database/pinecone'
import { type Message, messageOf } from './calls.js'
import { isNotFound, nonsense } from './driver-error.js'
import type { CallOptions, Transport } from './transport.js'

export interface IndexDescription {
  readonly name: string
  /** With its scheme. */
  readonly host: string
  readonly dimensions: number
  readonly metric: string
  /** Names of metadata that it filters by; null: all. */
  readonly filterable: ReadonlySet<string> | null
}

export interface ControlPlane {
  readonly url: string
  readonly apiKey: string
}

const ANSWER_BYTES = 1_048_576

/** Null: there is none of this name. */
export async function describeIndex(at: ControlPlane, name: string, transport: Transport, options: CallOptions): Promise<IndexDescription | null> {
  // The transport is a `fetch` as far as the driver goes.
  const fetchApi = transport.fetch(options, ANSWER_BYTES) as unknown as typeof fetch
  const client = new Pinecone({ apiKey: at.apiKey, controllerHostUrl: at.url, fetchApi, maxRetries: 0 })
  try {
    return descriptionOf(name, messageOf(await client.describeIndex(name)), at.url)
  } catch (error) {
    if (isNotFound(error)) return null
    throw error
  }
}

/** An index of sparse vectors has no dimensions. */
function descriptionOf(name: string, { host, dimension, metric, spec }: Message, url: string): IndexDescription {
  if (typeof host !== 'string' || typeof metric !== 'string') throw nonsense('what is no index')
  const dimensions = typeof dimension === 'number' && Number.isSafeInteger(dimension) && dimension > 0 ? dimension : 0
  return { name, host: hostUrl(host, url), dimensions, metric, filterable: filterableOf(spec) }
}

/**
 * The key goes nowhere but to the domain of the control plane, and never unencrypted but on this machine, where the control plane itself is addressed so.
 *
 * @throws GatewayError SOURCE_UNAVAILABLE
 */
export function hostUrl(host: string, controlPlane: string): string {
  const control = new URL(controlPlane)
  const text = /^https?:\/\//.test(host) ? host : `${control.protocol}//${host}`
  if (!URL.canParse(text)) throw nonsense('a host that is none')
  const url = new URL(text)
  const domain = control.hostname.replace(/^[^.]+/, '')
  const isNear = control.protocol === 'http:' ? isLoopback(url.hostname) : url.protocol === 'https:' && domain.includes('.', 1) && url.hostname.endsWith(domain)
  if (!isNear || url.username !== '' || url.password !== '' || url.pathname !== '/') throw nonsense('a host beyond its own domain')
  return url.origin
}

export function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(hostname)
}

function filterableOf(spec: unknown): ReadonlySet<string> | null {
  const inner = Object.values(messageOf(spec ?? {})).find((each) => typeof each === 'object' && each !== null && 'schema' in each)
  const schema = inner === undefined ? undefined : messageOf(inner).schema
  if (schema === undefined || schema === null) return null
  const fields = Object.entries(messageOf(messageOf(schema).fields ?? {}))
  return new Set(fields.flatMap(([name, field]) => (messageOf(field).filterable === true ? [name] : [])))
}
