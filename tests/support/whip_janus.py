#!/usr/bin/python3
"""A WHIP server (RFC 9725) in front of Janus' VideoRoom, for tests/targets_whip.rs.

Starts Janus with everything else switched off and speaks to it by a Unix socket. Prints its port once both are ready, then an empty JSON object
for each session that was ended by DELETE.
"""

import asyncio
import itertools
import json
import os
import socket
import subprocess
import sys
import tempfile

from aiohttp import web

OTHERS = ["http", "mqtt", "nanomsg", "rabbitmq", "websockets"]
PLUGINS = ["audiobridge", "duktape", "echotest", "lua", "nosip", "recordplay", "sip", "streaming", "textroom", "videocall", "voicemail"]


class Janus:
    """Requests to Janus and their answers, sorted by transaction."""

    def __init__(self, folder):
        path = os.path.join(folder, "socket")
        disabled = ",".join(f"libjanus_{name}.so" for name in OTHERS)
        plugins = ",".join(f"libjanus_{name}.so" for name in PLUGINS)
        config = {
            "janus.jcfg": f'plugins: {{ disable = "{plugins}" }}\ntransports: {{ disable = "{disabled}" }}\n',
            "janus.transport.pfunix.jcfg": f'general: {{ enabled = true\n path = "{path}"\n type = "SOCK_SEQPACKET" }}\n',
            "janus.plugin.videoroom.jcfg": 'room-1: { description = "test"\n publishers = 9\n audiocodec = "opus"\n videocodec = "vp8" }\n',
        }
        for name, text in config.items():
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write(text)
        log = open(os.path.join(folder, "log"), "w", encoding="utf-8")
        self.process = subprocess.Popen(["janus", "-F", folder, "-o"], stdout=log, stderr=log)
        self.path, self.waiting, self.numbers = path, {}, itertools.count()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    async def connect(self):
        """Waits until Janus listens."""
        while True:
            try:
                self.socket.connect(self.path)
                break
            except OSError:
                if self.process.poll() is not None:
                    sys.exit("janus ended")
                await asyncio.sleep(0.05)
        self.socket.setblocking(False)
        self.reader = asyncio.ensure_future(self.read())

    async def read(self):
        while True:
            message = json.loads(await asyncio.get_running_loop().sock_recv(self.socket, 1 << 16))
            # Of what takes time the first answer is but a receipt.
            if message.get("janus") == "ack":
                continue
            waiting = self.waiting.pop(message.get("transaction"), None)
            if waiting:
                waiting.set_result(message)

    async def ask(self, **request):
        number = str(next(self.numbers))
        waiting = self.waiting[number] = asyncio.get_running_loop().create_future()
        request["transaction"] = number
        await asyncio.get_running_loop().sock_sendall(self.socket, json.dumps(request).encode())
        return await waiting


async def main():
    with tempfile.TemporaryDirectory() as folder:
        janus = Janus(folder)
        try:
            await janus.connect()
            await serve(janus)
        finally:
            janus.process.kill()
            janus.process.wait()


async def serve(janus):
    async def publish(request):
        offer = {"type": "offer", "sdp": await request.text()}
        session = (await janus.ask(janus="create"))["data"]["id"]
        handle = (await janus.ask(janus="attach", session_id=session, plugin="janus.plugin.videoroom"))["data"]["id"]
        body = {"request": "joinandconfigure", "ptype": "publisher", "room": 1}
        joined = await janus.ask(janus="message", session_id=session, handle_id=handle, body=body, jsep=offer)
        headers = {"Location": f"/session/{session}"}
        return web.Response(status=201, content_type="application/sdp", headers=headers, text=joined["jsep"]["sdp"])

    async def end(request):
        await janus.ask(janus="destroy", session_id=int(request.match_info["name"]))
        print("{}", flush=True)
        return web.Response()

    app = web.Application()
    app.add_routes([web.post("/whip", publish), web.delete("/session/{name}", end)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(site._server.sockets[0].getsockname()[1], flush=True)
    # Ends with whoever started it.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())
