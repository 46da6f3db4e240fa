/** `npm run test:soak`: what takes minutes, such as an ever changing server under load. */
module.exports = {
  ...require('./jest.config.js'),
  roots: ['<rootDir>/test/soak'],
  testPathIgnorePatterns: ['/node_modules/'],
  reporters: ['default'],
  globalSetup: '<rootDir>/test/cluster/global-setup.js',
  testTimeout: 3_600_000,
  maxWorkers: 1,
};
