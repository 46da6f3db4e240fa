"""
What AWS does for the tasks, in the place of it: `aws.py FILE`.

- the names of tasks, as Cloud Map has them: DNS on port 53, by the addresses in FILE, which is JSON and read at each question
- the credentials of the tasks' roles: HTTP on 169.254.170.2
"""

import http.server
import json
import socket
import struct
import sys
import threading

HOSTS = sys.argv[1]


def answer(question):
    """To one question for an address; what is not known has none."""
    labels, at = [], 12
    while question[at]:
        labels.append(question[at + 1 : at + 1 + question[at]].decode())
        at += question[at] + 1
    kind = struct.unpack(">H", question[at + 1 : at + 3])[0]
    asked = question[12 : at + 5]
    with open(HOSTS, encoding="utf-8") as file:
        hosts = json.load(file)
    name = ".".join(labels).lower()
    addresses = hosts.get(name, []) if kind == 1 else []
    code = 0 if name in hosts else 3
    head = question[:2] + struct.pack(">HHHHH", 0x8580 | code, 1, len(addresses), 0, 0)
    # A name that points back to the question; lives for 2 s.
    records = [b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 2, 4) + socket.inet_aton(address) for address in addresses]
    return head + asked + b"".join(records)


def names():
    """For ever."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("0.0.0.0", 53))
    while True:
        question, client = sock.recvfrom(4096)
        try:
            sock.sendto(answer(question), client)
        except (OSError, ValueError, IndexError, struct.error):
            continue


class Credentials(http.server.BaseHTTPRequestHandler):
    """As ECS gives them: there is no role but that of the task."""

    def do_GET(self):  # pylint: disable=invalid-name
        """Keys that expire."""
        body = json.dumps(
            {
                "RoleArn": "arn:aws:iam::123456789012:role/task",
                "AccessKeyId": "ASIATASK",
                "SecretAccessKey": "of-the-task",
                "Token": "token-of-the-task",
                "Expiration": "2035-01-01T00:00:00Z",
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments):  # pylint: disable=arguments-differ
        """Silent."""


threading.Thread(target=names, daemon=True).start()
http.server.ThreadingHTTPServer(("169.254.170.2", 80), Credentials).serve_forever()
