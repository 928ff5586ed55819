"""Local web servers for the tests of URLs: of a folder, and of files in memory that count requests and misbehave."""

import http.server
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import ClassVar


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """Return start and stop of the one range that a Range header names in `size` bytes; None without such a header."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", header)
    if match is None:
        return None
    if not match[1]:  # the last bytes
        return max(0, size - int(match[2])), size
    return int(match[1]), min(int(match[2] or size), size - 1) + 1


class RangeHandler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder as Python's own server does, and also one byte range if a request has one."""

    requested: ClassVar[list[str]] = []  # "GET /a.npy bytes=0-9", cleared by `served`

    def send_head(self):
        self.requested.append(f"{self.command} {self.path} {self.headers.get('Range', '')}".strip())
        path = Path(self.translate_path(self.path))
        size = path.stat().st_size if path.is_file() else 0
        requested = byte_range(self.headers.get("Range", ""), size)
        if requested is None or not path.is_file():
            return super().send_head()
        start, stop = requested
        if start >= size:
            self.send_error(416)
            return None
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        file = path.open("rb")
        file.seek(start)
        self._left = stop - start
        return file

    def copyfile(self, source, outputfile):
        outputfile.write(source.read(getattr(self, "_left", -1)))

    def end_headers(self):
        self.send_header("Accept-Ranges", "bytes")
        super().end_headers()

    def log_message(self, *args):
        pass


class StreamHandler(RangeHandler):
    """Serves a folder without ranges and without lengths."""

    def send_head(self):
        del self.headers["Range"]
        return super().send_head()

    def send_header(self, keyword, value):
        if keyword not in ("Content-Length", "Accept-Ranges"):
            super().send_header(keyword, value)


@contextmanager
def served(root: Path, handler: type[RangeHandler] = RangeHandler) -> Iterator[str]:
    """Serve `root` while the `with` block runs; yield the address, with a slash at the end."""
    RangeHandler.requested.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(root)))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Served:
    """Files in memory, and how a server serves them.

    ranges : "all", "no-suffix" (no ranges that count from the end), or "none" (ranges are ignored)
    failures : for each of the next requests, a status code, or "cut" for an answer that breaks off
    query : the query that every URL must have, such as a signature
    asked : (method, Range header, bytes sent) of every request
    """

    files: dict[str, bytes]
    ranges: str = "all"
    failures: list = field(default_factory=list)
    query: str = ""
    etag: str = '"1"'
    url: str = ""
    asked: list = field(default_factory=list)

    @property
    def gets(self):
        return [asked for asked in self.asked if asked[0] == "GET"]

    @property
    def heads(self):
        return [asked for asked in self.asked if asked[0] == "HEAD"]

    @property
    def bytes_sent(self):
        return sum(asked[2] for asked in self.asked)


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers the requests for a Served."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(with_body=True)

    def do_HEAD(self):
        self.answer(with_body=False)

    def answer(self, with_body):
        served, header = self.server.served, self.headers.get("Range", "")
        path, _, query = self.path.partition("?")
        data = served.files.get(path.removeprefix("/"))
        failure = served.failures.pop(0) if served.failures else 0
        if data is None or query != served.query or failure not in (0, "cut"):
            self.reply(404 if data is None else 403 if query != served.query else failure, b"", header, with_body)
            return
        requested = byte_range(header, len(data))
        if requested is None or served.ranges == "none":
            self.reply(200, data, header, with_body, failure == "cut")
            return
        start, stop = requested
        if start >= stop or (header.startswith("bytes=-") and served.ranges == "no-suffix"):
            self.reply(416, b"", header, with_body)
            return
        self.range = f"bytes {start}-{stop - 1}/{len(data)}"
        self.reply(206, data[start:stop], header, with_body, failure == "cut")

    def reply(self, status, body, header, with_body, cut=False):
        sent = body[: len(body) // 2] if cut else body
        self.server.served.asked.append((self.command, header, len(sent) if with_body else 0))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", self.server.served.etag)
        if status == 206:
            self.send_header("Content-Range", self.range)
        self.end_headers()
        if with_body:
            try:
                self.wfile.write(sent)
            except ConnectionError:  # the client needs no more of it
                self.close_connection = True
        if cut:
            self.close_connection = True

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # clients may hang up


def serve(served):
    """Start a server of a Served; return a function that stops it."""
    server = Server(("127.0.0.1", 0), Handler)
    server.served = served
    served.url = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()

    def stop():
        server.shutdown()
        server.server_close()
        thread.join()

    return stop
