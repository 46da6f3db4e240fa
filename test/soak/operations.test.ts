import * as fs from 'node:fs';
import * as path from 'node:path';
import {
  CLUSTER_GATE_RESOURCE_TYPE,
  CLUSTER_PARAMETERS_RESOURCE_TYPE,
  CLUSTER_VARIABLE,
  ClusterAnswer,
  ClusterMetric,
  PENDING_RESTART_ATTRIBUTE,
} from '../../lib/contract';
import { createAuthority, issueCertificate } from '../../lib/runtime/certificates';
import { lookAtCluster, ClusterMemory, guardVolume } from '../../lib/runtime/cluster';
import { problemsOf } from '../../lib/runtime/cluster/judge';
import { look } from '../../lib/runtime/cluster/view';
import { handler, WatchAnswer } from '../../lib/runtime/handlers/cluster';
import { ResponseBody } from '../../lib/runtime/handlers/cloudformation';
import { cli } from '../bin/cli';
import { TestResponses } from '../support/cloudformation';
import { functionProcess } from '../support/function-process';
import { TestSecretsManager } from '../support/secrets-manager';
import { clusterProblem } from '../cluster/availability.js';
import { Lab, SCOPE } from './members';

const describeCluster = clusterProblem() === undefined ? describe : describe.skip;

jest.setTimeout(300_000);

/** Beside what a deployment of the members makes of it. */
interface Deployment {
  readonly through?: string;
  readonly before?: readonly string[];
  /** Seconds that the function has. */
  readonly time?: number;
  /** Minutes since CloudFormation asked. */
  readonly ago?: number;
}

describeCluster('the function of a cluster, before three members and etcd', () => {
  const { lines } = functionProcess();
  let lab: Lab;
  let manager: TestSecretsManager;
  let responses: TestResponses;
  let arns: { certificate: string; restapi: string };

  beforeAll(async () => {
    lab = await Lab.start({ synchronous: true });
    manager = await TestSecretsManager.start();
    responses = await TestResponses.start();
    const { certificate, privateKey, ca } = lab.login;
    arns = {
      certificate: manager.create('certificate', { certificate, privateKey, ca }),
      restapi: manager.create('restapi', { password: lab.password }),
    };
    for (const name of lab.memberNames) await lab.startWatch(name);
  });
  beforeEach(() => {
    Object.assign(process.env, manager.environment, {
      AWS_MAX_ATTEMPTS: '1',
      [CLUSTER_VARIABLE]: JSON.stringify({
        ...lab.reference,
        CertificateSecret: arns.certificate,
        RestApiSecret: arns.restapi,
      }),
    });
  });
  afterAll(async () => {
    await lab?.stop();
    await manager?.stop();
    await responses?.stop();
  });

  const context = (seconds: number) => ({ getRemainingTimeInMillis: () => seconds * 1000 });

  async function deploy({ through = 'pg-3', before, time = 80, ago = 60 }: Deployment = {}): Promise<ResponseBody> {
    const event = responses.event({
      type: before ? 'Update' : 'Create',
      physicalId: before ? 'gate' : undefined,
      properties: { Through: through, Members: lab.memberNames, Deployed: 'arn' },
      oldProperties: before && { Through: through, Members: before, Deployed: 'arn before' },
    });
    const asked = new Date(Date.now() - ago * 60_000).toISOString().replace(/[-:]|\.\d+/g, '');
    await handler(
      {
        ...event,
        ResourceType: CLUSTER_GATE_RESOURCE_TYPE,
        ResponseURL: `${responses.url}&X-Amz-Date=${asked}`,
      },
      context(time),
    );
    return responses.last;
  }
  /** The gate looks once or twice within this time. */
  const SHORT = 21;

  async function configure(
    properties: object,
    oldProperties?: object,
    time = 240,
  ): Promise<ResponseBody & { readonly pending?: string }> {
    const event = responses.event({
      type: oldProperties ? 'Update' : 'Create',
      physicalId: oldProperties ? 'parameters' : undefined,
      properties,
      oldProperties,
    });
    await handler({ ...event, ResourceType: CLUSTER_PARAMETERS_RESOURCE_TYPE }, context(time));
    return { ...responses.last, pending: responses.last.Data?.[PENDING_RESTART_ATTRIBUTE] };
  }
  const ask = async (command: object) => (await handler(command, context(200))) as ClusterAnswer;
  const watch = async () => ((await handler({}, context(60))) as WatchAnswer).metrics;
  const metric = async (name: ClusterMetric) => (await watch())[name];
  const settled = () => deploy({ time: 110 });

  describe('the gate', () => {
    test('opens when all members stream', async () => {
      expect(await deploy()).toMatchObject({ Status: 'SUCCESS' });
    });

    test('stays closed for a member that is gone, although Patroni still lists it', async () => {
      await lab.tasks.get('pg-3')!.signal('SIGKILL');
      const rest = lab.rest();
      const { members } = (await rest.read(lab.cluster.members[0]!, '/cluster')) as {
        members: { name: string; state: string }[];
      };
      rest.destroy();
      expect(members.find(({ name }) => name === 'pg-3')).toMatchObject({ state: 'streaming' });

      const body = await deploy({ time: SHORT });
      expect(body.Status).toBe('FAILED');
      expect(body.Reason).toMatch(/after the deployment of pg-3, .*: pg-3 \([^)]+\) does not answer: .*ECONNREFUSED/);
      expect(body.Reason).not.toMatch(/pg-1 |pg-2 /);
    });

    test('and does not answer yet while Lambda may run it again', async () => {
      const before = responses.bodies.length;
      await expect(deploy({ time: SHORT, ago: 0 })).rejects.toThrow(/pg-3 .* does not answer/);
      expect(responses.bodies.length).toBe(before);
    });

    test('waits for the members up to the one that was deployed, and at an update for those that were there', async () => {
      expect(await deploy({ through: 'pg-2' })).toMatchObject({ Status: 'SUCCESS' });
      expect((await deploy({ through: 'pg-2', before: lab.memberNames, time: SHORT })).Reason).toContain('pg-3');
    });

    test('opens again when the member is back on its volume', async () => {
      lab.startMember('pg-3');
      await lab.startWatch('pg-3');
      expect(await settled()).toMatchObject({ Status: 'SUCCESS' });
    });

    test('stays closed for a member that is behind', async () => {
      const receiver = lab.sql('pg-3', 'SELECT pid FROM pg_stat_wal_receiver');
      lab.exec('pg-3', ['kill', '-STOP', receiver]);
      lab.sql('pg-1', 'CREATE TABLE filler AS SELECT repeat(md5(g::text), 30) AS t FROM generate_series(1, 40000) g');
      const body = await deploy({ time: SHORT });
      lab.exec('pg-3', ['kill', '-CONT', receiver]);
      expect(body.Status).toBe('FAILED');
      expect(body.Reason).toMatch(/: pg-3 is \d+ MiB behind the leader pg-1\./);
      expect(await settled()).toMatchObject({ Status: 'SUCCESS' });
    });

    test('stays closed for one that is another cluster, on another timeline, or leads besides', async () => {
      const rest = lab.rest();
      const view = await look(rest, lab.cluster);
      rest.destroy();
      const changed = (changes: object) => ({
        ...view,
        members: new Map(
          [...view.members].map(([name, one]) => [name, name === 'pg-3' ? { ...one, ...changes } : one]),
        ),
      });
      const judged = (of: typeof view) => problemsOf(of, lab.cluster, lab.memberNames).join();
      expect(judged(view)).toBe('');
      expect(judged(changed({ timeline: 7 }))).toMatch(/pg-3 is on timeline 7, and the leader pg-1 on \d/);
      expect(judged(changed({ is: { name: 'pg-3', scope: 'other' } }))).toMatch(/pg-3 of the cluster other answers/);
      expect(judged(changed({ replication: 'in archive recovery' }))).toMatch(/pg-3 does not stream/);
      expect(judged({ ...view, leaders: ['pg-1', 'pg-3'] })).toBe('pg-1 and pg-3 say that they lead');
      expect(judged({ ...view, lock: 'pg-2' })).toMatch(/the lock in etcd is of pg-2/);
      expect(judged({ ...view, leaders: [] })).toMatch(/no member leads/);
      const alone = {
        ...view,
        members: new Map([...view.members].map(([name, one]) => [name, { ...one, synchronous: false }])),
      };
      expect(judged(alone)).toMatch(/no member is a synchronous standby/);
    });

    test('says which certificate is the wrong one', async () => {
      const stranger = createAuthority('stranger', 1);
      const foreign = issueCertificate(stranger, ['function'], { validDays: 1, client: true });
      const good = manager.value(arns.certificate)!;
      manager.replace(arns.certificate, { ...good, ...foreign });
      const refused = await deploy({ time: SHORT });
      manager.replace(arns.certificate, { ...good, ca: stranger.certificate });
      const distrusted = await deploy({ time: SHORT });
      manager.replace(arns.certificate, { ...good, privateKey: foreign.privateKey });
      const mixed = await deploy({ time: SHORT });
      manager.replace(arns.certificate, good);
      expect(refused).toMatchObject({
        Status: 'FAILED',
        Reason: expect.stringMatching(/perhaps the client certificate/),
      });
      expect(distrusted).toMatchObject({
        Status: 'FAILED',
        Reason: expect.stringMatching(/not of the root of this cluster/),
      });
      expect(mixed).toMatchObject({ Status: 'FAILED', Reason: expect.stringMatching(/"privateKey" of another/) });
      expect(await deploy()).toMatchObject({ Status: 'SUCCESS' });
    });
  });

  describe('the parameters', () => {
    const shown = (name: string) => lab.memberNames.map((member) => lab.sql(member, `SHOW ${name}`));
    const one = { Parameters: { work_mem: '5MB' } };

    test('reach all members, and a second run changes nothing', async () => {
      expect(await configure(one)).toMatchObject({ Status: 'SUCCESS', pending: '' });
      await lab.waitFor(() => shown('work_mem').join() === '5MB,5MB,5MB', 'all have it');
      const from = lines.length;
      expect(await configure(one, one)).toMatchObject({ Status: 'SUCCESS', pending: '' });
      expect(lines.slice(from).find(({ event }) => event === 'done')).toMatchObject({ changed: [] });
    });

    test('that need a restart are reported, and done in order where that is declared: one switchover, nothing lost', async () => {
      const more = { Parameters: { ...one.Parameters, max_connections: '60' } };
      const reported = await configure(more, one);
      expect(reported.Status).toBe('SUCCESS');
      expect(reported.pending).toBe('pg-1: max_connections; pg-2: max_connections; pg-3: max_connections');
      expect(reported.Reason).toBe(`a restart is needed: ${reported.pending}`);
      expect(shown('max_connections')).toEqual(['40', '40', '40']);
      expect(await metric('MembersPendingRestart')).toBe(3);

      const leader = await lab.leader();
      lab.sql(leader!, 'CREATE TABLE kept AS SELECT g FROM generate_series(1, 1000) g');
      const done = await configure({ ...more, Restart: 'ordered' }, more);
      expect(done).toMatchObject({ Status: 'SUCCESS', pending: '' });
      expect(shown('max_connections')).toEqual(['60', '60', '60']);
      expect(await lab.leader()).not.toBe(leader);
      expect(lab.sql((await lab.leader())!, 'SELECT count(*) FROM kept')).toBe('1000');
    });

    test('that become smaller than a standby may have them are done too', async () => {
      const before = { Parameters: { ...one.Parameters, max_connections: '60' } };
      const less = { Parameters: { ...one.Parameters, max_connections: '50' }, Restart: 'ordered' };
      expect(await configure(less, before)).toMatchObject({ Status: 'SUCCESS', pending: '' });
      expect(shown('max_connections')).toEqual(['50', '50', '50']);
    });

    test('go back with a rollback, are taken back when they are no longer declared, and leave alone what others have set', async () => {
      const rest = lab.rest();
      await rest.order(lab.cluster.members[0]!, 'PATCH', '/config', {
        postgresql: { parameters: { log_lock_waits: 'on' } },
      });
      const two = {
        Parameters: { work_mem: '6MB', maintenance_work_mem: '40MB' },
        Settings: { maximum_lag_on_failover: '2097152' },
      };
      expect(await configure(two, one)).toMatchObject({ Status: 'SUCCESS' });
      const config = async () => (await rest.read(lab.cluster.members[0]!, '/config')) as any;
      expect(await config()).toMatchObject({
        maximum_lag_on_failover: 2097152,
        postgresql: { parameters: two.Parameters },
      });
      expect(await configure(one, two)).toMatchObject({ Status: 'SUCCESS' });
      const { postgresql, ...others } = await config();
      rest.destroy();
      expect(postgresql.parameters).toMatchObject({ work_mem: '5MB', log_lock_waits: 'on' });
      expect(postgresql.parameters).not.toHaveProperty('maintenance_work_mem');
      expect(others).not.toHaveProperty('maximum_lag_on_failover');
    });

    test('are refused without the password of the REST API, and no password is shown', async () => {
      manager.replace(arns.restapi, { password: 'another-password-55' });
      const refused = await configure({ Parameters: { work_mem: '7MB' } }, one);
      manager.replace(arns.restapi, { password: lab.password });
      expect(refused.Status).toBe('FAILED');
      expect(refused.Reason).toMatch(
        /refuses PATCH \/config \(401\): not authenticated; the client certificate, or the password/,
      );
      expect(JSON.stringify([refused, lines])).not.toMatch(new RegExp(`another-password-55|${lab.password}`));
    });
  });

  describe('an operator', () => {
    /** As `cdk-postgres ecs` is used within the network of the server. */
    async function ecs(...args: string[]) {
      const { certificate, privateKey, ca } = lab.login;
      const file = (name: string, text: string) => {
        const full = path.join(lab.folder, name);
        fs.writeFileSync(full, text, { mode: 0o600 });
        return full;
      };
      return cli(
        [
          ...['ecs', ...args, '--scope', SCOPE, '--members', ...lab.reference.Members],
          ...[
            '--certificate',
            file('c.pem', certificate),
            '--key',
            file('k.pem', privateKey),
            '--ca',
            file('ca.pem', ca),
          ],
        ],
        { env: { PATRONI_RESTAPI_PASSWORD: lab.password } },
      );
    }
    const rows = (stdout: string) => stdout.split('\n').filter((line) => /^ {2}pg-\d/.test(line));

    test('sees who leads and who follows', async () => {
      const leader = (await lab.leader())!;
      const { code, stdout, stderr } = await ecs('status');
      expect(stderr).toBe('');
      expect(code).toBe(0);
      expect(rows(stdout)).toHaveLength(3);
      expect(rows(stdout).find((line) => line.includes(leader))).toMatch(/leader +running +\d+ +18\.6$/);
      expect(rows(stdout).filter((line) => /synchronous standby +streaming +\d+ +0 B +18\.6$/.test(line))).toHaveLength(
        2,
      );
    });

    test('switches over, to whom he names', async () => {
      const leader = (await lab.leader())!;
      const to = lab.memberNames.find((name) => name !== leader)!;
      const { code, stdout } = await ecs('switchover', '--to', to);
      expect(stdout).toContain(`${to} leads\n`);
      expect(code).toBe(0);
      expect(await lab.leader()).toBe(to);
      const again = await ecs('switchover', '--to', to);
      expect(again).toMatchObject({ code: 1, stderr: `cdk-postgres: ${to} leads already\n` });
      expect((await ecs('switchover', '--to', 'pg-9')).stderr).toMatch(
        /there is no member pg-9: the members are pg-1, pg-2, pg-3/,
      );
    });

    test('restarts a member', async () => {
      const leader = (await lab.leader())!;
      const standby = lab.memberNames.find((name) => name !== leader)!;
      const since = () => lab.sql(standby, 'SELECT pg_postmaster_start_time()');
      const before = since();
      expect(await ecs('restart', standby)).toMatchObject({
        code: 0,
        stdout: expect.stringContaining(`restarted ${standby}`),
      });
      expect(since()).not.toBe(before);
      expect((await ecs('restart')).stderr).toMatch(/name a member, or give --pending/);
    });

    test('has the data of a standby made anew, and not that of the leader', async () => {
      const leader = (await lab.leader())!;
      const standby = lab.memberNames.find((name) => name !== leader)!;
      const inode = () => fs.statSync(path.join(lab.dataOf(standby), 'PG_VERSION')).ino;
      const before = inode();
      expect((await ask({ command: 'reinit', member: standby })).done).toEqual([expect.stringMatching(/made anew/)]);
      await lab.waitFor(
        () => fs.existsSync(path.join(lab.dataOf(standby), 'PG_VERSION')) && inode() !== before,
        'its data is new',
      );
      expect(await settled()).toMatchObject({ Status: 'SUCCESS' });
      await expect(ask({ command: 'reinit', member: leader })).rejects.toThrow(`${leader} leads`);
    });

    test('pauses failover, which the watch tells, and resumes it', async () => {
      const paused = await ask({ command: 'pause' });
      expect(paused.paused).toBe(true);
      expect(await metric('Paused')).toBe(1);
      expect((await ecs('status')).stdout).toContain('Paused: nobody takes over');
      expect((await ask({ command: 'resume' })).paused).toBe(false);
      expect(await metric('Paused')).toBe(0);
    });

    test('is told what no command is', async () => {
      await expect(ask({ command: 'destroy' })).rejects.toThrow(/must be one of status, switchover/);
      await expect(ask({ command: 'pause', member: 'pg-1' })).rejects.toThrow('pause knows no "member"');
    });
  });

  describe('the watch', () => {
    test('says that all is well', async () => {
      const metrics = await watch();
      expect(metrics).toMatchObject({
        WatchFailed: 0,
        LeaderMissing: 0,
        MembersMissing: 0,
        SynchronousStandbyMissing: 0,
        MembersPendingRestart: 0,
        Paused: 0,
        EtcdMembersUnhealthy: 0,
        MemberWatchesMissing: 0,
        ArchiveFailures: 0,
        WalReadyFiles: 0,
        VolumeSwitchovers: 0,
      });
      expect(metrics.VolumeUsedPercent).toBeGreaterThan(0);
      expect(metrics.EtcdDatabaseBytes).toBeGreaterThan(0);
      expect(metrics.LastArchivedSeconds).toBeGreaterThan(0);
      const [line] = lines.filter((one) => '_aws' in one).slice(-1);
      expect(line).toMatchObject({ Server: 'orders-server', ...metrics });
    });

    test('tells of an archiver that fails, and of one that works again', async () => {
      const leader = (await lab.leader())!;
      await configure({ Parameters: { archive_command: '/bin/false' } });
      await lab.waitFor(() => lab.sql(leader, 'SHOW archive_command') === '/bin/false', 'it is so');
      await watch();
      lab.sql(leader, "SELECT pg_switch_wal() FROM (SELECT pg_logical_emit_message(false, 'x', 'y')) m");
      await lab.waitFor(async () => ((await metric('WalReadySeconds')) ?? 0) > 2, 'a segment waits');
      expect(await metric('WalReadyFiles')).toBeGreaterThan(0);
      lab.sql(leader, "SELECT pg_switch_wal() FROM (SELECT pg_logical_emit_message(false, 'x', 'y')) m");
      let failures = 0;
      await lab.waitFor(async () => (failures += (await metric('ArchiveFailures')) ?? 0) > 0, 'failures are counted');
      await configure({ Parameters: { archive_command: '/bin/true' } });
      await lab.waitFor(async () => (await metric('WalReadyFiles')) === 0, 'nothing waits');
      await watch();
      expect(await metric('ArchiveFailures')).toBe(0);
    });

    test('tells of a switchover once', async () => {
      await watch();
      expect(await metric('LeaderChanges')).toBe(0);
      await ask({ command: 'switchover' });
      expect(await metric('LeaderChanges')).toBe(1);
      expect(await metric('LeaderChanges')).toBe(0);
    });

    test('lets nobody read the watch of a member without a certificate of the cluster', async () => {
      const endpoint = { ...lab.cluster.members[0]!, port: 8009 };
      const stranger = lab.rest({
        ...issueCertificate(createAuthority('stranger', 1), ['x'], { validDays: 1, client: true }),
      });
      await expect(stranger.read(endpoint, '/')).rejects.toThrow(/does not answer/);
      stranger.destroy();
      const known = lab.rest();
      expect(await known.read(endpoint, '/')).toHaveProperty('volumeUsedPercent');
      known.destroy();
    });

    test('tells of a member that is gone, of its watch, and of standbys that commits wait for', async () => {
      const leader = (await lab.leader())!;
      const others = lab.memberNames.filter((name) => name !== leader);
      await lab.tasks.get(others[0]!)!.signal('SIGKILL');
      expect(await watch()).toMatchObject({
        MembersMissing: 1,
        MemberWatchesMissing: 1,
        SynchronousStandbyMissing: 0,
        LeaderMissing: 0,
      });
      await lab.tasks.get(others[1]!)!.signal('SIGKILL');
      expect(await watch()).toMatchObject({ MembersMissing: 2, SynchronousStandbyMissing: 1, LeaderMissing: 0 });
      for (const name of others) {
        lab.startMember(name);
        await lab.startWatch(name);
      }
      expect(await settled()).toMatchObject({ Status: 'SUCCESS' });
      expect(await watch()).toMatchObject({ MembersMissing: 0, MemberWatchesMissing: 0, SynchronousStandbyMissing: 0 });
    });

    test('tells of etcd, which the leader outlives', async () => {
      const leader = await lab.leader();
      await lab.tasks.get('etcd-1')!.signal('SIGKILL');
      const metrics = await watch();
      expect(metrics).toMatchObject({ EtcdMembersUnhealthy: 1 });
      expect(metrics).not.toHaveProperty('EtcdDatabaseBytes');
      await new Promise((resolve) => setTimeout(resolve, 25_000));
      expect(await lab.leader()).toBe(leader);
      lab.startEtcd('etcd-1');
      expect(await settled()).toMatchObject({ Status: 'SUCCESS' });
      expect(await metric('EtcdMembersUnhealthy')).toBe(0);
    });

    test('fails as a metric, not as an error', async () => {
      manager.replace(arns.certificate, {});
      const failed = await watch();
      const { certificate, privateKey, ca } = lab.login;
      manager.replace(arns.certificate, { certificate, privateKey, ca });
      expect(failed).toEqual({ WatchFailed: 1 });
      expect(await metric('WatchFailed')).toBe(0);
    });
  });
});

describeCluster('the guard of a volume', () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await Lab.start({ volume: '260m' });
    for (const name of lab.memberNames) await lab.startWatch(name);
  });
  afterAll(() => lab?.stop());

  const volumeOf = (name: string) => path.dirname(lab.dataOf(name));
  const free = (name: string) => fs.rmSync(path.join(volumeOf(name), 'filler'), { force: true });
  /** As full as that, in percent; of 100 a page may be left. */
  const fill = (name: string, percent: number) => {
    free(name);
    const { blocks, bavail, bsize } = fs.statfsSync(volumeOf(name));
    const missing = Math.min(bavail - 1, Math.ceil((blocks * percent) / 100) - (blocks - bavail));
    try {
      fs.writeFileSync(path.join(volumeOf(name), 'filler'), Buffer.alloc(Math.max(0, missing) * bsize, 1));
    } catch (error) {
      // The server writes meanwhile, and took what was left.
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    }
  };

  test('hands over when the leader is nearly full, to a member with room, and does nothing before or without one', async () => {
    const rest = lab.rest();
    const said: string[] = [];
    const guard = async () => {
      const looked = await lookAtCluster(rest, lab.cluster, new ClusterMemory());
      return {
        used: looked.metrics.VolumeUsedPercent!,
        to: await guardVolume(rest, lab.cluster, looked, {
          deadline: Date.now() + 60_000,
          onProgress: (message) => said.push(message),
        }),
      };
    };
    const leader = (await lab.leader())!;
    const others = lab.memberNames.filter((name) => name !== leader);
    expect((await guard()).to).toBeUndefined();
    fill(leader, 85);
    const warned = await guard();
    expect(warned.used).toBeGreaterThanOrEqual(80);
    expect(warned.to).toBeUndefined();

    fill(leader, 97);
    for (const name of others) fill(name, 97);
    expect((await guard()).to).toBeUndefined();
    expect(said.pop()).toMatch(
      new RegExp(`the volume of the leader ${leader} is 9[67].* % full, and no other member has more room`),
    );
    expect(await lab.leader()).toBe(leader);

    // Patroni sees nothing: it answers as primary, and no write goes through.
    fill(leader, 100);
    expect(() =>
      lab.sql(leader, 'CREATE TABLE more AS SELECT repeat(md5(g::text), 30) AS t FROM generate_series(1, 2000) g'),
    ).toThrow(/No space left on device|could not extend|could not write/);
    expect(await lab.leads(leader)).toBe(true);
    fill(leader, 97);

    free(others[1]!);
    const acted = await guard();
    rest.destroy();
    expect(acted.to).toBe(others[1]);
    expect(await lab.leader()).toBe(others[1]);
    expect(lab.sql(others[1]!, 'CREATE TABLE more (id int); SELECT count(*) FROM more')).toBe('0');
  });
});
