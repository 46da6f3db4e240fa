const fs = require('node:fs');
const path = require('node:path');

/** Where the root folder with the parts from Debian is kept between runs. */
function clusterFolder() {
  return process.env.CDK_POSTGRES_CLUSTER ?? '/var/tmp/cdk-postgres-pooler';
}

/** The root folder: what the image of the pooler holds, and what stands around it. */
function rootFolder() {
  return path.join(clusterFolder(), 'rootfs');
}

/** Why the real parts cannot run here; undefined: they can. */
function clusterProblem() {
  if (process.env.CDK_POSTGRES_CLUSTER_PROBLEM) return process.env.CDK_POSTGRES_CLUSTER_PROBLEM;
  if (process.platform !== 'linux') return 'the parts need Linux';
  if (process.getuid?.() !== 0) return 'the parts need root, for namespaces and a root folder of their own';
  if (fs.existsSync(path.join(rootFolder(), 'cdk-postgres-cluster'))) return undefined;
  if (!fs.existsSync('/etc/debian_version')) return 'the parts come from Debian, and this machine is none';
  return undefined;
}

module.exports = { clusterFolder, rootFolder, clusterProblem };
