/** `npm test`: everything that needs Node.js alone. Suites that start servers share one per worker (test/support). */
module.exports = {
  testEnvironment: 'node',
  roots: ['<rootDir>/test'],
  testMatch: ['**/*.test.ts'],
  testPathIgnorePatterns: [
    '/node_modules/',
    ...['cluster', 'emulator', 'package', 'soak'].map((name) => `<rootDir>/test/${name}/`),
  ],
  transform: {
    '^.+\\.ts$': ['@swc/jest', { jsc: { parser: { syntax: 'typescript', decorators: true }, target: 'es2023' } }],
  },
  moduleNameMapper: { '^cdk-postgres$': '<rootDir>/lib/index.ts' },
  globalSetup: '<rootDir>/test/jest/temporary-folder.js',
  globalTeardown: '<rootDir>/test/jest/remove-temporary-folder.js',
  setupFiles: ['<rootDir>/test/jest/setup.ts'],
  reporters: ['default', '<rootDir>/test/jest/skipped-reporter.js'],
  testTimeout: 120_000,
  maxWorkers: 2,
};
