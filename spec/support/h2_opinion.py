"""A second client for HTTP/2, on python3-h2, whose rules are not ours: it raises at what the standard forbids.

    h2_opinion.py PORT      by prior knowledge, of the app in spec/e2e/h2_tools_spec.lua

Prints what it has seen, a line each; the spec compares.
"""
import socket, sys, time
import h2.config, h2.connection, h2.events

port = int(sys.argv[1])


class Client:
    def __init__(self, opens_windows=True):
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.h2.initiate_connection()
        self.opens_windows, self.heads, self.bodies, self.ends = opens_windows, {}, {}, {}
        self.flush()

    def flush(self):
        self.sock.sendall(self.h2.data_to_send())

    def open(self, method, path, body=None):
        stream = self.h2.get_next_available_stream_id()
        fields = [(":method", method), (":scheme", "http"), (":authority", "localhost"), (":path", path)]
        self.h2.send_headers(stream, fields, end_stream=body is None)
        self.bodies[stream] = b""
        if body is not None:
            self.h2.send_data(stream, body, end_stream=True)
        self.flush()
        return stream

    def read(self, until, seconds=20):
        self.sock.settimeout(0.2)
        over = time.monotonic() + seconds
        while not until() and time.monotonic() < over:
            try:
                data = self.sock.recv(65536)
            except socket.timeout:
                continue
            if not data:
                return "closed"
            for event in self.h2.receive_data(data):
                self.on(event)
            self.flush()
        return "yes" if until() else "timeout"

    def on(self, event):
        stream = getattr(event, "stream_id", None)
        if isinstance(event, h2.events.ResponseReceived):
            self.heads[stream] = dict(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            self.bodies[stream] += event.data
            if self.opens_windows:
                self.h2.acknowledge_received_data(event.flow_controlled_length, stream)
        elif isinstance(event, h2.events.StreamEnded):
            self.ends[stream] = "end"
        elif isinstance(event, h2.events.StreamReset):
            self.ends[stream] = "reset %d" % event.error_code
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.ends[0] = "goaway %d" % event.error_code


c = Client()
one = c.open("GET", "/")
print("get", c.read(lambda: one in c.ends), c.bodies[one].decode())
two = c.open("POST", "/echo", b"x" * 16000)
print("post", c.read(lambda: two in c.ends), len(c.bodies[two]))
large = c.open("GET", "/large")
print("large", c.read(lambda: large in c.ends), len(c.bodies[large]))
streams = [c.open("GET", "/s") for _ in range(60)]
print("open", c.read(lambda: all(b"event: sync" in c.bodies[s] for s in streams)))
c.open("POST", "/pub", b"to all")
print("told", c.read(lambda: all(b"data: to all" in c.bodies[s] for s in streams)))
stops = c.open("GET", "/stops")
print("stops", c.read(lambda: stops in c.ends), c.ends.get(stops))

held = Client(opens_windows=False)
large = held.open("GET", "/large")
print("held", held.read(lambda: len(held.bodies[large]) == 65535), len(held.bodies[large]))
print("ended", held.read(lambda: 0 in held.ends), held.ends.get(0))
