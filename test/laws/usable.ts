import type { Use } from './documents.js'
import type { Viewer } from './world.js'
import { decisionOf } from './world.js'

/** Section 2 of the semantics, once more: what each decision lets a document do. */
export function isUsable(viewer: Viewer, organization: string, { type, field, how }: Use): boolean {
  switch (decisionOf(viewer, organization, type, field)) {
    case 'plain':
      return true
    case 'cell':
      return how !== 'measure'
    case 'generalize':
      return ['equal', 'range', 'order', 'group', 'countDistinct'].includes(how)
    case 'pseudonym':
      return ['equal', 'group', 'countDistinct'].includes(how)
    case 'absent':
    case 'null':
    case 'constant':
    case 'redact':
      return false
  }
}
