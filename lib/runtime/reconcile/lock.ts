import { setTimeout as sleep } from 'node:timers/promises';
import { Session } from './session';

/**
 * One run at a time on a server. Advisory locks belong to one database and roles to all of them, so the lock is always taken in the
 * admin database, on the connection that lives as long as the run. The numbers are "cdkp" and "lock" in ASCII.
 */
const LOCK = [0x63646b70, 0x6c6f636b] as const;

export async function lockServer(session: Session, deadline: number, onWait: (message: string) => void): Promise<void> {
  for (let told = false; ;) {
    const [{ locked }] = await session.read<{ locked: boolean }>('SELECT pg_try_advisory_lock($1, $2) AS locked', [
      ...LOCK,
    ]);
    if (locked) return;
    if (Date.now() >= deadline) {
      throw new Error(
        `another run works on this server, and did not end in time: ${await holder(session)}. Wait for it, or end it with pg_terminate_backend() if nobody runs it any more`,
      );
    }
    if (!told) onWait(`waiting for another run on this server: ${await holder(session)}`);
    told = true;
    await sleep(200 + Math.random() * 200);
  }
}

async function holder(session: Session): Promise<string> {
  const [row] = await session.read<{ pid: number; role: string; application: string | null; since: string | null }>(
    `SELECT a.pid, a.usename AS role, a.application_name AS application,
            to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"') AS since
     FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
     WHERE l.locktype = 'advisory' AND l.granted AND l.classid = $1 AND l.objid = $2
       AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
    [...LOCK],
  );
  if (!row) return 'it has just ended';
  // Of another role's session, one without pg_read_all_stats sees the process and the role alone.
  const seen = row.since === null ? '' : ` (${row.application}), connected since ${row.since}`;
  return `process ${row.pid} of the role ${row.role}${seen}`;
}
