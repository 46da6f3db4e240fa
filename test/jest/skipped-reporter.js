const { clusterProblem } = require('../cluster/availability.js');
const { emulatorProblem } = require('../emulator/availability.js');

/** Says at the end of a run what it left out and why, so that a green run does not look like more than it is. */
module.exports = class SkippedReporter {
  onRunComplete(_contexts, results) {
    const skipped = [];
    const why = (problem) => (problem ? `since ${problem}` : 'since it needs more than Node.js and runs on its own');
    skipped.push(`the deployment to an AWS emulator (npm run test:emulator), ${why(emulatorProblem())}`);
    skipped.push(`poolers and clusters on real parts (npm run test:cluster), ${why(clusterProblem())}`);
    skipped.push('the package as users install it (npm run test:package), since jsii has to build it first');
    skipped.push('long-running suites (npm run test:soak), since they take minutes');
    if (results.numPendingTests > 0) skipped.push(`${results.numPendingTests} tests that skip themselves`);
    // After jest's own summary, which comes last of all reporters.
    process.once('exit', () => process.stderr.write(`\nSkipped: ${skipped.join('; ')}.\n`));
  }
};
