"""What every payload begins with; it runs inside the sandbox, on the host's own Python, as `-I -S -c`."""

PRELUDE = '''
import ctypes, errno, fcntl, mmap, os, signal, socket, struct, subprocess, sys, time
print("reached", flush=True)
_libc = ctypes.CDLL(None, use_errno=True)

def call(name, *args):
    """A system call past libc; raises OSError."""
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in args]
    result = _libc.syscall(ctypes.c_long(NUMBERS[name] if isinstance(name, str) else name), *words)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(name))
    return result

def meet():
    """Let the outside look, or do its part."""
    print("ready", flush=True)
    sys.stdin.readline()

def attempt(function, *args):
    """One of several ways: going on after a refusal."""
    try:
        return function(*args)
    except OSError as problem:
        print(f"{getattr(function, '__name__', function)}: {problem}", file=sys.stderr)
        return None

def show(path):
    """Whatever can be read there comes out; the outside knows what to look for."""
    try:
        with open(path, "rb") as file:
            sys.stdout.write(file.read(65536).decode(errors="replace") + "\\n")
    except OSError as problem:
        print(f"{path}: {problem}", file=sys.stderr)

def write(path, text="escaped"):
    with open(path, "w") as file:
        file.write(text)
'''


def source(payload: str, params: dict[str, object]) -> str:
    """The whole program; parameters are literals, so that nothing has to be readable inside."""
    literals = "".join(f"{name} = {value!r}\n" for name, value in params.items())
    return f"{literals}{PRELUDE}\n{payload}\n"
