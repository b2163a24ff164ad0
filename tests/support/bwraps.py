"""Programs that stand in bubblewrap's place in tests.

The launcher starts bubblewrap before it knows what to ask of it; the options come later, on a descriptor.
"""

OPTIONS_FD = 8
REAL = "/usr/bin/bwrap"


def once_asked(script: str, bwrap: str = REAL) -> str:
    """Shell lines that become `bwrap` after `script`, which runs once the launcher has looked at everything.

    The script may read and change what was asked for: the file `$options`, where each option ends with a NUL.
    """
    return (
        f'case "$1" in --help) exec {bwrap} --help;; esac\n'
        f'options=$(mktemp) && cat <&{OPTIONS_FD} >"$options" || exit 1\n'
        f"{script}\n"
        f'exec {OPTIONS_FD}<"$options" && rm "$options" && exec {bwrap} "$@"\n'
    )


def if_asked_for(option: str, then: str) -> str:
    """A script for `once_asked`: `then` where an option begins like this basic regular expression."""
    return f"! tr '\\0' '\\n' <\"$options\" | grep -q '^{option}' || {{ {then}; }}"


def without(option: str) -> str:
    """A script for `once_asked`: the option and its one value are taken out."""
    return (
        f"tr '\\0' '\\n' <\"$options\" | sed '/^{option}$/,+1d' | tr '\\n' '\\0' >\"$options.changed\"\n"
        'mv "$options.changed" "$options"'
    )
