import * as https from 'node:https';
import { MEMBER_WATCH_PORT } from '../../../lib/contract';
import { issueCertificate } from '../../../lib/runtime/certificates';
import { clusterProblem } from '../availability.js';
import { Lab, Region, until } from './lab';
import { Task } from './task';

const describeCluster = clusterProblem() === undefined ? describe : describe.skip;

jest.setTimeout(400_000);

describeCluster('the watch in the task of a member', () => {
  let region: Region;
  let lab: Lab;
  beforeAll(async () => {
    region = await Region.start();
    lab = await Lab.start(region, { members: 1, archiveTimeout: 5 });
  });
  afterAll(async () => {
    await lab?.stop();
    await region?.stop();
  });

  /** What it tells the function of the cluster, or a client without a certificate. */
  function ask(task: Task, known = true): Promise<Record<string, unknown>> {
    const issued = issueCertificate(region.authority, ['operator'], { validDays: 1, client: true });
    return new Promise((resolve, reject) => {
      const request = https.get(
        {
          host: task.address,
          port: MEMBER_WATCH_PORT,
          ca: region.authority.certificate,
          servername: `${task.name}.orders.internal`,
          agent: false,
          ...(known && { cert: issued.certificate, key: issued.privateKey }),
        },
        (response) => {
          let text = '';
          response.on('data', (chunk: Buffer) => (text += chunk.toString()));
          response.on('error', reject);
          response.on('end', () => resolve(JSON.parse(text) as Record<string, unknown>));
        },
      );
      request.on('error', reject);
    });
  }

  test('knows the volume, the archive, and how old the backups are, or the data where there is none', async () => {
    const [task] = lab.members;
    await lab.psql(task!, "SELECT pg_logical_emit_message(true, 'x', 'y'); SELECT pg_switch_wal()");
    await until(60_000, 'a segment is archived', async () => (await ask(task!)).lastArchivedSeconds !== undefined);
    const before = await ask(task!);
    expect(before).toMatchObject({ walReadySeconds: expect.any(Number), archiveFailures: expect.any(Number) });
    expect(before.volumeUsedPercent).toBeGreaterThan(0);

    const backupSeconds = async () => Number((await ask(task!)).fullBackupSeconds ?? NaN);
    await until(90_000, 'the repository is read', async () => !Number.isNaN(await backupSeconds()));
    const from = Date.now();
    expect(await backupSeconds()).toBeGreaterThan(1); // as old as the data: a backup that is never made is late too
    await lab.backup('full');
    // It looks at the repository when it starts, and then every ten minutes.
    await task!.terminate();
    task!.start();
    await lab.untilHealthy();
    await until(60_000, 'the backup is seen', async () => (await backupSeconds()) <= (Date.now() - from) / 1000);
  });

  test('tells of segments that wait while the bucket cannot be reached', async () => {
    const [task] = lab.members;
    await until(60_000, 'it is no standby', async () => (await lab.psql(task!, 'SELECT pg_is_in_recovery()')) === 'f');
    region.cutS3();
    try {
      await lab.psql(task!, "SELECT pg_logical_emit_message(true, 'x', 'y'); SELECT pg_switch_wal()");
      await until(60_000, 'a segment waits', async () => Number((await ask(task!)).walReadySeconds) > 3);
    } finally {
      region.mendS3();
    }
    await until(90_000, 'none waits', async () => (await ask(task!)).walReadyFiles === 0);
  });

  test('tells nobody without a certificate of the cluster', async () => {
    await expect(ask(lab.members[0]!, false)).rejects.toThrow(/certificate required|ECONNRESET|socket hang up/);
  });
});
