# SPDX-License-Identifier: BSD-3-Clause
"""Each algorithm: how FPC names it, and ESP with it (RFC 4303) in a few lines of Python over the package cryptography.
Nothing of the fast path is in it. Where scapy has the algorithm its ESP is asked too (test_esp_packet.py).
"""

import hmac
import struct
from dataclasses import dataclass
from typing import Any

from _sluice import lib
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

KEY = bytes(range(1, 65))


class WrongIcvError(Exception):
    """What was received isn't what was sent."""


@dataclass(frozen=True)
class Suite:
    """A cipher with a hash, or one that does both. `key` ends with the salt, where there is one."""

    name: str
    cipher: int
    key: bytes
    auth: int = 0
    auth_key: bytes = b""
    hash: str = ""
    icv: int = 16
    iv: int = 8
    align: int = 4
    scapy: tuple[str, str] = ("", "NULL")  # as scapy names them; "": it can't

    def fields(self) -> dict[str, Any]:
        """For tests.ipsec.objects.sa."""
        return {
            "cipher": self.cipher, "key": self.key, "auth": self.auth, "auth_key": self.auth_key, "icv": self.icv,
        }  # fmt: skip

    # --- the cipher ---

    def cbc(self, iv: bytes) -> Cipher[modes.CBC]:
        kind = TripleDES if self.cipher == lib.FPC_IPSEC_3DES_CBC else algorithms.AES
        return Cipher(kind(self.key), modes.CBC(iv))

    def ctr(self, iv: bytes) -> Cipher[modes.CTR]:
        block = self.key[-4:] + iv + struct.pack("!I", 1)
        return Cipher(algorithms.AES(self.key[:-4]), modes.CTR(block))

    def gcm(self, iv: bytes, aad: bytes, text: bytes) -> tuple[bytes, bytes]:
        """Encrypted text and tag; GCM as it stands in SP 800-38D, so that tags of any length can be had."""
        enc = Cipher(algorithms.AES(self.key[:-4]), modes.GCM(self.key[-4:] + iv)).encryptor()
        enc.authenticate_additional_data(aad)
        return enc.update(text) + enc.finalize(), enc.tag[: self.icv]

    def mac(self, data: bytes) -> bytes:
        if self.hash == "xcbc":
            return xcbc(self.auth_key, data)[: self.icv]
        return hmac.new(self.auth_key, data, self.hash).digest()[: self.icv]

    # --- ESP ---

    def seal(self, spi: int, seq: int, iv: bytes, text: bytes, *, esn: bool = False) -> bytes:
        """An ESP packet around what is padded already."""
        head = struct.pack("!II", spi, seq & 0xFFFFFFFF)
        high = struct.pack("!I", seq >> 32) if esn else b""
        aad = head[:4] + high + head[4:]
        match self.cipher:
            case lib.FPC_IPSEC_AES_GCM:
                body, tag = self.gcm(iv, aad, text)
                return head + iv + body + tag
            case lib.FPC_IPSEC_AES_GMAC:
                _, tag = self.gcm(iv, aad + iv + text, b"")
                return head + iv + text + tag
            case lib.FPC_IPSEC_CHACHA20_POLY1305:
                return (
                    head
                    + iv
                    + ChaCha20Poly1305(self.key[:-4]).encrypt(self.key[-4:] + iv, text, aad)
                )
            case lib.FPC_IPSEC_NULL:
                body = text
            case lib.FPC_IPSEC_AES_CTR:
                enc = self.ctr(iv).encryptor()
                body = enc.update(text) + enc.finalize()
            case _:
                cbc = self.cbc(iv).encryptor()
                body = cbc.update(text) + cbc.finalize()
        return head + iv + body + self.mac(head + iv + body + high)

    def open(self, packet: bytes, *, high: int = 0, esn: bool = False) -> bytes:
        """The text, padding and all, of an ESP packet that must be right."""
        spi, low = struct.unpack("!II", packet[:8])
        iv, body, icv = (
            packet[8 : 8 + self.iv],
            packet[8 + self.iv : -self.icv],
            packet[-self.icv :],
        )
        text = body
        match self.cipher:
            case lib.FPC_IPSEC_AES_GCM:
                # Counter mode from block 2 on.
                ctr = Cipher(
                    algorithms.AES(self.key[:-4]),
                    modes.CTR(self.key[-4:] + iv + bytes((0, 0, 0, 2))),
                )
                text = ctr.decryptor().update(body)
            case lib.FPC_IPSEC_CHACHA20_POLY1305:
                nonce = bytes((1, 0, 0, 0)) + self.key[-4:] + iv
                text = (
                    Cipher(algorithms.ChaCha20(self.key[:-4], nonce), None).decryptor().update(body)
                )
            case lib.FPC_IPSEC_AES_CTR:
                text = self.ctr(iv).decryptor().update(body)
            case lib.FPC_IPSEC_AES_CBC | lib.FPC_IPSEC_3DES_CBC:
                text = self.cbc(iv).decryptor().update(body)
        if self.seal(spi, high << 32 | low, iv, text, esn=esn)[-self.icv :] != icv:
            raise WrongIcvError
        return text

    def wrap(
        self, spi: int, seq: int, payload: bytes, following: int, *, esn: bool = False, iv: bytes | None = None
    ) -> bytes:  # fmt: skip
        """An ESP packet around a payload."""
        pad = -(len(payload) + 2) % self.align
        text = payload + bytes(range(1, pad + 1)) + bytes((pad, following))
        return self.seal(
            spi, seq, (seq.to_bytes(8) * 2)[: self.iv] if iv is None else iv, text, esn=esn
        )

    def unwrap(self, packet: bytes, *, high: int = 0, esn: bool = False) -> tuple[bytes, int]:
        """Payload and what it is; the padding must be RFC 4303's."""
        text = self.open(packet, high=high, esn=esn)
        pad, following = text[-2:]
        assert text[-2 - pad : -2] == bytes(range(1, pad + 1))
        assert len(text) % self.align == 0
        return text[: -2 - pad], following


def xcbc(key: bytes, data: bytes) -> bytes:
    """AES-XCBC-MAC (RFC 3566)."""

    def aes(k: bytes, block: bytes) -> bytes:
        return Cipher(algorithms.AES(k), modes.ECB()).encryptor().update(block)

    def xor(a: bytes, b: bytes) -> bytes:
        return bytes(x ^ y for x, y in zip(a, b, strict=True))

    k1, k2, k3 = (aes(key, bytes((i,)) * 16) for i in (1, 2, 3))
    blocks = [data[i : i + 16] for i in range(0, len(data), 16)] or [b""]
    state = bytes(16)
    for block in blocks[:-1]:
        state = aes(k1, xor(state, block))
    last = blocks[-1]
    if len(last) == 16:
        return aes(k1, xor(xor(state, last), k2))
    return aes(k1, xor(xor(state, (last + b"\x80").ljust(16, b"\0")), k3))


def gcm(bits: int, icv: int = 16) -> Suite:
    scapy = "AES-GCM" if icv == 16 else ""
    return Suite(
        f"aes{bits}-gcm-{icv}", lib.FPC_IPSEC_AES_GCM, KEY[: bits // 8 + 4], icv=icv, scapy=(scapy, "NULL")
    )  # fmt: skip


def hashed(name: str, cipher: int, key: int, iv: int, align: int, hash_: str, scapy: str) -> Suite:
    auth, length, icv, auth_scapy = HASHES[hash_]
    return Suite(
        name=f"{name}-{hash_}",
        cipher=cipher,
        key=KEY[:key],
        auth=auth,
        auth_key=KEY[::-1][:length],
        hash=hash_,
        icv=icv,
        iv=iv,
        align=align,
        scapy=(scapy if auth_scapy else "", auth_scapy),
    )


HASHES = {
    "md5": (lib.FPC_IPSEC_HMAC_MD5, 16, 12, "HMAC-MD5-96"),
    "sha1": (lib.FPC_IPSEC_HMAC_SHA1, 20, 12, "HMAC-SHA1-96"),
    "sha256": (lib.FPC_IPSEC_HMAC_SHA256, 32, 16, "SHA2-256-128"),
    "sha384": (lib.FPC_IPSEC_HMAC_SHA384, 48, 24, "SHA2-384-192"),
    "sha512": (lib.FPC_IPSEC_HMAC_SHA512, 64, 32, "SHA2-512-256"),
    "xcbc": (lib.FPC_IPSEC_AES_XCBC, 16, 12, ""),
}


def aes_cbc(bits: int, hash_: str) -> Suite:
    return hashed(f"aes{bits}-cbc", lib.FPC_IPSEC_AES_CBC, bits // 8, 16, 16, hash_, "AES-CBC")


SUITES = [
    *(gcm(bits) for bits in (128, 192, 256)),
    gcm(128, 8),
    gcm(256, 12),
    Suite(
        "chacha20-poly1305", lib.FPC_IPSEC_CHACHA20_POLY1305, KEY[:36], scapy=("CHACHA20-POLY1305", "NULL")
    ),
    *(Suite(f"aes{8 * n}-gmac", lib.FPC_IPSEC_AES_GMAC, KEY[: n + 4]) for n in (16, 24, 32)),
    *(aes_cbc(bits, "sha256") for bits in (128, 192, 256)),
    *(aes_cbc(128, hash_) for hash_ in ("md5", "sha1", "sha384", "sha512", "xcbc")),
    *(
        hashed(f"aes{8 * n}-ctr", lib.FPC_IPSEC_AES_CTR, n + 4, 8, 4, hash_, "AES-CTR")
        for n, hash_ in ((16, "sha256"), (24, "sha512"), (32, "sha1"))
    ),
    hashed("3des-cbc", lib.FPC_IPSEC_3DES_CBC, 24, 8, 8, "sha1", ""),
    hashed("null", lib.FPC_IPSEC_NULL, 0, 0, 4, "sha256", "NULL"),
]  # fmt: skip
BY_NAME = {suite.name: suite for suite in SUITES}
GCM = BY_NAME["aes128-gcm-16"]
CBC_SHA256 = BY_NAME["aes128-cbc-sha256"]
