import { setTimeout as sleep } from 'node:timers/promises';
import { DesiredState } from '../../../lib/contract';
import { startServer, TestServer, VERSIONS } from '../../support/postgres';
import { declaration, group, login, owner } from './declaration';
import { missing, surplus, snapshot } from './laws';
import { apply, plan } from './runs';

/** Runs and another tool on one server at the same time: nobody sees an error, and the result is right. */

const STATES = 4;
const ROUNDS = 3;

/** A declaration of its own part of the server; `more` is what a deployment in between adds. */
function part(n: number, more: boolean): DesiredState {
  const [app] = declaration().databases;
  const on = { kind: 'schema' as const, schema: 'data' };
  return declaration({
    name: `part ${n}`,
    profile: 'development',
    roles: [owner(`owner_${n}`), group(`readers_${n}`), login(`api_${n}`)],
    memberships: [{ role: `readers_${n}`, member: `api_${n}`, inherit: true, set: false, admin: false }],
    settings: [{ role: `api_${n}`, name: 'work_mem', values: [more ? '8MB' : '4MB'] }],
    databases: [
      {
        ...app,
        name: `part_${n}`,
        owner: `owner_${n}`,
        schemas: [{ name: 'data', owner: `owner_${n}` }],
        grants: [
          { privileges: ['CONNECT'], on: { kind: 'database' }, to: `api_${n}` },
          { privileges: more ? ['USAGE', 'CREATE'] : ['USAGE'], on, to: `readers_${n}` },
        ],
        defaultPrivileges: [],
      },
    ],
  });
}

/**
 * Somebody's tool, which knows nothing of a lock and works on the same catalog rows. Its own errors are its own. It does not give back
 * what a run has just taken: then the server is not as declared, and the run says so.
 */
async function foreignTool(
  server: TestServer,
  until: () => boolean,
  database: string,
  statements: readonly string[],
): Promise<number> {
  const client = await server.connect({ superuser: true, database });
  let rounds = 0;
  for (; !until(); rounds++) {
    for (const sql of statements) await client.query(sql).catch(() => undefined);
    await sleep(1);
  }
  await client.end();
  return rounds;
}

test.each(VERSIONS)(
  'cases 1, 6: eight runs of four states, while another tool grants, revokes and alters on the same rows, on PostgreSQL %i',
  async (version) => {
    const server = await startServer({ version });
    await server.query(['CREATE ROLE bystander', 'GRANT CREATE ON DATABASE postgres TO bystander']);
    for (let n = 0; n < STATES; n++) await apply(server, part(n, false));
    let over = false;
    const tools = Array.from({ length: STATES }, (_, n) => [
      foreignTool(server, () => over, `part_${n}`, [
        'GRANT USAGE ON SCHEMA data TO bystander',
        'GRANT CREATE ON SCHEMA data TO bystander',
        'REVOKE USAGE ON SCHEMA data FROM bystander',
      ]),
      foreignTool(server, () => over, 'postgres', [
        `GRANT TEMP ON DATABASE part_${n} TO bystander`,
        `ALTER ROLE api_${n} SET statement_timeout = 1`,
        `REVOKE TEMP ON DATABASE part_${n} FROM bystander`,
        `ALTER ROLE api_${n} RESET statement_timeout`,
        `GRANT readers_${n} TO bystander`,
        `REVOKE readers_${n} FROM bystander`,
      ]),
    ]).flat();
    let runs = 0;
    try {
      for (let round = 0; round < ROUNDS; round++) {
        const states = Array.from({ length: STATES * 2 }, (_, at) => part(at % STATES, round % 2 === 0));
        await Promise.all(states.map((state) => apply(server, state)));
        runs += states.length;
      }
    } finally {
      over = true;
    }
    const rounds = await Promise.all(tools);
    expect(runs).toBe(ROUNDS * STATES * 2);
    expect(Math.min(...rounds)).toBeGreaterThan(0);
    for (let n = 0; n < STATES; n++) {
      const state = part(n, (ROUNDS - 1) % 2 === 0);
      await apply(server, state);
      expect((await plan(server, state)).plan).toMatchObject({ steps: [], withheld: [] });
      expect(await missing(server, state)).toEqual([]);
      expect(surplus(await snapshot(server), state)).toEqual([]);
    }
  },
  300_000,
);
