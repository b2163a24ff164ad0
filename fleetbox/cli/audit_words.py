"""One record of the control machine's audit trail as a line for people."""

from typing import Any

from fleetbox.hostside.chain import Record
from fleetbox.hostside.text import escape
from fleetbox.rollout import trust_trail

_SHOWN_ID = 12


def line_of(record: Record, *, ended: bool) -> str:
    """Number, time, event, and what is told of it; texts may come from hosts, and are made safe."""
    time = record.time.replace("T", " ").removesuffix("Z")
    what = record.event.replace("_", " ")
    told = _answered(record) if "host" in record.fields else _command(record)
    if record.event.startswith(trust_trail.EVENT):
        told = _trust(record)
    open_end = [] if ended else ["(not ended: it runs, or was killed)"]
    return escape(
        "  ".join([f"{record.seq:>5}", time, f"{what:<17}", *filter(None, told), *open_end])
    ).rstrip()


def _command(record: Record) -> list[str]:
    fields = record.fields
    if "exit_code" in fields:
        return [f"of {fields.get('begun')}", f"exit {fields['exit_code']}"]
    policies = fields.get("policies")
    names = ", ".join(str(one.get("name")) for one in policies) if isinstance(policies, list) else ""
    return [
        f"{fields['by']} at {fields.get('at')}" if "by" in fields else "",
        names,
        str(fields.get("bundle") or "")[:19],
        f"to generation {fields['to']}" if fields.get("to") else "",
        f"{fields['count']} host(s)" if "count" in fields else "",
        f"-l {fields['selection']}" if fields.get("selection") else "",
        f"waived: {', '.join(map(str, fields['waived']))}" if fields.get("waived") else "",
    ]


def _trust(record: Record) -> list[str]:
    fields = record.fields
    keys = [str(key)[:_SHOWN_ID] for key in fields.get("signed_by") or []]
    return [
        f"{fields.get('by')} at {fields.get('at')}",
        f"change {fields['change']}" if "change" in fields else "",
        str(fields.get("summary") or ""),
        ", ".join(map(str, fields.get("documents") or [])),
        "; ".join(map(str, fields.get("signers") or [])),
        f"signed by {', '.join(keys)}" if keys else "",
    ]


def _answered(record: Record) -> list[str]:
    fields = record.fields
    number = f" generation {fields['generation']}" if fields.get("generation") else ""
    return [
        str(fields["host"]),
        f"{str(fields.get('outcome') or '').replace('_', ' ')}{number}".strip(),
        _trail_end(fields.get("audit")),
        str(fields.get("message") or fields.get("reason") or ""),
    ]


def _trail_end(said: Any) -> str:
    return f"trail {said.get('seq')}:{str(said.get('hash'))[:12]}" if isinstance(said, dict) else ""
