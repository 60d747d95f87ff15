"""The network guard, tried from the main thread, a thread, libraries, child processes and started programs.

Most attempts aim at a server of this test that counts who arrives: refused means that nobody did.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import multiprocessing
import os
import pty
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from geno_model.offline import NetworkAttemptError, no_network

ADDRESS = ("127.0.0.1", 9)


class Server:
    """A TCP and a UDP socket of this machine at one port; `arrivals` counts what came in."""

    def __init__(self) -> None:
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.tcp.getsockname()[1])
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", self.port))
        self.tcp.settimeout(0)
        self.udp.settimeout(0)

    def arrivals(self) -> int:
        """Connections and datagrams since the last call. The kernel queues both before the sender's call returns."""
        n_arrived = 0
        for receive in (lambda: self.tcp.accept()[0].close(), lambda: self.udp.recv(100)):
            while True:
                try:
                    receive()
                except BlockingIOError:
                    break
                n_arrived += 1
        return n_arrived


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    with server.tcp, server.udp:
        yield server


def connect() -> None:
    with socket.socket(socket.AF_INET) as client:
        client.connect(ADDRESS)


def tcp(port: int) -> None:
    with socket.socket(socket.AF_INET) as client:
        client.connect(("127.0.0.1", port))


def tcp_connect_ex(port: int) -> None:
    with socket.socket(socket.AF_INET) as client:
        client.connect_ex(("127.0.0.1", port))


def tcp_over_ipv6(port: int) -> None:
    with socket.socket(socket.AF_INET6) as client:
        client.connect(("::ffff:127.0.0.1", port))


def tcp_by_name(port: int) -> None:
    socket.create_connection(("localhost", port)).close()


def udp_sendto(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"x", ("127.0.0.1", port))


def udp_sendmsg(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendmsg([b"x"], [], 0, ("127.0.0.1", port))


def with_urllib(port: int) -> None:
    urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=0.1)


def with_requests(port: int) -> None:
    pytest.importorskip("requests").get(f"http://127.0.0.1:{port}/", timeout=0.1)


def with_httpx2(port: int) -> None:
    importlib.import_module("httpx2").get(f"http://127.0.0.1:{port}/", timeout=0.1)


def with_asyncio(port: int) -> None:
    asyncio.run(asyncio.wait_for(_open(port), 1))


async def _open(port: int) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()


ATTEMPTS: list[Callable[[int], None]] = [
    tcp, tcp_connect_ex, tcp_over_ipv6, tcp_by_name, udp_sendto, udp_sendmsg, with_urllib, with_requests, with_httpx2,
    with_asyncio,
]  # fmt: skip


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: attempt.__name__)
def test_no_connection_arrives(attempt: Callable[[int], None], server: Server) -> None:
    with pytest.raises(NetworkAttemptError, match="reach the network"), no_network():
        attempt(server.port)
    assert server.arrivals() == 0
    try:  # the same without the guard does arrive; that nobody answers is no matter
        attempt(server.port)
    except Exception as error:
        if "Cannot assign" in str(error) or "not supported" in str(error):
            pytest.skip(f"this machine has no such network: {error}")
    assert server.arrivals() >= 1


@pytest.mark.parametrize(
    "lookup",
    [
        lambda: socket.getaddrinfo("localhost", 80),
        lambda: socket.gethostbyname("localhost"),
        lambda: socket.gethostbyname_ex("localhost"),
        lambda: socket.gethostbyaddr("127.0.0.1"),
        lambda: socket.getnameinfo(("127.0.0.1", 80), 0),
        lambda: socket.getfqdn("localhost"),
    ],
    ids=["getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr", "getnameinfo", "getfqdn"],
)
def test_no_name_is_looked_up(lookup: Callable[[], object]) -> None:
    with pytest.raises(NetworkAttemptError, match="reach the network"), no_network():
        lookup()


def spawn_with_multiprocessing() -> None:
    process = multiprocessing.get_context("spawn").Process(target=print)
    process.start()
    process.join()


@pytest.mark.parametrize(
    "start",
    [
        lambda: subprocess.run([sys.executable, "-c", ""]),
        lambda: os.system("true"),
        lambda: os.popen("true").close(),
        lambda: os.posix_spawn("/bin/true", ["true"], {}),
        lambda: os.execv("/bin/true", ["true"]),
        lambda: pty.spawn("/bin/true"),
        spawn_with_multiprocessing,
    ],
    ids=["subprocess", "system", "popen", "posix_spawn", "exec", "pty", "multiprocessing"],
)
def test_no_program_is_started(start: Callable[[], object]) -> None:
    with pytest.raises(NetworkAttemptError, match="start another program"), no_network():
        start()


def test_a_program_started_from_a_forked_child_does_not_run(tmp_path: Path) -> None:
    """`os.spawnv` forks and hides what becomes of the child: 127, as for a program that is not there."""
    with no_network():
        assert os.spawnv(os.P_WAIT, "/usr/bin/touch", ["touch", str(tmp_path / "ran")]) == 127
    assert not (tmp_path / "ran").exists()


def test_multiprocessing_works_again_after_the_guard() -> None:
    with no_network():
        pass
    process = multiprocessing.get_context("spawn").Process(target=int)
    process.start()
    process.join()
    assert process.exitcode == 0


HUB_DOWNLOAD = """
import contextlib, sys
from geno_model.offline import NetworkAttemptError, no_network
if sys.argv[2] != "import under the guard":
    import huggingface_hub.constants
try:
    with contextlib.nullcontext() if sys.argv[2] == "no guard" else no_network():
        from huggingface_hub import errors, hf_hub_download
        try:
            hf_hub_download(
                "a/b", "c.json", endpoint=f"http://127.0.0.1:{sys.argv[1]}", cache_dir=sys.argv[3], etag_timeout=0.2
            )
        except errors.LocalEntryNotFoundError:
            print("offline")
except NetworkAttemptError:
    print("refused")
"""


def start_hub_download(server: Server, when: str, cache: Path) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_OFFLINE")}
    command = [sys.executable, "-c", HUB_DOWNLOAD, str(server.port), when, str(cache)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


@pytest.mark.parametrize(("when", "outcome"), [("import under the guard", "offline"), ("import before it", "refused")])
def test_the_hub_downloads_nothing(server: Server, tmp_path: Path, when: str, outcome: str) -> None:
    """Imported under the guard it knows that it is offline; imported before it is stopped when it tries."""
    with start_hub_download(server, when, tmp_path) as process:
        told, _ = process.communicate(timeout=60)
    assert told.split() == [outcome]
    assert server.arrivals() == 0


def test_the_hub_would_download_without_the_guard(server: Server, tmp_path: Path) -> None:
    """So that the test above does not pass because the address is a wrong one."""
    with start_hub_download(server, "no guard", tmp_path) as process:
        deadline = time.monotonic() + 60
        while not (n_arrived := server.arrivals()) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.kill()  # it would ask again and again
    assert n_arrived > 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the layout of an address is that of Linux")
def test_what_the_guard_cannot_see_is_a_compiled_library(server: Server) -> None:
    """The limit, stated: C code that opens a socket itself raises no audit event, and it does arrive."""
    libc = ctypes.CDLL(None)
    address = struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", server.port, bytes([127, 0, 0, 1]))
    with no_network() as guard:
        descriptor = libc.socket(socket.AF_INET, socket.SOCK_STREAM, 0)
        assert libc.connect(descriptor, address, len(address)) == 0
        os.close(descriptor)
    assert guard.attempts == [] and server.arrivals() == 1


def test_an_attempt_that_a_library_swallows_is_told_at_the_end() -> None:
    with pytest.raises(NetworkAttemptError), no_network() as guard:
        try:
            connect()
        except BaseException:
            pass
        assert guard.attempts == ["socket.connect"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_attempt_in_a_thread_is_refused_and_told() -> None:
    reached: list[bool] = []

    def work() -> None:
        connect()
        reached.append(True)

    with pytest.raises(NetworkAttemptError), no_network() as guard:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert not reached
        guard.check()


def test_a_forked_child_is_guarded_too() -> None:
    with no_network():
        child = os.fork()
        if child == 0:
            try:
                connect()
            except NetworkAttemptError:
                os._exit(44)
            os._exit(0)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 44


def test_files_of_this_machine_are_no_network(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(str(tmp_path / "s"))
        server.listen()
        with no_network() as guard:
            client.connect(str(tmp_path / "s"))
    assert not guard.attempts


def test_the_guard_ends_with_its_block_and_sets_the_offline_switches() -> None:
    with no_network():
        assert os.environ["HF_HUB_OFFLINE"] == "1"
    with pytest.raises(OSError):  # refused by the machine (nobody listens), no longer by us
        connect()
    assert subprocess.run([sys.executable, "-c", ""]).returncode == 0
