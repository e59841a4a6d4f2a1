#!/usr/bin/env python3
"""Prints the events of a build's journal, one JSON object per line.

    python3 read-journal.py [--verify] .dcd/builds/ID/journal

Needs nothing but Python's standard library. The format is described in docs/journal.md. What a
step printed is shown as "text", or as "base64" where it is not UTF-8.

With --verify it prints no events, but checks that they are those that happened: it says how many
there are and the last one's hash, or names the first event that was changed, left out or moved.
"""
import base64
import hashlib
import json
import struct
import sys
import zlib

JSON, BYTES, LZ4 = 0, 1, 2
HEAD = struct.Struct("<QQBBH")  # seq, at, encoding, and the lengths of kind and step


def unpack(block):
    """Decodes `size:u32 LZ4-block`."""
    (size,) = struct.unpack_from("<I", block)
    out, at = bytearray(), 4

    def length(short):
        """A length of 15 goes on in further bytes, as long as they are 255."""
        nonlocal at
        total = short
        while short == 15:
            byte, at = block[at], at + 1
            total += byte
            if byte != 255:
                break
        return total

    while at < len(block):
        token, at = block[at], at + 1
        literals = length(token >> 4)
        out += block[at : at + literals]
        at += literals
        if at >= len(block):  # the last sequence has no match
            break
        (offset,) = struct.unpack_from("<H", block, at)
        at += 2
        for _ in range(length(token & 15) + 4):  # byte by byte: a match may overlap itself
            out.append(out[-offset])
    if len(out) != size:
        raise ValueError("the output does not unpack")
    return bytes(out)


def bodies(data):
    """Each whole record's body. What follows a damaged one is not read."""
    if data[:8] != b"dcd-jrnl" or zlib.crc32(data[:12]) != struct.unpack_from("<I", data, 12)[0]:
        sys.exit("this is not a journal")
    (version,) = struct.unpack_from("<I", data, 8)
    if version != 2:
        sys.exit(f"the journal has version {version}; this program reads version 2")
    at = 16
    while at < len(data):
        frame = data[at : at + 8]
        length, crc = struct.unpack("<II", frame) if len(frame) == 8 else (0, 0)
        body = data[at + 8 : at + 8 + length]
        if length < 52 or len(body) < length or zlib.crc32(body, zlib.crc32(frame[:4])) != crc:
            yield None, f"the record at byte {at} is damaged or cut short"
            return
        yield body, None
        at += 8 + length


def parts(body):
    """A record's head, its hash, the names of kind and step, and the payload, unpacked."""
    seq, time, encoding, kind_len, step_len = HEAD.unpack_from(body)
    names = 52 + kind_len + step_len
    kind, step = body[52 : 52 + kind_len], body[52 + kind_len : names]
    payload = unpack(body[names:]) if encoding == LZ4 else body[names:]
    return (seq, time, JSON if encoding == JSON else BYTES), body[20:52], kind, step, payload


def event(body):
    (seq, time, encoding), link, kind, step, payload = parts(body)
    shown = {"seq": seq, "at": time, "kind": kind.decode(), "hash": link.hex()}
    if step:
        shown["step"] = step.decode()
    if encoding == JSON:
        shown["json"] = json.loads(payload)
        return shown
    try:
        shown["text"] = payload.decode()
    except UnicodeDecodeError:
        shown["base64"] = base64.b64encode(payload).decode()
    return shown


def digest(encoding, kind, payload):
    """What stands for the payload in the chain: where output was dropped, that of the output."""
    if kind == b"step.output" and encoding == JSON:
        pruned = json.loads(payload)["pruned"]
        return BYTES, bytes.fromhex(pruned["sha256"])
    return encoding, hashlib.sha256(payload).digest()


def verify(data):
    last, count, kind = bytes(32), 0, b""
    for body, damage in bodies(data):
        if damage:
            return damage
        (seq, time, encoding), link, kind, step, payload = parts(body)
        if seq != count:
            return f"event {count} is missing: event {seq} stands in its place"
        encoding, payload = digest(encoding, kind, payload)
        head = HEAD.pack(seq, time, encoding, len(kind), len(step))
        if hashlib.sha256(last + head + kind + step + payload).digest() != link:
            return f"event {seq} ({kind.decode()}) is not what was recorded, or what stood before it is not"
        last, count = link, count + 1
    if kind != b"build.finished":
        return f"the build's end is missing after {count} events"
    print(f"{count} events, the last one's hash is {last.hex()}")
    return None


def main():
    files = [argument for argument in sys.argv[1:] if argument != "--verify"]
    if len(files) != 1:
        sys.exit(__doc__)
    with open(files[0], "rb") as file:
        data = file.read()
    if "--verify" in sys.argv:
        sys.exit(verify(data))
    for body, damage in bodies(data):
        if damage:
            print(damage, file=sys.stderr)
        else:
            print(json.dumps(event(body), ensure_ascii=False))


if __name__ == "__main__":
    main()
