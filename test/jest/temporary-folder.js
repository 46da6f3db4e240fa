const { chmodSync, mkdtempSync, rmSync } = require('node:fs');
const { tmpdir } = require('node:os');
const { join } = require('node:path');

/** One folder for what a run writes, so that it leaves nothing behind: the CDK puts each cdk.out without a name of its own there. */
module.exports = async () => {
  const folder = mkdtempSync(join(tmpdir(), 'cdk-postgres-test-'));
  // Where the tests run as root, the servers run as somebody else.
  chmodSync(folder, 0o755);
  const before = process.env.TMPDIR;
  process.env.TMPDIR = folder;
  globalThis.removeTemporaryFolder = () => {
    if (before === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = before;
    rmSync(folder, { recursive: true, force: true });
  };
};
