"""Text of unknown origin, made safe to show: one rule for hosts and control machine."""


def escape(text: str) -> str:
    """`text` with everything a terminal could act on written as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
