"""Paths as a policy writes them: parsed once into one spelling, so that everything later compares text.

A path is absolute or begins with a placeholder: `${HOME}` (also `~`, `$HOME`), `${WORKSPACE}`, `${TMPDIR}`.
No symlink is followed here: what a name leads to is known on the host, at launch, and decided there.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

from pydantic_core import PydanticCustomError

HOME = "${HOME}"
WORKSPACE = "${WORKSPACE}"
TMPDIR = "${TMPDIR}"
PLACEHOLDERS = (HOME, WORKSPACE, TMPDIR)
# What `filesystem.tmp` is about.
TMP = ("/tmp", "/var/tmp")  # noqa: S108 - names that a private directory is mounted over

# PATH_MAX less its NUL, and NAME_MAX: longer names exist on no host, and the launcher refuses them.
MAX_PATH = 4095
MAX_NAME = 255
MAX_PATTERN = 31  # the launcher keeps the state of a match in one word

SPELLINGS = {"~": HOME, "$HOME": HOME, "$WORKSPACE": WORKSPACE, "$TMPDIR": TMPDIR}
_HOMES = re.compile(r"/(?:home|Users)(?:/[^/]+)?|/root|/var/root|/private/var/root")
# Writable, each of these hands over the machine's programs, settings or kernel interfaces at once.
_SYSTEM = frozenset(
    f"/{name}"
    for names in (
        ("bin", "boot", "etc", "lib", "lib32", "lib64", "run", "sbin", "sys", "usr", "var"),
        ("Applications", "Library", "System", "private", "private/etc", "private/var"),
    )
    for name in names
)


def fail(problem: str, hint: str, *, at: str = "") -> PydanticCustomError:
    """A mistake in a value for pydantic to place; `at` names the field of the model that is meant."""
    return PydanticCustomError("fleetbox", "{problem}", {"problem": problem, "hint": hint, "at": at})


def parse(text: str) -> str:
    """The one spelling of a rule's path: placeholder or `/` first, no `.`, no `//`, no trailing slash."""
    check_characters(text)
    first, _, rest = text.partition("/")
    if first in SPELLINGS or first in PLACEHOLDERS:
        base = SPELLINGS.get(first, first)
    elif first.startswith("$"):
        raise fail("not a known variable", "use ~, $WORKSPACE or $TMPDIR; everything else is absolute")
    elif first.startswith("~"):
        raise fail("another user's home", "write the absolute path; ~ is the home of who launches")
    elif first:
        raise fail("a relative path", f"write $WORKSPACE/{text} or an absolute path")
    else:
        base = ""
    names = [name for name in rest.split("/") if name not in ("", ".")]
    check_names(names)
    return "/".join([base, *names]) or "/"


def check_characters(text: str) -> None:
    if not text:
        raise fail("an empty path", "write an absolute path, or one below ~, $WORKSPACE or $TMPDIR")
    if not text.isprintable():
        raise fail("a path with an unprintable character", "remove it")
    if len(text.encode()) > MAX_PATH:
        raise fail("too long a path", f"a path has at most {MAX_PATH} bytes")


def check_names(names: Iterable[str]) -> None:
    for name in names:
        if name == "..":
            raise fail("a path with ..", "write the path without it: what it leads to depends on symlinks")
        if name.startswith("$"):
            raise fail("a variable inside a path", "~, $WORKSPACE and $TMPDIR stand at the beginning only")
        if len(name.encode()) > MAX_NAME:
            raise fail("too long a name in a path", f"a file name has at most {MAX_NAME} bytes")


def relative_name(text: str) -> str:
    """A protected name: relative to a writable root, such as `.git` or `.vscode/settings.json`."""
    check_characters(text)
    if text.startswith(("/", "~", "$")):
        raise fail("not a relative name", "a protected name is looked for below every writable root: .git")
    if is_glob(text):
        raise fail("a pattern", "name each file or directory; patterns are for rules")
    names = [name for name in text.split("/") if name not in ("", ".")]
    check_names(names)
    if not names:
        raise fail("an empty name", "write a name such as .git")
    return "/".join(names)


def is_glob(path: str) -> bool:
    return "*" in path or "?" in path


def split_glob(path: str) -> tuple[str, str]:
    """The directory where the search starts, and the pattern relative to it."""
    names = path.split("/")
    first = next(i for i, name in enumerate(names) if is_glob(name))
    return "/".join(names[:first]) or "/", "/".join(names[first:])


def check_glob(path: str) -> None:
    base, pattern = split_glob(path)
    names = pattern.split("/")
    if base == "/":
        raise fail("a pattern without a fixed beginning", "begin with a directory: $WORKSPACE/**/*.env")
    if any("**" in name and name != "**" for name in names):
        raise fail("** beside other characters", "** stands alone between slashes: $WORKSPACE/**/*.env")
    if names[-1] == "**":
        raise fail("a pattern that ends in **", "leave out /**: a rule covers everything below its path")
    if len(names) > MAX_PATTERN:
        raise fail("too deep a pattern", f"a pattern has at most {MAX_PATTERN} names after its fixed part")
    if any(c in pattern for c in "[]{}"):
        raise fail("a pattern with brackets", "only *, ? and ** mean something; write one rule for each")


@lru_cache(maxsize=4096)
def glob_regex(pattern: str) -> re.Pattern[str]:
    """What a pattern matches, for a path relative to its base. `*` and `?` match a leading dot too."""
    parts = []
    for name in pattern.split("/"):
        if name == "**":
            parts.append("(?:[^/]+/)*")
        else:
            parts.append("".join({"*": "[^/]*", "?": "[^/]"}.get(c, re.escape(c)) for c in name) + "/")
    return re.compile("".join(parts).removesuffix("/"))


def is_home(path: str) -> bool:
    """Whether a path is a home directory, or holds one, by its spelling."""
    return path == HOME or _HOMES.fullmatch(path) is not None


def is_system(path: str) -> bool:
    return path in _SYSTEM


def is_below(path: str, parent: str) -> bool:
    """Whether `path` is `parent` or something in it, by their spelling."""
    return parent in (path, "/") or path.startswith(parent + "/")
