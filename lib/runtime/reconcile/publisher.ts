import { ident, literal } from './sql';
import { PublisherConnection, Statement } from './types';

/**
 * How the connection string of a subscription gets into the server. It holds a password, and CREATE or ALTER SUBSCRIPTION stand in the
 * server's log with their whole text (log_statement = ddl). So it travels as a parameter of a statement that is no DDL, and a block
 * takes it from there; what such a block executes is not logged, unless it warns or fails. The subscription is therefore made
 * with a connection to nowhere, since CREATE SUBSCRIPTION warns, and an error in the block is raised anew outside of it.
 */
export const CONNECTION_STATEMENT = `SELECT set_config('cdk_postgres.connection', $1, true)`;

/** What a plan shows in its place. */
const CONNECTION_SHOWN = `SELECT set_config('cdk_postgres.connection', '…', true)`;

/** Nobody listens there, and it is never tried: PostgreSQL wants a password in the connection of whoever is no superuser. */
export const NOWHERE = `'host=localhost port=1 dbname=none user=none password=none'`;

/**
 * Takes away for this transaction what would log a parameter, or what a block executes, or refuses to go on. Settings that only a
 * superuser may set are tried, since Amazon RDS lets its master set some of them.
 */
const UNLOGGED = `DO $block$
DECLARE setting text;
BEGIN
  FOREACH setting IN ARRAY ARRAY['pgaudit.log', 'log_statement', 'log_min_duration_statement'] LOOP
    CONTINUE WHEN coalesce(current_setting(setting, true), '') IN ('', 'none')
      OR (setting = 'log_statement' AND current_setting(setting) <> 'all')
      OR (setting = 'log_min_duration_statement' AND current_setting(setting) <> '0');
    BEGIN
      PERFORM set_config(setting, CASE setting WHEN 'log_min_duration_statement' THEN '-1' ELSE 'none' END, true);
    EXCEPTION WHEN insufficient_privilege THEN
      RAISE EXCEPTION 'the server would write the password of the subscription to its log, since % is %: GRANT SET ON PARAMETER % TO %, or change the parameter',
        setting, current_setting(setting), setting, quote_ident(current_user) USING ERRCODE = 'insufficient_privilege';
    END;
  END LOOP;
END $block$`;

/** The statements that give a subscription the connection in a secret; they share a transaction. */
export function connectStatements(subscription: string, secret: string): { before: Statement[]; connect: Statement } {
  const alter = literal(`ALTER SUBSCRIPTION ${ident(subscription).replaceAll('%', '%%')} CONNECTION %L`);
  const block = `BEGIN
  EXECUTE format(${alter}, current_setting('cdk_postgres.connection'));
EXCEPTION WHEN OTHERS THEN
  RAISE EXCEPTION USING ERRCODE = SQLSTATE, MESSAGE = SQLERRM;
END`;
  return {
    before: [{ sql: UNLOGGED }, { sql: CONNECTION_SHOWN, connectionOf: secret }],
    connect: { sql: `DO ${literal(block)}` },
  };
}

/** Where Amazon RDS and Aurora keep the roots of their own certificates, for connections that the server itself makes. */
const RDS_ROOTS = '/rdsdbdata/rds-metadata/ca-cert.pem';

/** The connection string for libpq, with TLS that checks who answers. */
export function connectionString(connection: PublisherConnection, flavour: 'rds' | 'plain'): string {
  const { sslmode = 'verify-full', sslrootcert = flavour === 'rds' ? RDS_ROOTS : 'system' } = connection;
  const parts: [string, string][] = [
    ['host', connection.host],
    ['port', String(connection.port)],
    ['dbname', connection.dbname],
    ['user', connection.username],
    ['password', connection.password],
    ['sslmode', sslmode],
    // The server's own account may have a certificate somewhere, which is no business of the publisher's.
    ['sslcertmode', 'disable'],
    ...(sslmode.startsWith('verify') ? [['sslrootcert', sslrootcert] as [string, string]] : []),
  ];
  return parts.map(([key, value]) => `${key}='${value.replace(/[\\']/g, '\\$&')}'`).join(' ');
}
