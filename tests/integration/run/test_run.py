"""`fleetbox run` as a person uses it: a real sandbox, no root, nothing installed."""

import shlex
import signal
from pathlib import Path

import pytest

from fleetbox.cli import invoke
from tests.conftest import REPO, give_to
from tests.integration.run.conftest import Person
from tests.unit.targets.test_parity import NOT_BUILT

MASKED = "Permission denied"
READ_ONLY = "Read-only file system"


def test_the_workspace_is_writable(person: Person) -> None:
    done = person.inside("echo made > file && cat file")
    assert (done.returncode, done.stdout, done.stderr) == (0, "made\n", "")
    assert (person.workspace / "file").read_text() == "made\n"


@pytest.mark.parametrize("place", ["/etc/fleetbox-was-here", "$HOME/.bashrc", "$HOME/new", "../beside"])
def test_what_is_outside_the_workspace_is_not_writable(person: Person, place: str) -> None:
    bashrc = person.home / ".bashrc"
    bashrc.write_text("mine\n")
    give_to(bashrc, person.uid)
    done = person.inside(f'echo evil >> "{place}"')
    assert done.returncode != 0
    assert READ_ONLY in done.stderr
    assert bashrc.read_text() == "mine\n"


def test_hooks_of_git_are_read_but_not_written(person: Person) -> None:
    person.run("git", "init", "-q")
    done = person.inside("cat .git/HEAD; echo evil > .git/hooks/pre-commit")
    assert done.stdout.startswith("ref: ")
    assert READ_ONLY in done.stderr
    assert not (person.workspace / ".git/hooks/pre-commit").exists()


def test_a_repository_cannot_be_made_where_there_is_none(person: Person) -> None:
    done = person.inside("mkdir -p .git/hooks")
    assert READ_ONLY in done.stderr
    assert list(person.workspace.iterdir()) == []


def test_keys_are_unreadable_and_their_names_too(person: Person) -> None:
    key = person.home / ".ssh" / "id_ed25519"
    key.write_text("secret\n")
    give_to(key, person.uid)
    done = person.inside("cat ~/.ssh/id_ed25519; ls ~/.ssh")
    assert done.stdout == ""
    assert done.stderr.count(MASKED) == 2
    assert person.run("cat", str(key)).stdout == "secret\n", "the control: readable outside"


def test_the_network_is_loopback_only(person: Person) -> None:
    done = person.inside("cat /proc/net/dev /proc/net/route")
    interfaces = {line.split(":")[0].strip() for line in done.stdout.splitlines() if ":" in line}
    assert interfaces == {"lo"}


def test_host_processes_are_invisible(person: Person) -> None:
    done = person.inside("ls /proc | grep -c '^[0-9]'; cat /proc/1/comm")
    count, _ = done.stdout.split()
    assert int(count) < 10
    assert len([entry for entry in Path("/proc").iterdir() if entry.name.isdigit()]) > int(count)


def test_the_environment_is_the_allowed_part_of_ones_own(person: Person) -> None:
    script = ["--", "sh", "-c", "echo $AWS_SECRET_ACCESS_KEY-$CUDA_CACHE"]
    done = person.fleetbox_run(
        "base", *script, environment={"AWS_SECRET_ACCESS_KEY": "secret", "CUDA_CACHE": "passed"}
    )
    assert done.stdout == "-passed\n"


def test_what_decides_about_the_sandbox_is_out_of_its_reach(person: Person) -> None:
    assert person.inside("true").returncode == 0
    cache = person.home / ".cache/fleetbox/tryout"
    (content,) = cache.iterdir()
    done = person.inside(f"cat {content}/launch.plan; echo > {content}/launch.plan; ls {content}")
    assert done.stdout == ""
    assert person.run("test", "-r", str(content / "launch.plan")).returncode == 0, "the control"


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 0", 0), ("exit 7", 7), ("exec /nowhere", 127), ("exec /etc/passwd", 126), ("kill -TERM $$", 143)],
)
def test_exit_codes_pass_through(person: Person, script: str, code: int) -> None:
    assert person.inside(script).returncode == code


@pytest.mark.parametrize(("program", "code"), [("/nowhere", 127), ("/etc/passwd", 126)])
def test_a_command_that_cannot_start_ends_as_in_a_shell(person: Person, program: str, code: int) -> None:
    assert person.fleetbox_run("base", "--", program).returncode == code


def test_a_refusal_of_the_launcher_is_125_with_problem_and_hint(person: Person) -> None:
    done = person.fleetbox_run("base", "--workspace", "/nowhere", "--", "true")
    assert done.returncode == 125
    problem, hint = done.stderr.splitlines()
    assert problem.startswith("fleetbox-run: ")
    assert hint.startswith("  hint: ")


def test_the_command_is_not_run_with_signals_that_python_ignores(person: Person) -> None:
    done = person.inside("grep SigIgn /proc/self/status")
    ignored = int(done.stdout.split()[1], 16)
    assert not [name for name in (signal.SIGPIPE, signal.SIGXFSZ) if ignored >> (name - 1) & 1]


def test_another_workspace_can_be_named(person: Person) -> None:
    other = person.home / "other"
    other.mkdir()
    give_to(other, person.uid)
    done = person.fleetbox_run("base", "--workspace", str(other), "--", "touch", str(other / "file"))
    assert done.returncode == 0, done.stderr
    assert (other / "file").exists()


def test_both_printed_commands_can_be_pasted(person: Person) -> None:
    script = """echo "it's $0 in $(pwd)"; touch ran; exit 7"""
    printed = person.fleetbox_run("base", "--print-launch", "--", "sh", "-c", script, "two words")
    assert printed.returncode == 0, printed.stderr
    assert not (person.workspace / "ran").exists(), "printing runs nothing"
    launcher, bwrap = printed.stdout.splitlines()
    assert Path(shlex.split(launcher)[0]).name == "fleetbox-run"
    assert "bwrap" in bwrap
    for line in (launcher, bwrap):
        done = person.run("sh", "-c", line)
        assert (done.returncode, done.stdout) == (7, f"it's two words in {person.workspace}\n"), done.stderr
        (person.workspace / "ran").unlink()


def test_the_printed_bwrap_command_alone_is_the_same_sandbox(person: Person) -> None:
    script = "echo > /etc/x; echo > ../x; ls ~/.ssh; grep -E 'Seccomp:|NoNewPrivs' /proc/self/status"
    printed = person.fleetbox_run("base", "--print-launch", "--", "sh", "-c", script)
    launched, alone = (person.run("sh", "-c", line) for line in printed.stdout.splitlines())
    assert (alone.stdout, alone.stderr) == (launched.stdout, launched.stderr)
    assert alone.stdout.split() == ["NoNewPrivs:", "1", "Seccomp:", "2"]


def test_explain_says_it_in_words_and_runs_nothing(person: Person) -> None:
    done = person.fleetbox_run("base", "--explain", "--", "touch", "ran")
    assert done.returncode == 0, done.stderr
    assert str(person.workspace) in done.stdout
    assert not (person.workspace / "ran").exists()


def test_an_invalid_policy_ends_with_3_and_nothing_is_run(person: Person) -> None:
    policy = person.policy("mode: workspace-wriet\nfilesystem: {rules: [{path: relative, access: none}]}")
    done = person.fleetbox_run(policy, "--", "touch", "ran")
    assert done.returncode == 3
    assert "policy.yml:4:" in done.stderr
    assert "policy.yml:5:" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (person.workspace / "ran").exists()


@pytest.mark.parametrize("field", NOT_BUILT)
def test_what_is_not_enforced_is_refused_by_name_and_nothing_is_run(person: Person, field: str) -> None:
    body, value = NOT_BUILT[field]
    done = person.fleetbox_run(person.policy(body), "--", "touch", "ran")
    assert done.returncode == 3
    assert f"{field}: {value}" in done.stderr
    assert "hint: " in done.stderr
    assert not (person.workspace / "ran").exists()


def test_a_mistyped_option_and_a_missing_command_are_usage_errors(person: Person) -> None:
    for arguments in (["--workspcae", "/", "--", "true"], [], ["--print-launch", "--explain", "--", "true"]):
        assert person.fleetbox_run("base", *arguments).returncode == 2, arguments


def test_a_read_only_policy_leaves_only_a_private_tmp_writable(person: Person) -> None:
    done = person.inside("touch /tmp/mine && echo tmp; touch file", "read-only")
    assert done.stdout == "tmp\n"
    assert READ_ONLY in done.stderr


def test_a_minimal_root_runs_programs_and_shows_nothing_else(person: Person) -> None:
    secret = person.home / "notes"
    secret.write_text("private\n")
    give_to(secret, person.uid)
    policy = person.policy("filesystem: {root: minimal}")
    done = person.inside("id -u && git --version && touch file && ls / ; cat ~/notes", policy)
    assert done.stdout.startswith(f"{person.uid}\ngit version")
    assert not {"opt", "root", "srv"} & set(done.stdout.split())
    assert "No such file" in done.stderr
    assert (person.workspace / "file").exists()


def test_an_unprotected_repository_takes_commits_but_no_hooks_and_no_settings(person: Person) -> None:
    person.run("git", "init", "-q")
    policy = person.policy("filesystem: {unprotect: [.git]}")
    commit = "git -c user.name=w -c user.email=w@example.com commit -q --allow-empty -m made"
    done = person.inside(
        f"{commit} && git log --format=%s; echo evil >> .git/config; touch .git/hooks/x", policy
    )
    assert done.stdout == "made\n"
    assert done.stderr.count(READ_ONLY) == 2
    assert person.run("git", "log", "--format=%s").stdout == "made\n"


@pytest.mark.parametrize(("nested", "code"), [("false", 1), ("true", 0)])
def test_user_namespaces_can_be_made_only_where_the_policy_lets_them(
    person: Person, nested: str, code: int
) -> None:
    policy = person.policy(f"process: {{nested_sandboxes: {nested}}}")
    done = person.inside("unshare --user --map-root-user true", policy)
    assert done.returncode == code, done.stderr


def test_the_hosts_network_is_there_when_the_policy_says_so(person: Person) -> None:
    done = person.inside("readlink /proc/self/ns/net", person.policy("network: {mode: host}"))
    assert done.stdout == person.run("readlink", "/proc/self/ns/net").stdout


def test_full_access_says_so_each_time(person: Person) -> None:
    done = person.fleetbox_run(person.policy("mode: full-access"), "--", "sh", "-c", "echo > ../new; exit 5")
    assert done.returncode == 5
    assert "no sandbox" in done.stderr
    assert (person.home / "new").exists()


def test_without_a_launcher_it_says_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fleetbox.cli.run._BIN", tmp_path)
    assert invoke(["run", "--policy", str(REPO / "policies/base.yml"), "--", "true"]) == 2
    assert "hint: run: make setup" in capsys.readouterr().err


def test_a_policy_that_the_workload_could_rewrite_is_refused(person: Person) -> None:
    (person.workspace / "policy.yml").write_text(person.policy("").read_text())
    done = person.fleetbox_run(person.workspace / "policy.yml", "--", "touch", "ran")
    assert done.returncode == 2
    assert "policy.yml is writable in this sandbox" in done.stderr
    assert not (person.workspace / "ran").exists()


def test_a_policy_that_extends_one_in_the_workspace_is_refused(person: Person) -> None:
    (person.workspace / "weak.yml").write_text(person.policy("process: {nested_sandboxes: true}").read_text())
    done = person.fleetbox_run(person.policy("extends: [project/weak.yml]"), "--", "true")
    assert done.returncode == 2
    assert "weak.yml is writable in this sandbox" in done.stderr


def test_the_package_itself_is_no_workspace(person: Person) -> None:
    done = person.fleetbox_run(person.policy(""), "--workspace", str(person.clone), "--", "true")
    assert done.returncode == 2
    assert "is writable in this sandbox" in done.stderr


def test_a_read_only_workspace_may_hold_its_policy(person: Person) -> None:
    (person.workspace / "policy.yml").write_text(person.policy("mode: read-only").read_text())
    assert person.fleetbox_run(person.workspace / "policy.yml", "--", "true").returncode == 0
