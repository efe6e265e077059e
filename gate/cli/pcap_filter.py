# SPDX-License-Identifier: BSD-3-Clause
"""Packet filters in tcpdump's language, compiled by libpcap into classic BPF for Ethernet."""

import ctypes
from typing import NamedTuple

from sluice.cli.error import CliError

DLT_EN10MB, SNAPLEN, NO_NETMASK = 1, 262144, 0xFFFFFFFF


class Instruction(NamedTuple):
    """Of classic BPF."""

    code: int
    jt: int
    jf: int
    k: int


class BpfInsn(ctypes.Structure):
    """struct bpf_insn."""

    _fields_ = [
        ("code", ctypes.c_ushort),
        ("jt", ctypes.c_ubyte),
        ("jf", ctypes.c_ubyte),
        ("k", ctypes.c_uint32),
    ]


class BpfProgram(ctypes.Structure):
    """struct bpf_program."""

    _fields_ = [("bf_len", ctypes.c_uint), ("bf_insns", ctypes.POINTER(BpfInsn))]


def compiled(text: str) -> list[Instruction]:
    """The filter's instructions; none for an empty filter, which takes every packet."""
    if not text.strip():
        return []
    try:
        pcap = ctypes.CDLL("libpcap.so.0.8")
    except OSError:
        raise CliError("there's no libpcap, which reads filters", hint="install libpcap") from None
    pcap.pcap_open_dead.restype = ctypes.c_void_p
    pcap.pcap_geterr.restype = ctypes.c_char_p
    for function in (pcap.pcap_geterr, pcap.pcap_close):
        function.argtypes = [ctypes.c_void_p]
    handle = ctypes.c_void_p(pcap.pcap_open_dead(DLT_EN10MB, SNAPLEN))
    program = BpfProgram()
    try:
        if pcap.pcap_compile(
            handle, ctypes.byref(program), text.encode(), 1, ctypes.c_uint32(NO_NETMASK)
        ):
            why = pcap.pcap_geterr(handle).decode(errors="replace")
            raise CliError(f"filter '{text}': {why}", hint="see pcap-filter(7)")
        found = [program.bf_insns[i] for i in range(program.bf_len)]
        return [Instruction(one.code, one.jt, one.jf, one.k) for one in found]
    finally:
        pcap.pcap_freecode(ctypes.byref(program))
        pcap.pcap_close(handle)
