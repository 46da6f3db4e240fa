const { execFileSync } = require('node:child_process');
const path = require('node:path');
const temporaryFolder = require('../jest/temporary-folder.js');
const { clusterFolder, clusterProblem } = require('./availability.js');

/** The root folder is built before the first test, which takes a few minutes once. */
module.exports = async () => {
  const problem = clusterProblem();
  if (problem !== undefined) process.stderr.write(`\nNo real pooler is started: ${problem}.\n\n`);
  else
    execFileSync(path.join(__dirname, 'root-folder.sh'), [clusterFolder()], { stdio: ['ignore', 'ignore', 'inherit'] });
  await temporaryFolder();
};
