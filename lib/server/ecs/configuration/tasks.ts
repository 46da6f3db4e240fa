import { etcdEnvironment } from './etcd';
import { HAPROXY_FILE, PATRONI_FOLDER, PGBACKREST_FILE, PGBACKREST_FOLDER, RESTORE_FILE, WATCH_FILE } from './files';
import { haproxyConfiguration } from './haproxy';
import { checkModel, ClusterModel, SecretName, TaskConfiguration } from './model';
import { patroniConfiguration } from './patroni';
import { backupPgBackRest, memberPgBackRest, restorePgBackRest } from './pgbackrest';
import { watchConfiguration } from './watch';

/** Where the tools find the configuration, in a shell of ECS Exec too. */
const PGBACKREST_ENVIRONMENT = {
  PGBACKREST_CONFIG: PGBACKREST_FILE,
  PGBACKREST_CONFIG_INCLUDE_PATH: PGBACKREST_FOLDER,
} as const;

/** The task of a member. */
export function memberConfiguration(model: ClusterModel, n: number): TaskConfiguration {
  checkModel(model);
  checkNumber(model, n);
  const { backup, bootstrap } = model;
  return {
    files: {
      [`${PATRONI_FOLDER}/1-cluster.yml`]: patroniConfiguration(model, n),
      [WATCH_FILE]: watchConfiguration(model),
      ...(backup ? { [PGBACKREST_FILE]: memberPgBackRest(model, backup) } : {}),
      ...(bootstrap ? { [RESTORE_FILE]: restorePgBackRest(model) } : {}),
    },
    secrets: [
      'certificate',
      'restapi',
      'admin',
      ...ciphers(model),
      ...(bootstrap ? (['cipher-restore'] as const) : []),
    ],
    environment: {
      PATRONICTL_CONFIG_FILE: PATRONI_FOLDER,
      ...(backup ? { CDK_POSTGRES_STANZA: model.name, ...PGBACKREST_ENVIRONMENT } : {}),
      ...(bootstrap ? { CDK_POSTGRES_RESTORE_STANZA: bootstrap.stanza } : {}),
    },
  };
}

/** The task of an etcd member. */
export function etcdConfiguration(model: ClusterModel, n: number): TaskConfiguration {
  checkModel(model);
  checkNumber(model, n);
  return { files: {}, secrets: ['certificate'], environment: etcdEnvironment(model, n) };
}

/** The task of the router. All of them are alike. */
export function routerConfiguration(model: ClusterModel): TaskConfiguration {
  checkModel(model);
  return { files: { [HAPROXY_FILE]: haproxyConfiguration(model) }, secrets: ['certificate'], environment: {} };
}

/** The scheduled task that makes backups, with the image of a member and the command `backup full`, `backup diff` or `backup incr`. */
export function backupConfiguration(model: ClusterModel): TaskConfiguration {
  checkModel(model);
  const { backup } = model;
  if (!backup) throw new Error(`the cluster ${model.name} has no backup in its model, and so no task that makes one`);
  return {
    files: { [PGBACKREST_FILE]: backupPgBackRest(model, backup) },
    secrets: ['certificate', ...ciphers(model)],
    environment: { CDK_POSTGRES_STANZA: model.name, ...PGBACKREST_ENVIRONMENT },
  };
}

function ciphers({ backup }: ClusterModel): SecretName[] {
  return [...(backup ? (['cipher'] as const) : []), ...(backup?.secondRepository ? (['cipher-2'] as const) : [])];
}

function checkNumber(model: ClusterModel, n: number): void {
  if (!Number.isInteger(n) || n < 1 || n > model.members)
    throw new Error(`the cluster ${model.name} has no member ${n}; they are 1 to ${model.members}`);
}
