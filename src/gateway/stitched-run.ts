/**
 * One operation with foreign fields under way: one authority, one deadline, one cost and one outcome, whatever the stitching asks of whom.
 */
import type { ExecutionRequest, ExecutionResult } from '@graphql-tools/utils'
import type { ExecutionResult as GraphqlResult, FieldNode, GraphQLScalarType, GraphQLSchema } from 'graphql'
import { isObjectType } from 'graphql'
import { Contribution } from '../audit/contribution.js'
import type { OwnerDisclosure } from '../audit/record.js'
import { byteText, type ByteText } from '../connectors/texts.js'
import { type Code, CODES, GatewayError, invariant } from '../errors.js'
import type { GrantSource } from '../policy/authority.js'
import { compareText } from '../query/order.js'
import type { ForeignQuestion, ForeignRow, ForeignSelection } from './foreign-answer.js'
import { foreignRequest, foreignRows, foreignSelection } from './foreign-answer.js'
import type { ForeignSchema } from './foreign-schema.js'
import type { KeyDisclosure, RecordKeys } from './key-disclosure.js'
import { KeyTravel, type KeyTravelParts, type TravellingKeys } from './key-travel.js'
import { type AnswerError, type EngineOutcome, NOTHING_SERVED, type Sovereignty } from './outcome.js'
import { lengthOf, piecesOf, wholeText } from './pieces.js'
import { RawJson } from './raw-json.js'
import { notGiven, ownerBase, type OwnerPart, sourceWords } from './sovereignty.js'
import { contractOperation, fragmentsOf, keysVariableOf, responseKeyOf, rootFieldOf } from './stitched-document.js'
import type { ForeignService, ForeignUse } from './supergraph.js'

/** Response key of the global id that stitching joins by. Callers cannot use it: their aliases do not begin with two underscores. */
export const KEY_NAME = '__concordat_key'

export interface StitchedRunParts extends Pick<KeyTravelParts, 'catalog' | 'mayReceiveKey' | 'limits' | 'request' | 'engine' | 'keyLookup'> {
  readonly services: ReadonlyMap<string, { readonly service: ForeignService; readonly foreign: ForeignSchema }>
  readonly schema: GraphQLSchema
  readonly scalars: ReadonlyMap<string, GraphQLScalarType>
  readonly recordKeys: RecordKeys
  readonly gatewayJurisdiction: string
  readonly jurisdictionOf: (organization: string) => string | null
  readonly onFailure: (service: string, cause: unknown) => void
  /** Coerced. */
  readonly variables: Readonly<Record<string, unknown>>
  /** What the operation takes from services, conditions of the document applied. */
  readonly uses: readonly ForeignUse[]
  readonly onUnavailable: 'REPORT' | 'EXCLUDE' | 'FAIL'
}

/** What a service gave, for the ledger of its organization. */
interface Given {
  readonly rows: ByteText[]
  failure: Code | null
}

export class StitchedRun {
  private readonly controller = new AbortController()
  private readonly timer: NodeJS.Timeout
  private readonly leave = (): void => this.controller.abort(new GatewayError('CANCELLED', 'the client went away'))
  private readonly rawJson = new RawJson()
  private readonly pending: { readonly request: ExecutionRequest; readonly settle: (value: unknown) => void }[] = []
  private contract: EngineOutcome | null = null
  private readonly given = new Map<string, Given>()
  private readonly travel: KeyTravel
  /** What ends the whole operation; the first one counts. */
  private fatal: { readonly error: unknown } | null = null

  constructor(private readonly parts: StitchedRunParts) {
    const { signal } = parts.request
    this.timer = setTimeout(() => this.controller.abort(new GatewayError('SOURCE_TIMEOUT', 'the deadline has passed')), parts.limits.deadlineMs)
    signal.addEventListener('abort', this.leave, { once: true })
    if (signal.aborted) this.leave()
    this.travel = new KeyTravel({ ...parts, signal: this.controller.signal, spent: () => this.contract?.cost ?? 0 })
  }

  end(): void {
    clearTimeout(this.timer)
    this.parts.request.signal.removeEventListener('abort', this.leave)
  }

  // --- the contract's part -------------------------------------------------------------------------------------------------------------------------------------

  /** Root fields are asked for one by one, and all in one go: they become one operation of the engine. */
  async contractField(request: ExecutionRequest): Promise<ExecutionResult> {
    const name = rootFieldOf(request).name.value
    const value = await new Promise((settle) => {
      this.pending.push({ request, settle })
      if (this.pending.length === 1) queueMicrotask(() => void this.runContract())
    })
    return { data: { [name]: value } }
  }

  private async runContract(): Promise<void> {
    const asked = this.pending.splice(0)
    try {
      invariant(!this.contract, 'the contract is asked once')
      const { request, engine, limits, schema } = this.parts
      const { operation, places } = contractOperation(
        request.operation,
        asked.map((each) => each.request),
        schema,
      )
      const outcome = await engine.run({ ...request, operation })
      this.contract = outcome
      const pieces = outcome.data ?? piecesOf('{}')
      if (lengthOf(pieces) > limits.stitchedBytes)
        throw new GatewayError('QUERY_TOO_COSTLY', `foreign fields are joined to more than ${limits.stitchedBytes} bytes`)
      const data = this.rawJson.parse(wholeText(pieces), places) as Readonly<Record<string, unknown>> // the engine's answer is an object
      for (const each of asked) each.settle(data[responseKeyOf(each.request)] ?? null)
    } catch (error) {
      this.fail(error)
      for (const each of asked) each.settle(null)
    }
  }

  private fail(error: unknown): void {
    this.fatal ??= { error }
    this.controller.abort(error)
  }

  // --- a service's part ----------------------------------------------------------------------------------------------------------------------------------------

  /** Rows of one service by key. Nothing leaves before its owners' ledgers have it; what fails is an error in its place, never a text of the service. */
  async serviceRows(name: string, request: ExecutionRequest): Promise<ExecutionResult> {
    const root = rootFieldOf(request)
    try {
      return { data: { [root.name.value]: this.fatal ? null : await this.rowsOf(name, root, request) } }
    } catch (error) {
      this.fail(error)
      return { data: { [root.name.value]: null } }
    }
  }

  private async rowsOf(name: string, root: FieldNode, request: ExecutionRequest): Promise<readonly (ForeignRow | null)[]> {
    const { service, foreign } = this.serviceOf(name)
    const join = [...foreign.joins.values()].find(({ field }) => field === root.name.value)
    const type = foreign.schema.getType(join?.type ?? '')
    const keys = join && request.variables?.[keysVariableOf(root, join)]
    invariant(join && isObjectType(type) && Array.isArray(keys) && root.selectionSet, 'a service is asked by key')
    const context = { fragments: fragmentsOf(request), variables: this.parts.variables, keyName: KEY_NAME }
    const selection = foreignSelection([root.selectionSet], type, context)
    const travel = await this.travel.of(service, join.type, keys.map(String))
    const rows = new Map<string, ForeignRow>([...travel.failed].map(([key, error]) => [key, failedRow(selection, join.type, error)]))
    const sent = [...travel.owners.values()].flatMap((owner) => owner.keys)
    if (sent.length > 0) {
      const { operation, variables } = this.parts.request
      const question: ForeignQuestion = {
        join,
        selection,
        keys: sent,
        variableDefinitions: operation.definition.variableDefinitions ?? [],
        variables: (variables ?? {}) as Record<string, unknown>, // an object: it has been coerced
      }
      for (const [key, row] of await this.ask(service, question, travel)) rows.set(key, row)
    }
    return keys.map((key) => rows.get(String(key)) ?? null)
  }

  private async ask(service: ForeignService, question: ForeignQuestion, travel: TravellingKeys): Promise<ReadonlyMap<string, ForeignRow>> {
    const { join, keys, selection } = question
    const { authority } = this.parts.request
    const asked = foreignRequest(question)
    const given = this.givenOf(service.name)
    await this.record({
      service: service.name,
      organization: service.organization,
      purpose: authority.purpose,
      epoch: authority.epoch,
      type: join.type,
      owners: [...travel.owners].map(([organization, owner]) => ({ organization, ...owner })),
      query: asked.query,
    })
    const failure = (cause: unknown): ForeignRow => {
      const code = codeOf(cause)
      given.failure ??= code
      return failedRow(selection, join.type, new GatewayError(code, 'a foreign service failed', { organization: service.organization }))
    }
    try {
      const text = await service.transport.send(JSON.stringify({ query: asked.query, variables: asked.variables }), this.controller.signal)
      const rows = foreignRows(text, { question, request: asked, scalars: this.parts.scalars })
      return new Map(
        rows.flatMap((row, index): [string, ForeignRow][] => {
          const key = keys[index]
          if (key === undefined || row === null) return []
          if (row === 'failed') return [[key, failure(new GatewayError('SOURCE_UNAVAILABLE', 'a foreign service failed for a key'))]]
          given.rows.push(byteText(JSON.stringify(row)))
          return [[key, row]]
        }),
      )
    } catch (error) {
      if (this.fatal || this.parts.request.signal.aborted) throw error
      this.parts.onFailure(service.name, error)
      return new Map(keys.map((key) => [key, failure(error)]))
    }
  }

  private async record(disclosure: KeyDisclosure): Promise<void> {
    try {
      await this.parts.recordKeys(disclosure)
    } catch (error) {
      throw error instanceof GatewayError ? error : new GatewayError('AUDIT_UNAVAILABLE', 'keys could not be recorded', { cause: error })
    }
    if (this.controller.signal.aborted && this.parts.request.signal.aborted) throw this.controller.signal.reason as GatewayError // nobody waits any more
  }

  private givenOf(service: string): Given {
    const known = this.given.get(service) ?? { rows: [], failure: null }
    this.given.set(service, known)
    return known
  }

  private serviceOf(name: string): { readonly service: ForeignService; readonly foreign: ForeignSchema } {
    const found = this.parts.services.get(name)
    invariant(found, `service \`${name}\` is composed`)
    return found
  }

  // --- the outcome ---------------------------------------------------------------------------------------------------------------------------------------------

  /** @throws GatewayError what ended the operation. */
  outcome(result: GraphqlResult): EngineOutcome {
    if (this.fatal) throw this.fatal.error
    if (this.parts.request.signal.aborted) throw new GatewayError('CANCELLED', 'the client went away')
    const failed = this.failures()
    if (failed.length > 0 && this.parts.onUnavailable === 'FAIL') {
      const [{ organization, code }] = failed as [{ organization: string; code: Code }] // not empty
      throw new GatewayError(code, 'an organization failed, and the operation asks for all or nothing', { organization })
    }
    const errors = (result.errors ?? []).map(({ originalError, path }): AnswerError => {
      // Everything else that completion can complain of is a bug of ours, or of a binding.
      if (!(originalError instanceof GatewayError) || !path) throw originalError ?? new Error('invariant: a stitched answer completes')
      const { code, context } = originalError
      return { message: CODES[code].message, code, ...(context.organization !== undefined && { organization: context.organization }), path }
    })
    const contract = this.contract ?? { errors: [], sovereignty: NOTHING_SERVED, owners: [] }
    return {
      data: piecesOf(this.rawJson.stringify(result.data)),
      errors: [...contract.errors, ...(this.parts.onUnavailable === 'REPORT' ? errors.slice(0, ERRORS_MAX) : [])],
      sovereignty: this.sovereignty(contract, failed),
      owners: [...contract.owners, ...this.serviceDisclosures()],
      cost: (this.contract?.cost ?? 0) + this.travel.cost,
    }
  }

  /** Who was asked, where nothing of it is given. What ended the engine's own run is its own to tell. */
  askedInVain(): readonly OwnerDisclosure[] {
    return notGiven([...(this.contract?.owners ?? []), ...this.serviceDisclosures()])
  }

  private failures(): readonly { readonly organization: string; readonly code: Code }[] {
    const failed = new Map(this.travel.failedOwners)
    for (const [name, { failure }] of this.given) if (failure) failed.set(this.serviceOf(name).service.organization, failure)
    return [...failed].map(([organization, code]) => ({ organization, code }))
  }

  /** Follows from plan, policy and health, as the engine's: which keys there were is nothing to it. */
  private sovereignty(contract: Pick<EngineOutcome, 'sovereignty' | 'owners'>, failed: Sovereignty['failed']): Sovereignty {
    const withheld: Sovereignty['withheld'][number][] = [...contract.sovereignty.withheld]
    const served: Sovereignty['served'][number][] = [...contract.sovereignty.served]
    for (const { service: name, type, field } of this.parts.uses) {
      const { service } = this.serviceOf(name)
      const seen = new Set<string>()
      let isOpen = false
      for (const { facts } of contract.owners) {
        const { organization, source, types } = facts
        if (seen.has(organization) || !types.some((each) => each.type === type)) continue
        seen.add(organization)
        const access = this.travel.access(service, organization, type)
        isOpen ||= access.kind !== 'none'
        const conditional = access.kind === 'agreed' && access.grant.types.get(type)?.rows.kind !== 'all'
        if (access.kind === 'none' || conditional) withheld.push({ organization, type, field, conditional, ...sourceWords(source) })
      }
      const source = this.sourceOf(service)
      if (isOpen && source && !this.given.get(name)?.failure) served.push({ organization: service.organization, ...sourceWords(source) })
    }
    return {
      ...contract.sovereignty,
      served: inOrder(served, ({ organization, agreement }) => [organization, agreement ?? 'roles']),
      failed: inOrder([...contract.sovereignty.failed, ...failed], ({ organization }) => [organization]),
      withheld: inOrder(withheld, ({ organization, type, field }) => [organization, type, field]),
    }
  }

  /** The fields of a service are its organization's: what left is in its ledger too. */
  private serviceDisclosures(): readonly OwnerPart[] {
    return [...this.given].flatMap(([name, { rows, failure }]): OwnerPart[] => {
      const { service } = this.serviceOf(name)
      const source = this.sourceOf(service)
      if (!source) return []
      const uses = this.parts.uses.filter((use) => use.service === name)
      const types = [...new Set(uses.map(({ type }) => type))]
      return [
        {
          ...ownerBase({
            organization: service.organization,
            source,
            types: types.map((type) => ({ type, fields: uses.filter((use) => use.type === type).map(({ field }) => field) })),
            stores: [name],
            jurisdictions: {
              stored: [service.jurisdiction],
              gateway: this.parts.gatewayJurisdiction,
              grantee: this.parts.jurisdictionOf(this.parts.request.principal.organization),
            },
            predicateText: null,
          }),
          rows: rows.length,
          contribution: rows.length > 0 ? Contribution.of(rows) : null,
          ...(failure && { outcome: 'failed' as const, code: failure }),
        },
      ]
    })
  }

  /** The rule under which the caller may query the service's organization at all. */
  private sourceOf({ organization, joins }: ForeignService): GrantSource | null {
    const types = this.parts.request.authority.owners.get(organization)?.types
    const [joined] = [...joins.keys()].flatMap((type) => types?.get(type) ?? [])
    const [any] = types?.values() ?? []
    return (joined ?? any)?.source ?? null
  }
}

/** Each null has an error; beyond so many nobody reads them. */
const ERRORS_MAX = 100

function codeOf(error: unknown): Code {
  return error instanceof GatewayError ? error.code : 'SOURCE_UNAVAILABLE'
}

/** An error stands where a value would; what executes the schema gives it the path of its place. */
function failedRow(selection: ForeignSelection, typeName: string, error: GatewayError): ForeignRow {
  return Object.fromEntries([...selection].map(([key, { kind }]) => [key, kind === 'typename' ? typeName : error]))
}

function inOrder<T>(entries: readonly T[], keyOf: (entry: T) => readonly unknown[]): readonly T[] {
  const byKey = new Map(entries.map((entry) => [JSON.stringify(keyOf(entry)), entry]))
  return [...byKey].sort(([a], [b]) => compareText(a, b)).map(([, entry]) => entry)
}
