"""What somebody tries who has the key of an account: each attack says whether it succeeded.

Commands print a word that they do not contain, so that a refusal which repeats them is not taken for success.
"""

import json
import subprocess
import time
from collections.abc import Callable

from fleetbox.hostside import payload, ustar
from tests.integration.push.guarded import PREFIX, PROGRAM, Guarded

SAY = "echo own''ed"
STATUS = f"{PREFIX} {PROGRAM} status"


def _says(command: str, *options: str) -> Callable[[Guarded, str], bool]:
    def attack(host: Guarded, account: str) -> bool:
        done = host.ssh(account, command, *options)
        return b"owned" in done.stdout + done.stderr or b"uid=" in done.stdout

    return attack


def _install(host: Guarded, account: str) -> bool:
    """The genuine program with one module more, which will run as root at the next import."""
    archive = ustar.write([*payload.files().items(), ("fleetbox/hostside/smuggled.py", b"print()\n")])
    host.ssh(account, f"{PREFIX} {PROGRAM} install", data=archive)
    return host.sh("find /usr/local/lib/fleetbox -name smuggled.py -delete -print") != ""


def _no_smoke(host: Guarded, account: str) -> bool:
    """A generation that no check has seen."""
    done = host.ssh(account, f"{PREFIX} {PROGRAM} rollback --no-smoke")
    return b"not_allowed" not in done.stdout and done.returncode in (0, 5)


def _copy(*words: str) -> Callable[[Guarded, str], bool]:
    def attack(host: Guarded, account: str) -> bool:
        argv = [*host.argv("scp"), *words, "/etc/hostname", f"{account}@{host.name}:/tmp/planted"]
        subprocess.run(argv, capture_output=True, check=False, timeout=30)
        return host.sh("find /tmp -maxdepth 1 -name planted -delete -print") != ""

    return attack


def _sftp(host: Guarded, account: str) -> bool:
    done = subprocess.run(
        host.argv("sftp", "-b", "-", f"{account}@{host.name}"),
        input=b"ls /etc/passwd\n",
        capture_output=True,
        check=False,
        timeout=30,
    )
    return b"/etc/passwd" in done.stdout.replace(b"sftp> ls /etc/passwd", b"")


def _local_forward(host: Guarded, account: str) -> bool:
    """-W asks for the very channel that -L and -D open for each connection."""
    done = host.ssh(account, "", "-W", "127.0.0.1:22", timeout=30)
    return done.stdout.startswith(b"SSH-2.0")


def _remote_forward(*words: str) -> Callable[[Guarded, str], bool]:
    def attack(host: Guarded, account: str) -> bool:
        options = ("-N", "-v", "-o", "ExitOnForwardFailure=yes", *words)
        with subprocess.Popen(
            host.argv("ssh", *options, "-l", account, host.name),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                assert process.stderr is not None
                for line in process.stderr:
                    if "remote forward success" in line or "Allocated port" in line:
                        return True
                    if "remote port forwarding failed" in line or "Permission denied" in line:
                        return False
                return False
            finally:
                process.kill()
                host.sh("rm -f /tmp/planted.sock")

    return attack


def _terminal(host: Guarded, account: str) -> bool:
    done = host.ssh(account, STATUS, "-tt")
    assert b"ermission denied (" not in done.stderr
    return b"PTY allocation request failed" not in done.stderr


def _x11(host: Guarded, account: str) -> bool:
    done = host.ssh(account, STATUS, "-X")
    return b"X11 forwarding request failed" not in done.stderr


def _agent(host: Guarded, account: str) -> bool:
    """While a command waits for its input, the host shows whether an agent's socket was made before it."""
    argv = host.argv("ssh", "-A", "-l", account, host.name, f"{PREFIX} {PROGRAM} probe")
    with_agent = 'eval "$(ssh-agent)" >/dev/null; trap "kill $SSH_AGENT_PID" EXIT; "$@"'
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(["sh", "-c", with_agent, "sh", *argv], **pipes) as process:  # type: ignore[call-overload]
        try:
            while process.poll() is None:
                if host.sh("grep -lsa 'lib/f[l]eetbox' /proc/[0-9]*/cmdline || :"):
                    return host.sh("find /tmp -name 'agent.*' -type s") != ""
                time.sleep(0.05)
            return False
        finally:
            process.communicate(b"{}", timeout=60)


def _variables(host: Guarded, account: str) -> bool:
    """sshd's own variable, sent by the client: the one that is asked for must win."""
    done = host.ssh(account, f"{SAY}", "-o", f'SetEnv="SSH_ORIGINAL_COMMAND={PROGRAM} status"')
    return b"owned" in done.stdout or b'"generations"' in done.stdout


def _login_script(host: Guarded, account: str) -> bool:
    """A file that sshd runs at each login, should it ever come to be there."""
    home = host.sh(f"getent passwd {account} | cut -d: -f6").strip()
    host.sh(f"printf 'touch /tmp/planted\\n' > {home}/.ssh/rc; chmod 0755 {home}/.ssh/rc")
    host.ssh(account, STATUS)
    host.sh(f"rm {home}/.ssh/rc")
    return host.sh("find /tmp -maxdepth 1 -name planted -delete -print") != ""


# name: attack
LOGINS: dict[str, Callable[[Guarded, str], bool]] = {
    "id": _says("id"),
    "sh -c": _says("sh -c id"),
    "semicolon": _says(f"{STATUS}; {SAY}"),
    "and": _says(f"{STATUS} && {SAY}"),
    "or": _says(f"{STATUS} nope || {SAY}"),
    "background": _says(f"{STATUS} & {SAY}"),
    "pipe": _says(f"{STATUS} | sed s/.*/own''ed/"),
    "newline": _says(f"{STATUS}\n{SAY}"),
    "newline first": _says(f"\n{SAY}\n{STATUS}"),
    "substitution": _says(f"{STATUS} $({SAY} >&2)"),
    "backticks": _says(f"{STATUS} `{SAY} >&2`"),
    "quotes": _says("'echo' \"own\"'ed'"),
    "escapes": _says("\\e\\c\\h\\o own\\ed"),
    "unicode": _says(f"{SAY} \u00e9\u202e\u2028\u00a0"),
    "comment": _says(f"{SAY} # {STATUS}"),
    "redirection": _says(f"{STATUS} >/dev/null; {SAY}"),
    "variable": _says(f"SSH_ORIGINAL_COMMAND='{PROGRAM} status' {SAY}"),
    "very long": _says(f"{SAY} #{'x' * 100_000}"),
    "crontab": _says(f"crontab -l; {SAY}"),
    "at": _says(f"echo true | at now; {SAY}"),
    "su": _says(f"su -c id; {SAY}"),
    "a shell": lambda host, account: b"owned" in host.ssh(account, "", data=f"{SAY}\n".encode()).stdout,
    "install": _install,
    "no smoke": _no_smoke,
    "scp": _copy(),
    "scp of old": _copy("-O"),
    "sftp": _sftp,
    "forward to the host": _local_forward,
    "forward from a port": _remote_forward("-R", "0:127.0.0.1:1"),
    "forward from a socket": _remote_forward("-R", "/tmp/planted.sock:127.0.0.1:1"),
    "terminal": _terminal,
    "X11": _x11,
    "agent": _agent,
    "variables": _variables,
    "login script": _login_script,
}
# One of each kind, for where all would take minutes.
KINDS = (
    *("id", "semicolon", "newline", "a shell", "install", "no smoke", "scp", "scp of old", "sftp"),
    *("forward to the host", "forward from a port", "forward from a socket", "terminal", "X11", "agent"),
    *("variables", "login script"),
)
# What only the program's own table keeps out: with the layers in front of it gone, these still must fail.
IN_THE_TABLE = ("install", "no smoke")

# What code can do that somehow came to run as the account. `~` is its home.
CODE = {
    "let another key in": "echo key >> ~/.ssh/authorized_keys",
    "replace the keys": "mv ~/.ssh ~/.ssh2",
    "have sshd run something": "echo id > ~/.ssh/rc",
    "have sshd set variables": "echo A=b > ~/.ssh/environment",
    "have PAM set variables": "echo A DEFAULT=b > ~/.pam_environment",
    "have systemd run something": "mkdir -p ~/.config/systemd/user",
    "leave a profile": "echo id > ~/.profile",
    "ask sudo for the verb itself": f"sudo -n -- {PROGRAM} status",
    "ask sudo for more words": f"sudo -n -- {PROGRAM} forced --debug",
    "ask sudo for the verb in one word": f"sudo -n -- {PROGRAM} 'status forced'",
}


def refusal(done: "subprocess.CompletedProcess[bytes]") -> str:
    """The code of the error that a host program answers."""
    return str(json.loads(done.stdout)["error"]["code"])
