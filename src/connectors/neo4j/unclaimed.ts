import { GatewayError } from '../../errors.js'

/** What a graph does not answer as the contract means it. */
export function unclaimed(what: string, organization: string): GatewayError {
  return new GatewayError('FIELD_NOT_USABLE', `a store of Neo4j does not answer this: ${what}`, { organization })
}
