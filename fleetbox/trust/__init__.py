"""Who may say what hosts run: two TUF repositories as plain files, and the keys that sign them.

The *policy repository* says which bundles are releases; its root and targets are signed by keys that are
meant to be offline, so a stolen controller cannot invent a policy. The *assignment repository* says which
release each host shall have; its key is online, and hosts hold what it says against the other. What the
files say is defined in `hostside.release`. `Trust` is what the rest of fleetbox uses; docs/trust.md has the
ceremonies.

Measured (two shared processors, Debian 12; docs/trust.md, Sizes): one host reads 8 kB of metadata among 1,000
hosts and 27 kB among 10,000; assigning a release to 10,000 hosts at once takes 5 s, to one of them 0.03 s.
"""

from fleetbox.trust.authority import Authority, NotSetUp, Proposal, opened
from fleetbox.trust.published import Published
from fleetbox.trust.releases import Release
from fleetbox.trust.roles import Lifetimes
from fleetbox.trust.trust import Trust, Unsigned

__all__ = [
    "Authority",
    "Lifetimes",
    "NotSetUp",
    "Proposal",
    "Published",
    "Release",
    "Trust",
    "Unsigned",
    "opened",
]
