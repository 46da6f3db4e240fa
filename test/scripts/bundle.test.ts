import { execFileSync, spawn } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { deflateRawSync } from 'node:zlib';
import { CONTRACT_VERSION, SERVER_VARIABLE } from '../../lib/contract';
import { ROTATION_STEPS } from '../../lib/runtime/rotate';
import { TestResponses } from '../support/cloudformation';
import { startServer } from '../support/postgres';
import { TestSecretsManager } from '../support/secrets-manager';

const DUTIES = ['apply', 'rotate', 'drift', 'probe', 'failover', 'certificate', 'guard'];
const root = path.join(__dirname, '..', '..');
let directory: string;
const bundleInto = (name: string) => {
  const folder = path.join(directory, name);
  execFileSync(process.execPath, [path.join(root, 'scripts', 'bundle.mjs'), folder], {
    stdio: 'pipe',
    cwd: os.tmpdir(),
  });
  return folder;
};
beforeAll(() => {
  directory = fs.mkdtempSync(path.join(os.tmpdir(), 'cdk-postgres-bundle-'));
  bundleInto('one');
});
afterAll(() => fs.rmSync(directory, { recursive: true, force: true }));

const fileOf = (duty: string, name = 'index.js') => path.join(directory, 'one', 'functions', duty, name);

test('the same sources give the same bytes', () => {
  bundleInto('two');
  const files = (fs.readdirSync(path.join(directory, 'one'), { recursive: true }) as string[]).filter(
    (file) => path.extname(file) !== '',
  );
  expect(files.length).toBeGreaterThan(5);
  for (const file of files) {
    expect(
      fs.readFileSync(path.join(directory, 'two', file)).equals(fs.readFileSync(path.join(directory, 'one', file))),
    ).toBe(true);
  }
});

test.each(DUTIES)(
  'the %s function has at most 300 kB of zipped JavaScript and nothing to find its sources by',
  (duty) => {
    const code = fs.readFileSync(fileOf(duty));
    expect(deflateRawSync(code, { level: 9 }).length).toBeLessThanOrEqual(300_000);
    expect(code.includes('sourceMappingURL')).toBe(false);
    expect(code.includes(root)).toBe(false);
  },
);

test.each(DUTIES)('the %s function loads without any package beside it', (duty) => {
  const output = execFileSync(process.execPath, ['-p', `typeof require(${JSON.stringify(fileOf(duty))}).handler`], {
    cwd: '/',
    encoding: 'utf8',
  });
  expect(output.trim()).toBe('function');
});

test.each(['apply', 'rotate', 'drift', 'probe', 'failover'])(
  'the %s function has the roots of Amazon RDS, each once and valid',
  (duty) => {
    const certificates = fs
      .readFileSync(fileOf(duty, 'rds-ca.pem'), 'utf8')
      .split(/(?<=-----END CERTIFICATE-----\n)/)
      .map((pem) => new X509Certificate(pem));
    expect(certificates.length).toBeGreaterThan(80);
    expect(new Set(certificates.map(({ fingerprint256 }) => fingerprint256)).size).toBe(certificates.length);
    for (const certificate of certificates) expect(new Date(certificate.validTo).getTime()).toBeGreaterThan(Date.now());
    const subjects = certificates.map(({ subject }) => subject).join();
    for (const region of ['us-east-1', 'eu-central-1', 'ap-southeast-2'])
      expect(subjects).toContain(`Amazon RDS ${region} Root CA RSA2048 G1`);
  },
);

test('the command line is a program', () => {
  const cli = path.join(directory, 'one', 'cli.js');
  expect(fs.readFileSync(cli, 'utf8')).toMatch(/^#!\/usr\/bin\/env node\n/);
  expect(fs.statSync(cli).mode & 0o111).toBe(0o111);
});

describe('as Lambda runs them', () => {
  let manager: TestSecretsManager;
  beforeEach(async () => {
    manager = await TestSecretsManager.start();
  });
  afterEach(() => manager.stop());

  /** A process of its own with nothing but the bundle, as the service gives it. */
  function invoke(
    duty: string,
    event: object,
    environment: Record<string, string> = {},
  ): Promise<{ code: number | null; output: string }> {
    const script = `require(${JSON.stringify(fileOf(duty))}).handler(JSON.parse(process.env.EVENT), { getRemainingTimeInMillis: () => 60000 }).catch((e) => { console.error(e.message); process.exitCode = 1; })`;
    const child = spawn(process.execPath, ['-e', script], {
      cwd: '/',
      env: { ...manager.environment, ...environment, EVENT: JSON.stringify(event) },
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (output += data));
    return new Promise((resolve) => child.on('close', (code) => resolve({ code, output })));
  }

  test('rotate: the four steps', async () => {
    const server = await startServer({ version: 18, tls: true });
    await server.query("CREATE ROLE api LOGIN PASSWORD 'first'");
    const arn = manager.create('api', { username: 'api', password: 'first' });
    const token = manager.beginRotation(arn);
    const reference = {
      Platform: 'rds',
      Identity: 'db-1',
      Host: server.host,
      Port: String(server.port),
      AdminSecretArn: arn,
      AdminDatabase: 'postgres',
      Trust: server.ca,
    };
    let log = '';
    for (const Step of ROTATION_STEPS) {
      const { code, output } = await invoke(
        'rotate',
        { Step, SecretId: arn, ClientRequestToken: token },
        { [SERVER_VARIABLE]: JSON.stringify(reference) },
      );
      expect({ code, output }).toMatchObject({ code: 0 });
      log += output;
    }
    const { password, verifier } = manager.value(arn) as Record<string, string>;
    expect(password).not.toBe('first');
    await (await server.connect({ user: 'api', password })).end();
    for (const secret of [password, verifier, 'first']) expect(log).not.toContain(`"${secret}`);
    expect(log).not.toContain(password);
  });

  test('rotate: an error is thrown, so that Secrets Manager runs the step again', async () => {
    const { code, output } = await invoke('rotate', { Step: 'createSecret' });
    expect(code).toBe(1);
    expect(output).toContain('not the ARN of a secret');
  });

  test('apply: with the roots of RDS, a server that is not of RDS is not spoken to', async () => {
    const server = await startServer({ version: 18, tls: true });
    const responses = await TestResponses.start();
    const arn = manager.create('admin', { username: server.master.user, password: server.master.password });
    const event = responses.event({
      type: 'Create',
      properties: {
        Server: {
          Platform: 'rds',
          Identity: 'db-1',
          Host: server.host,
          Port: server.port,
          AdminSecretArn: arn,
          AdminDatabase: 'postgres',
          Trust: 'rds',
        },
        State: { version: CONTRACT_VERSION, name: 'test', profile: 'production', defaults: 'V1' },
      },
    });
    expect((await invoke('apply', event)).code).toBe(0);
    expect(responses.last).toMatchObject({ Status: 'FAILED', Reason: expect.stringContaining('is not trusted') });
    await responses.stop();
  });
});
