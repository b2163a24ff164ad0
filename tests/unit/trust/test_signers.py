"""Keys wherever they lie: files with and without a passphrase, a real PKCS #11 token, and what is refused."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from fleetbox.errors import TrustRefused, UsageError
from fleetbox.trust import keys, signers
from fleetbox.trust.signers import NeedsSecret, nobody, open_signer

REPO = Path(__file__).resolve().parents[3]
SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so"


def written(path: Path, private, mode: int = 0o600) -> Path:
    path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(mode)
    path.with_suffix(".pub").write_bytes(
        private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    return path


def test_a_new_key_is_encrypted_private_and_opens_with_its_passphrase_alone(tmp_path) -> None:
    file = tmp_path / "k.pem"
    key = keys.make_key_file(file, "open sesame")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert b"ENCRYPTED PRIVATE KEY" in file.read_bytes()
    asked = []
    signer = open_signer(f"file2:{file}", lambda name: asked.append(name) or "open sesame")
    assert signer.public_key.keyid == key.keyid
    assert asked == [f"passphrase of {file}"]
    with pytest.raises(UsageError, match="cannot be used"):
        open_signer(f"file2:{file}", lambda _: "wrong")
    with pytest.raises(NeedsSecret):
        open_signer(f"file2:{file}", nobody)


@pytest.mark.parametrize("taken", ["k.pem", "k.pem.pub"])
def test_no_key_file_is_overwritten(tmp_path, taken) -> None:
    (tmp_path / taken).write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        keys.make_key_file(tmp_path / "k.pem", "")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {taken: "mine"}


def test_a_key_that_openssl_made_is_a_key(tmp_path) -> None:
    file = tmp_path / "k.pem"
    make = ["openssl", "genpkey", "-algorithm", "ed25519", "-aes256", "-pass", "pass:secret", "-out", file]
    subprocess.run(make, check=True, capture_output=True)
    file.chmod(0o600)
    signer = open_signer(f"file2:{file}", lambda _: "secret")
    signer.public_key.verify_signature(signer.sign(b"data"), b"data")


@pytest.mark.parametrize(
    "private",
    [ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)],
    ids=["ecdsa", "rsa"],
)
def test_a_key_that_hosts_cannot_verify_is_refused_before_it_signs(tmp_path, private) -> None:
    file = written(tmp_path / "k.pem", private)
    with pytest.raises(TrustRefused, match="hosts verify ed25519 alone"):
        open_signer(f"file2:{file}")
    with pytest.raises(TrustRefused, match="hosts verify ed25519 alone"):
        signers.read_public_key(file.with_suffix(".pub"))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_can_read_is_refused(tmp_path, mode) -> None:
    file = written(tmp_path / "k.pem", ed25519.Ed25519PrivateKey.generate(), mode)
    with pytest.raises(TrustRefused, match="others can read the key"):
        open_signer(f"file2:{file}")


def test_a_key_file_that_is_a_link_or_is_missing_or_is_none_is_refused(tmp_path) -> None:
    file = written(tmp_path / "k.pem", ed25519.Ed25519PrivateKey.generate())
    (tmp_path / "link").symlink_to(file)
    (tmp_path / "words").write_text("words")
    (tmp_path / "words").chmod(0o600)
    (tmp_path / "much").write_bytes(b"x" * 100_000)
    for name in ("link", "missing", "words", "much", "."):
        with pytest.raises((UsageError, TrustRefused)):
            open_signer(f"file2:{tmp_path / name}")


@pytest.mark.parametrize("uri", ["", "k.pem", "gnupg:1234", "env:KEY", "tkey:x"])
def test_a_uri_of_an_unknown_scheme_names_no_key(uri) -> None:
    with pytest.raises(UsageError, match="names no key"):
        open_signer(uri)


@pytest.mark.parametrize(
    ("uri", "extra"),
    [
        ("gcpkms:projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1", "gcpkms"),
        ("awskms:1234", "awskms"),
        ("azurekms:vault/key", "azurekms"),
        ("hv:name", "vault"),
    ],
)
def test_a_missing_library_is_named_with_what_to_install(uri, extra) -> None:
    with pytest.raises(UsageError) as refused:
        open_signer(uri)
    assert f"securesystemslib[{extra}]" in refused.value.hint


def test_a_private_key_here_that_is_not_the_one_named_is_refused(trust, tmp_path) -> None:
    with trust.opened() as authority:
        root = authority.policy.root.signed
        (one,) = root.roles["root"].keyids
    written(tmp_path / "state/trust/keys" / f"{one}.pem", ed25519.Ed25519PrivateKey.generate())
    with trust.opened() as authority, pytest.raises(TrustRefused, match="is not the key"):
        authority.ring.signers([root.keys[one]])


def test_a_damaged_list_of_keys_is_refused(trust, tmp_path) -> None:
    (tmp_path / "state/trust/keys/keys.json").write_text('{"keys": [1]}')
    with pytest.raises(TrustRefused, match="was damaged"), trust.opened():
        pass


@pytest.fixture
def token(tmp_path, monkeypatch) -> str:
    """A token of SoftHSM with an Ed25519 key (2) and one of another kind (3); its PIN is 1234."""
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm.conf").write_text(
        f"directories.tokendir = {tmp_path}/tokens\nobjectstore.backend = file\n"
    )
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "softhsm.conf"))
    monkeypatch.setenv("PYKCS11LIB", SOFTHSM)
    pins = ["--pin", "1234", "--so-pin", "5678"]
    make = ["softhsm2-util", "--init-token", "--free", "--label", "fleet", *pins]
    subprocess.run(make, check=True, capture_output=True)
    return "hsm:2?label=fleet"


def on_token(program: str) -> str:
    """In a process of its own: SoftHSM reads its configuration once."""
    head = """
import os, pkcs11
from pkcs11 import Attribute, KeyType, Mechanism
from pkcs11.util.ec import encode_named_curve_parameters
from fleetbox.errors import FleetboxError
from fleetbox.trust.signers import open_signer
token = pkcs11.lib(os.environ["PYKCS11LIB"]).get_token(token_label="fleet")
with token.open(user_pin="1234", rw=True) as session:
    for kind, curve, how, number in (
        (KeyType.EC_EDWARDS, "1.3.101.112", Mechanism.EC_EDWARDS_KEY_PAIR_GEN, b"\\x02"),
        (KeyType.EC, "secp256r1", Mechanism.EC_KEY_PAIR_GEN, b"\\x03"),
    ):
        curve = {Attribute.EC_PARAMS: encode_named_curve_parameters(curve)}
        parameters = session.create_domain_parameters(kind, curve, local=True)
        parameters.generate_keypair(mechanism=how, store=True, id=number)
"""
    done = subprocess.run(
        [sys.executable, "-c", head + program], cwd=REPO, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_key_on_a_token_signs_with_the_pin(token) -> None:
    said = on_token(
        f"""
asked = []
signer = open_signer({token!r}, lambda name: asked.append(name) or "1234")
signer.public_key.verify_signature(signer.sign(b"data"), b"data")
print(signer.public_key.scheme, asked)
"""
    )
    assert said == "ed25519 ['PIN of token fleet']\n"


@pytest.mark.parametrize(
    ("uri", "pin", "said"),
    [
        ("hsm:2?label=fleet", "9999", "PinIncorrect"),
        ("hsm:3?label=fleet", "1234", "hosts verify Ed25519 alone"),
        ("hsm:7?label=fleet", "1234", "No key matching"),
        ("hsm:2?label=another", "1234", "No token matching"),
        ("hsm:two", "1234", "is no number of a key"),
    ],
)
def test_what_a_token_cannot_do_is_said(token, uri, pin, said) -> None:
    printed = on_token(
        f"""
try:
    open_signer({uri!r}, lambda _: {pin!r})
except FleetboxError as error:
    print(type(error).__name__, error.message)
"""
    )
    assert printed.startswith("UsageError")
    assert said in printed


def test_a_root_on_a_token_sets_trust_up(token, empty, tmp_path) -> None:
    """The ceremony, with the token in place of a file."""
    exported = on_token(
        f"""
import sys
from pathlib import Path
from fleetbox.trust import Trust
from fleetbox.trust.roles import Signatories
secret = lambda _: "1234"
trust = Trust(Path({str(tmp_path / "state")!r}))
proposal = trust.create(Signatories((open_signer({token!r}, secret).public_key,)), None)
print(proposal.published, trust.sign(proposal.change, [{token!r}], secret).published)
"""
    )
    assert exported == "False True\n"
    assert empty.published().floor == 1
