"""
Patroni, with names of hosts that are looked up again after five seconds.

Patroni's client of etcd replaces how every connection of the process finds an address, those to other members' REST API too, and believes an
answer for ten minutes. A task has another address each time it starts. So for ten minutes a member that came back would be out of reach of the
others: no switchover to it, no vote of it, and a leader that loses etcd meanwhile would give up, since it does not reach everybody. When a
name cannot be looked up, the address that was known stays.
"""

import sys

from patroni.__main__ import main
from patroni.dcs.etcd import DnsCachingResolver

# The seconds for which an answer is believed, and the lack of one.
KNOWN = (600.0, 30.0)

if DnsCachingResolver.__init__.__defaults__ == KNOWN:
    DnsCachingResolver.__init__.__defaults__ = (5.0, 1.0)
else:
    print("cdk-postgres: this Patroni believes names of hosts in a way of its own", file=sys.stderr, flush=True)

if __name__ == "__main__":
    sys.argv[0] = "patroni"
    sys.exit(main())
