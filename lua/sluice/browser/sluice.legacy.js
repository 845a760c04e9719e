/**
 * sluice.legacy.js: connect of sluice.js for browsers without fetch streams or modules. ES5, over XMLHttpRequest.
 *
 *   <script src="/sluice.legacy.js"></script>
 *   <script> var stocks = sluice.connect("/api/stocks", { eventTypes: ["price"], onMessage: show }); </script>
 *
 * The same options but share, set and signal; each connection has a stream of its own, token and headers may call
 * back instead of promising (function (done) { done(ticket); }). The answer of an XMLHttpRequest grows as long as the
 * stream is open: after 4 MB it connects again, after the newest id.
 */
(function (root) {
  "use strict";

  var MOST = 4 * 1024 * 1024, FIRST_WORD = 10000, LONGEST = 2147483647;

  function json(text) {
    try { return JSON.parse(text); } catch (_) { return text; }
  }

  function later(error) { setTimeout(function () { throw error; }); }

  function tell(fn, a) {
    try { return fn && fn(a); } catch (error) { later(error); }
  }

  /** A value, what a function returns, what a promise brings, or what a function gives to its argument. */
  function value(it, done, fail) {
    if (typeof it !== "function") return done(it);
    var called = false, got;
    function once(then) { return function (x) { if (!called) { called = true; then(x); } }; }
    try { got = it(once(done)); } catch (error) { return once(fail)(error); }
    if (got && got.then) got.then(once(done), once(fail));
    else if (got !== undefined) once(done)(got);
  }

  function parser(emit) {
    var rest = "", after = false, type = "", data = null, id = null, retry = null;
    function end() {
      var block = { type: type || "message", data: data, id: id, retry: retry };
      var any = data !== null || id !== null || retry !== null;
      type = "";
      data = id = retry = null;
      if (any) emit(block);
    }
    function take(line) {
      if (line === "") return end();
      var colon = line.indexOf(":"), name = colon < 0 ? line : line.slice(0, colon);
      var text = colon < 0 ? "" : line.slice(colon + (line.charAt(colon + 1) === " " ? 2 : 1));
      if (name === "data") data = data === null ? text : data + "\n" + text;
      else if (name === "event") type = text;
      else if (name === "id" && text.indexOf("\0") < 0) id = text;
      else if (name === "retry" && /^\d+$/.test(text)) retry = +text;
    }
    return function (text) {
      if (!text) return;
      if (after && text.charAt(0) === "\n") text = text.slice(1);
      after = text.charAt(text.length - 1) === "\r";
      var lines = (rest + text).split(/\r\n|\r|\n/);
      rest = lines.pop();
      for (var i = 0; i < lines.length; i++) take(lines[i]);
    };
  }

  function epoch(id) { return id.slice(0, id.lastIndexOf("-")); }

  /** Whether an id comes before another one of the same epoch. */
  function isBefore(a, b) {
    return epoch(a) === epoch(b) && (a.length - b.length || (a < b ? -1 : 1)) < 0;
  }

  function has(list, it) {
    for (var i = 0; i < list.length; i++) if (list[i] === it) return true;
    return false;
  }

  function add(url, name, it) {
    return url + (url.indexOf("?") < 0 ? "?" : "&") + name + "=" + encodeURIComponent(it);
  }

  function connect(url, options) {
    var o = options || {}, types = o.eventTypes || ["message"];
    var status = "connecting", id = o.lastEventId || "", client = "", user = (o.user || "").split(".")[0];
    var retry = 3000, tries = 0, beat = FIRST_WORD / 2.5 - 400; // until the first block says whether there is one
    var xhr = null, timer = null, watching = null, heard = 0, spoke = false, over = false, renewed = false, kept = {}, waits = false;
    var polls = false, polled = false, poll = "";
    var name = o.method === "POST" ? String(Math.random()).slice(2) + String(Math.random()).slice(2) : "";
    var connection = { status: status, client: client, lastEventId: id, user: o.user || "", close: function () { finish(); } };

    function become(state) {
      if (status === state) return;
      connection.status = status = state;
      if (state === "closed") out();
      tell(o.onStatus, state);
    }

    function pause() {
      var old = xhr;
      xhr = null;
      clearTimeout(timer);
      clearInterval(watching);
      if (old) old.abort();
    }

    function finish(problem) {
      if (over) return;
      over = true;
      pause();
      if (problem) tell(o.onError, problem);
      become("closed");
    }

    function again(problem) {
      var own = spoke ? retry : Math.min(500 * Math.pow(2, tries++), 30000);
      pause();
      if (over) return;
      if (problem.atOnce) return open();
      if (!polled) {
        become("waiting");
        tell(o.onError, { status: problem.status, message: problem.message });
      }
      if (!over) timer = setTimeout(open, Math.min(Math.max(own, problem.wait || 0) * (1 + Math.random() / 2), LONGEST));
    }

    function refused(status, message) {
      var asks = typeof o.token === "function" || typeof o.headers === "function";
      if (status !== 401 || !asks || renewed) return finish({ status: status, message: message });
      renewed = true;
      again({ atOnce: true });
    }

    function forget(reason) {
      kept = {};
      tell(o.onReset, { channel: null, reason: reason, from: id, oldest: null });
      connection.lastEventId = id = poll = "";
      again({ atOnce: true });
    }

    /** Of a throttle: now what is kept. */
    function out() {
      for (var type in kept) {
        var event = kept[type];
        delete kept[type];
        tell(o.onMessage, event);
      }
    }

    function flush() {
      waits = false;
      for (var type in kept) waits = !!type;
      if (waits) setTimeout(flush, o.throttle === "frame" ? 16 : o.throttle);
      out();
    }

    function deliver(block) {
      if (!has(types, block.type) && !has(types, "*")) return;
      var event = { type: block.type, data: tell(o.parse || json, block.data), id: block.id || "", ack: function () { ack(event); } };
      if (o.filter && !tell(o.filter, event)) return;
      if (!o.throttle) return tell(o.onMessage, event);
      kept[event.type] = event;
      if (!waits) flush();
    }

    function ack(event) {
      value(o.headers, function (headers) {
        var post = new XMLHttpRequest();
        post.open("POST", o.ackUrl || url.replace(/[?#].*$/, "") + "/ack");
        for (var field in headers || {}) post.setRequestHeader(field, headers[field]);
        post.setRequestHeader("Content-Type", "application/json");
        post.withCredentials = !!o.withCredentials;
        post.send(JSON.stringify({ ids: [event.data && event.data.id !== undefined ? event.data.id : event.id] }));
      }, later);
    }

    function take(block) {
      var said = null, type = block.type;
      if (block.retry !== null) retry = block.retry;
      tries = 0;
      if (type === "hello" || type === "bye" || type === "reset") said = Object(json(block.data));
      if (type === "hello") {
        var now = String(said.share || "").split(".")[0];
        connection.client = client = said.client || "";
        connection.user = said.share || "";
        beat = said.heartbeat * 1000 || 0;
        if (id && user && user !== now) {
          user = now;
          return forget("user");
        }
        user = now;
      }
      if (type === "bye" && said.reason === "stop") return finish();
      if (type === "bye" && said.reason === "denied") return refused(said.status || 403, "bye denied");
      if (block.id !== null && !(client && isBefore(block.id, id))) connection.lastEventId = id = block.id;
      if (type === "bye") return again({ status: said.status, message: "bye " + said.reason, wait: said.retry });
      if (type === "hello" || block.data === null) return;
      renewed = false;
      if (!client) beat = 0; // no server of ours
      if (type === "reset") {
        if (said.channel === null) kept = {};
        out();
        tell(o.onReset, said);
      } else if (type !== "sync") deliver(block);
    }

    function judge(mine) {
      var status = mine.status, after = 0, wait = 0;
      if (status === 204) return finish();
      if (status === 200 && spoke) return again({ message: "the stream ended" });
      if (status === 410 && id) return forget("trimmed");
      try { after = mine.getResponseHeader("Retry-After") || 0; } catch (_) { /* of another origin */ }
      wait = 1000 * after || Date.parse(after) - new Date().getTime() || 0;
      if (status >= 400 && status < 500 && !has([408, 425, 429], status)) return refused(status, "HTTP " + status);
      again({ status: status || undefined, wait: wait, message: status ? "HTTP " + status : "the network is away" });
    }

    function look(mine) {
      var quiet = new Date().getTime() - heard;
      if (spoke && !beat) return;
      if (spoke && quiet > beat * 1.5 + 500) become("stale");
      if (mine !== xhr || quiet <= (spoke ? beat * 2.5 + 1000 : polls ? 4 * FIRST_WORD : o.fallbackAfter || FIRST_WORD)) return;
      if (!spoke) polls = !polls && o.fallback !== false;
      again({ message: "nothing was heard of the server" });
    }

    function send(ticket, headers) {
      var mine = xhr = new XMLHttpRequest(), at = 0, to = url, body = o.body;
      var feed = parser(function (block) { if (mine === xhr) take(block); });
      if (o.eventTypes && !has(types, "*")) to = add(to, "types", types.join(","));
      if (o.keys) to = add(to, "keys", o.keys.join(","));
      if (o.maxRate) to = add(to, "max_rate", o.maxRate);
      if (ticket) to = add(to, "ticket", ticket);
      if (id && !name) to = add(to, "lastEventId", id);
      if (polls) to = add(to, "mode", "poll");
      if (polls && poll) to = add(to, "poll", poll);
      mine.open(o.method || "GET", to, true);
      mine.setRequestHeader("Accept", "text/event-stream");
      mine.setRequestHeader("Cache-Control", "no-cache");
      if (name) mine.setRequestHeader("Idempotency-Key", name);
      if (id && name) mine.setRequestHeader("Last-Event-ID", id);
      if (body !== undefined && typeof body !== "string") {
        body = JSON.stringify(body);
        mine.setRequestHeader("Content-Type", "application/json");
      }
      for (var field in headers || {}) mine.setRequestHeader(field, headers[field]);
      mine.withCredentials = !!o.withCredentials;
      heard = new Date().getTime();
      mine.onreadystatechange = function () {
        if (mine !== xhr || mine.readyState < 3) return;
        var kind = mine.status === 200 && mine.getResponseHeader("Content-Type");
        if (/^text\/event-stream/i.test(kind || "")) {
          var held = polls && !!mine.getResponseHeader("Content-Length");
          var text = held && mine.readyState < 4 ? "" : mine.responseText; // of one that is cut nothing counts
          if (!held || text) poll = (polls && mine.readyState === 4 && /\npoll: (.+)\n\n$/.exec(text) || ["", ""])[1];
          polled = held || !!poll; // a gateway may take the length away
          heard = new Date().getTime();
          if (text.length > at) {
            spoke = true;
            become("open");
            var from = at;
            at = text.length;
            feed(text.slice(from));
          }
          if (mine === xhr && text.length > MOST) return again({ atOnce: true });
        }
        if (mine === xhr && mine.readyState === 4) judge(mine);
      };
      watching = setInterval(function () { look(mine); }, 1000);
      mine.send(body === undefined ? null : body);
    }

    function open() {
      if (over) return;
      var turn = timer = setTimeout(function () {}, 0); // who asks for a ticket may be closed meanwhile
      function fail(error) { if (!over && timer === turn) again({ message: String(error && error.message || error) }); }
      spoke = false;
      if (!polled) become("connecting");
      polled = false;
      value(o.token, function (ticket) {
        value(o.headers, function (headers) {
          if (over || timer !== turn) return;
          try { send(ticket, headers); } catch (error) { fail(error); }
        }, fail);
      }, fail);
    }

    open();
    return connection;
  }

  root.sluice = { connect: connect };
})(typeof window === "undefined" ? this || globalThis : window);
