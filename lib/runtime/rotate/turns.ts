import { turnsOf } from '../../contract';
import { readSecret, requireVerifier, SecretError, SecretStore, StoredSecret } from '../secrets';
import { canLogIn, logIn, RotationServer } from './role-login';

/** The login of a group whose turn comes next. */
export function otherLogin(group: string, login: string): string {
  const [first, second] = turnsOf(group);
  return login === first ? second : first;
}

/**
 * The login whose turn comes may have lost its password, or never had one, so the administrator sets it. A secret is no proof of
 * anything to the server: whoever may write one could name any role in it. So the current version must log in, and both logins must be
 * what a declaration makes of them, members of their group without any power over the server.
 */
export async function setPasswordOfOther(
  secret: string,
  context: { readonly store: SecretStore; readonly server: RotationServer; readonly adminSecret?: string },
  current: StoredSecret,
  next: StoredSecret & { readonly verifier: string },
  end: 'COMMIT' | 'ROLLBACK',
): Promise<void> {
  const { store, server, adminSecret } = context;
  if (adminSecret === undefined)
    throw new SecretError(secret, 'cannot be rotated without the secret of the administrator');
  if (!(await canLogIn(server, current))) {
    throw new SecretError(
      secret,
      `cannot be rotated: its current version does not log in as ${JSON.stringify(current.username)}; a deployment sets its password again`,
    );
  }
  const admin = await logIn(server, {
    ...readSecret(adminSecret, (await store.get(adminSecret)).text),
    dbname: undefined,
  });
  if (!admin) {
    throw new SecretError(
      adminSecret,
      'does not log in, so that no login can get a new password; its own rotation may be under way, and the step is repeated',
    );
  }
  try {
    const { rows } = await admin.query<{ name: string }>(
      `SELECT r.rolname AS name FROM pg_roles r
       WHERE r.rolname = ANY($1) AND r.rolcanlogin AND NOT (r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolbypassrls)
         AND EXISTS (SELECT FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
                     WHERE m.member = r.oid AND m.inherit_option AND g.rolname = $2 AND NOT g.rolsuper)`,
      [[current.username, next.username], next.group],
    );
    for (const login of [current.username, next.username]) {
      if (rows.some(({ name }) => name === login)) continue;
      throw new SecretError(
        secret,
        `cannot be rotated: ${JSON.stringify(login)} is not a login of the group ${JSON.stringify(next.group)} without power over the server; deploy the state that declares it`,
      );
    }
    await admin.query('BEGIN');
    await admin.query(
      `ALTER ROLE ${admin.escapeIdentifier(next.username)} PASSWORD ${admin.escapeLiteral(requireVerifier(next.verifier))}`,
    );
    await admin.query(end);
  } finally {
    await admin.end().catch(() => undefined);
  }
}
