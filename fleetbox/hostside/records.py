"""The frame of what the launcher reads, the launch plan and the GPU map: rows of words in checked bytes.

    MAGIC NUL FORMAT NUL <payload length, decimal> NUL <CRC-32 of it, 8 hexadecimal digits> NUL payload

The payload is a row of records, every word ended by NUL, the last record `end`. The checksum finds
accidents; who may write such a file is decided by its owner and mode.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

END = "end"
_LENGTH = re.compile(rb"0|[1-9][0-9]{0,6}")


class FrameInvalid(Exception):
    """Bytes or words that do not make such a file; the message says why."""


class Frame(NamedTuple):
    """One kind of such a file; `what` is its name for people, `limit` the most bytes of all of it."""

    magic: str
    format: str
    what: str
    limit: int

    def seal(self, records: Iterable[Sequence[str]]) -> bytes:
        """The file with `records` and `end`. Raises FrameInvalid."""
        words = [word for record in (*records, (END,)) for word in record]
        if any("\0" in word for word in words):
            raise FrameInvalid("a word holds a NUL byte")
        try:
            payload = "".join(f"{word}\0" for word in words).encode()
        except UnicodeEncodeError:
            raise FrameInvalid("a word is not UTF-8") from None
        header = f"{self.magic}\0{self.format}\0{len(payload)}\0{_checksum(payload).decode()}\0"
        return self._fitting(header.encode() + payload)

    def payload(self, data: bytes) -> bytes:
        """What the frame holds. Raises FrameInvalid for one that is not exactly right."""
        magic, _, rest = self._fitting(data).partition(b"\0")
        head = rest.split(b"\0", 3)
        if magic != self.magic.encode() or len(head) != 4:
            raise FrameInvalid(f"not a {self.what}")
        version, length, checksum, payload = head
        if version != self.format.encode():
            raise FrameInvalid(f"format {version!r:.20}; this program knows {self.format}")
        right = _LENGTH.fullmatch(length) and int(length) == len(payload)
        if not right or checksum != _checksum(payload):
            raise FrameInvalid(f"length or checksum does not match: the {self.what} is truncated or damaged")
        return payload

    def words(self, data: bytes) -> list[str]:
        """All words but the final `end`. Raises FrameInvalid."""
        try:
            words = self.payload(data).decode().split("\0")
        except UnicodeDecodeError:
            raise FrameInvalid(f"the {self.what} is not UTF-8") from None
        if words[-2:] != [END, ""]:
            raise FrameInvalid("the last record is not `end`")
        return words[:-2]

    def _fitting(self, data: bytes) -> bytes:
        if len(data) > self.limit:
            raise FrameInvalid(f"{len(data)} bytes; a {self.what} holds at most {self.limit}")
        return data


LAUNCH_PLAN = Frame("fleetbox-launch-plan", "1", "launch plan", 256 * 1024)
GPU_MAP = Frame("fleetbox-gpu-map", "1", "GPU map", 4 * 1024 * 1024)


def _checksum(payload: bytes) -> bytes:
    return b"%08x" % zlib.crc32(payload)
