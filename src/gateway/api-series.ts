/** What a type with `@series` brings into the API: a series at the root, and beside each list of its rows. */
import type { Catalog, EntityType, ToManyField } from '../query/catalog.js'

export function hasSeries({ seriesTime }: EntityType): boolean {
  return seriesTime !== null
}

/** The field of `Query`. */
export function seriesRootName({ singular }: EntityType): string {
  return `${singular}Series`
}

/** The field beside a list: named as at the root where the list is named as there, else for the list. */
export function seriesFieldName({ name }: Pick<ToManyField, 'name'>, target: EntityType): string {
  return name === target.plural ? seriesRootName(target) : `${name}Series`
}

/** Relations of a type that lead to a series, each with its field. */
export function seriesFields(entity: EntityType, { entities }: Catalog): readonly (readonly [name: string, relation: ToManyField])[] {
  return [...entity.fields.values()].flatMap((relation): (readonly [string, ToManyField])[] => {
    const target = relation.kind === 'toMany' ? entities.get(relation.target) : undefined
    return relation.kind === 'toMany' && target && hasSeries(target) ? [[seriesFieldName(relation, target), relation]] : []
  })
}

export function seriesArguments(type: string): string {
  return `range: TimeRange!, bucket: Duration!, timezone: String! = "UTC", origin: DateTime, fill: Fill, groupBy: [${type}GroupBy!], where: ${type}Where`
}

/** Types that all series share. */
export const SERIES_DEFINITIONS = `
"From inclusive, to exclusive."
input TimeRange { from: DateTime! to: DateTime! }
"How an empty bucket is filled. Without \`fill\` it is left out."
enum Fill {
  "With nulls."
  NULL
  "With the last value before it."
  PREVIOUS
  "With a value on the line between the last one before and the first one after it; numbers only."
  LINEAR
}
`

/** @param some what the type's fields can be asked for; see \`aggregateDefinitions\`. */
export function seriesDefinitions({ name }: EntityType, some: { readonly isSummable: boolean; readonly isExtremable: boolean }): string {
  const sums = `sum: ${name}Sum avg: ${name}Avg`
  const extremes = `min: ${name}Extreme max: ${name}Extreme
  "Of the earliest row that has a value."
  first: ${name}Extreme
  "Of the latest row that has a value."
  last: ${name}Extreme`
  const others = `"As PostgreSQL's percentile_cont. Over several owners it is not exact: group by ORGANIZATION."
  percentile(p: Float!): ${name}Avg
  "What a counter grew by in a second, resets allowed for. A growth from row to row of a group counts at the later one."
  rate: ${name}Avg`
  return `type ${name}Series { keys: ${name}GroupKeys! buckets: [${name}Bucket!]! }
type ${name}Bucket {
  start: DateTime!
  end: DateTime!
  count: BigInt!
  ${[some.isSummable && sums, some.isExtremable && extremes, some.isSummable && others].filter((part) => part !== false).join('\n  ')}
}`
}
