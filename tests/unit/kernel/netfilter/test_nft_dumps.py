"""Dumps of nftables that changed while they were read: read to their end, and read again. Nothing waits for what has come."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from reconciler.errors import HostError
from reconciler.kernel.netfilter.table_dump import GENERIC, TableReader
from reconciler.kernel.netlink.rtnetlink import HEADER, NLM_F_DUMP_INTR, NLMSG_DONE

NLM_F_MULTI = 0x2  # linux/netlink.h
NEWTABLE = 0xA00  # NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWTABLE
ENOENT = 2
NAME = b"\x08\x00\x01\x00one\x00"  # NFTA_TABLE_NAME


class Kernel:
    """The other end of a reader's socket: its answers lie ready before they are asked for."""

    def __init__(self) -> None:
        """Takes the place of the kernel at a reader's socket."""
        self.reader = TableReader()
        self.reader.close()
        self.reader._socket, self._end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.reader._socket.settimeout(1)
        self._dumps = 0

    def answer(self, *generations: int, flags: int = 0, code: int = 0, in_one: bool = True) -> None:
        """The next dump: a table of each generation, and the end, in one datagram or in two."""
        self._dumps += 1
        tables = b"".join(self._message(NEWTABLE, GENERIC.pack(0, 0, number) + NAME, 0) for number in generations)
        end = self._message(NLMSG_DONE, (-code).to_bytes(4, "little", signed=True), flags)
        for datagram in [tables + end] if in_one else [tables, end]:
            self._end.send(datagram)

    def _message(self, number: int, body: bytes, flags: int) -> bytes:
        return HEADER.pack(HEADER.size + len(body), number, NLM_F_MULTI | flags, self._dumps, 0) + body

    def close(self) -> None:
        self._end.close()
        self.reader.close()


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    made = Kernel()
    yield made
    made.close()


@pytest.mark.parametrize("in_one", [True, False])
def test_a_dump_of_two_generations_is_read_again(kernel: Kernel, in_one: bool) -> None:
    """Whether its end comes in the same datagram or in another, the next dump begins where that one ended."""
    kernel.answer(7, 8, in_one=in_one)
    kernel.answer(8, 8, in_one=in_one)
    assert kernel.reader.read_names("inet") == ("one", "one")


@pytest.mark.parametrize("in_one", [True, False])
def test_a_dump_that_was_interrupted_at_its_end_is_read_again(kernel: Kernel, in_one: bool) -> None:
    """The kernel may say so only of the end (NLM_F_DUMP_INTR), or that what it dumped is gone."""
    kernel.answer(7, flags=NLM_F_DUMP_INTR, in_one=in_one)
    kernel.answer(8, code=ENOENT, in_one=in_one)
    kernel.answer(9, in_one=in_one)
    assert kernel.reader.read_names("inet") == ("one",)


def test_a_ruleset_that_never_rests(kernel: Kernel) -> None:
    """It ends after some readings, with a sentence."""
    for number in range(8):
        kernel.answer(number, number + 1)
    with pytest.raises(HostError, match="changed in each of 8 readings"):
        kernel.reader.read_names("inet")
