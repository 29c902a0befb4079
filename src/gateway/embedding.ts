/**
 * Vectors of texts, by the embedding service of the caller's own organization (the OpenAI-compatible `POST …/embeddings`). A text is the caller's data: it goes to
 * that service alone, and the organization's ledger has it before it leaves. What other owners get is the vector.
 */
import { Contribution } from '../audit/contribution.js'
import type { Ledger } from '../audit/ledger.js'
import { ownerTerms } from '../audit/owner-terms.js'
import type { Signal } from '../abort.js'
import { byteText } from '../connectors/texts.js'
import { GatewayError } from '../errors.js'
import type { VectorSpace } from '../query/catalog.js'
import type { Authority } from '../policy/authority.js'
import type { ForeignTransport } from './foreign-service.js'
import { type KeyRecorderParts, serviceEntries } from './key-disclosure.js'
import { parseInput } from './scalars.js'

/** An organization's service for one model of the contract. */
export interface EmbeddingService {
  readonly organization: string
  /** As the contract names it. */
  readonly model: string
  /** As the service does. */
  readonly servedAs: string
  readonly jurisdiction: string
  readonly transport: ForeignTransport
}

export interface TextToEmbed {
  readonly text: string
  readonly organization: string
  readonly space: VectorSpace
  /** The field that is searched. */
  readonly type: string
  readonly field: string
  readonly authority: Pick<Authority, 'purpose' | 'epoch'>
  readonly signal: Signal
}

export interface EmbeddingParts extends Pick<KeyRecorderParts, 'entryParts' | 'gatewayJurisdiction' | 'now'> {
  readonly services: readonly EmbeddingService[]
  readonly ledger: Pick<Ledger, 'append'>
}

export class Embeddings {
  constructor(private readonly parts: EmbeddingParts) {}

  has(organization: string, model: string): boolean {
    return this.serviceOf(organization, model) !== undefined
  }

  /**
   * The canonical text of the vector.
   *
   * @throws GatewayError SOURCE_UNAVAILABLE (also for an answer that is no vector of the space), SOURCE_TIMEOUT, SOURCE_BUSY, AUDIT_UNAVAILABLE; StaleEpoch
   */
  async vectorOf(asked: TextToEmbed): Promise<string> {
    const { text, organization, space, signal } = asked
    const service = this.serviceOf(organization, space.model)
    if (!service) throw new GatewayError('SOURCE_UNAVAILABLE', 'the organization has no embedding service for this model')
    await this.record(asked, service)
    const body = JSON.stringify({ model: service.servedAs, input: text, encoding_format: 'float' })
    return vectorIn(await service.transport.send(body, abortSignalOf(signal)), space.dimensions)
  }

  close(): void {
    for (const { transport } of this.parts.services) transport.close()
  }

  private serviceOf(organization: string, model: string): EmbeddingService | undefined {
    return this.parts.services.find((service) => service.organization === organization && service.model === model)
  }

  /** Of the text only a salted digest is kept. */
  private async record({ text, organization, type, field, authority }: TextToEmbed, service: EmbeddingService): Promise<void> {
    const { ledger, gatewayJurisdiction } = this.parts
    const terms = ownerTerms({
      organization,
      source: { kind: 'roles', roles: [], version: 0, digest: '' },
      types: [{ type, fields: [field] }],
      stores: [],
      jurisdictions: { stored: [], gateway: gatewayJurisdiction, grantee: service.jurisdiction },
      predicateText: null,
    })
    const owners = [{ terms, rows: 0, contribution: Contribution.of([byteText(JSON.stringify(text))]) }]
    const entries = serviceEntries(
      { service: `${organization}/${service.model}`, organization, purpose: authority.purpose, query: service.servedAs, owners },
      this.parts,
    )
    await ledger.append({ epoch: Number(authority.epoch), entries })
  }
}

/** The transport knows the platform's signals. */
function abortSignalOf(signal: Signal): AbortSignal {
  const controller = new AbortController()
  if (signal.aborted) controller.abort(signal.reason)
  else signal.addEventListener('abort', () => controller.abort(signal.reason))
  return controller.signal
}

/** Only `data[0].embedding` is read, and it must be a vector of the space. */
function vectorIn(body: string, dimensions: number): string {
  try {
    const answer = JSON.parse(body) as { readonly data?: readonly { readonly embedding?: unknown }[] } | null
    const embedding = answer?.data?.[0]?.embedding
    if (Array.isArray(embedding) && embedding.length === dimensions) return String(parseInput('Vector', embedding))
  } catch (error) {
    throw new GatewayError('SOURCE_UNAVAILABLE', 'an embedding service answered with what is no vector', { cause: error })
  }
  throw new GatewayError('SOURCE_UNAVAILABLE', `an embedding service answered with what is no vector of ${dimensions} dimensions`)
}
