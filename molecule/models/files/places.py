"""places.py MODELS CERTIFICATE KEY: stands in for the hub, a web server and S3, which tests can't ask for models.

Each is known by the name that it is asked for and serves the one path that the examples name, from a file in the
directory MODELS; the hub declares the file's commit and digest, and S3 wants a signature.
"""

from __future__ import annotations

import hashlib
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

PLACES = {
    "huggingface.co": (
        "/Qwen/Qwen2.5-0.5B-Instruct-GGUF/resolve/{revision}/qwen2.5-0.5b-instruct-q8_0.gguf",
        "hub-model.gguf",
    ),
    "models.example.com": ("/house-model.gguf", "house-model.gguf"),
    "models.s3.eu-central-1.amazonaws.com": ("/team-model.gguf", "hub-model.gguf"),
}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Places(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        place = self.headers["Host"]
        path, name = PLACES[place]
        url = urlsplit(self.path)
        if url.path not in [path.format(revision=revision) for revision in ("main", COMMIT)]:
            self.send_error(404)
        elif place.endswith(".amazonaws.com") and "X-Amz-Signature" not in parse_qs(url.query):
            self.send_error(403)
        else:
            content = (Path(sys.argv[1]) / name).read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", f'"{digest}"')
            if place == "huggingface.co":
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("X-Linked-Etag", f'"{digest}"')
                self.send_header("X-Linked-Size", str(len(content)))
            self.end_headers()
            self.wfile.write(content)


server = ThreadingHTTPServer(("127.0.0.1", 443), Places)
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(sys.argv[2], sys.argv[3])
server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
