# SPDX-License-Identifier: BSD-3-Clause
"""Frames in Python do as those in C: the two decoders are held against each other."""

from collections.abc import Iterator

import pytest
from _sluice import ffi, lib
from hypothesis import given
from hypothesis import strategies as st
from sluice.fpc import MAX_FRAME, Decoder, Frame, MalformedError, pack
from sluice.fpc.frame import HEAD, Ack, filled

FRAMES = st.builds(
    Frame,
    verb=st.integers(0, 0xFFFF),
    feature=st.integers(0, 0xFFFF),
    flags=st.integers(0, 0xFFFF),
    seq=st.integers(0, 2**32 - 1),
    body=st.binary(max_size=200),
)
HEADS = st.builds(
    HEAD.pack,
    st.sampled_from([0, 15, 16, 17, 40, MAX_FRAME, MAX_FRAME + 1, 2**32 - 1]),
    st.sampled_from([0, 15, 16, 20, 41, 0xFFFF]),
    *[st.integers(0, 9)] * 3,
    st.just(1),
)


def c_frames(pieces: list[bytes]) -> tuple[list[Frame], bool]:
    """What C's decoder makes of it, and whether it fails."""
    stream = ffi.new("struct frame_in *")
    head, body = ffi.new("struct fpc_frame *"), ffi.new("uint8_t **")
    room, err = ffi.new("size_t *"), ffi.new("struct err *")
    found: list[Frame] = []
    try:
        for piece in pieces:
            at = 0
            while at < len(piece):
                space = lib.frame_in_space(stream, room)
                part = piece[at : at + room[0]]
                ffi.memmove(space, part, len(part))
                lib.frame_in_add(stream, len(part))
                at += len(part)
                while (rc := lib.frame_next(stream, head, body, room, err)) == 1:
                    data = bytes(ffi.buffer(body[0], room[0]))
                    found.append(Frame(head.verb, head.feature, head.flags, head.seq, data))
                if rc < 0:
                    return found, True
        return found, False
    finally:
        lib.frame_in_free(stream)


def python_frames(pieces: list[bytes]) -> tuple[list[Frame], bool]:
    decoder = Decoder()
    found: list[Frame] = []
    try:
        for piece in pieces:
            found += list(collect(decoder.feed(piece), found))
    except MalformedError:
        return found, True
    return found, False


def collect(frames: Iterator[Frame], found: list[Frame]) -> Iterator[Frame]:
    """Frames in front of a malformed one count."""
    kept: list[Frame] = []
    try:
        for frame in frames:
            kept.append(frame)
    except MalformedError:
        found += kept
        raise
    yield from kept


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


@given(st.lists(FRAMES, max_size=6), st.integers(1, 300))
def test_frames_come_out_as_they_went_in(frames: list[Frame], size: int) -> None:
    pieces = cut(b"".join(frame.pack() for frame in frames), size)
    assert python_frames(pieces) == c_frames(pieces) == (frames, False)


@given(st.lists(st.one_of(FRAMES.map(Frame.pack), HEADS, st.binary(max_size=40)), max_size=6),
       st.integers(1, 300))  # fmt: skip
def test_nonsense_ends_both_at_the_same_place(parts: list[bytes], size: int) -> None:
    pieces = cut(b"".join(parts), size)
    assert python_frames(pieces) == c_frames(pieces)


def test_the_longest_frame_passes_and_a_longer_one_cant_be_made() -> None:
    body = bytes(MAX_FRAME - 16)
    assert python_frames([pack(1, body=body)]) == c_frames([pack(1, body=body)])
    with pytest.raises(ValueError, match="65536"):
        pack(1, body=body + b"\0")


def test_structs_may_be_short_and_long_by_zeros_only() -> None:
    assert filled(b"ab", 4) == b"ab\0\0"
    assert filled(b"abcd\0\0", 4) == b"abcd"
    with pytest.raises(MalformedError):
        filled(b"abcd\0\1", 4)
    ack = Ack.parse(Frame(8, 3, 0, 7, b"\x16\0\0\0\3\0\2\0vrf"))
    assert (ack.errno, ack.feature, ack.verb, ack.field, ack.text, ack.seq) == (
        22,
        3,
        2,
        "vrf",
        "",
        7,
    )
    assert str(ack.error()) == "Invalid argument (EINVAL, field vrf)"
