#!/usr/bin/env node
// Libraries check more, and answer several times slower, unless they are told before they load that this is no development of theirs.
process.env.NODE_ENV ??= 'production'
const { runProcess } = await import('../dist/cli/process.js')
await runProcess()
