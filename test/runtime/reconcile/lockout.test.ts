import { DesiredState } from '../../../lib/contract';
import { RefusedError } from '../../../lib/runtime/reconcile';
import { startServer, TestServer } from '../../support/postgres';
import { declaration, group, owner } from './declaration';
import { apply, applyAcknowledged, appWith, asSuperuser, grantsOf, plan } from './runs';
import { secretsOf } from './secrets';

/** Declarations by which somebody could lock out whoever has to come again: the master, or a role whose password rotates. */

const PASSWORDS = { api: 'the clear password' };
const withPassword = (state: DesiredState): DesiredState => ({
  ...state,
  roles: state.roles.map((role) => (role.name === 'api' ? { ...role, authentication: 'password' } : role)),
});
const iam = (member: string) => ({ role: 'rds_iam', member, inherit: true, set: true, admin: false });

interface Danger {
  readonly title: string;
  readonly before?: (server: TestServer) => Promise<unknown>;
  readonly state: DesiredState;
  /** What the refusal says; absent: it is done, and everybody still logs in. */
  readonly refused?: RegExp;
}

const DANGERS: readonly Danger[] = [
  {
    title: 'case 22: an owner that is itself a member of the master',
    before: (server) => asSuperuser(server, ['CREATE ROLE app_owner', 'GRANT master TO app_owner']),
    state: declaration(),
    refused: /is itself a member of master/,
  },
  {
    title: 'case 35: the owner becomes an IAM role, and the master its member',
    state: declaration({ memberships: [iam('app_owner')] }),
    refused: /rds_iam/,
  },
  {
    title: 'case 35: a group of the master becomes an IAM role',
    before: (server) => asSuperuser(server, ['CREATE ROLE ops', 'GRANT ops TO master WITH ADMIN TRUE, INHERIT TRUE']),
    state: declaration({ roles: [...declaration().roles, group('ops')], memberships: [iam('ops')] }),
    refused: /rds_iam/,
  },
  {
    title: 'case 36: a role with a password becomes an IAM role',
    state: declaration({ memberships: [...declaration().memberships, iam('api')] }),
    refused: /logs in by password and would be a member of rds_iam/,
  },
  {
    title: 'case 36: a role with a password becomes an IAM role by way of its group',
    state: declaration({ memberships: [...declaration().memberships, iam('app_readonly')] }),
    refused: /rds_iam/,
  },
  { title: 'case 46: PUBLIC loses CONNECT on a new database of another owner', state: declaration() },
  {
    title: 'case 46: PUBLIC loses CONNECT on a database that is there',
    before: (server) =>
      server.query([
        'CREATE ROLE app_owner',
        'GRANT app_owner TO master WITH SET TRUE, INHERIT FALSE',
        'CREATE DATABASE app OWNER app_owner',
      ]),
    state: declaration(),
  },
  {
    title: 'case 46: the database was closed to the master before',
    before: async (server) => {
      await server.query([
        'CREATE ROLE app_owner',
        'GRANT app_owner TO master WITH SET TRUE, INHERIT FALSE',
        'CREATE DATABASE app OWNER app_owner',
      ]);
      await asSuperuser(server, 'REVOKE ALL ON DATABASE app FROM PUBLIC');
    },
    state: declaration(),
  },
  {
    title: 'case 51: a login member of the owner, and a database that changes its owner',
    before: (server) => apply(server, withPassword(declaration()), { secrets: secretsOf(PASSWORDS) }),
    state: appWith(
      { owner: 'next_owner', schemas: [{ name: 'billing', owner: 'next_owner' }], defaultPrivileges: [] },
      {
        roles: [...declaration().roles, owner('next_owner')],
        memberships: [
          ...declaration().memberships,
          { role: 'next_owner', member: 'api', inherit: false, set: true, admin: false },
        ],
        settings: [{ role: 'api', name: 'role', values: ['next_owner'] }],
      },
    ),
  },
  {
    title: 'the master itself is declared, without LOGIN',
    state: declaration({ roles: [...declaration().roles, group('master')] }),
    refused: /is the one that applies this state/,
  },
  {
    title: 'a grant of CONNECT to the master that goes again',
    before: (server) =>
      apply(
        server,
        withPassword(
          appWith({
            grants: [...grantsOf(declaration()), { privileges: ['CONNECT'], on: { kind: 'database' }, to: 'master' }],
          }),
        ),
        { secrets: secretsOf(PASSWORDS) },
      ),
    state: declaration(),
  },
  {
    title: 'a default of the whole database that nobody could work with',
    state: declaration({
      settings: [
        { database: 'app', name: 'default_transaction_read_only', values: ['on'] },
        { database: 'app', name: 'statement_timeout', values: ['2s'] },
      ],
    }),
  },
  {
    title: 'a database that takes no connections',
    state: appWith({ connectionLimit: 0 }),
    refused: /connection limit of 0, which lets nobody in/,
  },
];

let server: TestServer;
beforeAll(async () => {
  server = await startServer({ version: 18 });
});
beforeEach(() => server.reset());

async function canLogIn(user: string, password: string, database: string): Promise<boolean> {
  const client = await server.connect({ user, password, database }).catch(() => undefined);
  await client?.end();
  return client !== undefined;
}

test.each(DANGERS.map((danger) => [danger.title, danger] as const))('%s', async (_, { before, state, refused }) => {
  await before?.(server);
  const desired = withPassword(state);
  const options = { secrets: secretsOf(PASSWORDS) };
  const existed = await server.query("SELECT FROM pg_database WHERE datname = 'app'");
  const outcome = await apply(server, desired, options).catch((error: unknown) => error);
  if (refused) {
    expect(outcome).toBeInstanceOf(RefusedError);
    expect((outcome as Error).message).toMatch(refused);
    expect(await server.query("SELECT FROM pg_database WHERE datname = 'app'")).toEqual(existed);
  } else {
    expect(outcome).toMatchObject({ outcome: expect.stringMatching(/applied|unchanged/) });
    const { hash } = (await plan(server, desired, options)).plan;
    if (hash !== undefined) await apply(server, desired, { ...options, acknowledge: [hash] });
    expect((await plan(server, desired, options)).plan).toMatchObject({ steps: [] });
    expect(await canLogIn('api', PASSWORDS.api, 'app')).toBe(true);
    expect(await canLogIn(server.master.user, server.master.password, 'app')).toBe(true);
  }
  expect(await canLogIn(server.master.user, server.master.password, 'postgres')).toBe(true);
  expect(await canLogIn('api', PASSWORDS.api, 'postgres')).toBe(
    (await server.query("SELECT FROM pg_roles WHERE rolname = 'api'")).length === 1,
  );
});

test('the negative control: what the refusals keep away does lock out', async () => {
  await apply(server, withPassword(declaration()), { secrets: secretsOf(PASSWORDS) });
  await asSuperuser(server, 'REVOKE CONNECT ON DATABASE app FROM master');
  expect(await canLogIn(server.master.user, server.master.password, 'app')).toBe(false);
  await expect(applyAcknowledged(server, declaration())).rejects.toThrow(/no step waits/);
});
