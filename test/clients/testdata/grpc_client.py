"""A gRPC client: grpc_client.py (KIND WAY TARGET NAME)…

NAME is the last part of the method's path, and the heading of what is printed. The
way is proxy, or direct: without the variables.
"""
import os
import queue
import sys

import grpc

PROXIES = {k: v for k, v in os.environ.items() if k.lower() in ("http_proxy", "https_proxy", "all_proxy")}


def ended(call):
    print(call.code().name, call.details() or "-", dict(call.trailing_metadata()).get("x-trailer"))


def unary(channel, path, options):
    body = os.urandom(1000000)
    answer, call = channel.unary_unary(path).with_call(body, **options)
    print("the same" if answer == b"echo " + body else "another")
    ended(call)


def fail(channel, path, options):
    try:
        channel.unary_unary(path)(b"unicorn", **options)
        raise ValueError("it went well")
    except grpc.RpcError as e:
        ended(e)


def many(channel, path, options):
    call = channel.unary_stream(path)(b"500", **options)
    print(sum(1 for part in call if part.startswith(b"part ")), "parts")
    ended(call)


def gather(channel, path, options):
    answer, call = channel.stream_unary(path).with_call((b"x" * 1000 for _ in range(500)), **options)
    print(answer.decode())
    ended(call)


def talk(channel, path, options):
    # The next question waits for the last answer: whoever gathers either side hangs.
    questions = queue.Queue()
    call = channel.stream_stream(path)(iter(questions.get, None), **options)
    for i in range(20):
        questions.put(b"question %d" % i)
        if next(call) != b"echo question %d" % i:
            raise ValueError("another answer")
    questions.put(None)
    print("20 answers,", sum(1 for _ in call), "more")
    ended(call)


words = sys.argv[1:]
while words:
    (kind, way, target, name), words = words[:4], words[4:]
    for k, v in PROXIES.items():
        if way == "proxy":
            os.environ[k] = v
        else:
            os.environ.pop(k, None)
    metadata = [("authorization", "Bearer " + os.environ["GH_TOKEN"])] if target.startswith("grpc.example.com") else []
    print("==", name)
    code = 0
    # A pool of its own: a later channel would else take an earlier one's connection, and its way.
    with grpc.secure_channel(target, grpc.ssl_channel_credentials(), [("grpc.use_local_subchannel_pool", 1)]) as channel:
        try:
            globals()[kind.lower()](channel, "/" + kind + "/" + name, {"metadata": metadata, "timeout": 20})
        except (grpc.RpcError, ValueError) as e:
            print(e)
            code = 1
    print("--", code)
