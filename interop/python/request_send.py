"""Request/response, the requester: sends a request, prints the reply, and exits with 1 if it is an error.

python3 request_send.py [amqp://…] [TEXT]       TEXT: lines of a person, or a person in JSON
"""
import sys
import uuid

import amqp
from connection import connect

conn, chan = connect()
text = sys.argv[1] if len(sys.argv) > 1 else "given:John\nsurname:Smith"
correlation_id = str(uuid.uuid4())
replies = []

queue = chan.queue_declare(queue="", durable=False, exclusive=True, auto_delete=True).queue
chan.basic_consume(queue=queue, no_ack=True, callback=replies.append)

message = amqp.Message(
    text,
    content_type="application/json" if text.startswith("{") else "text/plain",
    reply_to=queue,
    correlation_id=correlation_id,
    expiration="5000",  # ms: no responder handles it after that
)
# Raises when there is no responder, and so no exchange or no bound queue
chan.basic_publish(message, exchange="api", routing_key="add_patient", mandatory=True)
while not any(reply.properties.get("correlation_id") == correlation_id for reply in replies):
    conn.drain_events(timeout=5)

print(replies[-1].body.decode(), flush=True)
conn.close()
sys.exit(1 if replies[-1].content_type == "application/problem+json" else 0)
