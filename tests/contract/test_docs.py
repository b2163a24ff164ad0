"""Links of the documentation lead somewhere, and the files that its prose names are there."""

import re
import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
PAGES = sorted(
    REPO / name
    for name in subprocess.run(
        ["git", "ls-files", "-z", "*.md"], cwd=REPO, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    if name and name != "tests/escape/report-head.md"  # the head of a page in docs
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
# A path of the repository in prose or in a table; what a page shows as an example stands below a code fence.
NAMED = re.compile(r"(?<![\w./~$-])((?:bench|docs|fleetbox|launcher|policies|roles|tests)/[\w./-]*\w)")
API_VERSION = "fleetbox/v1"
FENCED = re.compile(r"^```.*?^```", re.M | re.S)


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def leads_somewhere(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    to = (page.parent / path).resolve() if path else page
    return to.exists() and (not anchor or anchor in anchors(to))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPO)))
def test_every_link_leads_somewhere(page: Path) -> None:
    links = [link for link in LINK.findall(page.read_text()) if "://" not in link]
    assert [link for link in links if not leads_somewhere(page, link)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPO)))
def test_every_file_that_is_named_is_there(page: Path) -> None:
    named = NAMED.findall(FENCED.sub("", page.read_text()))
    assert [name for name in named if name != API_VERSION and not list(REPO.glob(f"{name}*"))] == []
