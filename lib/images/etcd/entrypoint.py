"""Runs etcd. `health`: whether it lives; whether there is a quorum is no matter of one member."""

import json
import os
import ssl
import subprocess
import sys
import time
import urllib.request

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import task  # noqa: E402  pylint: disable=wrong-import-position

# For as long as a member with an empty volume waits for another that answers, before it believes that there is none yet.
PATIENCE = float(os.environ.get("CDK_POSTGRES_ETCD_PATIENCE", "20"))


def context():
    """The certificate of this member, and the root of the cluster."""
    made = ssl.create_default_context(cafile=f"{task.TLS}/ca.pem")
    made.load_cert_chain(f"{task.TLS}/certificate.pem", f"{task.TLS}/key.pem")
    return made


def ask_peers(peers, name):
    """
    What another member says of the cluster, without a quorum: its list of members. One has `clientURLs` there as soon as it was part of a
    cluster that worked. None: nobody answers.
    """
    for other, url in peers.items():
        if other == name:
            continue
        try:
            with urllib.request.urlopen(f"{url}/members", timeout=3, context=context()) as answer:
                return json.load(answer)
        except (OSError, ValueError):
            continue
    return None


def etcdctl(peers, name, *arguments):
    """A command for the others, which needs a quorum of them."""
    endpoints = ",".join(url.replace(":2380", ":2379") for other, url in peers.items() if other != name)
    command = ["/usr/bin/etcdctl", "--endpoints", endpoints, "--cacert", f"{task.TLS}/ca.pem"]
    command += ["--cert", f"{task.TLS}/certificate.pem", "--key", f"{task.TLS}/key.pem", "--command-timeout", "5s"]
    # etcdctl refuses a flag and a variable for the same, and there are variables of the server.
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("ETCD_", "ETCDCTL_"))}
    return subprocess.run(
        [*command, "--write-out", "json", *arguments], env=environment, capture_output=True, text=True, check=False
    )


def join(peers, name):
    """
    Takes the place of the member that lost its volume: that one is removed, as what it promised is forgotten, and this one is added. Tried
    until the others have a quorum to agree to it.
    """
    url = peers[name]
    while True:
        listed = etcdctl(peers, name, "member", "list")
        if listed.returncode == 0:
            members = json.loads(listed.stdout)["members"]
            mine = [member for member in members if url in member["peerURLs"]]
            if mine and not mine[0].get("clientURLs"):
                # It is expected, and never started.
                return [(member.get("name") or name, member["peerURLs"][0]) for member in members]
            if mine:
                removed = etcdctl(peers, name, "member", "remove", format(mine[0]["ID"], "x"))
                problem = removed.stderr if removed.returncode else None
            else:
                added = etcdctl(peers, name, "member", "add", name, f"--peer-urls={url}")
                problem = added.stderr if added.returncode else None
            if problem:
                task.say(f"the others do not agree yet: {problem.strip().splitlines()[-1]}")
        else:
            task.say("the others have no quorum yet, without which nobody joins them")
        time.sleep(1)


def begin(peers, name):
    """
    Decides how a member with an empty volume starts. A new cluster begins only if no other member has been part of one: else this one would
    vote again, having forgotten for what it voted before.
    """
    until = time.monotonic() + PATIENCE
    while True:
        members = ask_peers(peers, name)
        if members is not None and any(member.get("clientURLs") for member in members):
            task.say("the volume is empty, and the others have a cluster: joining it")
            os.environ["ETCD_INITIAL_CLUSTER_STATE"] = "existing"
            joined = join(peers, name)
            os.environ["ETCD_INITIAL_CLUSTER"] = ",".join(f"{member}={url}" for member, url in joined)
            return
        if members is not None:
            # It waits for this one to begin.
            return
        if len(peers) == 1 or time.monotonic() > until:
            task.say("the volume is empty and no other member answers: a new cluster begins")
            return
        time.sleep(0.5)


def main(arguments):
    """Dispatches on the command of the container."""
    if arguments == ["health"]:
        return task.healthy("http://127.0.0.1:2381/livez")
    task.write_files()
    secrets = task.Secrets({})
    secrets.look_until_there()
    peers = dict(member.split("=", 1) for member in os.environ["ETCD_INITIAL_CLUSTER"].split(","))
    if not os.path.isdir(f"{os.environ['ETCD_DATA_DIR']}/member"):
        begin(peers, os.environ["ETCD_NAME"])
    # etcd refuses a folder that others may read.
    os.makedirs(os.environ["ETCD_DATA_DIR"], mode=0o700, exist_ok=True)
    # It reads the files of its certificate anew for each connection.
    secrets.keep_looking(lambda names: None)
    return task.Servers(["/usr/bin/etcd"]).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
