"""What only a member itself sees, as JSON over HTTPS, for whoever has a certificate of the cluster.

How full the volume is, what waits to be archived, what the archiver has to say, and what is in the repository of pgBackRest. It reads and
changes nothing; the watch of the cluster makes metrics of it. `watch.py FILE`; FILE is JSON:

    {"address": "0.0.0.0", "port": 8009, "volume": "/var/lib/pg", "data": "/var/lib/pg/data", "socket": "/run/cdk-postgres",
     "certificate": FILE, "key": FILE, "ca": FILE, "stanza": NAME, "backupInterval": 600}

`stanza` is absent where there are no backups. Times are in seconds.
"""

import http.server
import json
import os
import shutil
import ssl
import subprocess
import sys
import threading
import time

import psycopg2

ARCHIVER = """
    SELECT failed_count, extract(epoch FROM clock_timestamp() - last_archived_time) FROM pg_stat_archiver
"""

# In seconds, after a repository that could not be read.
AGAIN = 30


def log(event, **fields):
    print(json.dumps({"level": "warn", "event": event, **fields}), flush=True)


def volume(folder):
    usage = shutil.disk_usage(folder)
    # What is kept for root is no room for PostgreSQL.
    return {"volumeUsedPercent": round(100 * usage.used / (usage.used + usage.free), 1)}


def ready(data):
    """The segments that PostgreSQL has handed to its archiver. The time of the mark is when it did."""
    ages = []
    with os.scandir(os.path.join(data, "pg_wal", "archive_status")) as marks:
        for mark in marks:
            if mark.name.endswith(".ready"):
                try:
                    ages.append(time.time() - mark.stat().st_mtime)
                except FileNotFoundError:
                    pass  # It has just been archived.
    return {"walReadyFiles": len(ages), "walReadySeconds": round(max(ages, default=0), 1)}


def archiver(socket):
    connection = psycopg2.connect(
        host=socket, user="postgres", dbname="postgres", connect_timeout=3, options="-c statement_timeout=3000", application_name="watch"
    )
    try:
        with connection.cursor() as cursor:
            cursor.execute(ARCHIVER)
            failed, seconds = cursor.fetchone()
    finally:
        connection.close()
    return {"archiveFailures": failed, **({} if seconds is None else {"lastArchivedSeconds": round(float(seconds), 1)})}


class Backups:
    """What pgBackRest says of the repository, which takes requests to S3: now and then, and not whenever somebody asks."""

    def __init__(self, stanza, interval, data):
        self.data = data
        self.command = ["pgbackrest", f"--stanza={stanza}", "--output=json", "info"]
        self.stanza = stanza
        self.interval = interval
        self.stops = {}
        self.problem = None
        self.known = False

    def run(self):
        while True:
            try:
                self.look()
                self.problem = None
            except Exception as error:  # Whatever it is, it is said, and looked at again.
                self.problem = str(error)[:500]
                log("backups unreadable", problem=self.problem)
            self.known = True
            # A new cluster has its stanza some seconds later.
            time.sleep(self.interval if self.problem is None else min(self.interval, AGAIN))

    def look(self):
        done = subprocess.run(self.command, capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            raise RuntimeError((done.stderr or done.stdout).strip() or f"pgbackrest ended with {done.returncode}")
        (stanza,) = [entry for entry in json.loads(done.stdout) if entry["name"] == self.stanza] or [None]
        if stanza is None or stanza["status"]["code"] not in (0, 2):
            raise RuntimeError("there is no stanza" if stanza is None else stanza["status"]["message"])
        good = [backup for backup in stanza["backup"] if not backup.get("error")]
        self.stops = {
            "backupSeconds": max((backup["timestamp"]["stop"] for backup in good), default=None),
            "fullBackupSeconds": max((b["timestamp"]["stop"] for b in good if b["type"] == "full"), default=None),
        }

    def made(self):
        """Without any backup the data themselves count, so that backups that were never made are late too."""
        return os.stat(os.path.join(self.data, "PG_VERSION")).st_mtime

    def report(self):
        if not self.known:
            return {}
        now = time.time()
        ages = {name: round(now - (self.made() if stop is None else stop)) for name, stop in self.stops.items()}
        return ages if self.problem is None else {**ages, "backupProblem": self.problem}


def reporter(configuration, backups):
    parts = [
        ("volume", lambda: volume(configuration["volume"])),
        ("ready", lambda: ready(configuration["data"])),
        ("archiver", lambda: archiver(configuration["socket"])),
        ("backups", backups.report if backups else dict),
    ]

    def report():
        found = {}
        for name, read in parts:
            try:
                found.update(read())
            except Exception as error:  # A server that starts, or a folder that is not there yet: the rest is told nevertheless.
                log("not read", part=name, problem=str(error).strip()[:500])
        return found

    return report


class Server(http.server.ThreadingHTTPServer):
    """Reads the certificate for each connection, so that a renewed one needs no signal. Nobody is let in without one of his own."""

    daemon_threads = True

    def __init__(self, configuration, report):
        self.configuration = configuration
        self.report = report
        super().__init__((configuration["address"], configuration["port"]), Handler)

    def finish_request(self, request, client_address):
        # In the thread of the connection: one that says nothing keeps nobody waiting.
        request.settimeout(10)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.configuration["ca"])
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(self.configuration["certificate"], self.configuration["key"])
        try:
            with context.wrap_socket(request, server_side=True) as secured:
                super().finish_request(secured, client_address)
        except OSError as error:
            log("connection refused", client=client_address[0], problem=str(error))

    def handle_error(self, request, client_address):
        log("connection failed", client=client_address[0], problem=str(sys.exc_info()[1]))


class Handler(http.server.BaseHTTPRequestHandler):
    server_version = "cdk-postgres-watch"
    sys_version = ""

    def do_GET(self):
        if self.path != "/":
            return self.send_error(404)
        body = json.dumps(self.server.report()).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        pass


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        configuration = json.load(file)
    backups = None
    if configuration.get("stanza"):
        backups = Backups(configuration["stanza"], configuration.get("backupInterval", 600), configuration["data"])
        threading.Thread(target=backups.run, daemon=True).start()
    Server(configuration, reporter(configuration, backups)).serve_forever()


if __name__ == "__main__":
    main()
