import { Client } from 'pg';

/**
 * What must hold for the connection that the code under test uses, as it does on Amazon RDS: each answer that differs, in words.
 * A test that runs as a superuser proves nothing about privileges.
 */
export async function rdsDeviations(client: Client): Promise<string[]> {
  const deviations: string[] = [];
  const refused = async (what: string, sql: string, wanted: RegExp) => {
    const message = await failure(client, sql);
    if (message === undefined) deviations.push(`${what} is possible`);
    else if (!wanted.test(message)) deviations.push(`${what} fails for another reason: ${message}`);
  };
  const allowed = async (what: string, sql: string) => {
    const message = await failure(client, sql);
    if (message !== undefined) deviations.push(`${what} is not possible: ${message}`);
  };
  const holds = async (what: string, condition: string) => {
    const { rows } = await client.query(`SELECT ${condition} AS holds`);
    if (rows[0].holds !== true) deviations.push(`it is not so that ${what}`);
  };
  await holds('the role is no superuser', '(SELECT NOT rolsuper FROM pg_roles WHERE rolname = current_user)');
  await refused('reading pg_authid', 'SELECT rolpassword FROM pg_authid', /permission denied/);
  await refused('reading server files', "SELECT pg_read_file('PG_VERSION')", /permission denied/);
  await refused('reading subconninfo', 'SELECT subconninfo FROM pg_subscription', /permission denied/);
  await holds('rdsadmin is closed', "NOT has_database_privilege('rdsadmin', 'CONNECT')");
  await holds('rds_iam is not inherited', "NOT pg_has_role(current_user, 'rds_iam', 'USAGE')");
  await allowed('CHECKPOINT', 'CHECKPOINT');
  await client.query('BEGIN');
  await client.query('CREATE ROLE rds_check_probe');
  await client.query('SAVEPOINT probe');
  for (const role of ['pg_read_all_data', 'pg_monitor', 'rds_iam']) {
    await allowed(`granting ${role}`, `GRANT ${role} TO rds_check_probe`);
    await client.query('ROLLBACK TO SAVEPOINT probe');
  }
  await allowed('creating pg_stat_statements', 'CREATE EXTENSION pg_stat_statements');
  await client.query('ROLLBACK');
  return deviations;
}

async function failure(client: Client, sql: string): Promise<string | undefined> {
  try {
    await client.query(sql);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}
