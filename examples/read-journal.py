#!/usr/bin/env python3
"""Prints the events of a build's journal, one JSON object per line.

    python3 read-journal.py .dcd/builds/ID/journal

Needs nothing but Python's standard library. The format is described in docs/journal.md. What a
step printed is shown as "text", or as "base64" where it is not UTF-8.
"""
import base64
import json
import struct
import sys
import zlib

JSON, BYTES, LZ4 = 0, 1, 2


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


def records(data):
    """Each whole record's body. What follows a damaged one is not read."""
    if data[:8] != b"dcd-jrnl" or zlib.crc32(data[:12]) != struct.unpack_from("<I", data, 12)[0]:
        sys.exit("this is not a journal")
    (version,) = struct.unpack_from("<I", data, 8)
    if version > 1:
        sys.exit(f"the journal has version {version}; this program reads version 1")
    at = 16
    while at < len(data):
        frame = data[at : at + 8]
        length, crc = struct.unpack("<II", frame) if len(frame) == 8 else (0, 0)
        body = data[at + 8 : at + 8 + length]
        if length < 20 or len(body) < length or zlib.crc32(body, zlib.crc32(frame[:4])) != crc:
            print(f"the record at byte {at} is damaged or cut short", file=sys.stderr)
            return
        yield body
        at += 8 + length


def event(body):
    seq, time, encoding, kind_len, step_len = struct.unpack_from("<QQBBH", body)
    kind = body[20 : 20 + kind_len].decode()
    step = body[20 + kind_len : 20 + kind_len + step_len].decode()
    payload = body[20 + kind_len + step_len :]
    shown = {"seq": seq, "at": time, "kind": kind}
    if step:
        shown["step"] = step
    if encoding == JSON:
        shown["json"] = json.loads(payload)
        return shown
    output = unpack(payload) if encoding == LZ4 else payload
    try:
        shown["text"] = output.decode()
    except UnicodeDecodeError:
        shown["base64"] = base64.b64encode(output).decode()
    return shown


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with open(sys.argv[1], "rb") as file:
        data = file.read()
    for body in records(data):
        print(json.dumps(event(body), ensure_ascii=False))


if __name__ == "__main__":
    main()
