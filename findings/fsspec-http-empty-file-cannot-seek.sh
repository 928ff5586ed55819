#!/usr/bin/env bash
# fsspec opens an empty file of a web server as a stream of unknown length, which cannot seek, though it knows
# that it has 0 bytes.
#
# Versions: fsspec 2026.9.0, aiohttp 3.14.5; Python 3.11.7 on Linux x86-64.
#
# Two files of one server, of 1 byte and of none. `info` gives both sizes. Opened, the first one has a size and
# can seek to its end. The second one is of another class, has the size None, and raises ValueError on `seek(0,
# 2)`, because a length of 0 is taken for one that is not known.
#
# It matters to whoever hands remote files to a reader that begins at the end, as those of ZIP and Parquet do:
# it fails with the words of a server without ranges instead of those of an empty file. Ask for the size first.
#
# Output seen:
#
#   info says 1 bytes; opened as HTTPFile, size 1; seek to the end: 1
#   info says 0 bytes; opened as HTTPStreamFile, size None; seek to the end: ValueError: Cannot seek streaming HTTP file

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    fsspec==2026.9.0 aiohttp==3.14.5
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import http.server, sys, threading
import fsspec


class Server(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        data = {"/one": b"x", "/none": b""}[self.path]
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    do_HEAD = do_GET

    def log_message(self, *arguments):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
files = fsspec.filesystem("http")
seen = []
for name in ("one", "none"):
    url = f"http://127.0.0.1:{server.server_port}/{name}"
    with files.open(url, "rb") as file:
        try:
            end = file.seek(0, 2)
        except ValueError as error:
            end = f"ValueError: {error}"
        seen.append((files.info(url)["size"], type(file).__name__, file.size, end))
    print("info says {} bytes; opened as {}, size {}; seek to the end: {}".format(*seen[-1]))
if seen[0] != (1, "HTTPFile", 1, 1) or seen[1][:3] != (0, "HTTPStreamFile", None) or "ValueError" not in str(seen[1][3]):
    sys.exit("The behaviour changed.")
END
