#!/usr/bin/env bash
# Builds a root folder with the packages that the image of the pooler holds, HAProxy in the load balancer's place, and the drivers that
# docs/clients.md speaks of. `root-folder.sh FOLDER`; does nothing where it is there.
set -euo pipefail
home=$1
root=$home/rootfs
# The number goes up with the list of packages.
made=1
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
# The same two packages as in lib/images/pgbouncer/Dockerfile, which a test compares.
chroot "$root" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
  pgbouncer nodejs \
  haproxy ca-certificates \
  python3-psycopg libpostgresql-jdbc-java default-jdk-headless golang-go golang-github-jackc-pgx-v5-dev
chroot "$root" groupadd --gid 10001 pooler
chroot "$root" useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin pooler
rm -rf "$root"/var/cache/apt/archives/*.deb
# A name of this machine that no certificate is for.
echo '127.0.0.1 localhost other.example' >"$root/etc/hosts"
mkdir -p "$root/run/pgbouncer" "$root/opt/pooler" "$root/opt/clients"
echo "$made" >"$root/cdk-postgres-cluster"
