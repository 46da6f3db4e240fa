import { randomUUID } from 'node:crypto';
import { readRotationEvent, rotate, ROTATION_STEPS, RotationEvent } from '../../../lib/runtime/rotate';
import { fitsVerifier, scramVerifier, SecretStore } from '../../../lib/runtime/secrets';
import { FaultProxy } from '../../support/fault-proxy';
import { freshServer, startServer, TestServer, VERSIONS } from '../../support/postgres';
import { RecordedCall, TestSecretsManager } from '../../support/secrets-manager';

let server: TestServer;
let manager: TestSecretsManager;
let proxy: FaultProxy;
let arn: string;
beforeEach(async () => {
  server = await startServer({ version: 18 });
  manager = await TestSecretsManager.start();
  proxy = await FaultProxy.start(server);
  await server.query(`CREATE ROLE api LOGIN PASSWORD '${scramVerifier('first')}'`);
  arn = manager.create('api', { username: 'api', password: 'first', dbname: 'postgres', team: 'payments' });
});
afterEach(async () => {
  await proxy.stop();
  await manager.stop();
});

/** A new process: nothing but the secret and the server is known to it. */
async function runStep(event: RotationEvent, progress: string[] = [], patience = 0): Promise<void> {
  const store = new SecretStore({ ...manager.config, maxAttempts: 1 });
  try {
    await rotate(event, {
      store,
      server: { host: server.host, port: proxy.port, ca: false, database: 'postgres', patience },
      onProgress: (message) => progress.push(message),
    });
  } finally {
    store.destroy();
  }
}

async function runAll(token: string): Promise<void> {
  for (const step of ROTATION_STEPS) await runStep({ step, secret: arn, token });
}

async function logsIn(stage: string): Promise<boolean> {
  const secret = manager.value(arn, stage) as { username: string; password: string } | undefined;
  if (!secret) return false;
  return server.connect({ user: secret.username, password: secret.password }).then(
    (client) => client.end().then(() => true),
    () => false,
  );
}

describe.each(VERSIONS)('a rotation on PostgreSQL %d', (version) => {
  beforeEach(async () => {
    server = await startServer({ version });
    await server.query(['DROP ROLE IF EXISTS api', `CREATE ROLE api LOGIN PASSWORD '${scramVerifier('first')}'`]);
    await proxy.stop();
    proxy = await FaultProxy.start(server);
  });

  test('changes the password of a role, and no clear password reaches the server', async () => {
    const log = await server.recordStatements(() => runAll(manager.beginRotation(arn)));
    const value = manager.value(arn) as Record<string, string>;
    expect(value).toMatchObject({
      username: 'api',
      team: 'payments',
      engine: 'postgres',
      host: '127.0.0.1',
      port: proxy.port,
      dbname: 'postgres',
    });
    expect(value.password).not.toBe('first');
    expect(fitsVerifier(value.password, value.verifier)).toBe(true);
    expect(await logsIn('AWSCURRENT')).toBe(true);
    expect(await logsIn('AWSPREVIOUS')).toBe(false);
    const sql = log.map((statement) => statement.sql).join('\n');
    expect(sql).toContain(`ALTER ROLE SESSION_USER PASSWORD '${value.verifier}'`);
    expect(sql).not.toContain(value.password);
    expect(server.log()).not.toContain(value.password);
  });

  test('changes the password of the master', async () => {
    const master = server.master;
    arn = manager.create('master', { username: master.user, password: master.password, masterarn: 'kept' });
    await runAll(manager.beginRotation(arn));
    expect(await logsIn('AWSCURRENT')).toBe(true);
    expect(manager.value(arn)).toMatchObject({ masterarn: 'kept' });
    await server.query(`ALTER ROLE master PASSWORD '${scramVerifier(master.password)}'`, { superuser: true });
  });
});

test('nothing that anybody uses changes before the last step', async () => {
  const token = manager.beginRotation(arn);
  for (const step of ['createSecret', 'setSecret', 'testSecret'] as const) {
    await runStep({ step, secret: arn, token });
    expect(await logsIn('AWSCURRENT')).toBe(true);
    expect(manager.value(arn)).toMatchObject({ password: 'first' });
  }
});

test('every step may come twice, also after the end', async () => {
  const token = manager.beginRotation(arn);
  for (const step of ROTATION_STEPS) {
    await runStep({ step, secret: arn, token });
    await runStep({ step, secret: arn, token });
  }
  const value = manager.value(arn);
  await runAll(token);
  expect(manager.value(arn)).toEqual(value);
  expect(await logsIn('AWSCURRENT')).toBe(true);
});

describe('case 40: interrupted at every point', () => {
  interface Points {
    readonly calls: number;
    readonly statements: number;
  }
  let points: Points;
  beforeEach(async () => {
    if (points) return;
    await runAll(manager.beginRotation(arn));
    points = { calls: manager.calls.length, statements: proxy.statements.length };
    expect(points.calls).toBeGreaterThan(10);
    expect(points.statements).toBeGreaterThan(5);
  });

  async function newRole(name: string): Promise<void> {
    await server.query(`CREATE ROLE ${name} LOGIN PASSWORD '${scramVerifier('first')}'`);
    arn = manager.create(name, { username: name, password: 'first' });
    manager.calls.length = 0;
    proxy.reset();
  }

  /** What a run after the interruption finds, and what one more makes of it. */
  async function expectRecovery(token: string, when: string, mayOnlyPendingWork: boolean): Promise<void> {
    const current = await logsIn('AWSCURRENT');
    if (!current && !(mayOnlyPendingWork && (await logsIn('AWSPENDING')))) {
      throw new Error(`${when}: AWSCURRENT does not log in`);
    }
    await runAll(token);
    if (!(await logsIn('AWSCURRENT'))) throw new Error(`${when}: AWSCURRENT does not log in after another run`);
    expect(manager.value(arn)).not.toMatchObject({ password: 'first' });
    expect(manager.versionId(arn)).toBe(token);
  }

  test.each(['before', 'after'] as const)(
    '%s a call of Secrets Manager that fails, the password is taken back',
    async (when) => {
      for (let at = 1; at <= points.calls; at++) {
        await newRole(`call_${when}_${at}`);
        const token = manager.beginRotation(arn);
        const fail = () => {
          if (manager.calls.length === at) throw new Error('broken connection');
        };
        if (when === 'before') manager.beforeCall = fail;
        else manager.afterCall = fail;
        await runAll(token).catch(() => undefined);
        manager.beforeCall = manager.afterCall = undefined;
        await expectRecovery(token, `call ${at}, ${when}`, false);
      }
    },
  );

  test.each(['before', 'after'] as const)(
    '%s a statement whose connection breaks, the password is taken back',
    async (when) => {
      for (let at = 1; at <= points.statements; at++) {
        await newRole(`cut_${when}_${at}`);
        const token = manager.beginRotation(arn);
        proxy.cut({ at, when });
        await runAll(token).catch(() => undefined);
        expect(proxy.hasCut).toBe(true);
        await expectRecovery(token, `statement ${at}, ${when}`, false);
      }
    },
  );

  test('a process that is killed leaves AWSCURRENT valid, but between the change of the server and that of the secret', async () => {
    const onlyPending: string[] = [];
    for (let at = 1; at <= points.calls; at++) {
      await newRole(`killed_${at}`);
      const token = manager.beginRotation(arn);
      let last: RecordedCall | undefined;
      manager.beforeCall = (call) => {
        if (manager.calls.length < at) return;
        last ??= call;
        proxy.cut({ at: proxy.statements.length + 1, when: 'before', kill: true });
        throw new Error('killed');
      };
      await runAll(token).catch(() => undefined);
      manager.beforeCall = undefined;
      proxy.reset();
      if (!(await logsIn('AWSCURRENT'))) onlyPending.push(last!.operation);
      await expectRecovery(token, `killed at call ${at}`, true);
    }
    expect(onlyPending).toEqual(['UpdateSecretVersionStage']);
  });
});

describe('case 38: the password is taken back, or the rotation ends', () => {
  const finish = async (token: string, progress: string[] = []) => {
    for (const step of ['createSecret', 'setSecret', 'testSecret'] as const)
      await runStep({ step, secret: arn, token });
    return runStep({ step: 'finishSecret', secret: arn, token }, progress);
  };

  test.each([1, 2])('a limit of %i connections that refuses the login has seen the password', async (limit) => {
    await server.query(`ALTER ROLE api CONNECTION LIMIT ${limit}`);
    const application = limit === 1 ? undefined : await server.connect({ user: 'api', password: 'first' });
    const token = manager.beginRotation(arn);
    await finish(token);
    expect(manager.versionId(arn)).toBe(token);
    await application?.end();
    await server.query('ALTER ROLE api CONNECTION LIMIT -1');
    expect(await logsIn('AWSCURRENT')).toBe(true);
    expect(await logsIn('AWSPREVIOUS')).toBe(false);
  });

  test('case 5: a server that has no slot left to look at the new password', async () => {
    const full = await freshServer({
      version: 18,
      settings: { max_connections: '3', superuser_reserved_connections: '0' },
    });
    try {
      const before = scramVerifier('first');
      await full.query(`CREATE ROLE api LOGIN PASSWORD '${before}'`);
      manager.replace(arn, { username: 'api', password: 'first', verifier: before });
      server = full;
      await proxy.stop();
      proxy = await FaultProxy.start(full);
      const token = manager.beginRotation(arn);
      await runStep({ step: 'createSecret', secret: arn, token });
      // One slot is left, and the connection that changes the password has it when the new one is to be proven.
      const others = [await full.connect({ superuser: true }), await full.connect({ superuser: true })];
      const failure = runStep({ step: 'finishSecret', secret: arn, token }, [], 20_000);
      await expect(failure).rejects.toThrow('came to no verdict');
      for (const other of others) await other.end();
      expect(await full.query("SELECT rolpassword FROM pg_authid WHERE rolname = 'api'", { superuser: true })).toEqual([
        { rolpassword: before },
      ]);
    } finally {
      await full.stop();
    }
  });

  test('a server that nobody reaches any more for the proof, over the connection that is still there', async () => {
    const token = manager.beginRotation(arn);
    await runStep({ step: 'createSecret', secret: arn, token });
    proxy.refuseAfter(/^ALTER ROLE SESSION_USER PASSWORD/);
    await expect(runStep({ step: 'finishSecret', secret: arn, token })).rejects.toThrow('came to no verdict');
    expect(await logsIn('AWSCURRENT')).toBe(true);
    expect(manager.versionId(arn)).not.toBe(token);
    proxy.heal();
    await runAll(token);
    expect(await logsIn('AWSCURRENT')).toBe(true);
  });

  test.each(['refuses', 'never answers'])('Secrets Manager that %s from then on', async (how) => {
    const token = manager.beginRotation(arn);
    let isDown = false;
    let end = () => {};
    const never = new Promise<void>((resolve) => (end = resolve));
    manager.beforeCall = async ({ operation }) => {
      isDown ||= operation === 'UpdateSecretVersionStage';
      if (isDown && how === 'never answers') await never;
      if (isDown) throw new Error('down');
    };
    await expect(finish(token)).rejects.toThrow('could not be given its new current version');
    manager.beforeCall = undefined;
    expect(await logsIn('AWSCURRENT')).toBe(true);
    expect(manager.value(arn)).toMatchObject({ password: 'first' });
    end();
    await runAll(token);
    expect(await logsIn('AWSCURRENT')).toBe(true);
  });

  test('a step that finds the new password set, and cannot make it current', async () => {
    const token = manager.beginRotation(arn);
    await runStep({ step: 'createSecret', secret: arn, token });
    await server.query(`ALTER ROLE api PASSWORD '${String(manager.value(arn, 'AWSPENDING')!.verifier)}'`);
    expect(await logsIn('AWSCURRENT')).toBe(false);
    manager.failing = { operation: 'UpdateSecretVersionStage', type: 'InternalServiceError' };
    await expect(runStep({ step: 'finishSecret', secret: arn, token })).rejects.toThrow('InternalServiceError');
    expect(await logsIn('AWSCURRENT')).toBe(true);
  });

  test('a secret whose password was changed by hand, and its verifier was not', async () => {
    await server.query(`ALTER ROLE api PASSWORD '${scramVerifier('by hand')}'`);
    manager.replace(arn, { username: 'api', password: 'by hand', verifier: scramVerifier('first') });
    manager.failing = { operation: 'UpdateSecretVersionStage', type: 'InternalServiceError' };
    await expect(finish(manager.beginRotation(arn))).rejects.toThrow('InternalServiceError');
    expect(await logsIn('AWSCURRENT')).toBe(true);
  });

  test('a connection that is gone when the password is to be taken back', async () => {
    manager.failing = { operation: 'UpdateSecretVersionStage', type: 'InternalServiceError' };
    manager.beforeCall = async ({ operation }) => {
      if (operation === 'UpdateSecretVersionStage')
        await server.query("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'api'", {
          superuser: true,
        });
    };
    await expect(finish(manager.beginRotation(arn))).rejects.toThrow('InternalServiceError');
    expect(await logsIn('AWSCURRENT')).toBe(true);
  });

  test('a password that cannot be taken back is told, without it', async () => {
    const progress: string[] = [];
    manager.beforeCall = ({ operation }) => {
      if (operation !== 'UpdateSecretVersionStage') return;
      proxy.cut({ at: proxy.statements.length + 1, when: 'before', kill: true });
      throw new Error('down');
    };
    const failure = await finish(manager.beginRotation(arn), progress).catch((error: Error) => error);
    expect(failure).toBeInstanceOf(Error);
    expect(progress.at(-1)).toContain('could not be taken back');
    const { password, verifier } = manager.value(arn, 'AWSPENDING') as Record<string, string>;
    for (const secret of [password, verifier, 'first']) expect([...progress, failure].join()).not.toContain(secret);
  });

  test('a deployment that set the password of before, between the proof and the end, is corrected', async () => {
    const token = manager.beginRotation(arn);
    manager.beforeCall = async ({ operation }) => {
      if (operation === 'UpdateSecretVersionStage')
        await server.query(`ALTER ROLE api PASSWORD '${scramVerifier('first')}'`);
    };
    await finish(token);
    expect(manager.versionId(arn)).toBe(token);
    expect(await logsIn('AWSCURRENT')).toBe(true);
  });
});

test('a server that refuses the change keeps the old password, and the secret too', async () => {
  await server.query('ALTER ROLE api SET role = pg_monitor', { superuser: true });
  const token = manager.beginRotation(arn);
  await server.query('ALTER ROLE api NOLOGIN');
  await expect(runAll(token)).rejects.toThrow('is not permitted to log in');
  await server.query('ALTER ROLE api LOGIN');
  expect(await logsIn('AWSCURRENT')).toBe(true);
  await runAll(token);
  expect(await logsIn('AWSCURRENT')).toBe(true);
});

test('a secret that was changed by hand is rotated from the version before, which the server still has', async () => {
  manager.replace(arn, { username: 'api', password: 'never on the server' });
  expect(await logsIn('AWSCURRENT')).toBe(false);
  await runAll(manager.beginRotation(arn));
  expect(await logsIn('AWSCURRENT')).toBe(true);
});

test('when no version logs in, it says so and changes nothing', async () => {
  await server.query(`ALTER ROLE api PASSWORD '${scramVerifier('set by hand')}'`);
  const failure = await runAll(manager.beginRotation(arn)).catch((error) => error as Error);
  expect((failure as Error).message).toContain('none of its versions');
  expect((failure as Error).message).not.toContain('first');
  expect(manager.value(arn)).toMatchObject({ password: 'first' });
});

test('a role that has no way into its home database uses the admin database', async () => {
  await server.query(['CREATE DATABASE closed', 'REVOKE ALL ON DATABASE closed FROM PUBLIC']);
  manager.replace(arn, { username: 'api', password: 'first', dbname: 'closed' });
  await runAll(manager.beginRotation(arn));
  expect(await logsIn('AWSCURRENT')).toBe(true);
});

test('a pending version with a verifier of another password is refused', async () => {
  const token = manager.beginRotation(arn);
  await runStep({ step: 'createSecret', secret: arn, token });
  const pending = manager.value(arn, 'AWSPENDING')!;
  const other = manager.create('other', { username: 'api', password: 'first' });
  const otherToken = manager.beginRotation(other);
  const store = new SecretStore(manager.config);
  await store.put(other, { ...pending, verifier: scramVerifier('another') }, otherToken, 'AWSPENDING');
  store.destroy();
  await expect(runStep({ step: 'finishSecret', secret: other, token: otherToken })).rejects.toThrow(
    'verifier is not that of its password',
  );
  expect(await logsIn('AWSCURRENT')).toBe(true);
});

test.each([
  ['an unknown token', () => ({ token: randomUUID() }), 'has no version with the id of this event'],
  [
    'a version that is not pending',
    () => ({ token: Object.keys(manager.stagesOf(arn))[0] }),
    'has another version pending',
  ],
  ['a secret that does not exist', () => ({ secret: arn.replace('api', 'nobody') }), 'does not exist'],
  ['a step out of order', () => ({ step: 'finishSecret' as const }), 'createSecret comes first'],
])('%s is refused', async (_, overrides, message) => {
  const old = Object.keys(manager.stagesOf(arn))[0];
  const event: RotationEvent = { step: 'createSecret', secret: arn, token: manager.beginRotation(arn) };
  manager.replace(arn, { username: 'api', password: 'first' });
  manager.replace(arn, { username: 'api', password: 'first', again: true });
  expect(manager.stagesOf(arn)[old]).toEqual([]);
  await expect(runStep({ ...event, ...overrides() })).rejects.toThrow(message);
});

test.each([
  [{}, 'Step is undefined'],
  [{ Step: 'dropSecret' }, 'Step is "dropSecret"'],
  [{ Step: 'setSecret', SecretId: 'api' }, 'not the ARN'],
  [
    {
      Step: 'setSecret',
      SecretId: 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:x',
      ClientRequestToken: '',
    },
    'not the id of a version',
  ],
  [null, 'Step is undefined'],
])('the event %j is refused', (event, message) => {
  expect(() => readRotationEvent(event)).toThrow(message);
});
