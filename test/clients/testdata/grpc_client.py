"""A gRPC client: grpc_client.py TARGET NAME KIND. NAME is the last part of the method's path."""
import os
import sys

import grpc

target, name, kind = sys.argv[1:4]
path = "/" + kind + "/" + name
metadata = [("authorization", "Bearer " + os.environ["GH_TOKEN"])] if target.startswith("grpc.example.com") else []
options = {"metadata": metadata, "timeout": 20}
channel = grpc.secure_channel(target, grpc.ssl_channel_credentials())


def ended(call):
    print(call.code().name, call.details() or "-", dict(call.trailing_metadata()).get("x-trailer"))


if kind == "Unary":
    body = os.urandom(1000000)
    answer, call = channel.unary_unary(path).with_call(body, **options)
    print("the same" if answer == b"echo " + body else "another")
    ended(call)
elif kind == "Fail":
    try:
        channel.unary_unary(path)(b"unicorn", **options)
        sys.exit("it went well")
    except grpc.RpcError as e:
        ended(e)
        sys.exit(0 if e.code() == grpc.StatusCode.NOT_FOUND else 1)
elif kind == "Many":
    call = channel.unary_stream(path)(b"500", **options)
    print(sum(1 for part in call if part.startswith(b"part ")), "parts")
    ended(call)
elif kind == "Gather":
    answer, call = channel.stream_unary(path).with_call((b"x" * 1000 for _ in range(500)), **options)
    print(answer.decode())
    ended(call)
elif kind == "Talk":
    # The next question waits for the last answer: whoever gathers either side hangs.
    import queue

    questions = queue.Queue()
    call = channel.stream_stream(path)(iter(questions.get, None), **options)
    for i in range(20):
        questions.put(b"question %d" % i)
        if next(call) != b"echo question %d" % i:
            sys.exit("another answer")
    questions.put(None)
    print("20 answers,", sum(1 for _ in call), "more")
    ended(call)
