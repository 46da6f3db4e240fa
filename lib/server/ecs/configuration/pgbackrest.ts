import {
  BackupModel,
  ClusterModel,
  MEMBER_VOLUME,
  memberHost,
  numbers,
  OWN_ROLES,
  pathOf,
  PGBACKREST_PORT,
  POSTGRES_PORT,
  RecoveryTargetModel,
  RepositoryModel,
  RUN_FOLDER,
} from './model';
import { TLS } from './files';

type Options = Record<string, string | number>;

const CREDENTIALS = '/opt/cdk-postgres/credentials';

/** What members and the task that makes backups have in common. */
function shared(model: ClusterModel, backup: BackupModel): Options {
  return {
    ...repository(1, model.name, backup),
    ...(backup.secondRepository ? repository(2, model.name, backup.secondRepository) : {}),
    'compress-type': 'zst',
    'process-max': 2,
    'start-fast': 'y',
    'archive-timeout': 60,
    'log-level-console': 'info',
    'log-level-file': 'off',
    'lock-path': `${RUN_FOLDER}/lock`,
  };
}

function repository(
  n: number,
  stanza: string,
  settings: Omit<RepositoryModel, 'retentionDays'> & { readonly retentionDays?: number },
): Options {
  const options: Options = {
    type: 's3',
    path: pathOf(stanza, settings),
    's3-bucket': settings.bucket,
    's3-region': settings.region,
    's3-endpoint': `s3.${settings.region}.amazonaws.com`,
    // The role of the task: pgBackRest itself asks only the host, whose role is another's.
    's3-key-type': 'process',
    's3-process-cmd': CREDENTIALS,
    'cipher-type': 'aes-256-cbc',
    bundle: 'y',
    block: 'y',
  };
  if (settings.retentionDays !== undefined) {
    options['retention-full-type'] = 'time';
    options['retention-full'] = settings.retentionDays;
  }
  if (settings.kmsKeyId !== undefined) options['s3-kms-key-id'] = settings.kmsKeyId;
  if (settings.host !== undefined) {
    const [host, port] = settings.host.split(':');
    options['storage-host'] = host;
    if (port !== undefined) options['storage-port'] = port;
  }
  if (settings.hostCaFile !== undefined) options['storage-ca-file'] = settings.hostCaFile;
  return Object.fromEntries(Object.entries(options).map(([name, value]) => [`repo${n}-${name}`, value]));
}

/** The configuration of a member, without the cipher. */
export function memberPgBackRest(model: ClusterModel, backup: BackupModel): string {
  return ini({
    global: {
      ...shared(model, backup),
      'archive-async': 'y',
      // On the volume: what was taken out of pg_wal and is not in the bucket survives the task.
      'spool-path': `${MEMBER_VOLUME}/spool`,
      'tls-server-address': '*',
      'tls-server-port': PGBACKREST_PORT,
      'tls-server-cert-file': TLS.certificate,
      'tls-server-key-file': TLS.key,
      'tls-server-ca-file': TLS.ca,
      'tls-server-auth': `backup=${model.name}`,
    },
    [model.name]: localServer(1),
  });
}

/** The configuration of the task that makes backups: it reads from a replica where there is one. */
export function backupPgBackRest(model: ClusterModel, backup: BackupModel): string {
  const stanza: Options = {};
  for (const n of numbers(model))
    Object.assign(stanza, localServer(n), {
      [`pg${n}-host`]: memberHost(model, n),
      [`pg${n}-host-type`]: 'tls',
      [`pg${n}-host-port`]: PGBACKREST_PORT,
      [`pg${n}-host-cert-file`]: TLS.certificate,
      [`pg${n}-host-key-file`]: TLS.key,
      [`pg${n}-host-ca-file`]: TLS.ca,
    });
  return ini({
    global: { ...shared(model, backup), 'backup-standby': 'prefer' },
    [model.name]: stanza,
  });
}

/** What the first member of a cluster is restored from. */
export function restorePgBackRest(model: ClusterModel): string {
  const { stanza, repository: source } = model.bootstrap!;
  return ini({
    global: {
      ...repository(1, stanza, source),
      'process-max': 2,
      'log-level-console': 'info',
      'log-level-file': 'off',
      'lock-path': `${RUN_FOLDER}/lock`,
      'spool-path': `${MEMBER_VOLUME}/spool`,
    },
    [stanza]: localServer(1),
  });
}

/**
 * Options of pgBackRest's `restore`, which chooses the backup by them and writes PostgreSQL's recovery parameters. On the command line alone:
 * in the file they are ignored.
 */
export function recoveryOptions(target: RecoveryTargetModel): Options {
  const { type, value, exclusive, timeline } = target;
  return {
    // To the end of the WAL; the other words are pgBackRest's own.
    ...(type === 'latest' ? {} : { type, 'target-action': 'promote' }),
    ...(value !== undefined ? { target: value } : {}),
    ...(exclusive ? { 'target-exclusive': 'y' } : {}),
    ...(timeline !== undefined ? { 'target-timeline': timeline } : {}),
  };
}

function localServer(n: number): Options {
  return {
    [`pg${n}-path`]: `${MEMBER_VOLUME}/data`,
    [`pg${n}-port`]: POSTGRES_PORT,
    [`pg${n}-socket-path`]: RUN_FOLDER,
    [`pg${n}-user`]: OWN_ROLES.superuser,
  };
}

function ini(sections: Readonly<Record<string, Options>>): string {
  return Object.entries(sections)
    .map(([name, options]) => `[${name}]\n${lines(options)}`)
    .join('\n');
}

function lines(options: Options): string {
  return Object.entries(options)
    .map(([name, value]) => `${name}=${value}\n`)
    .join('');
}
