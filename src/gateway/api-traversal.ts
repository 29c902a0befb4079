/** What relations that lead from a type back to it bring into the API: rows that are some steps away. */
import type { Catalog, EntityType, Field } from '../query/catalog.js'
import { screamingSnakeCase } from '../query/name.js'

/** The field of a row's type. */
export const RELATED_FIELD = 'related'

/** A relation, and the type that has it. */
export interface StepRelation {
  readonly type: string
  readonly field: string
}

/**
 * Values of the enum `…RelatedVia`, with the relations of one step: one to the type itself, or one to many rows of another type and from these one to the type that is not the way back
 * (`dependencies` of an agent, and `on` of each: `DEPENDENCIES__ON`).
 */
export function stepsOf(entity: EntityType, catalog: Catalog): readonly (readonly [value: string, step: readonly StepRelation[]])[] {
  return [...entity.fields.values()].flatMap((field) => stepsOver(field, entity, catalog))
}

function stepsOver(field: Field, { name }: EntityType, { entities }: Catalog): readonly [string, readonly StepRelation[]][] {
  if (field.kind === 'value') return []
  const first = { type: name, field: field.name }
  if (field.target === name) return [[screamingSnakeCase(field.name), [first]]]
  if (field.kind === 'toOne') return []
  return [...(entities.get(field.target)?.fields.values() ?? [])].flatMap((other): [string, readonly StepRelation[]][] => {
    if (other.kind !== 'toOne' || other.target !== name || other.name === field.inverse) return []
    return [[`${screamingSnakeCase(field.name)}__${screamingSnakeCase(other.name)}`, [first, { type: field.target, field: other.name }]]]
  })
}

export function relatedField({ name }: EntityType): string {
  const description =
    '"Rows that are some steps away, those with the fewest first; this one is none of them. What the caller may not see is not passed through."'
  return `${description} ${RELATED_FIELD}(via: ${name}RelatedVia!, direction: RelationDirection! = OUT, depth: Int! = 1, where: ${name}Where, first: Int): ${name}Related`
}

export function relatedDefinitions({ name }: EntityType, values: readonly string[]): string {
  return `"Not a connection: \`first\` is the whole answer."
type ${name}Related { edges: [${name}RelatedEdge!]! }
"The least number of steps."
type ${name}RelatedEdge { depth: Int! node: ${name}! }
enum ${name}RelatedVia { ${values.join(' ')} }`
}

/** What all types with such a field share. */
export const RELATED_DEFINITIONS = `
"Which way relations are followed: as they lead, against that, or both."
enum RelationDirection { OUT IN BOTH }
`
