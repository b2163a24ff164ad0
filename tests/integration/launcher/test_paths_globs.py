"""What a pattern denies: whatever its name is made of, and while another process moves it about."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import give_to
from tests.integration.launcher.conftest import Bench

DIRECTORIES = 300
LAUNCHES = 25
MOVE = """
import os, sys, time
pause, last, what = float(sys.argv[1]), sys.argv[2], sys.argv[3]
while True:
    for source, target in ((last, "d000"), ("d000", last)):
        os.rename(f"{source}/{what}", f"{target}/{what}")
        time.sleep(pause)
"""
READ = """
for i in 1 2 3 4 5 6 7 8 9 10; do cat */in/x.env */*/in/x.env; done 2>/dev/null
echo done
"""


@pytest.mark.parametrize("whole", [False, True], ids=["the file", "its directory"])
@pytest.mark.parametrize("pause", [0.0005, 0.003, 0.02])
def test_a_match_that_another_process_moves_is_denied_or_nothing_runs(
    bench: Bench, pause: float, whole: bool
) -> None:
    for i in range(DIRECTORIES):
        bench.make(f"home/ws/d{i:03}")
        if not whole:
            bench.make(f"home/ws/d{i:03}/in")
    bench.make(f"home/ws/d{DIRECTORIES - 1}/in/x.env", "secret")
    plan = bench.plan(("glob", "${WORKSPACE}", "**/*.env"))
    words = ["/usr/bin/python3", "-c", MOVE, str(pause), f"d{DIRECTORIES - 1}", "in" if whole else "in/x.env"]
    settings = {"user": bench.uid, "group": bench.uid, "extra_groups": []} if os.geteuid() == 0 else {}
    with subprocess.Popen(words, cwd=bench.workspace, **settings) as mover:
        try:
            done = [bench.sh(plan, READ) for _ in range(LAUNCHES)]
        finally:
            mover.kill()
    assert [run.stdout for run in done if "secret" in run.stdout] == []
    assert "done\n" in {run.stdout for run in done}, "a run in which all were refused shows nothing"
    refused = {run.stderr.splitlines()[0] for run in done if run.returncode == 125}
    assert all("changed" in line or "another" in line or "protected" in line for line in refused), refused


@pytest.mark.parametrize(
    "name", [b"a\nb.env", b"\xff\xfe.env", b"x" * 251 + b".env", b"-rf $(x)`y`.env", b"\x1b[31m.env"]
)
def test_a_name_of_any_bytes_is_denied(bench: Bench, name: bytes) -> None:
    path = Path(os.fsdecode(os.fsencode(bench.workspace) + b"/" + name))
    path.write_text("secret")
    give_to(path, bench.uid)
    script = 'for f in ./*; do cat "$f"; chmod 644 "$f"; rm -f "$f"; done; ls | wc -l'
    assert "secret" in bench.sh(bench.plan(), "cat ./*").stdout
    done = bench.sh(bench.plan(("glob", "${WORKSPACE}", "*.env")), script)
    assert "secret" not in done.stdout
    assert path.read_text() == "secret"


def test_a_match_that_appears_later_is_the_limit_that_parity_names(bench: Bench) -> None:
    done = bench.sh(bench.plan(("glob", "${WORKSPACE}", "**/*.env")), "echo mine > x.env; cat x.env")
    assert done.stdout == "mine\n"
