"""The connection and channel with which every script here begins."""
import os
import sys
from urllib.parse import unquote, urlsplit

import amqp


def connect():
    """Connects to the first argument if that is a URL (and removes it), else to AMQP_URL, else to this machine."""
    named = len(sys.argv) > 1 and sys.argv[1].startswith("amqp://")
    url = urlsplit(sys.argv.pop(1) if named else os.environ.get("AMQP_URL", "amqp://localhost"))
    conn = amqp.Connection(
        host=f"{url.hostname}:{url.port or 5672}",
        userid=unquote(url.username or "guest"),
        password=unquote(url.password or "guest"),
        virtual_host=unquote(url.path[1:]) or "/",
    )
    conn.connect()
    chan = conn.channel()
    chan.auto_decode = False  # bodies stay bytes, whatever content_encoding says
    return conn, chan


def wait(conn):
    """Handles messages until Ctrl-C."""
    print("Waiting; press Ctrl-C to stop", flush=True)
    try:
        while True:
            conn.drain_events()
    except KeyboardInterrupt:
        conn.close()
