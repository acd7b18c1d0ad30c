"""
Deal with every message of every thing, once, in as many processes as it takes.

Run as ``python uplink_consumer.py GROUP NAME SOCKET``: processes of one GROUP
share the work, and each has a NAME of its own, which it keeps when it is
started again. What it had not acknowledged before it died comes first then.
"""

import json
import sys

import txredisapi
from twisted.internet import task
from twisted.internet.defer import ensureDeferred

FEED = "thing:feed"


async def consume(reactor, group, name, path):
    redis = await txredisapi.UnixConnection(path, charset=None, convertNumbers=False)
    try:
        await redis.execute_command("XGROUP", "CREATE", FEED, group, "0", "MKSTREAM")
    except txredisapi.ResponseError as error:
        if "BUSYGROUP" not in str(error):  # Else the group is there already.
            raise
    after = "0"  # First what this name was given before and has not acknowledged.
    while True:
        found = await redis.execute_command(
            *("XREADGROUP", "GROUP", group, name, "COUNT", 100, "BLOCK", 5000),
            *("STREAMS", FEED, after),
        )
        entries = found[0][1] if found else []
        for position, fields in entries:
            if fields is not None:  # Else it was dropped from the stream meanwhile.
                take(dict(zip(fields[::2], fields[1::2], strict=True)))
            await redis.execute_command("XACK", FEED, group, position)
        if not entries:
            after = ">"  # Then what nobody of the group was given.


def take(event):
    if event[b"kind"] == b"message":
        data = json.loads(event[b"data"])
        print(event[b"id"].decode(), data.get("text", data.get("base64")), flush=True)


if __name__ == "__main__":
    task.react(lambda *words: ensureDeferred(consume(*words)), sys.argv[1:])
