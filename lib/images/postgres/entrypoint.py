"""
`member`: Patroni, which keeps PostgreSQL, pgBackRest's server, and the watch of the member. `backup TYPE`: makes a backup and ends. `health`: whether the member is.
"""

import json
import os
import signal
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import task  # noqa: E402  pylint: disable=wrong-import-position

VOLUME = "/var/lib/pg"
BACKUPS = ("full", "diff", "incr")


def write_restapi(value):
    """Beside the configuration, of which Patroni reads every file. JSON is YAML."""
    secret = {"restapi": {"authentication": {"password": value["password"]}}}
    task.write(f"{task.RUN}/patroni/2-secrets.yml", json.dumps(secret))


def write_cipher(folder, repository):
    """A writer of the passphrase of a repository, where pgBackRest reads every file."""

    def writer(value):
        password = value["password"]
        if not isinstance(password, str) or "\n" in password:
            raise ValueError
        task.write(f"{task.RUN}/{folder}/cipher-{repository}.conf", f"[global]\nrepo{repository}-cipher-pass={password}\n")

    return writer


def write_admin(value):
    """For the script that makes the role when the cluster begins."""
    if not all(isinstance(value[field], str) for field in ("username", "password")):
        raise ValueError
    task.write(f"{task.RUN}/admin.json", json.dumps(value))


def prepare():
    """Files and secrets."""
    task.write_files()
    secrets = task.Secrets(
        {
            "restapi": write_restapi,
            "cipher": write_cipher("pgbackrest.d", 1),
            "cipher-2": write_cipher("pgbackrest.d", 2),
            "cipher-restore": write_cipher("restore.d", 1),
            "admin": write_admin,
        },
        with_credentials="CDK_POSTGRES_STANZA" in os.environ,
    )
    secrets.look_until_there()
    return secrets


def member():
    """Runs until Patroni ends, which hands the lead over and stops PostgreSQL when the task is stopped."""
    secrets = prepare()
    os.makedirs(f"{VOLUME}/spool", mode=0o700, exist_ok=True)
    beside = os.path.dirname(os.path.abspath(__file__))
    helpers = {"watch": ["/usr/bin/python3", "-B", f"{beside}/watch.py", f"{task.RUN}/watch.json"]}
    if "CDK_POSTGRES_STANZA" in os.environ:
        helpers["pgbackrest"] = ["/usr/bin/pgbackrest", "server"]
    patroni = ["/usr/bin/python3", "-B", f"{beside}/run_patroni.py", f"{task.RUN}/patroni"]
    servers = task.Servers(patroni, helpers)

    def changed(_names):
        # Patroni reads its files anew and lets PostgreSQL do the same; no session ends.
        servers.signal("main", signal.SIGHUP)
        servers.signal("pgbackrest", signal.SIGHUP)

    secrets.keep_looking(changed)
    return servers.run()


def backup(kind):
    """As a task of its own, over the servers of the members."""
    if kind not in BACKUPS:
        task.say(f"backup: {kind!r} is none of {', '.join(BACKUPS)}")
        return 64
    # A backup may take longer than the credentials are good for.
    prepare().keep_looking(lambda names: None)
    command = ["/usr/bin/pgbackrest", f"--stanza={os.environ['CDK_POSTGRES_STANZA']}", f"--type={kind}", "backup"]
    return task.Servers(command).run()


def main(arguments):
    """Dispatches on the command of the container."""
    if arguments == ["member"]:
        return member()
    if len(arguments) == 2 and arguments[0] == "backup":
        return backup(arguments[1])
    if arguments == ["health"]:
        return task.healthy("https://127.0.0.1:8008/liveness")
    task.say(f"{' '.join(arguments)!r} is none of member, backup TYPE, health")
    return 64


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
