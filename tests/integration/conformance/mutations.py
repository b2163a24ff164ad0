"""The table of mutations: for every check, one thing done wrong that it must notice, and it alone, or with
those in `also` that look at the same thing in another way.

Either a policy is loosened in one rule and held against the strict one; then the digest differs, too
(FBX-POL-001). Or the launcher is one that does a single thing wrong. Or a filter was changed behind our back.
"""

import shlex
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

HEAD = "apiVersion: fleetbox/v1\nkind: SandboxPolicy\nmetadata: {name: tried}\n"
STRICT = """
devices: {gpu: {mode: none}}
filesystem:
  rules:
    - {path: ~/.ssh, access: none}
    - {path: ~/.aws, access: none}
"""
# With a GPU beside it, for what only a declared one can show; and with a node that needs none.
NO_GPU = "devices: {gpu: {mode: none}}"
WITH_GPU = STRICT.replace(NO_GPU, "devices: {gpu: {mode: auto}}")
WITH_NODE = STRICT.replace(NO_GPU, "devices: {gpu: {mode: none}, allow: [/dev/gdrdrv]}")
DIGEST = "FBX-POL-001"
SHELL = "#!/bin/sh\n"

Script = Callable[[str], str]
Files = Mapping[str, bytes]


@dataclass(frozen=True)
class Mutation:
    """One of: `policy` in the place of `strict`, which it is held against; `launcher`, a stand-in's text by
    the real one's path; `damage`, of the files of a policy those that are changed.
    """

    check: str
    what: str
    policy: str = ""
    launcher: Script | None = None
    damage: Callable[[Files], Files] | None = None
    strict: str = STRICT
    also: frozenset[str] = frozenset()

    @property
    def reds(self) -> set[str]:
        """What must be red on an installation, where artifacts have digests."""
        found = {self.check, *self.also}
        return {*found, DIGEST} if self.policy or self.damage else found


def loosened(
    check: str, text: str, *, instead_of: str = "", strict: str = STRICT, also: frozenset[str] = frozenset()
) -> Mutation:
    policy = strict.replace(instead_of, text) if instead_of else strict + text
    what = " ".join(text.split()) or f"without {instead_of.strip()}"
    return Mutation(check, what, policy=policy, strict=strict, also=also)


def edited(old: str, new: str) -> Script:
    """Changes one thing in the bubblewrap command that the launcher would run."""
    return lambda launcher: (
        f'{SHELL}command=$({shlex.quote(launcher)} --dry-run "$@") || exit $?\n'
        f"edited=$(printf '%s' \"$command\" | sed {shlex.quote(f's|{old}|{new}|')})\n"
        '[ "$edited" != "$command" ] || exit 99\n'
        'eval "exec $edited"\n'
    )


def fails_open(launcher: str) -> str:
    real = shlex.quote(launcher)
    return (
        f'{SHELL}{real} --dry-run "$@" >/dev/null 2>&1 && exec {real} "$@"\n'
        'while [ "$1" != -- ]; do shift; done\nshift\nexec "$@"\n'
    )


def keeps_a_capability(launcher: str) -> str:
    """Without the inner stage, which would give up what bubblewrap leaves, and close what was left open."""
    close = "import os, sys; os.closerange(3, 4096); os.execvp('sh', ['sh', '-c', 'exec ' + sys.argv[1]])"
    return (
        f'{SHELL}command=$({shlex.quote(launcher)} --mounts bwrap --dry-run "$@") || exit $?\n'
        "after=${command#* --inner }\n"
        'edited="${command%% -- /proc/self/fd/*} --cap-add CAP_KILL --seccomp 5 -- ${after#* -- }"\n'
        f'exec python3 -c {shlex.quote(close)} "$edited"\n'
    )


def leaves_orphans(launcher: str) -> str:
    # A shell gives what it does not wait for /dev/null as stdin, hence the detour.
    return f'{SHELL}exec 9<&0\nsetsid {shlex.quote(launcher)} "$@" <&9 9<&- &\nwait $!\n'


def allow_unix_sockets(files: Files) -> Files:
    narrow = [name for name in files if name.endswith("-nounix.bpf")]
    return {name: files[name.replace("nounix", "unix")] for name in narrow}


def allow_keyctl(files: Files) -> Files:
    """Compare with a number that no call has, where keyctl's was compared with."""
    filters = {name: content for name, content in files.items() if name.endswith(".bpf")}
    return {name: _without(content, 250 if "x86_64" in name else 219) for name, content in filters.items()}


def _without(content: bytes, number: int) -> bytes:
    jump_if_equal, unused = 0x15, 0x0FFFFFFF
    lines = list(struct.iter_unpack("<HBBI", content))
    assert any(code == jump_if_equal and k == number for code, _, _, k in lines)
    return b"".join(
        struct.pack("<HBBI", code, yes, no, unused if (code, k) == (jump_if_equal, number) else k)
        for code, yes, no, k in lines
    )


SSH = "    - {path: ~/.ssh, access: none}\n"
MUTATIONS = (
    Mutation("FBX-SBX-001", "bwrap without --unshare-uts", launcher=edited("--unshare-uts ", "")),
    Mutation("FBX-SBX-002", "a launcher that runs the command when it must refuse", launcher=fails_open),
    loosened("FBX-FS-001", "    - {path: ~/projects, access: write}"),
    loosened("FBX-FS-002", "  workspace: read"),
    loosened("FBX-FS-003", "  unprotect: [.git]"),
    loosened("FBX-FS-004", "  unprotect: [.claude]"),
    loosened("FBX-FS-005", "", instead_of=SSH),
    loosened("FBX-FS-006", "    - {path: ~/.bashrc, access: write}"),
    loosened("FBX-FS-008", "  tmp: host"),
    loosened("FBX-NET-001", "network: {mode: host}"),
    Mutation("FBX-NET-004", "a filter that lets AF_UNIX through", damage=allow_unix_sockets),
    loosened("FBX-NS-001", "process: {nested_sandboxes: true}"),
    Mutation("FBX-NS-002", "bwrap that keeps a capability", launcher=keeps_a_capability),
    Mutation(
        "FBX-NS-003", "bwrap with the host's /proc", launcher=edited("--proc /proc", "--ro-bind /proc /proc")
    ),
    Mutation("FBX-SYS-001", "a filter that lets keyctl through", damage=allow_keyctl),
    Mutation("FBX-SYS-002", "a launcher that is not waited for", launcher=leaves_orphans),
    loosened(
        "FBX-GPU-001", "devices: {gpu: {mode: auto}}", instead_of=NO_GPU, also=frozenset({"FBX-GPU-003"})
    ),
    Mutation("FBX-GPU-001", "a declared node that is not bound", policy=STRICT, strict=WITH_NODE),
    loosened("FBX-GPU-002", 'environment: {set: {CUDA_VISIBLE_DEVICES: ""}}', strict=WITH_GPU),
    Mutation(
        "FBX-GPU-003",
        "a GPU's node under another name",
        launcher=edited("--proc /proc", "--dev-bind /dev/nvidia0 /dev/char/195:0 --proc /proc"),
        # Which would keep it from being opened all the same.
        strict=STRICT + "landlock: off\n",
    ),
    loosened("FBX-GPU-004", "network: {mode: host}", strict=WITH_GPU, also=frozenset({"FBX-NET-001"})),
    loosened("FBX-GPU-005", "environment: {set: {CUDA_CACHE_PATH: /usr/kernels}}", strict=WITH_GPU),
    loosened("FBX-ENV-001", "environment: {pass: [AWS_SECRET_ACCESS_KEY]}"),
    loosened("FBX-POL-001", "environment: {set: {EDITOR: vi}}"),
)
