"""A client of each Python HTTP library: client.py (LIBRARY WAY NAME URL BODY)…

For each five words it prints, under the name, the status, the version of HTTP and
the body of the answer. The way is proxy, or direct: without the variables.
"""
import asyncio
import os
import sys

PROXIES = {k: v for k, v in os.environ.items() if k.lower() in ("http_proxy", "https_proxy", "all_proxy")}


def use_urllib(method, url, body, headers):
    import urllib.request

    opener = urllib.request.build_opener()  # urlopen keeps its first one, with its proxies
    with opener.open(urllib.request.Request(url, body, headers, method=method), timeout=20) as r:
        return r.status, {11: "HTTP/1.1"}[r.version], r.read().decode()


def use_requests(method, url, body, headers):
    import requests

    r = requests.request(method, url, data=body, headers=headers, timeout=20)
    return r.status_code, {11: "HTTP/1.1"}[r.raw.version], r.text


def use_httpx(method, url, body, headers, http2=False):
    import httpx

    with httpx.Client(http2=http2, timeout=20) as c:
        r = c.request(method, url, content=body, headers=headers)
    return r.status_code, r.http_version, r.text


def use_httpx2(*args):
    return use_httpx(*args, http2=True)


async def use_aiohttp(method, url, body, headers):
    import aiohttp

    async with aiohttp.ClientSession(trust_env=True, timeout=aiohttp.ClientTimeout(20)) as s:
        async with s.request(method, url, data=body, headers=headers) as r:
            return r.status, "HTTP/%d.%d" % r.version, await r.text()


async def use_websockets(method, url, body, headers):
    import websockets

    async with websockets.connect(url, open_timeout=20) as ws:
        for text in ("first", "x" * 70000, "last"):
            await ws.send(text)
            if await ws.recv() != "echo " + text:
                raise ValueError("another text came back")
    return 200, "WebSocket", "three came back, closed with %d" % ws.close_code


def call(library, url, body):
    headers = {"Authorization": "Bearer " + os.environ["GH_TOKEN"]} if "//api.example.com/" in url else {}
    use = globals()["use_" + library]
    args = ("POST" if body else "GET", url, body.encode() or None, headers)
    return asyncio.run(use(*args)) if asyncio.iscoroutinefunction(use) else use(*args)


words = sys.argv[1:]
while words:
    (library, way, name, url, body), words = words[:5], words[5:]
    for k, v in PROXIES.items():
        if way == "proxy":
            os.environ[k] = v
        else:
            os.environ.pop(k, None)
    print("==", name)
    code = 0
    try:
        status, version, text = call(library, url, body)
        print(status, "over", version)
        print(text)
        if status != 200:
            code = 1
    except Exception as e:
        print(type(e).__name__, e)
        code = 1
    print("--", code)
