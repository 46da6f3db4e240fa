/** `npm run test:package`: the package as users get it, and its public API as jsii sees it. The script builds it first. */
module.exports = {
  ...require('./jest.config.js'),
  roots: ['<rootDir>/test/package'],
  testPathIgnorePatterns: ['/node_modules/'],
  reporters: ['default'],
  maxWorkers: 1,
};
