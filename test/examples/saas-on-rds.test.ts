import { App, Validations } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import {
  AwsSolutionsChecks,
  HIPAASecurityChecks,
  NIST80053R4Checks,
  NIST80053R5Checks,
  PCIDSS321Checks,
} from 'cdk-nag';
import { SaasStack } from '../../examples/saas/saas-stack';
import { AuroraPostgres, RdsPostgres } from '../../lib';
import { standGuard } from '../../lib/runtime/handlers/guard';
import { RdsApi } from '../runtime/guard/rds-api';

jest.mock('../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('../server/state/fake-bundles').fakeBundle(),
}));

interface Resource {
  readonly Type: string;
  readonly Properties: Record<string, any>;
  readonly DependsOn?: string[];
}

const PACKS = [AwsSolutionsChecks, HIPAASecurityChecks, NIST80053R4Checks, NIST80053R5Checks, PCIDSS321Checks];

/** The example with one line changed. */
function synthesize(postgres: typeof AuroraPostgres | typeof RdsPostgres): Record<string, Resource> {
  const app = new App();
  PACKS.forEach((pack) => Validations.of(app).addPlugins(new pack(app)));
  // A synthesis with an error of any of the packs throws.
  return Template.fromStack(new SaasStack(app, 'Saas', { postgres })).toJSON().Resources;
}

const aurora = synthesize(AuroraPostgres);
const rds = synthesize(RdsPostgres);

function theOne(resources: Record<string, Resource>, type: string): Resource {
  const found = Object.values(resources).filter(({ Type }) => Type === type);
  expect(found).toHaveLength(1);
  return found[0];
}

const same = (one: unknown, other: unknown) => JSON.stringify(one) === JSON.stringify(other);

/** What differs, by type: `+` only on RDS, `-` only on Aurora, `~` in both, with the properties. */
function differences(): string[] {
  const ids = [...new Set([...Object.keys(aurora), ...Object.keys(rds)])];
  const found = ids.flatMap((id) => {
    const [before, after] = [aurora[id], rds[id]];
    if (!before) return [`+ ${after.Type}`];
    if (!after) return [`- ${before.Type}`];
    if (before.Type !== after.Type) return [`~ ${before.Type} becomes ${after.Type}`];
    const names = [...new Set([...Object.keys(before.Properties ?? {}), ...Object.keys(after.Properties ?? {})])];
    const properties = names.filter((name) => !same(before.Properties?.[name], after.Properties?.[name])).sort();
    return properties.length === 0 ? [] : [`~ ${before.Type} ${properties.join(', ')}`];
  });
  return [...new Set(found)].sort();
}

test('one line moves the example to RDS: what is declared inside is the same, byte by byte', () => {
  const [onAurora, onRds] = [aurora, rds].map((resources) => theOne(resources, 'Custom::CdkPostgresState').Properties);
  expect(JSON.stringify(onRds.State)).toBe(JSON.stringify(onAurora.State));
  expect(onRds.Secrets).toEqual(onAurora.Secrets);
  expect(onRds.HomeDatabases).toEqual(onAurora.HomeDatabases);
});

test('only the server differs, and who names it', () => {
  expect(differences()).toEqual([
    '+ AWS::CloudWatch::Alarm',
    '+ AWS::Logs::LogGroup',
    '- AWS::CloudWatch::Alarm',
    '- AWS::RDS::DBInstance',
    '- AWS::RDS::DBParameterGroup',
    '~ AWS::Backup::BackupSelection BackupSelection',
    // That of the deploy guard, which asks RDS for the server by its ARN.
    '~ AWS::IAM::ManagedPolicy PolicyDocument',
    // The functions' address of the server.
    '~ AWS::Lambda::Function Environment',
    '~ AWS::Logs::LogGroup LogGroupName',
    '~ AWS::RDS::DBCluster becomes AWS::RDS::DBInstance',
    '~ AWS::RDS::DBClusterParameterGroup becomes AWS::RDS::DBParameterGroup',
    // What the pooler leads to.
    '~ AWS::RDS::DBProxyTargetGroup DBClusterIdentifiers, DBInstanceIdentifiers',
    '~ AWS::SecretsManager::SecretTargetAttachment TargetType',
    '~ Custom::CdkPostgresDeployGuard Servers',
    '~ Custom::CdkPostgresState Server',
  ]);
});

describe('in the stack that runs', () => {
  let api: RdsApi;
  beforeAll(async () => {
    api = await RdsApi.start();
  });
  afterAll(() => api.stop());
  beforeEach(() => {
    for (const level of ['info', 'warn', 'error'] as const) jest.spyOn(console, level).mockImplementation();
  });

  const servers = (resources: Record<string, Resource>) =>
    theOne(resources, 'Custom::CdkPostgresDeployGuard').Properties.Servers;
  const STACK = 'arn:aws:cloudformation:eu-west-1:111122223333:stack/Saas/1';

  async function ask(type: 'Create' | 'Update', wanted: object, before?: object) {
    const client = api.client();
    try {
      return await standGuard(
        {
          type,
          stackId: STACK,
          logicalId: 'Guard',
          requestId: 'request',
          physicalId: before && 'cdk-postgres-guard/before',
          properties: { Servers: wanted },
          oldProperties: before && { Servers: before },
        },
        client,
        new Date('2026-05-03T12:00:00Z'),
      );
    } finally {
      client.destroy();
    }
  }

  test('LIB-12: the deploy guard refuses it, and says what would be lost', async () => {
    api.clusters.push({
      identifier: servers(aurora)[0].Identifier,
      engine: 'aurora-postgresql',
      engineVersion: '18.3',
      tags: {
        'aws:cloudformation:stack-id': STACK,
        'aws:cloudformation:logical-id': servers(aurora)[0].LogicalId,
      },
    });
    await expect(ask('Update', servers(rds), servers(aurora))).rejects.toThrow(
      'no server has been touched. Saas/Postgres: another engine under the same construct, "aurora-postgresql (AWS::RDS::DBCluster)" would become ' +
        '"postgres (AWS::RDS::DBInstance)": the data does not move from one to the other by itself. To stay safe, declare the other server under ' +
        "a new construct id beside this one, and move the data first. If it is meant: acknowledge({ id: 'guard:engine', reason, expires })",
    );
  });

  test('the negative control: in a new stack it lets the same server pass, and the cluster as it is', async () => {
    api.reset();
    await expect(ask('Create', servers(rds))).resolves.toMatchObject({
      physicalId: expect.stringMatching(/^cdk-postgres-guard\//),
    });
    await expect(ask('Update', servers(aurora), servers(aurora))).resolves.toBeDefined();
  });
});
