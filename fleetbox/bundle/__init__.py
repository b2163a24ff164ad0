"""From compiled policies to bytes: one deterministic file for hosts, or a directory for a try-out here."""

from fleetbox.bundle.build import Bundle, build

__all__ = ["Bundle", "build"]
