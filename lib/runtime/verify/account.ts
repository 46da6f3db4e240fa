import {
  DBCluster,
  DBInstance,
  DescribeDBClusterParametersCommand,
  DescribeDBClustersCommand,
  DescribeDBInstancesCommand,
  DescribeDBParametersCommand,
  DescribeEventSubscriptionsCommand,
  DescribePendingMaintenanceActionsCommand,
  EventSubscription,
  Parameter,
  PendingMaintenanceAction,
  RDSClient,
} from '@aws-sdk/client-rds';
import { ListSecretsCommand, SecretListEntry, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { checkTemplate } from '../guard';
import { Row } from './rows';
import { counted } from '../counted';

/** What the credentials must allow. All of it reads, and none of it reads a secret's value. */
export const ACTIONS = [
  'rds:DescribeDBClusterParameters',
  'rds:DescribeDBClusters',
  'rds:DescribeDBInstances',
  'rds:DescribeDBParameters',
  'rds:DescribeEventSubscriptions',
  'rds:DescribePendingMaintenanceActions',
  'secretsmanager:ListSecrets',
] as const;

export interface Clients {
  readonly rds: RDSClient;
  readonly secrets: SecretsManagerClient;
}

export interface VerifyOptions extends Clients {
  readonly template: object;
  readonly stackName: string;
  readonly rows: readonly Row[];
  readonly now?: Date;
}

/**
 * `confirmed`: what the account shows agrees with the claim. `contradicted`: it does not. `unknown`: it was asked, and cannot tell.
 * `not checked`: nothing was asked, since only a change in the account, a login or a log would show it.
 */
export type Verdict = 'confirmed' | 'contradicted' | 'unknown' | 'not checked';

export interface Item {
  readonly claim: string;
  readonly verdict: Verdict;
  /** What was seen, or what is missing; of what was not checked, how to find out. */
  readonly saw: readonly string[];
}

type Finding = Omit<Item, 'claim'>;
type Check = (account: Account) => Promise<Finding>;

/** By the beginning of the claim. */
const CHECKS: Readonly<Record<string, Check>> = {
  'The template deploys': (account) => account.stands(),
  'What runs is what the template says': (account) => account.isAsDeclared(),
  "The deploy guard's reading of": (account) => account.guardReads(),
  'Minor versions that upgrade themselves': (account) => account.minorVersions(),
  'Parameter names and scopes of RDS and Aurora': (account) => account.parameters(),
  'Rotation as Secrets Manager calls it': (account) => account.rotation(),
  'RDS may publish its events to the topic': (account) => account.events(),
};

/** The claims that are looked into, by their beginnings. */
export const CHECKED_CLAIMS: readonly string[] = Object.keys(CHECKS);

/**
 * Goes through the table of what was never tried on AWS, and says of each row what a deployed stack shows. It changes nothing. A call that fails
 * leaves its row unknown; when all fail there is nothing to say, and the first error is thrown.
 */
export async function verifyAccount(options: VerifyOptions): Promise<Item[]> {
  const account = new Account(options);
  const items: Item[] = [];
  const errors: unknown[] = [];
  for (const { claim, how } of options.rows) {
    const begin = CHECKED_CLAIMS.find((known) => claim.startsWith(known));
    if (begin === undefined) {
      items.push({ claim, verdict: 'not checked', saw: [`to find out: ${how}`] });
      continue;
    }
    try {
      items.push({ claim, ...(await CHECKS[begin](account)) });
    } catch (error) {
      errors.push(error);
      items.push({ claim, verdict: 'unknown', saw: [unanswered(error)] });
    }
  }
  if (account.answered === 0 && errors.length > 0) throw errors[0];
  return items;
}

function unanswered(error: unknown): string {
  const { name, message } = error as Error;
  return `${/^(AccessDenied|UnauthorizedOperation)/.test(name) ? 'not allowed' : 'no answer'}: ${message}`;
}

interface Declared {
  readonly logicalId: string;
  readonly isCluster: boolean;
  readonly identifier: string;
  readonly properties: Readonly<Record<string, unknown>>;
}

interface Running extends Declared {
  /** Absent: RDS has no server of this name. */
  readonly found?: DBInstance & DBCluster;
}

/** How long a certificate should still be valid for. */
const MONTHS_3 = 90 * 24 * 3600 * 1000;

class Account {
  private readonly resources: Readonly<Record<string, { Type: string; Properties?: Record<string, unknown> }>>;
  private readonly declared: readonly Declared[];
  private readonly unnamed: readonly string[];
  private asked?: Promise<Running[]>;
  /** How many looks at AWS had an answer. */
  answered = 0;

  constructor(private readonly options: VerifyOptions) {
    this.resources = (options.template as { Resources?: Account['resources'] }).Resources ?? {};
    const servers = Object.entries(this.resources).filter(([, { Type }]) =>
      /^AWS::RDS::DB(Instance|Cluster)$/.test(Type),
    );
    const read = servers.map(([logicalId, { Type, Properties = {} }]) => {
      const isCluster = Type === 'AWS::RDS::DBCluster';
      const identifier = Properties[isCluster ? 'DBClusterIdentifier' : 'DBInstanceIdentifier'];
      return { logicalId, isCluster, identifier, properties: Properties };
    });
    this.declared = read.filter((one): one is Declared => typeof one.identifier === 'string');
    this.unnamed = read.filter(({ identifier }) => typeof identifier !== 'string').map(({ logicalId }) => logicalId);
  }

  async stands(): Promise<Finding> {
    const servers = await this.running();
    const problems = [
      ...this.unnamed.map((id) => `${id} has no literal name, so that RDS cannot be asked for it`),
      ...(servers.length + this.unnamed.length === 0 ? ['the template has no server'] : []),
    ];
    return judged(servers, problems, ({ identifier, logicalId, found }) => {
      if (!found) return [`RDS has no ${identifier}: the stack is not deployed here, or in another region`];
      const tags = new Map((found.TagList ?? []).map(({ Key, Value }) => [Key, Value]));
      const made = tags.get('aws:cloudformation:stack-name');
      const status = found.DBInstanceStatus ?? found.Status;
      return [
        ...(status === 'available' ? [] : [`${identifier} is ${status}`]),
        ...(made === this.options.stackName && tags.get('aws:cloudformation:logical-id') === logicalId
          ? []
          : [
              `${identifier} was made by ${made === undefined ? 'no stack' : `the stack ${made}`}, not as ${logicalId} of this one`,
            ]),
      ];
    });
  }

  async isAsDeclared(): Promise<Finding> {
    const servers = await this.running();
    const soon = (this.options.now ?? new Date()).getTime() + MONTHS_3;
    let unseen: string | undefined;
    const waiting = await this.pendingMaintenance().catch((error: unknown) => {
      unseen = `what waits for maintenance was not seen (${unanswered(error)})`;
      return new Map<string, string[]>();
    });
    const seen: string[] = [];
    const finding = judged(this.standing(servers), missing(servers), ({ identifier, properties, found, isCluster }) => {
      const problems: string[] = [];
      const compare = (name: string, running: unknown) => {
        const wanted = properties[name];
        if (wanted === undefined || typeof wanted === 'object') return;
        if (String(running) !== String(wanted))
          problems.push(`${identifier}: ${name} is ${String(running)}, and ${String(wanted)} is declared`);
        else seen.push(`${identifier}: ${name} ${String(running)}`);
      };
      compare('CACertificateIdentifier', found.CACertificateIdentifier);
      compare('StorageEncrypted', found.StorageEncrypted);
      compare('PubliclyAccessible', found.PubliclyAccessible);
      compare('EnableIAMDatabaseAuthentication', found.IAMDatabaseAuthenticationEnabled);
      compare('DeletionProtection', found.DeletionProtection);
      compare('BackupRetentionPeriod', found.BackupRetentionPeriod);
      compare('MultiAZ', isCluster ? properties.MultiAZ : found.MultiAZ);
      compare('Port', isCluster ? found.Port : found.Endpoint?.Port);
      const logs = properties.EnableCloudwatchLogsExports;
      if (Array.isArray(logs)) {
        const exported = found.EnabledCloudwatchLogsExports ?? [];
        const lost = logs.filter((log) => !exported.includes(String(log)));
        if (lost.length > 0) problems.push(`${identifier}: the log ${lost.join(', ')} is not exported`);
        else seen.push(`${identifier}: exports ${exported.join(', ')}`);
      }
      const until = found.CertificateDetails?.ValidTill;
      if (until && until.getTime() < soon) problems.push(`${identifier}: its certificate ends on ${day(until)}`);
      else if (until) seen.push(`${identifier}: its certificate is valid until ${day(until)}`);
      problems.push(...(waiting.get(identifier) ?? []));
      return problems;
    });
    if (finding.verdict === 'contradicted') return finding;
    return unseen === undefined ? { ...finding, saw: seen } : { verdict: 'unknown', saw: [...seen, unseen] };
  }

  async guardReads(): Promise<Finding> {
    const { template, rds, now } = this.options;
    const reports = await checkTemplate({ template, client: rds, now });
    if (reports.length === 0)
      return { verdict: 'unknown', saw: ['no deploy guard stands before a server of this stack'] };
    const servers = await this.running();
    if (missing(servers).length > 0) return { verdict: 'unknown', saw: missing(servers) };
    const objections = reports.flatMap((report) => report.objections);
    return objections.length > 0
      ? {
          verdict: 'contradicted',
          saw: objections.map((text) => `it would refuse the template that is deployed: ${text}`),
        }
      : {
          verdict: 'confirmed',
          saw: ['it reads what runs, and has nothing against the template; that it refuses another port was not tried'],
        };
  }

  async minorVersions(): Promise<Finding> {
    const servers = await this.running();
    const upgraded = this.standing(servers).filter(
      ({ found, properties }) => found.EngineVersion !== String(properties.EngineVersion ?? found.EngineVersion),
    );
    const saw = this.standing(servers).map(({ identifier, found }) => `${identifier} runs ${found.EngineVersion}`);
    if (upgraded.length === 0) return { verdict: 'unknown', saw: [...saw, ...missing(servers)] };
    const guard = await this.guardReads();
    const against = guard.saw.filter((text) => text.includes('EngineVersion'));
    if (guard.verdict === 'contradicted' && against.length > 0) return { verdict: 'contradicted', saw: against };
    return {
      verdict: 'unknown',
      saw: [...saw, 'the guard has nothing against it; that CloudFormation has not shows the next deployment'],
    };
  }

  async parameters(): Promise<Finding> {
    const servers = await this.running();
    const seen: string[] = [];
    const problems: string[] = [];
    for (const server of this.standing(servers)) {
      const declared = this.declaredParameters(server);
      if (!declared) continue;
      const { found, isCluster, identifier } = server;
      const group = isCluster ? found.DBClusterParameterGroup : found.DBParameterGroups?.[0]?.DBParameterGroupName;
      const status = found.DBParameterGroups?.[0]?.ParameterApplyStatus;
      if (!group) {
        problems.push(`${identifier}: RDS names no parameter group`);
        continue;
      }
      const running = await this.parametersOf(group, isCluster);
      const wrong = Object.entries(declared).filter(([name, value]) => running.get(name) !== value);
      problems.push(
        ...wrong.map(
          ([name, value]) =>
            `${identifier}: ${name} is ${running.get(name) ?? 'not set'} in ${group}, and ${value} is declared`,
        ),
      );
      if (!isCluster && status !== undefined && status !== 'in-sync')
        problems.push(`${identifier}: parameters are ${status}`);
      seen.push(
        `${identifier}: ${counted(Object.keys(declared).length - wrong.length, 'parameter')} of ${group} as declared`,
      );
    }
    if (problems.length > 0) return { verdict: 'contradicted', saw: problems };
    return seen.length === 0
      ? { verdict: 'unknown', saw: [...missing(servers), 'no parameter group of the stack was seen'] }
      : { verdict: 'confirmed', saw: seen };
  }

  async rotation(): Promise<Finding> {
    const declared = this.count('AWS::SecretsManager::RotationSchedule');
    if (declared === 0) return { verdict: 'unknown', saw: ['the template rotates no secret'] };
    const own = await this.secretsOfStack();
    const rotating = own.filter(({ RotationEnabled }) => RotationEnabled);
    if (rotating.length < declared)
      return {
        verdict: 'contradicted',
        saw: [
          `${counted(declared, 'secret is', 'secrets are')} declared to rotate, and ${rotating.length} of the stack's ${own.length} do`,
        ],
      };
    const done = rotating.filter(({ LastRotatedDate }) => LastRotatedDate);
    const saw = [
      counted(rotating.length, 'secret rotates', 'secrets rotate'),
      ...done.map(({ Name, LastRotatedDate }) => `${Name} was rotated on ${day(LastRotatedDate!)}`),
    ];
    return done.length === rotating.length
      ? { verdict: 'confirmed', saw: [...saw, 'that somebody logs in with what was rotated was not tried'] }
      : {
          verdict: 'unknown',
          saw: [...saw, `${counted(rotating.length - done.length, 'has', 'have')} not been rotated yet`],
        };
  }

  async events(): Promise<Finding> {
    const declared = this.count('AWS::RDS::EventSubscription');
    if (declared === 0)
      return { verdict: 'unknown', saw: ['the template subscribes to no events: addMonitoring() does'] };
    const names = this.declared.map(({ identifier }) => identifier.toLowerCase());
    const own = (await this.subscriptions()).filter(({ SourceIdsList }) =>
      SourceIdsList?.some((id) => names.includes(id.toLowerCase())),
    );
    const broken = own.filter(({ Status }) => Status !== 'active');
    if (own.length < declared || broken.length > 0)
      return {
        verdict: 'contradicted',
        saw: [
          `${counted(declared, 'subscription is', 'subscriptions are')} declared, and RDS has ${own.length} for these servers`,
          ...broken.map(({ CustSubscriptionId, Status }) => `${CustSubscriptionId} is ${Status}`),
        ],
      };
    return {
      verdict: 'confirmed',
      saw: [
        `${counted(own.length, 'subscription is', 'subscriptions are')} active; that a notice arrives was not tried`,
      ],
    };
  }

  private running(): Promise<Running[]> {
    return (this.asked ??= Promise.all(
      this.declared.map(async (server) => ({ ...server, found: await this.describe(server) })),
    ).then((servers) => {
      this.answered += servers.length;
      return servers;
    }));
  }

  private standing(servers: readonly Running[]) {
    return servers.filter(
      (server): server is Running & { found: DBInstance & DBCluster } => server.found !== undefined,
    );
  }

  private async describe({ isCluster, identifier }: Declared): Promise<(DBInstance & DBCluster) | undefined> {
    const { rds } = this.options;
    try {
      if (isCluster) {
        const { DBClusters } = await rds.send(new DescribeDBClustersCommand({ DBClusterIdentifier: identifier }));
        return DBClusters?.[0] as (DBInstance & DBCluster) | undefined;
      }
      const { DBInstances } = await rds.send(new DescribeDBInstancesCommand({ DBInstanceIdentifier: identifier }));
      return DBInstances?.[0] as (DBInstance & DBCluster) | undefined;
    } catch (error) {
      if (/^DB(Instance|Cluster)NotFound(Fault)?$/.test((error as Error).name)) return undefined;
      throw error;
    }
  }

  /** What waits for the next maintenance window, by the name of the server; the rotation of a certificate among it. */
  private async pendingMaintenance(): Promise<Map<string, string[]>> {
    const found = new Map<string, string[]>();
    let Marker: string | undefined;
    do {
      const page: {
        PendingMaintenanceActions?: {
          ResourceIdentifier?: string;
          PendingMaintenanceActionDetails?: PendingMaintenanceAction[];
        }[];
        Marker?: string;
      } = await this.options.rds.send(new DescribePendingMaintenanceActionsCommand({ Marker }));
      for (const { ResourceIdentifier = '', PendingMaintenanceActionDetails = [] } of page.PendingMaintenanceActions ??
        []) {
        const name = ResourceIdentifier.split(':').pop()!;
        const actions = PendingMaintenanceActionDetails.filter(({ Action }) =>
          /ca-certificate|certificate/.test(Action ?? ''),
        );
        if (actions.length > 0)
          found.set(
            name,
            actions.map(
              ({ Action, Description }) =>
                `${name}: RDS waits to run ${Action}${Description ? ` (${Description})` : ''}`,
            ),
          );
      }
      Marker = page.Marker;
    } while (Marker);
    return found;
  }

  private declaredParameters({ isCluster, properties }: Declared): Record<string, string> | undefined {
    const reference = properties[isCluster ? 'DBClusterParameterGroupName' : 'DBParameterGroupName'];
    const group =
      typeof reference === 'object' ? this.resources[String((reference as { Ref?: unknown }).Ref)] : undefined;
    const parameters = group?.Properties?.Parameters as Record<string, unknown> | undefined;
    if (!parameters) return undefined;
    return Object.fromEntries(
      Object.entries(parameters).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
    );
  }

  private async parametersOf(group: string, isCluster: boolean): Promise<Map<string, string | undefined>> {
    const values = new Map<string, string | undefined>();
    let Marker: string | undefined;
    do {
      const input = { Source: 'user', Marker };
      const page: { Parameters?: Parameter[]; Marker?: string } = isCluster
        ? await this.options.rds.send(
            new DescribeDBClusterParametersCommand({ DBClusterParameterGroupName: group, ...input }),
          )
        : await this.options.rds.send(new DescribeDBParametersCommand({ DBParameterGroupName: group, ...input }));
      for (const { ParameterName, ParameterValue } of page.Parameters ?? []) values.set(ParameterName!, ParameterValue);
      Marker = page.Marker;
    } while (Marker);
    return values;
  }

  private async secretsOfStack(): Promise<SecretListEntry[]> {
    const found: SecretListEntry[] = [];
    let NextToken: string | undefined;
    do {
      const page: { SecretList?: SecretListEntry[]; NextToken?: string } = await this.options.secrets.send(
        new ListSecretsCommand({ NextToken, Filters: [{ Key: 'tag-key', Values: ['aws:cloudformation:stack-name'] }] }),
      );
      this.answered++;
      found.push(...(page.SecretList ?? []));
      NextToken = page.NextToken;
    } while (NextToken);
    return found.filter(({ Tags }) =>
      Tags?.some(({ Key, Value }) => Key === 'aws:cloudformation:stack-name' && Value === this.options.stackName),
    );
  }

  private async subscriptions(): Promise<EventSubscription[]> {
    const found: EventSubscription[] = [];
    let Marker: string | undefined;
    do {
      const page: { EventSubscriptionsList?: EventSubscription[]; Marker?: string } = await this.options.rds.send(
        new DescribeEventSubscriptionsCommand({ Marker }),
      );
      found.push(...(page.EventSubscriptionsList ?? []));
      Marker = page.Marker;
    } while (Marker);
    return found;
  }

  private count(type: string): number {
    return Object.values(this.resources).filter(({ Type }) => Type === type).length;
  }
}

function judged<T extends Declared>(
  servers: readonly T[],
  already: readonly string[],
  problemsOf: (server: T) => string[],
): Finding {
  const problems = [...already, ...servers.flatMap(problemsOf)];
  return problems.length > 0
    ? { verdict: 'contradicted', saw: problems }
    : { verdict: 'confirmed', saw: servers.map(({ identifier }) => `${identifier} stands`) };
}

function missing(servers: readonly Running[]): string[] {
  return servers.filter(({ found }) => !found).map(({ identifier }) => `RDS has no ${identifier}`);
}

function day(date: Date): string {
  return date.toISOString().slice(0, 10);
}
