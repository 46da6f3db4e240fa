import * as fs from 'node:fs';
import * as https from 'node:https';
import * as os from 'node:os';
import * as path from 'node:path';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { CreateSecretCommand, PutSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { Client } from 'pg';
import { Authority, createAuthority, issueCertificate } from '../../../lib/runtime/certificates';
import {
  backupCertificate,
  backupConfiguration,
  BootstrapModel,
  CertificateModel,
  checkModel,
  ClusterModel,
  ETCD_VOLUME,
  etcdCertificate,
  etcdConfiguration,
  etcdHost,
  etcdName,
  FILES_VARIABLE,
  HbaRule,
  LEADER_TTL,
  MEMBER_VOLUME,
  memberCertificate,
  memberConfiguration,
  memberHost,
  memberName,
  numbers,
  PATRONI_PORT,
  routerCertificate,
  routerConfiguration,
  SECRETS_VARIABLE,
  TaskConfiguration,
  USERS,
} from '../../../lib/server/ecs/configuration';
import { mount, Network, unmount } from './network';
import { Task } from './task';

const ASSETS = path.resolve(__dirname, '..', '..', '..', 'assets');
const REGION = 'eu-central-1';
const BUCKET = 'orders-backups';
const NAMESPACE = 'orders.internal';
const ROUTER = 'router.orders.internal';
const AWS = 'aws.orders.internal';

/** Not those of any other secret, so that they can be searched for. */
export const PASSWORDS = { admin: 'admin-password-5c1d', restapi: 'restapi-password-77ab', cipher: 'cipher-pass-91fe' };

export interface LabOptions {
  readonly name?: string;
  readonly members?: 1 | 3;
  readonly synchronous?: boolean;
  readonly archiveTimeout?: number;
  readonly parameters?: Readonly<Record<string, string>>;
  readonly hba?: readonly HbaRule[];
  readonly bootstrap?: Pick<BootstrapModel, 'stanza' | 'target'>;
  /** Of the member's volume, in MiB. @default - that of the machine's disk */
  readonly volumeSize?: number;
  /** Changes a copy of the image of the members: to show what happens without something in it. */
  readonly change?: (image: string) => void;
  /** Folder with what a user's own image adds to that of the members, at the paths that it has in the image. */
  readonly layer?: string;
}

/** A member as Patroni's REST API tells. */
export interface MemberState {
  readonly name: string;
  readonly role: string;
  readonly state: string;
  readonly timeline?: number;
  readonly lag?: number | string;
}

/** AWS, as far as the tasks call it: names, roles, secrets and the bucket. It outlives a cluster. */
export class Region {
  readonly network = new Network();
  readonly folder = fs.mkdtempSync(
    path.join(fs.existsSync('/var/tmp') ? '/var/tmp' : os.tmpdir(), 'cdk-postgres-lab-'),
  );
  readonly authority: Authority = createAuthority('orders', 30);
  readonly resolv = path.join(this.folder, 'resolv.conf');
  private readonly hosts: Record<string, string[]> = {};
  private readonly tasks: Task[] = [];
  private s3!: Task;

  static async start(): Promise<Region> {
    const region = new Region();
    try {
      await region.begin();
      return region;
    } catch (error) {
      await region.stop();
      throw error;
    }
  }

  register(name: string, addresses: readonly string[]): void {
    this.hosts[name] = [...addresses];
    const file = path.join(this.folder, 'hosts.json');
    fs.writeFileSync(`${file}.new`, JSON.stringify(this.hosts));
    fs.renameSync(`${file}.new`, file);
  }

  get manager(): SecretsManagerClient {
    return new SecretsManagerClient({ ...this.client, endpoint: this.endpoint });
  }

  get endpoint(): string {
    return `http://${this.network.aws}:5000`;
  }

  /** The bucket cannot be reached: packets vanish. */
  cutS3(): void {
    this.s3.cut();
  }
  mendS3(): void {
    this.s3.mend();
  }

  async stop(): Promise<void> {
    for (const task of this.tasks.reverse()) await task.kill();
    this.network.stop();
    fs.rmSync(this.folder, { recursive: true, force: true });
  }

  private get client() {
    return { region: REGION, credentials: { accessKeyId: 'test', secretAccessKey: 'test' } };
  }

  private async begin(): Promise<void> {
    fs.chmodSync(this.folder, 0o755);
    fs.writeFileSync(this.resolv, `nameserver ${this.network.aws}\noptions timeout:1 attempts:2\n`);
    this.register(AWS, [this.network.s3]);
    const files = path.join(this.folder, 'aws');
    fs.mkdirSync(files);
    fs.copyFileSync(path.join(__dirname, 'aws.py'), path.join(files, 'aws.py'));
    // Not the folder itself: a task sees what is mounted, and the file of names is exchanged.
    const aws = new Task({
      name: 'aws',
      network: this.network,
      command: [
        'sh',
        '-ec',
        'python3 -B /opt/clients/aws/aws.py /opt/clients/hosts.json & exec moto_server -H 0.0.0.0 -p 5000',
      ],
      user: 0,
      environment: { HOME: '/run/cdk-postgres' },
      volume: { host: this.folder, mounted: '/opt/clients' },
      resolv: this.resolv,
      address: this.network.aws,
    });
    this.tasks.push(aws);
    aws.start(['addr add 169.254.170.2/32 dev eth0']);
    const issued = issueCertificate(
      this.authority,
      [AWS, `s3.${REGION}.amazonaws.com`, `${BUCKET}.s3.${REGION}.amazonaws.com`],
      { validDays: 30 },
    );
    fs.writeFileSync(path.join(files, 's3.pem'), issued.certificate + issued.privateKey);
    fs.writeFileSync(
      path.join(files, 's3.cfg'),
      `defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen s3
  bind *:443 ssl crt /opt/clients/aws/s3.pem
  server moto ${this.network.aws}:5000
`,
    );
    this.s3 = new Task({
      name: 's3',
      network: this.network,
      command: ['/usr/sbin/haproxy', '-db', '-f', '/opt/clients/aws/s3.cfg'],
      user: 0,
      environment: {},
      volume: { host: this.folder, mounted: '/opt/clients' },
      resolv: this.resolv,
      address: this.network.s3,
    });
    this.tasks.push(this.s3);
    this.s3.start();
    const s3 = new S3Client({ ...this.client, endpoint: this.endpoint, forcePathStyle: true, maxAttempts: 1 });
    await until(60_000, 'the bucket is there', async () => {
      await s3.send(
        new CreateBucketCommand({ Bucket: BUCKET, CreateBucketConfiguration: { LocationConstraint: REGION } }),
      );
      return true;
    });
  }
}

/** A cluster of the images' own entrypoints, with the configuration that the model renders: etcd, members and a router. */
export class Lab {
  readonly etcd: Task[] = [];
  readonly members: Task[] = [];
  router!: Task;
  private stopped = false;
  private readonly arns: Record<string, string> = {};
  private readonly folder: string;

  private constructor(
    readonly region: Region,
    readonly model: ClusterModel,
    private readonly options: LabOptions,
  ) {
    this.folder = fs.mkdtempSync(path.join(region.folder, 'cluster-'));
    fs.chmodSync(this.folder, 0o755);
  }

  /** Resolves when all members stream from a leader, and, if the cluster is synchronous, commits wait for one of them. */
  static async start(region: Region, options: LabOptions = {}): Promise<Lab> {
    const name = options.name ?? 'orders';
    const repository = { bucket: BUCKET, region: REGION, host: AWS, hostCaFile: '/run/cdk-postgres/tls/ca.pem' };
    const model: ClusterModel = {
      name,
      namespace: NAMESPACE,
      majorVersion: 18,
      members: options.members ?? 3,
      synchronous: options.synchronous ?? options.members !== 1,
      parameters: { shared_buffers: '64MB', max_connections: '60', ...options.parameters },
      networks: [region.network.cidr],
      hba: options.hba ?? [],
      routerHosts: [ROUTER],
      backup: { ...repository, retentionDays: 7, archiveTimeout: options.archiveTimeout ?? 60 },
      ...(options.bootstrap
        ? { bootstrap: { ...options.bootstrap, repository: { ...repository, path: options.bootstrap.stanza } } }
        : {}),
    };
    checkModel(model);
    const lab = new Lab(region, model, options);
    try {
      await lab.begin();
      await lab.untilHealthy();
      return lab;
    } catch (error) {
      const said = [...lab.etcd, ...lab.members].map((task) => `--- ${task.name}\n${task.lines.slice(-15).join('\n')}`);
      await lab.stop();
      throw new Error(`${(error as Error).message}\n${said.join('\n')}`);
    }
  }

  member(name: string): Task {
    return this.members.find((task) => task.name === name)!;
  }

  /** Folder of the host with the data directory of a member. */
  dataOf(task: Task): string {
    return path.join(task.options.volume!.host, 'data');
  }

  /** Makes the volume of a task that does not run an empty one. */
  emptyVolume(task: Task): void {
    for (const entry of fs.readdirSync(task.options.volume!.host))
      fs.rmSync(path.join(task.options.volume!.host, entry), { recursive: true });
  }

  /** What a member itself says of itself, by its REST API. Undefined: it does not answer. */
  async ask<T>(task: Task, at: string): Promise<{ readonly status: number; readonly body: T } | undefined> {
    if (!task.interface) return undefined;
    return new Promise((resolve) => {
      const request = https.get(
        {
          host: task.address,
          port: PATRONI_PORT,
          path: at,
          ca: this.region.authority.certificate,
          servername: memberHost(this.model, Number(task.name.split('-')[1])),
          timeout: 1000,
          agent: false,
        },
        (response) => {
          let text = '';
          response.on('data', (chunk: Buffer) => (text += chunk.toString()));
          response.on('end', () => {
            try {
              resolve({ status: response.statusCode!, body: JSON.parse(text || '{}') as T });
            } catch {
              resolve(undefined);
            }
          });
        },
      );
      request.on('timeout', () => request.destroy());
      request.on('error', () => resolve(undefined));
    });
  }

  /** Those that call themselves the leader, now. */
  async leaders(): Promise<Task[]> {
    const answers = await Promise.all(
      this.members.map(async (task) => ({ task, answer: await this.ask(task, '/primary') })),
    );
    return answers.filter(({ answer }) => answer?.status === 200).map(({ task }) => task);
  }

  async leader(milliseconds = 90_000): Promise<Task> {
    let found: Task[] = [];
    await until(milliseconds, 'there is a leader', async () => {
      found = await this.leaders();
      return found.length === 1;
    });
    return found[0];
  }

  async replicas(): Promise<Task[]> {
    const leader = await this.leader();
    return this.members.filter((task) => task !== leader);
  }

  /** One leader, and everybody else streams from it on its timeline; a synchronous cluster has its quorum. */
  async untilHealthy(milliseconds = 180_000): Promise<void> {
    let last: unknown;
    await until(
      milliseconds,
      () => `the cluster is healthy: ${JSON.stringify(last)}`,
      async () => {
        const [leader, ...more] = await this.leaders();
        if (!leader || more.length > 0) return false;
        const cluster = await this.ask<{ members: MemberState[] }>(leader, '/cluster');
        last = cluster?.body.members;
        const members = cluster?.body.members ?? [];
        const timelines = new Set(members.map(({ timeline }) => timeline));
        const streaming = members.filter(({ role, state }) => role === 'leader' || state === 'streaming');
        const replicas = members.filter(({ role }) => role !== 'leader');
        const quorum = !this.model.synchronous || replicas.every(({ role }) => role === 'quorum_standby');
        // What the cluster says of a member that is gone is true only until its lease ends.
        const own = await Promise.all(
          this.members.filter((task) => task !== leader).map((task) => this.ask(task, '/replica')),
        );
        if (own.some((answer) => answer?.status !== 200)) return false;
        return (
          members.length === this.model.members && timelines.size === 1 && streaming.length === members.length && quorum
        );
      },
    );
  }

  /** A client of a member itself, as the administrator. */
  async connect(task: Task, database = 'postgres'): Promise<Client> {
    const client = new Client({
      host: task.address,
      port: 5432,
      user: 'postgres_admin',
      password: PASSWORDS.admin,
      database,
      ssl: { ca: this.region.authority.certificate, servername: ROUTER },
      connectionTimeoutMillis: 10_000,
    });
    client.on('error', () => undefined);
    await client.connect();
    return client;
  }

  /** Of members of this cluster, those files of WAL that wait for the archive. */
  waitingForArchive(task: Task): string[] {
    const status = path.join(this.dataOf(task), 'pg_wal', 'archive_status');
    return fs.readdirSync(status).filter((name) => name.endsWith('.ready'));
  }

  /** Until everything that was written up to now is in the bucket. */
  async untilArchived(milliseconds = 90_000): Promise<void> {
    const leader = await this.leader();
    const segment = await this.switchSegment(leader);
    await until(milliseconds, `${segment} is archived`, async () => {
      const last = await this.psql(
        leader,
        "SELECT last_archived_wal FROM pg_stat_archiver WHERE last_archived_wal ~ '^[0-9A-F]{24}$'",
      );
      return last >= segment;
    });
  }

  /** Ends the segment of WAL that is written, which the archiver hears of; nothing is ended where nothing was written. Returns its name. */
  async switchSegment(leader: Task): Promise<string> {
    const sql =
      "SELECT pg_create_restore_point('switch'); SELECT pg_walfile_name(pg_current_wal_lsn()); SELECT pg_switch_wal()";
    return (await this.psql(leader, sql)).split('\n')[1];
  }

  async query<Row>(sql: string, task?: Task): Promise<Row[]> {
    const client = await this.connect(task ?? (await this.leader()));
    try {
      return (await client.query(sql)).rows as Row[];
    } finally {
      await client.end();
    }
  }

  /** As the superuser, who is only in the container. */
  async psql(task: Task, sql: string): Promise<string> {
    return (await task.exec(['psql', '-U', 'postgres', '-d', 'postgres', '-AtX', '-v', 'ON_ERROR_STOP=1'], sql)).trim();
  }

  patronictl(...command: string[]): Promise<string> {
    const task = this.members.find(({ isRunning }) => isRunning)!;
    return task.exec(['patronictl', ...command]);
  }

  /** Whether each member of etcd answers, by itself. */
  async etcdHealthy(): Promise<boolean> {
    return (await this.etcdctl('endpoint', 'health')).split('is healthy').length === this.model.members + 1;
  }

  private etcdctl(...command: string[]): Promise<string> {
    const task = this.etcd.find(({ isRunning }) => isRunning)!;
    const tls = '/run/cdk-postgres/tls';
    const endpoints = numbers(this.model).map((n) => `${etcdHost(this.model, n)}:2379`);
    const script = 'for name in $(env | sed -n "s/^\\(ETCD_[A-Z_]*\\)=.*/\\1/p"); do unset $name; done; exec "$@" 2>&1';
    return task.exec([
      ...['sh', '-euc', script, 'sh', 'etcdctl', '--endpoints', endpoints.join(','), '--cacert', `${tls}/ca.pem`],
      ...['--cert', `${tls}/certificate.pem`, '--key', `${tls}/key.pem`, ...command],
    ]);
  }

  /** The task that makes a backup, as the schedule starts it. */
  async backup(kind: 'full' | 'diff' | 'incr'): Promise<string[]> {
    const task = await this.task('backup', backupConfiguration(this.model), backupCertificate(this.model), {
      image: this.image('postgres'),
      user: USERS.postgres,
      command: ['backup', kind],
    });
    task.start();
    const code = await task.end();
    if (code !== 0) throw new Error(`the backup ended with ${code}:\n${task.lines.slice(-20).join('\n')}`);
    return task.lines;
  }

  /** A new certificate in the secret of each task, as a rotation by Secrets Manager puts it there. Returns serial numbers by host. */
  async rotateCertificates(): Promise<void> {
    for (const n of numbers(this.model)) {
      await this.put(`certificate-${etcdName(n)}`, this.certificate(etcdCertificate(this.model, n)));
      await this.put(`certificate-${memberName(n)}`, this.certificate(memberCertificate(this.model, n)));
    }
  }

  async stop(): Promise<void> {
    if (this.stopped) return;
    this.stopped = true;
    for (const task of [this.router, ...this.members, ...this.etcd]) await task?.kill();
    if (this.options.volumeSize) for (const task of this.members) unmount(task.options.volume!.host);
    fs.rmSync(this.folder, { recursive: true, force: true });
  }

  private async begin(): Promise<void> {
    for (const name of ['restapi', 'cipher', 'admin'] as const)
      await this.put(
        name,
        name === 'admin' ? { username: 'postgres_admin', password: PASSWORDS.admin } : { password: PASSWORDS[name] },
      );
    await this.put('cipher-restore', { password: PASSWORDS.cipher });
    for (const n of numbers(this.model)) {
      const task = await this.task(etcdName(n), etcdConfiguration(this.model, n), etcdCertificate(this.model, n), {
        image: this.image('etcd'),
        user: USERS.etcd,
        command: [],
        mounted: ETCD_VOLUME,
        registered: (address) => this.region.register(etcdHost(this.model, n), [address]),
      });
      this.etcd.push(task);
      task.start();
    }
    const image = this.image('postgres');
    this.options.change?.(image);
    for (const n of numbers(this.model)) {
      const task = await this.task(
        memberName(n),
        memberConfiguration(this.model, n),
        memberCertificate(this.model, n),
        {
          image,
          layer: this.options.layer,
          user: USERS.postgres,
          command: ['member'],
          mounted: MEMBER_VOLUME,
          size: this.options.volumeSize,
          registered: (address) => this.region.register(memberHost(this.model, n), [address]),
        },
      );
      this.members.push(task);
      task.start();
    }
    this.router = await this.task('router', routerConfiguration(this.model), routerCertificate(this.model), {
      image: this.image('router'),
      user: USERS.router,
      command: [],
    });
    this.router.start();
  }

  /** A copy, so that a test can change it. */
  private image(name: string): string {
    const folder = path.join(this.folder, `image-${name}`);
    if (!fs.existsSync(folder)) fs.cpSync(path.join(ASSETS, name), folder, { recursive: true });
    return folder;
  }

  private async task(
    name: string,
    configuration: TaskConfiguration,
    certificate: CertificateModel,
    options: {
      readonly image: string;
      readonly layer?: string;
      readonly user: number;
      readonly command: readonly string[];
      readonly mounted?: string;
      readonly size?: number;
      readonly registered?: (address: string) => void;
    },
  ): Promise<Task> {
    await this.put(`certificate-${name}`, this.certificate(certificate));
    const host = path.join(this.folder, `volume-${name}`);
    if (options.mounted) {
      fs.mkdirSync(host);
      if (options.size) mount(host, options.size);
      fs.chownSync(host, options.user, options.user);
    }
    const secrets = configuration.secrets.map((secret) => [
      secret,
      this.arns[secret === 'certificate' ? `certificate-${name}` : secret],
    ]);
    return new Task({
      name,
      network: this.region.network,
      image: options.image,
      layer: options.layer,
      user: options.user,
      command: options.command,
      resolv: this.region.resolv,
      volume: options.mounted ? { host, mounted: options.mounted } : undefined,
      registered: options.registered,
      environment: {
        ...configuration.environment,
        [FILES_VARIABLE]: JSON.stringify(configuration.files),
        [SECRETS_VARIABLE]: JSON.stringify(Object.fromEntries(secrets)),
        CDK_POSTGRES_SECRETS_INTERVAL: '3',
        CDK_POSTGRES_ETCD_PATIENCE: '3',
        AWS_REGION: REGION,
        AWS_ENDPOINT_URL_SECRETS_MANAGER: this.region.endpoint,
        AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: '/v2/credentials/task',
      },
    });
  }

  private certificate({ commonName, hosts }: CertificateModel): object {
    const issued = issueCertificate(this.region.authority, hosts, { validDays: 30, subject: commonName, client: true });
    return { ...issued, ca: this.region.authority.certificate };
  }

  private async put(name: string, value: object): Promise<void> {
    const { manager } = this.region;
    const SecretString = JSON.stringify(value);
    if (this.arns[name]) await manager.send(new PutSecretValueCommand({ SecretId: this.arns[name], SecretString }));
    else {
      const Name = `${path.basename(this.folder)}-${name}`;
      this.arns[name] = (await manager.send(new CreateSecretCommand({ Name, SecretString }))).ARN!;
    }
  }
}

export { LEADER_TTL, ROUTER };

/** @throws Error when the condition does not come true in time; what the condition throws is taken as "not yet" */
export async function until(
  milliseconds: number,
  what: string | (() => string),
  condition: () => Promise<boolean> | boolean,
): Promise<void> {
  const end = Date.now() + milliseconds;
  let problem = '';
  for (;;) {
    try {
      if (await condition()) return;
    } catch (error) {
      problem = ` (${(error as Error).message})`;
    }
    if (Date.now() > end)
      throw new Error(`not within ${milliseconds} ms: ${typeof what === 'string' ? what : what()}${problem}`);
    await sleep(250);
  }
}

export function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
