import { GatewayError } from '../../errors.js'

/** What a store of this kind does not answer is refused before it is asked, never answered otherwise. */
export function unclaimed(what: string, organization: string): GatewayError {
  return new GatewayError('FIELD_NOT_USABLE', `a store of kind \`pinecone\` does not answer \`${what}\``, { organization })
}
