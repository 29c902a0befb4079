/** An organization's stores and what they bind: described when they can be reached, and looked for again until they are. */
import type { Connector, StoresTogether } from '../connectors/connector.js'
import type { OrganizationBinding } from '../query/binding.js'
import type { EngineOrganization } from './run.js'

export interface StoreParts<Description> {
  readonly id: string
  readonly name: string
  readonly jurisdiction: string
  readonly stores: ReadonlyMap<string, { readonly jurisdiction: string; readonly connector: Connector; describe(): Promise<Description> }>
  /** See `EngineOrganization`. */
  readonly steps: StoresTogether | null
  /** A type whose stores could not be described is left out. */
  bind(descriptions: ReadonlyMap<string, Description | null>): OrganizationBinding
  readonly onUnavailable: (store: string, cause: unknown) => void
  readonly onAvailable: (store: string) => void
  /** First and longest wait before a store is looked for again. */
  readonly retry: { readonly firstMs: number; readonly longestMs: number }
}

export class OrganizationStores<Description> implements EngineOrganization {
  readonly id: string
  readonly name: string
  readonly jurisdiction: string
  readonly stores: StoreParts<Description>['stores']
  readonly steps: StoresTogether | null
  private bound: OrganizationBinding | null = null
  private readonly descriptions = new Map<string, Description | null>()
  private readonly timers = new Set<NodeJS.Timeout>()
  private isClosed = false

  constructor(private readonly parts: StoreParts<Description>) {
    this.id = parts.id
    this.name = parts.name
    this.jurisdiction = parts.jurisdiction
    this.stores = parts.stores
    this.steps = parts.steps
  }

  binding(): OrganizationBinding | null {
    return this.bound
  }

  /** Describes every store once; those that cannot be reached are tried again in the background. */
  async open(): Promise<void> {
    await Promise.all([...this.stores.keys()].map((store) => this.describe(store, this.parts.retry.firstMs)))
  }

  async close(): Promise<void> {
    this.isClosed = true
    for (const timer of this.timers) clearTimeout(timer)
    await Promise.all([...this.stores.values()].map(({ connector }) => connector.close()))
  }

  private async describe(name: string, waitMs: number): Promise<void> {
    try {
      const description = await this.stores.get(name)?.describe()
      if (description === undefined || this.isClosed) return
      this.descriptions.set(name, description)
      this.bound = this.parts.bind(this.descriptions)
      this.parts.onAvailable(name)
    } catch (cause) {
      if (this.isClosed) return
      this.parts.onUnavailable(name, cause)
      const timer = setTimeout(() => {
        this.timers.delete(timer)
        void this.describe(name, Math.min(waitMs * 2, this.parts.retry.longestMs))
      }, waitMs)
      timer.unref()
      this.timers.add(timer)
    }
  }
}
