import { Client } from 'pg';
import { TestServer } from '../../support/postgres';

/** An application that was on the server before this library: how it logs in, and what it does all day. */
export interface Application {
  readonly name: string;
  readonly password: string;
  readonly database: string;
  /** Reads and writes; each statement must succeed and the last one must return a row. */
  readonly work: readonly string[];
}

/** Ten ways in which applications have come to their access; nine of them have something that a declaration would not give them. */
export const APPLICATIONS: readonly Application[] = [
  app('shop', 'shop', ["INSERT INTO orders VALUES ('o')", 'SELECT * FROM orders']),
  app('crm', 'shared', ["INSERT INTO crm.customer VALUES ('c')", 'SELECT * FROM crm.customer']),
  app('partner', 'shared', ["INSERT INTO crm.customer VALUES ('p')", 'SELECT * FROM crm.customer']),
  app('site', 'shared', ["INSERT INTO crm.visit VALUES ('s')", 'SELECT * FROM crm.visit']),
  app('billing_app', 'shared', [
    "INSERT INTO billing.invoice (note) VALUES ('b')",
    'UPDATE billing.invoice SET note = note',
    'SELECT * FROM billing.invoice',
  ]),
  app('legacy', 'shared', [
    'CREATE TABLE IF NOT EXISTS made_as_owner ()',
    "INSERT INTO invoice (note) VALUES ('l')",
    'SELECT * FROM invoice',
  ]),
  app('batch', 'shared', ["SELECT billing.book('x')", 'SELECT * FROM billing.total()']),
  app('cron', 'shared', [
    'CREATE TEMPORARY TABLE job (n int)',
    'INSERT INTO job VALUES (1)',
    'SELECT * FROM job',
    'DROP TABLE job',
  ]),
  app('etl', 'shared', ["INSERT INTO billing.invoice (note) VALUES ('e')", 'SELECT id FROM billing.invoice']),
  app('analyst', 'shared', [
    'CREATE TABLE IF NOT EXISTS public.notebook (n int)',
    'INSERT INTO public.notebook VALUES (1)',
    'SELECT * FROM public.notebook, crm.customer, billing.invoice LIMIT 1',
  ]),
];

function app(name: string, database: string, work: string[]): Application {
  return { name, password: `${name}-password`, database, work };
}

/** Made as people make them: by hand, by the master and by another administrator, with what PUBLIC may do by default. */
export async function installApplications(server: TestServer): Promise<void> {
  const create = (name: string, attributes = '') =>
    `CREATE ROLE ${name} LOGIN PASSWORD '${name}-password' ${attributes}`;
  await server.query([
    "CREATE ROLE second_admin LOGIN CREATEROLE PASSWORD 'second'",
    ...['shop', 'crm', 'site', 'legacy', 'cron', 'etl', 'analyst'].map((name) => create(name)),
    create('billing_app', 'CREATEDB CONNECTION LIMIT 40'),
    create('batch', "VALID UNTIL '2099-01-01'"),
    'CREATE ROLE billing_owner',
    'CREATE ROLE billing_rw',
    'GRANT billing_rw TO billing_app WITH INHERIT TRUE, SET TRUE',
    'GRANT billing_owner TO legacy WITH INHERIT FALSE, SET TRUE',
    'GRANT pg_read_all_data TO analyst',
    'GRANT shop, crm, billing_owner TO master WITH INHERIT TRUE, SET TRUE',
    'CREATE DATABASE shop OWNER shop',
    'CREATE DATABASE shared',
    'ALTER ROLE legacy SET role = billing_owner',
    'ALTER ROLE legacy IN DATABASE shared SET search_path = billing',
    "ALTER ROLE billing_app SET statement_timeout = '90s'",
    "ALTER DATABASE shared SET work_mem = '7MB'",
  ]);
  await server.query([create('partner')], { user: 'second_admin', password: 'second' });
  await server.query(['CREATE TABLE orders (t text)'], { user: 'shop', password: 'shop-password', database: 'shop' });
  await server.query(
    [
      'GRANT CREATE ON SCHEMA public TO PUBLIC',
      'CREATE SCHEMA crm AUTHORIZATION crm',
      'CREATE SCHEMA billing AUTHORIZATION billing_owner',
      'SET ROLE crm',
      'CREATE TABLE crm.customer (t text)',
      'CREATE TABLE crm.visit (t text)',
      'GRANT USAGE ON SCHEMA crm TO PUBLIC',
      'GRANT SELECT, INSERT ON crm.visit TO PUBLIC',
      'GRANT SELECT, INSERT ON crm.customer TO site WITH GRANT OPTION',
      'SET ROLE billing_owner',
      'CREATE TABLE billing.invoice (id int GENERATED ALWAYS AS IDENTITY, note text)',
      `CREATE FUNCTION billing.book(text) RETURNS void LANGUAGE sql SECURITY DEFINER AS 'INSERT INTO billing.invoice (note) VALUES ($1)'`,
      `CREATE FUNCTION billing.total() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM billing.invoice'`,
      'GRANT USAGE ON SCHEMA billing TO PUBLIC',
      'GRANT CREATE ON SCHEMA billing TO billing_app',
      'GRANT SELECT, INSERT, UPDATE, DELETE ON billing.invoice TO billing_rw',
      'GRANT SELECT (id), INSERT (note) ON billing.invoice TO etl',
      'ALTER DEFAULT PRIVILEGES IN SCHEMA billing GRANT SELECT, INSERT ON TABLES TO billing_rw, etl',
    ],
    { database: 'shared' },
  );
  // Passed on by one who is no owner.
  await server.query(['GRANT SELECT, INSERT ON crm.customer TO partner'], {
    user: 'site',
    password: 'site-password',
    database: 'shared',
  });
}

/** The applications that cannot log in, read or write, each with the reason. */
export async function broken(server: TestServer): Promise<string[]> {
  const failures: string[] = [];
  for (const { name, password, database, work } of APPLICATIONS) {
    let client: Client | undefined;
    try {
      client = await server.connect({ user: name, password, database });
      let rows: unknown[] = [];
      for (const sql of work) {
        const result = await client.query(sql);
        if (result.command === 'SELECT') rows = result.rows;
      }
      if (rows.length === 0) failures.push(`${name}: it read nothing`);
    } catch (error) {
      failures.push(`${name}: ${(error as Error).message}`);
    } finally {
      await client?.end();
    }
  }
  return failures;
}
