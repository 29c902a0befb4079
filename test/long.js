/** The laws and the connectors' contract with many more random documents and plans than `npm test` has: `npm run test:long`. */
process.env.LAW_RUNS ??= '6'
process.env.CONTRACT_RUNS ??= '400'
process.argv.push(
  'test/laws',
  'test/connectors/(memory|postgres/(contract|steps|row-security|series-buckets))',
  'test/audit/verify',
  'test/gateway/(json-schema|variables)',
  'test/engine/(refill|routes)',
)
await import('./run.js')
