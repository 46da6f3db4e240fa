import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Template } from 'aws-cdk-lib/assertions';
import { AuroraPostgres, PostgresProfile, PostgresVersion, RdsPostgres } from '../../../lib';
import { CLUSTER_METRICS, PROBE_METRICS } from '../../../lib/contract';
import { cleanStack, OBJECTIVES, quiet } from '../support';

quiet();

const TEXT = readFileSync(join(__dirname, '..', '..', '..', 'docs', 'monitoring.md'), 'utf8');
const common = { version: PostgresVersion.V17, objectives: OBJECTIVES };

test('docs/monitoring.md has every metric of the probe, and of the watch of a cluster', () => {
  expect([...PROBE_METRICS, ...CLUSTER_METRICS].filter((name) => !TEXT.includes(`\`${name}\``))).toEqual([]);
});

test.each([
  [
    'RDS',
    (made: ReturnType<typeof cleanStack>) => new RdsPostgres(made.stack, 'Postgres', { vpc: made.vpc, ...common }),
  ],
  [
    'Aurora',
    (made: ReturnType<typeof cleanStack>) => new AuroraPostgres(made.stack, 'Postgres', { vpc: made.vpc, ...common }),
  ],
  [
    'Aurora serverless',
    (made: ReturnType<typeof cleanStack>) =>
      new AuroraPostgres(made.stack, 'Postgres', {
        vpc: made.vpc,
        ...common,
        profile: PostgresProfile.development(),
        serverlessV2: { minCapacity: 1, maxCapacity: 4 },
      }),
  ],
])('docs/monitoring.md has a row with what to do for every alarm of %s', (_kind, make) => {
  const made = cleanStack();
  make(made).addMonitoring();
  const alarms = Object.values(Template.fromStack(made.stack).findResources('AWS::CloudWatch::Alarm'));
  const names = alarms.map(({ Properties }) => Properties.MetricName as string);
  expect(names.length).toBeGreaterThan(20);
  const rows = TEXT.split('\n').filter((line) => line.startsWith('| `'));
  expect(names.filter((name) => !rows.some((row) => row.split('|')[1]!.includes(`\`${name}\``)))).toEqual([]);
});

test('docs/monitoring.md counts the alarms that it gives the price of', () => {
  for (const [kind, server, count] of [
    ['RDS', RdsPostgres, 10],
    ['Aurora', AuroraPostgres, 8],
  ] as const) {
    const { stack, vpc } = cleanStack();
    new server(stack, 'Postgres', { vpc, ...common }).addMonitoring();
    const alarms = Object.values(Template.fromStack(stack).findResources('AWS::CloudWatch::Alarm'));
    const ofCloudWatch = alarms.filter(({ Properties }) => Properties.Namespace === 'AWS/RDS').length;
    expect([kind, ofCloudWatch, alarms.length - ofCloudWatch]).toEqual([kind, count, 21]);
  }
  expect(TEXT).toMatch(/10: 1\.00 \| 8: 0\.80/);
  expect(TEXT).toMatch(/21: 2\.10 \| 21: 2\.10/);
  // Two of them are no metric of every server: MD5 is for external ones, and slots are compared where a reader keeps them.
  expect(TEXT).toContain(`${PROBE_METRICS.length - 2}: 7.80`);
});
