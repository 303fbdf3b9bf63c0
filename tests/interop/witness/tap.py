"""Stands between the client and the server, passes every byte on unchanged and keeps each request with its answer."""

import asyncio
import json
import time
from urllib.parse import unquote_plus, urlsplit

MAX_MESSAGE_BYTES = 4 << 20


class Exchange:
    """A request and what came back; status 0 while there is no answer, and for ever if the connection broke."""

    def __init__(self, message):
        self.at = time.monotonic()
        self.method, target, _ = message.first_line.split(" ", 2)
        url = urlsplit(target)
        self.path = url.path
        self.parameters = {}
        # What the client wrote, not what it ought to: the Go client's bodies are not encoded.
        for pair in url.query.split("&") + message.text.split("&"):
            name, _, value = pair.partition("=")
            self.parameters.setdefault(name, unquote_plus(value))
        self.status = 0
        self.answer = ""

    def __repr__(self):
        return f"{self.method} {self.path} {self.parameters} -> {self.status} {self.answer[:300]}"

    @property
    def is_beat(self):
        return self.path.endswith("/v1/ns/instance/beat")

    @property
    def is_registration(self):
        return self.method == "POST" and self.path.endswith("/v1/ns/instance")

    @property
    def is_list(self):
        return self.path.endswith("/v1/ns/instance/list")

    @property
    def service(self):
        """The service's grouped name, however the client wrote it."""
        name = self.parameters.get("serviceName", "")
        return name if "@@" in name else self.parameters.get("groupName", "DEFAULT_GROUP") + "@@" + name

    @property
    def port(self):
        """The port of the instance that it is about."""
        if "beat" in self.parameters:
            return int(json.loads(self.parameters["beat"])["port"])
        return int(self.parameters.get("port", 0))


class Message:
    """One HTTP/1.1 message: the bytes as they came, and its content without the transfer coding."""

    def __init__(self, head):
        self.raw = head
        self.lines = head.decode("utf-8", "replace").split("\r\n")
        self.first_line = self.lines[0]
        self.content = b""

    def header(self, name):
        for line in self.lines[1:]:
            found, _, value = line.partition(":")
            if found.lower() == name:
                return value.strip()
        return ""

    @property
    def text(self):
        return self.content.decode("utf-8", "replace")

    async def take(self, reader, size):
        part = await reader.readexactly(size)
        self.raw += part
        return part

    async def line(self, reader):
        line = await reader.readuntil(b"\n")
        self.raw += line
        return line.strip()

    async def chunks(self, reader):
        while size := int((await self.line(reader)).split(b";")[0], 16):
            self.content += await self.take(reader, size)
            await self.line(reader)
        while await self.line(reader):
            pass


async def read_message(reader):
    message = Message(await reader.readuntil(b"\r\n\r\n"))
    if "chunked" in message.header("transfer-encoding").lower():
        await message.chunks(reader)
    elif length := message.header("content-length"):
        message.content = await message.take(reader, int(length))
    return message


class Tap:
    def __init__(self, server_port):
        self.server_port = server_port
        self.port = 0
        self.exchanges = []
        self.is_open = True
        self.writers = set()

    async def listen(self):
        listener = await asyncio.start_server(self.connect, "127.0.0.1", 0, limit=MAX_MESSAGE_BYTES)
        self.port = listener.sockets[0].getsockname()[1]

    def shut(self):
        """Ends all connections and takes no more, as a dead server does."""
        self.is_open = False
        for writer in list(self.writers):
            writer.close()

    def open(self):
        self.is_open = True

    def since(self, at, wanted):
        """The answered exchanges from that time on that match, oldest first."""
        return [one for one in self.exchanges if one.at >= at and one.status and wanted(one)]

    async def connect(self, reader, writer):
        self.writers.add(writer)
        server = None
        try:
            if not self.is_open:
                return
            answers, server = await asyncio.open_connection("127.0.0.1", self.server_port, limit=MAX_MESSAGE_BYTES)
            self.writers.add(server)
            waiting = asyncio.Queue()
            pumps = [asyncio.ensure_future(self.requests(reader, server, waiting)),
                     asyncio.ensure_future(self.answers(answers, writer, waiting))]
            # Either direction's end closes both, so that each side learns at once that the other has gone.
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
        except OSError:
            pass
        finally:
            for one in (writer, server):
                if one is not None:
                    self.writers.discard(one)
                    one.close()

    async def requests(self, reader, writer, waiting):
        while True:
            message = await read_message(reader)
            exchange = Exchange(message)
            self.exchanges.append(exchange)
            waiting.put_nowait(exchange)
            writer.write(message.raw)
            await writer.drain()

    async def answers(self, reader, writer, waiting):
        while True:
            message = await read_message(reader)
            exchange = await waiting.get()
            exchange.answer = message.text
            exchange.status = int(message.first_line.split(" ")[1])
            writer.write(message.raw)
            await writer.drain()
