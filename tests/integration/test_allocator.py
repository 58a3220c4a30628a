"""What a hub's process asks of the C library's allocator: that large blocks go back when they are freed."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving import Serving, environment

pytestmark = pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="this C library tells nothing of its blocks"
)
_LARGE = """
import ctypes
class Told(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
                "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]
library = ctypes.CDLL(None)
library.mallinfo2.restype = Told
def large():
    "How many of ten blocks of 1 MB have pages of their own, after larger ones came and went."
    for _ in range(3):
        bytearray(8_000_000)
    before = library.mallinfo2().hblks
    held = [bytearray(1_000_000) for _ in range(10)]
    return library.mallinfo2().hblks - before
"""


def said(code: str, **more: str) -> str:
    command = [sys.executable, "-c", _LARGE + code]
    return subprocess.run(command, env=environment(**more), capture_output=True, text=True, check=True).stdout.strip()


def test_large_blocks_have_pages_of_their_own_whatever_came_before() -> None:
    asks = "from segue_hub.cli.allocator import give_back_large_blocks; print(give_back_large_blocks(), large())"
    assert said("print(large())") == "0"  # as glibc does it by itself: the control
    assert said(asks) == "True 10"


@pytest.mark.parametrize("name", ["MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"])
def test_what_an_operator_says_is_left_alone(name: str) -> None:
    asks = "from segue_hub.cli.allocator import give_back_large_blocks; print(give_back_large_blocks(), large())"
    value = "glibc.malloc.mmap_threshold=4000000" if name == "GLIBC_TUNABLES" else "4000000"
    assert said(asks, **{name: value}) == "False 0"


def test_a_hub_that_serves_has_asked_for_it(tmp_path: Path) -> None:
    ends = f"import atexit\natexit.register(lambda: open({str(tmp_path / 'large')!r}, 'w').write(str(large())))\n"
    hub = Serving(tmp_path)
    hub.command = [sys.executable, "-c", _LARGE + ends + "from segue_hub.cli import main\nmain()"]
    hub.start()
    assert hub.stop() == 0
    assert (tmp_path / "large").read_text() == "10"
