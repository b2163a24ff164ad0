"""The frame that the launch plan and the GPU map share: what is sealed is read back, and nothing else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetbox.hostside.records import GPU_MAP, LAUNCH_PLAN, Frame, FrameInvalid

WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
FRAMES = pytest.mark.parametrize("frame", [LAUNCH_PLAN, GPU_MAP], ids=lambda frame: frame.magic)


@FRAMES
@given(records=st.lists(st.lists(WORDS, min_size=1, max_size=4), max_size=8))
def test_what_is_sealed_is_read_back(frame: Frame, records: list[list[str]]) -> None:
    assert frame.words(frame.seal(records)) == [word for record in records for word in record]


@FRAMES
@given(data=st.binary(max_size=200))
def test_other_bytes_are_refused_whatever_they_are(frame: Frame, data: bytes) -> None:
    for attempt in (data, frame.magic.encode() + b"\0" + data):
        with pytest.raises(FrameInvalid):
            frame.words(attempt)


def test_one_kind_is_not_the_other() -> None:
    with pytest.raises(FrameInvalid, match="not a GPU map"):
        GPU_MAP.payload(LAUNCH_PLAN.seal([("mask", "/run")]))


@pytest.mark.parametrize("word", ["a\0b", "\ud800"])
def test_a_word_that_cannot_stand_there_is_refused(word: str) -> None:
    with pytest.raises(FrameInvalid):
        GPU_MAP.seal([(word,)])


def test_more_than_the_limit_is_neither_written_nor_read() -> None:
    small = GPU_MAP._replace(limit=60)
    assert small.words(small.seal([("note", "x")])) == ["note", "x"]
    with pytest.raises(FrameInvalid, match="holds at most 60"):
        small.seal([("note", "x" * 60)])
    with pytest.raises(FrameInvalid, match="holds at most 60"):
        small.payload(GPU_MAP.seal([("note", "x" * 60)]))
