import {
  DescribeDBClusterSnapshotsCommand,
  DescribeDBClustersCommand,
  DescribeDBInstancesCommand,
  DescribeDBSnapshotsCommand,
  RDSClient,
} from '@aws-sdk/client-rds';
import { GuardedServer, GuardedSource } from '../../contract/deploy-guard';
import { Objection } from './judge';
import { notSeen } from './running';
import { readVersion } from './version';

/** What a restore would start from. */
export interface FoundSource {
  readonly engine?: string;
  readonly engineVersion?: string;
  readonly encrypted?: boolean;
  readonly masterUsername?: string;
  readonly allocatedStorage?: number;
  readonly earliest?: Date;
  readonly latest?: Date;
}

/** Asks RDS for the source of each server. What does not exist is absent. */
export async function describeSources(
  client: RDSClient,
  servers: readonly GuardedServer[],
): Promise<Map<string, FoundSource>> {
  const found = new Map<string, FoundSource>();
  for (const { LogicalId, Source } of servers) {
    if (!Source) continue;
    try {
      const source = await describeSource(client, Source);
      if (source) found.set(LogicalId, source);
    } catch (error) {
      if (!/^DB(Instance|Cluster|Snapshot|ClusterSnapshot)NotFound(Fault)?$/.test((error as Error).name)) {
        throw notSeen(error, `${Source.Kind} ${Source.Identifier}, from which a server is to be restored,`);
      }
    }
  }
  return found;
}

async function describeSource(
  client: RDSClient,
  { Kind, Identifier }: GuardedSource,
): Promise<FoundSource | undefined> {
  // Of another account are only those named by their ARN.
  const IncludeShared = Identifier.startsWith('arn:') || undefined;
  switch (Kind) {
    case 'instance': {
      const answer = await client.send(new DescribeDBInstancesCommand({ DBInstanceIdentifier: Identifier }));
      const one = answer.DBInstances?.[0];
      return one && { ...common(one), encrypted: one.StorageEncrypted, latest: one.LatestRestorableTime };
    }
    case 'cluster': {
      const answer = await client.send(new DescribeDBClustersCommand({ DBClusterIdentifier: Identifier }));
      const one = answer.DBClusters?.[0];
      return (
        one && {
          ...common({ ...one, AllocatedStorage: undefined }),
          encrypted: one.StorageEncrypted,
          earliest: one.EarliestRestorableTime,
          latest: one.LatestRestorableTime,
        }
      );
    }
    case 'snapshot': {
      const answer = await client.send(
        new DescribeDBSnapshotsCommand({ DBSnapshotIdentifier: Identifier, IncludeShared }),
      );
      const one = answer.DBSnapshots?.[0];
      return one && { ...common(one), encrypted: one.Encrypted };
    }
    case 'cluster-snapshot': {
      const answer = await client.send(
        new DescribeDBClusterSnapshotsCommand({ DBClusterSnapshotIdentifier: Identifier, IncludeShared }),
      );
      const one = answer.DBClusterSnapshots?.[0];
      // Aurora's storage is of no size.
      const AllocatedStorage = one?.Engine === 'postgres' ? one.AllocatedStorage : undefined;
      return one && { ...common({ ...one, AllocatedStorage }), encrypted: one.StorageEncrypted };
    }
  }
}

function common(one: {
  readonly Engine?: string;
  readonly EngineVersion?: string;
  readonly MasterUsername?: string;
  readonly AllocatedStorage?: number;
}): FoundSource {
  return {
    engine: one.Engine,
    engineVersion: one.EngineVersion,
    masterUsername: one.MasterUsername,
    allocatedStorage: one.AllocatedStorage,
  };
}

/** What the restore of a server would not bring, or not as the template says; known before hours of restoring. */
export function judgeRestore(server: GuardedServer, found: FoundSource | undefined): Objection[] {
  const source = server.Source;
  if (!source) return [];
  const name = `the ${source.Kind.replace('-', ' ')} ${source.Identifier}`;
  const objection = (consequence: string, remedy: string, change: Partial<Objection> = {}): Objection => ({
    id: 'guard:restore-source',
    path: server.Path,
    ...change,
    consequence,
    remedy,
  });
  if (!found) {
    return [
      objection(
        `${name} does not exist in this account and region, so that there is nothing to restore`,
        'name what exists; the backups of a deleted server are found by its resource id',
      ),
    ];
  }
  const objections: Objection[] = [];
  const engine = server.CreateOnly.Engine;
  if (typeof engine === 'string' && found.engine && !bringsDataTo(engine.toLowerCase(), found.engine, source.Kind)) {
    objections.push(
      objection(
        `${name} is of ${found.engine}, and RDS restores it to no other engine`,
        `restore it as ${found.engine}, and move the data to the other server`,
        { property: 'Engine', before: found.engine, after: engine },
      ),
    );
    return objections;
  }
  const wanted = readVersion(server.EngineVersion);
  const has = readVersion(found.engineVersion);
  if (wanted && has && (wanted.major !== has.major || (wanted.minor ?? has.minor ?? 0) < (has.minor ?? 0))) {
    objections.push(
      objection(`a restore keeps the version of ${name}`, `restore as version ${has.major}, and upgrade afterwards`, {
        property: 'EngineVersion',
        before: found.engineVersion,
        after: server.EngineVersion,
      }),
    );
  }
  const encryptsMeanwhile = source.Kind === 'cluster-snapshot' && server.Type === 'AWS::RDS::DBCluster';
  if (found.encrypted === false && !encryptsMeanwhile) {
    objections.push(
      objection(
        `${name} is not encrypted, and a restore does not encrypt it`,
        'copy the snapshot with a key (aws rds copy-db-snapshot --kms-key-id), and restore from the copy',
        { property: 'StorageEncrypted', before: 'false', after: 'true' },
      ),
    );
  }
  if (source.MasterUsername && found.masterUsername && source.MasterUsername !== found.masterUsername) {
    objections.push(
      objection(
        `a restore keeps the master user of ${name}, and the functions would not get in`,
        `set masterUsername: '${found.masterUsername}'`,
        { property: 'MasterUsername', before: found.masterUsername, after: source.MasterUsername },
      ),
    );
  }
  for (const property of ['AllocatedStorage', 'MaxAllocatedStorage'] as const) {
    const size = Number(source[property]);
    if (source[property] !== undefined && found.allocatedStorage !== undefined && size < found.allocatedStorage) {
      objections.push(
        objection(
          `a restore has the storage of ${name}, and storage does not shrink`,
          `set allocatedStorage to ${found.allocatedStorage} GiB and maxAllocatedStorage well above, or leave both out`,
          { property, before: String(found.allocatedStorage), after: source[property] },
        ),
      );
    }
  }
  const time = Date.parse(source.RestoreTime ?? '');
  if (found.latest && time > found.latest.getTime()) {
    objections.push(
      objection(
        `the backups of ${name} reach to ${found.latest.toISOString()} yet`,
        'wait a few minutes, or restore to an earlier time',
        { property: 'RestoreTime', after: source.RestoreTime },
      ),
    );
  }
  if (found.earliest && time < found.earliest.getTime()) {
    objections.push(
      objection(
        `the backups of ${name} begin at ${found.earliest.toISOString()}`,
        'restore to a later time, or from a snapshot',
        { property: 'RestoreTime', after: source.RestoreTime },
      ),
    );
  }
  return objections;
}

/** A snapshot of an RDS instance becomes an Aurora cluster, by a migration of its own; nothing goes from Aurora to RDS. */
function bringsDataTo(engine: string, found: string, kind: GuardedSource['Kind']): boolean {
  return engine === found || (engine === 'aurora-postgresql' && found === 'postgres' && kind === 'snapshot');
}
