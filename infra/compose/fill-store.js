/**
 * Fills one organization's database of docker-compose.yml and lets the gateway read it: `node infra/compose/fill-store.js ORGANIZATION`, with `OWNER_URL` and
 * `GATEWAY_PASSWORD` in the environment. May be run again; it keeps what is there. The row-level security that `concordat rls render` writes is applied by hand,
 * as its owner would.
 */
import pg from 'pg'
import { GATEWAY_ROLE, makeGatewayRole, seedOrganization, setupOrganization } from '../../dist/cli/demo/organization-store.js'
import { DEMO_ORGANIZATIONS } from '../../dist/cli/demo/platform-data.js'

const organization = DEMO_ORGANIZATIONS.find((each) => each === process.argv[2])
const { OWNER_URL: connectionString, GATEWAY_PASSWORD: password } = process.env
if (organization === undefined || !connectionString || !password) {
  process.stderr.write(`usage: OWNER_URL=... GATEWAY_PASSWORD=... node infra/compose/fill-store.js ${DEMO_ORGANIZATIONS.join('|')}\n`)
  process.exit(2)
}

const client = new pg.Client({ connectionString })
await client.connect()
try {
  await makeGatewayRole(client)
  await client.query(`ALTER ROLE ${GATEWAY_ROLE} PASSWORD ${pg.escapeLiteral(password)}`)
  await seedOrganization(client, organization, null)
  await setupOrganization(client, { organization, rlsSql: null })
} finally {
  await client.end()
}
