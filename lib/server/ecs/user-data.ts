import { ETCD_VOLUME, MEMBER_VOLUME, USERS } from './configuration';

/** A volume of a host: which it is, where tasks find it, and to which user of an image it belongs. */
export interface HostVolume {
  /** As EC2 names it, `vol-…`; a token. */
  readonly volumeId: string;
  /** The device name of the attachment, which the link by id makes irrelevant: NVMe has names of its own. */
  readonly device: string;
  /** Folder of the host that the task mounts. */
  readonly folder: string;
  readonly user: number;
}

/** Where a host has the volumes of its tasks. */
export const HOST_FOLDERS = { member: '/mnt/cdk-postgres/member', etcd: '/mnt/cdk-postgres/etcd' } as const;

/** The volumes of a host by the path that they have in the container. */
export const CONTAINER_FOLDERS = { member: MEMBER_VOLUME, etcd: ETCD_VOLUME } as const;

/** The volumes of a host, in the order in which they are attached. */
export function hostVolumes(ids: { readonly member: string; readonly etcd: string }): HostVolume[] {
  return [
    { volumeId: ids.etcd, device: '/dev/sdf', folder: HOST_FOLDERS.etcd, user: USERS.etcd },
    { volumeId: ids.member, device: '/dev/sdg', folder: HOST_FOLDERS.member, user: USERS.postgres },
  ];
}

/**
 * What an instance does at its first start, before the agent of ECS: attach its volumes, make a file system on one that has none, mount them, and
 * load the watchdog. The agent starts when this is over, and refuses to without the mounts, also after a restart of the machine: a member on an
 * empty folder would begin a life of its own.
 *
 * The AMI has curl and no AWS CLI, so that curl signs the one call.
 */
export function userData(options: {
  readonly clusterName: string;
  readonly region: string;
  /** The end of the names of AWS's hosts, such as `amazonaws.com`. */
  readonly urlSuffix: string;
  /** For attributes by which tasks could be placed, and for operators: `pg-1`. */
  readonly member: string;
  readonly volumes: readonly HostVolume[];
  /** After how many seconds a container that was told to stop is killed at the most. */
  readonly stopTimeout: number;
}): string {
  const { clusterName, region, urlSuffix, member, volumes, stopTimeout } = options;
  const folders = volumes.map(({ folder }) => folder).join(' ');
  return `#!/bin/bash
set -euo pipefail

# Before all else: the agent does not start without the volumes, whatever goes wrong below.
mkdir -p /etc/systemd/system/ecs.service.d ${folders}
cat > /etc/systemd/system/ecs.service.d/volumes.conf <<'EOF'
[Unit]
RequiresMountsFor=${folders}
[Service]
${volumes.map(({ folder }) => `ExecStartPre=/usr/bin/mountpoint -q ${folder}`).join('\n')}
EOF
systemctl daemon-reload

cat >> /etc/ecs/ecs.config <<'EOF'
ECS_CLUSTER=${clusterName}
ECS_AWSVPC_BLOCK_IMDS=true
ECS_ENABLE_TASK_IAM_ROLE=true
ECS_INSTANCE_ATTRIBUTES={"cdk-postgres.member":"${member}"}
ECS_CONTAINER_STOP_TIMEOUT=${stopTimeout}s
ECS_ENABLE_SPOT_INSTANCE_DRAINING=true
EOF

metadata() {
  curl -fsS --retry 5 -H "X-aws-ec2-metadata-token: $token" "http://169.254.169.254/latest/$1"
}

ask_for() {
  local volume=$1 device=$2 token instance credentials
  token=$(curl -fsS --retry 5 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 300' http://169.254.169.254/latest/api/token) || return 1
  instance=$(metadata meta-data/instance-id) || return 1
  credentials=$(metadata "meta-data/iam/security-credentials/$(metadata meta-data/iam/security-credentials/)") || return 1
  field() { sed -n "s/.*\\"$1\\" *: *\\"\\([^\\"]*\\)\\".*/\\1/p" <<< "$credentials"; }
  # By standard input, since arguments are seen by every process.
  curl -sS -K - --aws-sigv4 aws:amz:${region}:ec2 "https://ec2.${region}.${urlSuffix}/" \\
    --data-urlencode Action=AttachVolume --data-urlencode Version=2016-11-15 \\
    --data-urlencode "VolumeId=$volume" --data-urlencode "InstanceId=$instance" --data-urlencode "Device=$device" <<EOF
user = "$(field AccessKeyId):$(field SecretAccessKey)"
header = "X-Amz-Security-Token: $(field Token)"
EOF
}

# The call is repeated until the volume is there: the instance before may still be going down with it. A volume is attached to one instance at a
# time, which is what keeps two members from writing to it.
attach() {
  until [ -e "$3" ]; do
    ask_for "$1" "$2" || true
    sleep 5
  done
}

mount_volume() {
  local volume=$1 device=$2 folder=$3 user=$4
  local link=/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_\${volume/-/}
  attach "$volume" "$device" "$link"
  # A new volume alone: what blkid knows stays. It says 2 for a device on which it found nothing, and anything else is no reason to make a file system.
  local known=0
  blkid -p "$link" || known=$?
  if [ "$known" -eq 2 ]; then
    mkfs.xfs "$link"
  elif [ "$known" -ne 0 ]; then
    echo "blkid says $known of $link: look at it by hand" >&2
    return 1
  fi
  grep -q " $folder " /etc/fstab || echo "$link $folder xfs defaults,noatime,nofail,x-systemd.device-timeout=300 0 2" >> /etc/fstab
  systemctl daemon-reload
  mount "$folder"
  # Where the volume has grown, the file system grows with it.
  xfs_growfs "$folder"
  chown "$user:$user" "$folder"
  chmod 0700 "$folder"
}

${volumes.map(({ volumeId, device, folder, user }) => `mount_volume ${volumeId} ${device} ${folder} ${user}`).join('\n')}

# The host is the member's alone. Without overcommit an allocation fails in the one session, where the kernel would kill the whole server.
cat > /etc/sysctl.d/90-cdk-postgres.conf <<'EOF'
vm.overcommit_memory = 2
vm.overcommit_ratio = 90
vm.swappiness = 1
EOF
sysctl -q -p /etc/sysctl.d/90-cdk-postgres.conf

# Resets a machine on which Patroni has frozen while it led. Patroni runs without one too, so that its absence is no reason not to start.
echo softdog > /etc/modules-load.d/softdog.conf
echo 'KERNEL=="watchdog", OWNER="${USERS.postgres}", MODE="0600"' > /etc/udev/rules.d/60-cdk-postgres.rules
udevadm control --reload
modprobe softdog || echo 'no softdog: a frozen Patroni is not ended by the machine' >&2
udevadm settle
# The task asks for the device, and would not start without one.
[ -e /dev/watchdog ] || ln -s /dev/null /dev/watchdog
[ ! -c /dev/watchdog ] || [ -L /dev/watchdog ] || chown ${USERS.postgres} /dev/watchdog
`;
}
