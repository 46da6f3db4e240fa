#!/usr/bin/env bash
# Fetches what a validator of OAuth is compiled with, and the module by which libpq gets a token. `oauth-parts.sh FOLDER`, where the root folder
# is too; does nothing where they are there. The packages are unpacked beside the root folder and not installed into it: the image has none of
# them, and those for the server's headers would bring a compiler of 600 MB along.
set -euo pipefail
home=$1
root=$home/rootfs
parts=$home/oauth
# The headers are those of the server that is in the root folder.
made=$(chroot "$root" dpkg-query -W -f '${Version}' postgresql-18)
[ "$(cat "$parts/made" 2>/dev/null)" = "$made" ] && exit 0
if ! command -v gcc >/dev/null; then
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends gcc libc6-dev
fi
rm -rf "$parts"
mkdir -p "$parts"
downloads=$(mktemp -d -p "$root/tmp")
trap 'rm -rf "$downloads"' EXIT
# The server's headers include those of OpenSSL and Kerberos.
fetch() {
  chroot "$root" sh -euc 'cd "$1"; shift; apt-get download -qq -o APT::Sandbox::User=root "$@"' sh "${downloads#"$root"}" \
    "postgresql-server-dev-18=$made" "libpq-oauth=$made" libssl-dev libkrb5-dev krb5-multidev
}
fetch || { chroot "$root" apt-get update -qq; fetch; }
for package in "$downloads"/*.deb; do
  case $package in
    */libpq-oauth_*) dpkg-deb -x "$package" "$parts/client" ;;
    *) dpkg-deb -x "$package" "$parts/headers" ;;
  esac
done
echo "$made" >"$parts/made"
