import * as fs from 'node:fs';
import * as path from 'node:path';
import { execFileSync } from 'node:child_process';
import * as tls from 'node:tls';
import { clusterProblem } from '../cluster/availability.js';
import { figure, outageFigure } from '../cluster/self-managed/figures';
import { Journal } from '../cluster/self-managed/journal';
import { Lab, Region, sleep, until } from '../cluster/self-managed/lab';
import { Task } from '../cluster/self-managed/task';

const suite = clusterProblem() === undefined ? describe : describe.skip;
const MINUTES = 60_000;

/** A leader that is cut off from its replicas, goes on for some seconds, and dies: what only it had is lost. */
async function dieAlone(lab: Lab, journal: Journal): Promise<{ readonly alone: number; readonly lost: number }> {
  const leader = await lab.leader();
  const replicas = lab.members.filter((task) => task !== leader);
  const cut = Date.now();
  for (const replica of replicas) replica.cut();
  await sleep(3000);
  // What was on its way when the cable was cut may have arrived.
  const alone = journal.between(cut + 500, Date.now());
  await leader.kill();
  for (const replica of replicas) replica.mend();
  await until(2 * MINUTES, 'another leads', async () => (await lab.leaders()).some((task) => task !== leader));
  leader.start();
  await lab.untilHealthy();
  await journal.untilWritten();
  await journal.stop();
  return { alone, lost: (await journal.lost()).length };
}

suite('a cluster that waits for its replicas', () => {
  let region: Region;
  let lab: Lab;
  const journals: Journal[] = [];

  beforeAll(async () => {
    region = await Region.start();
    lab = await Lab.start(region, { volumeSize: 1200 });
  }, 5 * MINUTES);
  afterAll(async () => {
    await Promise.all(journals.map((journal) => journal.stop()));
    await lab?.stop();
    await region?.stop();
  }, 2 * MINUTES);

  async function load(table: string): Promise<Journal> {
    const journal = await Journal.start(lab, { table });
    journals.push(journal);
    return journal;
  }

  test(
    'acknowledges nothing that a dying leader alone has',
    async () => {
      const found = await dieAlone(lab, await load('alone'));
      figure('a leader dies alone, synchronous', found);
      expect(found).toEqual({ alone: 0, lost: 0 });
    },
    8 * MINUTES,
  );

  test(
    'has one leader when the network of its leader is cut for a minute, who acknowledges nothing meanwhile',
    async () => {
      const journal = await load('cut');
      const old = await lab.leader();
      // A client on the side that is cut off: in the container of the leader itself.
      const inside = insideClient(old, 'cut_inside');
      await inside.untilWriting();
      const at = Date.now();
      old.cut();
      await sleep(1000);
      const from = inside.count();
      const next = await untilLeader(lab, old);
      await journal.untilWritten();
      const leases = outageFigure('the leader is cut off', journal, at);
      await sleep(Math.max(0, at + 60_000 - Date.now()));
      const during = inside.count() - from;
      old.mend();
      await lab.untilHealthy();
      inside.stop();
      await journal.stop();
      expect(during).toBe(0);
      expect(await journal.lost()).toEqual([]);
      expect((await lab.leader()).name).toBe(next.name);
      expect(leases).toBeLessThan(2);
    },
    8 * MINUTES,
  );

  test(
    'goes on under the same leader while two of three etcd members are down',
    async () => {
      const journal = await load('quorum');
      const leader = await lab.leader();
      const at = Date.now();
      for (const task of lab.etcd.slice(0, 2)) await task.kill();
      await sleep(45_000);
      const leases = outageFigure('two of three etcd members are down', journal, at);
      expect(await lab.leaders()).toEqual([leader]);
      for (const task of lab.etcd.slice(0, 2)) task.start();
      await until(MINUTES, 'etcd is healthy', () => lab.etcdHealthy());
      await lab.untilHealthy();
      expect(await lab.leaders()).toEqual([leader]);
      await journal.stop();
      expect(await journal.lost()).toEqual([]);
      expect(leases).toBeLessThan(0.25);
    },
    5 * MINUTES,
  );

  test(
    'writes again when the leader dies while the bucket cannot be reached',
    async () => {
      const journal = await load('bucket');
      const old = await lab.leader();
      region.cutS3();
      await sleep(3000);
      const at = Date.now();
      await old.kill();
      await journal.untilWritten(3 * MINUTES).finally(() => region.mendS3());
      const leases = outageFigure('the leader dies while the bucket is away', journal, at);
      old.start();
      await lab.untilHealthy();
      await lab.untilArchived(3 * MINUTES);
      await journal.stop();
      expect(await journal.lost()).toEqual([]);
      expect(leases).toBeLessThan(3);
    },
    10 * MINUTES,
  );

  test(
    'shows new certificates without a lost session, as soon as the secrets have them',
    async () => {
      const journal = await load('certificates');
      const leader = await lab.leader();
      const before = [await serial(lab, leader, 8008), await serial(lab, leader, 5432)];
      const { unknown } = journal;
      const at = Date.now();
      await lab.rotateCertificates();
      await until(MINUTES, 'new certificates are shown', async () => {
        const now = [await serial(lab, leader, 8008), await serial(lab, leader, 5432)];
        return now[0] !== before[0] && now[1] !== before[1];
      });
      for (const replica of await lab.replicas())
        await lab.psql(
          leader,
          `SELECT pg_terminate_backend(pid) FROM pg_stat_replication WHERE application_name = '${replica.name}'`,
        );
      await lab.untilHealthy();
      await journal.untilWritten();
      const leases = outageFigure('certificates are rotated', journal, at);
      await journal.stop();
      expect(journal.unknown).toBe(unknown);
      expect(await journal.lost()).toEqual([]);
      expect(leases).toBeLessThan(0.5);
    },
    5 * MINUTES,
  );

  test(
    'writes again when the volume of its leader was full and has room again',
    async () => {
      const journal = await load('filled');
      const leader = await lab.leader();
      const folder = leader.options.volume!.host;
      const ballast = path.join(folder, 'ballast');
      const at = Date.now();
      fill(ballast, folder);
      await until(
        2 * MINUTES,
        'writes fail',
        () =>
          journal.problems.some((problem) => /space|PANIC|terminat|read-only|recovery/i.test(problem)) ||
          journal.between(Date.now() - 3000, Date.now()) === 0,
      );
      await sleep(5000);
      fs.rmSync(ballast);
      await journal.untilWritten(3 * MINUTES);
      outageFigure('the volume of the leader was full', journal, at);
      await lab.untilHealthy();
      await journal.stop();
      expect(await journal.lost()).toEqual([]);
    },
    8 * MINUTES,
  );

  test(
    'has every acknowledged row after all of it was killed at once',
    async () => {
      const journal = await load('everything');
      await Promise.all([...lab.members, ...lab.etcd].map((task) => task.kill()));
      const at = Date.now();
      for (const task of [...lab.etcd, ...lab.members]) task.start();
      await journal.untilWritten(3 * MINUTES);
      outageFigure('everything is killed and started', journal, at);
      await lab.untilHealthy();
      await journal.stop();
      expect(await journal.lost()).toEqual([]);
    },
    8 * MINUTES,
  );

  test(
    'comes back as three members from the bucket alone, with every row that was archived',
    async () => {
      const journal = await load('archived');
      await lab.backup('full');
      const archived = Date.now();
      await lab.untilArchived();
      await sleep(2000);
      await journal.stop();
      // What was not archived when everything is lost is lost.
      await lab.stop();
      const at = Date.now();
      lab = await Lab.start(region, { name: 'again', bootstrap: { stanza: 'orders', target: { type: 'latest' } } });
      figure('three members from the bucket', { seconds: Math.round((Date.now() - at) / 100) / 10 });
      expect(journal.between(0, archived)).toBeGreaterThan(50);
      expect(await journal.lost(lab, archived)).toEqual([]);
    },
    12 * MINUTES,
  );
});

suite('a cluster without what protects it', () => {
  let region: Region;
  let lab: Lab;
  beforeAll(async () => {
    region = await Region.start();
    lab = await Lab.start(region, {
      synchronous: false,
      change: (image) => {
        // Patroni as it is, which believes addresses for ten minutes.
        const file = path.join(image, 'run_patroni.py');
        const text = fs.readFileSync(file, 'utf8');
        expect(text).toContain('__defaults__ = (5.0, 1.0)');
        fs.writeFileSync(file, text.replace('__defaults__ = (5.0, 1.0)', '__defaults__ = KNOWN'));
      },
    });
  }, 5 * MINUTES);
  afterAll(async () => {
    await lab?.stop();
    await region?.stop();
  }, 2 * MINUTES);

  test(
    'loses what a dying leader alone has acknowledged where commits do not wait, and the check of rows finds it',
    async () => {
      const found = await dieAlone(lab, await Journal.start(lab, { table: 'alone' }));
      figure('a leader dies alone, asynchronous', found);
      expect(found.alone).toBeGreaterThan(0);
      expect(found.lost).toBeGreaterThanOrEqual(found.alone);
    },
    8 * MINUTES,
  );

  test(
    'does not hand over to a member whose address is another one since a moment ago',
    async () => {
      const leader = await lab.leader();
      const [candidate] = await lab.replicas();
      const handOver = async (from: Task, to: Task) => {
        const names = ['--leader', from.name, '--candidate', to.name];
        // The answer may be a refusal, or a promise that is not kept.
        await lab.patronictl('switchover', 'orders', ...names, '--force').catch(() => undefined);
      };
      // Each has asked the other, and knows its address.
      for (const [from, to] of [
        [leader, candidate],
        [candidate, leader],
      ] as const) {
        await handOver(from, to);
        await until(MINUTES, 'the candidate leads', async () => (await lab.leader()) === to);
        await lab.untilHealthy();
      }
      await candidate.terminate();
      candidate.start();
      await lab.untilHealthy();
      await handOver(leader, candidate);
      await sleep(20_000);
      expect((await lab.leader()).name).toBe(leader.name);
    },
    5 * MINUTES,
  );
});

async function untilLeader(lab: Lab, not: Task): Promise<Task> {
  let found: Task | undefined;
  await until(2 * MINUTES, 'another leads', async () => {
    found = (await lab.leaders()).find((task) => task !== not);
    return found !== undefined;
  });
  return found!;
}

/** A session over the local socket that inserts a row after the other for as long as it can, and counts those that were acknowledged. */
function insideClient(task: Task, table: string) {
  const file = '/run/cdk-postgres/acknowledged';
  const script = `psql -U postgres -d postgres -qc 'CREATE TABLE ${table} (n int)'; n=0; while [ ! -e ${file}.stop ]; do
    n=$((n+1)); psql -U postgres -d postgres -qc "INSERT INTO ${table} VALUES ($n)" && echo $n >>${file}; sleep 0.2; done`;
  const running = task.exec(['sh', '-c', script]).catch(() => '');
  const outside = task.path(file);
  const count = () => (fs.existsSync(outside) ? fs.readFileSync(outside, 'utf8').trim().split('\n').length : 0);
  return {
    count,
    untilWriting: () => until(MINUTES, 'the session inside writes', () => count() > 3),
    stop: () => {
      fs.writeFileSync(`${outside}.stop`, '');
      void running;
    },
  };
}

/** The serial number of the certificate that a port shows. */
function serial(lab: Lab, task: Task, port: number): Promise<string> {
  if (port === 5432) {
    const text = execFileSync(
      'sh',
      [
        '-c',
        `openssl s_client -starttls postgres -connect ${task.address}:5432 </dev/null 2>/dev/null | openssl x509 -noout -serial`,
      ],
      { encoding: 'utf8' },
    );
    return Promise.resolve(text.trim());
  }
  return new Promise((resolve, reject) => {
    const socket = tls.connect(
      { host: task.address, port, ca: lab.region.authority.certificate, servername: `${task.name}.orders.internal` },
      () => {
        resolve(socket.getPeerCertificate().serialNumber);
        socket.destroy();
      },
    );
    socket.once('error', reject);
  });
}

/** All that is left. */
function fill(file: string, folder: string): void {
  const { bavail, bsize } = fs.statfsSync(folder);
  const handle = fs.openSync(file, 'w');
  const chunk = Buffer.alloc(1 << 20);
  try {
    for (let left = bavail * bsize; left > 0; left -= chunk.length) fs.writeSync(handle, chunk);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  } finally {
    fs.closeSync(handle);
  }
}
