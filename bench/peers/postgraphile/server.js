/** PostGraphile 5 over one organization's database, with its plugins for filters and aggregates. It enforces nothing. Usage: node server.js PORT (BENCH_STORES) */
import { createServer } from 'node:http'
import { PgAggregatesPreset } from '@graphile/pg-aggregates'
import { grafserv } from 'postgraphile/grafserv/node'
import { postgraphile } from 'postgraphile'
import { makePgService } from 'postgraphile/adaptors/pg'
import { PostGraphileAmberPreset } from 'postgraphile/presets/amber'
import { PostGraphileConnectionFilterPreset } from 'postgraphile-plugin-connection-filter'

const [home] = Object.values(JSON.parse(process.env.BENCH_STORES))
const pgl = postgraphile({
  extends: [PostGraphileAmberPreset, PostGraphileConnectionFilterPreset, PgAggregatesPreset],
  // Otherwise only what has an index can be grouped by.
  disablePlugins: ['PgIndexBehaviorsPlugin'],
  pgServices: [makePgService({ connectionString: home, schemas: ['public'], poolConfig: { max: Number(process.env.BENCH_CONNECTIONS) } })],
  grafserv: { graphqlPath: '/graphql', graphiql: false, watch: false },
  grafast: { explain: false },
})
const server = createServer()
server.keepAliveTimeout = 60_000
await pgl.createServ(grafserv).addTo(server)
server.listen(Number(process.argv[2]), '127.0.0.1')
process.on('disconnect', () => process.exit())
