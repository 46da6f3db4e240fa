/** Unit tests need Node.js only; suites under test/ that start servers share one per worker (test/support). */
module.exports = {
  testEnvironment: 'node',
  roots: ['<rootDir>/test'],
  testMatch: ['**/*.test.ts'],
  transform: { '^.+\\.ts$': ['@swc/jest', { jsc: { parser: { syntax: 'typescript', decorators: true }, target: 'es2023' } }] },
  moduleNameMapper: { '^cdk-postgres$': '<rootDir>/lib/index.ts' },
  testTimeout: 120_000,
  maxWorkers: 2,
};
