import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { App } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import { Authentication } from '../../../lib/database';
import { decodeState } from '../../../lib/contract';
import { DeclaredServer, newStack, stateResource } from '../../database/declared-server';

jest.mock('../../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('./fake-bundles').fakeBundle(),
}));

function declared(context = {}, props = {}) {
  const stack = newStack(context);
  const server = new DeclaredServer(stack, 'Server', props);
  const app = server.addDatabase('app');
  return { stack, server, app };
}

describe('the state resource', () => {
  test('is not there until something is declared', () => {
    const stack = newStack();
    new DeclaredServer(stack, 'Server');
    const template = Template.fromStack(stack);
    template.resourceCountIs('Custom::CdkPostgresState', 0);
    template.resourceCountIs('AWS::Lambda::Function', 0);
  });

  test('is one per server, however much is declared, and roles without a password add no resource', () => {
    const count = (tenants: number) => {
      const { stack, app } = declared();
      for (let tenant = 0; tenant < tenants; tenant++) {
        const role = app.addLoginRole(`t${tenant}`, { authentication: Authentication.iam() });
        app.addSchema(`t${tenant}`).grantReadWrite(role);
      }
      const template = Template.fromStack(stack);
      template.resourceCountIs('Custom::CdkPostgresState', 1);
      return Object.keys(template.toJSON().Resources).length;
    };
    expect(count(100)).toBe(count(1));
  });

  test('tells the function where the server is and how long it may take', () => {
    const { stack, server } = declared();
    const { Properties } = stateResource(stack);
    expect(Properties.Server).toEqual({
      Platform: 'aurora',
      Identity: 'cluster-ABC',
      Host: 'writer.example',
      ReaderHost: 'reader.example',
      Port: 5433,
      AdminSecretArn: stack.resolve(server.adminSecret.secretArn),
      AdminDatabase: 'postgres',
      Trust: 'rds',
    });
    expect(Properties.ServiceTimeout).toBe('1200');
    expect(decodeState(Properties.State)).toMatchObject({ name: 'Test', profile: 'production', defaults: 'V1' });
  });

  test('waits for the function policies, its log group, its way to the server, and what the server names', () => {
    const { stack, app } = declared();
    app.addLoginRole('api');
    const waits = stateResource(stack).DependsOn!;
    for (const part of [
      /^ServerStateApplyPolicy/,
      /^ServerStateApplyNetworkPolicy/,
      /^ServerStateApplyLogs/,
      /^ServerStateApplyToServer/,
      /^ServerStateApplyFromFunction/,
      /^ServerStateApplySecurityGroup/,
      /^ServerDatabaseappRoleapiSecretPolicy/,
    ]) {
      expect(waits.filter((id) => part.test(id))).toHaveLength(1);
    }
    Template.fromStack(stack).hasResource('AWS::Lambda::Function', {
      DependsOn: Match.arrayWith([Match.stringLikeRegexp('^ServerStateApplyPolicy')]),
    });
  });

  test('waits for endpoints of the VPC that are declared after it', () => {
    const { stack, server } = declared();
    server.vpc.addGatewayEndpoint('S3', { service: { name: 'com.amazonaws.eu-west-1.s3' } });
    expect(stateResource(stack).DependsOn).toEqual(expect.arrayContaining([expect.stringMatching(/^ServerVpcS3/)]));
  });

  test('keeps the logical ids that CloudFormation must never see change', () => {
    const { stack } = declared();
    const template = Template.fromStack(stack);
    expect(Object.keys(template.findResources('Custom::CdkPostgresState'))).toEqual(['ServerState0D00F17D']);
    const [[id, apply]] = Object.entries(template.findResources('AWS::Lambda::Function'));
    expect(id).toBe('ServerStateApplyFunction7DDE9479');
    expect(apply.Properties).not.toHaveProperty('FunctionName');
  });
});

describe('a state of 100 kB and more', () => {
  const large = () => {
    const { stack, app } = declared();
    const role = app.addLoginRole('api', { authentication: Authentication.iam() });
    for (let schema = 0; schema < 300; schema++)
      app.addSchema(`schema_with_a_long_name_${schema}`).grantReadWrite(role);
    return { stack, app };
  };

  test('travels as a file that the function alone may read, and whose name is its content', () => {
    const { stack } = large();
    const assembly = (stack.node.root as App).synth();
    const { Resources } = assembly.getStackByName('Test').template;
    const [state] = Object.values(Resources).filter((r: any) => r.Type === 'Custom::CdkPostgresState') as any[];
    expect(state.Properties.State).toBeUndefined();
    const { Bucket, Key } = state.Properties.StateAsset;
    expect(Bucket['Fn::Sub']).toMatch(/^cdk-hnb659fds-assets-/);
    const hash = Key.replace('.json', '');
    const text = readFileSync(join(assembly.directory, `asset.${hash}.json`), 'utf8');
    expect(createHash('sha256').update(text).digest('hex')).toBe(hash);
    expect(decodeState(JSON.parse(text)).databases[0].schemas).toHaveLength(300);
    const manifest = JSON.parse(readFileSync(join(assembly.directory, 'Test.assets.json'), 'utf8'));
    expect(manifest.files[hash].source).toEqual({ path: `asset.${hash}.json`, packaging: 'file' });
    const policies = Object.entries(Resources).filter(([id]) => id.startsWith('ServerStateApplyPolicy')) as [
      string,
      any,
    ][];
    const reads = policies[0][1].Properties.PolicyDocument.Statement.filter((s: any) => s.Action === 's3:GetObject');
    expect(reads).toHaveLength(1);
    expect(JSON.stringify(reads[0].Resource)).toContain(Key);
    expect(JSON.stringify(reads[0].Resource)).not.toContain('*');
  });

  test('is not a file below that', () => {
    const { stack } = declared();
    expect(stateResource(stack).Properties.StateAsset).toBeUndefined();
    const policies = JSON.stringify(Template.fromStack(stack).findResources('AWS::IAM::ManagedPolicy'));
    expect(policies).not.toContain('s3:GetObject');
  });
});

describe('secrets', () => {
  test('are one per password role, with a user name alone in the part that may not change', () => {
    const { stack, app } = declared();
    app.addLoginRole('api');
    app.addLoginRole('report', { authentication: Authentication.iam() });
    const template = Template.fromStack(stack);
    const secrets = Object.values(
      template.findResources('AWS::SecretsManager::Secret', {
        Properties: { GenerateSecretString: Match.objectLike({ GenerateStringKey: 'password' }) },
      }),
    );
    expect(secrets.map((secret) => secret.Properties.GenerateSecretString)).toEqual([
      {
        SecretStringTemplate: '{"username":"api"}',
        GenerateStringKey: 'password',
        PasswordLength: 40,
        ExcludePunctuation: true,
      },
    ]);
    expect(secrets[0].Properties.KmsKeyId).toBeDefined();
    const { Properties } = stateResource(stack);
    expect(Object.keys(Properties.Secrets)).toEqual(['api']);
    expect(Properties.HomeDatabases).toEqual({ api: 'app' });
  });

  test('let the two functions in by their own policy, each with what it needs', () => {
    const { stack, app } = declared();
    app.addLoginRole('api');
    const [policy] = Object.values(Template.fromStack(stack).findResources('AWS::SecretsManager::ResourcePolicy'));
    const statements = policy.Properties.ResourcePolicy.Statement.map((s: any) => [
      JSON.stringify(s.Principal).match(/ServerState(Apply|Rotate)Role/)![1],
      s.Action.map((action: string) => action.replace('secretsmanager:', '')),
    ]);
    expect(statements).toEqual([
      ['Apply', ['GetSecretValue', 'DescribeSecret', 'PutSecretValue']],
      ['Rotate', ['GetSecretValue', 'DescribeSecret', 'PutSecretValue', 'UpdateSecretVersionStage']],
    ]);
  });

  test('rotate by our function, not at once, and after the role is there', () => {
    const { stack, app } = declared();
    app.addLoginRole('api');
    const template = Template.fromStack(stack);
    template.hasResource('AWS::SecretsManager::RotationSchedule', {
      Properties: {
        RotateImmediatelyOnUpdate: false,
        RotationRules: { AutomaticallyAfterDays: 30 },
        RotationLambdaARN: { 'Fn::GetAtt': [Match.stringLikeRegexp('^ServerStateRotateFunction'), 'Arn'] },
      },
      DependsOn: Match.arrayWith([
        Match.stringLikeRegexp('^ServerState[0-9A-F]{8}$'),
        Match.stringLikeRegexp('^ServerStateRotatePermission'),
      ]),
    });
    template.hasResourceProperties('AWS::Lambda::Permission', {
      Principal: 'secretsmanager.amazonaws.com',
      SourceAccount: { Ref: 'AWS::AccountId' },
    });
  });

  test('the admin secret rotates also where nothing is declared', () => {
    const stack = newStack();
    const server = new DeclaredServer(stack, 'Server');
    server.state.rotateAdminSecret();
    const template = Template.fromStack(stack);
    template.resourceCountIs('AWS::SecretsManager::RotationSchedule', 1);
    template.resourceCountIs('Custom::CdkPostgresState', 0);
    template.hasResourceProperties('AWS::Lambda::Function', {
      Environment: { Variables: { CDK_POSTGRES_SERVER: Match.anyValue() } },
    });
  });

  test('more than 150 in a stack are a finding (SEC-18), which can be acknowledged', () => {
    const synth = (roles: number, acknowledge = false) => {
      const { stack, server, app } = declared({ '@aws-cdk/core:stackResourceLimit': 0 });
      for (let role = 0; role < roles; role++) app.addLoginRole(`r${role}`);
      if (acknowledge) server.acknowledge({ id: 'SEC-18', reason: 'the stack has few other resources' });
      return () => (stack.node.root as App).synth();
    };
    expect(synth(150)).not.toThrow();
    expect(synth(151)).toThrow(/SEC-18/);
    expect(synth(151, true)).not.toThrow();
  });
});

describe('the emergency exit', () => {
  test('says why, loudly, and tells the function to leave the database alone', () => {
    const { stack } = declared({ 'cdk-postgres:skipState': 'INC-42: run lock stuck' });
    expect(stateResource(stack).Properties.SkipReason).toBe('INC-42: run lock stuck');
    Annotations.fromStack(stack).hasWarning('/Test/Server', Match.stringLikeRegexp('INC-42: run lock stuck'));
  });

  test('is not taken otherwise', () => {
    const { stack } = declared();
    expect(stateResource(stack).Properties).not.toHaveProperty('SkipReason');
  });

  test.each([[''], ['  '], [true], [1]])('needs a reason, which %j is not', (reason) => {
    expect(() => declared({ 'cdk-postgres:skipState': reason })).toThrow(/cdk-postgres:skipState needs a reason/);
  });
});

describe('an acknowledged plan', () => {
  test('is in the state, and its reason in the assembly', () => {
    const { stack, server } = declared();
    server.state.acknowledgePlan('0123456789abcdef', 'report reads billing no more');
    expect(stateResource(stack).Properties.State.acknowledgedPlans).toEqual(['0123456789abcdef']);
    expect(server.state.node.metadata).toContainEqual(
      expect.objectContaining({
        type: 'cdk-postgres:acknowledged-plan',
        data: { hash: '0123456789abcdef', reason: 'report reads billing no more' },
      }),
    );
  });

  test.each([
    ['everything', 'because', /is not a plan's hash/],
    ['0123456789abcdef', ' ', /needs a reason/],
  ])('refuses %j for %j', (hash, reason, message) => {
    const { server } = declared();
    expect(() => server.state.acknowledgePlan(hash, reason)).toThrow(message);
  });
});
