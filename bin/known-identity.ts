import { openClient } from '../lib/runtime/connection';
import { ConnectionSettings } from '../lib/runtime/reconcile';
import { LEDGER_STRANGERS } from '../lib/runtime/reconcile/ledger';

/**
 * The identity that the ledger knows the server by. From outside a copy of a server looks as the server itself does, so a command
 * goes by the ledger unless it is told the identity.
 */
export async function knownIdentity(connection: ConnectionSettings): Promise<string | undefined> {
  const client = await openClient(connection);
  try {
    const { rows: ledger } = await client.query<{ readable: boolean }>(
      `SELECT coalesce(has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'), false)
              AND c.relkind = 'r' AND cardinality(${LEDGER_STRANGERS}) = 0 AS readable
       FROM pg_namespace n JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = 'server' WHERE n.nspname = 'cdk_postgres'`,
    );
    if (!ledger[0]?.readable) return undefined;
    const { rows } = await client.query<{ identity: string }>('SELECT identity FROM cdk_postgres.server');
    return rows[0]?.identity;
  } finally {
    await client.end();
  }
}
