import { RUN_FOLDER } from './model';

/** The certificate of a task, which the entrypoint takes out of its secret, and the root that all of the cluster trust. */
export const TLS = {
  certificate: `${RUN_FOLDER}/tls/certificate.pem`,
  key: `${RUN_FOLDER}/tls/key.pem`,
  ca: `${RUN_FOLDER}/tls/ca.pem`,
} as const;

/** Patroni reads every file in it, in the order of their names; the entrypoint adds that with the password. */
export const PATRONI_FOLDER = `${RUN_FOLDER}/patroni`;

/** What the watch of a member looks at, and where it listens. */
export const WATCH_FILE = `${RUN_FOLDER}/watch.json`;

export const PGBACKREST_FILE = `${RUN_FOLDER}/pgbackrest.conf`;
/** pgBackRest reads every file in it; the entrypoint adds those with the ciphers. */
export const PGBACKREST_FOLDER = `${RUN_FOLDER}/pgbackrest.d`;

/** What a member is restored from when the cluster begins: another repository than its own. */
export const RESTORE_FILE = `${RUN_FOLDER}/restore.conf`;

export const HAPROXY_FILE = `${RUN_FOLDER}/haproxy.cfg`;
