import { randomUUID } from 'node:crypto';
import * as fs from 'node:fs';
import { Client } from 'pg';
import { ResponseBody } from '../../lib/runtime/handlers/cloudformation';
import { createAuthority } from '../support/certificates';
import { TestResponses } from '../support/cloudformation';
import { EmulatedAssembly, temporaryFolder } from './assembly';
import { emulatorProblem } from './availability.js';
import { AwsApi, Invocation, LogEntry, tag } from './aws-api';
import { EmulatedDatabase, MasterUser } from './database';
import { ACCOUNT, Emulator, OTHER_REGION, REGION } from './emulator';

const STATE = 'Custom::CdkPostgresState';
const GUARD = 'Custom::CdkPostgresDeployGuard';
const FUNCTION = 'AWS::Lambda::Function';

const problem = emulatorProblem();
if (problem !== undefined) process.stderr.write(`\nNothing is deployed to an emulator: ${problem}.\n\n`);
const describeDeployment = problem === undefined ? describe : describe.skip;

/** A deployed stack, the database behind it, and the way to the functions. */
class Deployment {
  private constructor(
    readonly api: AwsApi,
    readonly assembly: EmulatedAssembly,
    readonly database: EmulatedDatabase,
    readonly output: string,
    readonly stackId: string,
    readonly resources: ReadonlyMap<string, string>,
  ) {}

  /** `before`: what happens on the server before it is deployed to. */
  static async of(
    synthesised: string,
    emulator: Emulator,
    region: string,
    authority: ReturnType<typeof createAuthority>,
    before?: (database: EmulatedDatabase) => Promise<void>,
  ): Promise<Deployment> {
    const api = emulator.api(region);
    const database = await EmulatedDatabase.start(emulator, region, authority);
    const assembly = await EmulatedAssembly.prepare(synthesised, api, database, authority.ca);
    await database.setMaster((await assembly.secretValue('AdminSecret')) as unknown as MasterUser);
    await before?.(database);
    const app = ['--app', assembly.directory];
    await emulator.cdk(region, 'bootstrap', `aws://${ACCOUNT}/${region}`, ...app);
    const output = await emulator.cdk(region, 'deploy', 'Saas', ...app, '--require-approval', 'never');
    const { id } = await api.stack('Saas');
    return new Deployment(api, assembly, database, output, id, await api.resources('Saas'));
  }

  functionName(duty: 'Apply' | 'Rotate' | 'Guard'): string {
    return this.resources.get(this.assembly.idOf(FUNCTION, `${duty}Function`))!;
  }

  /** What the function answered to the event of the deployment itself, and what it logged. */
  async answer(duty: 'Apply' | 'Guard'): Promise<{ answer: ResponseBody; log: LogEntry[] }> {
    for (let tries = 0; tries < 300; tries++) {
      const log = await this.api.log(this.functionName(duty));
      const answer = log.find(({ fields }) => 'PhysicalResourceId' in fields)?.fields as ResponseBody | undefined;
      if (answer) return { answer, log };
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
    throw new Error(`the function ${duty} has not answered`);
  }

  /** Runs a deployed function as CloudFormation would, and checks that what it returned is what it has sent. */
  async send(
    duty: 'Apply' | 'Guard',
    responses: TestResponses,
    event: {
      readonly type: 'Create' | 'Update' | 'Delete';
      readonly properties: object;
      readonly oldProperties?: object;
      readonly physicalId?: string;
    },
  ): Promise<Invocation & { answer: ResponseBody }> {
    const logicalId = this.assembly.idOf(duty === 'Apply' ? STATE : GUARD);
    const sent = { ...responses.event({ ...event, logicalId }), StackId: this.stackId };
    const invocation = await this.api.invoke(this.functionName(duty), sent);
    expect(invocation).toMatchObject({ failed: false, result: JSON.parse(responses.bodies.at(-1)!) as object });
    return { ...invocation, answer: responses.last };
  }

  /** A session of a role with the password that Secrets Manager holds. */
  async logIn(role: string, part: string, database = 'app'): Promise<Client> {
    const { username, password } = await this.assembly.secretValue(part);
    expect(username).toBe(role);
    return this.database.server.connect({ user: username, password, database });
  }

  async as(role: string, sql: string): Promise<Record<string, unknown>[]> {
    const client = await this.logIn(role, `Role${role}Secret`);
    try {
      return (await client.query<Record<string, unknown>>(sql)).rows;
    } finally {
      await client.end();
    }
  }

  async stop(): Promise<void> {
    this.assembly.remove();
    await this.database.stop();
  }
}

const steps = (log: readonly LogEntry[]) => log.filter(({ fields }) => fields.event === 'step');
const reports = (log: readonly LogEntry[]) => log.filter(({ fields }) => fields.event === 'report');
const isThrown = ({ text }: LogEntry) => /^\w*Error: /.test(text);
const loginRoles = `SELECT rolname AS name FROM pg_roles WHERE rolname IN ('api', 'migrator', 'monitor', 'report', 'worker', 'signup')
  AND rolcanlogin ORDER BY 1`;

describeDeployment('cdk deploy of examples/saas to an emulated AWS', () => {
  const authority = createAuthority();
  const folders: string[] = [];
  let emulator: Emulator;
  let responses: TestResponses;
  let synthesised: string;
  let deployment: Deployment;
  let changed: EmulatedAssembly;

  beforeAll(async () => {
    emulator = await Emulator.start();
    responses = await TestResponses.start();
    await emulator.refuseRemains();
    const synthesise = async (...context: string[]) => {
      const folder = temporaryFolder();
      folders.push(folder);
      await emulator.cdk(REGION, 'synth', '--quiet', '--output', folder, ...context);
      return folder;
    };
    synthesised = await synthesise();
    const later = await synthesise('--context', 'saas:change=true');
    deployment = await Deployment.of(synthesised, emulator, REGION, authority);
    const { api, database, assembly } = deployment;
    changed = await EmulatedAssembly.prepare(later, api, database, authority.ca, assembly);
  });

  afterAll(async () => {
    changed?.remove();
    folders.forEach((folder) => fs.rmSync(folder, { recursive: true, force: true }));
    await deployment?.stop();
    await responses?.stop();
    await emulator?.stop();
  });

  const stateProperties = (assembly = deployment.assembly) =>
    assembly.properties(assembly.idOf(STATE), deployment.resources);
  const physicalId = async () => (await deployment.answer('Apply')).answer.PhysicalResourceId;

  test('the stack is there, the guard let it pass, and the function proved the inside of the server', async () => {
    expect((await deployment.api.stack('Saas')).status).toBe('CREATE_COMPLETE');
    const guard = await deployment.answer('Guard');
    expect(guard.answer).toMatchObject({
      Status: 'SUCCESS',
      Reason: 'no server is replaced, downgraded or emptied',
      LogicalResourceId: deployment.assembly.idOf(GUARD),
      StackId: deployment.stackId,
    });
    const { answer, log } = await deployment.answer('Apply');
    expect(answer).toMatchObject({
      Status: 'SUCCESS',
      StackId: deployment.stackId,
      PhysicalResourceId: `cdk-postgres/${deployment.database.resourceId}/Saas`,
      Data: { Outcome: 'applied', Withheld: '0' },
    });
    expect(steps(log)).toHaveLength(Number(answer.Data!.Steps));
    expect(reports(log)).toMatchObject([{ fields: { outcome: 'applied' } }]);
  });

  test('the roles log in with the passwords of Secrets Manager, and may do what is declared and nothing else', async () => {
    const { server } = deployment.database;
    const roles = await server.query<{ name: string }>(loginRoles, { superuser: true });
    expect(roles.map(({ name }) => name)).toEqual(['api', 'migrator', 'monitor', 'report', 'worker']);
    // A migration makes tables after the deployment: default privileges must cover them.
    await deployment.as(
      'migrator',
      `CREATE TABLE identity.person (id int GENERATED ALWAYS AS IDENTITY, name text);
       CREATE TABLE audit.entry (id bigserial, what text)`,
    );
    await deployment.as('api', `INSERT INTO identity.person (name) VALUES ('Ada')`);
    await deployment.as('api', `INSERT INTO audit.entry (what) VALUES ('person 1 added')`);
    await deployment.as('worker', `UPDATE identity.person SET name = 'Ada L.'`);
    expect(await deployment.as('report', 'SELECT name FROM identity.person')).toEqual([{ name: 'Ada L.' }]);
    expect(await deployment.as('report', 'SELECT what FROM audit.entry')).toHaveLength(1);
    const denied = { code: '42501' };
    await expect(deployment.as('api', 'SELECT * FROM audit.entry')).rejects.toMatchObject(denied);
    await expect(deployment.as('report', `DELETE FROM identity.person`)).rejects.toMatchObject(denied);
    await expect(deployment.as('worker', 'CREATE TABLE identity.mine ()')).rejects.toMatchObject(denied);
    expect(await deployment.as('migrator', 'SELECT current_user::text AS name')).toEqual([{ name: 'app_owner' }]);
    const monitor = await server.query(`SELECT pg_has_role('monitor', 'rds_iam', 'MEMBER') AS iam`, {
      superuser: true,
    });
    expect(monitor).toEqual([{ iam: true }]);
  });

  test('the ledger knows the server, the state and the run; no clear password went to the server', async () => {
    const { server, resourceId } = deployment.database;
    const superuser = { superuser: true };
    const states = await server.query('SELECT name, holder FROM cdk_postgres.state', superuser);
    const holder = `${deployment.stackId}/${deployment.assembly.idOf(STATE)}`;
    expect(states).toEqual([{ name: 'Saas', holder }]);
    const runs = await server.query('SELECT state, outcome FROM cdk_postgres.run', superuser);
    expect(runs).toEqual([{ state: 'Saas', outcome: 'applied' }]);
    expect(await server.query('SELECT identity FROM cdk_postgres.server', superuser)).toEqual([
      { identity: resourceId },
    ]);
    const seen = server.log() + (await deployment.answer('Apply')).log.map(({ text }) => text).join('\n');
    for (const role of ['api', 'migrator', 'report', 'worker']) {
      const { password, verifier, host } = await deployment.assembly.secretValue(`Role${role}Secret`);
      expect(password).toHaveLength(40);
      expect(seen).not.toContain(password);
      expect(verifier).toMatch(/^SCRAM-SHA-256\$/);
      expect(host).toBe(deployment.database.host);
    }
  });

  test('the same Create event again changes nothing', async () => {
    const { answer, log } = await deployment.send('Apply', responses, {
      type: 'Create',
      properties: stateProperties(),
    });
    expect(answer).toMatchObject({ Status: 'SUCCESS', PhysicalResourceId: await physicalId() });
    expect(answer.Data).toMatchObject({ Steps: '0', Withheld: '0' });
    expect(steps(log)).toEqual([]);
    expect(reports(log)).toHaveLength(1);
  });

  test('a server whose certificate is for another name is not trusted', async () => {
    const properties = stateProperties();
    const { database } = deployment;
    const Server = { ...(properties.Server as object), Host: database.otherHost };
    const { answer } = await deployment.send('Apply', responses, {
      type: 'Create',
      properties: { ...properties, Server },
    });
    expect(answer.Status).toBe('FAILED');
    expect(answer.Reason).toMatch(/The certificate of other\.cluster-.* is not trusted/);
  });

  test('a later version of the app takes away what it no longer gives, and adds a role', async () => {
    const { answer, log } = await deployment.send('Apply', responses, {
      type: 'Update',
      properties: stateProperties(changed),
      oldProperties: stateProperties(),
      physicalId: await physicalId(),
    });
    expect(answer).toMatchObject({ Status: 'SUCCESS', Data: { Outcome: 'applied', Withheld: '0' } });
    expect(steps(log).some(({ text }) => text.includes('REVOKE'))).toBe(true);
    expect(await deployment.as('api', 'SELECT name FROM identity.person')).toEqual([{ name: 'Ada L.' }]);
    await expect(deployment.as('api', `INSERT INTO identity.person (name) VALUES ('Bob')`)).rejects.toMatchObject({
      code: '42501',
    });
    const { username, password } = await changed.secretValue('RolesignupSecret');
    const signup = { user: username, password, database: 'app' };
    await deployment.database.server.query(`INSERT INTO identity.person (name) VALUES ('Bob')`, signup);
    expect(await deployment.as('report', 'SELECT count(*)::int AS n FROM identity.person')).toEqual([{ n: 2 }]);
  });

  test.each([
    ['a role', 'report', 'RolereportSecret', 'app'],
    ['the administrator', 'postgres', 'AdminSecret', 'postgres'],
  ])(
    'the rotation of %s changes the password of the server and of Secrets Manager',
    async (_who, role, part, database) => {
      const { api, assembly } = deployment;
      const SecretId = assembly.secret(part);
      const before = await assembly.secretValue(part);
      const ClientRequestToken = randomUUID();
      const logged = (await api.log(deployment.functionName('Rotate'))).length;
      // The emulator runs the function by itself with the name of the secret, and not with its ARN as AWS does: that is refused.
      await api.json('secretsmanager.RotateSecret', {
        SecretId,
        ClientRequestToken,
        RotationLambdaARN: `arn:aws:lambda:${api.region}:${ACCOUNT}:function:${deployment.functionName('Rotate')}`,
        RotationRules: { AutomaticallyAfterDays: 30 },
      });
      const refused = (await api.log(deployment.functionName('Rotate'))).slice(logged).filter(isThrown);
      expect(refused).toHaveLength(4);
      expect(refused[0].text).toContain('and not the ARN of a secret');
      expect(await assembly.secretValue(part)).toEqual(before);

      const rotate = async (Step: string) => {
        const run = await api.invoke(deployment.functionName('Rotate'), { Step, SecretId, ClientRequestToken });
        expect(run).toMatchObject({ failed: false, result: null });
        // Between two steps, whoever reads the secret logs in with it.
        const client = await deployment.logIn(role, part, database);
        await client.end();
      };
      for (const step of ['createSecret', 'setSecret', 'testSecret']) await rotate(step);
      expect(await assembly.secretValue(part)).toEqual(before);
      for (const step of ['finishSecret', 'finishSecret']) await rotate(step);
      const after = await assembly.secretValue(part);
      expect(after).toMatchObject({ ...before, password: after.password, verifier: after.verifier });
      expect(after.password).not.toBe(before.password);
      const old = { user: role, password: before.password, database };
      await expect(deployment.database.server.query('SELECT 1', old)).rejects.toMatchObject({ code: '28P01' });
      const { VersionIdsToStages } = await api.json<{ VersionIdsToStages: Record<string, string[]> }>(
        'secretsmanager.DescribeSecret',
        { SecretId },
      );
      expect(VersionIdsToStages[ClientRequestToken]).toContain('AWSCURRENT');
    },
  );

  describe('the deploy guard, over the RDS API', () => {
    const properties = () =>
      deployment.assembly.properties(deployment.assembly.idOf(GUARD), deployment.resources) as {
        Servers: { LogicalId: string; Type: string; Identifier: string; CreateOnly: Record<string, unknown> }[];
      };
    const withPort = (port: number) => ({
      ...properties(),
      Servers: properties().Servers.map((server) =>
        server.Type === 'AWS::RDS::DBCluster'
          ? { ...server, CreateOnly: { ...server.CreateOnly, Port: port } }
          : server,
      ),
    });
    const cluster = () => properties().Servers.find(({ Type }) => Type === 'AWS::RDS::DBCluster')!;
    const port = async () =>
      tag(
        await deployment.api.query('rds', 'DescribeDBClusters', { DBClusterIdentifier: cluster().Identifier }),
        'Port',
      );

    beforeAll(async () => {
      // Somebody else's server under the name of the template's.
      const { KmsKeyId, DBSubnetGroupName, Engine, MasterUsername } = cluster().CreateOnly as Record<string, string>;
      await deployment.api.query('rds', 'CreateDBCluster', {
        DBClusterIdentifier: cluster().Identifier,
        Engine,
        EngineVersion: '18.1',
        KmsKeyId,
        DBSubnetGroupName,
        MasterUsername,
        MasterUserPassword: 'not of interest',
        Port: '5433',
        StorageEncrypted: 'true',
      });
    });

    test('refuses a name that is taken by a server that this stack did not make', async () => {
      const { answer } = await deployment.send('Guard', responses, { type: 'Create', properties: properties() });
      expect(answer.Status).toBe('FAILED');
      expect(answer.Reason).toContain("acknowledge({ id: 'guard:identifier-taken'");
    });

    test('takes the tags of CloudFormation for the proof that it did', async () => {
      const { Identifier, LogicalId } = cluster();
      await deployment.api.query('rds', 'AddTagsToResource', {
        ResourceName: `arn:aws:rds:${deployment.api.region}:${ACCOUNT}:cluster:${Identifier}`,
        'Tags.Tag.1.Key': 'aws:cloudformation:stack-id',
        'Tags.Tag.1.Value': deployment.stackId,
        'Tags.Tag.2.Key': 'aws:cloudformation:logical-id',
        'Tags.Tag.2.Value': LogicalId,
      });
      const { answer } = await deployment.send('Guard', responses, { type: 'Create', properties: properties() });
      expect(answer).toMatchObject({ Status: 'SUCCESS', Reason: 'no server is replaced, downgraded or emptied' });
    });

    test('refuses another port, in a new stack and in an update, and lets it pass once it is acknowledged', async () => {
      const standing = await deployment.answer('Guard');
      const update = {
        type: 'Update',
        properties: withPort(5434),
        oldProperties: properties(),
        physicalId: standing.answer.PhysicalResourceId,
      } as const;
      for (const event of [update, { type: 'Create', properties: withPort(5434) } as const]) {
        const { answer } = await deployment.send('Guard', responses, event);
        expect(answer.Status).toBe('FAILED');
        expect(answer.Reason).toContain('Port "5433" would become "5434"');
        expect(answer.Reason).toContain('no server has been touched');
      }
      expect(await port()).toBe('5433');
      const Acknowledgements = [{ Id: 'guard:port', Reason: 'every client knows', Expires: '2999-12-31' }];
      const { answer } = await deployment.send('Guard', responses, {
        ...update,
        properties: { ...update.properties, Acknowledgements },
      });
      expect(answer).toMatchObject({ Status: 'SUCCESS', Reason: 'guard:port: every client knows' });
    });
  });

  test('a deployment that fails is seen, though the stack says CREATE_COMPLETE', async () => {
    const failed = await Deployment.of(synthesised, emulator, OTHER_REGION, authority, async ({ server }) => {
      // The master of RDS has no power over what its superuser owns, so the declared schemas and grants cannot be made in it.
      await server.query('CREATE DATABASE app OWNER rdsadmin', { superuser: true });
    });
    try {
      expect((await failed.api.stack('Saas')).status).toBe('CREATE_COMPLETE');
      expect(failed.output).toContain('✅');
      const { answer, log } = await failed.answer('Apply');
      expect(answer.Status).toBe('FAILED');
      expect(answer.Reason).toContain('grant on database app to api');
      expect(answer.Reason).toContain('cannot be given: it belongs to rdsadmin');
      expect(log.find(({ fields }) => fields.event === 'failed')).toBeDefined();
      expect(reports(log)).toEqual([]);
      expect(await failed.database.server.query(loginRoles, { superuser: true })).toEqual([]);
    } finally {
      await failed.stop();
    }
  });

  test('Delete leaves everything in the database, and gives up the claim on it', async () => {
    const { server } = deployment.database;
    const { answer } = await deployment.send('Apply', responses, {
      type: 'Delete',
      properties: stateProperties(changed),
      physicalId: await physicalId(),
    });
    expect(answer.Status).toBe('SUCCESS');
    expect(await deployment.as('api', 'SELECT count(*)::int AS n FROM identity.person')).toEqual([{ n: 2 }]);
    expect(await server.query(loginRoles, { superuser: true })).toHaveLength(6);
    const claims = 'SELECT count(*)::int AS n FROM cdk_postgres.object WHERE removed_at IS NULL';
    expect(await server.query(claims, { superuser: true })).toEqual([{ n: 0 }]);
    const guard = await deployment.answer('Guard');
    const last = { type: 'Delete', properties: {}, physicalId: guard.answer.PhysicalResourceId } as const;
    expect((await deployment.send('Guard', responses, last)).answer.Status).toBe('SUCCESS');
  });
});
