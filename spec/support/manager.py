"""A service manager, as far as a server sees one: it holds the listening sockets and hands them over
(LISTEN_FDS), reads what the server tells (NOTIFY_SOCKET), and has a watchdog. For spec/support/manager.lua.

    manager.py FOLDER WATCHDOG_SECONDS tcp:PORT|tls:PORT|unix:PATH ... -- COMMAND ...

A socket of tls: has that for a name, others that of no unit.

What happens is printed, a line each, with seconds of the monotonic clock. USR1 restarts the service, HUP
is passed on, TERM stops it and ends. A service that ends by itself with an error is started again.
"""
import ctypes, os, select, signal, socket, sys, time

folder, watchdog = sys.argv[1], float(sys.argv[2])
split = sys.argv.index("--")
places, command = sys.argv[3:split], sys.argv[split + 1:]
wanted = set()


def say(*words):
    print("%.6f" % time.monotonic(), *words, flush=True)


def listen(place):
    kind, where = place.split(":", 1)
    s = socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET, socket.SOCK_STREAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(where if kind == "unix" else ("127.0.0.1", int(where)))
    s.listen(4096)
    say("listening", where if kind == "unix" else s.getsockname()[1])
    return s


def start():
    pid = os.fork()
    if pid:
        say("started", pid)
        return pid
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # it ends with this program, however that ends
    env = dict(os.environ, NOTIFY_SOCKET=notify.getsockname())
    if watchdog:
        env.update(WATCHDOG_USEC=str(int(watchdog * 1e6)), WATCHDOG_PID=str(os.getpid()))
    if sockets:
        names = ["tls" if place.startswith("tls:") else "app.socket" for place in places]
        env.update(LISTEN_FDS=str(len(sockets)), LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES=":".join(names))
    high = [os.dup2(s.fileno(), 100 + i, inheritable=True) for i, s in enumerate(sockets)]
    for i, fd in enumerate(high):
        os.dup2(fd, 3 + i, inheritable=True)
        os.close(fd)
    for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    os.execvpe(command[0], command, env)


notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.bind(folder + "/notify")
for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda n, _: wanted.add(n))
signal.signal(signal.SIGCHLD, lambda *_: None)
sockets = [listen(place) for place in places]
pid, beat = start(), None
stopping = restarting = False
while True:
    ready = select.select([notify], [], [], 0.02)[0]
    while ready:
        try:
            text = notify.recv(8192, socket.MSG_DONTWAIT).decode()
        except BlockingIOError:
            break
        say("told", text.replace("\n", "|"))
        if "READY=1" in text or "WATCHDOG=1" in text:
            beat = time.monotonic()
        if "STOPPING=1" in text:
            beat = None
    if signal.SIGHUP in wanted:
        os.kill(pid, signal.SIGHUP)
    if wanted & {signal.SIGUSR1, signal.SIGTERM}:
        restarting = signal.SIGUSR1 in wanted
        stopping = signal.SIGTERM in wanted
        os.kill(pid, signal.SIGTERM)
    wanted.clear()
    if watchdog and beat and time.monotonic() - beat > watchdog:
        say("watchdog")
        beat = None
        os.kill(pid, signal.SIGABRT)
    gone, status = os.waitpid(pid, os.WNOHANG)
    if gone:
        code = os.waitstatus_to_exitcode(status)
        say("ended", code)
        if stopping or (code == 0 and not restarting):
            sys.exit(code if code >= 0 else 128 - code)
        restarting = False
        pid, beat = start(), None
