#!/usr/bin/env bash
# fsspec calls every failure of a web server a missing file: 403 and 500 are FileNotFoundError, and `exists` is
# False.
#
# Versions: fsspec 2026.9.0, aiohttp 3.14.5; Python 3.11.7 on Linux x86-64.
#
# A server on this machine answers one path with 404, one with 403, and one with 500. `info` raises
# FileNotFoundError for all three, and `exists` answers False, without a word. What happened is only in the
# `__cause__` of the error, which is printed here. `cat_file` tells 404 from the others.
#
# It matters to whoever reports an error to a person, or writes a file if it does not exist: a server that is
# down for a minute looks like an empty one. Look at the status of the cause.
#
# Output seen:
#
#   404: info FileNotFoundError because of 404; cat_file FileNotFoundError; exists False
#   403: info FileNotFoundError because of 403; cat_file ClientResponseError; exists False
#   500: info FileNotFoundError because of 500; cat_file ClientResponseError; exists False

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
        self.send_response(int(self.path[1:]))
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *arguments):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
files = fsspec.filesystem("http")
seen = []
for status in (404, 403, 500):
    url = f"http://127.0.0.1:{server.server_port}/{status}"
    kinds = []
    for ask in (files.info, files.cat_file):
        try:
            ask(url)
        except Exception as error:
            cause = getattr(error.__cause__, "status", None)
            kinds.append(type(error).__name__ + (f" because of {cause}" if cause else ""))
    seen.append((status, *kinds, files.exists(url)))
    print(f"{status}: info {kinds[0]}; cat_file {kinds[1]}; exists {seen[-1][-1]}")
if seen != [
    (404, "FileNotFoundError because of 404", "FileNotFoundError", False),
    (403, "FileNotFoundError because of 403", "ClientResponseError", False),
    (500, "FileNotFoundError because of 500", "ClientResponseError", False),
]:
    sys.exit("The behaviour changed.")
END
