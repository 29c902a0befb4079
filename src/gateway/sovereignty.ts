/** What an answer and the ledgers say of an operation: who served under which rule, what was masked, withheld or refused. Follows from plan, policy and health. */
import type { OwnerDisclosure, TypeDisclosure } from '../audit/record.js'
import type { GatewayError } from '../errors.js'
import type { GrantSource } from '../policy/authority.js'
import type { Principal } from '../policy/principal.js'
import type { Catalog } from '../query/catalog.js'
import { compareText } from '../query/order.js'
import type { RuleWords, Sovereignty } from './outcome.js'
import type { ChosenOwner, FieldRefusal } from './owners.js'
import { type EngineParts, type OwnerShare, type Run, type Task, typeOf } from './run.js'

export function sovereigntyOf(run: Run, failed: ReadonlyMap<string, GatewayError>): Sovereignty {
  const served = new Map<string, Sovereignty['served'][number]>()
  const masked = new Map<string, Sovereignty['masked'][number]>()
  const withheld = new Map<string, Sovereignty['withheld'][number]>()
  for (const owner of run.chosen) {
    const { organization, grant } = owner
    for (const type of typesOf(owner, run.choice.catalog)) {
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
    leftOut: inOrder(new Map(run.leftOut.map((entry) => [entry.organization, entry]))),
    failed: inOrder(new Map(codes)),
    masked: inOrder(masked),
    withheld: inOrder(withheld),
  }
}

/** What an owner's ledger says of an operation that its policy refused. */
export function refusalDisclosure({ grant, use, code }: FieldRefusal, principal: Principal, parts: EngineParts): OwnerDisclosure | null {
  const source = grant.types.get(use.type)?.source ?? [...grant.types.values()][0]?.source
  if (!source) return null
  return {
    organization: grant.organization,
    source,
    types: [{ type: use.type, fields: [use.field], decisions: { [use.field]: 'deny' } }],
    stores: [],
    jurisdictions: jurisdictions([], grant.organization, principal, parts),
    rows: 0,
    contribution: null,
    outcome: 'refused',
    code,
  }
}

/** Of an operation whose answer was not sent. Why it was not stays with the principal's ledger. */
export function notGiven(owners: readonly OwnerDisclosure[]): readonly OwnerDisclosure[] {
  return owners.map((owner) => ({ ...owner, rows: 0, contribution: null, outcome: 'failed' }))
}

export function ownerDisclosures(
  run: Run,
  tasks: readonly Task[],
  failed: ReadonlyMap<string, GatewayError>,
  shares: ReadonlyMap<string, OwnerShare>,
  parts: EngineParts,
): readonly OwnerDisclosure[] {
  const disclosures: OwnerDisclosure[] = []
  const counted = new Set<string>()
  for (const { organization, source, types } of sourcesOf(run.chosen, run.choice.catalog)) {
    const own = tasks.filter((task) => task.owner.organization === organization && types.some(({ type }) => type === typeOf(task.plan)))
    const failure = failed.get(organization)
    const share = shares.get(organization)
    const isFirst = !counted.has(organization) // several agreements of one owner: its rows are counted once
    counted.add(organization)
    const stores = [...new Set(own.flatMap((task) => task.connector?.store ?? []))]
    disclosures.push({
      organization,
      source,
      types,
      stores,
      jurisdictions: jurisdictions(stores, organization, run.principal, parts),
      rows: isFirst ? (share?.rows ?? 0) : 0,
      contribution: isFirst && share && share.texts.length > 0 ? share.texts : null,
      predicateText: own.map((task) => (task.connector ? task.connector.describe(task.native) : '')).join('\n'),
      ...(failure ? { outcome: 'failed' as const, code: failure.code } : {}),
    })
  }
  return disclosures
}

function jurisdictions(stores: readonly string[], organization: string, principal: Principal, parts: EngineParts): OwnerDisclosure['jurisdictions'] {
  const facts = parts.organizations.get(organization)
  return {
    stored: [...new Set(stores.flatMap((store) => facts?.stores.get(store)?.jurisdiction ?? []))],
    gateway: parts.gatewayJurisdiction,
    grantee: parts.organizations.get(principal.organization)?.jurisdiction ?? null,
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
