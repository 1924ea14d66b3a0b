"""Foreign archives: what an honest one holds is read, what a hostile one asks for is refused; nothing else happens."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import random
import tarfile
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semblance.manifests.errors import ArchiveError
from semblance.shards import tar as tario
from semblance.shards.tar import ArchiveConfig, Foreign
from tests.ingest.archives import archive, bomb, entry

Found = list[tuple[str, bool, int, str | None, bytes]]


def read(data: bytes, config: ArchiveConfig | None = None) -> tuple[Found, str | None]:
    """All that could be read, and the fault that ended it."""
    found: Found = []
    try:
        for one in tario.read_foreign(io.BytesIO(data), len(data), config or ArchiveConfig()):
            content = one.read() if one.refused is None and not one.folder else b""
            found.append((one.name, one.folder, one.size, one.refused, content))
    except ArchiveError as error:
        return found, str(error)
    return found, None


@given(
    st.dictionaries(
        st.lists(st.text("abz.", min_size=1, max_size=70).filter(lambda s: s.strip(".")), min_size=1, max_size=4).map(
            "/".join
        ),
        st.binary(max_size=2000),
        max_size=8,
    ),
    st.sampled_from((lambda data: data, lambda data: gzip.compress(data, 1, mtime=0), bz2.compress)),
    st.booleans(),
)
@settings(max_examples=60)
def test_what_is_in_it_comes_out_as_with_pythons_own_reader(members, pack, dotted) -> None:  # type: ignore[no-untyped-def]
    plain = archive([(f"./{name}" if dotted else name, data) for name, data in members.items()])
    found, fault = read(pack(plain))
    assert fault is None
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        theirs = [(info.name.removeprefix("./"), tar.extractfile(info).read()) for info in tar]
    assert [(name, content) for name, _, _, _, content in found] == theirs == list(members.items())


@pytest.mark.parametrize(
    ("member", "why"),
    [
        (entry("/etc/passwd"), "absolute"),
        (entry("C:/x.png"), "absolute"),
        (entry("\\\\host\\x.png"), "absolute"),
        (entry("a/../../x.png"), "contains .."),
        (entry("a\\..\\x.png"), "contains .."),
        (entry("x" * 10_000 + ".png"), "more than 1000 characters"),
        (entry("a/\udcff.png"), "not UTF-8"),
        (entry("x.png", tarfile.SYMTYPE, link="/etc/passwd"), "a link"),
        (entry("x.png", tarfile.LNKTYPE, link="y.png"), "a link"),
        (entry("x.png", tarfile.CHRTYPE), "a device"),
        (entry("x.png", tarfile.BLKTYPE), "a device"),
        (entry("x.png", tarfile.FIFOTYPE), "a device"),
    ],
)
def test_refused_members_say_why_and_the_rest_is_read(member: tarfile.TarInfo, why: str) -> None:
    found, fault = read(archive([("a/1.png", b"1"), (member, b""), ("a/2.png", b"2")]))
    assert fault is None
    assert [(name, refused is None) for name, _, _, refused, _ in found][::2] == [("a/1.png", True), ("a/2.png", True)]
    assert why in (found[1][3] or "")


def test_a_large_member_is_passed_over() -> None:
    found, fault = read(archive({"a/1.png": bytes(2000), "a/2.png": b"2"}), ArchiveConfig(member_bytes=1000))
    assert fault is None
    assert [(name, refused) for name, _, _, refused, _ in found] == [
        ("a/1.png", "it is larger than 1000 bytes"),
        ("a/2.png", None),
    ]


def test_too_many_members_end_it() -> None:
    found, fault = read(archive({f"a/{i}.png": b"" for i in range(9)}), ArchiveConfig(members=5))
    assert len(found) == 5
    assert fault == "it has more than 5 members"


def test_a_bomb_ends_early_and_holds_nothing() -> None:
    data = bomb(600)
    assert len(data) < 1 << 20
    started = time.process_time()
    found, fault = read(data, ArchiveConfig())
    assert found == [("1/real/9/0.png", False, 600 << 20, "it is larger than 16777216 bytes", b"")]
    assert "unpacks to more than 20 times its size" in (fault or "")
    assert time.process_time() - started < 5  # 64 MiB were unpacked, not 600


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no tar",
        b"no tar" * 500,
        gzip.compress(b"no tar" * 500, mtime=0),
        archive({"a/1.png": b"1"})[:100],
        b"\x1f\x8b" + bytes(600),
        b"BZh9" + bytes(600),
        b"PK\x03\x04" + bytes(2000),
    ],
)
def test_what_is_no_archive_is_called_so(data: bytes) -> None:
    found, fault = read(data)
    assert not found
    assert fault is not None


@pytest.mark.parametrize("packed", [False, True])
def test_cut_anywhere_it_gives_a_beginning_and_says_so(packed: bool) -> None:
    whole = {f"a/{i}.png": bytes([i]) * (300 * i) for i in range(6)}
    data = archive(whole, packed=packed)
    end = len(data) if packed else tar_end(data)  # a tar ends with blocks of zeros: one is enough
    for cut in range(0, len(data), 97):
        found, fault = read(data[:cut])
        read_whole = [(name, content) for name, _, _, refused, content in found if refused is None]
        assert read_whole == list(whole.items())[: len(read_whole)]
        assert (fault is None) == (cut >= end), (cut, fault)


def tar_end(data: bytes) -> int:
    """Where the first block of zeros after the last member ends."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        last = tar.getmembers()[-1]
    return last.offset_data + -(-last.size // 512) * 512 + 512


def test_headers_that_nest_or_swell_are_given_up() -> None:
    """Ten thousand long-name headers in a row, and a pax header of 2 MiB: neither is followed."""
    link = entry("x", tarfile.GNUTYPE_LONGNAME, size=1).tobuf(tarfile.GNU_FORMAT) + b"y".ljust(512, b"\0")
    swollen = entry("x", tarfile.XHDTYPE, size=2 << 20).tobuf(tarfile.GNU_FORMAT) + bytes(2 << 20)
    first = archive({"a/1.png": b"1"})[:1024]
    for rest, why in ((link * 10_000, "recursion"), (swollen, "too many bytes")):
        found, fault = read(first + rest + bytes(1024))
        assert [name for name, *_ in found] == ["a/1.png"]
        assert why in (fault or "")


def test_mutations_end_in_members_or_in_one_kind_of_error() -> None:
    honest: list[tuple[str | tarfile.TarInfo, bytes]] = [
        (entry("./1/real/0/" + "n" * 200 + ".png"), b"7" * 700),
        ("1/real/0/1.png", b"8" * 90),
    ]
    for seed in range(400):
        draw = random.Random(seed)
        data = bytearray(archive([*honest, (entry("l", tarfile.SYMTYPE, link="x"), b"")], packed=seed % 3 == 0))
        for _ in range(draw.choice([1, 2, 8, 30])):
            place = draw.randrange(len(data))
            data[place : place + draw.choice([0, 1, 1, 1, 400])] = draw.randbytes(draw.choice([0, 1, 1, 1, 400]))
            data = data or bytearray(b"x")
        for name, _, _, refused, _ in read(bytes(data))[0]:
            assert refused or ".." not in name.split("/")


def test_a_fault_of_the_disk_is_not_one_of_the_archive() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 600:
                raise OSError(errno.EIO, "the disk is gone")
            return super().read(size)

    data = archive({"a/1.png": bytes(5000), "a/2.png": b"2"})
    with pytest.raises(OSError, match="the disk is gone"):
        list(members(Broken(data), len(data)))


def members(file: io.BytesIO, size: int) -> list[Foreign]:
    return list(tario.read_foreign(file, size, ArchiveConfig()))
