"""A small reader of TensorBoard's event files: records with their checksums,
and of each event the step, its scalars and whether it starts a session."""

import struct


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data):
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def records(path):
    data = path.read_bytes()
    at = 0
    while at + 16 <= len(data):
        size, check = struct.unpack_from("<QI", data, at)
        assert check == masked(data[at : at + 8]), "a length's checksum"
        if at + 16 + size > len(data):
            return  # a kill cut it short
        body = data[at + 12 : at + 12 + size]
        (check,) = struct.unpack_from("<I", data, at + 12 + size)
        assert check == masked(body), "a record's checksum"
        yield body
        at += 16 + size


def fields(message):
    """(number, value) of a protocol buffer: ints, or bytes as they lie."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        key = varint()
        number, kind = key >> 3, key & 7
        if kind == 0:
            yield number, varint()
            continue
        size = {1: 8, 2: None, 5: 4}[kind]
        if size is None:
            size = varint()
        yield number, message[at : at + size]
        at += size


def scalars(folder):
    """{tag: {step: value}} of all files in a folder, oldest first; a session
    that starts at a step takes back what was said from there on."""
    out = {}
    for path in sorted(folder.glob("events.out.tfevents.*"), key=file_order):
        for body in records(path):
            event = dict(fields(body))
            step = event.get(2, 0)
            if 7 in event:  # session_log
                for tag in out.values():
                    for later in [s for s in tag if s >= step]:
                        del tag[later]
            for _, value in fields(event.get(5, b"")):  # summary
                parts = dict(fields(value))
                tag = parts[1].decode()
                (number,) = struct.unpack("<f", parts[2])
                out.setdefault(tag, {})[step] = number
    return out


def file_order(path):
    parts = path.name.split(".")
    return int(parts[3]), int(parts[-2]), path.name
