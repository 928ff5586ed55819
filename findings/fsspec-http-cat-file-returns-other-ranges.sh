#!/usr/bin/env bash
# fsspec's `cat_file(url, start, end)` returns whatever bytes a web server sends, be it the whole file or less
# than was asked for.
#
# Versions: fsspec 2026.9.0, aiohttp 3.14.5; Python 3.11.7 on Linux x86-64.
#
# HTTP lets a server ignore a request for a range (status 200 and the whole file), and lets it send a part of
# the range (status 206, with Content-Range saying which). `cat_file` looks at neither: asked for 10,000 bytes
# it returns 102,400 or 1,000, without an error. An opened file notices the first: it raises ValueError.
#
# It matters to whoever reads parts of files by `cat_file` or `cat_ranges`: compare the length of what comes,
# and at best Content-Range, with what was asked for.
#
# Output seen:
#
#   the server sends the range: cat_file returns 10,000 bytes of the 10,000; right: True
#   the server sends the whole file: cat_file returns 102,400 bytes of the 10,000; right: False
#   the server sends a part of the range: cat_file returns 1,000 bytes of the 10,000; right: False

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    fsspec==2026.9.0 aiohttp==3.14.5
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import http.server, re, sys, threading
import fsspec

DATA = bytes(range(256)) * 400


class Server(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        start, stop, status = 0, len(DATA), 200
        asked = re.match(r"bytes=(\d+)-(\d+)$", self.headers.get("Range", ""))
        if asked and self.path != "/whole":
            start, stop, status = int(asked[1]), int(asked[2]) + 1, 206
            if self.path == "/some":
                stop = min(stop, start + 1000)
        self.send_response(status)
        self.send_header("Content-Length", str(stop - start))
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(DATA)}")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(DATA[start:stop])

    do_HEAD = do_GET

    def log_message(self, *arguments):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
files = fsspec.filesystem("http")
seen = []
for name, words in (("all", "the range"), ("whole", "the whole file"), ("some", "a part of the range")):
    data = files.cat_file(f"http://127.0.0.1:{server.server_port}/{name}", start=10_000, end=20_000)
    seen.append((len(data), data == DATA[10_000:20_000]))
    print(f"the server sends {words}: cat_file returns {seen[-1][0]:,} bytes of the 10,000; right: {seen[-1][1]}")
if seen != [(10_000, True), (102_400, False), (1_000, False)]:
    sys.exit("The behaviour changed.")
END
