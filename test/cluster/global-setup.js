const { execFileSync } = require('node:child_process');
const path = require('node:path');
const temporaryFolder = require('../jest/temporary-folder.js');
const { clusterFolder, clusterProblem } = require('./availability.js');

/** The root folder is built before the first test, which takes a few minutes once. */
module.exports = async () => {
  if (clusterProblem() === undefined) {
    try {
      execFileSync(path.join(__dirname, 'root-folder.sh'), [clusterFolder()], {
        stdio: ['ignore', 'ignore', 'inherit'],
      });
    } catch (error) {
      // A machine that reaches no mirror of Debian. The workers get it with the environment.
      process.env.CDK_POSTGRES_CLUSTER_PROBLEM = `Debian's packages could not be installed (${error.message})`;
    }
  }
  const problem = clusterProblem();
  if (problem !== undefined) process.stderr.write(`\nNo real pooler and no cluster is started: ${problem}.\n\n`);
  await temporaryFolder();
};
