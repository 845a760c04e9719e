// Java's own HttpClient as a client of event streams: java SseClient.java <url>... It writes a line of JSON for all
// that it sees, as sse_client.mjs does. The parser and the return are what a program has to write itself. It asks as
// a browser does, with no-cache, so that each end is clean: broken off, HTTP/2 loses what was said last.
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.security.cert.X509Certificate;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManager;
import javax.net.ssl.X509TrustManager;

public class SseClient extends Thread {
    static final HttpClient CLIENT = client();
    final int stream;
    final String url;
    String id = "", wait = "3000";

    SseClient(int stream, String url) {
        this.stream = stream;
        this.url = url;
    }

    static HttpClient client() { // the certificates of specs are their own
        TrustManager all = new X509TrustManager() {
            public void checkClientTrusted(X509Certificate[] chain, String type) {}
            public void checkServerTrusted(X509Certificate[] chain, String type) {}
            public X509Certificate[] getAcceptedIssuers() { return new X509Certificate[0]; }
        };
        try {
            SSLContext context = SSLContext.getInstance("TLS");
            context.init(null, new TrustManager[] {all}, null);
            return HttpClient.newBuilder().sslContext(context).build();
        } catch (Exception e) {
            throw new RuntimeException(e);
        }
    }

    static String quote(String text) {
        StringBuilder out = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            out.append(c < ' ' || c == '"' || c == '\\' ? String.format("\\u%04x", (int) c) : String.valueOf(c));
        }
        return out.append('"').toString();
    }

    void say(String what, String more) {
        synchronized (CLIENT) {
            byte[] line = String.format("{\"stream\":%d,\"what\":\"%s\"%s}\n", stream, what, more)
                .getBytes(StandardCharsets.UTF_8);
            System.out.write(line, 0, line.length);
            System.out.flush();
        }
    }

    /** Whether it is over for good. */
    boolean read() throws Exception {
        HttpRequest.Builder ask = HttpRequest.newBuilder(URI.create(url)).header("Accept", "text/event-stream")
            .header("Cache-Control", "no-cache");
        if (!id.isEmpty()) ask.header("Last-Event-ID", id);
        if (url.contains("post=1")) {
            ask.header("Content-Type", "application/json").POST(HttpRequest.BodyPublishers.ofString("{}"));
        }
        HttpResponse<java.io.InputStream> answer = CLIENT.send(ask.build(), HttpResponse.BodyHandlers.ofInputStream());
        if (answer.statusCode() == 204) return true;
        if (answer.statusCode() != 200) throw new java.io.IOException("status " + answer.statusCode());
        say("open", "");
        BufferedReader in = new BufferedReader(new InputStreamReader(answer.body(), StandardCharsets.UTF_8));
        String event = "message", data = null, newId = id;
        for (String line; (line = in.readLine()) != null;) {
            int colon = line.indexOf(':');
            String field = colon < 0 ? line : line.substring(0, colon);
            String value = colon < 0 ? "" : line.substring(colon + 1).replaceFirst("^ ", "");
            if (field.equals("data")) data = data == null ? value : data + "\n" + value;
            if (field.equals("event")) event = value;
            if (field.equals("id")) newId = value;
            if (field.equals("retry")) wait = value;
            if (!line.isEmpty()) continue;
            id = newId;
            if (data != null) {
                say("message", String.format(",\"event\":%s,\"id\":%s,\"data\":%s", quote(event), quote(id), quote(data)));
            }
            if (event.equals("done")) return true;
            event = "message";
            data = null;
        }
        return false;
    }

    public void run() {
        try {
            for (;;) {
                try {
                    if (read()) {
                        say("closed", "");
                        return;
                    }
                    say("error", "");
                } catch (java.io.IOException e) {
                    say("error", ",\"data\":" + quote(e.toString()));
                }
                Thread.sleep(Long.parseLong(wait));
            }
        } catch (Exception e) {
            throw new RuntimeException(e);
        }
    }

    public static void main(String[] urls) {
        for (int i = 0; i < urls.length; i++) new SseClient(i + 1, urls[i]).start();
    }
}
