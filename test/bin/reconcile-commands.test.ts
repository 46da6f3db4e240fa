import { App } from 'aws-cdk-lib';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { PostgresVersion, RdsPostgres } from '../../lib';
import { encodeState } from '../../lib/contract';
import { declaration, login } from '../runtime/reconcile/declaration';
import { cleanStack, OBJECTIVES, quiet } from '../server/support';
import { freshServer, TestServer } from '../support/postgres';
import { cli, CliResult } from './cli';

jest.mock('../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('../server/state/fake-bundles').fakeBundle(),
}));
quiet();

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'cdk-postgres-commands-'));
const stateFile = path.join(folder, 'state.json');
const caFile = path.join(folder, 'ca.pem');
let server: TestServer;

beforeAll(async () => {
  server = await freshServer({ version: 18, tls: true });
  fs.writeFileSync(stateFile, JSON.stringify(encodeState(declaration())));
  fs.writeFileSync(caFile, server.ca!);
});
afterAll(async () => {
  await server.stop();
  fs.rmSync(folder, { recursive: true });
});

function run(command: string, ...more: string[]): Promise<CliResult> {
  const url = `postgres://${server.master.user}@127.0.0.1:${server.port}/postgres`;
  return cli([command, '--url', url, '--state', stateFile, '--ca', caFile, ...more], {
    env: { PGPASSWORD: server.master.password },
  });
}

test('a server goes from plan over apply and drift to acknowledged apply', async () => {
  const planned = await run('plan');
  expect(planned.stderr).toBe('');
  expect(planned.stdout).toContain('CREATE ROLE "api" LOGIN');
  expect(planned.stdout).not.toContain('\x1b['); // no colour, since it is no terminal
  expect(planned.code).toBe(2);
  expect(await server.query("SELECT 1 FROM pg_roles WHERE rolname = 'api'")).toEqual([]);

  const applied = await run('apply');
  expect(applied.stdout).toContain('Proven: ');
  expect(applied.code).toBe(0);
  expect(await server.query("SELECT 1 FROM pg_roles WHERE rolname = 'api'")).toHaveLength(1);

  expect((await run('plan')).code).toBe(0);
  const none = await run('drift');
  expect(none.stdout).toContain('No drift');
  expect(none.code).toBe(0);

  await server.query(['CREATE ROLE helper', 'GRANT app_owner TO master', 'GRANT CREATE ON SCHEMA billing TO api'], {
    database: 'app',
    superuser: true,
  });
  const drifted = await run('drift', '--json');
  expect(drifted.code).toBe(2);
  const { drift, plan } = JSON.parse(drifted.stdout);
  expect(drift).toBe(true);
  expect(plan.withheld).toHaveLength(1);

  const counted = await run('plan', '--summary');
  expect(counted.stdout).toBe(
    `add=0 widen=0 narrow=0 disruptive=0 destructive=0 withheld-add=0 withheld-widen=0 withheld-narrow=1 withheld-disruptive=0 withheld-destructive=0 hash=${plan.hash}\n`,
  );
  expect(counted.code).toBe(2);
  expect(JSON.parse((await run('plan', '--json')).stdout).summary).toMatchObject({
    withheld: { narrow: 1 },
    hash: plan.hash,
  });

  const waiting = await run('apply');
  expect(waiting.stdout).toContain('Withheld, and not run: 1 step');
  expect(waiting.stdout).toContain('held now by: api directly'); // case 120
  expect(waiting.code).toBe(2);

  const acknowledged = await run('apply', '--acknowledge', plan.hash);
  expect(acknowledged.code).toBe(0);
  expect(
    await server.query("SELECT has_schema_privilege('api', 'billing', 'CREATE') AS may", { database: 'app' }),
  ).toEqual([{ may: false }]);
  expect((await run('drift')).code).toBe(0);
});

test('the password may come from a pgpass file', async () => {
  const passFile = path.join(folder, 'pgpass');
  fs.writeFileSync(passFile, `127.0.0.1:${server.port}:*:master:${server.master.password}\n`, { mode: 0o600 });
  const url = `postgres://master@127.0.0.1:${server.port}/postgres`;
  const { code, stderr } = await cli(['plan', '--url', url, '--state', stateFile, '--ca', caFile], {
    env: { PGPASSFILE: passFile },
  });
  expect(stderr).toBe('');
  expect(code).not.toBe(1);
});

test('a server that nobody vouches for is not spoken to', async () => {
  const url = `postgres://master@127.0.0.1:${server.port}/postgres`;
  const { code, stderr } = await cli(['plan', '--url', url, '--state', stateFile], {
    env: { PGPASSWORD: server.master.password },
  });
  expect(stderr).toContain('is not trusted');
  expect(stderr).toContain('--ca FILE names the certificate (PEM)');
  expect(stderr).not.toContain(server.master.password);
  expect(code).toBe(1);
});

test('a plan needs only to read: a role without any right gets one, and leaves no trace', async () => {
  await server.query("CREATE ROLE auditor LOGIN PASSWORD 'auditor'");
  await server.query('GRANT CONNECT ON DATABASE app TO auditor', { superuser: true });
  const url = `postgres://auditor@127.0.0.1:${server.port}/postgres`;
  let result: CliResult | undefined;
  const statements = await server.recordStatements(async () => {
    result = await cli(['plan', '--url', url, '--state', stateFile, '--ca', caFile], {
      env: { PGPASSWORD: 'auditor' },
    });
  });
  expect(result!.stderr).toBe('');
  expect(result!.code).not.toBe(1);
  const writes = statements.filter(({ sql }) =>
    /^\s*(CREATE|ALTER|DROP|GRANT|REVOKE|INSERT|UPDATE|DELETE)\b/i.test(sql),
  );
  expect(writes).toEqual([]);
});

describe('a URL with another database than the one with the ledger', () => {
  const at = (database: string, command: string, state = stateFile) => {
    const url = `postgres://${server.master.user}@127.0.0.1:${server.port}/${database}`;
    return cli([command, '--url', url, '--state', state, '--ca', caFile], {
      env: { PGPASSWORD: server.master.password },
    });
  };
  const ledgers = (database: string) =>
    server.query("SELECT nspname FROM pg_namespace WHERE nspname = 'cdk_postgres'", { database, superuser: true });

  test('that is declared, gets no second ledger: apply refuses and plan says so', async () => {
    const applied = await at('app', 'apply');
    expect(applied.stderr).toContain(
      'there is no ledger in the database "app", which this state declares: the ledger is in the admin database',
    );
    expect(applied.stderr).toContain('connect to postgres');
    expect(applied.stderr).not.toContain('GRANT CREATE');
    expect(applied.code).toBe(1);
    expect(await ledgers('app')).toEqual([]);
    expect((await at('app', 'plan')).stdout).toContain('there is no ledger in the database "app"');
  });

  test('that is not declared, is said by a plan, and may be where the ledger is to be', async () => {
    await server.query('CREATE DATABASE maintenance');
    const state = path.join(folder, 'maintenance.json');
    const document = declaration({ name: 'kept-elsewhere', roles: [], memberships: [], settings: [], databases: [] });
    fs.writeFileSync(state, JSON.stringify(encodeState(document)));
    const planned = await at('maintenance', 'plan', state);
    expect(planned.stdout.replace(/\s+/g, ' ')).toContain(
      'there is no ledger in the database "maintenance": if the one of this server is in another, such as postgres, connect there',
    );
    expect((await at('maintenance', 'apply', state)).code).toBe(0);
    expect(await ledgers('maintenance')).toHaveLength(1);
    expect((await at('maintenance', 'plan', state)).stdout).not.toContain('no ledger');
  });
});

test('--json prints the whole report, with the same exit code', async () => {
  await server.query('GRANT CREATE ON SCHEMA billing TO api', { database: 'app', superuser: true });
  const planned = await run('plan', '--json');
  const report = JSON.parse(planned.stdout);
  expect(report).toMatchObject({ server: { version: expect.stringMatching(/^18\./), user: 'master' } });
  expect(report.plan).toMatchObject({ steps: [], withheld: [{ risk: 'narrow', withheld: expect.any(String) }] });
  expect(planned.code).toBe(2);

  const applied = await run('apply', '--json', '--acknowledge', report.plan.hash);
  expect(JSON.parse(applied.stdout)).toMatchObject({ outcome: 'applied', proof: { checkedLogins: 0 } });
  expect(applied.code).toBe(0);

  const none = await run('drift', '--json');
  expect(JSON.parse(none.stdout)).toMatchObject({ drift: false, plan: { steps: [], withheld: [] } });
  expect(none.code).toBe(0);
});

test('the hash of another plan lets nothing run, and what is withheld still waits: exit code 2', async () => {
  await server.query('GRANT CREATE ON SCHEMA billing TO api', { database: 'app', superuser: true });
  const { code, stdout } = await run('apply', '--acknowledge', '0123456789abcdef');
  expect(stdout).toContain('Withheld, and not run: 1 step');
  expect(code).toBe(2);
  await server.query('REVOKE CREATE ON SCHEMA billing FROM api', { database: 'app', superuser: true });
});

test('the declaration may come from a stack in cdk.out', async () => {
  const outdir = path.join(folder, 'cdk.out');
  const { app, stack, vpc } = cleanStack(new App({ outdir }));
  const declared = new RdsPostgres(stack, 'Postgres', { vpc, version: PostgresVersion.V18, objectives: OBJECTIVES });
  declared.acknowledge({ id: 'OPS-4', reason: 'nobody looks at this server' });
  declared.addDatabase('shop').addLoginRole('clerk');
  app.synth();
  const url = `postgres://${server.master.user}@127.0.0.1:${server.port}/postgres`;
  const fromStack = (command: string, ...more: string[]) =>
    cli([command, '--url', url, '--ca', caFile, '--stack', 'Test', '--app-dir', outdir, ...more], {
      env: { PGPASSWORD: server.master.password },
    });

  const planned = await fromStack('plan');
  expect(planned.stdout).toContain('CREATE DATABASE "shop"');
  expect(planned.stdout).toContain('CREATE ROLE "clerk" LOGIN');
  expect(planned.code).toBe(2);

  const drifted = await fromStack('drift');
  expect(drifted.stdout).toMatch(/^Drift: \d+ differences between the server and its declaration/);
  expect(drifted.code).toBe(2);

  const applied = await fromStack('apply');
  expect(applied.stderr).toContain('the role "clerk" logs in by password, and this run has no access to its secret');
  expect(applied.code).toBe(1);
});

describe('an error is said, with exit code 1', () => {
  test.each(['plan', 'apply', 'drift'])('by %s, where the password is wrong', async (command) => {
    const url = `postgres://${server.master.user}@127.0.0.1:${server.port}/postgres`;
    const { code, stdout, stderr } = await cli([command, '--url', url, '--state', stateFile, '--ca', caFile], {
      env: { PGPASSWORD: 'a wrong one' },
    });
    expect(stderr).toContain('refuses the password of "master"');
    expect(stderr + stdout).not.toContain('a wrong one');
    expect(code).toBe(1);
  });

  test('by every problem of a declaration that is refused, in words and as JSON', async () => {
    const refused = path.join(folder, 'refused.json');
    fs.writeFileSync(refused, JSON.stringify(encodeState(declaration({ name: 'another' }))));
    const { code, stdout, stderr } = await run('plan', '--state', refused, '--json');
    const { error } = JSON.parse(stdout);
    expect(error.name).toBe('RefusedError');
    expect(error.problems).toHaveLength(5);
    expect(error.problems[0]).toContain('the role "api" is managed by the state "test"');
    expect(stderr).toBe(
      ['cdk-postgres: 5 problems:', ...error.problems.map((problem: string) => `  ${problem}`), ''].join('\n'),
    );
    expect(code).toBe(1);
  });
});

describe('roles with a password', () => {
  const roles = ['one', 'two'].map((name) => login(name, { authentication: 'password' }));
  const state = path.join(folder, 'passwords.json');
  const secrets = path.join(folder, 'secrets.json');
  const arn = (name: string) => `arn:aws:secretsmanager:us-east-1:123456789012:secret:${name}-AbCdEf`;
  const apply = (...more: string[]) => {
    const url = `postgres://master@127.0.0.1:${server.port}/postgres`;
    return cli(['apply', '--url', url, '--state', state, '--ca', caFile, ...more], {
      // Nobody answers there, and nothing is sent anywhere else.
      env: {
        PGPASSWORD: server.master.password,
        AWS_ENDPOINT_URL: 'http://127.0.0.1:9',
        AWS_REGION: 'us-east-1',
        AWS_ACCESS_KEY_ID: 'x',
        AWS_SECRET_ACCESS_KEY: 'x',
      },
    });
  };
  beforeAll(() => {
    const document = { ...declaration(), name: 'passwords', roles, memberships: [], settings: [], databases: [] };
    fs.writeFileSync(state, JSON.stringify(encodeState(document)));
  });

  test('are all named when their secrets are not given, with the option, before anything is made', async () => {
    const { code, stderr } = await apply();
    expect(stderr).toContain('the roles "one", "two" log in by password');
    expect(stderr).toContain('cdk-postgres apply --secrets FILE, a JSON of "one": "ARN", "two": "ARN"');
    expect(await server.query("SELECT FROM pg_roles WHERE rolname IN ('one', 'two')")).toEqual([]);
    expect(code).toBe(1);
  });

  test('need ARNs, and what stands in their place is not shown', async () => {
    fs.writeFileSync(secrets, JSON.stringify({ one: arn('one'), two: 'hunter2' }));
    const { code, stderr } = await apply('--secrets', secrets);
    expect(stderr).toContain('has no ARN of a secret for two; one looks like arn:aws:secretsmanager:');
    expect(stderr).not.toContain('hunter2');
    expect(code).toBe(1);
  });

  test('are told apart from what the declaration does not have', async () => {
    fs.writeFileSync(secrets, JSON.stringify({ one: arn('one'), twoo: arn('two') }));
    const { code, stderr } = await apply('--secrets', secrets);
    expect(stderr).toContain('has secrets that are not used, for twoo: the declaration has secrets for one, two');
    expect(stderr).toContain('no secret is given for the role "two"');
    expect(code).toBe(1);
  });
});
