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
  // How the demo's PostgreSQL is brought about and ended takes half a minute, and changes seldom: `npm run test:launcher`, which `.ci/run` does too.
  testPathIgnorePatterns: ['/node_modules/', '/test/cli/demo/(embedded-postgres|postgres-binaries)\\.test\\.ts$'],
  testTimeout: 30_000,
  maxWorkers: 2,
}
