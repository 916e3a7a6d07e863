"""Notify, a subscriber: receives every notification, including those sent while it was down, after its first run.

python3 notify_subscribe.py [amqp://…] NAME
"""
import json
import sys

from connection import connect, wait

conn, chan = connect()
queue = f"notify.patient.add.{sys.argv[1]}"

chan.exchange_declare(exchange="notify.patient.add", type="fanout", durable=True, auto_delete=False)
chan.queue_declare(queue=queue, durable=True, exclusive=False, auto_delete=False)
chan.queue_bind(queue=queue, exchange="notify.patient.add")


def handle(message):
    text = message.body.decode()
    if message.properties.get("content_type") == "application/json":
        patient = json.loads(text)
        text = f"{patient['given']} {patient['surname']}, {patient['patientId']}"
    print(text, flush=True)
    chan.basic_ack(message.delivery_tag)


chan.basic_qos(prefetch_size=0, prefetch_count=1, a_global=False)
chan.basic_consume(queue=queue, no_ack=False, callback=handle)
wait(conn)
