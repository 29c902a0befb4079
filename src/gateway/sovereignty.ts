/** What an answer and the ledgers say of an operation: who served under which rule, what was masked, withheld or refused. Follows from plan, policy and health. */
import { Contribution } from '../audit/contribution.js'
import { type OwnerFacts, ownerTerms, type TypeDisclosure } from '../audit/owner-terms.js'
import type { OwnerDisclosure } from '../audit/record.js'
import type { GatewayError } from '../errors.js'
import type { GrantSource } from '../policy/authority.js'
import type { Catalog } from '../query/catalog.js'
import { compareText } from '../query/order.js'
import type { RuleWords, Sovereignty } from './outcome.js'
import type { ChosenOwner, FieldRefusal } from './owners.js'
import type { Route, Task } from './route.js'
import { type EngineParts, type OwnerShare, typeOf } from './run.js'
import type { StreamedShare } from './stream.js'

/** What the ledgers say of one owner, with the facts that it is made of. */
export interface OwnerPart extends OwnerDisclosure {
  readonly facts: OwnerFacts
}

/** What is the same for every request of one route. */
export type OwnerBase = Pick<OwnerPart, 'facts' | 'terms'>

export function ownerBase(facts: OwnerFacts): OwnerBase {
  return { facts, terms: ownerTerms(facts) }
}

export function sovereigntyOf(
  { chosen, leftOut, approximate }: Pick<Route, 'chosen' | 'leftOut' | 'approximate'>,
  failed: ReadonlyMap<string, GatewayError>,
  catalog: Catalog,
): Sovereignty {
  const served = new Map<string, Sovereignty['served'][number]>()
  const masked = new Map<string, Sovereignty['masked'][number]>()
  const withheld = new Map<string, Sovereignty['withheld'][number]>()
  for (const owner of chosen) {
    const { organization, grant } = owner
    for (const type of typesOf(owner, catalog)) {
      const source = grant.types.get(type)?.source
      if (source && !failed.has(organization)) served.set(JSON.stringify([organization, sourceName(source)]), { organization, ...sourceWords(source) })
    }
    for (const disclosure of owner.disclosures) {
      const { type, field } = disclosure
      const source = grant.types.get(type)?.source ?? [...grant.types.values()][0]?.source
      const key = JSON.stringify([organization, type, field])
      const words = source ? sourceWords(source) : {}
      if (disclosure.kind === 'masked') masked.set(key, { organization, type, field, mask: disclosure.mask, ...words })
      else withheld.set(key, { organization, type, field, conditional: disclosure.conditional, ...words })
    }
  }
  const inOrder = <T>(entries: ReadonlyMap<string, T>): T[] => [...entries].sort(([a], [b]) => compareText(a, b)).map(([, entry]) => entry)
  const codes = [...failed].map(([organization, { code }]) => [organization, { organization, code }] as const)
  return {
    served: inOrder(served),
    leftOut: inOrder(new Map(leftOut.map((entry) => [entry.organization, entry]))),
    failed: inOrder(new Map(codes)),
    masked: inOrder(masked),
    withheld: inOrder(withheld),
    ...(approximate.length > 0 && { approximate }),
  }
}

/** What an owner's ledger says of an operation that its policy refused. */
export function refusalDisclosure({ grant, use, code }: FieldRefusal, home: string, parts: EngineParts): OwnerPart | null {
  const source = grant.types.get(use.type)?.source ?? [...grant.types.values()][0]?.source
  if (!source) return null
  const base = ownerBase({
    organization: grant.organization,
    source,
    types: [{ type: use.type, fields: [use.field], decisions: { [use.field]: 'deny' } }],
    stores: [],
    jurisdictions: jurisdictions([], grant.organization, home, parts),
    predicateText: null,
  })
  return { ...base, rows: 0, contribution: null, outcome: 'refused', code }
}

/** Of an operation whose answer was not sent. Why it was not stays with the principal's ledger. */
export function notGiven<T extends OwnerDisclosure>(owners: readonly T[]): readonly T[] {
  return owners.map((owner) => ({ ...owner, rows: 0, contribution: null, outcome: 'failed' }))
}

/** By owner and rule: what is used of it, where its rows lie and what its stores are asked. */
export function ownerBases(
  chosen: readonly ChosenOwner[],
  tasks: readonly Pick<Task, 'owner' | 'plan' | 'connector' | 'native'>[],
  home: string,
  parts: EngineParts,
): readonly OwnerBase[] {
  return sourcesOf(chosen, parts.catalog).map(({ organization, source, types }) => {
    const own = tasks.filter((task) => task.owner.organization === organization && types.some(({ type }) => type === typeOf(task.plan)))
    const stores = [...new Set(own.flatMap(({ connector, native }) => (connector ? (connector.storesOf?.(native) ?? [connector.store]) : [])))]
    return ownerBase({
      organization,
      source,
      types,
      stores,
      jurisdictions: jurisdictions(stores, organization, home, parts),
      predicateText: own.map((task) => (task.connector ? task.connector.describe(task.native) : '')).join('\n'),
    })
  })
}

/** What each owner gave, or why it did not. Of several rules of one owner the first one has its rows, so that they are counted once. */
export function ownerParts(
  bases: readonly OwnerBase[],
  failed: ReadonlyMap<string, GatewayError>,
  shares: ReadonlyMap<string, OwnerShare>,
): readonly OwnerPart[] {
  return bases.map((base, index) => {
    const { organization } = base.facts
    const failure = failed.get(organization)
    const isFirst = bases.findIndex(({ facts }) => facts.organization === organization) === index
    const share = isFirst ? shares.get(organization) : undefined
    const { facts, terms } = base
    const rows = share?.rows ?? 0
    const contribution = share && share.texts.length > 0 ? Contribution.of(share.texts) : null
    return failure ? { facts, terms, rows, contribution, outcome: 'failed', code: failure.code } : { facts, terms, rows, contribution }
  })
}

/** As `ownerParts`, of an answer that streams. */
export function streamedParts(
  bases: readonly OwnerBase[],
  failed: ReadonlyMap<string, GatewayError>,
  shares: ReadonlyMap<string, StreamedShare>,
): readonly OwnerPart[] {
  return bases.map(({ facts, terms }, index) => {
    const failure = failed.get(facts.organization)
    const isFirst = bases.findIndex((each) => each.facts.organization === facts.organization) === index
    const share = isFirst ? shares.get(facts.organization) : undefined
    const given = { facts, terms, rows: share?.rows ?? 0, contribution: share?.contribution ?? null }
    return failure ? { ...given, outcome: 'failed', code: failure.code } : given
  })
}

function jurisdictions(stores: readonly string[], organization: string, home: string, parts: EngineParts): OwnerFacts['jurisdictions'] {
  const facts = parts.organizations.get(organization)
  return {
    stored: [...new Set(stores.flatMap((store) => facts?.stores.get(store)?.jurisdiction ?? []))],
    gateway: parts.gatewayJurisdiction,
    grantee: parts.organizations.get(home)?.jurisdiction ?? null,
  }
}

/** Types whose fields are used, or whose rows are given or counted: a number of rows needs no field. */
function typesOf({ type, uses, grant, disclosures }: ChosenOwner, catalog: Catalog): readonly string[] {
  const targets = uses.flatMap((use) => {
    const field = catalog.entities.get(use.type)?.fields.get(use.field)
    if (!field || field.kind === 'value' || !grant.types.has(field.target)) return []
    const isDenied = disclosures.some((each) => each.kind === 'withheld' && !each.conditional && each.type === use.type && each.field === use.field)
    return isDenied ? [] : [field.target]
  })
  return [...new Set([type, ...uses.map((use) => use.type), ...targets])]
}

function sourceName(source: GrantSource): string {
  return source.kind === 'roles' ? 'roles' : source.agreement
}

/** As answers name a rule. */
export function sourceWords(source: GrantSource): RuleWords {
  return source.kind === 'roles' ? { roles: source.roles, version: source.version } : { agreement: source.agreement, version: source.version }
}

interface OwnerSource {
  readonly organization: string
  readonly grant: ChosenOwner['grant']
  readonly source: GrantSource
  readonly types: readonly TypeDisclosure[]
}

/** By owner and rule: the types and fields that the operation names there. */
function sourcesOf(chosen: readonly ChosenOwner[], catalog: Catalog): readonly OwnerSource[] {
  const found = new Map<string, { organization: string; grant: ChosenOwner['grant']; source: GrantSource; types: Map<string, FieldFacts> }>()
  const factsOf = (owner: ChosenOwner, type: string): FieldFacts | null => {
    const source = owner.grant.types.get(type)?.source ?? [...owner.grant.types.values()][0]?.source
    if (!source) return null
    const key = JSON.stringify([owner.organization, sourceName(source)])
    const entry = found.get(key) ?? { organization: owner.organization, grant: owner.grant, source, types: new Map<string, FieldFacts>() }
    found.set(key, entry)
    const facts = entry.types.get(type) ?? { fields: new Set<string>(), decisions: {}, masks: {} }
    entry.types.set(type, facts)
    return facts
  }
  for (const owner of chosen) {
    for (const type of typesOf(owner, catalog)) factsOf(owner, type)
    for (const use of owner.uses) {
      const facts = factsOf(owner, use.type)
      if (!facts) continue
      facts.fields.add(use.field)
      const disclosure = owner.disclosures.find((candidate) => candidate.type === use.type && candidate.field === use.field)
      if (disclosure?.kind === 'masked') {
        facts.decisions[use.field] = 'mask'
        facts.masks[use.field] = disclosure.mask
      } else if (disclosure) facts.decisions[use.field] = disclosure.conditional ? 'conditional' : 'deny'
    }
  }
  return [...found.values()].map(({ types, ...rest }) => ({
    ...rest,
    types: [...types].map(([type, facts]) => ({ type, fields: [...facts.fields].sort(compareText), decisions: facts.decisions, masks: facts.masks })),
  }))
}

interface FieldFacts {
  readonly fields: Set<string>
  readonly decisions: Record<string, 'mask' | 'conditional' | 'deny'>
  readonly masks: Record<string, string>
}
