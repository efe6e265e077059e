# SPDX-License-Identifier: BSD-3-Clause
"""Errors as a client gets them: RFC 6241 appendix A, and RFC 7950 section 15's tags of broken constraints."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from sluice.mgmt.yang import Problem, YangError


@dataclass(frozen=True)
class Fault:
    """One rpc-error. `path` is libyang's (/module:a/b[key='x']); `info` holds further elements by name."""

    tag: str
    text: str
    path: str = ""
    app_tag: str = ""
    type: str = "application"
    info: tuple[tuple[str, str], ...] = ()


class ConfigError(Exception):
    """Something a client asked for that can't be done; one fault or several. Appliers raise it as well."""

    def __init__(
        self,
        text: str,
        *,
        tag: str = "operation-failed",
        path: str = "",
        app_tag: str = "",
        type: str = "application",  # noqa: A002 (the RFC's word)
        info: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(text)
        self.faults = [Fault(tag, text, path, app_tag, type, info)]

    @classmethod
    def of(cls, faults: list[Fault]) -> "ConfigError":
        error = cls(faults[0].text)
        error.faults = faults
        return error

    def __str__(self) -> str:
        return "; ".join(f"{f.text} ({f.path})" if f.path else f.text for f in self.faults)


# What libyang says, and what that is in NETCONF: (text, tag, what the text names).
_TEXTS = [
    (re.compile(r'Node "([^"]*)" not found'), "unknown-element", "bad-element"),
    (re.compile(r"Unexpected data state node \"([^\"]*)\""), "unknown-element", "bad-element"),
    (re.compile(r'No module with namespace "([^"]*)"'), "unknown-namespace", "bad-namespace"),
    (re.compile(r'missing its key "([^"]*)"'), "missing-element", "bad-element"),
    (re.compile(r'Mandatory node "([^"]*)"'), "data-missing", "bad-element"),
    (re.compile(r'Mandatory choice "([^"]*)"'), "data-missing", "bad-element"),
    (re.compile(r"XML metadata \"([^\"]*)\""), "unknown-attribute", "bad-attribute"),
    (re.compile(r"When condition"), "unknown-element", ""),
    (re.compile(r"Data for both cases"), "bad-element", ""),
    (re.compile(r"Unique data leaf"), "operation-failed", ""),
    (re.compile(r"Too (many|few)"), "operation-failed", ""),
    (re.compile(r"Duplicate instance"), "data-exists", ""),
    (re.compile(r"no target instance"), "data-missing", ""),
    (re.compile(r"Must condition"), "operation-failed", ""),
    (re.compile(r"[Ii]nvalid|Unsatisfied|[Uu]nexpected|length|pattern|range"), "invalid-value", ""),
]
# What a type's restriction with a message of its own must call itself: libyang doesn't tell it from a must's.
_OF_TYPES = ("pattern-violation", "range-violation", "length-violation")
_DEFAULT_APP_TAGS = {"Must condition": "must-violation", "Mandatory choice": "missing-choice"}


def last_name(path: str) -> str:
    """The name of the node a path leads to."""
    bare = re.sub(r"\[(?:'[^']*'|\"[^\"]*\"|[^\]'\"])*\]", "", path)
    return bare.rpartition("/")[2].rpartition(":")[2]


def fault_of(problem: Problem) -> Fault:
    """A complaint of libyang's as NETCONF says it."""
    if "/@" in problem.path:
        at, _, attribute = problem.path.partition("/@")
        return Fault(
            "bad-attribute",
            problem.text,
            at,
            type="protocol",
            info=(
                ("bad-attribute", attribute.rpartition(":")[2]),
                ("bad-element", last_name(at)),
            ),
        )
    for pattern, tag, names in _TEXTS:
        found = pattern.search(problem.text)
        if not found:
            continue
        app_tag = problem.app_tag
        for start, standard in _DEFAULT_APP_TAGS.items():
            if not app_tag and problem.text.startswith(start):
                app_tag = standard
        info: tuple[tuple[str, str], ...] = ()
        if names:
            info = ((names, found[1].rpartition(":")[2] if names != "bad-namespace" else found[1]),)
        if names == "bad-attribute":
            info += (("bad-element", last_name(problem.path)),)
        elif tag in ("unknown-element", "bad-element", "unknown-namespace") and not any(
            name == "bad-element" for name, _ in info
        ):
            info = (("bad-element", last_name(problem.path)), *info)
        return Fault(tag, problem.text, problem.path, app_tag, info=info)
    if problem.app_tag in _OF_TYPES:
        return Fault("invalid-value", problem.text, problem.path, problem.app_tag)
    if problem.app_tag:  # a constraint with a message of its own
        return Fault("operation-failed", problem.text, problem.path, problem.app_tag)
    return Fault("operation-failed", problem.text, problem.path)


def from_yang(error: YangError) -> ConfigError:
    """All of libyang's complaints as one error of ours."""
    return ConfigError.of([fault_of(problem) for problem in error.problems])


def at(error: ConfigError, path: str) -> ConfigError:
    """The same error; faults without a path get this one."""
    return ConfigError.of([f if f.path else replace(f, path=path) for f in error.faults])


_STEP = re.compile(r"/(?:([\w.-]+):)?([\w.*-]+)|(\[(?:'[^']*'|\"[^\"]*\"|[^\]'\"])*\])")
_IN_PREDICATE = re.compile(r"'[^']*'|\"[^\"]*\"|(?<![\w:.-])([A-Za-z_][\w.-]*)(?![\w(:.-])")


def xml_path(path: str) -> tuple[str, set[str]]:
    """A path of libyang's with a prefix, the module's name, on every name; and the modules it uses."""
    result, module, used = "", "", set()
    for match in _STEP.finditer(path):
        if match[3]:
            here = module

            def prefixed(name: re.Match[str], here: str = here) -> str:
                return f"{here}:{name[1]}" if name[1] else name[0]

            result += _IN_PREDICATE.sub(prefixed, match[3])
            continue
        module = match[1] or module
        used.add(module)
        result += f"/{module}:{match[2]}"
    return result, used - {""}


def lines(error: ConfigError) -> Iterator[str]:
    """For people: a line for each fault."""
    for fault in error.faults:
        yield f"{fault.path}: {fault.text}" if fault.path else fault.text
