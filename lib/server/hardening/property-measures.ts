import { aws_rds as rds } from 'aws-cdk-lib';
import { HardenedServer } from './hardened-server';
import { Measure } from './measure';

/** Fewer days than this, and an error that is found later cannot be undone. */
const FLOOR_DAYS = 7;
const DAYS = 14;

const possible = () => undefined;

export const LOG_EXPORT: Measure = {
  missing: (server) => {
    const missing = missingLogs(server);
    return missing.length === 0 ? undefined : `the log ${missing.join(' and ')} goes to no log group in CloudWatch`;
  },
  obstacle: possible,
  enforce: (server) => {
    const { cluster, instance } = server;
    const exports = [...(exportsOf(server) ?? []), ...missingLogs(server)];
    if (cluster) cluster.enableCloudwatchLogsExports = exports;
    if (instance) instance.enableCloudwatchLogsExports = exports;
  },
};

function missingLogs(server: HardenedServer): string[] {
  const exports = exportsOf(server);
  if (exports === undefined) return [];
  return (server.parameterEngine === 'aurora' ? ['postgresql'] : ['postgresql', 'upgrade']).filter(
    (type) => !exports.includes(type),
  );
}

/** Undefined: only the deployment knows. */
function exportsOf(server: HardenedServer): string[] | undefined {
  const exports: unknown = server.value('enableCloudwatchLogsExports') ?? [];
  return Array.isArray(exports) && exports.every((type) => typeof type === 'string') ? exports : undefined;
}

export const DELETION_PROTECTION: Measure = {
  missing: (server) =>
    isOff(server, 'deletionProtection') ? 'deletionProtection is off, and the server goes with its stack' : undefined,
  obstacle: possible,
  enforce: ({ resource }) => {
    resource.deletionProtection = true;
  },
};

export const BACKUP_RETENTION: Measure = {
  missing: (server) => {
    if (server.isReplica || server.isUnknown('backupRetentionPeriod')) return undefined;
    // What RDS keeps where nobody says otherwise.
    const days = Number(server.read('backupRetentionPeriod') ?? 1);
    if (days >= FLOOR_DAYS) return undefined;
    return days === 0
      ? 'automated backups are off, so that nothing is left but snapshots'
      : `automated backups are kept ${days === 1 ? 'a day' : `${days} days`}`;
  },
  obstacle: possible,
  enforce: ({ resource }) => {
    resource.backupRetentionPeriod = DAYS;
  },
};

export const IAM_LOGIN: Measure = {
  missing: (server) =>
    isOff(server, 'enableIamDatabaseAuthentication') ? 'roles cannot log in with IAM tokens' : undefined,
  obstacle: possible,
  enforce: ({ resource }) => {
    resource.enableIamDatabaseAuthentication = true;
  },
};

export const NOT_PUBLIC: Measure = {
  missing: (server) => {
    const open = publicNodes(server);
    return open.length === 0 ? undefined : `${open.map(({ node }) => node.path).join(', ')} may get a public address`;
  },
  obstacle: (server) =>
    server.cluster && server.read('publiclyAccessible') === true
      ? 'the cluster itself is publiclyAccessible, which is decided when it is made: restore a snapshot without it, and move over'
      : undefined,
  enforce: (server) => {
    for (const node of publicNodes(server))
      if (rds.CfnDBInstance.isCfnDBInstance(node)) node.publiclyAccessible = false;
  },
};

function publicNodes(server: HardenedServer) {
  return [...new Set([server.resource, ...server.instances])].filter(
    (resource) => server.read('publiclyAccessible', resource) === true,
  );
}

function isOff(server: HardenedServer, property: string): boolean {
  return server.read(property) !== true && !server.isUnknown(property);
}
