package nacre.interop;

import static nacre.interop.Checks.that;

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
import java.util.Collection;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;

/** Asks the server itself, past clients and tap, for the list of a service; every 100 ms if told so. */
final class Lists {
    private static final int PERIOD_MS = 100;
    private static final int TIMEOUT_MS = 3000;
    private static final ObjectMapper JSON = new ObjectMapper();

    private final URL url;
    private final List<Answer> answers = new ArrayList<>();
    private Set<String> always = Collections.emptySet();

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

    /** From now on; the instances {@code always} (addresses) are there until the story's end. */
    void startPolling(Collection<String> always) {
        this.always = new TreeSet<>(always);
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

    /** Each answer in the span has status 200 and all that are always there, healthy; and there are enough of them. */
    void areWhole(long fromMs, long toMs) {
        List<Answer> seen = between(fromMs, toMs);
        int wrong = 0;
        Answer example = null;
        for (Answer answer : seen) {
            if (!isWhole(answer)) {
                wrong++;
                example = example == null ? answer : example;
            }
        }
        that(wrong == 0, wrong + " of " + seen.size() + " answers short or not healthy, the first " + example);
        // A poll may take longer than its period on a busy machine.
        long least = (toMs - fromMs) / PERIOD_MS * 7 / 10;
        that(seen.size() >= least, "only " + seen.size() + " answers, not " + least);
    }

    private boolean isWhole(Answer answer) {
        Map<String, JsonNode> hosts = answer.byAddress();
        boolean whole = answer.status == 200;
        for (String address : always) {
            whole &= hosts.containsKey(address) && hosts.get(address).path("healthy").asBoolean();
        }
        return whole;
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
