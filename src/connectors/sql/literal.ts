/**
 * SQL that stands alone: constants as quoted literals where a statement would have parameters. For text that an owner reads and applies (policies, functions); what
 * a caller sends never becomes text.
 */
import { invariant } from '../../errors.js'
import type { Fragment, Parameter } from './fragment.js'
import { eachPart, quotedPath } from './fragment.js'
import { encodeParameters } from './parameter.js'

/**
 * The fragment as text without parameters. A constant that its type cannot hold is NULL, exactly as it would be sent.
 *
 * INVARIANT: every operand is a constant; a claim or a value of a request is a bug of ours.
 */
export function inlined(fragment: Fragment): string {
  let text = ''
  eachPart(fragment, (part) => {
    if (part.kind === 'text') text += part.text
    else text += part.kind === 'name' ? quotedPath(part.path) : inlinedParameter(part.parameter)
  })
  return text
}

function inlinedParameter(parameter: Parameter): string {
  invariant(parameter.operand.kind === 'constant', 'only constants become text')
  const [text] = encodeParameters([parameter], { slots: [], claims: new Map() })
  return `${text === null || text === undefined ? 'NULL' : quoteLiteral(text)}::${parameter.cast}`
}

/**
 * The one way in which a text gets into such SQL. It means the same whatever `standard_conforming_strings` says: a backslash stands only in an escape string. A
 * text with U+0000 cannot exist in PostgreSQL.
 */
export function quoteLiteral(text: string): string {
  invariant(!text.includes('\0'), 'not a text')
  const quoted = text.replaceAll("'", "''")
  return quoted.includes('\\') ? `E'${quoted.replaceAll('\\', '\\\\')}'` : `'${quoted}'`
}

/** A quoted literal of no type yet, for places that take no expression. */
export function literal(text: string): Fragment {
  return { parts: [{ kind: 'text', text: quoteLiteral(text) }] }
}
