"""Notify, the notifier: notifies every subscriber, including those that are down now.

python3 notify_send.py [amqp://…] [TEXT]        TEXT: lines of a patient, or a patient in JSON
"""
import sys

import amqp
from connection import connect

conn, chan = connect()
text = sys.argv[1] if len(sys.argv) > 1 else "given:John\nsurname:Smith"

chan.exchange_declare(exchange="notify.patient.add", type="fanout", durable=True, auto_delete=False)
message = amqp.Message(
    text,
    content_type="application/json" if text.startswith("{") else "text/plain",
    delivery_mode=2,  # persistent
)
# Returns when the broker has confirmed the message; raises when no queue is bound
chan.basic_publish_confirm(message, exchange="notify.patient.add", routing_key="", mandatory=True)
conn.close()
