"""Starts the service on `PORT`, ${{ values.port }} unless it is set: `python3 -m service`."""

import os

from service import NAME
from service.app import make_server

server = make_server(("0.0.0.0", int(os.environ.get("PORT", "${{ values.port }}"))))
print(f"{NAME} listens on port {server.server_port}", flush=True)
try:
    server.serve_forever()
except KeyboardInterrupt:
    server.server_close()
