"""A service behind the gateway; runs in a container from the base image, on the port that it is given.

/slow answers after 2 s, /stream sends ten events in 5 s, /status/<code> answers with that, /hangup not at all, /early
before the body has come whole, /count how often /hangup was asked; all else tells what it received.
"""

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

hangups = []


class Handler(BaseHTTPRequestHandler):
    # As the services speak it: connections stay open.
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path
        if path.endswith("/hangup"):
            hangups.append(path)
            self.close_connection = True
            return
        if path.endswith("/slow"):
            time.sleep(2)
        stream = path.endswith("/stream")
        self.send_response(int(path.rpartition("/status/")[2]) if "/status/" in path else 200)
        self.send_header("Content-Type", "text/event-stream" if stream else "application/json")
        told = {"path": path, "headers": dict(self.headers), "host": os.uname().nodename, "hangups": len(hangups)}
        body = b"" if stream else json.dumps(told).encode()
        if stream or path.endswith("/early"):
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        for number in range(10 if stream else 0):
            self.wfile.write(f"data: {number}\n\n".encode())
            time.sleep(0.5)

    def do_POST(self) -> None:
        self.rfile.read(4 if self.path.endswith("/early") else int(self.headers["Content-Length"]))
        self.do_GET()


ThreadingHTTPServer(("", int(sys.argv[1])), Handler).serve_forever()
