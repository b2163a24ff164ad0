"""`make generate`: rewrites every file that is derived from code; each has a test that compares it."""

from pathlib import Path

from fleetbox.conformance import catalogue
from fleetbox.policy import reference, schema
from fleetbox.targets import parity_reference
from fleetbox.targets.bubblewrap import reference as seccomp_reference
from tests.support import gate_tables, role_tables

DOCS = Path(__file__).resolve().parents[2] / "docs"


def generated() -> dict[Path, str]:
    """What each generated file must hold."""
    policy = DOCS / "policy.md"
    return {
        DOCS / "policy.schema.json": schema.text(),
        policy: reference.rewritten(policy.read_text()),
        DOCS / "parity.md": parity_reference.markdown(),
        DOCS / "seccomp.md": seccomp_reference.markdown(),
        DOCS / "checks.md": catalogue.as_markdown(),
        **role_tables.generated(),
        **gate_tables.generated(),
    }


def main() -> None:
    for path, text in generated().items():
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            print(f"rewrote {path.name}")


if __name__ == "__main__":
    main()
