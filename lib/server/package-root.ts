import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** What a function of this library is there for. Each duty has its own bundle and its own role. */
export type FunctionDuty = 'apply' | 'rotate' | 'guard' | 'drift' | 'probe' | 'failover' | 'certificate' | 'cluster';

/**
 * The folder of this package. Sources and the compiled package differ in depth (`lib` and `build/lib`), so it is found by its
 * package.json and not by a relative path.
 */
export function packageRoot(): string {
  for (let folder = __dirname; ; folder = dirname(folder)) {
    const manifest = join(folder, 'package.json');
    if (existsSync(manifest) && JSON.parse(readFileSync(manifest, 'utf8')).name === 'cdk-postgres') return folder;
    if (folder === dirname(folder))
      throw new Error(`The package.json of cdk-postgres was not found above ${__dirname}`);
  }
}

/** The folder with a function's bundle, as it is uploaded. */
export function functionBundle(duty: FunctionDuty): string {
  const folder = join(packageRoot(), 'assets', 'functions', duty);
  if (!existsSync(join(folder, 'index.js'))) {
    throw new Error(`The bundle of the ${duty} function is missing in ${folder}: run \`npm run bundle\``);
  }
  return folder;
}

/** The folder that the image of PgBouncer is built from. */
export function poolerImage(): string {
  const folder = join(packageRoot(), 'assets', 'pgbouncer');
  if (!existsSync(join(folder, 'Dockerfile')))
    throw new Error(`The image of the pooler is missing in ${folder}: run \`npm run bundle\``);
  return folder;
}

/** The images of a self-managed server. */
export type ClusterImageName = 'postgres' | 'etcd' | 'router';

/** The folder that one of them is built from. */
export function clusterImage(name: ClusterImageName): string {
  const folder = join(packageRoot(), 'assets', name);
  if (!existsSync(join(folder, 'Dockerfile')))
    throw new Error(`The image ${name} of a self-managed server is missing in ${folder}: run \`npm run bundle\``);
  return folder;
}
