"""Names that decide what runs later: hooks, settings, what a launch or a git outside will read."""

from __future__ import annotations

from tests.escape.arena.attempt import Attempt
from tests.escape.arena.oracle import changed, exists
from tests.escape.arena.world import World

NAMES = "protected names"
LESS = frozenset({"protect"})
HOOK = "ws/.git/hooks/pre-commit"


def _repository(world: World) -> None:
    world.victim("ws/.git/config", "config")
    world.make("ws/.git/hooks")
    world.file("ws/.git/HEAD", "ref: refs/heads/main\n")


def _worktree(world: World) -> None:
    """A worktree: .git is a file, the repository lies elsewhere in the workspace."""
    world.victim("ws/main.git/worktrees/ws/config.worktree", "config")
    world.victim("ws/.git", "pointer").write_text("gitdir: main.git/worktrees/ws\n")
    world.victims[str(world.at("ws/.git"))] = "gitdir: main.git/worktrees/ws\n"
    world.file("ws/main.git/worktrees/ws/commondir", "../..\n")
    world.make("ws/main.git/hooks")


def _submodule(world: World) -> None:
    _repository(world)
    world.file("ws/sub/.git", "gitdir: ../.git/modules/sub\n")
    world.victim("ws/.git/modules/sub/config", "config")
    world.make("ws/.git/modules/sub/hooks")


def _nested(world: World) -> None:
    _repository(world)
    world.make("ws/sub/.git/hooks")
    world.file("ws/sub/.git/HEAD", "ref: refs/heads/main\n")


def _hooks_directory(world: World) -> None:
    """As husky and pre-commit set it up: git runs what lies in a directory of the workspace."""
    _repository(world)
    world.file("ws/.git/config", "[core]\n\thooksPath = .husky\n")
    del world.victims[str(world.at("ws/.git/config"))]
    world.make("ws/.husky")


def _unborn(world: World) -> None:
    """A workspace that is no repository; the git outside asks each directory whether it is a bare one."""
    world.file("ws/README", "text\n")


def _guarded(world: World) -> None:
    """A rule below the workspace whose parents a workload could move away."""
    world.secret("ws/a/b/token")
    world.mask("ws/a/b")


ATTEMPTS = (
    Attempt(
        "plant-a-git-hook",
        "write .git/hooks/pre-commit",
        NAMES,
        LESS,
        'write(workspace + "/.git/hooks/pre-commit", "#!/bin/sh\\nevil\\n")',
        _repository,
        exists(HOOK),
    ),
    Attempt(
        "change-the-git-config",
        "core.fsmonitor in .git/config",
        NAMES,
        LESS,
        'write(config, "[core]\\n\\tfsmonitor = evil\\n")',
        _repository,
        changed,
    ),
    Attempt(
        "move-the-repository-away",
        "rename .git, make another with a hook",
        NAMES,
        LESS,
        """
os.rename(workspace + "/.git", workspace + "/old")
os.makedirs(workspace + "/.git/hooks"); write(workspace + "/.git/hooks/pre-commit")
""",
        _repository,
        exists(HOOK),
    ),
    Attempt(
        "exchange-the-repository",
        "renameat2 with RENAME_EXCHANGE",
        NAMES,
        LESS,
        """
os.makedirs(workspace + "/new/hooks"); write(workspace + "/new/hooks/pre-commit")
call("renameat2", -100, (workspace + "/new").encode(), -100, (workspace + "/.git").encode(), 2)
""",
        _repository,
        exists(HOOK),
    ),
    Attempt(
        "hardlink-the-git-config",
        "a second name for .git/config, then write that",
        NAMES,
        LESS,
        'os.link(config, workspace + "/same"); write(workspace + "/same")',
        _repository,
        changed,
    ),
    Attempt(
        "reopen-the-git-config",
        "O_PATH and /proc/self/fd",
        NAMES,
        LESS,
        'fd = os.open(config, os.O_PATH); write(f"/proc/self/fd/{fd}")',
        _repository,
        changed,
    ),
    Attempt(
        "hook-of-a-worktrees-repository",
        "the repository that a .git file leads to, in the same workspace",
        NAMES,
        LESS | {"launcher"},
        """
attempt(write, workspace + "/main.git/hooks/pre-commit")
attempt(write, config)
""",
        _worktree,
        lambda world: changed(world) or exists("ws/main.git/hooks/pre-commit")(world),
    ),
    Attempt(
        "replace-the-git-file",
        "a .git file by a directory with hooks",
        NAMES,
        LESS,
        """
os.unlink(pointer); os.makedirs(workspace + "/.git/hooks"); write(workspace + "/.git/hooks/pre-commit")
""",
        _worktree,
        changed,
    ),
    Attempt(
        "hook-of-a-submodule",
        "settings below .git/modules, which the submodule's git obeys",
        NAMES,
        LESS,
        'attempt(write, workspace + "/.git/modules/sub/hooks/post-checkout"); write(config)',
        _submodule,
        changed,
    ),
    Attempt(
        "hook-of-a-nested-repository",
        "a repository deeper in the workspace",
        NAMES,
        LESS,
        'write(workspace + "/sub/.git/hooks/pre-commit")',
        _nested,
        exists("ws/sub/.git/hooks/pre-commit"),
    ),
    Attempt(
        "hook-in-a-configured-directory",
        "core.hooksPath leads into the workspace",
        NAMES,
        LESS,
        'write(workspace + "/.husky/pre-commit", "#!/bin/sh\\nevil\\n")',
        _hooks_directory,
        exists("ws/.husky/pre-commit"),
    ),
    Attempt(
        "settings-through-commondir",
        "a .git/commondir that sends git to a directory of the workspace",
        NAMES,
        LESS,
        """
os.mkdir(workspace + "/common"); write(workspace + "/common/config", "[core]\\n\\tfsmonitor = evil\\n")
write(workspace + "/.git/commondir", "../common")
""",
        _repository,
        exists("ws/.git/commondir"),
    ),
    Attempt(
        "plant-a-bare-repository",
        "HEAD, config, objects and refs in a workspace that is no repository",
        NAMES,
        LESS,
        """
for name in ("objects", "refs"):
    os.mkdir(workspace + "/" + name)
write(workspace + "/HEAD", "ref: refs/heads/main\\n")
write(workspace + "/config", "[core]\\n\\tbare = true\\n\\tfsmonitor = evil\\n")
""",
        _unborn,
        lambda world: all(exists(f"ws/{name}")(world) for name in ("HEAD", "config", "objects", "refs")),
        limit="a bare repository made in a workspace that is none is the workload's to write",
    ),
    Attempt(
        "make-a-missing-name",
        "settings for the next agent in a .codex that is not there yet",
        NAMES,
        LESS,
        'os.makedirs(workspace + "/.codex", exist_ok=True); write(workspace + "/.codex/config.toml")',
        _repository,
        exists("ws/.codex/config.toml"),
    ),
    Attempt(
        "make-a-missing-name-by-rename",
        "a directory that is moved to .claude",
        NAMES,
        LESS,
        """
os.mkdir(workspace + "/x"); write(workspace + "/x/settings.json")
os.rename(workspace + "/x", workspace + "/.claude")
""",
        _repository,
        exists("ws/.claude/settings.json"),
    ),
    Attempt(
        "link-a-missing-name",
        "a symbolic link named .agents",
        NAMES,
        LESS,
        'os.mkdir(workspace + "/x"); os.symlink("x", workspace + "/.agents")',
        _repository,
        lambda world: (world.workspace / ".agents").is_symlink(),
    ),
    Attempt(
        "move-a-denied-directorys-parent",
        "so that the next launch does not find what it must deny",
        "pinned parents",
        frozenset({"launcher"}),
        'os.rename(workspace + "/a", workspace + "/z")',
        _guarded,
        exists("ws/z"),
        policy="denied-below",
    ),
)
