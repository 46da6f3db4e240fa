import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { CONTRACT_VERSION, DesiredState, encodeState, SERVER_VARIABLE } from '../../../lib/contract';
import { handler as applyHandler } from '../../../lib/runtime/handlers/apply';
import { handler as rotateHandler } from '../../../lib/runtime/handlers/rotate';
import { ROTATION_STEPS } from '../../../lib/runtime/rotate';
import { cli } from '../../bin/cli';
import { TestResponses } from '../../support/cloudformation';
import { freshServer, TestServer } from '../../support/postgres';
import { TestSecretsManager } from '../../support/secrets-manager';
import { declaration } from '../reconcile/declaration';

/** Everything that is written anywhere from the first deployment to a failed one, and whether a password or verifier is in it. */

const ENVIRONMENT = { ...process.env };
const FIRST_PASSWORD = 'FirstPasswordOfTheRole0123456789abcdefgh';
let server: TestServer;
let manager: TestSecretsManager;
let responses: TestResponses;
let lines: string[];

beforeAll(async () => {
  server = await freshServer({
    version: 18,
    tls: true,
    settings: { log_statement: 'all', 'pg_stat_statements.track': 'all' },
  });
  manager = await TestSecretsManager.start();
  responses = await TestResponses.start();
  Object.assign(process.env, manager.environment, { AWS_MAX_ATTEMPTS: '1' });
  lines = [];
  for (const level of ['info', 'warn', 'error', 'log'] as const)
    jest.spyOn(console, level).mockImplementation((...args: unknown[]) => void lines.push(args.map(String).join(' ')));
});
afterAll(async () => {
  jest.restoreAllMocks();
  for (const name of Object.keys(process.env)) delete process.env[name];
  Object.assign(process.env, ENVIRONMENT);
  await responses.stop();
  await manager.stop();
  await server.stop();
});

/** The places where one of the texts is found. */
function leaks(places: Readonly<Record<string, string>>, secrets: readonly string[]): string[] {
  return Object.entries(places).flatMap(([place, text]) =>
    secrets.filter((secret) => text.includes(secret)).map((secret) => `${secret.slice(0, 14)}… in ${place}`),
  );
}

test('cases 37, 43: no password and no verifier is where it must not be, from the first deployment over a rotation to a failure', async () => {
  // What made the server itself, the master's password among it, is not what is looked at.
  await server.query(['CREATE EXTENSION pg_stat_statements', 'SELECT pg_stat_statements_reset()'], { superuser: true });
  const adminArn = manager.create('admin', { username: server.master.user, password: server.master.password });
  const apiArn = manager.create('api', { username: 'api', password: FIRST_PASSWORD });
  const Server = {
    Platform: 'rds',
    Identity: 'db-1',
    Host: server.host,
    Port: String(server.port),
    AdminSecretArn: adminArn,
    AdminDatabase: 'postgres',
    Trust: server.ca,
  };
  const withPassword = (state: DesiredState): DesiredState => ({
    ...state,
    version: CONTRACT_VERSION,
    roles: state.roles.map((role) => (role.login ? { ...role, authentication: 'password' } : role)),
  });
  const properties = (state: DesiredState) => ({
    ServiceToken: 'arn:aws:lambda:eu-central-1:123456789012:function:apply',
    Server,
    State: encodeState(withPassword(state)),
    Secrets: { api: apiArn },
    HomeDatabases: { api: 'app' },
  });
  const context = { getRemainingTimeInMillis: () => 60_000 };
  const events: object[] = [];
  const send = async (type: 'Create' | 'Update', state: DesiredState) => {
    const event = responses.event({
      type,
      properties: properties(state),
      ...(type === 'Update' ? { physicalId: 'cdk-postgres/db-1/test', oldProperties: properties(declaration()) } : {}),
    });
    events.push(event);
    await applyHandler(event, context);
    return responses.last.Status;
  };
  const passwords = new Set([FIRST_PASSWORD]);
  const verifiers = new Set<string>();
  const remember = () => {
    const { password, verifier } = manager.value(apiArn) as { password: string; verifier?: string };
    passwords.add(password);
    if (verifier) verifiers.add(verifier);
  };

  expect(await send('Create', declaration())).toBe('SUCCESS');
  remember();
  expect(await send('Update', declaration({ settings: [] }))).toBe('SUCCESS');
  // The password is another than that of the server, as after a restore: it is set again.
  await server.query("ALTER ROLE api PASSWORD 'by hand'", { superuser: true });
  expect(await send('Update', declaration())).toBe('SUCCESS');
  // A rotation, in its four steps.
  process.env[SERVER_VARIABLE] = JSON.stringify(Server);
  const ClientRequestToken = manager.beginRotation(apiArn);
  for (const Step of ROTATION_STEPS) {
    const event = { Step, SecretId: apiArn, ClientRequestToken };
    events.push(event);
    await rotateHandler(event);
  }
  remember();
  expect(passwords.size).toBe(2);
  // Failures: what is refused, and a statement with the verifier that the server refuses.
  expect(await send('Update', declaration({ settings: [{ role: 'api', name: 'no_such', values: ['1'] }] }))).toBe(
    'FAILED',
  );
  await server.query(["ALTER ROLE api PASSWORD 'by hand'", 'ALTER ROLE master NOCREATEROLE'], { superuser: true });
  expect(await send('Update', declaration())).toBe('FAILED');
  await server.query('ALTER ROLE master CREATEROLE', { superuser: true });
  const refuse = 'CREATE RULE refuse AS ON INSERT TO cdk_postgres.run DO INSTEAD NOTHING';
  await server.query(refuse, { superuser: true });
  await send('Update', declaration());

  // The command line, on a server that has to be changed, and where it fails: each way in which it gets hold of a password.
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'cdk-postgres-secrecy-'));
  const [stateFile, caFile] = [path.join(folder, 'state.json'), path.join(folder, 'ca.pem')];
  fs.writeFileSync(stateFile, JSON.stringify(encodeState(withPassword(declaration()))));
  fs.writeFileSync(caFile, server.ca!);
  await server.query(['DROP RULE refuse ON cdk_postgres.run', "ALTER ROLE api PASSWORD 'by hand'"], {
    superuser: true,
  });
  const { user, password } = server.master;
  const output: Record<string, string> = {};
  const run = async (what: string, url: string, command: readonly string[]) => {
    const of = command[0] === 'access' ? [] : ['--state', stateFile];
    const { code, stdout, stderr } = await cli([...command, '--url', url, ...of, '--ca', caFile], {
      env: { PGPASSWORD: password },
    });
    output[`${command.join(' ')}, ${what}`] = `${code}\n${stdout}\n${stderr}`;
  };
  const commands = ['plan', 'apply', 'drift', 'access'].flatMap((command) => [[command], [command, '--json']]);
  for (const command of commands)
    await run('as it is', `postgres://${user}@127.0.0.1:${server.port}/postgres`, command);
  expect(Object.entries(output).filter(([, text]) => !/api/.test(text))).toEqual([]);
  for (const command of [['plan', '--json'], ['access']]) {
    await run('the password in the URL', `postgres://${user}:${password}@127.0.0.1:${server.port}/postgres`, command);
    await run('nobody who is there', `postgres://nobody@127.0.0.1:${server.port}/postgres`, command);
    await run('no server', `postgres://${user}@127.0.0.1:1/postgres`, command);
  }
  expect(Object.entries(output).filter(([, text]) => text.length < 30)).toEqual([]);
  fs.rmSync(folder, { recursive: true });

  const rows = async (sql: string) => JSON.stringify(await server.query(sql, { superuser: true }));
  const ledger = {
    'the runs of the ledger': await rows('SELECT * FROM cdk_postgres.run'),
    'the states of the ledger': await rows('SELECT * FROM cdk_postgres.state'),
    'the objects of the ledger': await rows('SELECT * FROM cdk_postgres.object'),
  };
  const quiet = {
    ...ledger,
    ...output,
    'the events': JSON.stringify(events),
    'the answers': responses.bodies.join('\n'),
    'the log of the functions': lines.join('\n'),
  };
  const server_ = {
    'the log of the server': server.log(),
    pg_stat_statements: await rows('SELECT query FROM pg_stat_statements'),
  };
  expect(lines.length).toBeGreaterThan(20);
  expect(leaks({ ...quiet, ...server_ }, [...passwords, server.master.password])).toEqual([]);
  // A verifier is no password, and still of use to whoever guesses offline: nowhere but in the secret and in the server's own log.
  expect(verifiers.size).toBeGreaterThan(0);
  expect(leaks(quiet, [...verifiers])).toEqual([]);
  expect(JSON.stringify(quiet)).not.toMatch(/SCRAM-SHA-256\$\d/);
  // With log_statement = all the server writes down what it is sent, and that is the verifier: never the password.
  expect(server_['the log of the server']).toContain([...verifiers][0]);

  // The negative control: a leak in each place is seen.
  for (const place of Object.keys({ ...quiet, ...server_ })) {
    const planted = { ...quiet, ...server_, [place]: `${FIRST_PASSWORD}` };
    expect(leaks(planted, [...passwords])).toEqual([`${FIRST_PASSWORD.slice(0, 14)}… in ${place}`]);
  }
  await server.query("ALTER ROLE api PASSWORD 'PlantedInTheClear0123456789'", { superuser: true });
  expect(leaks({ log: server.log() }, ['PlantedInTheClear0123456789'])).toHaveLength(1);
}, 240_000);
