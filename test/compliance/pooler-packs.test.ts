import { App, Stack, Validations } from 'aws-cdk-lib';
import { Authentication, AuroraPostgres, Pooler, PostgresVersion } from '../../lib';
import { cleanStack, handler, quiet } from '../pooling/support';
import { OBJECTIVES } from '../server/support';
import { errorsOfFivePacks } from './five-packs';

quiet();

jest.mock('../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('../server/state/fake-bundles').fakeBundle(),
  poolerImage: () => jest.requireActual('../pooling/fake-image').fakeImage(),
}));

function made(pooler: Pooler, role: { authentication?: Authentication } = {}): { app: App; stack: Stack } {
  const { app, stack, vpc } = cleanStack();
  const server = new AuroraPostgres(stack, 'Postgres', { vpc, version: PostgresVersion.V18, objectives: OBJECTIVES });
  const pool = server.addPooler('Pool', pooler);
  server.addDatabase('app').addLoginRole('api', role).grantConnect(handler({ stack, vpc }), { through: pool });
  return { app, stack };
}

/** Those of the function are its author's. */
const ofPooler = (errors: string[]) => errors.filter((error) => !error.startsWith('Test/Handler'));

/** What the library acknowledges below the pooler. */
function acknowledgements(stack: Stack): { entry: string; reason: string }[] {
  const pool = stack.node.findChild('Postgres').node.findChild('Pool');
  return pool.node.findAll().flatMap((construct) =>
    construct.node.metadata
      .filter((one) => one.type === Validations.ACKNOWLEDGED_RULES_METADATA_KEY)
      .flatMap((one) => Object.entries(one.data as Record<string, string>))
      .filter(([id]) => !id.includes('CloudFormation-Validate'))
      .map(([id, reason]) => ({
        entry: `${construct.node.path.slice('Test/Postgres/Pool/'.length)} ${id.replace(/^[^:[]*::/, '')}`,
        reason,
      })),
  );
}

const PACKS = ['HIPAA.Security', 'NIST.800.53.R4', 'NIST.800.53.R5', 'PCI.DSS.321'];
const OF_PGBOUNCER = [
  'Certificate/Authority AwsSolutions-SMG4',
  'Certificate/Authority HIPAA.Security-SecretsManagerRotationEnabled',
  'Certificate/Authority NIST.800.53.R5-SecretsManagerRotationEnabled',
  'Certificate/Function/NetworkPolicy AwsSolutions-IAM5[Resource::*]',
  'ExecutionPolicy AwsSolutions-IAM5[Resource::*]',
  ...['HIPAA.Security', 'NIST.800.53.R5', 'PCI.DSS.321'].map(
    (pack) => `LoadBalancer/Listener ${pack}-ELBv2ACMCertificateRequired`,
  ),
  'LoadBalancer AwsSolutions-ELB2',
  ...PACKS.map((pack) => `LoadBalancer ${pack}-ELBLoggingEnabled`),
  'Task AwsSolutions-ECS2',
];

const POOLERS: [string, () => Pooler, { authentication?: Authentication }, string[]][] = [
  ['RDS Proxy with secrets', () => Pooler.rdsProxy(), {}, []],
  ['RDS Proxy with tokens', () => Pooler.rdsProxy(), { authentication: Authentication.iam() }, []],
  ['PgBouncer', () => Pooler.pgBouncer(), {}, OF_PGBOUNCER],
];

describe.each(POOLERS)('%s', (_name, pooler, role, expected) => {
  test('has no error in the five packs', () => {
    expect(ofPooler(errorsOfFivePacks(made(pooler(), role).app))).toEqual([]);
  });

  test('acknowledges exactly these rules, each with a reason', () => {
    const found = acknowledgements(made(pooler(), role).stack);
    expect(found.map(({ entry }) => entry).sort()).toEqual([...expected].sort());
    for (const { reason } of found) expect(reason.length).toBeGreaterThan(80);
  });

  test('needs every one of them', () => {
    jest.spyOn(Validations.prototype, 'acknowledge').mockImplementation();
    const errors = ofPooler(errorsOfFivePacks(made(pooler(), role).app)).filter((error) =>
      error.startsWith('Test/Postgres/Pool/'),
    );
    const rules = (entries: string[]) => [...new Set(entries.map((entry) => entry.replace(/^\S+ /, '')))].sort();
    expect(rules(errors)).toEqual(rules(expected));
    jest.restoreAllMocks();
  });
});
