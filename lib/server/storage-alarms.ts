import {
  Duration,
  Size,
  aws_cloudwatch as cloudwatch,
  aws_cloudwatch_actions as actions,
  aws_ec2 as ec2,
  aws_rds as rds,
  aws_sns as sns,
} from 'aws-cdk-lib';
import { Construct } from 'constructs';

/** What is little on any volume: a quarter of the smallest that RDS creates. */
const LITTLE = Size.gibibytes(5);

/**
 * Free storage below a tenth of what the instance was created with. Storage grows by itself at that point, so an alarm that stays
 * means: the ceiling is reached, or the last growth was less than six hours ago.
 */
export function freeStorageAlarm(
  scope: Construct,
  instance: rds.IDatabaseInstance,
  allocated: Size | undefined,
  topic: sns.ITopic,
) {
  return alarm(scope, 'FreeStorageSpaceAlarm', topic, {
    metric: instance.metricFreeStorageSpace({ statistic: 'Minimum', period: Duration.minutes(5) }),
    threshold: allocated ? Math.floor(allocated.toBytes() / 10) : LITTLE.toBytes(),
    comparisonOperator: cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
    alarmDescription: allocated
      ? `Less than a tenth of the created storage of ${scope.node.path} is free`
      : `Less than ${LITTLE.toGibibytes()} GiB of the storage of ${scope.node.path} are free`,
  });
}

/** Temporary files, sorts and index builds of Aurora live on the node, not in the volume; a full node restarts. */
export function freeLocalStorageAlarm(
  scope: Construct,
  id: string,
  instanceIdentifier: string,
  instanceType: ec2.InstanceType,
  topic: sns.ITopic,
) {
  return alarm(scope, `FreeLocalStorageAlarm-${id}`, topic, {
    metric: new cloudwatch.Metric({
      namespace: 'AWS/RDS',
      metricName: 'FreeLocalStorage',
      dimensionsMap: { DBInstanceIdentifier: instanceIdentifier },
      statistic: 'Minimum',
      period: Duration.minutes(5),
    }),
    threshold: localStorageThreshold(instanceType).toBytes(),
    comparisonOperator: cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
    alarmDescription: `Little local storage is left on node ${id} of ${scope.node.path}: sorts and index builds will fail`,
  });
}

/** The volume of Aurora ends at 128 TiB, on the newest minor versions at 256 TiB; the alarm keeps to the smaller. */
export function volumeAlarm(scope: Construct, cluster: rds.IDatabaseCluster, topic: sns.ITopic) {
  return alarm(scope, 'VolumeBytesUsedAlarm', topic, {
    metric: cluster.metricVolumeBytesUsed({ statistic: 'Maximum', period: Duration.minutes(5) }),
    threshold: Size.tebibytes(115).toBytes(),
    comparisonOperator: cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
    alarmDescription: `The volume of ${scope.node.path} is nine tenths full (128 TiB)`,
  });
}

/** A tenth of the local storage, which is about twice a node's memory and doubles with every size: 32 GiB on a large. */
function localStorageThreshold(instanceType: ec2.InstanceType): Size {
  const size = instanceType.toString().split('.')[1] ?? 'large';
  const larges =
    size === 'large' ? 1 : size === 'xlarge' ? 2 : /^(\d+)xlarge$/.test(size) ? 2 * parseInt(size, 10) : 0.5;
  return Size.mebibytes(Math.round(larges * 3.2 * 1024));
}

function alarm(
  scope: Construct,
  id: string,
  topic: sns.ITopic,
  props: Omit<cloudwatch.AlarmProps, 'evaluationPeriods'>,
): cloudwatch.Alarm {
  const made = new cloudwatch.Alarm(scope, id, {
    evaluationPeriods: 3,
    treatMissingData: cloudwatch.TreatMissingData.MISSING,
    ...props,
  });
  made.addAlarmAction(new actions.SnsAction(topic));
  made.addOkAction(new actions.SnsAction(topic));
  return made;
}
