const fs = require('node:fs');
const path = require('node:path');

const ROOT = path.resolve(__dirname, '..', '..');

/** The folder of the emulator: CDK_POSTGRES_AWS_EMULATOR, or `shared/aws-emulator` beside the repository. */
function emulatorFolder() {
  return process.env.CDK_POSTGRES_AWS_EMULATOR ?? path.resolve(ROOT, '..', 'shared', 'aws-emulator');
}

/** Why no deployment to the emulator is possible here; undefined: it is. */
function emulatorProblem() {
  const folder = emulatorFolder();
  if (!fs.existsSync(path.join(folder, 'start'))) {
    return `there is no emulator in ${path.relative(ROOT, folder)} (CDK_POSTGRES_AWS_EMULATOR names another folder)`;
  }
  if (process.getuid?.() !== 0) return 'the emulator needs root';
  if (!fs.existsSync('/etc/debian_version')) return 'the emulator needs Debian';
  return undefined;
}

module.exports = { emulatorFolder, emulatorProblem };
