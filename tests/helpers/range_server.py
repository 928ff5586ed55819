"""A web server of files in memory, with ranges of bytes, that counts what is asked of it and can misbehave."""

import http.server
import re
import threading
from dataclasses import dataclass, field


@dataclass
class Served:
    """What a server serves, and how.

    ranges : "all", "no-suffix" (none that count from the end), or "none" (ranges are ignored)
    failures : status codes, or "cut" for an answer that breaks off, of the next requests
    query : what every URL must end with, as a signature does
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
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(with_body=True)

    def do_HEAD(self):
        self.answer(with_body=False)

    def answer(self, with_body):
        served, wanted = self.server.served, self.headers.get("Range", "")
        path, _, query = self.path.partition("?")
        data = served.files.get(path.removeprefix("/"))
        failure = served.failures.pop(0) if served.failures else 0
        if data is None or query != served.query or failure not in (0, "cut"):
            self.reply(404 if data is None else 403 if query != served.query else failure, b"", wanted, with_body)
            return
        place = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted)
        if place is None or served.ranges == "none":
            self.reply(200, data, wanted, with_body, failure == "cut")
            return
        if not place[1]:
            start, stop = max(0, len(data) - int(place[2])), len(data)
        else:
            start, stop = int(place[1]), min(int(place[2] or len(data)) + 1, len(data))
        if start >= stop or (not place[1] and served.ranges == "no-suffix"):
            self.reply(416, b"", wanted, with_body)
            return
        self.range = f"bytes {start}-{stop - 1}/{len(data)}"
        self.reply(206, data[start:stop], wanted, with_body, failure == "cut")

    def reply(self, status, body, wanted, with_body, cut=False):
        sent = body[: len(body) // 2] if cut else body
        self.server.served.asked.append((self.command, wanted, len(sent) if with_body else 0))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", self.server.served.etag)
        if status == 206:
            self.send_header("Content-Range", self.range)
        self.end_headers()
        if with_body:
            try:
                self.wfile.write(sent)
            except ConnectionError:  # the client wanted no more of it
                self.close_connection = True
        if cut:
            self.close_connection = True

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # clients may go


def serve(served):
    """Begin to serve; returns what ends it."""
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
