import { Client } from 'pg';
import { rotate, ROTATION_STEPS, RotationEvent } from '../../../lib/runtime/rotate';
import { reconcile } from '../../../lib/runtime/reconcile';
import { fitsVerifier, roleSecrets, scramVerifier, SecretStore } from '../../../lib/runtime/secrets';
import { FaultProxy } from '../../support/fault-proxy';
import { startServer, TestServer, VERSIONS } from '../../support/postgres';
import { RecordedCall, TestSecretsManager } from '../../support/secrets-manager';
import { declaration, group, login } from '../reconcile/declaration';

let server: TestServer;
let manager: TestSecretsManager;
let proxy: FaultProxy;
let arn: string;
let admin: string;

async function setup(version: (typeof VERSIONS)[number]): Promise<void> {
  server = await startServer({ version });
  manager = await TestSecretsManager.start();
  proxy = await FaultProxy.start(server);
  admin = manager.create('admin', { username: server.master.user, password: server.master.password });
  await newPair('api');
}

/** As the first deployment leaves them: the secret names the first login, and the second has no password. */
async function newPair(group: string): Promise<void> {
  await server.query([
    `CREATE ROLE ${group} NOLOGIN`,
    `CREATE ROLE ${group}_1 LOGIN PASSWORD '${scramVerifier('first')}'`,
    `CREATE ROLE ${group}_2 LOGIN`,
    `GRANT ${group} TO ${group}_1, ${group}_2 WITH INHERIT TRUE, SET FALSE`,
  ]);
  arn = manager.create(group, { username: `${group}_1`, group, password: 'first', dbname: 'postgres' });
  manager.calls.length = 0;
  proxy.reset();
}

async function stop(): Promise<void> {
  await proxy.stop();
  await manager.stop();
}

/** A new process: nothing but the secrets and the server is known to it. */
async function runStep(event: RotationEvent, secretOfAdmin: string | undefined = admin, pickup = 0): Promise<void> {
  const store = new SecretStore({ ...manager.config, maxAttempts: 1 });
  try {
    await rotate(event, {
      store,
      adminSecret: secretOfAdmin,
      pickup,
      server: { host: server.host, port: proxy.port, ca: false, database: 'postgres' },
    });
  } finally {
    store.destroy();
  }
}

async function runAll(token: string): Promise<void> {
  for (const step of ROTATION_STEPS) await runStep({ step, secret: arn, token });
}

interface Login {
  readonly username: string;
  readonly password: string;
}
const valueOf = (stage = 'AWSCURRENT') => manager.value(arn, stage) as unknown as Login | undefined;

async function logsIn(login: Login | undefined): Promise<boolean> {
  if (!login) return false;
  return server.connect({ user: login.username, password: login.password }).then(
    (client) => client.end().then(() => true),
    () => false,
  );
}

describe.each(VERSIONS)('two logins that take turns, on PostgreSQL %d', (version) => {
  beforeEach(() => setup(version));
  afterEach(stop);

  test('the third step leaves poolers the time to read the verifier of the next login, before anybody needs it', async () => {
    const token = manager.beginRotation(arn);
    const event = (step: RotationEvent['step']) => ({ step, secret: arn, token });
    await runStep(event('createSecret'), admin, 700);
    const timed = async (step: RotationEvent['step']) => {
      const from = Date.now();
      await runStep(event(step), admin, 700);
      return Date.now() - from;
    };
    expect(valueOf('AWSPENDING')).toMatchObject({
      username: 'api_2',
      verifier: expect.stringContaining('SCRAM-SHA-256'),
    });
    expect(await timed('testSecret')).toBeGreaterThanOrEqual(695);
    expect(valueOf()!.username).toBe('api_1');
    await runStep(event('finishSecret'));
    expect(valueOf()!.username).toBe('api_2');
    // Nobody waits for what is over.
    expect(await timed('testSecret')).toBeLessThan(695);
  });

  test('SEC-18: each rotation gives the turn to the other login, and the one before goes on until the rotation after', async () => {
    const first = valueOf()!;
    const log = await server.recordStatements(() => runAll(manager.beginRotation(arn)));
    const second = valueOf()! as Login & { verifier: string };
    expect(second).toMatchObject({ username: 'api_2', group: 'api', dbname: 'postgres', engine: 'postgres' });
    expect(fitsVerifier(second.password, second.verifier)).toBe(true);
    expect([await logsIn(first), await logsIn(second)]).toEqual([true, true]);
    const sql = log.map((statement) => statement.sql).join('\n');
    expect(sql).toContain(`ALTER ROLE "api_2" PASSWORD '${second.verifier}'`);
    expect(sql + server.log()).not.toContain(second.password);

    await runAll(manager.beginRotation(arn));
    const third = valueOf()!;
    expect(third.username).toBe('api_1');
    expect([await logsIn(first), await logsIn(second), await logsIn(third)]).toEqual([false, true, true]);
  });
});

describe('on PostgreSQL 18', () => {
  beforeEach(() => setup(18));
  afterEach(stop);

  /** At each call that the rotation makes: who of them can log in, and whether the sessions that are there go on. */
  async function rotateUnderLoad(rotations: number) {
    const failures: string[] = [];
    let logins = 0;
    let held = valueOf()!;
    let pooled = await server.connect({ user: held.username, password: held.password });
    const look = async (call: RecordedCall) => {
      logins++;
      if (!(await logsIn(valueOf()))) failures.push(`AWSCURRENT at ${call.operation}`);
      if (!(await logsIn(held))) failures.push(`held at ${call.operation}`);
      await pooled.query('SELECT 1').catch(() => failures.push(`session at ${call.operation}`));
    };
    manager.beforeCall = look;
    manager.afterCall = look;
    // And without any order, as clients do it.
    let over = false;
    const loop = (async () => {
      while (!over) if (!(await logsIn(valueOf()))) failures.push('AWSCURRENT at any time');
    })();
    for (let at = 0; at < rotations; at++) {
      await runAll(manager.beginRotation(arn));
      await look({ operation: 'the end', input: {} });
      // A pool refreshes after the rotation; until then it worked with what it held.
      await pooled.end();
      held = valueOf()!;
      pooled = await server.connect({ user: held.username, password: held.password });
    }
    over = true;
    await loop;
    manager.beforeCall = manager.afterCall = undefined;
    await pooled.end();
    return { failures, logins };
  }

  test('case 40: clients with AWSCURRENT, clients that still hold the version before, and sessions see no failure in five rotations', async () => {
    const { failures, logins } = await rotateUnderLoad(5);
    expect(failures).toEqual([]);
    expect(logins).toBeGreaterThan(100);
  });

  test('case 40, control: with one login both clients fail, the session goes on', async () => {
    await server.query(`CREATE ROLE single LOGIN PASSWORD '${scramVerifier('first')}'`);
    arn = manager.create('single', { username: 'single', password: 'first' });
    const { failures } = await rotateUnderLoad(2);
    expect(failures).toContain('AWSCURRENT at UpdateSecretVersionStage');
    expect(failures).toContain('held at the end');
    expect(failures.filter((failure) => failure.startsWith('session'))).toEqual([]);
  });

  test('nothing that anybody uses changes before the last step', async () => {
    await runAll(manager.beginRotation(arn));
    const [previous, current] = [valueOf('AWSPREVIOUS'), valueOf()];
    const token = manager.beginRotation(arn);
    for (const step of ['createSecret', 'setSecret', 'testSecret'] as const) {
      await runStep({ step, secret: arn, token });
      expect([await logsIn(previous), await logsIn(current)]).toEqual([true, true]);
      expect(valueOf()).toEqual(current);
    }
  });

  test('every step may come twice, also after the end', async () => {
    const token = manager.beginRotation(arn);
    for (const step of ROTATION_STEPS) {
      await runStep({ step, secret: arn, token });
      await runStep({ step, secret: arn, token });
    }
    const value = valueOf();
    await runAll(token);
    expect(valueOf()).toEqual(value);
    expect(value!.username).toBe('api_2');
  });

  test('a login that lost its password gets a new one when its turn comes', async () => {
    await runAll(manager.beginRotation(arn));
    await server.query('ALTER ROLE api_1 PASSWORD NULL');
    await runAll(manager.beginRotation(arn));
    expect(valueOf()!.username).toBe('api_1');
    expect(await logsIn(valueOf())).toBe(true);
  });

  describe('case 40: interrupted at every point, the current version logs in and another run completes', () => {
    let points: { readonly calls: number; readonly statements: number };
    beforeEach(async () => {
      await runAll(manager.beginRotation(arn));
      points ??= { calls: manager.calls.length, statements: proxy.statements.length };
      expect(points.calls).toBeGreaterThan(10);
      expect(points.statements).toBeGreaterThan(10);
    });

    async function expectRecovery(token: string, when: string): Promise<void> {
      if (!(await logsIn(valueOf()))) throw new Error(`${when}: AWSCURRENT does not log in`);
      await runAll(token);
      if (!(await logsIn(valueOf()))) throw new Error(`${when}: AWSCURRENT does not log in after another run`);
      if (!(await logsIn(valueOf('AWSPREVIOUS'))))
        throw new Error(`${when}: AWSPREVIOUS does not log in after another run`);
      expect(manager.versionId(arn)).toBe(token);
    }

    test.each(['before', 'after'] as const)('%s a call of Secrets Manager that fails', async (when) => {
      for (let at = 1; at <= points.calls; at++) {
        await newPair(`call_${when}_${at}`);
        const token = manager.beginRotation(arn);
        const fail = () => {
          if (manager.calls.length === at) throw new Error('broken connection');
        };
        if (when === 'before') manager.beforeCall = fail;
        else manager.afterCall = fail;
        await runAll(token).catch(() => undefined);
        manager.beforeCall = manager.afterCall = undefined;
        await expectRecovery(token, `call ${at}, ${when}`);
      }
    });

    test.each(['before', 'after'] as const)('%s a statement whose connection breaks', async (when) => {
      for (let at = 1; at <= points.statements; at++) {
        await newPair(`cut_${when}_${at}`);
        const token = manager.beginRotation(arn);
        proxy.cut({ at, when });
        await runAll(token).catch(() => undefined);
        expect(proxy.hasCut).toBe(true);
        await expectRecovery(token, `statement ${at}, ${when}`);
      }
    });

    test('a process that is killed', async () => {
      for (let at = 1; at <= points.calls; at++) {
        await newPair(`killed_${at}`);
        const token = manager.beginRotation(arn);
        manager.beforeCall = () => {
          if (manager.calls.length < at) return;
          proxy.cut({ at: proxy.statements.length + 1, when: 'before', kill: true });
          throw new Error('killed');
        };
        await runAll(token).catch(() => undefined);
        manager.beforeCall = undefined;
        proxy.reset();
        await expectRecovery(token, `killed at call ${at}`);
      }
    });
  });

  describe('a secret gives nobody the password of a role that its writer cannot be', () => {
    const refusal = async () => {
      const failure = (await runAll(manager.beginRotation(arn)).catch((error) => error)) as Error;
      expect(failure).toBeInstanceOf(Error);
      return failure.message;
    };

    test('whoever does not have the password of one login gets none of the other', async () => {
      await newPair('victim');
      const own = manager.create('own', { username: 'victim_1', group: 'victim', password: 'guessed' });
      arn = own;
      expect(await refusal()).toContain('its current version does not log in as "victim_1"');
    });

    test.each([
      ['a name that only looks like the other one of a pair', [], 'is not a login of the group "boss"'],
      [
        'a login with power over the server',
        ['GRANT boss TO boss_2', 'ALTER ROLE boss_2 CREATEROLE'],
        '"boss_2" is not',
      ],
      ['a member that inherits nothing', ['GRANT boss TO boss_2 WITH INHERIT FALSE'], '"boss_2" is not'],
    ])('%s', async (_, statements, message) => {
      await server.query([
        'CREATE ROLE boss',
        `CREATE ROLE boss_1 LOGIN PASSWORD '${scramVerifier('first')}'`,
        `CREATE ROLE boss_2 LOGIN PASSWORD '${scramVerifier('secret')}'`,
        'GRANT boss TO boss_1',
        ...statements,
      ]);
      arn = manager.create('boss', { username: 'boss_1', group: 'boss', password: 'first' });
      expect(await refusal()).toContain(message);
      expect(await logsIn({ username: 'boss_2', password: 'secret' })).toBe(true);
    });

    test('a user name that is none of the two', async () => {
      manager.replace(arn, { username: 'api_3', group: 'api', password: 'first' });
      expect(await refusal()).toContain('"api_3" is none of the logins that take turns in it');
    });
  });

  test('without the secret of the administrator it says so, and changes nothing', async () => {
    const token = manager.beginRotation(arn);
    await runStep({ step: 'createSecret', secret: arn, token });
    const store = new SecretStore({ ...manager.config, maxAttempts: 1 });
    const run = rotate(
      { step: 'finishSecret', secret: arn, token },
      { store, server: { host: server.host, port: proxy.port, ca: false, database: 'postgres' } },
    );
    await expect(run).rejects.toThrow('without the secret of the administrator');
    store.destroy();
    expect(await logsIn(valueOf())).toBe(true);
  });

  test('the administrator logs in with a stale password: the step fails, and a later one completes', async () => {
    manager.replace(admin, { username: server.master.user, password: 'stale' });
    const token = manager.beginRotation(arn);
    await expect(runAll(token)).rejects.toThrow('its own rotation may be under way');
    expect(await logsIn(valueOf())).toBe(true);
    manager.replace(admin, { username: server.master.user, password: server.master.password });
    await runAll(token);
    expect(await logsIn(valueOf())).toBe(true);
  });

  test('case 38: deployments and rotations agree on the secret, from the first deployment on', async () => {
    const store = new SecretStore({ ...manager.config, maxAttempts: 1 });
    arn = manager.create('web', { username: 'web_1', group: 'web', password: 'generated' });
    const turn = { authentication: 'password', passwordOf: 'web' } as const;
    const state = declaration({
      roles: [group('web'), login('web_1', turn), login('web_2', turn)],
      memberships: ['web_1', 'web_2'].map((member) => ({
        role: 'web',
        member,
        inherit: true,
        set: false,
        admin: false,
      })),
      settings: [],
      databases: [],
    });
    const deploy = () => {
      const endpointOf = () => ({ host: server.host, port: proxy.port, dbname: 'postgres' });
      const secrets = roleSecrets({ store, arns: { web: arn }, endpointOf });
      return reconcile(state, server.connection(), { mode: 'apply', secrets });
    };
    expect((await deploy()).outcome).toBe('applied');
    expect(manager.value(arn)).toMatchObject({ username: 'web_1', group: 'web', port: proxy.port });
    for (const next of ['web_2', 'web_1', 'web_2']) {
      const before = valueOf();
      await runAll(manager.beginRotation(arn));
      expect(valueOf()!.username).toBe(next);
      expect((await deploy()).statements.writes).toBe(0);
      expect([await logsIn(before), await logsIn(valueOf())]).toEqual([true, true]);
    }
    store.destroy();
  });

  test('sessions of both logins have the privileges of the group', async () => {
    await server.query(['CREATE TABLE public.seen (id int)', 'GRANT SELECT ON public.seen TO api']);
    for (let turn = 0; turn < 2; turn++) {
      const { username, password } = valueOf()!;
      const client: Client = await server.connect({ user: username, password });
      expect((await client.query('SELECT count(*)::int AS n FROM public.seen')).rows).toEqual([{ n: 0 }]);
      await client.end();
      await runAll(manager.beginRotation(arn));
    }
  });
});
