import { DesiredState } from '../../../lib/contract';
import { RefusedError } from '../../../lib/runtime/reconcile';
import { rotate, ROTATION_STEPS } from '../../../lib/runtime/rotate';
import { roleSecrets, SecretStore } from '../../../lib/runtime/secrets';
import { freshServer, TestServer, VERSIONS } from '../../support/postgres';
import { TestSecretsManager } from '../../support/secrets-manager';
import { login } from './declaration';
import { objectRows, origins } from './ledger-rows';
import { apply, appWith, asOwner, plan, sqlOf } from './runs';
import { secretsOf } from './secrets';

const ORIGINAL = 'db-ORIGINAL';
const RESTORED = 'db-RESTORED';

/** One role that the state makes and one that it finds, both with their passwords in secrets. */
const state: DesiredState = appWith(
  {},
  {
    roles: [
      ...appWith({}).roles.filter(({ name }) => name !== 'api'),
      login('api', { authentication: 'password' }),
      login('legacy', { authentication: 'password' }),
    ],
  },
);

describe.each(VERSIONS)('a restored copy, PostgreSQL %i', (version) => {
  let original: TestServer;
  let copy: TestServer;
  let manager: TestSecretsManager;
  let store: SecretStore;
  const arns: Record<string, string> = {};
  const secrets = () => roleSecrets({ store, arns });
  const current = (role: string) => manager.value(arns[role]) as { password: string; verifier: string };

  beforeAll(async () => {
    original = await freshServer({ version });
    manager = await TestSecretsManager.start();
    store = new SecretStore({ ...manager.config, maxAttempts: 1 });
    for (const role of ['api', 'legacy'])
      arns[role] = manager.create(role, { username: role, password: `${role} first` });
    await original.query("CREATE ROLE legacy LOGIN PASSWORD 'legacy first'");
    await apply(original, state, { identity: ORIGINAL, secrets: secrets() });
    await asOwner(original, 'CREATE TABLE billing.invoice AS SELECT 1 AS id');
    await apply(original, state, { identity: ORIGINAL, secrets: secrets() });
    copy = await original.copy();
    // What a restored snapshot does not know: both passwords were rotated after it was taken.
    for (const role of ['api', 'legacy']) {
      const token = manager.beginRotation(arns[role]);
      for (const step of ROTATION_STEPS) {
        await rotate(
          { step, secret: arns[role], token },
          { store, server: { host: original.host, port: original.port, ca: false, database: 'postgres' } },
        );
      }
      expect(current(role).password).not.toBe(`${role} first`);
      expect(await logsIn(original, role)).toBe(true);
      expect(await logsIn(copy, role)).toBe(false);
    }
  });
  afterAll(async () => {
    store.destroy();
    await manager.stop();
    await copy.stop();
    await original.stop();
  });

  const logsIn = (server: TestServer, role: string, password = current(role).password) =>
    server.connect({ user: role, password }).then(
      (client) => client.end().then(() => true),
      () => false,
    );
  const verifiers = (server: TestServer) =>
    server.query<{ rolname: string; rolpassword: string }>(
      "SELECT rolname, rolpassword FROM pg_authid WHERE rolname IN ('api', 'legacy') ORDER BY 1",
      { superuser: true },
    );

  test('is known by its identity, and its plan sets the passwords again, also of a role that was found', async () => {
    const { rehomedFrom, plan: planned } = await plan(copy, state, { identity: RESTORED, secrets: secrets() });
    expect(rehomedFrom).toBe(ORIGINAL);
    expect(planned.steps.map(({ object }) => object)).toEqual(['password of role api', 'password of role legacy']);
    expect(planned.withheld).toEqual([]);
    // The negative control: on a server that is no copy the password of a role that was found is not touched unasked.
    const same = await plan(copy, state, { identity: ORIGINAL, secrets: secrets() });
    expect(same.rehomedFrom).toBeUndefined();
    expect(same.plan.withheld.map(({ object }) => object)).toEqual(['password of role legacy']);
  });

  test('a run that ends half way leaves it a copy', async () => {
    const [app] = state.databases;
    const first: DesiredState = {
      ...state,
      roles: state.roles.filter(({ name }) => name !== 'legacy'),
      databases: [
        {
          ...app,
          grants: [...app.grants, { privileges: ['USAGE'], on: { kind: 'schema', schema: 'billing' }, to: 'api' }],
        },
      ],
    };
    const failing = apply(copy, first, {
      identity: RESTORED,
      secrets: secrets(),
      onProgress: (message) => {
        if (message.startsWith('app:')) throw new Error('killed here');
      },
    });
    await expect(failing).rejects.toThrow('killed here');
    expect(await logsIn(copy, 'api')).toBe(true);
    expect(await logsIn(copy, 'legacy')).toBe(false);
    expect(await copy.query('SELECT identity FROM cdk_postgres.server')).toEqual([{ identity: RESTORED }]);
    const { rehomedFrom, plan: planned } = await plan(copy, state, { identity: RESTORED, secrets: secrets() });
    expect(rehomedFrom).toBe(ORIGINAL);
    expect(planned.steps.map(({ object }) => object)).toEqual(['password of role legacy']);
    expect(planned.withheld).toEqual([]);
  });

  test('its applications log in with the passwords of now, and no more with those of the snapshot', async () => {
    const report = await apply(copy, state, { identity: RESTORED, secrets: secrets() });
    expect(report).toMatchObject({ outcome: 'applied', rehomedFrom: ORIGINAL, proof: { checkedLogins: 2 } });
    for (const role of ['api', 'legacy']) {
      expect(await logsIn(copy, role)).toBe(true);
      expect(await logsIn(copy, role, `${role} first`)).toBe(false);
    }
    // The very verifiers of the secrets, which a pooler has too.
    expect(await verifiers(copy)).toEqual(await verifiers(original));
    expect(await asOwner(copy, 'SELECT id FROM billing.invoice')).toEqual([{ id: 1 }]);
    expect(await origins(copy)).toEqual(await origins(original));
    const [server] = await copy.query<{ identity: string; history: { identity: string }[] }>(
      'SELECT identity, history FROM cdk_postgres.server',
    );
    expect(server.identity).toBe(RESTORED);
    expect(server.history.map(({ identity }) => identity)).toEqual([ORIGINAL]);
  });

  test('afterwards it is a server like any other', async () => {
    const report = await apply(copy, state, { identity: RESTORED, secrets: secrets() });
    expect(report).toMatchObject({ outcome: 'unchanged', statements: { writes: 0 } });
    expect(report.rehomedFrom).toBeUndefined();
    await copy.query("ALTER ROLE legacy PASSWORD 'by hand'");
    const { plan: found } = await plan(copy, state, { identity: RESTORED, secrets: secrets() });
    expect(found.withheld.map(({ object }) => object)).toEqual(['password of role legacy']);
    await expect(apply(copy, { ...state, name: 'other' }, { identity: RESTORED, secrets: secrets() })).rejects.toThrow(
      RefusedError,
    );
  });

  test('and the original has noticed nothing', async () => {
    const report = await apply(original, state, { identity: ORIGINAL, secrets: secrets() });
    expect(report).toMatchObject({ outcome: 'unchanged', statements: { writes: 0 } });
    expect(report.rehomedFrom).toBeUndefined();
    expect(await logsIn(original, 'api')).toBe(true);
  });

  test('another state takes a copy over, and is the one that set its passwords', async () => {
    const second = await original.copy();
    try {
      await second.query("ALTER ROLE legacy PASSWORD 'of the snapshot'");
      // On the original it would be refused, since that is managed already.
      const other = { ...state, name: 'restored stack' };
      await expect(apply(original, other, { identity: ORIGINAL, secrets: secrets() })).rejects.toThrow(
        /managed by the state "test"/,
      );
      const report = await apply(second, other, { identity: 'db-SECOND', secrets: secrets() });
      expect(sqlOf(report.plan.steps)).toEqual([expect.stringMatching(/^ALTER ROLE "legacy" PASSWORD/)]);
      expect(report.plan.withheld).toEqual([]);
      expect(await logsIn(second, 'legacy')).toBe(true);
      expect((await objectRows(second)).every(({ state: of }) => of === 'restored stack')).toBe(true);
      expect(await origins(second)).toContain('role api: created');
      expect(await origins(second)).toContain('role legacy: adopted');
    } finally {
      await second.stop();
    }
  });
});

describe.each(VERSIONS)('two states that call one server by two names, PostgreSQL %i', (version) => {
  test('are no copies of each other: the one that comes again is refused, and nothing changes', async () => {
    const server = await freshServer({ version });
    try {
      const secretsOfA = secretsOf({ api: 'api of a', legacy: 'legacy of a' });
      const secretsOfB = secretsOf({ api: 'api of b', legacy: 'legacy of b' });
      const b = { ...state, name: 'b' };
      await apply(server, state, { identity: 'A', secrets: secretsOfA });
      // Nothing tells this from a copy yet.
      expect(await apply(server, b, { identity: 'B', secrets: secretsOfB })).toMatchObject({ rehomedFrom: 'A' });
      const everything = async () => [
        await server.query('SELECT rolname, rolpassword FROM pg_authid ORDER BY 1', { superuser: true }),
        await server.query('SELECT identity, history FROM cdk_postgres.server'),
        await server.query('SELECT * FROM cdk_postgres.object ORDER BY kind, database, name'),
        await server.query('SELECT * FROM cdk_postgres.state ORDER BY name'),
        await server.query('SELECT * FROM cdk_postgres.run ORDER BY id'),
      ];
      const before = await everything();
      for (const run of [plan, apply]) {
        const refused = await run(server, state, { identity: 'A', secrets: secretsOfA }).catch((error: Error) => error);
        expect(refused).toBeInstanceOf(RefusedError);
        expect(refused).toMatchObject({
          message: expect.stringMatching(
            /^the state "test" says that this server is "A", which it was before it became "B": .* two states .*: give every state of this server the same identity, "B"$/,
          ) as string,
        });
      }
      const rolledBack = await apply(server, state, { identity: 'A', secrets: secretsOfA, rollback: true });
      expect(rolledBack).toMatchObject({ outcome: 'unchanged', plan: { steps: [], withheld: [] } });
      expect(rolledBack.plan.notes).toEqual([expect.stringContaining('a rollback changes nothing')]);
      expect(await everything()).toEqual(before);
      // The one that is there goes on, and a copy of this server is a copy: its identity is new.
      expect(await apply(server, b, { identity: 'B', secrets: secretsOfB })).toMatchObject({ outcome: 'unchanged' });
      expect(await plan(server, state, { identity: 'C', secrets: secretsOfA })).toMatchObject({ rehomedFrom: 'B' });
    } finally {
      await server.stop();
    }
  });
});
