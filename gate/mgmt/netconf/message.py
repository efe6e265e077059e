# SPDX-License-Identifier: BSD-3-Clause
"""XML of NETCONF's messages: reading them safely, replies, errors. Pure."""

from collections.abc import Iterable
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from lxml import etree
from sluice.mgmt import yang
from sluice.mgmt.edit import BASE, Element
from sluice.mgmt.error import ConfigError, Fault, xml_path
from sluice.mgmt.yang import Schema

NOTIFICATION = "urn:ietf:params:xml:ns:netconf:notification:1.0"
MONITORING = "urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"
NOTIFICATIONS_STATE = "urn:ietf:params:xml:ns:netmod:notification"
WITH_DEFAULTS = "urn:ietf:params:xml:ns:yang:ietf-netconf-with-defaults"
SLUICE = "urn:sluice:mgmt"


class MalformedError(Exception):
    """Not XML that we take."""


def parse(data: bytes) -> Element:
    """A message's root. No document types, so no entities: nobody needs them here, and they're the way to trouble."""
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=True,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(data.strip(), parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise MalformedError(str(error)) from None
    if root.getroottree().docinfo.doctype:
        raise MalformedError("a document type declaration")
    return root


def hello(session: int, capabilities: Iterable[str]) -> bytes:
    listed = "".join(f"<capability>{escape(text)}</capability>" for text in capabilities)
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><hello xmlns="{BASE}"><capabilities>{listed}</capabilities>'
        f"<session-id>{session}</session-id></hello>"
    ).encode()


def reply(rpc: Element | None, body: str) -> bytes:
    """An rpc-reply with all attributes of its rpc (RFC 6241 section 4.2)."""
    attributes, declared = "", {None: BASE}
    if rpc is not None:
        for prefix, namespace in rpc.nsmap.items():
            if prefix is not None:
                declared[prefix] = namespace
                attributes += f" xmlns:{prefix}={quoteattr(namespace)}"
        by_namespace = {namespace: prefix for prefix, namespace in declared.items() if prefix}
        for name, value in rpc.attrib.items():
            if name.startswith("{"):
                namespace, _, local = name[1:].partition("}")
                name = f"{by_namespace[namespace]}:{local}" if namespace in by_namespace else ""
            if name:
                attributes += f" {name}={quoteattr(value)}"
    return f'<rpc-reply xmlns="{BASE}"{attributes}>{body}</rpc-reply>'.encode()


def faults(schema: Schema, error: ConfigError) -> str:
    return "".join(fault_xml(schema, fault) for fault in error.faults)


# Elements of error-info that aren't in NETCONF's namespace.
_INFO_NAMESPACES = {"non-unique": "urn:ietf:params:xml:ns:yang:1"}


def fault_xml(schema: Schema, fault: Fault) -> str:
    """An rpc-error."""
    text = (
        f"<rpc-error><error-type>{fault.type}</error-type><error-tag>{fault.tag}</error-tag>"
        "<error-severity>error</error-severity>"
    )
    if fault.app_tag:
        text += f"<error-app-tag>{escape(fault.app_tag)}</error-app-tag>"
    if fault.path:
        path, modules = xml_path(fault.path)
        declared = ""
        for name in sorted(modules):
            module = schema.module(name)
            if module is not None:
                declared += f" xmlns:{name}={quoteattr(yang.text_of(module.ns))}"
        text += f"<error-path{declared}>{escape(path)}</error-path>"
    text += f'<error-message xml:lang="en">{escape(printable(fault.text))}</error-message>'
    if fault.info:
        inner = ""
        for name, value in fault.info:
            namespace = _INFO_NAMESPACES.get(name)
            declared = f' xmlns="{namespace}"' if namespace else ""
            inner += f"<{name}{declared}>{escape(printable(value))}</{name}>"
        text += f"<error-info>{inner}</error-info>"
    return text + "</rpc-error>"


def printable(text: str) -> str:
    """Text without what XML can't hold."""
    return "".join(char if char >= " " or char in "\t\n\r" else "?" for char in text)


def missing(name: str, what: str = "element", type: str = "protocol") -> ConfigError:  # noqa: A002
    return ConfigError(
        f"the {what} {name!r} is missing",
        tag=f"missing-{what}",
        type=type,
        info=(("bad-element", name),),
    )


def bad_element(name: str, text: str, tag: str = "invalid-value") -> ConfigError:
    return ConfigError(text, tag=tag, type="protocol", info=(("bad-element", name),))


class Parameters:
    """An operation's input: child elements by name. Those nobody takes are refused."""

    def __init__(self, operation: Element) -> None:
        self.operation = operation
        self.found: dict[str, Element] = {}
        self.left: dict[str, Element] = {}
        for child in operation:
            if not isinstance(child.tag, str):
                continue
            name = etree.QName(child).localname
            if name in self.found:
                raise bad_element(name, f"{name!r} is given twice", "bad-element")
            self.found[name] = child
            self.left[name] = child

    def take(self, name: str, namespace: str = BASE) -> Element | None:
        element = self.found.get(name)
        if element is None:
            return None
        if (etree.QName(element).namespace or "") not in (namespace, ""):
            return None
        self.left.pop(name, None)
        return element

    def need(self, name: str) -> Element:
        element = self.take(name)
        if element is None:
            raise missing(name)
        return element

    def text(self, name: str, namespace: str = BASE) -> str | None:
        element = self.take(name, namespace)
        return None if element is None else (element.text or "").strip()

    def number(self, name: str, default: int, most: int = 0xFFFFFFFF) -> int:
        text = self.text(name)
        if text is None:
            return default
        if not text.isdecimal() or not 1 <= int(text) <= most:
            raise bad_element(name, f"{name!r} is to be a number from 1 to {most}")
        return int(text)

    def choice(
        self, name: str, choices: tuple[str, ...], default: str, namespace: str = BASE
    ) -> str:
        text = self.text(name, namespace)
        if text is None:
            return default
        if text not in choices:
            raise bad_element(name, f"{name!r} is one of {', '.join(choices)}")
        return text

    def done(self) -> None:
        """Refuse what's left."""
        for name in self.left:
            raise bad_element(name, f"{name!r} isn't known here", "unknown-element")


def prefixes(schema: Schema, element: Element) -> dict[str, str]:
    """Module names by the prefixes in scope at an element."""
    result: dict[str, str] = {}
    for prefix, namespace in element.nsmap.items():
        module: Any = schema.by_namespace(namespace)
        if module is not None and prefix:
            result[prefix] = yang.text_of(module.name)
    # Module names work too: nobody can mean anything else by them.
    for module in schema.implemented():
        result.setdefault(yang.text_of(module.name), yang.text_of(module.name))
    return result
