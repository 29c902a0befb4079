/**
 * Conditions over the fields of one entity type. The same terms serve two logics, and who evaluates one says which:
 *
 * - a caller's `where` is two-valued: a null value fits no operator but `isNull`, and `not` is an exact complement;
 * - a policy's condition is three-valued (Kleene, as SQL): a comparison with null is unknown. A grant applies when its condition is TRUE, a prohibition applies
 *   unless its condition is FALSE; `isTrue` and `isFalse` close a three-valued term into a two-valued one.
 */

/** A scalar in its canonical form: JavaScript numbers for Int and Float, booleans, and strings (exact text) for all other types; JSON as its text. */
export type Scalar = string | number | boolean

/** Where a value comes from. Plans hold operands, never values of a request, so that one plan serves all of them. */
export type Operand =
  /** The n-th value of the bound operation (`BoundPlan.values`); a list for the operators that take one. */
  | { readonly kind: 'slot'; readonly index: number }
  /** A value that stands in a policy or in the plan itself. */
  | { readonly kind: 'constant'; readonly value: Scalar | readonly Scalar[] }
  /** An own claim of the principal's token; a missing claim, or one of another shape, matches nothing (unknown). */
  | { readonly kind: 'claim'; readonly name: string }
  /** The n-th list that earlier steps of a plan over several stores gave. */
  | { readonly kind: 'step'; readonly index: number }

export type CompareOp = '=' | '<' | '<=' | '>' | '>='

export type Predicate =
  /** `all` and `none` are values, so that "no filter" can never be mistaken for "no rows". */
  | { readonly kind: 'all' | 'none' }
  | { readonly kind: 'compare'; readonly field: string; readonly op: CompareOp; readonly operand: Operand }
  /** The operand is a list; an empty one matches nothing. */
  | { readonly kind: 'in'; readonly field: string; readonly operand: Operand }
  | { readonly kind: 'isNull'; readonly field: string }
  /** SQL LIKE with `\` as escape; `fold` folds ASCII letters only. */
  | { readonly kind: 'like'; readonly field: string; readonly operand: Operand; readonly fold: boolean }
  | { readonly kind: 'startsWith' | 'contains'; readonly field: string; readonly operand: Operand }
  /** A list field holds every element of the operand list. */
  | { readonly kind: 'listContains'; readonly field: string; readonly operand: Operand }
  /** JSON containment as PostgreSQL's `@>`; the operand is JSON text. */
  | { readonly kind: 'jsonContains'; readonly field: string; readonly operand: Operand }
  /** The row's global id is one of the operand (a list of ids). */
  | { readonly kind: 'idIn'; readonly operand: Operand }
  /** A related row exists and fits: `field` is a relation, to one or to many, and `where` speaks of its target. */
  | { readonly kind: 'related'; readonly field: string; readonly where: Predicate }
  /**
   * Likewise, of rows in another store: the key that joins over `field` (null: the row's own) is one of these. Lists of one length, one for each part of the key. A
   * caller's condition only.
   */
  | { readonly kind: 'linked'; readonly field: string | null; readonly keys: readonly Operand[] }
  | { readonly kind: 'and' | 'or'; readonly terms: readonly Predicate[] }
  | { readonly kind: 'not' | 'isTrue' | 'isFalse'; readonly term: Predicate }

export const ALL: Predicate = { kind: 'all' }
export const NONE: Predicate = { kind: 'none' }

export function and(terms: readonly Predicate[]): Predicate {
  const rest = terms.filter((term) => term.kind !== 'all')
  if (rest.some((term) => term.kind === 'none')) return NONE
  return rest.length === 0 ? ALL : rest.length === 1 && rest[0] ? rest[0] : { kind: 'and', terms: rest }
}

export function or(terms: readonly Predicate[]): Predicate {
  const rest = terms.filter((term) => term.kind !== 'none')
  if (rest.some((term) => term.kind === 'all')) return ALL
  return rest.length === 0 ? NONE : rest.length === 1 && rest[0] ? rest[0] : { kind: 'or', terms: rest }
}

export function not(term: Predicate): Predicate {
  if (term.kind === 'all') return NONE
  if (term.kind === 'none') return ALL
  return { kind: 'not', term }
}
