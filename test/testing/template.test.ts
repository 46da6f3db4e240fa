import { App, Stack, aws_lambda as lambda, aws_ecr_assets as images, aws_ecs as ecs } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { maskTemplate, templateSerializer } from '../../lib/testing';
import { quiet } from '../server/support';
import { shop } from './app';

quiet();

jest.mock('../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('../server/state/fake-bundles').fakeBundle(),
}));

expect.addSnapshotSerializer(templateSerializer);

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'cdk-postgres-assets-'));
afterAll(() => fs.rmSync(folder, { recursive: true }));

const A = 'a'.repeat(64);
const B = 'b'.repeat(64);

/** Assets of every kind that CDK has, with this content. */
function withAssets(content: string): object {
  const directory = path.join(folder, content);
  fs.mkdirSync(directory, { recursive: true });
  fs.writeFileSync(path.join(directory, 'index.js'), `exports.handler = () => '${content}'`);
  fs.writeFileSync(path.join(directory, 'Dockerfile'), `FROM scratch\nLABEL content=${content}\n`);
  const stack = new Stack(new App(), 'S');
  const made = new lambda.Function(stack, 'Function', {
    runtime: lambda.Runtime.NODEJS_24_X,
    handler: 'index.handler',
    code: lambda.Code.fromAsset(directory),
  });
  new lambda.Alias(stack, 'Live', { aliasName: 'live', version: made.currentVersion });
  const task = new ecs.FargateTaskDefinition(stack, 'Task');
  task.addContainer('app', {
    image: ecs.ContainerImage.fromDockerImageAsset(new images.DockerImageAsset(stack, 'Image', { directory })),
  });
  return Template.fromStack(stack).toJSON();
}

test('a template whose assets alone differ is masked to the same', () => {
  const [one, other] = [withAssets('one'), withAssets('other')];
  expect(JSON.stringify(one)).not.toBe(JSON.stringify(other));
  expect(JSON.stringify(maskTemplate(one))).toBe(JSON.stringify(maskTemplate(other)));
  const text = JSON.stringify(maskTemplate(one));
  for (const masked of [
    '<asset>.zip',
    'container-assets-${AWS::AccountId}-${AWS::Region}:<asset>',
    'FunctionCurrentVersion',
  ])
    expect(text).toContain(masked);
  expect(text).toMatch(/"FunctionCurrentVersion[0-9A-F]{8}<generated>"/);
});

describe('nothing else is masked', () => {
  const changed: [string, object, object][] = [
    ['a checksum that is no asset', { Fingerprint: A }, { Fingerprint: B }],
    ['a checksum in a sentence', { Description: `made from ${A}.` }, { Description: `made from ${B}.` }],
    ['a number', { Days: 1 }, { Days: 2 }],
    ['a logical id in a reference', { Of: { Ref: 'Db0A1B2C3D' } }, { Of: { Ref: 'DbFFFFFFFF' } }],
    ['a name with a hash of its path', { Name: 'shop-postgres-0a1b2c3d' }, { Name: 'shop-postgres-ffffffff' }],
    ['a longer hexadecimal number', { Key: `${A}0.zip` }, { Key: `${B}0.zip` }],
  ];
  const template = (properties: object) => ({ Resources: { It: { Type: 'AWS::X::Y', Properties: properties } } });

  test.each(changed)('%s', (_what, one, other) => {
    expect(maskTemplate(template(one))).not.toEqual(maskTemplate(template(other)));
  });

  test('the logical id of a resource that keeps its name', () => {
    const of = (id: string) => ({ Resources: { [id]: { Type: 'AWS::RDS::DBInstance' } } });
    expect(maskTemplate(of(`Db${'a'.repeat(32)}`))).not.toEqual(maskTemplate(of(`Db${'b'.repeat(32)}`)));
  });

  test('a declaration that is too long for the template, whose hash is its only trace', () => {
    const of = (hash: string) => ({
      Resources: {
        State: { Type: 'Custom::CdkPostgresState', Properties: { StateAsset: { Bucket: 'b', Key: `${hash}.json` } } },
        Policy: { Type: 'AWS::IAM::ManagedPolicy', Properties: { Resource: `arn:aws:s3:::b/${hash}.json` } },
        Function: { Type: 'AWS::Lambda::Function', Properties: { Code: { S3Key: `${'c'.repeat(64)}.zip` } } },
      },
    });
    expect(maskTemplate(of(A))).not.toEqual(maskTemplate(of(B)));
    expect(JSON.stringify(maskTemplate(of(A)))).toContain('"S3Key":"<asset>.zip"');
  });

  test('anything of a server: only the three functions have something to mask', () => {
    const json = Template.fromStack(shop().stack).toJSON();
    const masked = JSON.stringify(maskTemplate(json), null, 1).split('\n');
    const differing = JSON.stringify(json, null, 1)
      .split('\n')
      .map((line, at) => [line, masked[at]!])
      .filter(([line, other]) => line !== other);
    expect(differing.map(([, line]) => line!.trim())).toEqual(Array(3).fill('"S3Key": "<asset>.zip"'));
  });
});

test('prints a masked template for a snapshot, and leaves other values alone', () => {
  expect({
    Resources: { F: { Type: 'AWS::Lambda::Function', Properties: { Code: { S3Key: `${A}.zip` } } } },
  }).toMatchInlineSnapshot(`
   {
     "Resources": {
       "F": {
         "Properties": {
           "Code": {
             "S3Key": "<asset>.zip",
           },
         },
         "Type": "AWS::Lambda::Function",
       },
     },
   }
  `);
  expect({ Resources: [`${A}.zip`] }).toMatchInlineSnapshot(`
   {
     "Resources": [
       "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.zip",
     ],
   }
  `);
  const stack = new Stack(new App(), 'S');
  new lambda.CfnFunction(stack, 'F', { role: 'r', code: { s3Bucket: 'b', s3Key: `${B}.zip` } });
  expect(Template.fromStack(stack).findResources('AWS::Lambda::Function')).toHaveProperty('F');
  expect(Template.fromStack(stack)).toMatchInlineSnapshot(`
   {
     "Parameters": {
       "BootstrapVersion": {
         "Default": "/cdk-bootstrap/hnb659fds/version",
         "Description": "Version of the CDK Bootstrap resources in this environment, automatically retrieved from SSM Parameter Store. [cdk:skip]",
         "Type": "AWS::SSM::Parameter::Value<String>",
       },
     },
     "Resources": {
       "F": {
         "Properties": {
           "Code": {
             "S3Bucket": "b",
             "S3Key": "<asset>.zip",
           },
           "Role": "r",
         },
         "Type": "AWS::Lambda::Function",
       },
     },
     "Rules": {
       "CheckBootstrapVersion": {
         "Assertions": [
           {
             "Assert": {
               "Fn::Not": [
                 {
                   "Fn::Contains": [
                     [
                       "1",
                       "2",
                       "3",
                       "4",
                       "5",
                     ],
                     {
                       "Ref": "BootstrapVersion",
                     },
                   ],
                 },
               ],
             },
             "AssertDescription": "CDK bootstrap stack version 6 required. Please run 'cdk bootstrap' with a recent version of the CDK CLI.",
           },
         ],
       },
     },
   }
  `);
});
