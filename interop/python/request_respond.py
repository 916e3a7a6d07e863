"""Request/response, a responder: adds patients, sharing the requests with the other responders of "add_patient".

python3 request_respond.py [amqp://…] [--durable]
"""
import datetime
import json
import sys
import uuid

import amqp
from connection import connect, wait

conn, chan = connect()

chan.exchange_declare(exchange="api", type="direct", durable=False, auto_delete=True)
if "--durable" in sys.argv:  # as patient-registry does; RabbitMQ 4.3 refuses the other queue by default
    chan.queue_declare(queue="add_patient", durable=True, auto_delete=False, arguments={"x-expires": 60000})
else:
    chan.queue_declare(queue="add_patient", durable=False, exclusive=False, auto_delete=True)
chan.queue_bind(queue="add_patient", exchange="api", routing_key="add_patient")


def answer(message):
    text = message.body.decode()
    is_json = message.properties.get("content_type") == "application/json"
    person = json.loads(text) if is_json else dict(line.split(":", 1) for line in text.splitlines())
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    patient = {"birthDate": None, **person, "patientId": str(uuid.uuid4()), "registeredAt": now}
    reply = amqp.Message(json.dumps(patient), content_type="application/json")
    reply.properties["correlation_id"] = message.correlation_id  # the post's responder lacks this line
    chan.basic_publish(reply, exchange="", routing_key=message.reply_to)
    chan.basic_ack(message.delivery_tag)


chan.basic_qos(prefetch_size=0, prefetch_count=1, a_global=False)
chan.basic_consume(queue="add_patient", no_ack=False, callback=answer)
wait(conn)
