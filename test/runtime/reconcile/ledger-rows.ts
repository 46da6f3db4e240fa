import { TestServer } from '../../support/postgres';

export interface ObjectRow {
  readonly kind: string;
  readonly database: string;
  readonly name: string;
  readonly state: string;
  readonly origin: string;
  readonly established: boolean;
  readonly removed_at: Date | null;
  readonly removed_by: string | null;
}

export interface RunRow {
  readonly state: string;
  readonly outcome: string;
  readonly by_role: string;
  readonly finished_at: Date | null;
  readonly plan: readonly { readonly object: string; readonly statements: readonly { readonly sql: string }[] }[];
}

export const objectRows = (server: TestServer) =>
  server.query<ObjectRow>('SELECT * FROM cdk_postgres.object ORDER BY kind, database, name');

export const runRows = (server: TestServer) => server.query<RunRow>('SELECT * FROM cdk_postgres.run ORDER BY id');

/** `role api: created`, sorted, for one state or all. */
export async function origins(server: TestServer, state?: string): Promise<string[]> {
  const rows = await objectRows(server);
  return rows
    .filter((row) => state === undefined || row.state === state)
    .map((row) => `${row.kind} ${row.database ? `${row.database}.` : ''}${row.name}: ${row.origin}`)
    .sort();
}

export async function objectRow(server: TestServer, name: string): Promise<ObjectRow | undefined> {
  return (await objectRows(server)).find((row) => row.name === name);
}

/** Turns the clock of a removal back. */
export async function ageRemoval(server: TestServer, role: string, hours: number): Promise<void> {
  await server.query(
    `UPDATE cdk_postgres.object SET removed_at = removed_at - interval '${hours} hours' WHERE kind = 'role' AND name = '${role}'`,
  );
}
