"""A sign-in page: sends whoever asks for anything to itself.

usage: portal.py ADDRESS PORT URL
"""
import http.server, sys


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(302)
        self.send_header("Location", sys.argv[3])
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Page)
print("ready", flush=True)
server.serve_forever()
