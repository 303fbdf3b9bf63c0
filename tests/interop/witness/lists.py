"""Asks the server itself, past client and tap, for the list of the story's service, over and over."""

import asyncio
import json
import time
from urllib.parse import quote

PERIOD_S = 0.05
TIMEOUT_S = 3


class Answer:
    """One answer, or why there was none (status 0)."""

    def __init__(self):
        self.at = time.monotonic()
        self.status = 0
        self.text = ""

    def __repr__(self):
        return f"{self.status} {self.text[:400]}"

    @property
    def hosts(self):
        return json.loads(self.text)["hosts"] if self.status == 200 else []

    def lacks(self, ports):
        """True when one of the instances is not in the list, or not healthy."""
        healthy = {host["port"] for host in self.hosts if host["healthy"]}
        return not healthy.issuperset(ports)


class Lists:
    def __init__(self, port, namespace, service):
        self.port = port
        self.target = f"/nacos/v1/ns/instance/list?namespaceId={quote(namespace)}&serviceName={quote(service, '')}"
        self.answers = []

    def between(self, start, end):
        return [one for one in self.answers if start <= one.at < end]

    def first_since(self, start):
        """The first list that was served from that time on, or None."""
        return next((one for one in self.answers if one.at >= start and one.status == 200), None)

    async def poll_for_ever(self):
        while True:
            self.answers.append(await self.ask())
            await asyncio.sleep(PERIOD_S)

    async def ask(self):
        answer = Answer()
        try:
            text = await asyncio.wait_for(self.get(), TIMEOUT_S)
            head, _, answer.text = text.partition("\r\n\r\n")
            answer.status = int(head.split(" ")[1])
        except (OSError, asyncio.TimeoutError, IndexError) as error:
            answer.text = repr(error)
        return answer

    async def get(self):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(f"GET {self.target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
            return (await reader.read()).decode()
        finally:
            writer.close()
