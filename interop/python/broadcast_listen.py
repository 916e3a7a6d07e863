"""Broadcast, a listener: prints every score update that is sent while it runs.

python3 broadcast_listen.py [amqp://…]
"""
import json

from connection import connect, wait

conn, chan = connect()

chan.exchange_declare(exchange="score_updates", type="fanout", durable=False, auto_delete=True)
queue = chan.queue_declare(queue="", durable=False, exclusive=True, auto_delete=True).queue
chan.queue_bind(queue=queue, exchange="score_updates")


def show(message):
    text = message.body.decode()
    if message.properties.get("content_type") == "application/json":
        update = json.loads(text)
        home, away = update["home"], update["away"]
        text = f"{home['team']} {home['score']}: {away['team']} {away['score']}\n{update['event']}"
    print(text, flush=True)


chan.basic_consume(queue=queue, no_ack=True, callback=show)
wait(conn)
