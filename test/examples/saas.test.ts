import { App, Stack, Validations, aws_rds as rds } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import {
  AwsSolutionsChecks,
  HIPAASecurityChecks,
  NIST80053R4Checks,
  NIST80053R5Checks,
  PCIDSS321Checks,
} from 'cdk-nag';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SaasStack } from '../../examples/saas/saas-stack';
import { AuroraPostgres } from '../../lib';
import { decodeState, DesiredState } from '../../lib/contract';

jest.mock('../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('../server/state/fake-bundles').fakeBundle(),
}));

const PACKS = [AwsSolutionsChecks, HIPAASecurityChecks, NIST80053R4Checks, NIST80053R5Checks, PCIDSS321Checks];

function synthesize(context: Record<string, unknown> = {}, before: (stack: SaasStack) => void = () => {}) {
  const app = new App({ context });
  PACKS.forEach((pack) => Validations.of(app).addPlugins(new pack(app)));
  const stack = new SaasStack(app, 'Saas');
  before(stack);
  let failed = false;
  try {
    app.synth();
  } catch {
    failed = true;
  }
  const report = JSON.parse(readFileSync(join(app.outdir, 'validation-report.json'), 'utf8'));
  const findings: string[] = report.pluginReports.flatMap((plugin: any) =>
    (plugin.violations ?? []).flatMap((violation: any) =>
      violation.violatingConstructs.map((at: any) => `${violation.severity} ${violation.ruleName} ${at.constructPath}`),
    ),
  );
  return { app, stack, failed, findings: findings.sort() };
}

/** Rule ids by the construct that they are acknowledged on. */
function acknowledgements(app: App): string[] {
  const found = app.node.findAll().flatMap((construct) =>
    construct.node.metadata
      .filter((entry) => entry.type === Validations.ACKNOWLEDGED_RULES_METADATA_KEY)
      .flatMap((entry) => ruleIds(entry.data))
      // What aws-cdk-lib acknowledges of its own validator on its own constructs is not this library's.
      .filter((id) => id.startsWith('Annotation::'))
      .map((id) => `${construct.node.path} ${id.slice('Annotation::'.length)}`),
  );
  return [...new Set(found)].sort();
}

function ruleIds(data: any): string[] {
  if (Array.isArray(data)) return data.flatMap(ruleIds);
  return data.id !== undefined ? [String(data.id)] : Object.keys(data);
}

function stateOf(stack: Stack): DesiredState {
  const [resource] = Object.values(Template.fromStack(stack).findResources('Custom::CdkPostgresState'));
  return decodeState(resource.Properties.State);
}

test('passes the five packs, and says which rules are acknowledged where', () => {
  const { app, failed, findings } = synthesize();
  expect(findings).toEqual([]);
  expect(failed).toBe(false);
  expect(acknowledgements(app)).toEqual([
    'Saas/Network HIPAA.Security-VPCDefaultSecurityGroupClosed',
    'Saas/Network NIST.800.53.R4-VPCDefaultSecurityGroupClosed',
    'Saas/Network NIST.800.53.R5-VPCDefaultSecurityGroupClosed',
    'Saas/Network PCI.DSS.321-VPCDefaultSecurityGroupClosed',
    'Saas/Postgres/BackupRole AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AWSBackupServiceRolePolicyForBackup]',
    'Saas/Postgres/Guard/Function/NetworkPolicy AwsSolutions-IAM5[Resource::*]',
    'Saas/Postgres/MonitoringRole AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole]',
    'Saas/Postgres/Resource HIPAA.Security-RDSInBackupPlan',
    'Saas/Postgres/Resource NIST.800.53.R4-RDSInBackupPlan',
    'Saas/Postgres/Resource NIST.800.53.R5-RDSInBackupPlan',
    'Saas/Postgres/State/Apply/NetworkPolicy AwsSolutions-IAM5[Resource::*]',
    'Saas/Postgres/State/Rotate/NetworkPolicy AwsSolutions-IAM5[Resource::*]',
  ]);
});

test('a rule that is broken is found', () => {
  const { failed, findings } = synthesize({}, (stack) => {
    const { cluster } = stack.server as AuroraPostgres;
    (cluster.node.defaultChild as rds.CfnDBCluster).storageEncrypted = false;
  });
  expect(failed).toBe(true);
  expect(findings).toContain('error AwsSolutions-RDS2 Saas/Postgres/Resource/Resource');
});

test('passes them with a look at the server on a schedule too', () => {
  const { failed, findings } = synthesize({}, (stack) => stack.server.addDriftDetection({ enforce: true }));
  expect(findings).toEqual([]);
  expect(failed).toBe(false);
});

test('is the template that it was', () => {
  const { stack } = synthesize();
  const text = JSON.stringify(Template.fromStack(stack).toJSON());
  expect(JSON.parse(text.replace(/[0-9a-f]{64}/g, 'ASSET_HASH'))).toMatchSnapshot();
});

test('declares an owner, access roles, and five roles that log in', () => {
  const state = stateOf(synthesize().stack);
  const names = (login: boolean) => state.roles.filter((role) => role.login === login).map((role) => role.name);
  expect(names(false)).toEqual(['app_owner', 'app_readonly', 'app_readwrite']);
  expect(names(true)).toEqual(['api', 'migrator', 'monitor', 'report', 'worker']);
  expect(state.databases.map((database) => database.schemas.map((schema) => schema.name))).toEqual([
    ['audit', 'billing', 'identity'],
  ]);
});

test('later adds a role and narrows a grant, and changes nothing else', () => {
  const before = stateOf(synthesize().stack);
  const after = stateOf(synthesize({ 'saas:change': 'true' }).stack);
  const lost = (list: (state: DesiredState) => readonly unknown[]) => {
    const kept = new Set(list(after).map((item) => JSON.stringify(item)));
    return list(before).filter((item) => !kept.has(JSON.stringify(item)));
  };
  expect(after.roles.map((role) => role.name)).toEqual([...before.roles.map((role) => role.name), 'signup'].sort());
  expect(lost((state) => state.databases[0].grants)).toEqual([
    { privileges: ['EXECUTE'], on: { kind: 'allRoutines', schema: 'identity' }, to: 'api' },
    {
      privileges: ['SELECT', 'INSERT', 'UPDATE', 'DELETE'],
      on: { kind: 'allTables', schema: 'identity' },
      to: 'api',
    },
    { privileges: ['USAGE', 'SELECT'], on: { kind: 'allSequences', schema: 'identity' }, to: 'api' },
  ]);
  expect(lost((state) => state.memberships)).toEqual([]);
});
