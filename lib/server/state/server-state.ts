import {
  Annotations,
  CustomResource,
  Duration,
  FileAssetPackaging,
  IResolvable,
  Lazy,
  RemovalPolicy,
  Stack,
  Stage,
  Token,
} from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import { Construct, Dependable, IConstruct, IDependable } from 'constructs';
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { addFinding } from '../../compliance';
import {
  DRIFT_MODE_VARIABLE,
  DesiredState,
  encodeState,
  Platform,
  POOLER_PICKUP_VARIABLE,
  PROBE_DATABASES_VARIABLE,
  PROBE_SECRET_VARIABLE,
  Profile,
  SERVER_VARIABLE,
  STATE_NAME_VARIABLE,
  STATE_RESOURCE_TYPE,
  stateProblems,
} from '../../contract';
import { contradictions } from './contradictions';
import { Declaration } from './declaration';
import { requireDays, requireText } from './literals';
import { ServerFunction } from './server-function';
import { endpointsInStack } from './vpc-services';

export interface ServerStateProps {
  /** @default - the stack's name */
  readonly stateName?: string;
  readonly platform: Platform;
  /** The server's immutable identity: DbiResourceId, DbClusterResourceId, or what the user states for an external server. */
  readonly identity: string;
  readonly host: string;
  readonly readerHost?: string;
  /** A literal. */
  readonly port: number;
  /** Absent: not known before the server is asked; the function then checks what depends on it. */
  readonly majorVersion?: number;
  /**
   * Whether the server may be of a later version than `majorVersion`, which nobody has said.
   * @default false
   */
  readonly leastVersion?: boolean;
  /**
   * Whether roles may log in with IAM tokens.
   * @default - true on RDS and Aurora
   */
  readonly iamAuthentication?: boolean;
  /** The secret of the role that applies the state. On a managed server the attached one, so that it holds host and port. */
  readonly adminSecret: secretsmanager.ISecret;
  /**
   * The name of that role.
   * @default - known by its secret alone
   */
  readonly adminRole?: string;
  /** `rds`, `public`, or a PEM text. */
  readonly trust: string;
  /**
   * The PEM text on one line, where it is known at the deployment alone: within a text of JSON, CloudFormation puts a value as it is.
   * @default - `trust`
   */
  readonly trustLine?: string;
  /** @default - the functions run outside a VPC */
  readonly vpc?: ec2.IVpc;
  readonly vpcSubnets?: ec2.SubnetSelection;
  /** The server's own security groups, to which the functions get a way. */
  readonly serverSecurityGroups?: ec2.ISecurityGroup[];
  readonly encryptionKey: kms.IKey;
  readonly profile: Profile;
  readonly defaults: DesiredState['defaults'];
  /** What must exist before a function can log in: the writer instance, the secret attachment, rules. Narrow constructs, never the whole server. */
  readonly dependencies: IDependable[];
  /** See `ServerFunctionProps.reserveConcurrency`. */
  readonly reserveConcurrency?: boolean;
  /**
   * How often passwords change.
   * @default Duration.days(30)
   */
  readonly rotationInterval?: Duration;
}

/** From this many bytes on the declaration travels as a file: an Update event carries it twice. */
export const INLINE_STATE_BYTES = 100_000;

/** More secrets than this, with their policies and schedules, come near CloudFormation's limit of 500 resources. */
export const MAX_PASSWORD_ROLES = 150;

/** What Secrets Manager takes as AutomaticallyAfterDays. */
const MAX_ROTATION_DAYS = 1000;

/** The context key of the emergency exit. */
export const SKIP_STATE_CONTEXT = 'cdk-postgres:skipState';

const APPLY_TIMEOUT = Duration.minutes(15);
/** The function answers before its own deadline; the rest is for a crash, after which Lambda runs the event again. */
const SERVICE_TIMEOUT = Duration.minutes(20);

/** How many rotations run at once. */
const ROTATIONS = 5;

/** By app, the states that something is declared in, by server and name. */
const NAMES = new WeakMap<IConstruct, Map<string, ServerState>>();
const STATES = new WeakMap<IConstruct, ServerState>();
const PASSWORD_ROLES = new WeakMap<Stack, number>();

/**
 * What is declared inside one server, and the one custom resource that takes it there. It creates nothing until something is
 * declared. A child of the server's construct; `ServerState.of(server)` finds it.
 */
export class ServerState extends Construct {
  /** The state of a server's construct. */
  public static of(server: IConstruct): ServerState {
    const state = STATES.get(server);
    if (!state) throw new Error(`${server.node.path}: nothing can be declared inside this server`);
    return state;
  }

  public readonly stateName: string;
  /** Stands for the applied state: what depends on it waits until roles, grants and databases are there. */
  public readonly applied: IDependable;
  /** The ways to AWS's APIs that the app declares, which may come later than the state. */
  public readonly endpoints: IDependable;
  private readonly rotationDays: number;
  private readonly declaration = new Declaration();
  private readonly secrets: Record<string, string> = {};
  private readonly homeDatabases: Record<string, string> = {};
  private readonly connectionSecrets: Record<string, string> = {};
  private resource?: CustomResource;
  private applyFunction?: ServerFunction;
  private rotateFunction?: ServerFunction;
  private rotatePermission?: lambda.CfnPermission;
  private cached?: {
    readonly revision: number;
    readonly declared: DesiredState;
    readonly document: object;
    readonly json: string;
    readonly problems: readonly string[];
  };
  private revision = 0;
  private rotatesAdminSecret = false;
  private rotatesByAdministrator = false;
  private lateReaderHost?: string;
  /** How many runs of each function may go on at once; each opens two sessions at most. */
  private readonly runs = new Map<string, number>();

  constructor(
    public readonly server: Construct,
    id: string,
    public readonly props: ServerStateProps,
  ) {
    super(server, id);
    STATES.set(server, this);
    if (Token.isUnresolved(props.port)) {
      throw new Error(
        `${server.node.path}: port must be a literal number; a token cannot stand in a security group rule`,
      );
    }
    const { rotationInterval, stateName } = props;
    if (stateName !== undefined && requireText(server, 'stateName', stateName) === '')
      throw new Error(`${server.node.path}: stateName is empty; leave it out for the stack's name`);
    this.rotationDays =
      rotationInterval === undefined
        ? 30
        : requireDays(server, 'passwordRotation', rotationInterval, 1, MAX_ROTATION_DAYS);
    const stack = Stack.of(this);
    this.stateName = props.stateName ?? (Token.isUnresolved(stack.stackName) ? stack.node.path : stack.stackName);
    this.applied = lazily(() => (this.resource ? [this.resource] : []));
    // Not thrown where the template is resolved: CDK would bury the message under the path of each token.
    this.node.addValidation({ validate: () => (this.isEmpty ? [] : [...this.encoded().problems]) });
    this.endpoints = lazily(() => (props.vpc ? endpointsInStack(this, props.vpc) : []));
  }

  /** Whether the declaration is empty, and nothing is created. */
  public get isEmpty(): boolean {
    return this.resource === undefined;
  }

  public get supportsIam(): boolean {
    return this.props.iamAuthentication ?? this.props.platform !== 'external';
  }

  /** How many runs of this library's functions may be connected at once. */
  public get functionRuns(): { readonly runs: number; readonly duties: string[] } {
    const counts = [...this.runs.values()];
    return { runs: counts.reduce((sum, count) => sum + count, 0), duties: [...this.runs.keys()] };
  }

  /** The host that serves reads, where it was made after the server. Secrets and functions name it. */
  public setReaderHost(host: string): void {
    this.lateReaderHost = host;
  }

  /** Adds to what is declared inside the server. */
  public declare(change: (declaration: Declaration) => void): void {
    change(this.declaration);
    this.revision++;
    this.ensureResource();
  }

  private readonly failoverSlotListeners: (() => void)[] = [];
  private hasFailoverSlot = false;

  /** Notes that a slot is to survive a failover. */
  public noteFailoverSlot(): void {
    if (this.hasFailoverSlot) return;
    this.hasFailoverSlot = true;
    this.failoverSlotListeners.forEach((listener) => listener());
  }

  /** Calls it once, when the first slot is declared that is to survive a failover, or now. */
  public onFailoverSlot(listener: () => void): void {
    if (this.hasFailoverSlot) listener();
    else this.failoverSlotListeners.push(listener);
  }

  /** The names of the extensions that are declared in any database, as far as the app has come. */
  public extensions(): readonly string[] {
    return this.declaration.extensions();
  }

  /** Lets the withheld steps of one plan run, and of no other. */
  public acknowledgePlan(hash: string, reason: string): void {
    const path = this.server.node.path;
    if (!/^[0-9a-f]{8,64}$/.test(hash)) {
      throw new Error(`${path}: ${JSON.stringify(hash)} is not a plan's hash; copy it from the plan that was withheld`);
    }
    if (typeof reason !== 'string' || reason.trim() === '')
      throw new Error(`${path}: the acknowledgement of the plan ${hash} needs a reason`);
    this.node.addMetadata('cdk-postgres:acknowledged-plan', { hash, reason });
    this.revision++;
    this.declaration.acknowledgePlan(hash);
  }

  /** Lets the functions at the secret of a role, has them keep it up to date, and rotates it. */
  public addSecret(by: Construct, role: string, secret: secretsmanager.Secret, homeDatabase: string): void {
    this.declare(() => {
      this.secrets[role] = secret.secretArn;
      this.homeDatabases[role] = homeDatabase;
    });
    const stack = Stack.of(this);
    PASSWORD_ROLES.set(stack, (PASSWORD_ROLES.get(stack) ?? 0) + 1);
    const rotate = this.rotation();
    // An IAM policy ends at about 45 secret ARNs; a policy of each secret's own has no such end.
    secret.addToResourcePolicy(secretStatement(this.applyFunction!.role, ['PutSecretValue']));
    const { policyDependable } = secret.addToResourcePolicy(
      secretStatement(rotate.role, ['PutSecretValue', 'UpdateSecretVersionStage']),
    );
    this.resource!.node.addDependency(policyDependable!);
    this.schedule(by, secret, [policyDependable!, this.applied]);
  }

  /** All that is declared by now. */
  public declared(): DesiredState {
    return this.encoded().declared;
  }

  /** Where sessions that work as one of these roles may create objects of their own. */
  public placesToCreate(roles: readonly string[]): string[] {
    return this.declaration.placesToCreate(roles);
  }

  /** Lets rotations set the password of a login that does not change it itself. */
  public rotateByAdministrator(): void {
    this.rotatesByAdministrator = true;
  }

  /** Has a rotation wait until a pooler knows the new password, before the server does; in seconds. */
  public letPoolerPickUp(seconds: number): void {
    this.rotation().function.addEnvironment(POOLER_PICKUP_VARIABLE, String(seconds));
  }

  /** Lets the function read the secret that a subscription connects by, which belongs to somebody else and is only read. */
  public addConnectionSecret(key: string, secret: secretsmanager.ISecret): void {
    this.declare(() => {
      this.connectionSecrets[key] = secret.secretArn;
    });
    // In the policy of the role, since a secret of another stack or account takes no policy from here.
    const grant = secret.grantRead(this.applyFunction!.role);
    grant.applyBefore(this.resource!);
  }

  /** Rotates the admin secret, also of a server inside which nothing is declared. */
  public rotateAdminSecret(): void {
    this.rotatesAdminSecret = true;
    this.rotation();
    this.schedule(this, this.props.adminSecret, [...this.props.dependencies, this.applied]);
  }

  /** A function that looks at the server on a schedule. It may read the administrator's secret, and no other. */
  public driftFunction(scope: Construct, mode: 'report' | 'enforce'): ServerFunction {
    const { props } = this;
    const drift = new ServerFunction(scope, 'Function', {
      ...this.functionProps(),
      duty: 'drift',
      timeout: Duration.minutes(5),
      memorySize: 512,
      concurrency: 1,
      environment: {
        [SERVER_VARIABLE]: this.serverReferenceText(),
        [STATE_NAME_VARIABLE]: this.stateName,
        [DRIFT_MODE_VARIABLE]: mode,
      },
      statements: this.adminStatements([]),
    });
    this.runs.set('drift', 1);
    drift.allowTo(props.serverSecurityGroups ?? [], props.port);
    return drift;
  }

  /** A function that fails the server over and writes a heartbeat meanwhile, as the administrator. */
  public failoverFunction(
    scope: Construct,
    more: { readonly environment: Record<string, string>; readonly statements: iam.PolicyStatement[] },
  ): ServerFunction {
    const { props } = this;
    const test = new ServerFunction(scope, 'Function', {
      ...this.functionProps(),
      duty: 'failover',
      timeout: Duration.minutes(15),
      maxEventAge: Duration.minutes(5),
      memorySize: 256,
      concurrency: 1,
      environment: { [SERVER_VARIABLE]: this.serverReferenceText(), ...more.environment },
      statements: [...this.adminStatements([]), ...more.statements],
    });
    this.runs.set('failover test', 1);
    test.allowTo(props.serverSecurityGroups ?? [], props.port);
    return test;
  }

  /** A function that looks into the server on a schedule, as the role whose secret it may read. It knows no other. */
  public probeFunction(scope: Construct, secret: secretsmanager.Secret, mostDatabases: number): ServerFunction {
    const { props } = this;
    const probe = new ServerFunction(scope, 'Function', {
      ...this.functionProps(),
      duty: 'probe',
      timeout: Duration.minutes(2),
      maxEventAge: Duration.minutes(1),
      memorySize: 256,
      concurrency: 1,
      environment: {
        [SERVER_VARIABLE]: this.serverReferenceText(),
        [PROBE_SECRET_VARIABLE]: secret.secretArn,
        [PROBE_DATABASES_VARIABLE]: String(mostDatabases),
      },
      statements: [
        new iam.PolicyStatement({ actions: ['secretsmanager:GetSecretValue'], resources: [secret.secretArn] }),
      ],
    });
    this.runs.set('probe', 1);
    probe.allowTo(props.serverSecurityGroups ?? [], props.port);
    return probe;
  }

  /** Each of two states with one name would take what the other declares for what has gone out of its own. */
  private requireOwnName(): void {
    const names = NAMES.get(this.node.root) ?? new Map<string, ServerState>();
    NAMES.set(this.node.root, names);
    const key = JSON.stringify([this.props.identity, this.stateName]);
    const earlier = names.get(key);
    if (earlier) {
      throw new Error(
        `${this.server.node.path}: the state "${this.stateName}" is declared on this server by ${earlier.server.node.path} as well; give one of them another stateName`,
      );
    }
    names.set(key, this);
  }

  private ensureResource(): void {
    if (this.resource) return;
    this.requireOwnName();
    const { props } = this;
    const skipReason = this.skipReason();
    const apply = new ServerFunction(this, 'Apply', {
      ...this.functionProps(),
      duty: 'apply',
      timeout: APPLY_TIMEOUT,
      maxEventAge: SERVICE_TIMEOUT,
      memorySize: 512,
      statements: this.adminStatements([]),
      lateStatements: () => this.assetStatements(),
    });
    this.runs.set('deployment', 2);
    apply.allowTo(props.serverSecurityGroups ?? [], props.port);
    this.applyFunction = apply;
    this.resource = new CustomResource(this, 'Resource', {
      resourceType: STATE_RESOURCE_TYPE,
      serviceToken: apply.function.functionArn,
      serviceTimeout: SERVICE_TIMEOUT,
      properties: {
        Server: Lazy.any({ produce: () => this.serverReference() }),
        State: literally(() => (this.isFile ? undefined : this.encoded().document)),
        StateAsset: Lazy.any({ produce: () => (this.isFile ? this.asset() : undefined) }),
        Secrets: Lazy.any({ produce: () => unlessEmpty(this.secrets) }),
        ConnectionSecrets: Lazy.any({ produce: () => unlessEmpty(this.connectionSecrets) }),
        HomeDatabases: Lazy.any({ produce: () => unlessEmpty(this.homeDatabases) }),
        SkipReason: skipReason,
      },
    });
    this.resource.node.addDependency(...props.dependencies, ...apply.ready, this.endpoints);
    addFinding(this, {
      id: 'SEC-18',
      check: () => {
        const roles = PASSWORD_ROLES.get(Stack.of(this)) ?? 0;
        return roles > MAX_PASSWORD_ROLES
          ? `the stack ${Stack.of(this).stackName} declares ${roles} roles that log in by password, each with a secret, its policy and its schedule; more than ${MAX_PASSWORD_ROLES} come near the 500 resources of a stack`
          : undefined;
      },
      fix: 'Let roles log in by Authentication.iam(), share one login role between what has the same rights, or spread them over stacks.',
    });
  }

  private skipReason(): string | undefined {
    const reason: unknown = this.node.tryGetContext(SKIP_STATE_CONTEXT);
    if (reason === undefined) return undefined;
    if (typeof reason !== 'string' || reason.trim() === '') {
      throw new Error(
        `${this.server.node.path}: the context ${SKIP_STATE_CONTEXT} needs a reason, as in -c ${SKIP_STATE_CONTEXT}="INC-42: the run lock is stuck"`,
      );
    }
    Annotations.of(this.server).addWarningV2(
      'cdk-postgres:skipState',
      `This deployment leaves the inside of the server alone: ${reason}. Roles, grants and schemas stay as they are, whatever the app ` +
        'declares, until a deployment without this context applies it.',
    );
    return reason;
  }

  private functionProps() {
    const { props } = this;
    return {
      server: this.server,
      vpc: props.vpc,
      vpcSubnets: props.vpcSubnets,
      encryptionKey: props.encryptionKey,
      reserveConcurrency: props.reserveConcurrency,
      logRemovalPolicy: props.profile === 'development' ? RemovalPolicy.DESTROY : RemovalPolicy.RETAIN,
    };
  }

  /** As late as the reader's host may become known. */
  private serverReferenceText(): string {
    return Lazy.string({
      produce: () => Stack.of(this).toJsonString({ ...this.serverReference(), Trust: this.trustInJson }),
    });
  }

  /** Whom the server is trusted from, for a text of JSON. */
  public get trustInJson(): string {
    return this.props.trustLine ?? this.props.trust;
  }

  private serverReference() {
    const { props } = this;
    return {
      Platform: props.platform,
      Identity: props.identity,
      Host: props.host,
      ReaderHost: this.lateReaderHost ?? props.readerHost,
      Port: props.port,
      AdminSecretArn: props.adminSecret.secretArn,
      AdminDatabase: 'postgres',
      Trust: props.trust,
    };
  }

  private adminStatements(writes: readonly string[]): iam.PolicyStatement[] {
    const { adminSecret } = this.props;
    const statements = [
      new iam.PolicyStatement({
        actions: ['GetSecretValue', 'DescribeSecret', ...writes].map((action) => `secretsmanager:${action}`),
        // Secrets Manager adds six characters to a name; without them the exact ARN is not known.
        resources: [adminSecret.secretFullArn ?? `${adminSecret.secretArn}-??????`],
      }),
    ];
    const key = adminSecret.encryptionKey;
    if (key && key !== this.props.encryptionKey) {
      statements.push(
        new iam.PolicyStatement({ actions: ['kms:Decrypt', 'kms:GenerateDataKey'], resources: [key.keyArn] }),
      );
    }
    return statements;
  }

  private rotation(): ServerFunction {
    if (this.rotateFunction) return this.rotateFunction;
    const { props } = this;
    const stack = Stack.of(this);
    const rotate = new ServerFunction(this, 'Rotate', {
      ...this.functionProps(),
      duty: 'rotate',
      timeout: Duration.minutes(2),
      memorySize: 256,
      concurrency: ROTATIONS,
      // Secrets Manager goes on with a rotation that was throttled; nothing newer can overtake it.
      maxEventAge: Duration.hours(6),
      environment: { [SERVER_VARIABLE]: this.serverReferenceText() },
      statements: [],
      lateStatements: () => this.rotationStatements(),
    });
    this.runs.set('rotation', ROTATIONS);
    rotate.allowTo(props.serverSecurityGroups ?? [], props.port);
    this.rotatePermission = new lambda.CfnPermission(this, 'RotatePermission', {
      action: 'lambda:InvokeFunction',
      functionName: rotate.function.functionArn,
      principal: 'secretsmanager.amazonaws.com',
      sourceAccount: stack.account,
    });
    this.rotateFunction = rotate;
    return rotate;
  }

  /** A role changes its own password: who rotates such secrets alone has no business with the administrator's. */
  private rotationStatements(): iam.PolicyStatement[] {
    if (this.rotatesAdminSecret) return this.adminStatements(['PutSecretValue', 'UpdateSecretVersionStage']);
    return this.rotatesByAdministrator ? this.adminStatements([]) : [];
  }

  private schedule(scope: Construct, secret: secretsmanager.ISecret, after: IDependable[]): void {
    const rotate = this.rotation();
    const schedule = new secretsmanager.CfnRotationSchedule(scope, 'Rotation', {
      secretId: secret.secretArn,
      rotationLambdaArn: rotate.function.functionArn,
      // The role does not exist before the state is applied, and a deployment must not change passwords.
      rotateImmediatelyOnUpdate: false,
      rotationRules: { automaticallyAfterDays: this.rotationDays },
    });
    schedule.node.addDependency(this.rotatePermission!, ...rotate.ready, ...after);
  }

  private encoded() {
    if (this.cached?.revision !== this.revision) {
      const { profile, defaults } = this.props;
      const declared = this.declaration.toState({ name: this.stateName, profile, defaults });
      const document = encodeState(declared);
      const problems = [...this.invalid(declared), ...contradictions(declared, this.declaration)];
      this.cached = { revision: this.revision, declared, document, json: JSON.stringify(document), problems };
    }
    return this.cached;
  }

  /** What the function would refuse at the deployment is an error here. */
  private invalid(declared: DesiredState): string[] {
    const problems = stateProblems(declared);
    if (problems.length === 0) return [];
    return [`${this.server.node.path}: what is declared inside is not valid: ${problems.join('; ')}`];
  }

  private get isFile(): boolean {
    return Buffer.byteLength(this.encoded().json) >= INLINE_STATE_BYTES;
  }

  /** Written when the template is: only then is the declaration complete, and the manifest of assets comes after the templates. */
  private asset(): { Bucket: string; Key: string } {
    const { json } = this.encoded();
    const hash = createHash('sha256').update(json).digest('hex');
    const fileName = `asset.${hash}.json`;
    writeFileSync(join(Stage.of(this)!.outdir, fileName), json);
    const location = Stack.of(this).synthesizer.addFileAsset({
      fileName,
      sourceHash: hash,
      packaging: FileAssetPackaging.FILE,
      displayName: `${this.node.path}: declared state`,
    });
    return { Bucket: location.bucketName, Key: location.objectKey };
  }

  private assetStatements(): iam.PolicyStatement[] {
    if (!this.isFile) return [];
    const { Bucket, Key } = this.asset();
    const arn = Stack.of(this).formatArn({
      service: 's3',
      region: '',
      account: '',
      resource: Bucket,
      resourceName: Key,
    });
    return [new iam.PolicyStatement({ actions: ['s3:GetObject'], resources: [arn] })];
  }
}

function secretStatement(role: iam.IRole, writes: readonly string[]): iam.PolicyStatement {
  return new iam.PolicyStatement({
    principals: [new iam.ArnPrincipal(role.roleArn)],
    actions: ['GetSecretValue', 'DescribeSecret', ...writes].map((action) => `secretsmanager:${action}`),
    resources: ['*'],
  });
}

function unlessEmpty<T extends object>(map: T): T | undefined {
  return Object.keys(map).length > 0 ? map : undefined;
}

/** As it is: to resolve a declaration is to look into every string of it, twice, for tokens, and it has none. */
function literally(produce: () => object | undefined): IResolvable {
  return {
    creationStack: [],
    resolve: (context) => context.registerPostProcessor({ postProcess: produce }),
    toString: () => 'a declaration cannot be part of a string',
  };
}

/** A dependency whose targets are known only when the app is complete. */
function lazily(roots: () => IConstruct[]): IDependable {
  const dependable: IDependable = {};
  Dependable.implement(dependable, {
    get dependencyRoots() {
      return roots();
    },
  });
  return dependable;
}
