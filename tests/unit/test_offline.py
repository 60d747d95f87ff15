"""The network guard, tried from the main thread, a thread, a library, a child process and a started program."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest

from geno_model.offline import NetworkAttemptError, no_network

ADDRESS = ("127.0.0.1", 9)


def connect() -> None:
    with socket.socket(socket.AF_INET) as client:
        client.connect(ADDRESS)


def send_datagram() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"x", ADDRESS)


def ask_library() -> None:
    urllib.request.urlopen("http://127.0.0.1:9/")


@pytest.mark.parametrize(
    "attempt",
    [
        connect,
        send_datagram,
        ask_library,
        lambda: socket.getaddrinfo("localhost", 80),
        lambda: socket.gethostbyname("localhost"),
        lambda: subprocess.run([sys.executable, "-c", ""]),
        lambda: os.system("true"),
    ],
    ids=["connect", "datagram", "library", "getaddrinfo", "gethostbyname", "program", "shell"],
)
def test_every_way_out_is_refused(attempt) -> None:
    with pytest.raises(NetworkAttemptError, match="local files only"), no_network():
        attempt()


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
