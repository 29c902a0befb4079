/**
 * One operation with foreign fields under way: one authority, one deadline, one cost and one outcome, whatever the stitching asks of whom.
 */
import type { ExecutionRequest, ExecutionResult } from '@graphql-tools/utils'
import type {
  ExecutionResult as GraphqlResult,
  FieldNode,
  FragmentDefinitionNode,
  GraphQLNamedType,
  GraphQLScalarType,
  GraphQLSchema,
  OperationDefinitionNode,
  SelectionNode,
  SelectionSetNode,
} from 'graphql'
import { getNamedType, getNullableType, isInterfaceType, isListType, isObjectType, Kind, parse, print } from 'graphql'
import type { OwnerDisclosure } from '../audit/record.js'
import { type Code, CODES, GatewayError, invariant } from '../errors.js'
import type { Authority, GrantSource, OwnerGrant } from '../policy/authority.js'
import type { KeyAccess, KeyRequest } from '../policy/key-access.js'
import type { Principal } from '../policy/principal.js'
import type { Catalog } from '../query/catalog.js'
import { parseGlobalId } from '../query/global-id.js'
import { compareText } from '../query/order.js'
import type { EngineRequest } from './run.js'
import { notGiven, sourceWords } from './sovereignty.js'
import type { ForeignQuestion, ForeignRow, ForeignSelection } from './foreign-answer.js'
import { foreignRequest, foreignRows, foreignSelection } from './foreign-answer.js'
import type { ForeignJoin, ForeignSchema } from './foreign-schema.js'
import type { KeyDisclosure, RecordKeys } from './key-disclosure.js'
import type { Operation } from './operation.js'
import { type AnswerError, type EngineOutcome, NOTHING_SERVED, type Sovereignty } from './outcome.js'
import { RawJson, type RawPlace, type RawPlaces } from './raw-json.js'
import type { ForeignService, ForeignUse, SupergraphLimits } from './supergraph.js'

/** Response key of the global id that stitching joins by. Callers cannot use it: their aliases do not begin with two underscores. */
export const KEY_NAME = '__concordat_key'

/** The engine, as far as it is needed here. */
export interface EngineDoor {
  run(request: EngineRequest): Promise<EngineOutcome>
}

export interface StitchedRunParts {
  readonly catalog: Catalog
  readonly services: ReadonlyMap<string, { readonly service: ForeignService; readonly foreign: ForeignSchema }>
  readonly schema: GraphQLSchema
  readonly scalars: ReadonlyMap<string, GraphQLScalarType>
  readonly mayReceiveKey: (request: KeyRequest) => KeyAccess
  readonly recordKeys: RecordKeys
  readonly gatewayJurisdiction: string
  readonly jurisdictionOf: (organization: string) => string | null
  readonly limits: SupergraphLimits
  readonly onFailure: (service: string, cause: unknown) => void
  readonly request: EngineRequest
  readonly engine: EngineDoor
  /** Coerced. */
  readonly variables: Readonly<Record<string, unknown>>
  /** What the operation takes from services, conditions of the document applied. */
  readonly uses: readonly ForeignUse[]
  readonly onUnavailable: 'REPORT' | 'EXCLUDE' | 'FAIL'
}

/** What a service gave, for the ledger of its organization. */
interface Given {
  readonly rows: string[]
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
  /** Owners that could not say which of their keys may go. */
  private readonly failedOwners = new Map<string, Code>()
  private cost = 0
  /** What ends the whole operation; the first one counts. */
  private fatal: { readonly error: unknown } | null = null

  constructor(private readonly parts: StitchedRunParts) {
    const { signal } = parts.request
    this.timer = setTimeout(() => this.controller.abort(new GatewayError('SOURCE_TIMEOUT', 'the deadline has passed')), parts.limits.deadlineMs)
    signal.addEventListener('abort', this.leave, { once: true })
    if (signal.aborted) this.leave()
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
      this.cost += outcome.cost
      const text = outcome.data ?? '{}'
      if (text.length > limits.stitchedBytes) throw new GatewayError('QUERY_TOO_COSTLY', `foreign fields are joined to more than ${limits.stitchedBytes} bytes`)
      const data = this.rawJson.parse(text, places) as Readonly<Record<string, unknown>> // the engine's answer is an object
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
    const travel = await this.travel(service, join.type, keys.map(String))
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

  private async ask(service: ForeignService, question: ForeignQuestion, travel: Travel): Promise<ReadonlyMap<string, ForeignRow>> {
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
          given.rows.push(JSON.stringify(row))
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

  // --- which keys may go ---------------------------------------------------------------------------------------------------------------------------------------

  private async travel(service: ForeignService, type: string, keys: readonly string[]): Promise<Travel> {
    const travel: Travel = { owners: new Map(), failed: new Map() }
    const conditional = new Map<string, ConditionalKeys>()
    for (const key of new Set(keys)) {
      const id = parseGlobalId(key)
      invariant(id?.type === type, 'keys are global ids of the joined type')
      const access = this.access(service, id.organization, type)
      if (access.kind === 'none') continue
      if (access.kind === 'agreed' && access.grant.types.get(type)?.rows.kind !== 'all') {
        const owner = conditional.get(id.organization) ?? { grant: access.grant, source: access.source, keys: [] }
        conditional.set(id.organization, owner)
        owner.keys.push(key)
      } else put(travel, id.organization, key, access.kind === 'own' ? null : access.source)
    }
    if (conditional.size > 0) await this.travelConditionally(service, conditional, travel)
    return travel
  }

  /** What a service may get of an owner. A caller who may not query the service's organization, or who sees pseudonyms for keys, sends nothing. */
  private access(service: ForeignService, owner: string, type: string): KeyAccess {
    const { mayReceiveKey, catalog, request } = this.parts
    const { owners, purpose } = request.authority
    const seen = owners.get(owner)?.types.get(type)?.fields
    const isSeen = catalog.entities.get(type)?.key.every((field) => seen?.get(field)?.kind === 'plain') ?? false
    if (!owners.has(service.organization) || !isSeen) return { kind: 'none' }
    const { organization, jurisdiction } = service
    return mayReceiveKey({ recipient: { organization, jurisdiction }, owner, type, purpose })
  }

  /** Where an agreement shows the service's organization some rows only, it asks for them as anybody would: the rows that it gets are the keys that may go. */
  private async travelConditionally(service: ForeignService, owners: ReadonlyMap<string, ConditionalKeys>, travel: Travel): Promise<void> {
    const keys = [...owners.values()].flatMap((owner) => owner.keys)
    const { pageRows, cost } = this.parts.limits
    for (let start = 0; start < keys.length; start += pageRows) {
      const ids = keys.slice(start, start + pageRows)
      if (this.cost + ids.length > cost) throw new GatewayError('QUERY_TOO_COSTLY', `more than ${cost} rows, counts and keys are asked for`)
      const { found, failed } = await this.readable(service, ids, owners)
      for (const id of ids) {
        const organization = parseGlobalId(id)?.organization ?? ''
        const code = failed.get(organization)
        const owner = owners.get(organization)
        if (code) {
          this.failedOwners.set(organization, code)
          travel.failed.set(id, new GatewayError(code, 'an owner could not say which keys may go', { organization }))
        } else if (found.has(id) && owner) put(travel, organization, id, owner.source)
      }
    }
  }

  private async readable(
    service: ForeignService,
    ids: readonly string[],
    owners: ReadonlyMap<string, ConditionalKeys>,
  ): Promise<{ readonly found: ReadonlySet<string>; readonly failed: ReadonlyMap<string, Code> }> {
    const { request, engine } = this.parts
    try {
      const outcome = await engine.run({
        operation: KEY_LOOKUP,
        variables: { ids },
        principal: recipientPrincipal(service, request.principal.expiresMs),
        authority: recipientAuthority(owners, request.authority),
        signal: this.controller.signal,
      })
      this.cost += outcome.cost
      const { nodes } = JSON.parse(outcome.data ?? '{"nodes":[]}') as { nodes: ({ id: string } | null)[] } // the engine's answer to our own document
      return {
        found: new Set(nodes.flatMap((node) => (node ? [node.id] : []))),
        failed: new Map(outcome.sovereignty.failed.map(({ organization, code }) => [organization, code])),
      }
    } catch (error) {
      if (request.signal.aborted || !this.controller.signal.aborted || this.fatal) throw error
      return { found: new Set(), failed: new Map([...owners.keys()].map((organization) => [organization, 'SOURCE_TIMEOUT'])) }
    }
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
      data: this.rawJson.stringify(result.data),
      errors: [...contract.errors, ...(this.parts.onUnavailable === 'REPORT' ? errors.slice(0, ERRORS_MAX) : [])],
      sovereignty: this.sovereignty(contract, failed),
      owners: [...contract.owners, ...this.serviceDisclosures()],
      cost: this.cost,
    }
  }

  /** Who was asked, where nothing of it is given. What ended the engine's own run is its own to tell. */
  askedInVain(): readonly OwnerDisclosure[] {
    return notGiven([...(this.contract?.owners ?? []), ...this.serviceDisclosures()])
  }

  private failures(): readonly { readonly organization: string; readonly code: Code }[] {
    const failed = new Map(this.failedOwners)
    for (const [name, { failure }] of this.given) if (failure) failed.set(this.serviceOf(name).service.organization, failure)
    return [...failed].map(([organization, code]) => ({ organization, code }))
  }

  /** Follows from plan, policy and health, as the engine's: which keys there were is nothing to it. */
  private sovereignty(contract: Pick<EngineOutcome, 'sovereignty' | 'owners'>, failed: Sovereignty['failed']): Sovereignty {
    const withheld: Readonly<Record<string, unknown>>[] = [...contract.sovereignty.withheld]
    const served: Readonly<Record<string, unknown>>[] = [...contract.sovereignty.served]
    for (const { service: name, type, field } of this.parts.uses) {
      const { service } = this.serviceOf(name)
      const seen = new Set<string>()
      let isOpen = false
      for (const { organization, source, types } of contract.owners) {
        if (seen.has(organization) || !types.some((each) => each.type === type)) continue
        seen.add(organization)
        const access = this.access(service, organization, type)
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
  private serviceDisclosures(): readonly OwnerDisclosure[] {
    return [...this.given].flatMap(([name, { rows, failure }]): OwnerDisclosure[] => {
      const { service } = this.serviceOf(name)
      const source = this.sourceOf(service)
      if (!source) return []
      const uses = this.parts.uses.filter((use) => use.service === name)
      const types = [...new Set(uses.map(({ type }) => type))]
      return [
        {
          organization: service.organization,
          source,
          types: types.map((type) => ({ type, fields: uses.filter((use) => use.type === type).map(({ field }) => field) })),
          stores: [name],
          jurisdictions: {
            stored: [service.jurisdiction],
            gateway: this.parts.gatewayJurisdiction,
            grantee: this.parts.jurisdictionOf(this.parts.request.principal.organization),
          },
          rows: rows.length,
          contribution: rows.length > 0 ? rows : null,
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

interface ConditionalKeys {
  readonly grant: OwnerGrant
  readonly source: GrantSource
  readonly keys: string[]
}

/** Keys that may go, by owner, and keys of which nobody could say. */
interface Travel {
  readonly owners: Map<string, { readonly keys: string[]; readonly source: GrantSource | null }>
  readonly failed: Map<string, GatewayError>
}

function put({ owners }: Travel, organization: string, key: string, source: GrantSource | null): void {
  const owner = owners.get(organization) ?? { keys: [], source }
  owners.set(organization, owner)
  owner.keys.push(key)
}

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

// --- a recipient as a reader -----------------------------------------------------------------------------------------------------------------------------------

const KEY_LOOKUP: Operation = (() => {
  const text = 'query ($ids: [ID!]!) { nodes(ids: $ids) { id } }'
  const [definition] = parse(text, { noLocation: true }).definitions as [OperationDefinitionNode] // just written
  return { id: 'key lookup', name: null, text, definition, fragments: new Map(), derived: new Map() }
})()

/** The service's organization without a person: no roles, no claims, and so nothing that a condition on a claim would show. */
function recipientPrincipal({ name, organization }: ForeignService, expiresMs: number): Principal {
  return {
    subject: `service:${name}`,
    organization,
    issuer: 'concordat',
    roles: [],
    purposes: [],
    actors: [],
    tokenId: null,
    proof: 'none',
    claims: new Map(),
    expiresMs,
  }
}

function recipientAuthority(owners: ReadonlyMap<string, ConditionalKeys>, { purpose, epoch, validUntilMs }: Authority): Authority {
  const inOrderOfIds = [...owners].sort(([a], [b]) => compareText(a, b))
  return {
    owners: new Map(inOrderOfIds.map(([organization, { grant }]) => [organization, grant])),
    refusals: new Map(),
    purpose,
    may: { explain: false, auditList: false, auditExport: false },
    shape: `keys ${JSON.stringify(inOrderOfIds.map(([organization, { grant, source }]) => [organization, [...grant.types.keys()], source.digest]))}`,
    epoch,
    validUntilMs,
  }
}

// --- documents -------------------------------------------------------------------------------------------------------------------------------------------------

function operationOf(request: ExecutionRequest): OperationDefinitionNode {
  const operation = request.document.definitions.find((definition) => definition.kind === Kind.OPERATION_DEFINITION)
  invariant(operation, 'a delegated document has an operation')
  return operation
}

function rootFieldOf(request: ExecutionRequest): FieldNode {
  const [root, ...others] = operationOf(request).selectionSet.selections
  invariant(root?.kind === Kind.FIELD && others.length === 0, 'a delegated document has one root field')
  return root
}

function fragmentsOf(request: ExecutionRequest): ReadonlyMap<string, FragmentDefinitionNode> {
  const fragments = request.document.definitions.filter((definition) => definition.kind === Kind.FRAGMENT_DEFINITION)
  return new Map(fragments.map((fragment) => [fragment.name.value, fragment]))
}

function keysVariableOf(root: FieldNode, { argument }: ForeignJoin): string {
  const value = root.arguments?.find(({ name }) => name.value === argument)?.value
  invariant(value?.kind === Kind.VARIABLE, 'keys travel in a variable')
  return value.name.value
}

function clientNodeOf({ info }: ExecutionRequest): FieldNode {
  const [node] = info?.fieldNodes ?? []
  invariant(node, 'a delegated field stands in the document of the client')
  return node
}

function responseKeyOf(request: ExecutionRequest): string {
  const node = clientNodeOf(request)
  return node.alias?.value ?? node.name.value
}

interface ContractOperation {
  readonly operation: Operation
  readonly places: RawPlaces
}

/** Operations of the engine that a document of a client leads to: several where conditions leave root fields out. The engine keeps what it derives with them. */
const CONTRACT_OPERATIONS = new WeakMap<Operation, Map<string, ContractOperation>>()
const VARIANTS_MAX = 16

/**
 * The client's operation with its selections as stitching wants them: without foreign fields, with what joins them. Root fields keep their response keys, so that
 * cursors and paths are the same, and their arguments as they are written, so that no digit is lost.
 */
function contractOperation(client: Operation, requests: readonly ExecutionRequest[], schema: GraphQLSchema): ContractOperation {
  const selections = requests.map((request): FieldNode => {
    const root = rootFieldOf(request)
    const fragments = fragmentsOf(request)
    const node = clientNodeOf(request)
    return {
      kind: Kind.FIELD,
      alias: { kind: Kind.NAME, value: responseKeyOf(request) },
      name: root.name,
      arguments: node.arguments ?? [],
      ...(root.selectionSet && { selectionSet: inlined(root.selectionSet, fragments) }),
      ...(node.loc && { loc: node.loc }),
    }
  })
  const definition: OperationDefinitionNode = { ...client.definition, selectionSet: { kind: Kind.SELECTION_SET, selections } }
  const text = print(definition)
  const variants = CONTRACT_OPERATIONS.get(client) ?? new Map<string, ContractOperation>()
  CONTRACT_OPERATIONS.set(client, variants)
  const known = variants.get(text)
  if (known) return known
  const operation: Operation = { id: `${client.id} stitched`, name: client.name, text, definition, fragments: new Map(), derived: new Map() }
  const made = { operation, places: placesOf(definition.selectionSet, schema.getQueryType() ?? undefined, schema) }
  variants.set(text, made)
  const [oldest] = variants.keys()
  if (variants.size > VARIANTS_MAX && oldest !== undefined) variants.delete(oldest)
  return made
}

/** Without spreads. Fragments do not spread themselves: the client's document is valid, and its expansion is limited. */
function inlined(set: SelectionSetNode, fragments: ReadonlyMap<string, FragmentDefinitionNode>): SelectionSetNode {
  const selections = set.selections.flatMap((selection): SelectionNode[] => {
    if (selection.kind !== Kind.FRAGMENT_SPREAD)
      return [{ ...selection, ...(selection.selectionSet && { selectionSet: inlined(selection.selectionSet, fragments) }) } as SelectionNode] // as it was
    const fragment = fragments.get(selection.name.value)
    if (!fragment) return []
    return [
      {
        kind: Kind.INLINE_FRAGMENT,
        typeCondition: fragment.typeCondition,
        directives: selection.directives ?? [],
        selectionSet: inlined(fragment.selectionSet, fragments),
      },
    ]
  })
  return { kind: Kind.SELECTION_SET, selections }
}

/** Where JSON values stand. Fields that answer under one name have one type, whatever the types around them (GraphQL, section 5.3.2). */
function placesOf(set: SelectionSetNode, type: GraphQLNamedType | undefined, schema: GraphQLSchema, places = new Map<string, RawPlace>()): RawPlaces {
  for (const selection of set.selections) {
    if (selection.kind === Kind.INLINE_FRAGMENT) {
      placesOf(selection.selectionSet, selection.typeCondition ? schema.getType(selection.typeCondition.name.value) : type, schema, places)
      continue
    }
    const field = selection.kind === Kind.FIELD && (isObjectType(type) || isInterfaceType(type)) && type.getFields()[selection.name.value]
    if (!field) continue
    const named = getNamedType(field.type)
    const key = selection.alias?.value ?? selection.name.value
    if (named.name === 'JSON') places.set(key, isListType(getNullableType(field.type)) ? 'items' : 'here')
    else if (selection.selectionSet) {
      const known = places.get(key)
      const inner = placesOf(selection.selectionSet, named, schema, typeof known === 'object' ? new Map(known) : new Map())
      if (inner.size > 0) places.set(key, inner)
    }
  }
  return places
}
