"""
What the tasks of a self-managed cluster have in common: files and secrets go into a tmpfs, secrets are looked at again and again, and the
servers run until the task ends. Only Python's own library is used.
"""

import datetime
import hashlib
import hmac
import json
import os
import signal
import ssl
import sys
import threading
import time
import urllib.error
import urllib.request

RUN = "/run/cdk-postgres"
TLS = f"{RUN}/tls"


def say(text):
    """A line for the log. Never a secret."""
    print(f"cdk-postgres: {text}", file=sys.stderr, flush=True)


def write(path, content):
    """Whoever reads it sees all of the old content, or all of the new one."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    new = f"{path}.new"
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(content)
    os.replace(new, path)


def write_files():
    """The files that the cluster was configured with."""
    for path, content in json.loads(os.environ.get("CDK_POSTGRES_FILES", "{}")).items():
        if not path.startswith(f"{RUN}/") or ".." in path:
            raise ValueError(f"CDK_POSTGRES_FILES: {path} is not in {RUN}")
        write(path, content)


def credentials():
    """Of the task's role: AccessKeyId, SecretAccessKey, Token, Expiration."""
    relative = os.environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
    uri = f"http://169.254.170.2{relative}" if relative else os.environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    if uri:
        token = os.environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN")
        request = urllib.request.Request(uri, headers={"Authorization": token} if token else {})
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.load(answer)
    if "AWS_ACCESS_KEY_ID" not in os.environ:
        raise RuntimeError("the task has no role: AWS_CONTAINER_CREDENTIALS_RELATIVE_URI is not set")
    return {
        "AccessKeyId": os.environ["AWS_ACCESS_KEY_ID"],
        "SecretAccessKey": os.environ["AWS_SECRET_ACCESS_KEY"],
        "Token": os.environ.get("AWS_SESSION_TOKEN"),
    }


def sign(region, service, host, headers, body, keys, now):
    """AWS Signature Version 4 of a POST of `/`, as a copy of the headers with those that it adds."""
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    signed = {**headers, "Host": host, "X-Amz-Date": stamp}
    if keys.get("Token"):
        signed["X-Amz-Security-Token"] = keys["Token"]
    names = sorted(signed, key=str.lower)
    listed = ";".join(name.lower() for name in names)
    lines = "".join(f"{name.lower()}:{signed[name]}\n" for name in names)
    canonical = f"POST\n/\n\n{lines}\n{listed}\n{hashlib.sha256(body).hexdigest()}"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{keys['SecretAccessKey']}".encode()
    for part in [*scope.split("/"), text]:
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signed["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={keys['AccessKeyId']}/{scope}, SignedHeaders={listed}, Signature={key.hex()}"
    )
    return signed


def read_secret(arn):
    """The current text of a secret."""
    region = arn.split(":")[3]
    endpoint = os.environ.get("AWS_ENDPOINT_URL_SECRETS_MANAGER", f"https://secretsmanager.{region}.amazonaws.com")
    host = endpoint.split("://", 1)[1].rstrip("/")
    body = json.dumps({"SecretId": arn}).encode()
    headers = {
        "Content-Type": "application/x-amz-json-1.1",
        "X-Amz-Target": "secretsmanager.GetSecretValue",
    }
    now = datetime.datetime.now(datetime.timezone.utc)
    signed = sign(region, "secretsmanager", host, headers, body, credentials(), now)
    request = urllib.request.Request(f"{endpoint.rstrip('/')}/", data=body, headers=signed, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)["SecretString"]
    except urllib.error.HTTPError as error:
        # The code of the error, such as AccessDeniedException; never what the service says besides.
        try:
            code = str(json.load(error).get("__type", "")).split("#")[-1]
        except ValueError:
            code = ""
        raise RuntimeError(f"HTTP {error.code} {code}".strip()) from None


def write_credentials():
    """Where programs find them that are started often, and so may not begin with a request: as a credential process prints them."""
    keys = credentials()
    # Those from the environment do not expire, and it is asked when they do.
    tomorrow = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)
    document = {
        "Version": 1,
        "AccessKeyId": keys["AccessKeyId"],
        "SecretAccessKey": keys["SecretAccessKey"],
        "SessionToken": keys.get("Token") or "",
        "Expiration": keys.get("Expiration") or tomorrow.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    write(f"{RUN}/credentials.json", json.dumps(document))


def write_certificate(value):
    """Certificate, key and root in one folder, which is exchanged as a whole, so that nobody finds a key of another certificate."""
    digest = hashlib.sha256(value["certificate"].encode()).hexdigest()[:16]
    folder = f"{TLS}.{digest}"
    write(f"{folder}/certificate.pem", value["certificate"])
    write(f"{folder}/key.pem", value["privateKey"])
    write(f"{folder}/ca.pem", value["ca"])
    link = f"{TLS}.new"
    if os.path.islink(link):
        os.remove(link)
    os.symlink(folder, link)
    os.replace(link, TLS)


class Secrets:
    """The secrets of the task, by the names that CDK_POSTGRES_SECRETS has for them."""

    def __init__(self, writers, with_credentials=False):
        self.with_credentials = with_credentials
        self.writers = {"certificate": write_certificate, **writers}
        self.arns = json.loads(os.environ.get("CDK_POSTGRES_SECRETS", "{}"))
        self.interval = float(os.environ.get("CDK_POSTGRES_SECRETS_INTERVAL", "60"))
        self.known = {}

    def look(self):
        """Writes what is new, and returns the names of it."""
        if self.with_credentials:
            write_credentials()
        changed = []
        for name, arn in self.arns.items():
            text = read_secret(arn)
            if self.known.get(name) == text:
                continue
            try:
                self.writers[name](json.loads(text))
            except (KeyError, TypeError, ValueError):
                # Said without what stands in it.
                raise RuntimeError(f"the secret {name} has not what belongs there; deploy the stack") from None
            self.known[name] = text
            changed.append(name)
        return changed

    def look_until_there(self):
        """The servers cannot start without them. What keeps them away is said, and tried again."""
        wait = 1
        while True:
            try:
                self.look()
                return
            except Exception as error:  # pylint: disable=broad-except
                say(f"the secrets cannot be read yet: {error}")
            time.sleep(wait)
            wait = min(wait * 2, 15)

    def keep_looking(self, changed):
        """Calls `changed` with the names of what changed, for as long as the task lives. Never ends it: the old ones are still good."""

        def forever():
            while True:
                time.sleep(self.interval)
                try:
                    names = self.look()
                    if names:
                        say(f"changed: {', '.join(names)}")
                        changed(names)
                except Exception as error:  # pylint: disable=broad-except
                    say(f"the secrets cannot be read, and stay as they are: {error}")

        threading.Thread(target=forever, daemon=True).start()


class Servers:
    """The first process of a container: it starts the servers, hands signals on, and collects the children that others leave."""

    def __init__(self, main, helpers=(), stop_signal=signal.SIGTERM):
        self.commands = {"main": main, **dict(helpers)}
        self.stop_signal = stop_signal
        self.pids = {}
        self.stopping = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)

    def _start(self, name):
        # Not by subprocess, which collects children by itself when it starts another. Python ignores these signals, and no server should.
        command, ignored = self.commands[name], [signal.SIGPIPE, signal.SIGXFSZ]
        self.pids[name] = os.posix_spawnp(command[0], command, os.environ, setsigdef=ignored)

    def _stop(self, _number, _frame):
        self.stopping = True
        self.signal("main", self.stop_signal)

    def signal(self, name, number):
        """To a server by its name, if it runs."""
        if name in self.pids:
            try:
                os.kill(self.pids[name], number)
            except ProcessLookupError:
                pass

    def run(self):
        """Until the main server ends; returns what the task exits with. A helper that ends is started again."""
        if self.stopping:
            return 0
        for name in self.commands:
            self._start(name)
        if self.stopping:
            self.signal("main", self.stop_signal)
        while True:
            pid, status = os.wait()
            for name, known in list(self.pids.items()):
                if pid != known:
                    continue
                del self.pids[name]
                code = os.waitstatus_to_exitcode(status)
                if name == "main":
                    for helper in list(self.pids):
                        self.signal(helper, signal.SIGTERM)
                    return code if code >= 0 else 128 - code
                if not self.stopping:
                    say(f"{name} ended with {code} and is started again")
                    time.sleep(1)
                    self._start(name)


def healthy(url):
    """Exit code of a container's health check: 0 when the URL answers well, by a certificate that the cluster trusts."""
    context = ssl.create_default_context(cafile=f"{TLS}/ca.pem") if url.startswith("https:") else None
    try:
        with urllib.request.urlopen(url, timeout=4, context=context):
            return 0
    except (OSError, ValueError) as error:
        print(f"{url}: {error}", file=sys.stderr)
        return 1
