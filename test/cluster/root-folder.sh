#!/usr/bin/env bash
# Builds a root folder with the packages that the images hold, HAProxy in the load balancer's place, moto in the place of S3 and Secrets
# Manager, and the drivers that docs/clients.md speaks of. `root-folder.sh FOLDER`; does nothing where it is there.
set -euo pipefail
home=$1
root=$home/rootfs
# The number goes up with the list of packages.
made=2
[ "$(cat "$root/cdk-postgres-cluster" 2>/dev/null)" = "$made" ] && exit 0
mkdir -p "$home"
if ! command -v debootstrap >/dev/null; then
  apt-get update -qq
  apt-get install -y -qq debootstrap
fi
# The Debian of the image, which an older debootstrap knows only under the name that it never changes.
scripts=/usr/share/debootstrap/scripts
[ -e "$scripts/forky" ] || ln -s sid "$scripts/forky"
rm -rf "$root"
debootstrap --variant=minbase forky "$root"
# Scripts of the JRE's package look at it. Unmounted whatever happens, or the folder could not be removed.
mount -t proc proc "$root/proc"
trap 'umount "$root/proc"' EXIT
# The users of the images, who have the numbers that the volumes belong to. PostgreSQL knows its superuser by name (peer).
while read -r id name; do
  chroot "$root" groupadd --gid "$id" "$name"
  chroot "$root" useradd --uid "$id" --gid "$id" --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$name"
done <<'END'
10001 pooler
10002 postgres
10003 etcd
10004 router
END
# Debian would make a cluster of its own.
mkdir -p "$root/etc/postgresql-common"
echo 'create_main_cluster = false' >"$root/etc/postgresql-common/createcluster.conf"
# The same packages as in the Dockerfiles of lib/images, which a test compares.
chroot "$root" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
  pgbouncer nodejs \
  postgresql-18 postgresql-18-pgaudit patroni python3-etcd python3-psycopg2 pgbackrest curl ca-certificates openssl \
  etcd-server etcd-client \
  haproxy \
  python3-moto python3-flask python3-flask-cors iproute2 \
  python3-psycopg libpostgresql-jdbc-java default-jdk-headless golang-go golang-github-jackc-pgx-v5-dev
rm -rf "$root"/var/cache/apt/archives/*.deb
# A name of this machine that no certificate is for.
echo '127.0.0.1 localhost other.example' >"$root/etc/hosts"
mkdir -p "$root/run/pgbouncer" "$root/run/cdk-postgres" "$root/opt/pooler" "$root/opt/clients" "$root/opt/cdk-postgres" "$root/var/lib/pg" "$root/var/lib/etcd"
echo "$made" >"$root/cdk-postgres-cluster"
