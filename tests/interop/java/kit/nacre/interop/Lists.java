package nacre.interop;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.URL;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeMap;

/** Asks the server itself, past client and tap, for the list of the story's service; every 100 ms if told so. */
final class Lists {
    private static final int PERIOD_MS = 100;
    private static final int TIMEOUT_MS = 3000;
    private static final ObjectMapper JSON = new ObjectMapper();

    private final URL url;
    private final List<Answer> answers = new ArrayList<>();

    /** One answer, or what came instead of it. */
    static final class Answer {
        final long atMs = Clock.nowMs();
        /** 0 when there was no answer. */
        int status;
        String text = "";
        JsonNode list = JSON.createObjectNode();

        JsonNode hosts() {
            return list.path("hosts");
        }

        /** address -> host, of all hosts. */
        TreeMap<String, JsonNode> byAddress() {
            TreeMap<String, JsonNode> found = new TreeMap<>();
            for (JsonNode host : hosts()) {
                found.put(host.path("ip").asText() + ":" + host.path("port").asInt(), host);
            }
            return found;
        }

        @Override
        public String toString() {
            String start = text.length() > 400 ? text.substring(0, 400) + "..." : text;
            return "at " + atMs + " ms: " + status + " " + start;
        }
    }

    Lists(int port, String namespace, String groupedService) throws IOException {
        url = new URL("http://127.0.0.1:" + port + "/nacos/v1/ns/instance/list?namespaceId=" + namespace
                + "&serviceName=" + URLEncoder.encode(groupedService, "UTF-8"));
    }

    void startPolling() {
        Tap.daemon("lists", () -> {
            while (true) {
                long next = Clock.nowMs() + PERIOD_MS;
                Answer answer = ask();
                synchronized (answers) {
                    answers.add(answer);
                }
                try {
                    Clock.sleepUntil(next);
                } catch (InterruptedException e) {
                    return;
                }
            }
        });
    }

    /** What the poller saw from {@code fromMs} on and before {@code toMs}, oldest first. */
    List<Answer> between(long fromMs, long toMs) {
        List<Answer> found = new ArrayList<>();
        synchronized (answers) {
            for (Answer answer : answers) {
                if (answer.atMs >= fromMs && answer.atMs < toMs) {
                    found.add(answer);
                }
            }
        }
        return found;
    }

    /** Asks once, now. */
    Answer ask() {
        Answer answer = new Answer();
        try {
            HttpURLConnection connection = (HttpURLConnection) url.openConnection();
            connection.setConnectTimeout(TIMEOUT_MS);
            connection.setReadTimeout(TIMEOUT_MS);
            int status = connection.getResponseCode();
            try (InputStream in = status < 400 ? connection.getInputStream() : connection.getErrorStream()) {
                answer.text = in == null ? "" : text(in);
            }
            answer.status = status;
            answer.list = status == 200 ? JSON.readTree(answer.text) : answer.list;
        } catch (IOException e) {
            answer.text = e.toString();
        }
        return answer;
    }

    private static String text(InputStream in) throws IOException {
        ByteArrayOutputStream all = new ByteArrayOutputStream();
        byte[] part = new byte[8192];
        for (int count = in.read(part); count >= 0; count = in.read(part)) {
            all.write(part, 0, count);
        }
        return new String(all.toByteArray(), StandardCharsets.UTF_8);
    }
}
