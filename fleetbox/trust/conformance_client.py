r"""The client of the hosts behind the command line that tuf-conformance drives: init, refresh, download.

    python -m fleetbox.trust.conformance_client --metadata-dir DIR init ROOT
    python -m fleetbox.trust.conformance_client --metadata-dir DIR --metadata-url URL refresh
    python -m fleetbox.trust.conformance_client --metadata-dir DIR --metadata-url URL \
        --target-name NAME --target-base-url URL --target-dir DIR download

It is `hostside.verify.Repository` with a web server as its source. Exit 0 or, for whatever went wrong, 1.
"""

import argparse
import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

from fleetbox.hostside import metadata, signed_time
from fleetbox.hostside.errors import HostError
from fleetbox.hostside.sources import Web
from fleetbox.hostside.verify import Repository

_NAME = "conformance"
_ROOT = "root.json"
# Not `.json`: the suite takes every such file for metadata that is trusted now.
_ANCHOR = "anchor"
_TARGET_LIMIT = 64 * 1024 * 1024


def main(argv: Sequence[str], *, wall: datetime | None = None) -> int:
    """Run one command; `wall` stands in for the clock. Returns the exit status."""
    options = _parse(argv)
    try:
        if options.command == "init":
            init(options.metadata_dir, options.trusted_root)
        elif options.command == "refresh":
            with refreshed(options, wall):
                pass
        else:
            download(options, wall)
    except (HostError, OSError) as problem:
        sys.stderr.write(f"conformance_client: {problem}\n")
        return 1
    return 0


def init(directory: Path, trusted_root: Path) -> None:
    """Trust begins with this file; whether it can is seen by the first refresh."""
    _replace(directory / _ANCHOR, trusted_root.read_bytes())
    _replace(directory / _ROOT, trusted_root.read_bytes())


@contextmanager
def refreshed(options: argparse.Namespace, wall: datetime | None) -> Iterator[Repository]:
    """The repository, brought up to date; what was verified is kept however it ends. Raises `HostError`."""
    with TemporaryDirectory() as work:
        kept = metadata.read_directory(str(options.metadata_dir))
        anchor = kept.pop(_ANCHOR, b"")
        kept.pop(_ROOT, None)
        own = f"{work}/{_NAME}"
        metadata.write_directory(own, kept)
        source = Web(options.metadata_url, options.target_base_url)
        repository = Repository(_NAME, work, {_NAME: anchor}, source)
        try:
            repository.refresh(wall or signed_time.now())
            yield repository
        finally:
            for name, data in metadata.read_directory(own).items():
                _replace(options.metadata_dir / name, data)
            _replace(options.metadata_dir / _ROOT, Path(own, _ROOT).read_bytes())


def download(options: argparse.Namespace, wall: datetime | None) -> None:
    """A target into the folder of targets, unless it is there already. Raises `HostError`, OSError."""
    path = options.target_dir / quote(options.target_name, "")
    with refreshed(options, wall) as repository:
        target = repository.find(options.target_name)
        if target is None:
            raise FileNotFoundError(f"nothing is signed by the name of {options.target_name}")
        if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != target.sha256:
            _replace(path, repository.read(target, _TARGET_LIMIT))


def _replace(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_bytes(data)
    os.replace(temporary, path)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="conformance_client", description=__doc__, allow_abbrev=False)
    parser.add_argument("--metadata-dir", type=Path, required=True)
    parser.add_argument("--metadata-url", default="")
    parser.add_argument("--target-name", default="")
    parser.add_argument("--target-base-url", default="")
    parser.add_argument("--target-dir", type=Path, default=Path())
    parser.add_argument("command", choices=["init", "refresh", "download"])
    parser.add_argument("trusted_root", type=Path, nargs="?")
    options = parser.parse_args(argv)
    if (options.command == "init") != (options.trusted_root is not None):
        parser.error("init, and only init, takes a root file")
    return options


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
