/** `npm run test:cluster`: poolers and self-managed clusters as their images run them, on real parts from Debian. Needs Linux and root, and skips itself elsewhere. */
module.exports = {
  ...require('./jest.config.js'),
  roots: ['<rootDir>/test/cluster'],
  testPathIgnorePatterns: ['/node_modules/'],
  reporters: ['default'],
  globalSetup: '<rootDir>/test/cluster/global-setup.js',
  testTimeout: 120_000,
  maxWorkers: 1,
};
