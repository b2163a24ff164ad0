"""Puts the TUF client of the hosts into the package: `fleetbox/hostside/_vendor/`.

pip downloads exactly the wheels whose hashes are in requirements.txt; nothing of them is committed. Their
absolute imports are made to begin with `fleetbox.hostside._vendor`, as pip does with its own: then no other
`tuf` on a machine can take their place, they can take nobody's, and no search path is touched. Nothing is
built while requirements.txt and this file are what they were.
"""

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements.txt"
OUTPUT = HERE.parent / "fleetbox" / "hostside" / "_vendor"
PREFIX = "fleetbox.hostside._vendor"
PACKAGES = ("securesystemslib", "tuf", "urllib3")

# What a client never imports: tests of a signature library (2.4 MB), the maker's side of TUF, another HTTP
# library's fetcher, and what urllib3 has for browsers, SOCKS and OpenSSL bindings.
DROPPED = (
    "securesystemslib/_vendor/ed25519/test_*",
    "securesystemslib/_vendor/ed25519/science.py",
    "securesystemslib/_vendor/*.sh",
    "securesystemslib/_vendor/ed25519/.gitignore",
    "tuf/repository",
    "tuf/ngclient/requests_fetcher.py",
    "urllib3/contrib/*",
)
_NAMES = "|".join(PACKAGES)
_FROM = re.compile(rf"^([ \t]*)from ((?:{_NAMES})(?:\.[\w.]+)?) import ", re.MULTILINE)
_IMPORT = re.compile(rf"^([ \t]*)import ({_NAMES})$", re.MULTILINE)
_LEFT = re.compile(rf"^[ \t]*(?:from|import) (?:{_NAMES})\b.*$", re.MULTILINE)


def built_from() -> str:
    """What the output depends on, as one digest."""
    return hashlib.sha256(REQUIREMENTS.read_bytes() + Path(__file__).read_bytes()).hexdigest()


def init_text() -> str:
    """`_vendor/__init__.py`, which says what the tree was made from."""
    said = "Other people's code, put here by vendored/build.py; imported by fleetbox.hostside.verify alone."
    return f'"""{said}\n\nMade from {built_from()}.\n"""\n'


def is_built() -> bool:
    """Whether the output is what would be built now."""
    try:
        return (OUTPUT / "__init__.py").read_text(encoding="utf-8") == init_text()
    except FileNotFoundError:
        return False


def download(directory: Path) -> None:
    """Unpack the wheels below `directory`."""
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            *("--require-hashes", "--no-deps", "--only-binary", ":all:", "--no-compile"),
            *("--target", str(directory), "-r", str(REQUIREMENTS)),
        ],
        check=True,
    )


def keep(downloaded: Path, directory: Path) -> None:
    """Move what a host needs below `directory`, with the licences."""
    for package in PACKAGES:
        shutil.move(downloaded / package, directory / package)
        for number, text in enumerate(sorted(downloaded.glob(f"{package}-*.dist-info/licenses/*"))):
            shutil.copyfile(text, directory / package / f"LICENSE.{number}")
    for pattern in DROPPED:
        for path in directory.glob(pattern):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def rename_imports(source: str) -> str:
    """`source` with every absolute import of a vendored package below `PREFIX`."""
    source = _FROM.sub(rf"\1from {PREFIX}.\2 import ", source)
    source = _IMPORT.sub(rf"\1from {PREFIX} import \2", source)
    if left := _LEFT.search(source):
        sys.exit(f"vendored/build.py: an import of a form that it does not know: {left[0].strip()}")
    return source


def build() -> None:
    """Make the whole tree anew beside its place, and put it there."""
    with tempfile.TemporaryDirectory(dir=OUTPUT.parent, prefix="._vendor-") as temporary:
        downloaded, made = Path(temporary, "downloaded"), Path(temporary, "made")
        download(downloaded)
        made.mkdir()
        keep(downloaded, made)
        for path in made.rglob("*.py"):
            path.write_text(rename_imports(path.read_text(encoding="utf-8")), encoding="utf-8")
        (made / "__init__.py").write_text(init_text(), encoding="utf-8")
        shutil.rmtree(OUTPUT, ignore_errors=True)
        made.rename(OUTPUT)


if __name__ == "__main__":
    if not is_built():
        build()
    sys.stdout.write(f"{OUTPUT}\n")
