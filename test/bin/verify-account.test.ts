import { App } from 'aws-cdk-lib';
import * as fs from 'node:fs';
import * as http from 'node:http';
import { AddressInfo } from 'node:net';
import * as os from 'node:os';
import * as path from 'node:path';
import { PostgresVersion, RdsPostgres } from '../../lib';
import { ACTIONS, CHECKED_CLAIMS, Item, readRows } from '../../lib/runtime/verify';
import { cleanStack, OBJECTIVES, quiet } from '../server/support';
import { answerViolations, errorStatus, requestViolations } from '../support/rds-model';
import { cli, CliResult, ROOT } from './cli';

jest.mock('../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('../server/state/fake-bundles').fakeBundle(),
}));
quiet();

const DOCUMENT = fs.readFileSync(path.join(ROOT, 'docs', 'verify-on-aws.md'), 'utf8');

/** What an account answers, by the action; an error by its code. */
type Account = Record<string, string | { readonly error: string }>;

/** The query protocol of RDS, held to its model, and the JSON one of Secrets Manager. */
class AwsAccount {
  public answers: Account = {};
  public readonly asked: string[] = [];
  /** What was not of the model of RDS. */
  public readonly violations: string[] = [];

  private constructor(private readonly server: http.Server) {}

  static async start(): Promise<AwsAccount> {
    const server = http.createServer();
    const account = new AwsAccount(server);
    server.on('request', (request, response) => {
      let body = '';
      request.on('data', (chunk) => (body += chunk));
      request.on('end', () => {
        const target = request.headers['x-amz-target'] as string | undefined;
        const action = target?.split('.')[1] ?? new URLSearchParams(body).get('Action')!;
        account.asked.push(`${target ? 'secretsmanager' : 'rds'}:${action}`);
        const answer = account.answers[action] ?? (target ? '{"SecretList":[]}' : '');
        if (typeof answer === 'object' && target) {
          const error = JSON.stringify({ __type: answer.error, message: 'no' });
          response.writeHead(400, { 'content-type': 'application/x-amz-json-1.1' }).end(error);
        } else if (typeof answer === 'object') {
          const status = errorStatus(answer.error);
          account.violations.push(...requestViolations(new URLSearchParams(body)));
          if (status === undefined) account.violations.push(`RDS has no error "${answer.error}"`);
          const error = `<ErrorResponse><Error><Type>Sender</Type><Code>${answer.error}</Code><Message>${answer.error}: no</Message></Error></ErrorResponse>`;
          response.writeHead(status ?? 500, { 'content-type': 'text/xml' }).end(error);
        } else if (target) response.writeHead(200, { 'content-type': 'application/x-amz-json-1.1' }).end(answer);
        else {
          const xml = `<${action}Response><${action}Result>${answer}</${action}Result></${action}Response>`;
          account.violations.push(...requestViolations(new URLSearchParams(body)), ...answerViolations(action, xml));
          response.writeHead(200, { 'content-type': 'text/xml' }).end(xml);
        }
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return account;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'cdk-postgres-verify-'));
const outdir = path.join(folder, 'cdk.out');
let parameters: Record<string, string>;
let secrets: number;
let account: AwsAccount;

beforeAll(async () => {
  account = await AwsAccount.start();
  const { app, stack, vpc } = cleanStack(new App({ outdir }));
  const server = new RdsPostgres(stack, 'Postgres', {
    vpc,
    version: PostgresVersion.V18,
    objectives: OBJECTIVES,
    identifier: 'shop-db',
  });
  server.acknowledge({ id: 'OPS-4', reason: 'nobody looks at this server' });
  app.synth();
  const { Resources } = JSON.parse(fs.readFileSync(path.join(outdir, 'Test.template.json'), 'utf8'));
  const of = (type: string) => Object.values<any>(Resources).filter(({ Type }) => Type === type);
  parameters = of('AWS::RDS::DBParameterGroup')[0].Properties.Parameters;
  secrets = of('AWS::SecretsManager::RotationSchedule').length;
});
afterAll(async () => {
  await account.stop();
  fs.rmSync(folder, { recursive: true });
});
beforeEach(() => {
  account.asked.length = 0;
});
afterEach(() => expect(account.violations.splice(0)).toEqual([]));

const instance = (changes: Record<string, string> = {}) => {
  const fields: Record<string, string> = {
    DBInstanceIdentifier: 'shop-db',
    DBInstanceStatus: 'available',
    Engine: 'postgres',
    EngineVersion: '18.4',
    CACertificateIdentifier: 'rds-ca-rsa2048-g1',
    CertificateDetails: '<ValidTill>2999-01-31T00:00:00Z</ValidTill>',
    StorageEncrypted: 'true',
    PubliclyAccessible: 'false',
    IAMDatabaseAuthenticationEnabled: 'true',
    DeletionProtection: 'true',
    BackupRetentionPeriod: '14',
    MultiAZ: 'true',
    MasterUsername: 'postgres',
    Endpoint: '<Port>5433</Port>',
    EnabledCloudwatchLogsExports: '<member>postgresql</member><member>upgrade</member>',
    DBParameterGroups:
      '<DBParameterGroup><DBParameterGroupName>shop</DBParameterGroupName><ParameterApplyStatus>in-sync</ParameterApplyStatus></DBParameterGroup>',
    TagList:
      '<Tag><Key>aws:cloudformation:stack-name</Key><Value>Test</Value></Tag>' +
      '<Tag><Key>aws:cloudformation:logical-id</Key><Value>Postgres101C52D7</Value></Tag>',
    ...changes,
  };
  const xml = Object.entries(fields).map(([name, value]) => `<${name}>${value}</${name}>`);
  return `<DBInstances><DBInstance>${xml.join('')}</DBInstance></DBInstances>`;
};

const group = (changes: Record<string, string> = {}) =>
  `<Parameters>${Object.entries({ ...parameters, ...changes })
    .map(
      ([name, value]) =>
        `<Parameter><ParameterName>${name}</ParameterName><ParameterValue>${value}</ParameterValue></Parameter>`,
    )
    .join('')}</Parameters>`;

const rotated = (changes: object = {}) =>
  JSON.stringify({
    SecretList: Array.from({ length: secrets }, (_, at) => ({
      Name: `secret-${at}`,
      RotationEnabled: true,
      LastRotatedDate: 1_780_000_000,
      Tags: [{ Key: 'aws:cloudformation:stack-name', Value: 'Test' }],
      ...changes,
    })),
  });

const asDeclared = (changes: Account = {}): Account => ({
  DescribeDBInstances: instance(),
  DescribeDBParameters: group(),
  ListSecrets: rotated(),
  ...changes,
});

function run(answers: Account, ...more: string[]): Promise<CliResult> {
  account.answers = answers;
  return cli(['verify-account', '--stack', 'Test', '--app-dir', outdir, ...more], {
    env: {
      AWS_ACCESS_KEY_ID: 'test',
      AWS_SECRET_ACCESS_KEY: 'test',
      AWS_ENDPOINT_URL_RDS: account.url,
      AWS_ENDPOINT_URL_SECRETS_MANAGER: account.url,
      AWS_MAX_ATTEMPTS: '1',
    },
  });
}

async function items(answers: Account): Promise<{ code: number; of: (begin: string) => Item; all: Item[] }> {
  const { code, stdout, stderr } = await run(answers, '--json');
  expect(stderr).toBe('');
  const all = JSON.parse(stdout) as Item[];
  return { code, all, of: (begin) => all.find(({ claim }) => claim.startsWith(begin))! };
}

test('each claim that is looked into is one row of the document, and every row is reported', async () => {
  const claims = readRows(DOCUMENT).map(({ claim }) => claim);
  for (const begin of CHECKED_CLAIMS)
    expect([begin, claims.filter((claim) => claim.startsWith(begin)).length]).toEqual([begin, 1]);
  const { all } = await items(asDeclared());
  expect(all.map(({ claim }) => claim)).toEqual(claims);
  const unchecked = all.filter(({ verdict }) => verdict === 'not checked');
  expect(unchecked).toHaveLength(claims.length - CHECKED_CLAIMS.length);
  expect(unchecked.every(({ saw }) => /^to find out: ./.test(saw[0]))).toBe(true);
});

test('a stack that runs as declared: what was seen of each, with exit code 0', async () => {
  const { code, of } = await items(asDeclared());
  expect(code).toBe(0);
  expect(of('The template deploys')).toMatchObject({ verdict: 'confirmed', saw: ['shop-db stands'] });
  expect(of('What runs is')).toMatchObject({
    verdict: 'confirmed',
    saw: expect.arrayContaining([
      'shop-db: CACertificateIdentifier rds-ca-rsa2048-g1',
      'shop-db: its certificate is valid until 2999-01-31',
      'shop-db: exports postgresql, upgrade',
    ]),
  });
  expect(of("The deploy guard's reading")).toMatchObject({ verdict: 'confirmed' });
  expect(of('Parameter names')).toMatchObject({
    verdict: 'confirmed',
    saw: [`shop-db: ${Object.keys(parameters).length} parameters of shop as declared`],
  });
  expect(of('Rotation as')).toMatchObject({ verdict: 'confirmed' });
  expect(of('Minor versions')).toMatchObject({
    verdict: 'unknown',
    saw: expect.arrayContaining(['shop-db runs 18.4']),
  });
});

test('it reads, and nothing else: what it asks is what --permissions prints', async () => {
  await items(asDeclared());
  expect(account.asked.length).toBeGreaterThan(0);
  expect(account.asked.filter((action) => !(ACTIONS as readonly string[]).includes(action))).toEqual([]);
  expect(ACTIONS.filter((action) => !/^\w+:(Describe|List)/.test(action))).toEqual([]);
  account.asked.length = 0;
  const { code, stdout } = await run(asDeclared(), '--permissions');
  expect(JSON.parse(stdout).Statement[0].Action).toEqual(ACTIONS);
  expect(code).toBe(0);
  expect(account.asked).toEqual([]);
});

test.each<[string, string, () => Account, RegExp]>([
  [
    'no server',
    'The template deploys',
    () => ({ DescribeDBInstances: { error: 'DBInstanceNotFound' } }),
    /RDS has no shop-db/,
  ],
  [
    'a server of somebody else',
    'The template deploys',
    () => ({ DescribeDBInstances: instance({ TagList: '' }) }),
    /shop-db was made by no stack/,
  ],
  [
    'SEC-13: another authority',
    'What runs is',
    () => ({ DescribeDBInstances: instance({ CACertificateIdentifier: 'rds-ca-2019' }) }),
    /CACertificateIdentifier is rds-ca-2019, and rds-ca-rsa2048-g1 is declared/,
  ],
  [
    'SEC-13: a certificate that ends soon',
    'What runs is',
    () => ({
      DescribeDBInstances: instance({ CertificateDetails: '<ValidTill>2026-01-31T00:00:00Z</ValidTill>' }),
    }),
    /its certificate ends on 2026-01-31/,
  ],
  [
    'SEC-13: a rotation that waits',
    'What runs is',
    () => ({
      DescribePendingMaintenanceActions:
        '<PendingMaintenanceActions><ResourcePendingMaintenanceActions><ResourceIdentifier>arn:aws:rds:eu-central-1:1:db:shop-db</ResourceIdentifier>' +
        '<PendingMaintenanceActionDetails><PendingMaintenanceAction><Action>ca-certificate-rotation</Action></PendingMaintenanceAction>' +
        '</PendingMaintenanceActionDetails></ResourcePendingMaintenanceActions></PendingMaintenanceActions>',
    }),
    /shop-db: RDS waits to run ca-certificate-rotation/,
  ],
  [
    'LIB-6: a log that is not exported',
    'What runs is',
    () => ({ DescribeDBInstances: instance({ EnabledCloudwatchLogsExports: '<member>upgrade</member>' }) }),
    /the log postgresql is not exported/,
  ],
  [
    'a parameter that differs',
    'Parameter names',
    () => ({ DescribeDBParameters: group({ 'rds.force_ssl': '0' }) }),
    /rds\.force_ssl is 0 in shop, and 1 is declared/,
  ],
  [
    'the guard',
    "The deploy guard's reading",
    () => ({ DescribeDBInstances: instance({ EngineVersion: '17.10' }) }),
    /it would refuse the template that is deployed: .*EngineVersion/,
  ],
  [
    'a secret that does not rotate',
    'Rotation as',
    () => ({ ListSecrets: rotated({ RotationEnabled: false }) }),
    /1 secret is declared to rotate, and 0 of the stack's 1 do/,
  ],
])('what contradicts is said, with exit code 2: %s', async (_, begin, changes, saw) => {
  const { code, of } = await items(asDeclared(changes()));
  expect(of(begin).verdict).toBe('contradicted');
  expect(of(begin).saw.join('\n')).toMatch(saw);
  expect(code).toBe(2);
});

test('a call that is not allowed leaves its row unknown, and the others are looked into', async () => {
  const { code, of } = await items(asDeclared({ ListSecrets: { error: 'AccessDeniedException' } }));
  expect(of('Rotation as')).toMatchObject({ verdict: 'unknown', saw: ['not allowed: no'] });
  expect(of('The template deploys').verdict).toBe('confirmed');
  expect(code).toBe(0);
});

test('maintenance that cannot be seen leaves the row unknown, with all else that was seen', async () => {
  const { of } = await items(asDeclared({ DescribePendingMaintenanceActions: { error: 'AccessDenied' } }));
  const { verdict, saw } = of('What runs is');
  expect(verdict).toBe('unknown');
  expect(saw).toContain('shop-db: StorageEncrypted true');
  expect(saw[saw.length - 1]).toBe('what waits for maintenance was not seen (not allowed: AccessDenied: no)');
});

test('for people: groups by what was found, what was not checked last, with what to do', async () => {
  const { stdout } = await run(asDeclared());
  expect(stdout).toMatch(/^unknown \(\d+\)$[^]*^confirmed \(\d+\)$[^]*^not checked \(\d+\)$/m);
  expect(stdout).toMatch(/GRANT rds_iam\n {4}- to find out: declare a role/);
});

test('without a stack, or without an answer, it says what to do, with exit code 1', async () => {
  const none = await cli(['verify-account']);
  expect([none.code, none.stderr]).toEqual([
    1,
    'cdk-postgres: name the stack with --stack, or print the policy with --permissions\n',
  ]);
  const refused = { error: 'InvalidClientTokenId' };
  const broken = await run({ DescribeDBInstances: refused, ListSecrets: refused });
  expect(broken.code).toBe(1);
  expect(broken.stderr).toMatch(/^cdk-postgres: AWS could not be asked \(InvalidClientTokenId: no\)\n$/);
});
