import * as fs from 'node:fs';
import * as path from 'node:path';
import { USERS } from '../../../lib/server/ecs/configuration';
import { clusterProblem } from '../availability.js';
import { figure, outageFigure } from './figures';
import { Journal, missing } from './journal';
import { Lab, Region, sleep, until } from './lab';

const suite = clusterProblem() === undefined ? describe : describe.skip;

suite('a cluster of three members', () => {
  let region: Region;
  let lab: Lab;
  const journals: Journal[] = [];

  beforeAll(async () => {
    region = await Region.start();
    lab = await Lab.start(region);
  }, 300_000);
  afterAll(async () => {
    await Promise.all(journals.map((journal) => journal.stop()));
    await lab?.stop();
    await region?.stop();
  }, 120_000);

  async function load(table: string): Promise<Journal> {
    const journal = await Journal.start(lab, { table });
    journals.push(journal);
    return journal;
  }

  test('loses no acknowledged row when the task of its leader is killed, and takes the old leader back', async () => {
    const journal = await load('killed');
    await sleep(10_000);
    const old = await lab.leader();
    const at = Date.now();
    await old.kill();
    await journal.untilWritten();
    const leases = outageFigure('the leader is killed', journal, at);
    const [leader, ...others] = await lab.leaders();
    expect(others).toEqual([]);
    expect(leader.name).not.toBe(old.name);

    old.start();
    await lab.untilHealthy();
    await journal.stop();
    expect(await journal.lost()).toEqual([]);
    expect(leases).toBeLessThan(2);
  }, 400_000);

  test('loses no acknowledged row at a planned switchover and when the leader is stopped', async () => {
    const journal = await load('stopped');
    const old = await lab.leader();
    const [candidate] = await lab.replicas();
    let at = Date.now();
    await lab.patronictl('switchover', 'orders', '--leader', old.name, '--candidate', candidate.name, '--force');
    await until(60_000, 'the candidate leads', async () => (await lab.leader()) === candidate);
    await lab.untilHealthy();
    await journal.untilWritten();
    const planned = outageFigure('a switchover', journal, at);
    expect(planned).toBeLessThan(1);

    at = Date.now();
    expect(await candidate.terminate()).toBe(0);
    await journal.untilWritten();
    outageFigure('the leader is stopped', journal, at);
    candidate.start();
    await lab.untilHealthy();
    await journal.stop();
    expect(await journal.lost()).toEqual([]);
  }, 400_000);

  test('takes an etcd member with an empty volume back, which would not come back by itself', async () => {
    const journal = await load('etcd');
    const [lost] = lab.etcd;
    await lost.kill();
    lab.emptyVolume(lost);
    // As if the entrypoint knew nothing of it.
    const file = path.join(lost.options.image!, 'entrypoint.py');
    const entrypoint = fs.readFileSync(file, 'utf8');
    expect(entrypoint).toContain('        begin(peers, os.environ["ETCD_NAME"])');
    fs.writeFileSync(file, entrypoint.replace('        begin(peers, os.environ["ETCD_NAME"])', '        pass'));
    lost.start();
    expect(await lost.end()).not.toBe(0);
    expect(lost.lines.join('\n')).toContain('has already been bootstrapped');

    fs.writeFileSync(file, entrypoint);
    lab.emptyVolume(lost);
    const at = Date.now();
    lost.start();
    await until(
      60_000,
      'etcd is healthy',
      async () => (await lost.exec(['python3', '-B', '/opt/cdk-postgres/entrypoint.py', 'health'])) === '',
    );
    await until(60_000, 'all of etcd answer', () => lab.etcdHealthy());
    await journal.untilWritten();
    outageFigure('an etcd volume is lost', journal, at);
    await journal.stop();
    expect(await journal.lost()).toEqual([]);
  }, 300_000);

  test('makes a replica with an empty volume anew', async () => {
    const [lost] = await lab.replicas();
    await lost.kill();
    lab.emptyVolume(lost);
    const said = lost.lines.length;
    lost.start();
    await lab.untilHealthy();
    expect(lost.lines.slice(said).join('\n')).toMatch(/replica has been created using (pgbackrest|basebackup)/);
  }, 300_000);

  test('archives on after its failovers, also where another copy of the last segment of a timeline is in the bucket', async () => {
    const leader = await lab.leader();
    const image = leader.options.image!;
    const file = path.join(image, 'pgbackrest-archive-push');
    const wrapper = fs.readFileSync(file, 'utf8');
    const wal = path.join(lab.dataOf(leader), 'pg_wal');
    const history = fs
      .readdirSync(wal)
      .filter((name) => name.endsWith('.history'))
      .sort()
      .at(-1)!;
    const [timeline, lsn] = fs.readFileSync(path.join(wal, history), 'utf8').trim().split('\n').at(-1)!.split('\t');
    const [upper, lower] = lsn.split('/').map((part) => parseInt(part, 16));
    const segment = [Number(timeline), upper, lower >>> 24]
      .map((part) => part.toString(16).toUpperCase().padStart(8, '0'))
      .join('');
    // As a third member leaves it: the bucket has one copy, and the leader another, which it was never told is archived.
    const valid = fs
      .readdirSync(wal)
      .filter((name) => /^[0-9A-F]{24}$/.test(name))
      .sort()[0];
    const bytes = fs.readFileSync(path.join(wal, valid));
    const put = (byte: number) => {
      bytes[bytes.length - 1] = byte;
      const ready = path.join(wal, 'archive_status', `${segment}.ready`);
      for (const [name, content] of [
        [path.join(wal, segment), bytes],
        [ready, ''],
      ] as const) {
        fs.writeFileSync(name, content);
        fs.chownSync(name, USERS.postgres, USERS.postgres);
      }
      // pgBackRest remembers what it has put there itself, which is not how it comes to this.
      const spool = path.join(leader.options.volume!.host, 'spool', 'archive', 'orders', 'out');
      fs.rmSync(path.join(spool, `${segment}.ok`), { force: true });
      fs.rmSync(path.join(wal, 'archive_status', `${segment}.done`), { force: true });
    };
    const isWaiting = () => lab.waitingForArchive(leader).includes(`${segment}.ready`);
    put(1);
    await lab.switchSegment(leader);
    await until(60_000, 'the first copy is archived', () => !isWaiting());

    // Without the wrapper nothing is archived any more.
    fs.writeFileSync(file, '#!/bin/sh\nexec /usr/bin/pgbackrest --stanza="$CDK_POSTGRES_STANZA" archive-push "$1"\n');
    put(2);
    await lab.switchSegment(leader);
    const failed = async () => Number(await lab.psql(leader, 'SELECT failed_count FROM pg_stat_archiver'));
    const before = await failed();
    await until(60_000, 'archiving fails', async () => (await failed()) > before);
    await sleep(5000);
    expect(isWaiting()).toBe(true);

    fs.writeFileSync(file, wrapper);
    await until(90_000, 'archiving goes on', () => !isWaiting());
    await lab.untilArchived();
    expect(leader.lines.join('\n')).toContain(`${segment} is in the archive with other bytes after ${lsn}`);
  }, 300_000);

  test('comes back from the bucket alone, to the second that is asked for', async () => {
    await lab.backup('full');
    await lab.query('CREATE TABLE ledger (n int)');
    await lab.query('INSERT INTO ledger SELECT generate_series(1, 1000)');
    const [{ now }] = await lab.query<{ now: string }>('SELECT clock_timestamp()::text AS now');
    await sleep(1500);
    await lab.query('DELETE FROM ledger WHERE n > 10');
    await lab.untilArchived();
    const before = Date.parse(now);
    await lab.stop();

    const at = Date.now();
    const target = { type: 'time' as const, value: now };
    lab = await Lab.start(region, { name: 'restored', members: 1, bootstrap: { stanza: 'orders', target } });
    figure('restored to a time', { seconds: (Date.now() - at) / 1000 });
    const [ledger] = await lab.query('SELECT count(*)::int AS count, max(n) AS max FROM ledger');
    expect(ledger).toEqual({ count: 1000, max: 1000 });
    for (const journal of journals) expect(await journal.lost(lab, before)).toEqual([]);
    // It goes on by itself: it is written to, and archived under its own name.
    await lab.query('INSERT INTO ledger VALUES (0)');
    await lab.untilArchived();
    await lab.backup('full');
  }, 500_000);

  test('the check of rows finds one that is not there', () => {
    const at = 0;
    const row = (n: number) => ({ worker: 1, n, at });
    expect(missing([row(1), row(2)], [{ worker: 1, n: 1 }])).toEqual([row(2)]);
    expect(missing([row(1)], [{ worker: 1, n: 1 }])).toEqual([]);
  });
});
