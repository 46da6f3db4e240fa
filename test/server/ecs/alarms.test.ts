import { Duration, aws_cloudwatch as cloudwatch } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { CLUSTER_METRICS, ClusterMetric, VOLUME_ALARM_PERCENT } from '../../../lib/contract';
import { cluster, quiet } from './support';

jest.mock('../../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('../state/fake-bundles').fakeBundle(),
  poolerImage: () => jest.requireActual('../../pooling/fake-image').fakeImage(),
  clusterImage: () => jest.requireActual('../../pooling/fake-image').fakeImage(),
}));
quiet();

/** What is measured and wakes nobody, with the reason. */
const WITHOUT_ALARM: Partial<Record<ClusterMetric, string>> = {
  WatchMilliseconds: 'of the function itself',
  WalReadyFiles: 'the age of the oldest says it, whatever the load is',
  LastArchivedSeconds: 'grows on a server that nobody writes to',
};

const alarmsOf = (props: Parameters<typeof cluster>[0] = {}) => {
  const { stack } = cluster(props);
  const found = Object.values(Template.fromStack(stack).findResources('AWS::CloudWatch::Alarm'));
  return new Map(
    found
      .map(({ Properties }) => Properties as Record<string, any>)
      .filter(({ MetricName }) => (CLUSTER_METRICS as readonly string[]).includes(MetricName))
      .map((properties) => [properties.MetricName as ClusterMetric, properties]),
  );
};

describe('the alarms of a self-managed server (HA-20, OPS-4, BK-9)', () => {
  const alarms = alarmsOf();

  test('are there for all that is measured, but for what has a reason', () => {
    expect([...alarms.keys(), ...Object.keys(WITHOUT_ALARM)].sort()).toEqual([...CLUSTER_METRICS].sort());
  });

  test('look at the worst of a minute, of this server, and tell its topic both ways', () => {
    for (const [name, alarm] of alarms) {
      expect(alarm).toMatchObject({
        Statistic: 'Maximum',
        Period: 60,
        Namespace: 'CdkPostgres',
        ComparisonOperator: 'GreaterThanThreshold',
        AlarmDescription: expect.stringMatching(/^Default\/Postgres|Postgres: /),
      });
      expect(alarm.Dimensions).toEqual([{ Name: 'Server', Value: expect.anything() }]);
      expect([name, alarm.AlarmActions.length, alarm.OKActions.length]).toEqual([name, 1, 1]);
    }
  });

  test('take silence for an error once, and not of each metric', () => {
    const breaching = [...alarms].filter(([, { TreatMissingData }]) => TreatMissingData === 'breaching');
    expect(breaching.map(([name]) => name)).toEqual(['WatchFailed']);
  });

  test.each<[ClusterMetric, number, number]>([
    ['LeaderMissing', 0, 2],
    ['MembersMissing', 0, 5],
    ['SynchronousStandbyMissing', 0, 1],
    ['EtcdMembersUnhealthy', 0, 5],
    ['EtcdDatabaseBytes', 1.5 * 1024 ** 3, 5],
    ['MemberWatchesMissing', 0, 15],
    ['VolumeUsedPercent', VOLUME_ALARM_PERCENT, 3],
    ['VolumeSwitchovers', 0, 1],
    ['ArchiveFailures', 0, 3],
    ['WalReadySeconds', 300, 3],
  ])('%s above %d for %d minutes', (name, Threshold, EvaluationPeriods) => {
    expect(alarms.get(name)).toMatchObject({ Threshold, EvaluationPeriods });
  });

  test('say nothing of standbys where no commit waits for one', () => {
    const without = alarmsOf({ objectives: { rpo: Duration.minutes(5), rto: Duration.minutes(10) } });
    expect(without.has('SynchronousStandbyMissing')).toBe(false);
    expect(without.has('MembersMissing')).toBe(true);
  });

  test('are handed out', () => {
    expect(cluster().server.alarms.every((alarm) => alarm instanceof cloudwatch.Alarm)).toBe(true);
  });
});
