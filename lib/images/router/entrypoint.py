"""Runs HAProxy. `health`: whether it answers."""

import os
import signal
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import task  # noqa: E402  pylint: disable=wrong-import-position


def main(arguments):
    """Dispatches on the command of the container."""
    if arguments == ["health"]:
        return task.healthy("http://127.0.0.1:8404/health")
    task.write_files()
    secrets = task.Secrets({})
    secrets.look_until_there()
    # Of its secret it needs the root alone, which stays.
    secrets.keep_looking(lambda names: None)
    # SIGUSR1: no new connections, and the sessions that are there may end by themselves.
    return task.Servers(["/usr/sbin/haproxy", "-db", "-f", f"{task.RUN}/haproxy.cfg"], stop_signal=signal.SIGUSR1).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
