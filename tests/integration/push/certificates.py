"""An authority for OpenSSH users, and the certificates it signs: as they should be, and in other ways."""

import subprocess
from dataclasses import replace
from pathlib import Path

from tests.integration.push.guarded import CARELESS, PUSH, Guarded
from tests.support.hosts.identity import make_key


class Authority:
    """A pair of keys that signs others. Every certificate is of a key of its own, which no host lists."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._key = folder, folder / name
        make_key(self._key)

    @property
    def public(self) -> str:
        return Path(f"{self._key}.pub").read_text().strip() + " authority"

    def another(self, name: str) -> "Authority":
        """One that no host was told of."""
        return Authority(self._folder, name)

    def certified(
        self, host: Guarded, name: str, *options: str, principals: str = f"{PUSH},{CARELESS}"
    ) -> Guarded:
        """The host, with a certificate of a new key as the way in; `options` are ssh-keygen's."""
        key = self._folder / name
        make_key(key)
        named = ["-n", principals] if principals else []
        validity = [] if "-V" in options else ["-V", "-5m:+1h"]
        words = ["-s", str(self._key), "-I", name, *named, *validity, *options, f"{key}.pub"]
        subprocess.run(["ssh-keygen", "-q", *words], check=True)
        return replace(host, key=key)


def useless(authority: Authority, host: Guarded, tag: str) -> dict[str, Guarded]:
    """Certificates that must let nobody in as the push account, each with one thing wrong."""

    def made(
        name: str, *options: str, by: Authority = authority, principals: str = f"{PUSH},{CARELESS}"
    ) -> Guarded:
        return by.certified(host, f"{tag}-{name.replace(' ', '-')}", *options, principals=principals)

    wrong = {
        "of yesterday": ("-V", "-2d:-1d"),
        "of tomorrow": ("-V", "+1d:+2d"),
        "of a host": ("-h",),
        "from elsewhere": ("-O", "source-address=192.0.2.1/32"),
        "with a command of its own": ("-O", "force-command=id"),
        "with what nobody knows": ("-O", "critical:unknown@example.org=1"),
    }
    return {
        **{name: made(name, *options) for name, options in wrong.items()},
        "of somebody else": made("of somebody else", principals="somebody"),
        "of nobody": made("of nobody", principals=""),
        "by another authority": made("by another", by=authority.another(f"{tag}-other")),
    }
