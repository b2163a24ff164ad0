"""tuf-conformance's protocol, spoken by the hosts' client to a real web server with real repositories.

The suite itself is no package of an index; each test is one behaviour that its documentation and its tests
name, written anew. To run the suite, give it `python -m fleetbox.trust.conformance_client` as its client.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest
from tuf.api.metadata import MetaFile

from fleetbox.trust import conformance_client
from tests.support.signed import Repository

NOW = datetime.now(UTC).replace(microsecond=0)
DAYS = timedelta(days=1)


class Client:
    """The client under test with its two folders, and the server it asks."""

    def __init__(self, folder: Path, repository: Repository) -> None:
        self.repository = repository
        self.metadata, self.targets = folder / "metadata", folder / "targets"
        self.metadata.mkdir()
        self.targets.mkdir()
        self.requests: list[str] = []
        self.endless: str | None = None
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self._trusted_root = folder / "initial_root.json"
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def init(self, root: bytes | None = None) -> int:
        self._trusted_root.write_bytes(self.repository.anchor() if root is None else root)
        return conformance_client.main(
            ["--metadata-dir", str(self.metadata), "init", str(self._trusted_root)]
        )

    def argv(self, *words: str) -> list[str]:
        return ["--metadata-url", f"{self.url}/metadata", "--metadata-dir", str(self.metadata), *words]

    def refresh(self, *, wall: datetime = NOW) -> int:
        self.requests.clear()
        return conformance_client.main(self.argv("refresh"), wall=wall)

    def download(self, name: str) -> int:
        self.requests.clear()
        where = ["--target-dir", str(self.targets), "--target-base-url", f"{self.url}/targets"]
        return conformance_client.main(self.argv("--target-name", name, *where, "download"), wall=NOW)

    def trusted(self) -> dict[str, int]:
        """Role → version, of every metadata file the client keeps."""
        files = {path.stem: json.loads(path.read_bytes()) for path in self.metadata.glob("*.json")}
        return {role: data["signed"]["version"] for role, data in files.items()}

    def downloaded(self) -> list[bytes]:
        return sorted(path.read_bytes() for path in self.targets.rglob("*") if path.is_file())

    def answer(self, path: str) -> bytes | None:
        kind, _, name = path.lstrip("/").partition("/")
        if kind == "metadata":
            return self.repository.files.get(name)
        last = unquote(name).rpartition("/")
        plain = last[2].partition(".")[2] if self.repository.root.signed.consistent_snapshot else last[2]
        return self.repository.contents.get(f"{last[0]}{last[1]}{plain}")

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        client = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                client.requests.append(self.path.lstrip("/"))
                content = client.answer(self.path)
                self.send_response(client.status or (404 if content is None else 200))
                for name, value in client.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content or b"")
                if client.endless and client.endless in self.path:
                    self._for_ever()

            def _for_ever(self) -> None:
                try:
                    while True:
                        self.wfile.write(bytes(64 * 1024))
                except OSError:
                    self.close_connection = True

            def log_message(self, *words: Any) -> None:
                """Silent."""

        return Handler


@pytest.fixture
def repository() -> Repository:
    made = Repository(expires=NOW + 7 * DAYS)
    made.root.signed.expires = NOW + 365 * DAYS
    made.sign_root()
    return made.publish()


@pytest.fixture
def client(tmp_path: Path, repository: Repository) -> Iterator[Client]:
    client = Client(tmp_path, repository)
    thread = threading.Thread(target=client.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    assert client.init() == 0
    assert client.requests == []
    yield client
    client.server.shutdown()
    client.server.server_close()
    thread.join()


ALL = {"root": 1, "timestamp": 1, "snapshot": 1, "targets": 1}


# Basic


def test_init_and_refresh(client: Client) -> None:
    assert client.refresh() == 0
    assert client.requests == [
        f"metadata/{n}.json" for n in ("2.root", "timestamp", "1.snapshot", "1.targets")
    ]
    assert client.trusted() == ALL


def test_from_a_command_line_as_the_suite_calls_it(client: Client) -> None:
    argv = [sys.executable, "-m", "fleetbox.trust.conformance_client", *client.argv("refresh")]
    assert subprocess.run(argv, check=False, timeout=60).returncode == 0
    client.repository.files.clear()
    done = subprocess.run(argv, check=False, timeout=60, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_download_refreshes_first(client: Client) -> None:
    assert client.download("nonexistent artifact") == 1
    assert client.trusted() == ALL


def test_what_is_stored_is_what_was_sent_byte_for_byte(client: Client) -> None:
    client.refresh()
    for role in ("timestamp", "snapshot", "targets"):
        name = "timestamp.json" if role == "timestamp" else f"1.{role}.json"
        assert (client.metadata / f"{role}.json").read_bytes() == client.repository.files[name]


@pytest.mark.parametrize("break_it", ["version", "signatures"])
def test_an_invalid_or_unsigned_initial_root_and_nothing_is_asked(client: Client, break_it: str) -> None:
    root = json.loads(client.repository.anchor())
    if break_it == "version":
        del root["signed"]["version"]
    else:
        root["signatures"][0]["sig"] = "00" * 64
    client.init(json.dumps(root).encode())
    assert client.refresh() == 1
    assert client.requests == []


def test_unknown_fields_are_part_of_what_is_signed(client: Client) -> None:
    client.repository.root.signed.unrecognized_fields["custom-field"] = "value"
    client.repository.rotate()
    assert client.refresh() == 0
    assert client.trusted()["root"] == 2


def test_a_timestamp_of_the_same_version_with_other_content_is_not_kept(client: Client) -> None:
    client.refresh()
    before = (client.metadata / "timestamp.json").read_bytes()
    client.repository.timestamp.signed.version -= 1
    client.repository.timestamp.signed.unrecognized_fields["x"] = "y"
    client.repository.publish(roles=["timestamp"])
    assert client.refresh() == 0
    assert (client.metadata / "timestamp.json").read_bytes() == before


def test_local_metadata_is_not_asked_for_again(client: Client) -> None:
    client.refresh()
    assert client.refresh() == 0
    assert client.requests == ["metadata/2.root.json", "metadata/timestamp.json"]


# Expiration


def test_an_expired_root_is_kept_and_nothing_after_it(client: Client) -> None:
    client.refresh()
    client.repository.root.signed.expires = NOW - DAYS
    client.repository.rotate()
    client.repository.publish()
    assert client.refresh() == 1
    assert client.trusted() == {**ALL, "root": 2}


def test_expired_roots_on_the_way_do_not_matter(client: Client) -> None:
    client.repository.root.signed.expires = NOW - DAYS
    client.repository.rotate()
    client.repository.root.signed.expires = NOW + DAYS
    client.repository.rotate()
    assert client.refresh() == 0
    assert client.trusted()["root"] == 3


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_expired_metadata_is_not_kept(client: Client, role: str) -> None:
    client.refresh()
    client.repository.expire(role, NOW - DAYS)
    client.repository.publish()
    assert client.refresh() == 1
    assert client.trusted()[role] == 1


def test_expired_local_metadata_still_guards_against_rollback_and_can_be_updated(client: Client) -> None:
    client.refresh()
    for role in ("timestamp", "snapshot", "targets"):
        client.repository.expire(role, NOW + 21 * DAYS)
    old = client.repository.copy()
    client.repository.publish()
    assert client.refresh(wall=NOW + 18 * DAYS) == 0
    assert client.trusted() == {"root": 1, "timestamp": 2, "snapshot": 2, "targets": 2}
    old.timestamp.signed.version = old.snapshot.signed.version = old.targets.signed.version = 0
    client.repository.files.update(old.publish().files)
    assert client.refresh(wall=NOW + 18 * DAYS) == 1
    assert client.trusted()["timestamp"] == 2


# Rollback


def test_a_timestamp_rollback(client: Client) -> None:
    client.repository.publish()
    client.refresh()
    client.repository.timestamp.signed.version = 0
    client.repository.publish(roles=["timestamp"])
    assert client.refresh() == 1
    assert client.trusted()["timestamp"] == 2


@pytest.mark.parametrize("hashes", [False, True], ids=["basic", "with hashes"])
def test_a_snapshot_rollback(client: Client, *, hashes: bool) -> None:
    client.repository.publish()
    client.refresh()
    client.repository.snapshot.signed.version = 0
    client.repository.publish(roles=["snapshot"])
    client.repository.publish(roles=["timestamp"])
    if hashes:
        data = client.repository.files["1.snapshot.json"]
        client.repository.timestamp.signed.snapshot_meta = MetaFile.from_data(1, data, ["sha256"])
        client.repository._write("timestamp", client.repository.timestamp)
    assert client.refresh() == 1
    assert (client.trusted()["timestamp"], client.trusted()["snapshot"]) == (2, 2)
    assert client.requests[-1] == "metadata/timestamp.json"


def test_a_targets_rollback(client: Client) -> None:
    client.repository.publish()
    client.refresh()
    client.repository.targets.signed.version = 0
    client.repository.publish()
    assert client.refresh() == 1
    assert (client.trusted()["snapshot"], client.trusted()["targets"]) == (2, 2)


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_fast_forward_is_recovered_from_by_new_keys(client: Client, role: str) -> None:
    getattr(client.repository, role).signed.version = 99_999
    client.repository.publish()
    assert client.refresh() == 0
    assert client.trusted()[role] == 100_000
    client.repository.rotate("timestamp", "snapshot")
    getattr(client.repository, role).signed.version = 0
    client.repository.publish()
    assert client.refresh() == 0
    assert client.trusted()[role] == 1


def test_a_snapshot_of_another_version_than_the_timestamp_says(client: Client) -> None:
    client.repository.files["1.snapshot.json"] = client.repository.copy().publish().files["2.snapshot.json"]
    assert client.refresh() == 1
    assert client.trusted() == {"root": 1, "timestamp": 1}


def test_targets_of_another_version_or_hash_than_the_snapshot_says(client: Client) -> None:
    client.refresh()
    other = client.repository.copy().publish()
    client.repository.publish()
    client.repository.files["2.targets.json"] = other.publish().files["3.targets.json"]
    assert client.refresh() == 1
    assert client.trusted()["targets"] == 1


# Keys


@pytest.mark.parametrize("role", ["root", "timestamp", "snapshot", "targets"])
def test_keys_are_rotated(client: Client, role: str) -> None:
    client.refresh()
    client.repository.rotate(role)
    client.repository.publish()
    assert client.refresh() == 0
    assert client.trusted() == {"root": 2, "timestamp": 2, "snapshot": 2, "targets": 2}


def test_ten_root_files_are_followed_one_by_one(client: Client) -> None:
    for _ in range(10):
        client.repository.rotate("root", "timestamp")
    client.repository.publish()
    assert client.refresh() == 0
    assert client.trusted()["root"] == 11


def test_a_root_that_the_one_before_did_not_sign(client: Client) -> None:
    client.refresh()
    client.repository.signers["root"] = Repository().signers["root"]
    client.repository._grant()
    client.repository.root.signed.version = 2
    client.repository.sign_root()
    assert client.refresh() == 1
    assert client.trusted() == ALL


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_metadata_by_a_key_that_is_not_named(client: Client, role: str) -> None:
    client.refresh()
    client.repository.signers[role] = Repository().signers[role]
    client.repository.publish()
    assert client.refresh() == 1
    assert client.trusted()[role] == 1


def test_a_threshold_that_is_not_reached(client: Client) -> None:
    client.refresh()
    client.repository.root.signed.version = 2
    client.repository.root.signed.roles["snapshot"].threshold = 2
    client.repository.sign_root()
    client.repository.publish()
    assert client.refresh() == 1
    assert (client.trusted()["root"], client.trusted()["snapshot"]) == (2, 1)


# Files


@pytest.mark.parametrize("consistent", [True, False])
@pytest.mark.parametrize("name", ["target_file.txt", "path/to/a/target file.txt"])
def test_a_file_is_downloaded_once(client: Client, name: str, *, consistent: bool) -> None:
    if not consistent:
        client.repository.root.signed.consistent_snapshot = False
        client.repository.rotate()
        client.answer = plain(client)  # type: ignore[method-assign]
    client.repository.put(name, b"target file contents")
    client.repository.publish()
    assert client.refresh() == 0
    assert client.downloaded() == []
    assert client.download(name) == 0
    assert client.downloaded() == [b"target file contents"]
    assert client.requests[-1].startswith("targets/")
    assert client.download(name) == 0
    assert not [request for request in client.requests if request.startswith("targets/")]


def plain(client: Client) -> Any:
    """A repository without versions in its files' names."""
    named = client.answer

    def answer(path: str) -> bytes | None:
        name = path.removeprefix("/metadata/")
        version = {
            "snapshot.json": client.repository.snapshot,
            "targets.json": client.repository.targets,
        }.get(name)
        return named(f"/metadata/{version.signed.version}.{name}" if version else path)

    return answer


def test_a_file_that_changes_replaces_the_old_one(client: Client) -> None:
    for content in (b"one", b"two", b"three"):
        client.repository.put("file", content)
        client.repository.publish()
        assert client.download("file") == 0
        assert client.downloaded() == [content]


def test_a_substituted_file_is_not_stored(client: Client) -> None:
    client.repository.put("kept", b"target file contents")
    client.repository.put("new", b"content")
    client.repository.publish()
    assert client.download("kept") == 0
    client.repository.contents.update({"kept": b"malicious content000", "new": b"malice!"})
    client.download("kept")
    assert client.download("new") == 1
    assert client.downloaded() == [b"target file contents"]


@pytest.mark.parametrize(
    "what", ["2.root.json", "timestamp.json", "snapshot.json", "targets.json", "targets/"]
)
def test_endless_data_ends_at_the_limit(client: Client, what: str) -> None:
    client.repository.put("file", b"content")
    client.repository.rotate()
    client.repository.publish()
    client.endless = what
    assert client.download("file") == 1
    assert client.downloaded() == []


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (500, {}),
        (301, {"Location": "file:///etc/passwd"}),
        (200, {"Transfer-Encoding": "chunked"}),
    ],
    ids=["error", "sent elsewhere", "no HTTP"],
)
def test_a_server_that_misbehaves_ends_in_words(
    client: Client, capsys: pytest.CaptureFixture[str], status: int, headers: dict[str, str]
) -> None:
    client.status, client.headers = status, headers
    assert client.refresh() == 1
    assert capsys.readouterr().err.startswith("conformance_client: ")
    assert client.trusted() == {"root": 1}


@pytest.mark.parametrize("url", ["file:///etc", "ftp://127.0.0.1", "", "http://127.0.0.1:1\r\nX: y"])
def test_nothing_but_http_is_asked(client: Client, url: str) -> None:
    client.url = url
    assert client.refresh() == 1
    assert client.trusted() == {"root": 1}


# Delegations


@pytest.mark.parametrize("role", ["?", "#", "/delegatedrole", "../delegatedrole", "a b"])
def test_an_unusual_role_name_is_quoted(client: Client, role: str) -> None:
    client.repository.delegate(role, "*")
    client.repository.publish()
    assert client.download("nonexistent target") == 1
    assert f"metadata/1.{quote(role, '')}.json" in client.requests
    assert len(client.trusted()) == 5
    assert {path.parent for path in client.metadata.rglob("*.json")} <= {
        client.metadata,
        client.metadata / "root_history",
    }


def test_a_delegated_file_is_found_and_only_below_its_paths(client: Client) -> None:
    client.repository.delegate("red", "red/*")
    client.repository.put("red/file", b"red", role="red")
    client.repository.put("blue/file", b"blue", role="red")
    client.repository.publish()
    assert client.download("red/file") == 0
    assert client.download("blue/file") == 1
    assert client.downloaded() == [b"red"]


def test_a_delegated_role_that_expired_gives_nothing(client: Client) -> None:
    client.repository.delegate("red", "red/*")
    client.repository.put("red/file", b"red", role="red")
    client.repository.delegated["red"].signed.expires = NOW - DAYS
    client.repository.publish()
    assert client.refresh() == 0
    assert client.download("red/file") == 1
