import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { randomUUID } from 'node:crypto';
import { AssemblyStack, readAssembly } from '../../lib/runtime/preview/assembly';
import { generateSecret, GenerateSecretString } from '../../lib/runtime/preview/generated-password';
import { TemplateValues } from '../../lib/runtime/preview/template-values';
import { AwsApi } from './aws-api';
import { EmulatedDatabase } from './database';
import { ACCOUNT } from './emulator';

type Values = Map<string, string>;

/**
 * A synthesised app, with what the emulator's CloudFormation cannot do put in its place. Everything else is deployed as it is:
 *
 * - It makes no secrets, no clusters and no nodes of clusters. Secrets are made over their own API, from the properties in the template; the cluster is an
 *   embedded server. What the template refers to of them, it gets as literals.
 * - A `Ref` of a subnet group is an object of its own to it, and not the group's name.
 * - It has no call to protect a stack from termination.
 * - Only AWS can sign for the names of RDS: in the functions' bundles, the roots of RDS are exchanged for the test's.
 */
export class EmulatedAssembly {
  private readonly values: Values = new Map();

  private constructor(
    readonly directory: string,
    private readonly api: AwsApi,
  ) {}

  /** `earlier`: the app was deployed before, and has the secrets that were made then. */
  static async prepare(
    synthesised: string,
    api: AwsApi,
    database: EmulatedDatabase,
    ca: string,
    earlier?: EmulatedAssembly,
  ): Promise<EmulatedAssembly> {
    const directory = temporaryFolder();
    fs.cpSync(synthesised, directory, { recursive: true });
    const assembly = new EmulatedAssembly(directory, api);
    earlier?.values.forEach((value, reference) => assembly.values.set(reference, value));
    await assembly.makeRecords(database);
    rewrite(path.join(directory, 'Saas.template.json'), (template) => assembly.putLiterals(template));
    rewrite(path.join(directory, 'manifest.json'), (value) =>
      isRecord(value) && 'terminationProtection' in value ? { ...value, terminationProtection: false } : undefined,
    );
    for (const folder of readAssembly(directory).assets.values()) {
      const roots = path.join(folder, 'rds-ca.pem');
      if (fs.existsSync(roots)) fs.writeFileSync(roots, ca);
    }
    return assembly;
  }

  get stack(): AssemblyStack {
    return readAssembly(this.directory).stacks[0];
  }

  /** The logical id of the one resource of this type, or whose id has this in it. */
  idOf(type: string, part = ''): string {
    const resources = Object.entries(this.stack.template.Resources ?? {});
    const found = resources.filter(([id, resource]) => resource.Type === type && id.includes(part));
    if (found.length !== 1) throw new Error(`the template has ${found.length} of ${type} ${part}`);
    return found[0][0];
  }

  /** What CloudFormation would send to the function of a custom resource, with the physical ids of what was deployed. */
  properties(logicalId: string, physicalIds: ReadonlyMap<string, string>): Record<string, unknown> {
    const { stack } = this;
    const values = new TemplateValues({
      stacks: [stack],
      source: (_stack, id, attribute) => {
        const physical = physicalIds.get(id);
        if (attribute !== 'Arn' || physical === undefined) return physical;
        const type = stack.template.Resources![id].Type;
        const service = type === 'AWS::KMS::Key' ? 'kms' : 'lambda';
        const kind = type === 'AWS::KMS::Key' ? 'key/' : 'function:';
        return `arn:aws:${service}:${this.api.region}:${ACCOUNT}:${kind}${physical}`;
      },
    });
    return values.resolve(stack, stack.template.Resources![logicalId].Properties) as Record<string, unknown>;
  }

  /** The ARN of a secret, by a part of its logical id. */
  secret(part: string): string {
    return this.values.get(this.idOf('AWS::SecretsManager::Secret', part))!;
  }

  async secretValue(part: string): Promise<Record<string, string>> {
    const { SecretString } = await this.api.json<{ SecretString: string }>('secretsmanager.GetSecretValue', {
      SecretId: this.secret(part),
      VersionStage: 'AWSCURRENT',
    });
    return JSON.parse(SecretString) as Record<string, string>;
  }

  remove(): void {
    fs.rmSync(this.directory, { recursive: true, force: true });
  }

  private async makeRecords(database: EmulatedDatabase): Promise<void> {
    for (const [id, { Type, Properties = {} }] of Object.entries(this.stack.template.Resources ?? {})) {
      switch (Type) {
        case 'AWS::SecretsManager::Secret':
          if (!this.values.has(id)) this.values.set(id, await this.makeSecret(id, Properties));
          break;
        case 'AWS::RDS::DBCluster':
          this.values.set(id, String(Properties.DBClusterIdentifier));
          this.values.set(`${id}.DBClusterResourceId`, database.resourceId);
          this.values.set(`${id}.Endpoint.Address`, database.host);
          this.values.set(`${id}.ReadEndpoint.Address`, database.readerHost);
          break;
        case 'AWS::RDS::DBInstance':
          this.values.set(id, String(Properties.DBInstanceIdentifier));
          break;
        case 'AWS::RDS::DBProxy':
          this.values.set(id, String(Properties.DBProxyName));
          this.values.set(`${id}.Endpoint`, database.host);
          break;
        case 'AWS::RDS::DBSubnetGroup':
        case 'AWS::RDS::DBParameterGroup':
        case 'AWS::RDS::DBClusterParameterGroup':
          this.values.set(id, `saas-${id}`.toLowerCase());
          break;
      }
    }
    const resources = Object.entries(this.stack.template.Resources ?? {});
    for (const [id, { Type, Properties = {} }] of resources) {
      if (Type !== 'AWS::SecretsManager::SecretTargetAttachment') continue;
      this.values.set(id, this.values.get((Properties.SecretId as { Ref: string }).Ref)!);
    }
  }

  private async makeSecret(id: string, properties: Readonly<Record<string, unknown>>): Promise<string> {
    const value = generateSecret((properties.GenerateSecretString ?? {}) as GenerateSecretString);
    const { ARN } = await this.api.json<{ ARN: string }>('secretsmanager.CreateSecret', {
      Name: id,
      SecretString: JSON.stringify(value),
      ClientRequestToken: randomUUID(),
    });
    return ARN;
  }

  /** Undefined: nothing of ours. A cluster stays in the template, since the emulator skips what it does not know; its nodes follow it. */
  private putLiterals(value: unknown): unknown {
    if (value === 'AWS::RDS::DBInstance') return 'AWS::RDS::DBInstanceOfCluster';
    if (!isRecord(value)) return undefined;
    const [[name, argument] = []] = Object.entries(value);
    if (Object.keys(value).length !== 1) return undefined;
    if (name === 'Ref') return this.values.get(String(argument));
    if (name === 'Fn::GetAtt') return this.values.get([argument].flat().join('.'));
    return undefined;
  }
}

/** A folder for a synthesised app. */
export function temporaryFolder(): string {
  return fs.mkdtempSync(path.join(os.tmpdir(), 'cdk-postgres-emulator-'));
}

function rewrite(file: string, replacement: (value: unknown) => unknown): void {
  const walk = (value: unknown): unknown => {
    const found = replacement(value);
    if (found !== undefined) return found;
    if (Array.isArray(value)) return value.map(walk);
    if (!isRecord(value)) return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, walk(item)]));
  };
  fs.writeFileSync(file, JSON.stringify(walk(JSON.parse(fs.readFileSync(file, 'utf8'))), undefined, 1));
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
