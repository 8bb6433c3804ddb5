"""A TCP relay that can cut connections, so that a test decides what a client sees of its server."""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import dataclass, field


@dataclass
class Relay:
    """Relays to `target`. While `cut_after` is set, a connection is reset once so many bytes were sent to the server.

    `swallow_answers` lets requests through whole and resets the connection when the server begins to answer: the
    client can't know what happened. While `hold_after` is set, no more bytes than that of an answer are passed on until
    `go_on`; `held` counts the answers that wait so.
    """

    target: tuple[str, int]
    cut_after: int | None = None
    swallow_answers: bool = False
    hold_after: int | None = None
    cuts: int = 0
    held: int = 0
    _open: list[socket.socket] = field(default_factory=list)
    _released: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def cut(self) -> None:
        """Resets what is open; new connections are taken as before."""
        ends, self._open = self._open, []
        self._cut(*ends)

    def go_on(self) -> None:
        """Holds no answer any more."""
        self.hold_after = None
        self._released.set()

    def close(self) -> None:
        """Takes no further connections and resets those that are open."""
        self.go_on()
        # Waiting in `accept` keeps a closed listener listening; this wakes it.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()
        for one in self._open:
            _reset(one)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self.target)
                self._open += [client, server]
                threading.Thread(target=self._requests, args=(client, server), daemon=True).start()
                threading.Thread(target=self._answers, args=(client, server), daemon=True).start()

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        sent = 0
        with contextlib.suppress(OSError):
            while data := client.recv(65_536):
                sent += len(data)
                if self.cut_after is not None and sent > self.cut_after:
                    self._cut(client, server)
                    return
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def _answers(self, client: socket.socket, server: socket.socket) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := server.recv(65_536):
                if self.swallow_answers:
                    self._cut(client, server)
                    return
                if self.hold_after is not None and passed + len(data) > self.hold_after:
                    now = self.hold_after - passed
                    client.sendall(data[:now])
                    data = data[now:]
                    self.held += 1
                    self._released.wait()
                passed += len(data)
                client.sendall(data)
            client.shutdown(socket.SHUT_WR)

    def _cut(self, *ends: socket.socket) -> None:
        self.cuts += 1
        for end in ends:
            _reset(end)


def _reset(end: socket.socket) -> None:
    """An abrupt reset instead of an orderly end.

    While another thread waits in `recv` the kernel keeps a connection open beyond `close`; ending the reading side
    wakes that thread and tells the peer nothing.
    """
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        end.shutdown(socket.SHUT_RD)
    end.close()
