"""A second process for the tests of the channel layer: publishes, or listens and says what it heard, one JSON line each."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "oxy.settings")
django.setup()

from channels.layers import get_channel_layer  # noqa: E402


def publish(group: str, threads: str, messages: str) -> None:
    layer = get_channel_layer()

    def work(thread: int) -> None:
        for number in range(int(messages)):
            layer.publish([group], {"type": "test.news", "thread": thread, "number": number})

    workers = [threading.Thread(target=work, args=(thread,)) for thread in range(int(threads))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def listen(group: str) -> None:
    async def run() -> None:
        layer = get_channel_layer()
        channel = await layer.new_channel()
        await layer.group_add(group, channel)
        print(json.dumps({"channel": channel}), flush=True)
        while True:
            print(json.dumps(await layer.receive(channel)), flush=True)

    asyncio.run(run())


if __name__ == "__main__":
    {"publish": publish, "listen": listen}[sys.argv[1]](*sys.argv[2:])
