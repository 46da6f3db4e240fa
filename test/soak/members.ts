import { ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import * as readline from 'node:readline';
import { ETCD_PORT, MEMBER_WATCH_PORT, PATRONI_PORT } from '../../lib/contract';
import { Authority, createAuthority, issueCertificate } from '../../lib/runtime/certificates';
import { ClusterLogin, KnownCluster, RestClient, waitUntilStreaming } from '../../lib/runtime/cluster';
import { rootFolder } from '../cluster/availability.js';

const ROOT = path.resolve(__dirname, '..', '..');

/** Where the folder of a laboratory is within the root folder. */
const LAB = '/mnt';
const PGBACKREST = `${LAB}/pgbackrest.conf`;
const PASSWORD = 'clear-password-7d21c4';
export const SCOPE = 'orders';

/**
 * A task: a file system, a mount namespace and processes of its own, which end with its first one. What it keeps is in the folder of the laboratory,
 * as on a volume; with a size, that is a file system of that size, which goes with the task.
 */
const TASK = `
  mount --bind "$FOLDER" "$ROOTFS${LAB}"
  mount -t proc proc "$ROOTFS/proc"
  mount --rbind /dev "$ROOTFS/dev"
  mount -t tmpfs tmpfs "$ROOTFS/dev/shm"
  if [ -n "$VOLUME" ]; then
    mount -t tmpfs -o "size=$VOLUME,mode=0777" tmpfs "$ROOTFS${LAB}/$NAME/volume"
  fi
  exec chroot --userspec=postgres:postgres "$ROOTFS" "$@"`;

class Task {
  readonly lines: string[] = [];
  readonly ended: Promise<unknown>;

  constructor(
    private readonly child: ChildProcess,
    readonly name: string,
  ) {
    for (const stream of [child.stdout!, child.stderr!])
      readline.createInterface({ input: stream }).on('line', (line) => this.lines.push(line));
    this.ended = new Promise((resolve) => child.once('close', resolve));
  }

  /** Of the first process in it. */
  get pid(): number {
    const children = fs.readFileSync(`/proc/${this.child.pid}/task/${this.child.pid}/children`, 'utf8').trim();
    return Number(children.split(' ')[0]);
  }
  get running(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }
  async signal(name: 'SIGTERM' | 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): Promise<void> {
    if (!this.running) return;
    process.kill(this.pid, name);
    if (name === 'SIGTERM' || name === 'SIGKILL') await this.ended;
  }
}

export interface LabOptions {
  readonly members?: 1 | 3;
  readonly etcd?: 1 | 3;
  readonly synchronous?: boolean;
  /** Of each member, such as `400m`. Absent: that of the machine. */
  readonly volume?: string;
  readonly parameters?: Readonly<Record<string, string>>;
  /** pgBackRest with a repository in the folder of the laboratory, which all members see. */
  readonly backups?: boolean;
}

let networks = 0;

/**
 * Patroni, PostgreSQL 18 and etcd from Debian, each member at an address of the loopback of its own with the ports of production, TLS and
 * certificates of both sides. Patroni's times are the smallest that it takes: what is tested is what is asked of it, not how fast it is.
 */
export class Lab {
  readonly tasks = new Map<string, Task>();
  readonly authority: Authority = createAuthority('laboratory', 1);
  readonly folder = fs.mkdtempSync(path.join(os.tmpdir(), 'cdk-postgres-members-'));
  private readonly network = `127.${64 + (process.pid % 64)}.${++networks}`;

  private constructor(readonly options: LabOptions) {
    fs.chmodSync(this.folder, 0o755);
  }

  static async start(options: LabOptions = {}): Promise<Lab> {
    const lab = new Lab(options);
    for (const name of lab.etcdNames) lab.startEtcd(name);
    try {
      await lab.waitFor(async () => (await lab.healthyEtcds()) === lab.etcdNames.length, 'etcd is there');
      // The first one makes the cluster.
      for (const name of lab.memberNames) {
        lab.startMember(name);
        if (name === 'pg-1') await lab.waitFor(() => lab.leads('pg-1'), 'pg-1 leads');
      }
      await lab.untilStreaming();
      return lab;
    } catch (error) {
      const said = [...lab.tasks.values()].map((task) => `${task.name}: ${task.lines.slice(-40).join('\n  ')}`);
      await lab.stop();
      throw new Error(`${(error as Error).message}\n${said.join('\n')}`);
    }
  }

  get memberNames(): string[] {
    return Array.from({ length: this.options.members ?? 3 }, (_, at) => `pg-${at + 1}`);
  }
  get etcdNames(): string[] {
    return Array.from({ length: this.options.etcd ?? 1 }, (_, at) => `etcd-${at + 1}`);
  }

  address(name: string): string {
    const [kind, number] = name.split('-');
    return `${this.network}.${(kind === 'pg' ? 10 : 20) + Number(number)}`;
  }

  /** As the function is told it. */
  get reference() {
    return {
      Identity: 'orders-server',
      Scope: SCOPE,
      Members: this.memberNames.map((name) => `${name}=${this.address(name)}:${PATRONI_PORT}`),
      Etcd: this.etcdNames.map((name) => `${name}=${this.address(name)}`),
      Synchronous: String(this.options.synchronous ?? false),
    };
  }
  get cluster(): KnownCluster {
    const endpoint = (port: number) => (name: string) => ({ name, host: this.address(name), port });
    return {
      identity: 'orders-server',
      scope: SCOPE,
      members: this.memberNames.map(endpoint(PATRONI_PORT)),
      etcd: this.etcdNames.map(endpoint(ETCD_PORT)),
      synchronous: this.options.synchronous ?? false,
      certificateSecret: '',
    };
  }
  get login(): ClusterLogin {
    const issued = issueCertificate(this.authority, ['function'], { validDays: 1, client: true });
    return { ...issued, ca: this.authority.certificate, basic: `patroni:${PASSWORD}` };
  }
  get password(): string {
    return PASSWORD;
  }
  rest(changes: Partial<ClusterLogin> = {}): RestClient {
    return new RestClient({ ...this.login, ...changes });
  }

  /** The folder of a task, as it is seen from outside. */
  folderOf(name: string): string {
    return path.join(this.folder, name);
  }
  dataOf(name: string): string {
    return `/proc/${this.tasks.get(name)!.pid}/root${LAB}/${name}/volume/data`;
  }

  startEtcd(name: string, state: 'new' | 'existing' = 'new'): Task {
    const peers = this.etcdNames.map((peer) => `${peer}=https://${this.address(peer)}:2380`).join(',');
    const [client, peer] = [`https://${this.address(name)}:2379`, `https://${this.address(name)}:2380`];
    const file = (part: string) => `${LAB}/${name}/${part}.pem`;
    this.prepare(name);
    return this.run(name, [
      ...['etcd', `--name=${name}`, `--data-dir=${LAB}/${name}/volume/data`, '--log-level=warn'],
      ...[`--listen-client-urls=${client}`, `--advertise-client-urls=${client}`],
      ...[`--listen-peer-urls=${peer}`, `--initial-advertise-peer-urls=${peer}`],
      ...[`--initial-cluster=${peers}`, `--initial-cluster-state=${state}`, `--initial-cluster-token=${SCOPE}`],
      ...['--heartbeat-interval=200', '--election-timeout=2000', '--unsafe-no-fsync'],
      // As on the image, which has them on the loopback of the task besides.
      ...[`--listen-metrics-urls=http://${this.address(name)}:2381`],
      ...['', 'peer-'].flatMap((kind) => [
        ...[`--${kind}cert-file=${file('certificate')}`, `--${kind}key-file=${file('key')}`],
        ...[`--${kind}trusted-ca-file=${file('ca')}`, `--${kind}client-cert-auth`],
      ]),
    ]);
  }

  startMember(name: string, changes: object = {}): Task {
    this.prepare(name);
    const file = path.join(this.folderOf(name), 'patroni.yml');
    fs.writeFileSync(file, JSON.stringify({ ...this.patroni(name), ...changes }, null, 2));
    return this.run(name, ['patroni', `${LAB}/${name}/patroni.yml`], this.options.volume);
  }

  /** The watch beside a member, in the namespaces of its task, as the entrypoint of the image starts it. */
  async startWatch(name: string): Promise<ChildProcess> {
    const file = (part: string) => `${LAB}/${name}/${part}.pem`;
    const volume = `${LAB}/${name}/volume`;
    const document = {
      ...{
        address: this.address(name),
        port: MEMBER_WATCH_PORT,
        volume,
        data: `${volume}/data`,
        socket: `${LAB}/${name}`,
      },
      ...{ certificate: file('certificate'), key: file('key'), ca: file('ca'), backupInterval: 2 },
      ...(this.options.backups && { stanza: SCOPE }),
    };
    fs.writeFileSync(path.join(this.folderOf(name), 'watch.json'), JSON.stringify(document));
    fs.copyFileSync(path.join(ROOT, 'lib/images/postgres/watch.py'), path.join(this.folderOf(name), 'watch.py'));
    // A task that has just begun is not in its root folder yet.
    await this.waitFor(
      () => fs.existsSync(`/proc/${this.tasks.get(name)!.pid}/root${LAB}/${name}/watch.json`),
      'its files',
    );
    const [command, args] = this.within(name, [
      'python3',
      '-B',
      `${LAB}/${name}/watch.py`,
      `${LAB}/${name}/watch.json`,
    ]);
    return spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  }

  /** A command in the task of a member, as `aws ecs execute-command` gives it. */
  exec(name: string, command: readonly string[], input?: string): string {
    const [file, args] = this.within(name, command);
    const { status, stdout, stderr } = spawnSync(file, args, { encoding: 'utf8', input });
    if (status !== 0) throw new Error(`${command.join(' ')}: ${stderr}${stdout}`);
    return stdout;
  }
  sql(name: string, statement: string): string {
    return this.exec(name, ['psql', '-h', `${LAB}/${name}`, '-U', 'postgres', '-XAtqc', statement]).trim();
  }
  patronictl(name: string, ...args: string[]): string {
    return this.exec(name, ['patronictl', '-c', `${LAB}/${name}/patroni.yml`, ...args]);
  }
  etcdctl(name: string, ...args: string[]): string {
    const file = (part: string) => `${LAB}/${name}/${part}.pem`;
    return this.exec(name, [
      ...['etcdctl', `--endpoints=https://${this.address(name)}:2379`, `--cacert=${file('ca')}`],
      ...[`--cert=${file('certificate')}`, `--key=${file('key')}`, ...args],
    ]);
  }

  async untilStreaming(): Promise<void> {
    const rest = this.rest();
    const deadline = Date.now() + 120_000;
    await waitUntilStreaming(rest, this.cluster, { expected: this.memberNames, deadline }).finally(() =>
      rest.destroy(),
    );
  }
  async leads(name: string): Promise<boolean> {
    const rest = this.rest();
    try {
      const member = this.cluster.members.find((one) => one.name === name)!;
      return (await rest.ask(member, 'GET', '/primary')).status === 200;
    } catch {
      return false;
    } finally {
      rest.destroy();
    }
  }
  async leader(): Promise<string | undefined> {
    for (const name of this.memberNames) if (await this.leads(name)) return name;
    return undefined;
  }

  async waitFor(condition: () => boolean | Promise<boolean>, what: string, timeout = 90_000): Promise<void> {
    const from = Date.now();
    while (!(await condition())) {
      if (Date.now() - from > timeout) throw new Error(`not within ${timeout / 1000} s: ${what}`);
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
  }

  async stop(): Promise<void> {
    await Promise.all([...this.tasks.values()].map((task) => task.signal('SIGKILL')));
    fs.rmSync(this.folder, { recursive: true, force: true });
  }

  private async healthyEtcds(): Promise<number> {
    const rest = this.rest();
    const answers = await Promise.all(
      this.cluster.etcd.map((one) =>
        rest.read(one, '/health').then(
          ({ health }) => health === 'true',
          () => false,
        ),
      ),
    );
    rest.destroy();
    return answers.filter(Boolean).length;
  }

  /** The folder of a task with its certificate. What is on its volume stays. */
  private prepare(name: string): void {
    const folder = this.folderOf(name);
    fs.mkdirSync(path.join(folder, 'volume'), { recursive: true });
    const hosts = [this.address(name), 'localhost', '127.0.0.1'];
    const { certificate, privateKey } = issueCertificate(this.authority, hosts, { validDays: 1, client: true });
    const files = { 'certificate.pem': certificate, 'key.pem': privateKey, 'ca.pem': this.authority.certificate };
    for (const [file, text] of Object.entries(files)) fs.writeFileSync(path.join(folder, file), text, { mode: 0o600 });
    execFileSync('chown', ['-R', `${userId('postgres')}`, folder]);
    fs.chmodSync(path.join(folder, 'volume'), 0o700);
  }

  private run(name: string, command: readonly string[], volume = ''): Task {
    const child = spawn(
      'unshare',
      ['--mount', '--pid', '--fork', '--propagation', 'private', 'sh', '-euc', TASK, 'task', ...command],
      {
        stdio: ['ignore', 'pipe', 'pipe'],
        env: {
          PATH: '/usr/lib/postgresql/18/bin:/usr/sbin:/usr/bin:/sbin:/bin',
          HOME: `${LAB}/${name}`,
          LANG: 'C.UTF-8',
          PGBACKREST_CONFIG: PGBACKREST,
          ...{ ROOTFS: rootFolder(), FOLDER: this.folder, NAME: name, VOLUME: volume },
        },
      },
    );
    const task = new Task(child, name);
    this.tasks.set(name, task);
    return task;
  }

  private within(name: string, command: readonly string[]): [string, string[]] {
    const { pid } = this.tasks.get(name)!;
    const namespaces = ['-t', String(pid), '--mount', '--pid', `--root=/proc/${pid}/root`, '--wd=/'];
    const user = ['setpriv', '--reuid=postgres', '--regid=postgres', '--clear-groups'];
    const environment = [
      'env',
      '-i',
      'PATH=/usr/lib/postgresql/18/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      'LANG=C.UTF-8',
      'COLUMNS=120',
      `PGBACKREST_CONFIG=${PGBACKREST}`,
    ];
    return ['nsenter', [...namespaces, ...user, ...environment, ...command]];
  }

  private patroni(name: string): object {
    const folder = `${LAB}/${name}`;
    const address = this.address(name);
    const certificate = { certfile: `${folder}/certificate.pem`, keyfile: `${folder}/key.pem` };
    const archive = this.options.backups
      ? {
          archive_mode: 'on',
          archive_command: `pgbackrest --stanza=${SCOPE} archive-push %p`,
        }
      : { archive_mode: 'on', archive_command: '/bin/true' };
    return {
      scope: SCOPE,
      name,
      restapi: {
        ...{ listen: `${address}:${PATRONI_PORT}`, connect_address: `${address}:${PATRONI_PORT}` },
        ...{ ...certificate, cafile: `${folder}/ca.pem`, verify_client: 'optional' },
        authentication: { username: 'patroni', password: PASSWORD },
      },
      ctl: { ...certificate, cacert: `${folder}/ca.pem` },
      etcd3: {
        hosts: this.etcdNames.map((peer) => `${this.address(peer)}:2379`),
        ...{
          protocol: 'https',
          cacert: `${folder}/ca.pem`,
          cert: `${folder}/certificate.pem`,
          key: `${folder}/key.pem`,
        },
      },
      bootstrap: {
        dcs: {
          ...{ ttl: 20, loop_wait: 2, retry_timeout: 3, failsafe_mode: true, check_timeline: true },
          ...(this.options.synchronous && { synchronous_mode: 'quorum', synchronous_mode_strict: true }),
          postgresql: {
            use_pg_rewind: true,
            parameters: {
              wal_level: 'logical',
              max_connections: '40',
              shared_buffers: '32MB',
              ...archive,
              ...this.options.parameters,
            },
          },
        },
        initdb: [
          'data-checksums',
          { encoding: 'UTF8' },
          { locale: 'C.UTF-8' },
          { 'auth-local': 'peer' },
          { 'auth-host': 'scram-sha-256' },
        ],
      },
      postgresql: {
        ...{ listen: `${address}:5432`, connect_address: `${address}:5432` },
        ...{ data_dir: `${folder}/volume/data`, bin_dir: '/usr/lib/postgresql/18/bin', pgpass: `${folder}/pgpass` },
        ...{ use_unix_socket: true, use_unix_socket_repl: true, remove_data_directory_on_rewind_failure: true },
        // A socket may have a path of 107 characters.
        parameters: { unix_socket_directories: folder },
        authentication: {
          superuser: { username: 'postgres' },
          replication: { username: 'replicator', password: PASSWORD },
          rewind: { username: 'rewinder', password: PASSWORD },
        },
        pg_hba: [
          'local all postgres peer',
          'local replication replicator scram-sha-256',
          'host replication replicator 127.0.0.0/8 scram-sha-256',
          'host all rewinder 127.0.0.0/8 scram-sha-256',
        ],
      },
    };
  }
}

function userId(name: string): string {
  const entry = fs
    .readFileSync(path.join(rootFolder(), 'etc/passwd'), 'utf8')
    .split('\n')
    .find((line) => line.startsWith(`${name}:`));
  const [, , user, group] = entry!.split(':');
  return `${user}:${group}`;
}
