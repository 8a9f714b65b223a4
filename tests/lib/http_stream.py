"""HTTP/1.1 and WebSocket as they come over an asyncio.StreamReader: heads, bodies piece by piece, whole frames.

Everything that is read is given on byte for byte. Limits: a head of HEAD_MAX, a WebSocket frame of FRAME_MAX.
"""

import asyncio
import dataclasses
import struct

HEAD_MAX = 64 * 1024
FRAME_MAX = 16 * 1024 * 1024
PIECE = 64 * 1024

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


class Malformed(Exception):
    """A peer sent what is neither HTTP/1.1 nor a WebSocket frame, or more than is allowed."""


@dataclasses.dataclass
class Head:
    """The first line of a request or an answer, and its headers, with names in lower case."""

    first: str
    headers: dict
    raw: bytes

    @property
    def status(self):
        return int(self.first.split(" ")[1])

    @property
    def method(self):
        return self.first.split(" ")[0]

    @property
    def path(self):
        return self.first.split(" ")[1]

    def upgrades(self):
        return self.headers.get("upgrade", "").lower() == "websocket"

    def without_upgrade(self):
        """The same head as bytes, as from a client that asks for no WebSocket."""
        unwanted = (b"upgrade:", b"connection:", b"sec-websocket-")
        lines = self.raw.removesuffix(b"\r\n\r\n").split(b"\r\n")
        return b"\r\n".join(line for line in lines if not line.lower().startswith(unwanted)) + b"\r\n\r\n"


async def read_head(reader):
    """A Head, or None where the peer closed before it began one."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise Malformed(f"the connection ended within a head of {len(error.partial)} bytes") from None
        return None
    except asyncio.LimitOverrunError:
        raise Malformed(f"a head of more than {HEAD_MAX} bytes") from None
    first, *lines = raw.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    if len(first.split(" ")) < 3 and not first.startswith("HTTP/"):
        raise Malformed(f"a head that starts with '{first[:80]}'")
    pairs = (line.partition(":") for line in lines)
    return Head(first, {name.strip().lower(): value.strip() for name, _, value in pairs}, raw)


async def _read_exactly_by_pieces(reader, size):
    while size > 0:
        piece = await reader.read(min(size, PIECE))
        if not piece:
            raise Malformed("the connection ended within a body")
        size -= len(piece)
        yield piece


async def _read_chunks(reader):
    """Chunk by chunk, each with its size line, the last one and the trailer included."""
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        if size == 0:
            yield line + await reader.readuntil(b"\r\n")
            return
        if size > FRAME_MAX:
            raise Malformed(f"a chunk of {size} bytes")
        yield line + await reader.readexactly(size + 2)


async def _read_to_end(reader):
    while piece := await reader.read(PIECE):
        yield piece


async def _read_nothing():
    return
    yield  # so that it is a generator


def read_body(reader, head, until_close=False):
    """The pieces of the body that follows the head. until_close: an answer that names no length lasts to the end."""
    if head.headers.get("transfer-encoding", "").lower() == "chunked":
        return _read_chunks(reader)
    if "content-length" in head.headers:
        return _read_exactly_by_pieces(reader, int(head.headers["content-length"]))
    return _read_to_end(reader) if until_close else _read_nothing()


def has_body(method, status):
    return method != "HEAD" and status >= 200 and status not in (204, 304)


@dataclasses.dataclass
class Frame:
    """A WebSocket frame."""

    opcode: int
    final: bool
    payload: bytes
    raw: bytes

    def ends_message(self, before):
        """Whether no message is under way after this frame; before: whether none was before it."""
        return before if self.opcode >= CLOSE else self.final


async def read_frame(reader):
    """The next frame, unmasked where it is masked; None where the peer closed between frames."""
    first = await reader.read(1)
    if not first:
        return None
    raw = first + await reader.readexactly(1)
    size, masked = raw[1] & 0x7F, raw[1] & 0x80
    if size >= 126:
        more = await reader.readexactly(2 if size == 126 else 8)
        raw += more
        size = int.from_bytes(more, "big")
    if size > FRAME_MAX:
        raise Malformed(f"a WebSocket frame of {size} bytes")
    mask = await reader.readexactly(4) if masked else b""
    content = await reader.readexactly(size)
    payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(content)) if masked else content
    return Frame(raw[0] & 0x0F, bool(raw[0] & 0x80), payload, raw + mask + content)


def make_frame(payload, opcode=TEXT, mask=b""):
    """A whole message in one frame; mask: four bytes, as clients must send."""
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, size)
    elif size < 65536:
        head = struct.pack("!BBH", 0x80 | opcode, 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 127, size)
    if not mask:
        return head + payload
    masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    return bytes((head[0], head[1] | 0x80)) + head[2:] + mask + masked


def make_chunk(payload):
    return b"%x\r\n%s\r\n" % (len(payload), payload)
