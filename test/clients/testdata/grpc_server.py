"""A gRPC server: grpc_server.py CERT KEY. It prints its port, then a line of JSON for each call."""
import json
import sys
from concurrent import futures

import grpc


def trailers(context):
    context.set_trailing_metadata((("x-trailer", "kept"),))


def unary(request, context):
    trailers(context)
    return b"echo " + request


def fail(request, context):
    trailers(context)
    context.abort(grpc.StatusCode.NOT_FOUND, "there is no " + request.decode())


def serve_many(request, context):
    for i in range(int(request)):
        yield b"part %d " % i + b"x" * 1000
    trailers(context)


def gather(requests, context):
    trailers(context)
    return b"%d bytes" % sum(len(r) for r in requests)


def talk(requests, context):
    for r in requests:
        yield b"echo " + r
    trailers(context)


class Service(grpc.GenericRpcHandler):
    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Fail": grpc.unary_unary_rpc_method_handler(fail),
        "Many": grpc.unary_stream_rpc_method_handler(serve_many),
        "Gather": grpc.stream_unary_rpc_method_handler(gather),
        "Talk": grpc.stream_stream_rpc_method_handler(talk),
    }

    def service(self, details):
        head = {k: [v if isinstance(v, str) else v.hex()] for k, v in details.invocation_metadata}
        print(json.dumps({"Method": "POST", "Path": details.method, "Proto": "HTTP/2.0", "Header": head}), flush=True)
        return self.handlers.get(details.method.split("/")[1])


with open(sys.argv[1], "rb") as cert, open(sys.argv[2], "rb") as key:
    credentials = grpc.ssl_server_credentials([(key.read(), cert.read())])
server = grpc.server(futures.ThreadPoolExecutor(4), handlers=[Service()])
print(server.add_secure_port("127.0.0.1:0", credentials), flush=True)
server.start()
sys.stdin.read()  # until the test ends
server.stop(0).wait()
