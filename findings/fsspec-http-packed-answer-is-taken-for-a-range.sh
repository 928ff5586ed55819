#!/usr/bin/env bash
# fsspec reads wrong bytes, without an error, from a web server that packs what it sends and ignores ranges.
#
# Versions: fsspec 2026.9.0, aiohttp 3.14.5; Python 3.11.7 on Linux x86-64.
#
# If a server answers a request for a range with the whole file, an opened file of fsspec raises ValueError,
# which it knows by the length of the answer. But a server may also pack its answer by gzip, because aiohttp
# says that it takes that. Content-Length is then that of the packed bytes, which is less than the range: the
# answer passes for the range, is unpacked, and its first bytes are returned for those at the place that was
# asked for. With the header `Accept-Encoding: identity` it is an error again, as it should be.
#
# It matters to whoever reads parts of files that pack well from servers that he does not run: send that header.
#
# Output seen:
#
#   a file of 102,400 bytes; packed it has less than 48,000: True
#   from byte 50,000 on it holds b'000000000003125\n'
#   as it is: read b'000000000000125\n'
#   identity: ValueError: The HTTP server doesn't appear to support range requests.

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    fsspec==2026.9.0 aiohttp==3.14.5
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import gzip, http.server, sys, threading
import fsspec

DATA = b"".join(b"%015d\n" % number for number in range(6_400))


class Server(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        packs = self.command == "GET" and "gzip" in self.headers.get("Accept-Encoding", "")
        data = gzip.compress(DATA) if packs else DATA
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        if packs:
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        if self.command == "GET":
            try:
                self.wfile.write(data)
            except ConnectionError:  # the client has read enough
                pass

    do_HEAD = do_GET

    def log_message(self, *arguments):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
server.handle_error = lambda *arguments: None  # a client that hangs up is none
threading.Thread(target=server.serve_forever, daemon=True).start()
files = fsspec.filesystem("http")
print(f"a file of {len(DATA):,} bytes; packed it has less than 48,000: {len(gzip.compress(DATA)) < 48_000}")
print("from byte 50,000 on it holds", DATA[50_000:50_016])
seen = []
for name, options in (("as it is", {}), ("identity", {"headers": {"Accept-Encoding": "identity"}})):
    url = f"http://127.0.0.1:{server.server_port}/file"
    with files.open(url, "rb", block_size=48_000, cache_type="blockcache", **options) as file:
        file.seek(50_000)
        try:
            seen.append(file.read(16))
            print(f"{name}: read {seen[-1]}")
        except ValueError as error:
            seen.append(None)
            print(f"{name}: ValueError: {str(error).split('.')[0]}.")
if seen[0] in (None, DATA[50_000:50_016]) or seen[1] is not None:
    sys.exit("The behaviour changed.")
END
