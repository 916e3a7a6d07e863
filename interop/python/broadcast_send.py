"""Broadcast, the sender: sends a score update to every current listener.

python3 broadcast_send.py [amqp://…] [TEXT]     TEXT: two lines, or a score update in JSON
"""
import sys

import amqp
from connection import connect

conn, chan = connect()
text = sys.argv[1] if len(sys.argv) > 1 else "AL 24: FL 7\nTouch down by Tim Tebow"

chan.exchange_declare(exchange="score_updates", type="fanout", durable=False, auto_delete=True)
message = amqp.Message(text, content_type="application/json" if text.startswith("{") else "text/plain")
chan.basic_publish(message, exchange="score_updates", routing_key="")
conn.close()
