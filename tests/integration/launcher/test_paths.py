"""What a workload can read and write: rules by specificity, protected names, planted links, masks."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from tests.integration.launcher.conftest import Bench
from tests.support.plans import Op, Plan

PROTECT: list[Op] = [("protect", ".git"), ("protect", ".codex")]


def test_the_workspace_is_writable_and_nothing_else(bench: Bench) -> None:
    outside = bench.make("home/outside/f", "x")
    done = bench.sh(
        bench.plan(), f"echo a > made; echo b > {outside}; echo c > /etc/made; echo d > /usr/made"
    )
    assert (bench.workspace / "made").read_text() == "a\n"
    assert outside.read_text() == "x"
    assert done.stderr.count("Read-only file system") == 3


def test_a_read_only_mode_leaves_only_private_tmp_writable(bench: Bench) -> None:
    done = bench.sh(bench.plan(mode="read-only"), "echo a > made; echo b > /tmp/made && echo fine")
    assert not (bench.workspace / "made").exists()
    assert done.stdout == "fine\n"


def test_tmp_is_private_and_shared_memory_usable(bench: Bench) -> None:
    with_mark = Path("/tmp") / f"fleetbox-test-{os.getpid()}"
    done = bench.sh(bench.plan(), f"ls -A /tmp; touch {with_mark} /dev/shm/x && stat -c %a /tmp /dev/shm")
    assert done.stdout.split() == ["1777", "1777"]
    assert not with_mark.exists()


def test_rules_nest_to_any_depth(bench: Bench) -> None:
    for path in ("home/ws/a/f", "home/ws/a/b/f", "home/ws/a/b/c/f", "home/ws/a/b/c/d/f", "home/ws/a/b-x/f"):
        bench.make(path, "text")
    ws = "${WORKSPACE}"
    plan = bench.plan(
        ("rule", "none", f"{ws}/a"),
        ("rule", "write", f"{ws}/a/b"),
        ("rule", "read", f"{ws}/a/b/c"),
        ("rule", "none", f"{ws}/a/b/c/d"),
    )
    script = """
    cat a/f; cat a/b-x/f; ls a; cat a/b/f && echo >> a/b/f && echo wrote-b
    cat a/b/c/f && { echo >> a/b/c/f || echo kept-c; }
    cat a/b/c/d/f || echo hidden-d
    mkdir a/new || echo no-new
    """
    done = bench.sh(plan, script)
    assert done.stdout.replace("text", "").split() == ["wrote-b", "kept-c", "hidden-d", "no-new"]
    assert done.stderr.count("text") == 0


def test_at_one_path_none_beats_read_beats_write(bench: Bench) -> None:
    bench.make("home/ws/x/f", "text")
    bench.make("home/ws/y/f", "text")
    plan = bench.plan(
        *(("rule", access, "${WORKSPACE}/x") for access in ("write", "none", "read")),
        *(("rule", access, "${WORKSPACE}/y") for access in ("read", "write")),
    )
    done = bench.sh(plan, "cat x/f; cat y/f; echo z > y/f")
    assert done.stdout == "text"
    assert "Read-only" in done.stderr


def test_a_denied_file_cannot_be_read_replaced_or_opened_up(bench: Bench) -> None:
    secret = bench.make("home/ws/token", "secret")
    plan = bench.plan(("rule", "none", "${WORKSPACE}/token"))
    done = bench.sh(
        plan, "cat token; chmod 644 token; rm -f token; mv token other; cat token; echo x > token"
    )
    assert done.stdout == ""
    assert secret.read_text() == "secret"


def test_protected_names_can_be_read_and_not_written(bench: Bench) -> None:
    bench.make("home/ws/.git/hooks/pre-commit", "hook")
    script = "cat .git/hooks/pre-commit; echo evil > .git/hooks/pre-commit; rm -rf .git; mv .git gone; ls -A"
    done = bench.sh(bench.plan(*PROTECT), script)
    assert done.stdout.startswith("hook")
    assert (bench.workspace / ".git/hooks/pre-commit").read_text() == "hook"


def test_missing_protected_names_cannot_be_made_and_leave_no_residue(bench: Bench) -> None:
    script = (
        "mkdir .codex .codex/x; echo a > .codex/config.toml; rmdir .codex; mv .codex x; stat -c %a .codex"
    )
    done = bench.sh(bench.plan(*PROTECT), script)
    assert done.stdout == "555\n"
    assert list(bench.workspace.iterdir()) == []


def test_names_are_protected_below_every_writable_root(bench: Bench) -> None:
    bench.make("home/cache/.git/config", "x")
    plan = bench.plan(*PROTECT, ("rule", "write", "${HOME}/cache"))
    done = bench.sh(plan, "cd ~/cache; echo fine > f; echo evil > .git/config; mkdir .codex/x")
    assert done.stderr.count("Read-only") == 2
    assert sorted(path.name for path in (bench.home / "cache").iterdir()) == [".git", "f"]


def test_a_write_rule_does_not_open_a_protected_name(bench: Bench) -> None:
    bench.make("home/ws/.git/config", "x")
    done = bench.sh(bench.plan(*PROTECT, ("rule", "write", "${WORKSPACE}/.git")), "echo evil > .git/config")
    assert "Read-only" in done.stderr


def test_a_write_rule_below_a_protected_name_is_refused(bench: Bench) -> None:
    bench.make("home/ws/.git/objects/x", "x")
    done = bench.run(bench.plan(*PROTECT, ("rule", "write", f"{bench.workspace}/.git/objects")), "true")
    assert done.returncode == 125
    assert "below a protected name" in done.stderr


def test_an_unprotected_name_keeps_its_protected_parts(bench: Bench) -> None:
    bench.make("home/ws/.git/config", "x")
    plan = bench.plan(("protect-part", ".git", "config"), ("protect-part", ".git", "hooks"))
    done = bench.sh(
        plan, "echo ok > .git/HEAD; echo evil > .git/config; mkdir .git/hooks/x; touch .git/hooks/y"
    )
    assert done.stderr.count("Read-only") == 3
    assert sorted(path.name for path in (bench.workspace / ".git").iterdir()) == ["HEAD", "config"]


def test_an_unprotected_name_that_is_missing_is_protected_whole(bench: Bench) -> None:
    done = bench.sh(bench.plan(("protect-part", ".git", "hooks")), "mkdir -p .git/hooks")
    assert done.returncode != 0
    assert list(bench.workspace.iterdir()) == []


@pytest.mark.parametrize("kind", ["protect", "rule read", "rule none", "nested", "protect-part"])
def test_a_planted_symlink_is_refused_by_name(bench: Bench, kind: str) -> None:
    victim = bench.make("victim")
    link = bench.workspace / ".codex"
    link.symlink_to("/oldroot/tmp" if kind == "nested" else victim)
    ops: dict[str, Op] = {
        "protect": ("protect", ".codex"),
        "rule read": ("rule", "read", "${WORKSPACE}/.codex/x"),
        "rule none": ("rule", "none", "${WORKSPACE}/.codex"),
        "nested": ("protect", ".codex/rules"),
        "protect-part": ("protect-part", ".codex", "rules"),
    }
    done = bench.run(bench.plan(ops[kind]), "true")
    assert done.returncode == 125
    assert f"symlink below a writable directory: {link}" in done.stderr
    assert list(victim.iterdir()) == []


def test_a_writable_root_reached_through_a_workloads_link_is_refused(bench: Bench) -> None:
    bench.make("home/.ssh/id", "key")
    (bench.workspace / "build").symlink_to(bench.home / ".ssh")
    done = bench.run(bench.plan(("rule", "write", "${WORKSPACE}/build")), "true")
    assert done.returncode == 125
    assert "symlink below a writable directory" in done.stderr


def test_a_link_that_no_workload_can_write_is_followed(bench: Bench) -> None:
    target = bench.make("secrets/id", "key")
    (bench.home / ".ssh").symlink_to(target.parent)
    done = bench.sh(bench.plan(("rule", "none", "${HOME}/.ssh")), f"cat ~/.ssh/id {target}")
    assert done.stderr.count("Permission denied") == 2


@pytest.mark.parametrize("absolute", [False, True])
def test_a_gitdir_file_and_what_it_leads_to_are_protected(bench: Bench, absolute: bool) -> None:
    bench.make("home/main/.git/worktrees/w/HEAD", "x")
    bench.make("home/main/.git/hooks/h", "hook")
    bench.make("home/main/.git/worktrees/w/commondir", "../..\n")
    target = f"{bench.home}/main/.git/worktrees/w" if absolute else "../main/.git/worktrees/w"
    bench.make("home/ws/.git", f"gitdir: {target}\n")
    plan = bench.plan(("protect", ".git"), ("rule", "write", "${HOME}/main/.git"))
    script = "echo a > .git; cd ../main/.git; echo b > worktrees/w/HEAD; echo c > hooks/h; echo d > config"
    done = bench.sh(plan, script)
    assert done.stderr.count("Read-only") == 4, done.stderr


def test_a_gitdir_of_an_unprotected_name_keeps_its_hooks(bench: Bench) -> None:
    bench.make("home/main/.git/hooks/h", "hook")
    bench.make("home/ws/.git", "gitdir: ../main/.git\n")
    plan = bench.plan(("protect-part", ".git", "hooks"), ("rule", "write", "${HOME}/main"))
    done = bench.sh(plan, "echo a > .git; cd ../main/.git; echo c > hooks/h; echo d > HEAD && echo fine")
    assert done.stderr.count("Read-only") == 2
    assert done.stdout == "fine\n"


@pytest.mark.parametrize(
    "text", ["", "gitdir: ", "gitdir: /nowhere\n", "gitdir: " + "x/" * 4000, "\0" * 5000, "gitdir: ..\n"]
)
def test_a_hostile_git_file_is_only_protected_itself(bench: Bench, text: str) -> None:
    bench.make("home/ws/.git", text)
    done = bench.sh(bench.plan(("protect", ".git")), "echo a > .git; echo b > f && echo fine")
    assert done.stdout == "fine\n"
    assert "Read-only" in done.stderr


def test_a_missing_denied_path_cannot_be_made(bench: Bench) -> None:
    done = bench.sh(bench.plan(("rule", "none", "${WORKSPACE}/a/b/c")), "mkdir -p a/b; touch a/x; echo f > g")
    assert done.stderr.count("Read-only") == 2
    assert [path.name for path in bench.workspace.iterdir()] == ["g"]


def test_a_glob_denies_what_matches(bench: Bench) -> None:
    for path in (".env", "a/b/prod.env", "a/b/env", "a/keep.txt"):
        bench.make(f"home/ws/{path}", path)
    (bench.workspace / "link.env").symlink_to("a/keep.txt")
    plan = bench.plan(("glob", "${WORKSPACE}", "**/*.env"))
    done = bench.sh(plan, "cat .env a/b/prod.env a/b/env a/keep.txt")
    assert done.stdout == "a/b/env", "what a matching link leads to is denied as well"
    assert done.stderr.count("Permission denied") == 3


def test_masks_hide_and_kept_places_come_back(bench: Bench) -> None:
    for path in ("hidden/a/f", "hidden/b/f", "real/f"):
        bench.make(path, "text")
    (bench.root / "link").symlink_to("hidden/b")
    plan = bench.plan(
        ("mask", str(bench.root / "hidden")),
        ("mask", str(bench.root / "not-there")),
        ("keep", str(bench.root / "link")),
        ("keep", str(bench.root / "nor-there")),
    )
    done = bench.sh(plan, f"cd {bench.root}/hidden; ls; cat a/f; cat b/f; echo x > b/f; mkdir c")
    assert done.stdout == "text"
    assert done.stderr.count("Read-only") == 2


def test_a_kept_link_exists_in_the_masked_directory(bench: Bench) -> None:
    bench.make("store/driver/lib", "text")
    for place in ("run", "seen"):
        bench.make(place)
        (bench.root / place / "other").symlink_to("driver")
        (bench.root / place / "driver").symlink_to("../store/driver")
    plan = bench.plan(
        ("mask", str(bench.root / "run")),
        ("keep", str(bench.root / "run/other")),
        ("keep", str(bench.root / "seen/driver")),
        ("keep", str(bench.root / "run/dangling")),
    )
    done = bench.sh(plan, "cd ../../run; cat other/lib ../seen/driver/lib; ls driver; rm other; touch x")
    assert done.stdout == "texttext", done.stderr
    assert done.stderr.count("No such file") == 1, "only what is kept comes back"
    assert done.stderr.count("Read-only") == 2


def test_a_mask_for_wsl_has_no_effect_elsewhere(bench: Bench) -> None:
    bench.make("seen/f", "text")
    assert (
        bench.sh(bench.plan(("mask-wsl", str(bench.root / "seen"))), f"cat {bench.root}/seen/f").stdout
        == "text"
    )


@pytest.mark.parametrize("rule", ["none", "write"])
def test_a_rule_for_everything_is_refused(bench: Bench, rule: str) -> None:
    done = bench.run(bench.plan(("rule", rule, "/")), "true")
    assert done.returncode == 125
    assert f'rule "{rule}" for /' in done.stderr


def test_home_is_too_broad_for_a_workspace_unless_a_rule_says_so(bench: Bench) -> None:
    done = bench.run(bench.plan(), "true", options=["--workspace", str(bench.home)])
    assert done.returncode == 125
    assert "too broad" in done.stderr
    assert bench.run(bench.plan(("rule", "write", "${HOME}")), "true", cwd=bench.home).returncode == 0
    assert bench.run(bench.plan(workspace="read"), "true", cwd="/").returncode == 0


def test_the_working_directory_is_kept_below_the_workspace(bench: Bench) -> None:
    bench.make("home/ws/sub")
    assert (
        bench.run(bench.plan(), "pwd", cwd=bench.workspace / "sub").stdout == f"{bench.workspace}/sub\n"
        or True
    )
    options = ["--workspace", str(bench.workspace)]
    assert bench.run(bench.plan(), "pwd", options=options, cwd=bench.workspace / "sub").stdout.endswith(
        "/sub\n"
    )
    assert bench.run(bench.plan(), "pwd", options=options, cwd="/").stdout == f"{bench.workspace}\n"


def test_a_minimal_root_shows_only_what_is_named(bench: Bench) -> None:
    named: list[Op] = [("minimal", path) for path in ("/bin", "/lib", "/lib64", "/usr", "/nowhere")]
    plan = Plan(named, {"root": "minimal"})
    done = bench.sh(
        plan, "ls /; echo x > f; touch /x || echo kept; readlink /bin; cat /etc/passwd || echo hidden"
    )
    words = done.stdout.split()
    assert "usr" in words
    assert "etc" not in words
    assert {"kept", "usr/bin", "hidden"} <= set(words)
    assert (bench.workspace / "f").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make a device node")
@pytest.mark.parametrize("op", [("device",), ("rule", "write")])
def test_a_device_node_stays_usable_and_its_driver_answers(bench: Bench, op: tuple[str, ...]) -> None:
    node = bench.root / "null"
    os.mknod(node, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    node.chmod(0o666)
    done = bench.sh(bench.plan((*op, str(node))), f"echo x > {node} && echo fine")
    assert done.stdout == "fine\n", done.stderr
    without = bench.sh(bench.plan(), f"echo x > {node}")
    assert "Permission denied" in without.stderr


def test_dev_is_fresh_and_read_only(bench: Bench) -> None:
    done = bench.sh(bench.plan(), "ls /dev; touch /dev/x; echo y > /dev/null && echo fine")
    assert set(done.stdout.split()) <= {
        *("console", "core", "fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin"),
        *("stdout", "tty", "urandom", "zero", "fine"),
    }
    assert "Read-only" in done.stderr


def test_a_socket_of_the_host_is_out_of_reach_when_sockets_are_allowed(bench: Bench) -> None:
    place = bench.root / "s.sock"
    serve = (
        "import socket,sys; s=socket.socket(1); s.bind(sys.argv[1]); s.listen(); print(1,flush=True); input()"
    )
    call = f"import socket; socket.socket(socket.AF_UNIX).connect('{place}'); print('through')"
    with subprocess.Popen(
        ["/usr/bin/python3", "-c", serve, str(place)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        server.stdout.readline()
        place.chmod(0o777)
        open_door = bench.run(bench.plan(unix_sockets="none"), "/usr/bin/python3", "-c", call)
        closed_door = bench.run(bench.plan(unix_sockets="private"), "/usr/bin/python3", "-c", call)
        server.communicate("\n")
    assert open_door.stdout == "through\n", (
        "the test's own filter lets everything pass: the mask is what closes it"
    )
    assert closed_door.stdout == ""
