import { Client } from 'pg';
import { DesiredState } from '../../contract';
import { declarationHash, LEDGER_SCHEMA, LEDGER_STRANGERS } from '../reconcile/ledger';

/**
 * Whether an update goes back to a declaration that this server has had, from one that came within the last day or never came to its
 * end: CloudFormation says nowhere in its event that it is rolling back, and a rollback follows at once. Source: reconciler cases
 * 109, 110, 114.
 */
export async function isRollback(
  client: Client,
  state: DesiredState,
  before: DesiredState | undefined,
): Promise<boolean> {
  const hash = declarationHash(state);
  if (before !== undefined && declarationHash(before) === hash) return false;
  const { rows: found } = await client.query<{ readable: boolean }>(
    `SELECT coalesce(has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(r.oid, 'SELECT') AND has_table_privilege(s.oid, 'SELECT'), false)
              AND r.relkind = 'r' AND s.relkind = 'r' AND cardinality(${LEDGER_STRANGERS}) = 0 AS readable
     FROM pg_namespace n JOIN pg_class r ON r.relnamespace = n.oid AND r.relname = 'run'
     JOIN pg_class s ON s.relnamespace = n.oid AND s.relname = 'state' WHERE n.nspname = $1`,
    [LEDGER_SCHEMA],
  );
  if (!found[0]?.readable) return false;
  const { rows } = await client.query<{ known: boolean }>(
    `SELECT EXISTS (SELECT FROM ${LEDGER_SCHEMA}.state WHERE name = $1 AND hash = $2)
         OR EXISTS (SELECT FROM ${LEDGER_SCHEMA}.state WHERE name = $1 AND updated_at > now() - interval '1 day')
            AND EXISTS (SELECT FROM ${LEDGER_SCHEMA}.run WHERE state = $1 AND hash = $2 AND outcome = 'applied') AS known`,
    [state.name, hash],
  );
  return rows[0].known;
}
