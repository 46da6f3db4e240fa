/**
 * What Amazon RDS puts on a server, for a stock one, run once by the bootstrap superuser (`rdsadmin`). Stricter than RDS where
 * the two cannot be alike: what passes here passes there. Needs PostgreSQL 16, for the membership options.
 */
export function rdsLikeSql(version: number, masterPasswordLiteral: string): string[] {
  return [
    'CREATE ROLE rds_ad NOLOGIN',
    'CREATE ROLE rds_extension NOLOGIN NOINHERIT',
    'CREATE ROLE rds_iam NOLOGIN',
    'CREATE ROLE rds_password NOLOGIN',
    'CREATE ROLE rds_replication NOLOGIN',
    'CREATE ROLE rds_reserved NOLOGIN NOINHERIT',
    'CREATE ROLE rds_superuser NOLOGIN',
    'GRANT pg_monitor, pg_signal_backend, rds_password, rds_replication TO rds_superuser WITH ADMIN OPTION',
    // Inherited, pg_read_all_data would let the master of a stock server read pg_authid, which RDS closes.
    'GRANT pg_read_all_data, pg_write_all_data TO rds_superuser WITH ADMIN TRUE, INHERIT FALSE',
    'GRANT pg_checkpoint, pg_create_subscription, pg_use_reserved_connections TO rds_superuser WITH ADMIN OPTION',
    // Stands in for RDS's patch that lets the master hand these out; neither inherited nor settable.
    'GRANT rds_iam, rds_ad, rds_extension TO rds_superuser WITH ADMIN TRUE, INHERIT FALSE, SET FALSE',
    ...(version >= 17 ? ['GRANT pg_maintain TO rds_superuser WITH ADMIN OPTION'] : []),
    `CREATE ROLE master LOGIN NOSUPERUSER INHERIT CREATEDB CREATEROLE NOREPLICATION NOBYPASSRLS
       PASSWORD ${masterPasswordLiteral} VALID UNTIL 'infinity'`,
    'GRANT rds_superuser TO master',
    'ALTER DATABASE postgres OWNER TO master',
    'ALTER DATABASE template1 OWNER TO master',
    'CREATE DATABASE rdsadmin',
    'REVOKE ALL ON DATABASE rdsadmin FROM PUBLIC',
  ];
}

/** A server without RDS's roles, with a master that may create roles and databases and is nothing special otherwise. */
export function plainSql(masterPasswordLiteral: string): string[] {
  return [`CREATE ROLE master LOGIN NOSUPERUSER INHERIT CREATEDB CREATEROLE PASSWORD ${masterPasswordLiteral}`];
}
