/** Jest runs the TypeScript sources as ESM (NODE_OPTIONS=--experimental-vm-modules, set by test/run.js). */
export default {
  testEnvironment: 'node',
  roots: ['<rootDir>/test'],
  testMatch: ['**/*.test.{ts,js}'],
  extensionsToTreatAsEsm: ['.ts'],
  moduleNameMapper: { '^(\\.{1,2}/.*)\\.js$': '$1' },
  transform: {
    '^.+\\.ts$': ['@swc/jest', { jsc: { target: 'es2022', parser: { syntax: 'typescript' } }, module: { type: 'es6' } }],
  },
  // Processes that are started and killed take two minutes: `npm run test:processes`, which `.ci/run` does too.
  testPathIgnorePatterns: ['/node_modules/', '/test/(cli/demo/(embedded-postgres|postgres-binaries)|cli/serve-workers|journeys/kill)\\.test\\.ts$'],
  globalSetup: '<rootDir>/test/support/run-folder.js',
  globalTeardown: '<rootDir>/test/support/run-folder-end.js',
  testTimeout: 30_000,
  maxWorkers: 2,
}
