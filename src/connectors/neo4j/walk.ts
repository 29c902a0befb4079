/** Rows that are some steps away, as shortest paths whose every step is one of readable rows over readable relations. */
import { invariant } from '../../errors.js'
import { operandValue } from '../../query/evaluate.js'
import type { Traversal } from '../../query/plan.js'
import { allOf, anyOf, type Cypher, cypher, integerText, join, place, value } from './cypher.js'
import type { Reader } from './reader.js'
import { arrow, type Link } from './reader.js'

export interface Walk {
  /** Rows that were reached. */
  readonly target: Reader
  readonly match: Cypher
  /** The least number of steps. */
  readonly depth: Cypher
}

/** `hidden`: a relation of the step may not be seen at all; `nowhere`: there can be no row on the way. */
export function walkOf(traversal: Traversal, reader: Reader): Walk | 'hidden' | 'nowhere' {
  const { via, direction } = traversal
  const chain = chainOf(traversal, reader)
  if (typeof chain === 'string') return chain
  const target = reader.again()
  const path = reader.variable()
  const step = direction === 'both' ? undirected(chain, reader) : directed(chain, direction)
  const match = cypher`${path} = ANY SHORTEST (${reader.node})(${step}){1,${depthText(traversal)}}${target.pattern}`
  return { target, match, depth: via.length === 1 ? cypher`length(${path})` : cypher`length(${path}) / ${integerText(via.length)}` }
}

function depthText({ depth }: Traversal): Cypher {
  return place('depth', (values) => {
    const steps = operandValue(depth, values)
    invariant(typeof steps === 'number' && steps >= 1, 'a depth is a number')
    return integerText(steps)
  })
}

/** The rows of a step in the order of its relations. */
interface Chain {
  readonly rows: readonly Reader[]
  readonly links: readonly Link[]
  readonly fields: readonly string[]
}

function chainOf({ type, via }: Traversal, reader: Reader): Chain | 'hidden' | 'nowhere' {
  const rows = [reader.again()]
  const links: Link[] = []
  let isNowhere = false
  let at: string = type
  for (const field of via) {
    const shown = reader.plan.views.get(at)?.fields.get(field)
    const relation = reader.plan.catalog.entities.get(at)?.fields.get(field)
    if (!shown || shown.kind === 'absent' || !relation || relation.kind === 'value') return 'hidden'
    at = relation.target
    const step = isNowhere ? null : (rows.at(-1)?.step(field, 'view') ?? null)
    if (step) {
      rows.push(step.target)
      links.push(step.link)
    } else isNowhere = true
  }
  return isNowhere ? 'nowhere' : { rows, links, fields: via }
}

/** That each relation of the step may be seen in the row that it is followed from. */
function relationsShown({ rows, fields }: Chain): readonly Cypher[] {
  return fields.flatMap((field, index) => {
    const [from, to] = [rows[index], rows[index + 1]]
    invariant(from && to, 'a relation has two ends')
    return [from.isShown(field), from.endIsShown(field, to)]
  })
}

/** Of which the first end is known to be readable: the start, or the last end of the step before. */
function directed(chain: Chain, direction: 'out' | 'in'): Cypher {
  const isBack = direction === 'in'
  const rows = isBack ? [...chain.rows].reverse() : chain.rows
  const links = isBack ? [...chain.links].reverse() : chain.links
  const pattern = rows.map((row, index) => {
    const link = links[index - 1]
    return link ? cypher`${arrow(link, isBack)}${row.pattern}` : row.pattern
  })
  const readable = rows.slice(1).map((row) => row.isRow())
  return cypher`${pattern.flat()} WHERE ${allOf([...relationsShown(chain), ...readable])}`
}

/** Each step is one of either direction: its relationships in the order of the relations, or against it. */
function undirected(chain: Chain, reader: Reader): Cypher {
  const relationships = chain.links.map(() => reader.variable())
  const types = join(
    chain.links.map(({ type }) => type),
    '|',
  )
  const pattern = chain.rows.map((row, index) => {
    const relationship = relationships[index - 1]
    return relationship ? cypher`-[${relationship}:${types}]-${row.pattern}` : row.pattern
  })
  const isAlong = (rows: readonly Reader[], own: readonly Cypher[]): Cypher => {
    const each = chain.links.flatMap(({ typeName, isOut }, index): Cypher[] => {
      const [relationship, start] = [own[index], rows[isOut ? index : index + 1]]
      invariant(relationship && start, 'a relation has two ends')
      return [cypher`type(${relationship}) = ${value(typeName)}`, cypher`startNode(${relationship}) = ${start.node}`]
    })
    return allOf([...each, ...relationsShown({ ...chain, rows })])
  }
  const forward = isAlong(chain.rows, relationships)
  const backward = isAlong([...chain.rows].reverse(), [...relationships].reverse())
  const readable = chain.rows.slice(1).map((row) => row.isRow())
  return cypher`${pattern.flat()} WHERE ${allOf([...readable, anyOf([forward, backward])])}`
}
