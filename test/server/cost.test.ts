import { Template } from 'aws-cdk-lib/assertions';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { AuroraPostgres, Authentication, PostgresProfile, PostgresVersion, RdsPostgres } from '../../lib';
import { cleanStack, OBJECTIVES, quiet } from './support';

quiet();

jest.mock('../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('./state/fake-bundles').fakeBundle(),
}));

const DOCUMENT = fs.readFileSync(path.join(__dirname, '..', '..', 'docs', 'cost.md'), 'utf8');

/** The columns of the row of a table that begins with these words. */
function row(begin: string): string[] {
  const line = DOCUMENT.split('\n').find((one) => one.startsWith(`| ${begin}`));
  if (line === undefined) throw new Error(`docs/cost.md has no row ${begin}`);
  return line
    .split('|')
    .slice(1, -1)
    .map((cell) => cell.trim());
}

const number = (cell: string) => Number(/\d+/.exec(cell)?.[0]);

type Server = RdsPostgres | AuroraPostgres;
type Counts = Record<string, number>;

function counts(template: Template): Counts {
  const found: Counts = {};
  for (const { Type } of Object.values<{ Type: string }>(template.toJSON().Resources))
    found[Type] = (found[Type] ?? 0) + 1;
  return found;
}

/** What a server adds to a stack, and what a call on it adds to that. */
function added(kind: 'rds' | 'aurora', profile: PostgresProfile, call: (server: Server) => void = () => undefined) {
  const { stack, vpc } = cleanStack();
  const props = { vpc, version: PostgresVersion.V18, objectives: OBJECTIVES, profile };
  const server =
    kind === 'rds' ? new RdsPostgres(stack, 'Postgres', props) : new AuroraPostgres(stack, 'Postgres', props);
  server.addDatabase('app');
  call(server);
  const template = Template.fromStack(stack);
  const without = counts(Template.fromStack(cleanStack().stack));
  const all = counts(template);
  return { template, of: (type: string) => (all[type] ?? 0) - (without[type] ?? 0) };
}

const PRODUCTION = PostgresProfile.production();

test.each([
  ['Customer key', 'AWS::KMS::Key'],
  ['Secret of the administrator', 'AWS::SecretsManager::Secret'],
  ['Functions', 'AWS::Lambda::Function'],
  ['Dead-letter queues', 'AWS::SQS::Queue'],
  ['Log groups', 'AWS::Logs::LogGroup'],
  ['Alarms on storage', 'AWS::CloudWatch::Alarm'],
  ['Alarm topic', 'AWS::SNS::Topic'],
  ['Deploy guard', 'Custom::CdkPostgresDeployGuard'],
])('docs/cost.md counts right: %s', (name, type) => {
  const [, rds, aurora] = row(name);
  expect([number(rds!), number(aurora!)]).toEqual([
    added('rds', PRODUCTION).of(type),
    added('aurora', PRODUCTION).of(type),
  ]);
});

test.each(['rds', 'aurora'] as const)(
  'docs/cost.md counts right: reserved concurrency, nodes, storage and recovery of %s',
  (kind) => {
    const column = kind === 'rds' ? 1 : 2;
    const { template, of } = added(kind, PRODUCTION);
    const functions = Object.values<any>(template.findResources('AWS::Lambda::Function'));
    const reserved = functions.reduce((sum, one) => sum + (one.Properties.ReservedConcurrentExecutions ?? 0), 0);
    expect(number(row('Reserved concurrency')[column]!)).toBe(reserved);
    expect(number(row('Nodes (HA-1)')[column]!)).toBe(of('AWS::RDS::DBInstance'));
    expect(row('Nodes (HA-1)')[column]).toContain('db.r7g.large');
    const [server] = Object.values<any>(
      template.findResources(kind === 'rds' ? 'AWS::RDS::DBInstance' : 'AWS::RDS::DBCluster'),
    );
    expect(row('Point-in-time recovery')[0]).toContain(`${server.Properties.BackupRetentionPeriod} days`);
    expect(row('Daily backup in a vault')[column]).toBe(`${of('AWS::Backup::BackupPlan')} plan`);
    const [plan] = Object.values<any>(template.findResources('AWS::Backup::BackupPlan'));
    expect(row('Daily backup in a vault')[0]).toContain(
      `${plan.Properties.BackupPlan.BackupPlanRule[0].Lifecycle.DeleteAfterDays} days`,
    );
    if (kind === 'rds')
      expect(row('Storage')[1]).toBe(
        `${server.Properties.AllocatedStorage} GiB gp3, growing up to ${server.Properties.MaxAllocatedStorage}`,
      );
  },
);

test('docs/cost.md counts right: what is added by calls', () => {
  const more = (type: string, call: (server: Server) => void) =>
    added('aurora', PRODUCTION, call).of(type) - added('aurora', PRODUCTION).of(type);
  const secret = (authentication: Authentication) => (server: Server) =>
    void server.addDatabase('more').addLoginRole('one', { authentication });
  expect(more('AWS::SecretsManager::Secret', secret(Authentication.password()))).toBe(1);
  expect(more('AWS::SecretsManager::Secret', secret(Authentication.iam()))).toBe(0);
  const [, drift] = row('`addDriftDetection()`');
  const look = (server: Server) => server.addDriftDetection();
  expect(drift).toBe(
    `${more('AWS::Lambda::Function', look)} function every 6 hours, ${more('AWS::Events::Rule', look)} schedule, ${more('AWS::CloudWatch::Alarm', look)} alarms`,
  );
});

test('docs/cost.md counts right: monitoring', () => {
  const watch = (server: Server) => void server.addMonitoring();
  const more = (kind: 'rds' | 'aurora', type: string) =>
    added(kind, PRODUCTION, watch).of(type) - added(kind, PRODUCTION).of(type);
  const [aurora, rds] = [(type: string) => more('aurora', type), (type: string) => more('rds', type)];
  expect(row('`addMonitoring()`')[1]).toBe(
    `${aurora('AWS::Lambda::Function')} function every 5 minutes, ${aurora('AWS::Events::Rule')} schedule, ` +
      `${aurora('AWS::CloudWatch::Alarm')} alarms besides those on storage (${rds('AWS::CloudWatch::Alarm')} on RDS), ` +
      `${aurora('AWS::SecretsManager::Secret')} secret, ${aurora('AWS::CloudWatch::Dashboard')} dashboard`,
  );
});

test('docs/cost.md counts right: development', () => {
  const { of } = added('rds', PostgresProfile.development());
  const counted = [
    'AWS::Lambda::Function',
    'AWS::Backup::BackupPlan',
    'AWS::CloudWatch::Alarm',
    'AWS::RDS::DBInstance',
  ].map(of);
  expect(counted).toEqual([2, 0, 0, 1]);
  expect(DOCUMENT).toMatch(/one burstable node \(`db\.t4g\.medium`[^]*20 GiB, one day of recovery, 2 functions/);
});
