/** `npm run test:emulator`: a real deployment against an emulator of AWS's API, which is not part of this repository. */
module.exports = {
  ...require('./jest.config.js'),
  roots: ['<rootDir>/test/emulator'],
  testPathIgnorePatterns: ['/node_modules/'],
  reporters: ['default'],
  testTimeout: 900_000,
  maxWorkers: 1,
};
