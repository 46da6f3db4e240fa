import { Client } from 'pg';
import { DesiredDatabase, DesiredGrant, DesiredState, encodeState } from '../../../lib/contract';
import { reconcile, ReconcileOptions, Report, Step } from '../../../lib/runtime/reconcile';
import { TestServer } from '../../support/postgres';
import { declaration } from './declaration';

type Options = Partial<Omit<ReconcileOptions, 'mode'>>;

export function apply(server: TestServer, state: DesiredState, options: Options = {}): Promise<Report> {
  return reconcile(state, server.connection(), { mode: 'apply', ...options });
}

export function plan(server: TestServer, state: DesiredState, options: Options = {}): Promise<Report> {
  return reconcile(state, server.connection(), { mode: 'plan', ...options });
}

/** Applies what is withheld too, as whoever has read the plan does. */
export async function applyAcknowledged(server: TestServer, state: DesiredState): Promise<Report> {
  const { hash } = (await plan(server, state)).plan;
  if (hash === undefined) throw new Error('no step waits for an acknowledgement');
  return apply(server, state, { acknowledge: [hash] });
}

export const sqlOf = (steps: readonly Step[]) => steps.flatMap((step) => step.statements.map(({ sql }) => sql));

/** The small declaration with another inside of its database, and perhaps other parts. */
export function appWith(changes: Partial<DesiredDatabase>, rest: Partial<DesiredState> = {}): DesiredState {
  const state = declaration(rest);
  return { ...state, databases: [{ ...state.databases[0], ...changes }] };
}

export const grantsOf = (state: DesiredState): readonly DesiredGrant[] => state.databases[0].grants;

/** What a document that went through CloudFormation and came back says, for comparison. */
export const textOf = (state: DesiredState) => JSON.stringify(encodeState(state));

/** Runs statements in the database `app` as its owner, on whose behalf the master may act after the first apply. */
export function asOwner(server: TestServer, ...statements: string[]): Promise<Record<string, unknown>[]> {
  return server.query(['SET ROLE app_owner', ...statements], { database: 'app' });
}

export function asSuperuser(
  server: TestServer,
  statements: string | string[],
  database = 'postgres',
): Promise<Record<string, unknown>[]> {
  return server.query(statements, { superuser: true, database });
}

/** A real login, by a password that the test gives the role. */
export async function loginAs(server: TestServer, role: string, database = 'app'): Promise<Client> {
  await asSuperuser(server, `ALTER ROLE "${role}" PASSWORD 'for-the-test'`);
  return server.connect({ user: role, password: 'for-the-test', database });
}

/** Runs statements as a role that has logged in, and gives the rows of the last. */
export async function as(
  server: TestServer,
  role: string,
  statements: string | string[],
  database = 'app',
): Promise<Record<string, unknown>[]> {
  const client = await loginAs(server, role, database);
  try {
    let rows: Record<string, unknown>[] = [];
    for (const statement of [statements].flat()) rows = (await client.query(statement)).rows;
    return rows;
  } finally {
    await client.end();
  }
}

/** The application of `declaration()` as somebody made it by hand: nothing of it belongs to a state. */
export async function legacyApplication(server: TestServer): Promise<void> {
  await server.query([
    'CREATE ROLE app_owner',
    'CREATE ROLE app_readonly',
    'CREATE ROLE api LOGIN',
    'GRANT app_owner TO master WITH INHERIT FALSE, SET TRUE',
    'CREATE DATABASE app OWNER app_owner',
  ]);
  await asOwner(server, 'CREATE SCHEMA billing', 'CREATE TABLE billing.invoice (id int, amount int)');
}

/** A condition that the server itself evaluates. */
export async function holds(server: TestServer, condition: string, database = 'app'): Promise<boolean> {
  const [row] = await server.query<{ holds: boolean }>(`SELECT ${condition} AS holds`, { superuser: true, database });
  return row.holds;
}
