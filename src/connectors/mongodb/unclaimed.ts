import { GatewayError } from '../../errors.js'

/** Of what this kind of store does not answer. */
export function unclaimed(what: string, organization: string): GatewayError {
  return new GatewayError('FIELD_NOT_USABLE', `a store of kind \`mongodb\` does not answer \`${what}\``, { organization })
}
