import { CfnOutput, CfnResource, Stack, Token, attachCustomSynthesis, aws_rds as rds } from 'aws-cdk-lib';
import { Construct } from 'constructs';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { RunbookFacts } from './runbook-facts';
import { runbookText } from './runbook-text';

/** What the runbook says of a server that its resources do not say themselves. */
export interface RunbookServer {
  readonly construct: Construct;
  /** The instance or the cluster. */
  readonly resource: rds.CfnDBInstance | rds.CfnDBCluster;
  /** The nodes of a cluster. */
  readonly nodes: readonly rds.CfnDBInstance[];
  readonly port: number;
  readonly masterUsername: string;
  readonly stateName: string;
}

/** What to do when data is lost, written for this very server at each synthesis, and named by an output of its stack (BK-5). */
export function addRunbook(server: RunbookServer): void {
  const { construct } = server;
  const fileName = `${construct.node.path.replace(/[^A-Za-z0-9-]+/g, '-')}.recovery.md`;
  new CfnOutput(construct, 'Runbook', {
    description: `How to restore ${construct.node.path}: the file of this name in the cloud assembly`.slice(0, 1024),
    value: fileName,
  });
  attachCustomSynthesis(construct, {
    onSynthesize: ({ outdir }) => writeFileSync(join(outdir, fileName), runbookText(factsOf(server))),
  });
}

function factsOf({ construct, resource, nodes, port, masterUsername, stateName }: RunbookServer): RunbookFacts {
  const stack = Stack.of(construct);
  const isCluster = resource instanceof rds.CfnDBCluster;
  const stackName = Token.isUnresolved(stack.stackName) ? 'STACK_NAME' : stack.stackName;
  const region = Token.isUnresolved(stack.region) ? 'REGION' : stack.region;
  const word = (value: unknown): string => shellWord(stack.resolve(value), stackName, region);
  const child = (id: string) => {
    const found = construct.node.tryFindChild(id)?.node.defaultChild;
    return found instanceof CfnResource ? found : undefined;
  };
  const secret = child('AdminSecret');
  const vault = child('BackupVault');
  const plan = child('BackupPlan');
  const scaling = isCluster ? (stack.resolve(resource.serverlessV2ScalingConfiguration) as Scaling) : undefined;
  return {
    path: construct.node.path,
    isCluster,
    stackName,
    region,
    identifier: word(isCluster ? resource.dbClusterIdentifier : resource.dbInstanceIdentifier),
    port,
    masterUsername,
    stateName: Token.isUnresolved(stateName) ? stackName : stateName,
    engineVersion: word(resource.engineVersion),
    retentionDays: word(resource.backupRetentionPeriod),
    subnetGroup: word(resource.dbSubnetGroupName),
    securityGroups: wordsOf(isCluster ? resource.vpcSecurityGroupIds : resource.vpcSecurityGroups, word),
    parameterGroup: word(isCluster ? resource.dbClusterParameterGroupName : resource.dbParameterGroupName),
    adminSecret: secret ? word(secret.ref) : '<admin secret>',
    key: word(resource.kmsKeyId ?? '<the key of the source>'),
    resourceIdOf: isCluster ? 'DbClusterResourceId' : 'DbiResourceId',
    nodes: nodes.map((node) => ({
      identifier: word(node.dbInstanceIdentifier),
      instanceClass: word(node.dbInstanceClass),
      parameterGroup: word(node.dbParameterGroupName),
    })),
    serverless: scaling && { min: String(scaling.minCapacity), max: String(scaling.maxCapacity) },
    multiAz: !isCluster && resource.multiAz === true,
    multiAzCluster:
      isCluster && resource.dbClusterInstanceClass !== undefined
        ? {
            instanceClass: word(resource.dbClusterInstanceClass),
            storageType: word(resource.storageType),
            iops: resource.iops === undefined ? undefined : word(resource.iops),
          }
        : undefined,
    vault: vault && word(vault.ref),
    copies: plan ? copiesOf(stack.resolve((plan as unknown as { backupPlan: unknown }).backupPlan), word) : [],
    replicationRegion: isCluster ? undefined : resource.automaticBackupReplicationRegion,
  };
}

interface Scaling {
  readonly minCapacity?: number;
  readonly maxCapacity?: number;
}

function wordsOf(values: unknown, word: (value: unknown) => string): string {
  return Array.isArray(values) ? values.map(word).join(' ') : '<security groups>';
}

function copiesOf(plan: unknown, word: (value: unknown) => string): string[] {
  const rules = (plan as { backupPlanRule?: { copyActions?: { destinationBackupVaultArn: unknown }[] }[] })
    .backupPlanRule;
  return (rules ?? []).flatMap(({ copyActions }) =>
    (copyActions ?? []).map(({ destinationBackupVaultArn }) => word(destinationBackupVaultArn)),
  );
}

/** The physical id is what a Ref gives, and for a group, a key and a secret also what their ids and ARNs are good for. */
function shellWord(value: unknown, stackName: string, region: string): string {
  if (typeof value === 'string' || typeof value === 'number') return String(value);
  const [key, target] = Object.entries((value ?? {}) as Record<string, unknown>)[0] ?? [];
  if (key === 'Ref' && target === 'AWS::Partition') return 'aws';
  if (key === 'Fn::Join' && Array.isArray(target)) {
    const [separator, parts] = target as [string, unknown[]];
    return parts.map((part) => shellWord(part, stackName, region)).join(separator);
  }
  const logicalId = key === 'Ref' ? target : key === 'Fn::GetAtt' && Array.isArray(target) ? target[0] : undefined;
  if (typeof logicalId !== 'string' || logicalId.startsWith('AWS::')) return '<see the template>';
  return `"$(of ${logicalId})"`;
}
