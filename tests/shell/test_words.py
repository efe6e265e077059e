"""Words of a line, and how a parser takes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sluice.shell.words import Line, Option, Refused, Wanted, quote, split


def texts(line: str) -> list[str]:
    return [token.text for token in split(line)[0]]


def test_words_are_taken_apart() -> None:
    assert texts("  show  config # all") == ["show", "config"]
    assert texts("a 'b c' \"d \\\" e\" f'g'h") == ["a", "b c", 'd " e', "fgh"]
    assert texts("a|b;c '|'") == ["a", "|", "b", ";", "c", "|"]
    assert texts("ipv6 2001:db8::/32#1") == ["ipv6", "2001:db8::/32#1"]
    assert split("a 'b")[1]
    assert not split("a 'b'")[1]


def test_columns_are_those_of_what_was_typed() -> None:
    line = "del  'eth 0' mtu"
    assert [line[token.start : token.end] for token in split(line)[0]] == ["del", "'eth 0'", "mtu"]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), max_size=5))
def test_quoted_words_come_back(words: list[str]) -> None:
    tokens, is_open = split(" ".join(quote(word) for word in words))
    assert not is_open
    assert [token.text for token in tokens] == words
    assert not any(token.text in ("|", ";", "{", "}") and not token.quoted for token in tokens)


@given(st.text(max_size=40))
def test_no_line_is_too_strange(text: str) -> None:
    for token in split(text)[0]:
        assert 0 <= token.start < token.end <= len(text)


OPTIONS = [Option("commit"), Option("copy"), Option("config"), Option("con")]


def test_unique_abbreviations_and_whole_words() -> None:
    assert Line.of("cop").choose(OPTIONS, "known").word == "copy"
    assert Line.of("con").choose(OPTIONS, "known").word == "con"
    with pytest.raises(Refused) as refused:
        Line.of("co").choose(OPTIONS, "known")
    assert "commit, copy, config, con" in refused.value.hint
    assert refused.value.typing


def test_a_mistake_points_at_its_word_and_guesses() -> None:
    with pytest.raises(Refused) as refused:
        line = Line.of("x  comit")
        line.take("something")
        line.choose(OPTIONS, "known")
    assert (refused.value.start, refused.value.end) == (3, 8)
    assert refused.value.hint == "did you mean commit?"
    assert not refused.value.typing


def test_the_cursor_gets_what_can_stand_there() -> None:
    line = Line.of("com", completing=True)
    with pytest.raises(Wanted) as wanted:
        line.choose(OPTIONS, "known")
    assert wanted.value.token.text == "com"
    assert wanted.value.options == OPTIONS
    line = Line.of("commit ", completing=True)
    assert line.choose(OPTIONS, "known").word == "commit"
    with pytest.raises(Wanted):
        line.done()


def test_an_open_quotation_mark_is_refused_but_can_be_completed() -> None:
    with pytest.raises(Refused, match="isn't closed"):
        Line.of("comment 'abc")
    assert Line.of("comment 'abc", completing=True).tokens[-1].text == "abc"
