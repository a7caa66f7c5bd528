"""A client of each Python HTTP library: client.py LIBRARY URL [BODY].

It prints the status, the version of HTTP, and the body of the answer.
"""
import asyncio
import os
import sys

library, url = sys.argv[1], sys.argv[2]
body = sys.argv[3].encode() if len(sys.argv) > 3 else None
method = "POST" if body is not None else "GET"
headers = {"Authorization": "Bearer " + os.environ["GH_TOKEN"]} if "//api.example.com/" in url else {}


def done(status, version, text):
    print(status, "over", version)
    print(text)
    sys.exit(0 if status == 200 else 1)


def use_urllib():
    import urllib.request

    with urllib.request.urlopen(urllib.request.Request(url, body, headers, method=method), timeout=20) as r:
        done(r.status, {11: "HTTP/1.1"}[r.version], r.read().decode())


def use_requests():
    import requests

    r = requests.request(method, url, data=body, headers=headers, timeout=20)
    done(r.status_code, {11: "HTTP/1.1"}[r.raw.version], r.text)


def use_httpx(http2=False):
    import httpx

    with httpx.Client(http2=http2, timeout=20) as c:
        r = c.request(method, url, content=body, headers=headers)
    done(r.status_code, r.http_version, r.text)


async def use_aiohttp():
    import aiohttp

    async with aiohttp.ClientSession(trust_env=True, timeout=aiohttp.ClientTimeout(20)) as s:
        async with s.request(method, url, data=body, headers=headers) as r:
            return r.status, "HTTP/%d.%d" % r.version, await r.text()


async def use_websockets():
    import websockets

    async with websockets.connect(url, open_timeout=20, extra_headers=headers) as ws:
        for text in ("first", "x" * 70000, "last"):
            await ws.send(text)
            if await ws.recv() != "echo " + text:
                sys.exit("another text came back")
    print("three came back, closed with", ws.close_code)


if library == "urllib":
    use_urllib()
elif library == "requests":
    use_requests()
elif library == "httpx":
    use_httpx()
elif library == "httpx2":
    use_httpx(http2=True)
elif library == "aiohttp":
    done(*asyncio.run(use_aiohttp()))
elif library == "websockets":
    asyncio.run(use_websockets())
else:
    sys.exit("no such library")
