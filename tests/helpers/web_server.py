"""A local web server with ranges of bytes (or without), for the tests of URLs."""

import http.server
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import ClassVar


class RangeHandler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder as Python's own server does, and one range of bytes if a request asks for it."""

    requested: ClassVar[list[str]] = []  # "GET /a.npy bytes=0-9", cleared by `served`

    def send_head(self):
        self.requested.append(f"{self.command} {self.path} {self.headers.get('Range', '')}".strip())
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        path = Path(self.translate_path(self.path))
        if wanted is None or not path.is_file():
            return super().send_head()
        size = path.stat().st_size
        if wanted[1]:
            start, stop = int(wanted[1]), min(int(wanted[2] or size), size - 1) + 1
        else:  # the last bytes
            start, stop = max(0, size - int(wanted[2])), size
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
    """The same without ranges and without lengths."""

    def send_head(self):
        del self.headers["Range"]
        return super().send_head()

    def send_header(self, keyword, value):
        if keyword not in ("Content-Length", "Accept-Ranges"):
            super().send_header(keyword, value)


@contextmanager
def served(root: Path, handler: type[RangeHandler] = RangeHandler) -> Iterator[str]:
    """The address of a server of `root`, with a slash at the end, while the `with` block runs."""
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
