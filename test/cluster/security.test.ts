import { execFileSync, spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as net from 'node:net';
import * as path from 'node:path';
import * as tls from 'node:tls';
import { Client } from 'pg';
import { createAuthority } from '../support/certificates';
import { clusterProblem, rootFolder } from './availability.js';
import { TestPooler } from './pooler';
import { PASSWORD, Setting } from './setting';

const describeCluster = clusterProblem() === undefined ? describe : describe.skip;

let setting: Setting;
let pooler: TestPooler;

beforeAll(async () => {
  if (clusterProblem() !== undefined) return;
  setting = await Setting.start();
  pooler = await setting.startPooler();
});
afterAll(() => setting?.stop());

/** What PgBouncer answers whom it does not know, or not by this password. */
const REFUSED = 'SASL authentication failed';

const problemOf = (work: Promise<Client>) =>
  work.then(
    async (client) => {
      await client.end();
      return 'none';
    },
    (error: Error & { code?: string }) =>
      error.code === undefined || error.code === '08P01' ? error.message : error.code,
  );

describeCluster('the image', () => {
  test('is what the tests run: the packages of the Dockerfile, from the same Debian, and not older than it says', () => {
    const dockerfile = fs.readFileSync(path.join(__dirname, '../../lib/images/pgbouncer/Dockerfile'), 'utf8');
    const script = fs.readFileSync(path.join(__dirname, 'root-folder.sh'), 'utf8');
    expect(/--no-install-recommends (.*) \\/.exec(dockerfile)![1]).toBe(/^ {2}(pgbouncer.*) \\/m.exec(script)![1]);
    expect(dockerfile).toContain('ARG DEBIAN=debian:forky-slim');
    expect(script).toContain('debootstrap --variant=minbase forky');
    const least = /PGBOUNCER_AT_LEAST=(\S+)/.exec(dockerfile)![1];
    const version = execFileSync('chroot', [rootFolder(), 'dpkg-query', '-W', '-f', '${Version}', 'pgbouncer'], {
      encoding: 'utf8',
    });
    expect(spawnSync('chroot', [rootFolder(), 'dpkg', '--compare-versions', version, 'ge', least]).status).toBe(0);
    expect(pooler.console('SHOW VERSION')[0].version).toBe(`PgBouncer ${version.split('-')[0]}`);
    const [user] = /^USER (.*)$/m.exec(dockerfile)!.slice(1);
    expect(fs.readFileSync(`/proc/${pooler.processes()[0]}/status`, 'utf8')).toMatch(
      new RegExp(`^Uid:\\s+${user.split(':')[0]}\\s`, 'm'),
    );
  });

  test('writes its tmpfs alone, for nobody else to read', () => {
    const own = fs.readdirSync(pooler.folder, { recursive: true, withFileTypes: true });
    const files = own.filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath, entry.name));
    expect(files.length).toBeGreaterThan(4);
    for (const file of files) expect([file, fs.statSync(file).mode & 0o777]).toEqual([file, 0o600]);
    for (const folder of own.filter((entry) => entry.isDirectory()))
      expect(fs.statSync(path.join(folder.parentPath, folder.name)).mode & 0o777).toBe(0o700);
    expect(() => fs.writeFileSync(`/proc/${pooler.pid}/root/opt/pooler/x`, '')).toThrow(/EROFS/);
  });
});

describeCluster('TLS', () => {
  test('a client refuses another authority, and another host, and the pooler a client without TLS', async () => {
    expect(await problemOf(setting.connect(pooler.port))).toBe('none');
    expect(await problemOf(setting.connect(pooler.port, { ssl: { ca: createAuthority('other').ca } }))).toMatch(
      /UNABLE_TO_VERIFY|SELF_SIGNED|CERT_/,
    );
    expect(await problemOf(setting.connect(pooler.port, { ssl: false }))).toBe('SSL required');
    const { certificate, key } = setting.authority.issue('pooler.example');
    const elsewhere = await setting.startPooler({
      certificateSecret: setting.manager.create('elsewhere', { certificate, privateKey: key }),
    });
    expect(await problemOf(setting.connect(elsewhere.port))).toBe('ERR_TLS_CERT_ALTNAME_INVALID');
    // Whoever does not look at the name is let in by the same pooler.
    const unverified = { ca: setting.authority.ca, checkServerIdentity: () => undefined };
    expect(await problemOf(setting.connect(elsewhere.port, { ssl: unverified }))).toBe('none');
    await elsewhere.stop();
  });

  test('the pooler refuses a server of another authority or host', async () => {
    const server = { host: setting.server.host, port: setting.server.port, trust: setting.server.ca! };
    for (const other of [
      { ...server, trust: createAuthority('other').ca },
      { ...server, host: 'other.example' },
    ]) {
      const distrusting = await setting.startPooler({ server: other, timeouts: { queryWait: 2 } });
      expect(await problemOf(setting.connect(distrusting.port))).not.toBe('none');
      expect(distrusting.lines.join('\n')).toMatch(/certificate verify failed|name .* not present/);
      // Another task would not trust it either.
      expect(distrusting.health()).toBeUndefined();
      await distrusting.waitFor(
        () => distrusting.metrics().some(({ ServerFailures }) => Number(ServerFailures) > 0),
        'the metric tells of it',
      );
      // Whoever only asks for TLS is let in by the same server.
      for (const process of [1, 2]) {
        const file = `${distrusting.folder}/pgbouncer-${process}.ini`;
        fs.writeFileSync(file, fs.readFileSync(file, 'utf8').replace('sslmode = verify-full', 'sslmode = require'));
        distrusting.console('RELOAD', process);
      }
      await distrusting.waitFor(
        async () => (await problemOf(setting.connect(distrusting.port))) === 'none',
        'the server is trusted unseen',
      );
      await distrusting.stop();
    }
  });

  test('a new certificate is shown to the next client, and who is connected stays', async () => {
    const shown = async () => {
      const client = await setting.connect(pooler.port);
      const socket = (client as unknown as { connection: { stream: tls.TLSSocket } }).connection.stream;
      const { fingerprint256 } = socket.getPeerCertificate();
      return { client, fingerprint256 };
    };
    const before = await shown();
    const { certificate, key } = setting.authority.issue('127.0.0.1', 'localhost');
    setting.manager.replace(setting.certificateSecret, { certificate, privateKey: key });
    await pooler.waitFor(async () => {
      const { client, fingerprint256 } = await shown();
      await client.end();
      return fingerprint256 !== before.fingerprint256;
    }, 'the new certificate is shown');
    expect((await before.client.query('SELECT 1')).rowCount).toBe(1);
    await before.client.end();
    // A key of another certificate is told of, and changes nothing.
    setting.manager.replace(setting.certificateSecret, { certificate, privateKey: createAuthority().issue('x').key });
    await pooler.waitFor(() => pooler.lines.some((line) => line.includes('of another')), 'it is told of');
    expect(await problemOf(setting.connect(pooler.port))).toBe('none');
    setting.manager.replace(setting.certificateSecret, { certificate, privateKey: key });
  });
});

describeCluster('SEC-9: the clear password', () => {
  /** Every place of a pooler in which it could be found, with its text. */
  function places(of: TestPooler): Map<string, string> {
    const found = new Map<string, string>();
    for (const entry of fs.readdirSync(of.folder, { recursive: true, withFileTypes: true }))
      if (entry.isFile()) {
        const file = path.join(entry.parentPath, entry.name);
        found.set(file, fs.readFileSync(file, 'utf8'));
      }
    for (const pid of [of.pid, ...of.processes()])
      for (const file of ['cmdline', 'environ'])
        found.set(`${file} of ${pid}`, fs.readFileSync(`/proc/${pid}/${file}`, 'utf8'));
    for (const what of ['USERS', 'CONFIG', 'DATABASES', 'CLIENTS', 'SERVERS', 'POOLS', 'PEERS'])
      found.set(`SHOW ${what}`, JSON.stringify(of.console(`SHOW ${what}`)));
    found.set('log', of.lines.join('\n'));
    return found;
  }
  const holding = (found: Map<string, string>) =>
    [...found].filter(([, text]) => text.includes(PASSWORD)).map(([place]) => place);

  test('is in no file, no log, no process list and no SHOW of the pooler', async () => {
    const client = await setting.connect(pooler.port);
    await client.query('SELECT 1');
    expect(await problemOf(setting.connect(pooler.port, { password: `${PASSWORD}x` }))).toBe(REFUSED);
    const found = places(pooler);
    expect(found.size).toBeGreaterThan(15);
    expect(found.get(`${pooler.folder}/users.txt`)).toMatch(/^"api" "SCRAM-SHA-256\$4096:/m);
    expect(holding(found)).toEqual([]);
    expect(setting.server.log()).not.toContain(PASSWORD);
    // What an auth_file with the password itself would look like, which the look must find.
    fs.writeFileSync(`${pooler.folder}/plain.txt`, `"api" "${PASSWORD}"\n`, { mode: 0o600 });
    expect(holding(places(pooler))).toEqual([`${pooler.folder}/plain.txt`]);
    fs.rmSync(`${pooler.folder}/plain.txt`);
    await client.end();
  });

  test('the console is on no network', async () => {
    const problem = (user: string) => problemOf(setting.connect(pooler.port, { user, database: 'pgbouncer' }));
    expect(await problem('pgbouncer')).toBe(REFUSED);
    expect(await problem('api')).toBe('not allowed');
  });

  test('names that a parser could stumble on log in', async () => {
    const hostile = `we"ird 'na\\me`;
    await setting.addLogin(hostile);
    await setting.server.query(`GRANT CONNECT ON DATABASE app TO "${hostile.replaceAll('"', '""')}"`);
    const another = await setting.startPooler();
    expect(await problemOf(setting.connect(another.port, { user: hostile }))).toBe('none');
    await another.stop();
  });
});

/** As a driver asks for the end of a statement: over a new connection, which any process may take. */
function cancel(client: Client, port: number): Promise<void> {
  const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
  const request = Buffer.alloc(16);
  [16, 80877102, processID, secretKey].forEach((value, at) => request.writeInt32BE(value, at * 4));
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, '127.0.0.1', () => socket.write(Buffer.from([0, 0, 0, 8, 4, 210, 22, 47])));
    socket.once('error', reject);
    socket.once('data', () => {
      const secure = tls.connect({ socket, ca: setting.authority.ca, servername: 'localhost' }, () =>
        secure.write(request),
      );
      secure.once('error', () => resolve());
      secure.once('close', () => resolve());
    });
  });
}

describeCluster('CP-15: a cancel', () => {
  /** How many of so many statements end by their cancel. */
  async function cancelled(port: number, count: number): Promise<number> {
    let ended = 0;
    for (let n = 0; n < count; n++) {
      const client = await setting.connect(port);
      const statement = client.query('SELECT pg_sleep(1.5)').then(
        () => undefined,
        (error: { code?: string }) => {
          if (error.code === '57014') ended++;
        },
      );
      await new Promise((resolve) => setTimeout(resolve, 100));
      await cancel(client, port);
      await statement;
      await client.end();
    }
    return ended;
  }

  test('arrives through either process, and not without peers', async () => {
    const tried = 12;
    expect(await cancelled(pooler.port, tried)).toBe(tried);
    const lonely = await setting.startPooler();
    for (const process of [1, 2]) {
      const file = `${lonely.folder}/pgbouncer-${process}.ini`;
      fs.writeFileSync(file, fs.readFileSync(file, 'utf8').replace(/\[peers\]\n(\d+ = .*\n)+/, ''));
      lonely.console('RELOAD', process);
    }
    expect(await cancelled(lonely.port, tried)).toBeLessThan(tried);
    await lonely.stop();
  });
});

describeCluster('a task', () => {
  test('whose process dies starts it again and tells of it', async () => {
    const [first] = pooler.processes();
    process.kill(first, 'SIGKILL');
    await pooler.waitFor(
      () => pooler.processes().length === 2 && !pooler.processes().includes(first) && pooler.health() === undefined,
      'both processes serve',
    );
    expect(await problemOf(setting.connect(pooler.port))).toBe('none');
    await pooler.waitFor(
      () => pooler.metrics().some((line) => line.ProcessesRestarted === 1),
      'the metric tells of it',
    );
  });

  test('is unhealthy while a process hangs or is paused, and healthy while the server is away', async () => {
    expect(pooler.health()).toBeUndefined();
    const [first] = pooler.processes();
    process.kill(first, 'SIGSTOP');
    expect(pooler.health()).toMatch(/process \d does not answer/);
    process.kill(first, 'SIGCONT');
    pooler.console('PAUSE', 2);
    expect(pooler.health()).toBe('process 2 is not active');
    pooler.console('RESUME', 2);
    await setting.server.restart(() => {
      expect(pooler.health()).toBeUndefined();
      return Promise.resolve();
    });
    expect(pooler.health()).toBeUndefined();
  });

  test('counts what its clients do', async () => {
    const from = pooler.metrics().length;
    const clients = await Promise.all(Array.from({ length: 12 }, () => setting.connect(pooler.port)));
    await Promise.all(clients.map((client) => client.query('SELECT pg_sleep(2.5)')));
    await pooler.waitFor(() => {
      const lines = pooler.metrics().slice(from);
      const most = (name: string) => Math.max(...lines.map((line) => Number(line[name])));
      const sum = (name: string) => lines.reduce((total, line) => total + Number(line[name]), 0);
      return (
        sum('Transactions') >= 12 &&
        most('ServersActive') > 0 &&
        most('ServersActive') <= 8 &&
        most('ClientsWaiting') > 0 &&
        most('LongestWaitMilliseconds') > 500
      );
    }, 'the metrics tell of it');
    await Promise.all(clients.map((client) => client.end()));
  });

  test('that is told nonsense says what, and ends', async () => {
    const nonsense = { ...(await setting.document()), maxClients: 3 } as never;
    const refused = await TestPooler.start(nonsense, setting.manager.environment, { untilHealthy: false });
    expect(await refused.ended).toBe(1);
    expect(refused.lines.join('\n')).toContain('does not know: \\"maxClients\\"');
  });

  test('lets a role in as soon as its secret has a verifier', async () => {
    const arn = setting.manager.create('late', { username: 'late', password: PASSWORD });
    await setting.server.query('CREATE ROLE late LOGIN');
    const waiting = await setting.startPooler({ secrets: { ...setting.arns, late: arn }, secretsInterval: 1 });
    expect(await problemOf(setting.connect(waiting.port, { user: 'late' }))).toBe(REFUSED);
    const { verifier } = setting.manager.value(setting.arns.api) as { verifier: string };
    await setting.server.query(`ALTER ROLE late PASSWORD '${verifier}'`);
    setting.manager.replace(arn, { username: 'late', password: PASSWORD, verifier });
    await waiting.waitFor(
      async () => (await problemOf(setting.connect(waiting.port, { user: 'late' }))) === 'none',
      'the role logs in',
    );
    await waiting.stop();
  });
});
