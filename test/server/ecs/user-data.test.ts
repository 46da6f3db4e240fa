import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hostVolumes, userData } from '../../../lib/server/ecs/user-data';

const SCRIPT = userData({
  clusterName: 'orders-cluster',
  region: 'eu-central-1',
  urlSuffix: 'amazonaws.com',
  member: 'pg-1',
  volumes: hostVolumes({ member: 'vol-0member', etcd: 'vol-0etcd' }),
  stopTimeout: 300,
});

const CREDENTIALS = `{
  "Code" : "Success",
  "AccessKeyId" : "ASIAEXAMPLE",
  "SecretAccessKey" : "secret/of+the=role",
  "Token" : "token//of=="
}`;

/** What the machine is: the answers of its commands, as shell. */
interface Machine {
  /** @default a volume appears at the second call for it */
  readonly curl?: string;
  /** @default 2, which says that there is nothing on the device */
  readonly blkid?: number;
  readonly softdog?: boolean;
}

/** Runs the script with its absolute paths moved into a folder, and every command that touches the machine written down instead. */
function boot(machine: Machine = {}, root = mkdtempSync(join(tmpdir(), 'cdk-postgres-host-'))) {
  for (const folder of [
    'bin',
    'etc/ecs',
    'etc/modules-load.d',
    'etc/udev/rules.d',
    'etc/sysctl.d',
    'dev/disk/by-id',
    'mnt',
  ])
    mkdirSync(join(root, folder), { recursive: true });
  writeFileSync(join(root, 'calls'), '');
  const command = (name: string, body: string) => {
    writeFileSync(join(root, 'bin', name), `#!/bin/bash\necho "${name} $*" >> ${root}/calls\n${body}\n`);
    chmodSync(join(root, 'bin', name), 0o755);
  };
  for (const name of ['systemctl', 'mkfs.xfs', 'mount', 'xfs_growfs', 'chown', 'chmod', 'sysctl', 'udevadm', 'sleep'])
    command(name, 'exit 0');
  command('blkid', `exit ${machine.blkid ?? 2}`);
  command('modprobe', machine.softdog === false ? 'exit 1' : `touch ${root}/dev/watchdog`);
  command(
    'curl',
    machine.curl ??
      `case "$*" in
        *api/token*) echo session ;;
        *instance-id*) echo i-0host ;;
        *security-credentials/role*) cat ${root}/credentials ;;
        *security-credentials/*) echo role ;;
        *AttachVolume*)
          cat > ${root}/signed
          for volume in 0member 0etcd; do
            case "$*" in
              *vol-$volume*)
                if [ -e ${root}/asked-$volume ]; then touch ${root}/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_vol$volume; fi
                touch ${root}/asked-$volume ;;
            esac
          done
          echo '<Error><Code>VolumeInUse</Code></Error>' ;;
      esac`,
  );
  writeFileSync(join(root, 'credentials'), CREDENTIALS);
  if (!existsSync(join(root, 'etc/fstab'))) writeFileSync(join(root, 'etc/fstab'), '');
  const moved = SCRIPT.replace(/(^|[\s"'=])\/(etc|dev|mnt)\//gm, `$1${root}/$2/`);
  writeFileSync(join(root, 'script'), moved);
  const { status, stderr } = spawnSync('/bin/bash', [join(root, 'script')], {
    env: { PATH: `${join(root, 'bin')}:/usr/bin:/bin` },
    encoding: 'utf8',
    timeout: 60_000,
  });
  const calls = readFileSync(join(root, 'calls'), 'utf8').replaceAll(root, '').trim().split('\n');
  const read = (path: string) => readFileSync(join(root, path), 'utf8').replaceAll(root, '');
  return { status, stderr: stderr.replaceAll(root, ''), calls, read, root };
}

const MEMBER = '/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_vol0member';

test('attaches until the volume is there, makes a file system on an empty one, and mounts it, in this order', () => {
  const { status, stderr, calls, read } = boot();
  expect([status, stderr]).toEqual([0, '']);
  const at = (call: string) => calls.findIndex((one) => one.startsWith(call));
  const order = [
    'curl -sS -K - --aws-sigv4 aws:amz:eu-central-1:ec2 https://ec2.eu-central-1.amazonaws.com/ --data-urlencode Action=AttachVolume --data-urlencode Version=2016-11-15 --data-urlencode VolumeId=vol-0member',
    `blkid -p ${MEMBER}`,
    `mkfs.xfs ${MEMBER}`,
    'mount /mnt/cdk-postgres/member',
    'xfs_growfs /mnt/cdk-postgres/member',
    'chown 10002:10002 /mnt/cdk-postgres/member',
  ].map(at);
  expect(order).not.toContain(-1);
  expect(order).toEqual([...order].sort((a, b) => a - b));
  expect(calls.filter((call) => call.includes('VolumeId=vol-0member'))).toHaveLength(2);
  expect(calls.filter((call) => call.startsWith('chown 10003:10003'))).toHaveLength(1);
  expect(read('etc/fstab')).toContain(
    `${MEMBER} /mnt/cdk-postgres/member xfs defaults,noatime,nofail,x-systemd.device-timeout=300 0 2`,
  );
});

test('the call is signed with the keys of the host, which no argument of a process shows', () => {
  const { calls, read } = boot();
  expect(read('signed')).toBe(
    'user = "ASIAEXAMPLE:secret/of+the=role"\nheader = "X-Amz-Security-Token: token//of=="\n',
  );
  expect(calls.join()).not.toContain('secret/of');
  expect(calls.join()).not.toContain('token//');
});

test('leaves a volume alone on which blkid finds something', () => {
  const { status, calls } = boot({ blkid: 0 });
  expect(status).toBe(0);
  expect(calls.filter((call) => call.startsWith('mkfs'))).toEqual([]);
  expect(calls).toContain('mount /mnt/cdk-postgres/member');
});

test('makes no file system, and mounts nothing, where blkid does not know', () => {
  const { status, stderr, calls } = boot({ blkid: 4 });
  expect(status).not.toBe(0);
  expect(stderr).toContain('blkid says 4');
  expect(calls.filter((call) => /^(mkfs|mount)/.test(call))).toEqual([]);
});

test('the agent refuses to start without the mounts, and that is settled before anything can fail', () => {
  const { read } = boot({ blkid: 4 });
  expect(read('etc/systemd/system/ecs.service.d/volumes.conf')).toBe(
    '[Unit]\nRequiresMountsFor=/mnt/cdk-postgres/etcd /mnt/cdk-postgres/member\n[Service]\n' +
      'ExecStartPre=/usr/bin/mountpoint -q /mnt/cdk-postgres/etcd\nExecStartPre=/usr/bin/mountpoint -q /mnt/cdk-postgres/member\n',
  );
});

test('the agent joins the cluster, keeps tasks from the metadata, and waits as long as a member may take to stop', () => {
  const config = boot().read('etc/ecs/ecs.config');
  for (const line of [
    'ECS_CLUSTER=orders-cluster',
    'ECS_AWSVPC_BLOCK_IMDS=true',
    'ECS_ENABLE_TASK_IAM_ROLE=true',
    'ECS_CONTAINER_STOP_TIMEOUT=300s',
    'ECS_INSTANCE_ATTRIBUTES={"cdk-postgres.member":"pg-1"}',
  ])
    expect(config.split('\n')).toContain(line);
});

test('the kernel refuses memory instead of killing the server, and the watchdog belongs to the user of the image', () => {
  const { read, calls } = boot();
  expect(read('etc/sysctl.d/90-cdk-postgres.conf')).toContain('vm.overcommit_memory = 2');
  expect(calls).toContain('modprobe softdog');
  expect(read('etc/modules-load.d/softdog.conf')).toBe('softdog\n');
  expect(read('etc/udev/rules.d/60-cdk-postgres.rules')).toContain('OWNER="10002"');
});

test('a machine without softdog says so and starts nevertheless, with a device that Patroni finds to be none', () => {
  const { status, stderr, root } = boot({ softdog: false });
  expect(status).toBe(0);
  expect(stderr).toContain('no softdog');
  expect(lstatSync(join(root, 'dev/watchdog')).isSymbolicLink()).toBe(true);
});

test('a second run adds no second line to fstab', () => {
  const { root } = boot();
  const { read, status } = boot({ blkid: 0 }, root);
  expect(status).toBe(0);
  expect(read('etc/fstab').match(/member/g)).toHaveLength(2);
});
