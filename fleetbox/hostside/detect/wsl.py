"""Which WSL this is, by the text of /proc/version.

The rule is Codex's, and the launcher's (launcher/wsl.c). Microsoft's name alone decides nothing: early WSL2
kernels are called `4.19.104-microsoft-standard` and lack the suffix that later ones have.
"""

from __future__ import annotations

import re


def version(version_text: str) -> int:
    """0: no WSL. 1: WSL1, which has no user namespaces. 2: WSL2 or later, an ordinary kernel."""
    text = version_text.lower()
    numbered = re.search(r"wsl([0-9]+)", text)
    if numbered:
        return 1 if int(numbered[1]) == 1 else 2
    if "microsoft" not in text:
        return 0
    return 2 if "microsoft-standard" in text else 1
