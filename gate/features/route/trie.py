# SPDX-License-Identifier: BSD-3-Clause
"""The M-tries of route.h, read out of shared memory: for fp-cli and for the canonical dump.

Both see the words of a root (65,536) and of all lines. The form of a node is told here alone.
"""

import itertools
from collections.abc import Iterator

NODE, SKIP, FULL = 1 << 31, 1 << 30, 1 << 29
LINE, VALUE = 0x1FFFFFFF, 0x7FFFFF
LINE_WORDS = 16
# Words into a node stored as runs (struct mtrie_runs), and as a skip (struct mtrie_skip).
RUNS_COUNTS, RUNS_ENTRIES = 8, 9
SKIP_MASK, SKIP_MISS, SKIP_HIT, SKIP_BITS = 4, 8, 9, 10

type Leaf = tuple[int, int, int]  # first address, how many, the entry


class Trie:
    """One routing table of one family."""

    def __init__(self, root: memoryview, lines: memoryview, size: int) -> None:
        self.root, self.lines, self.size = root, lines, size

    def lookup(self, address: int) -> int:
        """The entry that a packet to `address` ends at: a leaf."""
        base, count, entry = next(self.slots(address >> self.size - 16))
        while entry & NODE:
            for start, length, found in self.parts(base, count, entry):
                if start <= address < start + length:
                    base, count, entry = start, length, found
                    break
            else:
                raise ValueError("a node of the trie covers less than its slot")
        return entry

    def slots(self, first: int, n: int = 1) -> Iterator[Leaf]:
        """Entries of the root, neighbouring equal ones as one."""
        shift = self.size - 16
        for entry, run in itertools.groupby(self.root[first : first + n]):
            length = sum(1 for _ in run)
            yield first << shift, length << shift, entry
            first += length

    def leaves(self) -> Iterator[tuple[tuple[int, int], int]]:
        """Each prefix (address, length) that some address ends at, once, and its next hop's number."""
        seen: set[tuple[int, int]] = set()
        for start, count, entry in self.slots(0, len(self.root)):
            for prefix, value in self.below(start, count, entry):
                if value and prefix not in seen:
                    seen.add(prefix)
                    yield prefix, value

    def below(self, start: int, count: int, entry: int) -> Iterator[tuple[tuple[int, int], int]]:
        if entry & NODE:
            for part in self.parts(start, count, entry):
                yield from self.below(*part)
            return
        # A run of equal leaves can be several prefixes with one next hop and length.
        step = 1 << (self.size - (entry >> 23 & 0xFF)) if entry & VALUE else count
        for address in range(start - start % step, start + count, step):
            yield (address, entry >> 23 & 0xFF), entry & VALUE

    def parts(self, base: int, count: int, entry: int) -> Iterator[Leaf]:
        """What the node `entry` says about the `count` addresses from `base`: entries, and for how many."""
        first = (entry & LINE) * LINE_WORDS
        if entry & SKIP:
            yield from self.parts_of_skip(base, count, first)
            return
        step = count // 256
        if step == 0:
            raise ValueError("the trie is deeper than an address is long")
        if entry & FULL:
            starts, entries = list(range(256)), self.lines[first : first + 256]
        else:
            bits = sum(self.lines[first + i] << 32 * i for i in range(RUNS_COUNTS))
            starts = [i for i in range(256) if bits >> i & 1]
            entries = self.lines[first + RUNS_ENTRIES : first + RUNS_ENTRIES + len(starts)]
        for start, end, found in zip(starts, [*starts[1:], 256], entries, strict=True):
            yield base + start * step, (end - start) * step, found

    def parts_of_skip(self, base: int, count: int, first: int) -> Iterator[Leaf]:
        words = self.lines[first : first + LINE_WORDS]
        start = int.from_bytes(bytes(words[0:SKIP_MASK].cast("B"))[: self.size // 8])
        length = 1 << (self.size - (words[SKIP_BITS] & 0xFF))
        if start > base:
            yield base, start - base, words[SKIP_MISS]
        yield start, length, words[SKIP_HIT]
        if start + length < base + count:
            yield start + length, base + count - start - length, words[SKIP_MISS]
