"""serve-moto.py PORT: moto as a server on 127.0.0.1, one request at a time.

moto looks whether an object is there, and then writes it, in a thread per request: two writers could both be told that
they were first, which no store that history-s3 is for does.
"""

import sys
import threading

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple

moto = DomainDispatcherApplication(create_backend_app)
one_at_a_time = threading.Lock()


def serve(environ, start_response):
    with one_at_a_time:
        return moto(environ, start_response)


run_simple("127.0.0.1", int(sys.argv[1]), serve, threaded=True, request_handler=MotoRequestHandler)
