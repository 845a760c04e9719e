"""A client of a gzip stream, for specs: python3 inflate.py PORT PATH SEED LAST
reads with Python's zlib, cuts its connections at random bytes, now and then reads nothing for a while,
and comes back with the id that came last. It writes the number of each event that it gets, until
LAST, then how often it was cut."""
import http.client
import json
import random
import socket
import sys
import time
import zlib

port, path, seed, last = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
draw = random.Random(seed)
last_id, got, cuts = "", 0, 0


def take(block):
    """One event; its id counts when its blank line is there."""
    global last_id, got
    fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line and line[0] != ":")
    last_id = fields.get("id", last_id)
    if fields.get("event") == "reset":
        sys.exit("reset " + fields["data"])
    if fields.get("event") == "e":
        got = json.loads(fields["data"])["n"]
        print(got, flush=True)


def read_some():
    """One connection, up to a cut."""
    conn = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    conn.connect()
    conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    conn.request("GET", path, headers={"Accept-Encoding": "gzip", "Last-Event-ID": last_id})
    response = conn.getresponse()
    if response.headers["Content-Encoding"] != "gzip":
        sys.exit("no gzip: %d %s" % (response.status, response.headers))
    decoder, text, left = zlib.decompressobj(31), "", draw.randrange(1, 60000)
    if draw.random() < 0.5:
        time.sleep(0.1)
    while left > 0 and got < last:
        try:
            piece = response.read1(draw.randrange(1, 4096))
        except (http.client.IncompleteRead, ConnectionError):
            break
        if not piece:
            break
        text += decoder.decompress(piece[:left]).decode()
        left -= len(piece)
        *blocks, text = text.split("\n\n")
        for block in blocks:
            take(block)
    conn.close()


while got < last:
    read_some()
    cuts += 1
print("cuts", cuts)
