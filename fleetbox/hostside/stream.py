"""The host program as one text for `python3 -I -S -`: any verb runs on a host that has nothing installed.

The modules travel inside the text and are imported from memory, so the host's disk is not touched. As
stdin is the program, what a verb would read from stdin travels inside it too. The first lines run on any
Python 3, to say in words that it is too old.

    python -m fleetbox.hostside.stream facts | ssh HOST python3 -I -S -
"""

from __future__ import annotations

import base64
import json
import sys
import zlib
from collections.abc import Sequence

from fleetbox.hostside import payload
from fleetbox.hostside.detect import gates

OLDEST_PYTHON = (3, 9)

_PROGRAM = """\
import sys
sys.dont_write_bytecode = True
if sys.version_info < {oldest}:
    print({too_old})
    sys.stderr.write("fleetbox-host: this Python is %d.%d\\n" % sys.version_info[:2])
    sys.exit(5)
import base64, importlib.abc, importlib.util, io, json, zlib

def unpacked(text):
    return zlib.decompress(base64.b85decode(text))

class Modules(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    sources = json.loads(unpacked({sources}))

    def find_spec(self, name, path=None, target=None):
        return importlib.util.spec_from_loader(name, self) if name in self.sources else None

    def is_package(self, name):
        return self.sources[name][0]

    def get_source(self, name):
        return self.sources[name][1]

sys.meta_path.insert(0, Modules())
from fleetbox.hostside.__main__ import main
sys.exit(main({argv}, stdin=io.BytesIO(unpacked({stdin}))))
"""


def script(argv: Sequence[str], stdin: bytes = b"") -> str:
    """The program that runs verb `argv` with `stdin`: ASCII text, for the stdin of `python3 -I -S -`."""
    return _PROGRAM.format(
        oldest=OLDEST_PYTHON,
        too_old=repr(json.dumps(_too_old())),
        sources=repr(_packed(json.dumps(_modules()).encode("ascii"))),
        argv=ascii(list(argv)),
        stdin=repr(_packed(stdin)),
    )


def _modules() -> dict[str, tuple[bool, str]]:
    """Dotted name → (is a package, source)."""
    modules = {}
    for path, content in payload.sources().items():
        parts = path[: -len(".py")].split("/")
        is_package = parts[-1] == "__init__"
        modules[".".join(parts[:-1] if is_package else parts)] = (is_package, content.decode("utf-8"))
    return modules


def _packed(data: bytes) -> str:
    return base64.b85encode(zlib.compress(data, 9)).decode("ascii")


def _too_old() -> dict[str, object]:
    words = gates.GATES["python_missing"]
    error = {"code": "python_missing", "message": words.problem, "hint": words.remedy}
    return {"schema_version": 1, "error": error}


if __name__ == "__main__":
    # Nothing is read from stdin here: whoever pipes this text on may have given us theirs.
    verb_argv = sys.argv[1:]
    sys.stdout.write(script(verb_argv, payload.archive() if verb_argv[:1] == ["install"] else b""))
