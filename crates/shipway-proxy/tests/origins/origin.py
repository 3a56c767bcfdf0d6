# Python's own server as an origin: argv is a socket's path and a log's.
import http.server
import socketserver
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        seen = f"{self.command} {self.path} {self.headers.get('x-request-id')}"
        with open(sys.argv[2], "a") as log:
            print(seen, file=log)
        body = f"seen {seen};".encode()
        self.send_response(200)
        self.send_header("Content-Length", len(body))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer

    # A peer on a unix socket has no address.
    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 128


Server(sys.argv[1], Handler).serve_forever()
