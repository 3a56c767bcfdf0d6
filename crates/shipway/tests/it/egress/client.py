#!/usr/bin/env python3
"""Reaches out as it is asked to, and says what came of it: ?tcp=ADDRESS,PORT and so on."""
import os
import socket
import sys
import time

LIMIT = 10


def tcp(host, port, limit=LIMIT):
    with socket.create_connection((host, int(port)), limit) as link:
        return link.makefile().readline().strip()


def soon(host, port):
    return tcp(host, port, 4)


def udp(host, port):
    kind = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(kind, socket.SOCK_DGRAM) as link:
        link.settimeout(LIMIT)
        link.connect((host, int(port)))
        link.send(b"anybody there")
        return repr(link.recv(64))


def name(host):
    return " ".join(sorted({found[4][0] for found in socket.getaddrinfo(host, 1)}))


def many(host, port, count):
    links = []
    try:
        for _ in range(int(count)):
            links.append(socket.create_connection((host, int(port)), LIMIT))
    except OSError as error:
        return f"{len(links)} and then {type(error).__name__}"
    return f"{len(links)}"


def flood(host, port):
    begun, count = time.monotonic(), 0
    with socket.create_connection((host, int(port)), 3 * LIMIT) as link:
        while part := link.recv(65536):
            count += len(part)
    return f"{count} {int((time.monotonic() - begun) * 1000)}"


def resolver():
    with open("/etc/resolv.conf") as lines:
        return next(line.split()[1] for line in lines if line.startswith("nameserver"))


def talk(text):
    """Anything but a question, to the forwarder's port."""
    with socket.create_connection((resolver(), 53), LIMIT) as link:
        link.sendall(text.encode() + b"\r\n\r\n")
        link.shutdown(socket.SHUT_WR)
        return repr(link.recv(64))


def ask(kind, group):
    """A question of a kind and a class, by its raw bytes: the code of the answer."""
    question = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x06public\x04test\x00"
    question += int(kind).to_bytes(2, "big") + int(group).to_bytes(2, "big")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.settimeout(LIMIT)
        link.connect((resolver(), 53))
        link.send(question)
        return str(link.recv(512)[3] & 15)


verb, _, words = os.environ.get("QUERY_STRING", "").partition("=")
try:
    print(globals()[verb](*words.split(",")))
except OSError as error:
    print("refused", type(error).__name__)
sys.stdout.flush()
