import {
  backupConfiguration,
  ClusterModel,
  dynamicConfiguration,
  etcdConfiguration,
  memberCertificate,
  memberConfiguration,
  routerConfiguration,
} from '../../../../lib/server/ecs/configuration';
import { model } from './cluster-model';

const PATRONI = '/run/cdk-postgres/patroni/1-cluster.yml';
const PGBACKREST = '/run/cdk-postgres/pgbackrest.conf';
const RESTORE = '/run/cdk-postgres/restore.conf';

/** An ini file as it is read. */
function ini(text: string): Record<string, Record<string, string>> {
  const sections: Record<string, Record<string, string>> = {};
  let section: Record<string, string> = {};
  for (const line of text.split('\n')) {
    const [, name] = /^\[(.*)\]$/.exec(line) ?? [];
    if (name !== undefined) section = sections[name] = {};
    else if (line !== '') section[line.slice(0, line.indexOf('='))] = line.slice(line.indexOf('=') + 1);
  }
  return sections;
}

interface Patroni {
  readonly name: string;
  readonly etcd3: { readonly hosts: string[]; readonly protocol: string };
  readonly bootstrap: {
    readonly dcs: Dynamic;
    readonly method?: string;
    readonly repository?: object;
    readonly initdb: unknown[];
  };
  readonly postgresql: {
    readonly authentication: Record<string, Record<string, string>>;
    readonly create_replica_methods: string[];
  };
}
interface Dynamic {
  readonly ttl: number;
  readonly loop_wait: number;
  readonly retry_timeout: number;
  readonly synchronous_mode: string | boolean;
  readonly synchronous_mode_strict: boolean;
  readonly slots: unknown;
  readonly postgresql: { readonly parameters: Record<string, string>; readonly recovery_conf?: unknown };
}

const patroni = (changes: Partial<ClusterModel> = {}, n = 1) =>
  JSON.parse(memberConfiguration(model(changes), n).files[PATRONI]) as Patroni;
const dynamic = (changes: Partial<ClusterModel> = {}) => dynamicConfiguration(model(changes)) as unknown as Dynamic;

describe('a member', () => {
  test('is known by its name, and asks every member of etcd by TLS', () => {
    const { name, etcd3 } = patroni({}, 2);
    expect(name).toBe('pg-2');
    expect(etcd3).toMatchObject({
      protocol: 'https',
      hosts: ['etcd-1.orders.internal:2379', 'etcd-2.orders.internal:2379', 'etcd-3.orders.internal:2379'],
    });
    expect(memberCertificate(model(), 2)).toEqual({
      commonName: 'pg-2',
      hosts: ['pg-2.orders.internal', 'orders.example.com', 'localhost', '127.0.0.1'],
    });
  });

  test('has no password in its files, and reaches the others by its certificate', () => {
    const text = JSON.stringify(memberConfiguration(model({ bootstrap: FROM_BILLING }), 1).files);
    expect(text).not.toMatch(/cipher-pass|"password"|s3-key=|s3-key-secret/);
    const { superuser, replication, rewind } = patroni().postgresql.authentication;
    expect(superuser).toEqual({ username: 'postgres' });
    for (const role of [replication, rewind])
      expect(role).toMatchObject({ sslmode: 'verify-full', sslcert: '/run/cdk-postgres/tls/certificate.pem' });
  });

  test('gives the lead up before the lease ends', () => {
    const { ttl, loop_wait, retry_timeout } = dynamic();
    expect(loop_wait + 2 * retry_timeout).toBeLessThanOrEqual(ttl);
  });

  test('waits for a quorum where nothing may be lost, and not otherwise', () => {
    expect(dynamic()).toMatchObject({ synchronous_mode: 'quorum', synchronous_mode_strict: true });
    expect(dynamic({ synchronous: false })).toMatchObject({ synchronous_mode: false, synchronous_mode_strict: false });
  });

  test("takes the user's parameters over the defaults, and its own over the user's", () => {
    const { parameters } = dynamic({ parameters: { wal_keep_size: '2GB', work_mem: '8MB' } }).postgresql;
    expect(parameters).toMatchObject({ wal_keep_size: '2GB', work_mem: '8MB', wal_level: 'logical', ssl: 'on' });
  });

  test('without backups archives nothing, and copies the leader', () => {
    const changes = { backup: undefined, members: 1 as const, synchronous: false };
    expect(dynamic(changes).postgresql.parameters.archive_mode).toBeUndefined();
    expect(dynamic(changes).postgresql.recovery_conf).toBeUndefined();
    const configuration = memberConfiguration(model(changes), 1);
    expect(Object.keys(configuration.files)).toEqual([PATRONI]);
    expect(configuration.secrets).toEqual(['certificate', 'restapi', 'admin']);
    expect(patroni(changes).postgresql.create_replica_methods).toEqual(['basebackup']);
  });

  test('sorts by what no update of the C library changes, from 17 on (OPS-14)', () => {
    expect(patroni().bootstrap.initdb).toContainEqual({ 'locale-provider': 'builtin' });
    expect(patroni({ majorVersion: 16 }).bootstrap.initdb).not.toContainEqual({ 'locale-provider': 'builtin' });
  });

  test('keeps logical slots on every member (HA-19)', () => {
    const changes = { logicalSlots: { cdc: { database: 'app' } } };
    expect(dynamic(changes).slots).toEqual({ cdc: { type: 'logical', database: 'app', plugin: 'pgoutput' } });
    expect(dynamic(changes).postgresql.parameters.hot_standby_feedback).toBe('on');
  });

  test('archives with the role of its task, and keeps what is not in the bucket on its volume', () => {
    const { global, orders } = ini(memberConfiguration(model(), 1).files[PGBACKREST]);
    expect(global).toMatchObject({
      'repo1-s3-bucket': 'orders-backups',
      'repo1-s3-key-type': 'process',
      'repo1-cipher-type': 'aes-256-cbc',
      'repo1-path': '/orders',
      'repo1-retention-full-type': 'time',
      'repo1-retention-full': '14',
      'spool-path': '/var/lib/pg/spool',
      'tls-server-auth': 'backup=orders',
    });
    // A bound would drop WAL, and with it every later point in time.
    expect(global['archive-push-queue-max']).toBeUndefined();
    expect(orders['pg1-path']).toBe('/var/lib/pg/data');
  });

  test('has a second repository with a cipher of its own', () => {
    const backup = {
      ...model().backup!,
      secondRepository: { bucket: 'elsewhere', region: 'eu-west-1', retentionDays: 90, kmsKeyId: 'k' },
    };
    const configuration = memberConfiguration(model({ backup }), 1);
    expect(configuration.secrets).toContain('cipher-2');
    expect(ini(configuration.files[PGBACKREST]).global).toMatchObject({
      'repo2-s3-bucket': 'elsewhere',
      'repo2-s3-region': 'eu-west-1',
      'repo2-retention-full': '90',
      'repo2-s3-kms-key-id': 'k',
    });
  });

  test('that is not there is refused', () => {
    expect(() => memberConfiguration(model(), 4)).toThrow('the cluster orders has no member 4; they are 1 to 3');
  });
});

const FROM_BILLING: ClusterModel['bootstrap'] = {
  stanza: 'billing',
  repository: { bucket: 'billing-backups', region: 'eu-central-1' },
  target: { type: 'time', value: '2026-03-01 12:00:00+00', exclusive: true },
};

test('a cluster that begins with a backup reads from that repository and archives to its own', () => {
  const configuration = memberConfiguration(model({ bootstrap: FROM_BILLING }), 1);
  const restore = ini(configuration.files[RESTORE]);
  expect(restore.global).toMatchObject({ 'repo1-s3-bucket': 'billing-backups', 'repo1-path': '/billing' });
  expect(ini(configuration.files[PGBACKREST]).global['repo1-path']).toBe('/orders');
  expect(configuration.secrets).toContain('cipher-restore');
  const { bootstrap } = patroni({ bootstrap: FROM_BILLING });
  expect(bootstrap.method).toBe('repository');
  expect(bootstrap.repository).toEqual({
    command: '/opt/cdk-postgres/restore',
    no_params: true,
    keep_existing_recovery_conf: true,
    type: 'time',
    target: '2026-03-01 12:00:00+00',
    'target-action': 'promote',
    'target-exclusive': 'y',
  });
});

test('to the end of the archive there is no target', () => {
  const bootstrap = { ...FROM_BILLING, target: { type: 'latest' as const } };
  expect(Object.keys(patroni({ bootstrap }).bootstrap.repository!)).toEqual([
    'command',
    'no_params',
    'keep_existing_recovery_conf',
  ]);
});

test('a backup reads from a replica where there is one, over the servers of all members', () => {
  const { global, orders } = ini(backupConfiguration(model()).files[PGBACKREST]);
  expect(global['backup-standby']).toBe('prefer');
  for (const n of [1, 2, 3])
    expect(orders).toMatchObject({ [`pg${n}-host`]: `pg-${n}.orders.internal`, [`pg${n}-host-type`]: 'tls' });
  expect(() => backupConfiguration(model({ backup: undefined }))).toThrow('has no backup in its model');
});

test('etcd begins with all of its members, each by the certificate of the cluster', () => {
  const { environment, secrets } = etcdConfiguration(model(), 3);
  expect(environment).toMatchObject({
    ETCD_NAME: 'etcd-3',
    ETCD_INITIAL_CLUSTER:
      'etcd-1=https://etcd-1.orders.internal:2380,etcd-2=https://etcd-2.orders.internal:2380,etcd-3=https://etcd-3.orders.internal:2380',
    ETCD_CLIENT_CERT_AUTH: 'true',
    ETCD_PEER_CLIENT_CERT_AUTH: 'true',
  });
  expect(secrets).toEqual(['certificate']);
});

test('the router asks Patroni by TLS whom to lead to, every second, and cuts off from who no longer is', () => {
  const text = routerConfiguration(model()).files['/run/cdk-postgres/haproxy.cfg'];
  expect(text).toContain('check-ssl verify required ca-file /run/cdk-postgres/tls/ca.pem inter 1s');
  expect(text).toContain('on-marked-down shutdown-sessions');
  expect(text).toContain('listen primary\n  bind *:5432');
  expect(text).toContain('uri /primary ');
  expect(text).toContain('listen replica\n  bind *:5433');
  expect(text).toContain('uri /replica ');
  expect(text.match(/server pg-\d pg-\d\.orders\.internal:5432/g)).toHaveLength(6);
});

test('a cluster of one reads from the one that there is', () => {
  const text = routerConfiguration(model({ members: 1, synchronous: false })).files['/run/cdk-postgres/haproxy.cfg'];
  expect(text).toContain('uri /read-only ');
});
