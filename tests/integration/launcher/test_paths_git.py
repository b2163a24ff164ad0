"""What the user's next git outside would execute cannot be written inside: real repositories, real git."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import REPO
from tests.integration.launcher.conftest import Bench
from tests.support.plans import Op

GIT: list[Op] = [("protect", ".git"), ("protect", ".claude")]
PARTS: list[Op] = [("protect-part", ".git", part) for part in ("config", "hooks", "modules", "worktrees")]
# A repository of the workload's own making, in the place of a .git: git runs its fsmonitor on `git status`.
PLANT = """
plant() {
    rm -rf "$1/.git"; git init -q "$1"
    git -C "$1" -c user.name=w -c user.email=w@x commit -q --allow-empty -m x
    printf '#!/bin/sh\\ntouch %s\\n' "$PWD/pwned" > "$PWD/evil"; chmod +x "$PWD/evil"
    git -C "$1" config core.fsmonitor "$PWD/evil"
}
"""


def git(bench: Bench, *words: str, cwd: Path | None = None) -> str:
    """Git as the user, outside."""
    config = {
        "protocol.file.allow": "always",
        "user.name": "t",
        "user.email": "t@example.org",
        "init.defaultBranch": "main",
    }
    env = {"GIT_CONFIG_COUNT": str(len(config))}
    for i, (key, value) in enumerate(config.items()):
        env |= {f"GIT_CONFIG_KEY_{i}": key, f"GIT_CONFIG_VALUE_{i}": value}
    done = bench.run_as(["git", *words], cwd=cwd or bench.workspace, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def repository(bench: Bench, path: str, *options: str) -> Path:
    place = bench.make(path) if not (bench.root / path).exists() else bench.root / path
    git(bench, "init", "-q", *options, cwd=place)
    (bench.make(f"{path}/file", "x")) if "--bare" not in options else None
    if "--bare" not in options:
        git(bench, "add", "file", cwd=place)
        git(bench, "commit", "-q", "-m", "first", cwd=place)
    return place


def submodule(bench: Bench, path: str = "sub", *options: str) -> None:
    """The workspace as a repository with a submodule."""
    repository(bench, "home/library", *options)
    repository(bench, "home/ws", *options)
    git(bench, "submodule", "-q", "add", "../library", path)
    git(bench, "commit", "-q", "-m", "with a submodule")


def pwned(bench: Bench) -> bool:
    return (bench.workspace / "pwned").exists()


@pytest.mark.parametrize("place", ["sub", "a/sub", "a/b/sub", "a/b/c/sub"])
def test_a_nested_repository_keeps_its_hooks_and_settings(bench: Bench, place: str) -> None:
    nested = repository(bench, f"home/ws/{place}")
    script = f"""
    cd {place}; echo evil >> .git/config; echo evil > .git/hooks/pre-commit; mkdir .git/commondir
    rm -rf .git; mv .git gone; echo fine > file; git status --short
    """
    done = bench.sh(bench.plan(*GIT), script)
    assert done.stdout == " M file\n", done.stderr
    assert "evil" not in (nested / ".git/config").read_text()
    assert not (nested / ".git/hooks/pre-commit").exists()
    moved = bench.sh(bench.plan(*GIT), f"mv {place.split('/', maxsplit=1)[0]} elsewhere")
    assert "busy" in moved.stderr


def test_a_nested_repository_is_writable_where_nothing_is_protected(bench: Bench) -> None:
    nested = repository(bench, "home/ws/sub")
    bench.sh(bench.plan(), "echo evil >> sub/.git/config")
    assert "evil" in (nested / ".git/config").read_text()


def test_a_repository_below_the_bounded_search_is_the_limit_that_parity_names(bench: Bench) -> None:
    nested = repository(bench, "home/ws/a/b/c/d/sub")
    bench.sh(bench.plan(*GIT), "echo evil >> a/b/c/d/sub/.git/config")
    assert "evil" in (nested / ".git/config").read_text()


def test_a_heap_of_directories_does_not_hide_what_lies_above_it(bench: Bench) -> None:
    repository(bench, "home/ws/zz")
    repository(bench, "home/ws/d/zz")
    bench.sh(bench.plan(*GIT), "mkdir -p d/$(seq -s ' d/' 600) $(seq -s ' ' 200)")
    done = bench.sh(bench.plan(*GIT), "echo evil >> zz/.git/config; echo evil >> d/zz/.git/config")
    assert done.stderr.count("Read-only") == 2


def test_settings_of_agents_in_a_nested_repository_are_protected_where_they_exist(bench: Bench) -> None:
    repository(bench, "home/ws/sub")
    bench.make("home/ws/sub/.claude/settings.json", "{}")
    done = bench.sh(bench.plan(*GIT), "echo evil > sub/.claude/settings.json; touch sub/.codex && echo fine")
    assert done.stdout == "fine\n"
    assert "Read-only" in done.stderr


def test_an_unprotected_nested_repository_takes_commits_and_keeps_its_parts(bench: Bench) -> None:
    nested = repository(bench, "home/ws/sub")
    commit = "git -c user.name=w -c user.email=w@x commit -q --allow-empty -m inside"
    done = bench.sh(
        bench.plan(*PARTS), f"cd sub; {commit} && echo fine; echo evil >> .git/config; rm -rf .git/hooks"
    )
    assert done.stdout == "fine\n", done.stderr
    assert "evil" not in (nested / ".git/config").read_text()
    assert (nested / ".git/hooks").is_dir()


def test_a_denied_directory_is_not_opened_by_the_repository_in_it(bench: Bench) -> None:
    repository(bench, "home/ws/private/sub")
    (bench.workspace / "private/.claude").mkdir()
    plan = bench.plan(("rule", "none", "${WORKSPACE}/private"), *GIT, ("protect", "private/.claude"))
    done = bench.sh(plan, "cat private/sub/.git/config; ls private private/.claude")
    assert done.stdout == ""
    assert done.stderr.count("Permission denied") == 3


def test_a_clone_made_in_one_sandbox_is_no_reason_to_refuse_the_next(bench: Bench) -> None:
    with bench.start(bench.plan(*GIT), "sleep 60", before="git init -q clone") as first:
        done = bench.sh(bench.plan(*GIT), "echo evil >> clone/.git/config")
        assert (done.returncode != 125, "Read-only" in done.stderr) == (True, True), done.stderr
        first.kill()


def test_worktrees_are_protected_from_both_sides(bench: Bench) -> None:
    repository(bench, "home/ws")
    git(bench, "worktree", "add", "-q", "wt")
    inside = bench.sh(
        bench.plan(*GIT), "echo evil > wt/.git; echo evil > .git/worktrees/wt/gitdir; rm -f wt/.git"
    )
    assert inside.stderr.count("Read-only") + inside.stderr.count("busy") == 3, inside.stderr
    plan = bench.plan(*GIT, ("rule", "write", str(bench.workspace)))
    script = f"echo evil > .git; cd {bench.workspace}/.git; echo evil >> config; touch hooks/x worktrees/wt/x"
    done = bench.sh(plan, script, cwd=bench.workspace / "wt")
    assert done.stderr.count("Read-only") == 4, done.stderr
    assert git(bench, "status", "--short", cwd=bench.workspace / "wt") == ""


@pytest.mark.parametrize("options", [(), ("--object-format=sha256",)], ids=["sha1", "sha256"])
@pytest.mark.parametrize("version", ["2", "4"])
@pytest.mark.parametrize("there", [True, False], ids=["checked out", "not checked out"])
@pytest.mark.parametrize("path", ["sub", "one/two/three/four/five/sub"])
def test_git_status_outside_runs_nothing_from_a_replaced_submodule(
    bench: Bench, path: str, there: bool, version: str, options: tuple[str, ...]
) -> None:
    submodule(bench, path, *options)
    git(bench, "update-index", "--index-version", version)
    if not there:
        git(bench, "submodule", "-q", "deinit", "-f", path)
    attack = f"{PLANT} plant {path}"
    bench.sh(bench.plan(*GIT), attack)
    git(bench, "status", "--short")
    assert not pwned(bench)
    bench.sh(bench.plan(), attack)  # the attack works where nothing is protected
    git(bench, "status", "--short")
    assert pwned(bench)


@pytest.mark.parametrize(
    "text", ["DIRC", "DIRC" + "\0" * 8, "DIRC\0\0\0\4\0\0\0\x09" + "\x7f" * 99, "x" * 300]
)
def test_a_damaged_index_is_no_index(bench: Bench, text: str) -> None:
    repository(bench, "home/ws")
    (bench.workspace / ".git/index").write_text(text)
    assert bench.run(bench.plan(*PARTS), "true").returncode == 0


SETTING = '[user]\n\tname = t\n[Core]\n  HooksPath = "{}" ; of the team\n'


@pytest.mark.parametrize("where", ["repository", "worktree", "user", "xdg"])
@pytest.mark.parametrize(
    ("value", "hook"), [(".githooks", ".githooks/pre-commit"), (".husky/_", ".husky/pre-commit")]
)
def test_the_directory_that_git_takes_hooks_from_is_read_only(
    bench: Bench, where: str, value: str, hook: str
) -> None:
    repository(bench, "home/ws")
    bench.make(f"home/ws/{hook}", "#!/bin/sh\n").chmod(0o755)
    bench.make(f"home/ws/{value}/x", "")
    if where == "repository":
        git(bench, "config", "core.hooksPath", value)
    elif where == "worktree":
        git(bench, "config", "extensions.worktreeConfig", "true")
        git(bench, "config", "--worktree", "core.hooksPath", value)
    else:
        bench.make({"user": "home/.gitconfig", "xdg": "xdg/git/config"}[where], SETTING.format(value))
    script = f"echo 'touch pwned' >> {hook}; rm -rf .husky .githooks; echo x > file"
    done = bench.run(bench.plan(*GIT), "sh", "-c", script, env={"XDG_CONFIG_HOME": f"{bench.root}/xdg"})
    assert "Read-only" in done.stderr
    git(bench, "commit", "-q", "-a", "-m", "second")
    assert not pwned(bench)


def test_so_is_the_one_that_the_machines_settings_name(bench: Bench) -> None:
    repository(bench, "home/ws")
    hook = bench.make("home/ws/.githooks/pre-commit", "#!/bin/sh\n")
    settings = bench.make("settings", SETTING.format(".githooks"))
    copy = f"{bench.root}/etc"
    prepare = f"cp -a /etc {copy}; mount --bind {copy} /etc; cp {settings} /etc/gitconfig"
    done = bench.sh_after(prepare, bench.plan(*GIT), "echo 'touch pwned' >> .githooks/pre-commit")
    assert "Read-only" in done.stderr, done
    assert hook.read_text() == "#!/bin/sh\n"


@pytest.mark.parametrize("value", [".", "..", "not-there", "/nowhere", ""])
def test_an_odd_directory_for_hooks_keeps_nobody_from_working(bench: Bench, value: str) -> None:
    repository(bench, "home/ws")
    git(bench, "config", "core.hooksPath", value)
    done = bench.sh(
        bench.plan(*GIT), "echo x > new && echo fine; [ -e not-there ] && touch not-there/x || true"
    )
    assert done.stdout == "fine\n"
    assert "not-there" not in [path.name for path in bench.workspace.iterdir()]


def test_a_workspace_that_is_a_bare_repository_keeps_hooks_and_settings(bench: Bench) -> None:
    repository(bench, "home/ws", "--bare")
    done = bench.sh(
        bench.plan(*GIT), "echo evil >> config; echo evil > hooks/post-update; echo x > description"
    )
    assert done.stderr.count("Read-only") == 2
    assert (bench.workspace / "description").read_text() == "x\n"


@pytest.mark.parametrize("plan", [GIT, PARTS], ids=["protected", "unprotected"])
def test_a_planted_commondir_is_a_refusal(bench: Bench, plan: list[Op]) -> None:
    repository(bench, "home/ws")
    bench.make("home/ws/elsewhere/config", "[core]\n")
    (bench.workspace / ".git/commondir").write_text("../elsewhere\n")
    done = bench.run(bench.plan(*plan), "true")
    assert done.returncode == 125
    assert f"{bench.workspace}/.git/commondir leads git to other hooks and settings" in done.stderr


def test_a_commondir_in_an_unprotected_repository_is_the_limit_that_parity_names(bench: Bench) -> None:
    repository(bench, "home/ws")
    done = bench.sh(bench.plan(*PARTS), "echo ../elsewhere > .git/commondir && echo written")
    assert done.stdout == "written\n", done.stderr
    assert "commondir leads git to other hooks" in bench.run(bench.plan(*PARTS), "true").stderr


def test_a_link_in_the_place_of_a_nested_repository_is_left_alone(bench: Bench) -> None:
    repository(bench, "home/elsewhere")
    bench.make("home/ws/sub")
    (bench.workspace / "sub/.git").symlink_to(bench.home / "elsewhere/.git")
    done: subprocess.CompletedProcess[str] = bench.sh(bench.plan(*GIT), "echo evil >> sub/.git/config")
    assert "Read-only" in done.stderr, "where it leads to is outside of what can be written"


@contextmanager
def long_names(place: Path, length: int) -> Iterator[None]:
    words = [sys.executable, "-m", "tests.support.long_names", str(place), str(length)]
    with subprocess.Popen(words, cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        try:
            assert server.stdout is not None
            if server.stdout.readline() != b"mounted\n":
                pytest.skip("needs FUSE, and root to mount it")
            yield
        finally:
            subprocess.run(["umount", "--lazy", place], check=False, capture_output=True)
            server.kill()


@pytest.mark.parametrize("length", [256, 261, 1000])
def test_a_name_longer_than_the_kernels_usual_ones_does_no_harm(bench: Bench, length: int) -> None:
    """vfat and NTFS have names of up to 765 bytes, FUSE of 1,024 and more."""
    place = bench.make("home/ws/stick")
    with long_names(place, length):
        assert len(os.listdir(place)[0]) == length
        done = bench.sh(bench.plan(*GIT), "echo fine")
    assert (done.returncode, done.stdout) == (0, "fine\n"), done
