/**
 * Whether a plan stays within what a principal may see: for each owner, each use of a field against the owner's grant. Pure. What passes here is what `restrict`
 * then turns into readable views; a use that does not pass refuses the operation before any store is asked.
 */
import type { OrganizationBinding } from '../query/binding.js'
import type { Catalog } from '../query/catalog.js'
import type { Mask, ViewField } from '../query/plan.js'
import type { OwnerGrant, TypeGrant } from './authority.js'

/** How an operation touches a field: `select` puts it in the answer, all else are input positions. */
export type UseKind = 'select' | 'equal' | 'range' | 'text' | 'null' | 'related' | 'order' | 'group' | 'measure' | 'countDistinct' | 'search'

export interface Use {
  readonly type: string
  readonly field: string
  readonly how: UseKind
}

/** What became of one selected field, for `extensions.sovereignty`. */
export type Disclosure =
  | { readonly kind: 'withheld'; readonly type: string; readonly field: string; readonly conditional: boolean }
  | { readonly kind: 'masked'; readonly type: string; readonly field: string; readonly mask: string }

export interface OwnerDecision<U extends Use> {
  readonly organization: string
  /** The first use, in the order of the document, that the grant does not cover. */
  readonly refused: U | null
  /** By type and field; without duplicates, in the order of the contract. */
  readonly disclosures: readonly Disclosure[]
}

export function authorize<U extends Use>(uses: readonly U[], grant: OwnerGrant, binding: OrganizationBinding, catalog: Catalog): OwnerDecision<U> {
  const refused =
    uses.find((use) => use.how !== 'select' && !(isHere(use, binding) && isUsable(use, viewField(use.type, use.field, grant, binding, catalog)))) ?? null
  const disclosures = new Map<string, Disclosure>()
  for (const use of uses) {
    if (use.how !== 'select') continue
    const disclosure = disclosureOf(use, grant, binding, catalog)
    if (disclosure) disclosures.set(`${use.type}.${use.field}`, disclosure)
  }
  return { organization: grant.organization, refused, disclosures: [...disclosures.values()] }
}

/**
 * What a field of the contract is to the caller. A relation to a type that is not granted is absent, and so is a field that the owner's binding does not give.
 * The empty table of a type that the owner does not hold has every granted field: there is nothing in it to hide.
 */
export function viewField(type: string, field: string, grant: OwnerGrant, binding: OrganizationBinding, catalog: Catalog): ViewField {
  const granted = grant.types.get(type)?.fields.get(field)
  const bound = binding.types.get(type)
  const definition = catalog.entities.get(type)?.fields.get(field)
  if (!granted || !bound || !definition) return ABSENT
  if (definition.kind === 'value') return bound.kind === 'none' || bound.columns.has(field) || bound.parts?.has(field) ? granted : ABSENT
  if (!grant.types.has(definition.target)) return ABSENT
  if (bound.kind === 'none') return granted
  if (definition.kind === 'toOne') return bound.relations.has(field) ? granted : ABSENT
  const target = binding.types.get(definition.target)
  return target && (target.kind === 'none' || target.relations.has(definition.inverse)) ? granted : ABSENT
}

const ABSENT: ViewField = { kind: 'absent' }

/** A value that lies in another table than its row can be shown and searched by, and nothing else. */
function isHere({ type, field, how }: Use, { types }: OrganizationBinding): boolean {
  const bound = types.get(type)
  return how === 'search' || bound?.kind !== 'table' || !bound.parts?.has(field)
}

function isUsable(use: Use, view: ViewField): boolean {
  switch (view.kind) {
    case 'absent':
      return false
    case 'plain':
      return true
    case 'cell':
      return use.how !== 'measure' // sum, avg, min and max of a conditional field tell which rows the condition leaves out
    case 'masked':
      return maskAllows(view.mask, use.how)
  }
}

/** The operators that a mask declares; each acts on the masked value. */
function maskAllows(mask: Mask, how: UseKind): boolean {
  switch (mask.kind) {
    case 'pseudonym':
      return how === 'equal' || how === 'group' || how === 'countDistinct'
    case 'generalize':
    case 'generalizeTime':
      return how === 'equal' || how === 'group' || how === 'countDistinct' || how === 'range' || how === 'order'
    case 'null':
    case 'constant':
    case 'redact':
      return false
  }
}

function disclosureOf(use: Use, grant: OwnerGrant, binding: OrganizationBinding, catalog: Catalog): Disclosure | null {
  const { type, field } = use
  const granted = grant.types.get(type)?.fields.get(field)
  const definition = catalog.entities.get(type)?.fields.get(field)
  const targetDenied = definition !== undefined && definition.kind !== 'value' && !grant.types.has(definition.target)
  if (!granted || targetDenied) return { kind: 'withheld', type, field, conditional: false }
  const view = viewField(type, field, grant, binding, catalog)
  switch (view.kind) {
    case 'absent': // granted, but not bound: the owner has no such column, which is no decision about anybody
    case 'plain':
      return null
    case 'cell':
      return { kind: 'withheld', type, field, conditional: true }
    case 'masked':
      return { kind: 'masked', type, field, mask: maskName(view.mask) }
  }
}

/** The mask's word in agreements. */
export function maskName(mask: Mask): string {
  return mask.kind === 'generalizeTime' ? 'generalize' : mask.kind
}

/** The grant that speaks for a type, for the reasons in answers and ledger. */
export function grantOf(type: string, grant: OwnerGrant): TypeGrant | undefined {
  return grant.types.get(type)
}
