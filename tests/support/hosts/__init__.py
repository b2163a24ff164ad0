"""Real throw-away hosts for tests, the demo and molecule: Debian trees in namespaces, reached over real
sshd.

Everything lives in one network of its own without a way out, and dies with the process that asked for it.
Surprise: no mount, interface or namespace is ever registered with the machine, so `kill -9` leaves nothing
but one folder.

    from tests.support.hosts.lab import Lab
    from tests.support.hosts.spec import HostSpec
"""
