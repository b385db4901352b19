#!/usr/bin/python3
"""A WHIP server (RFC 9725) around aiortc, for tests/targets_whip.rs.

Prints its port, then a line of JSON for each session that was ended by DELETE: the packets of each kind that it received and missed.
"""

import asyncio
import json
import sys

from aiohttp import web
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaBlackhole

sessions = {}


async def publish(request):
    if request.content_type != "application/sdp":
        return web.Response(status=415)
    if request.path == "/closed" and request.headers.get("Authorization") != "Bearer opensesame":
        return web.Response(status=401)
    offer = RTCSessionDescription(sdp=await request.text(), type="offer")
    connection, sink = RTCPeerConnection(), MediaBlackhole()
    connection.on("track", sink.addTrack)
    await connection.setRemoteDescription(offer)
    await sink.start()
    await connection.setLocalDescription(await connection.createAnswer())
    name = str(len(sessions))
    sessions[name] = (connection, sink)
    return web.Response(
        status=201,
        content_type="application/sdp",
        headers={
            "Location": f"/session/{name}",
            "ETag": '"1"',
            "Link": '<stun:stun.example:3478>; rel="ice-server"',
        },
        text=connection.localDescription.sdp,
    )


async def end(request):
    connection, sink = sessions.pop(request.match_info["name"])
    received = {}
    for stats in (await connection.getStats()).values():
        if stats.type == "inbound-rtp":
            received[stats.kind] = {"received": stats.packetsReceived, "lost": stats.packetsLost}
    await sink.stop()
    await connection.close()
    print(json.dumps(received), flush=True)
    return web.Response()


async def main():
    app = web.Application()
    app.add_routes([web.post("/whip", publish), web.post("/closed", publish), web.delete("/session/{name}", end)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(site._server.sockets[0].getsockname()[1], flush=True)
    # Ends with whoever started it.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())
