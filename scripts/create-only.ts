/**
 * Writes lib/server/guard/create-only.json: the properties whose change replaces a server, from the CloudFormation specification in
 * @aws-cdk/aws-service-spec. Run it with `npx tsx scripts/create-only.ts` after an update of that package; a test compares.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadAwsServiceSpecSync } from '@aws-cdk/aws-service-spec';
import { CreateOnlyProperties, GuardedType } from '../lib/server/guard/create-only';

const FILE = join(__dirname, '..', 'lib', 'server', 'guard', 'create-only.json');

const TYPES: readonly GuardedType[] = ['AWS::RDS::DBInstance', 'AWS::RDS::DBCluster'];

/**
 * What the specification calls "may replace": CloudFormation asks the resource's own code, which is public
 * (aws-cloudformation/aws-cloudformation-resource-providers-rds, `ImmutabilityHelper` of each resource, and the modify calls of
 * RDS). `in place`: that code never replaces a PostgreSQL server for it.
 */
const CONDITIONAL: Readonly<Record<GuardedType, Readonly<Record<string, 'guarded' | 'in place'>>>> = {
  'AWS::RDS::DBInstance': {
    AutoMinorVersionUpgrade: 'in place',
    AvailabilityZone: 'guarded',
    BackupRetentionPeriod: 'in place',
    DBClusterSnapshotIdentifier: 'guarded',
    DBParameterGroupName: 'in place',
    DBSnapshotIdentifier: 'guarded',
    Engine: 'guarded',
    MultiAZ: 'in place',
    PerformanceInsightsKMSKeyId: 'guarded',
    PreferredMaintenanceWindow: 'in place',
    RestoreTime: 'guarded',
    SourceDBClusterIdentifier: 'guarded',
    SourceDBInstanceAutomatedBackupsArn: 'guarded',
    SourceDBInstanceIdentifier: 'guarded',
    SourceDbiResourceId: 'guarded',
    StorageType: 'in place',
    UseLatestRestorableTime: 'guarded',
  },
  'AWS::RDS::DBCluster': {
    Engine: 'guarded',
    GlobalClusterIdentifier: 'guarded',
    MasterUsername: 'guarded',
  },
};

/** Changed in place, with every client cut off from its address. */
const INTERRUPTING: Readonly<Record<GuardedType, readonly string[]>> = {
  'AWS::RDS::DBInstance': [],
  'AWS::RDS::DBCluster': ['Port'],
};

export function readCreateOnly(): Record<GuardedType, CreateOnlyProperties> {
  const spec = loadAwsServiceSpecSync();
  const entries = TYPES.map((type): [GuardedType, CreateOnlyProperties] => {
    const { properties } = spec.lookup('resource', 'cloudFormationType', 'equals', type).only();
    const named = (causesReplacement: string) =>
      Object.keys(properties)
        .filter((name) => properties[name].causesReplacement === causesReplacement)
        .sort();
    const conditional = named('maybe');
    const unknown = conditional.filter((name) => !(name in CONDITIONAL[type]));
    const gone = Object.keys(CONDITIONAL[type]).filter((name) => !conditional.includes(name));
    if (unknown.length > 0 || gone.length > 0) {
      throw new Error(
        `${type}: CONDITIONAL of this script must say what CloudFormation does for ${unknown.join(', ') || 'nothing new'}` +
          (gone.length > 0 ? `, and no longer name ${gone.join(', ')}` : ''),
      );
    }
    const guarded = conditional.filter((name) => CONDITIONAL[type][name] === 'guarded');
    return [type, { always: named('yes'), conditional: guarded, interrupting: INTERRUPTING[type] }];
  });
  return Object.fromEntries(entries) as Record<GuardedType, CreateOnlyProperties>;
}

if (require.main === module) writeFileSync(FILE, `${JSON.stringify(readCreateOnly(), null, 2)}\n`);
