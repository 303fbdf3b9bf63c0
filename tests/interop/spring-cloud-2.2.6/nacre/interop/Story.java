package nacre.interop;

import static nacre.interop.Checks.eventually;
import static nacre.interop.Checks.that;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.File;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.TreeSet;

/**
 * Two providers and a consumer, all of them Spring applications; the registry is killed and comes back; then one
 * provider leaves, and at last the others.
 */
final class Story {
    private static final String NAMESPACE = "interop";
    private static final String GROUP = "INTEROP_GROUP";
    private static final String METADATA = "Grüße, 你好 & a=b";

    private static final long BOOT_LIMIT_MS = 90_000;
    /** Usually by push within a second; else the consumer polls every 10 s, more rarely after failed polls. */
    private static final long TOLD_LIMIT_MS = 20_000;
    private static final long WATCH_AFTER_MS = 17_000;
    private static final int CALL_PERIOD_MS = 100;
    private static final int RIBBON_REFRESH_MS = 1_000;

    private final Checks checks;
    private final File work;
    private final Tap tap;
    private final Lists greeters;
    private final Lists callers;
    private final Restart restart;
    private final Calls calls = new Calls();
    private Child one;
    private Child two;
    private Child consumer;
    private String addressOne;
    private String addressTwo;
    private int consumerPort;
    private long watchedFromMs;

    private Story(Checks checks, int port, File work) throws IOException {
        this.checks = checks;
        this.work = work;
        tap = new Tap(port);
        greeters = new Lists(port, NAMESPACE, GROUP + "@@greeter");
        callers = new Lists(port, NAMESPACE, GROUP + "@@caller");
        restart = new Restart(checks, new ServerProcess(), tap, e -> false, greeters, callers);
    }

    /** Arguments: the port of the running server, a folder. */
    public static void main(String[] args) {
        Checks checks = new Checks();
        checks.check("story_reaches_its_end",
                () -> new Story(checks, Integer.parseInt(args[0]), new File(args[1])).tell());
        System.exit(checks.finish());
    }

    private void tell() throws Exception {
        start();
        find();
        restart.perform();
        goOn();
        leave();
    }

    private Child child(String name, Class<?> main, String... more) throws IOException {
        String discovery = "--spring.cloud.nacos.discovery.";
        List<String> arguments = new ArrayList<>(Arrays.asList("--server.address=127.0.0.1", "--server.port=0",
                "--spring.main.banner-mode=off", "--logging.file.name=" + new File(work, name + "-app.log"),
                "--logging.pattern.console=", "--management.endpoint.health.show-details=always",
                discovery + "server-addr=127.0.0.1:" + tap.port(), discovery + "namespace=" + NAMESPACE,
                discovery + "group=" + GROUP, discovery + "ip=127.0.0.1"));
        arguments.addAll(Arrays.asList(more));
        return new Child(work, name, main, Collections.emptyList(), arguments.toArray(new String[0]));
    }

    private Child provider(String name, double weight) throws IOException {
        String discovery = "--spring.cloud.nacos.discovery.";
        return child(name, SpringProvider.class, "--spring.application.name=greeter", "--greeter.name=" + name,
                discovery + "weight=" + weight, discovery + "metadata.text=" + METADATA);
    }

    private static int port(Child child) throws InterruptedException {
        return Integer.parseInt(child.await("serving on ", BOOT_LIMIT_MS));
    }

    private void start() throws Exception {
        one = provider("one", 2.0);
        two = provider("two", 1.0);
        consumer = child("consumer", SpringConsumer.class, "--spring.application.name=caller",
                "--ribbon.ServerListRefreshInterval=" + RIBBON_REFRESH_MS);
        addressOne = "127.0.0.1:" + port(one);
        addressTwo = "127.0.0.1:" + port(two);
        consumerPort = port(consumer);
        System.out.println("   three applications are up after " + Clock.nowMs() + " ms");
        checks.check("applications_are_registered", () -> {
            eventually(TOLD_LIMIT_MS, () -> listed(greeters, addressOne, addressTwo));
            eventually(TOLD_LIMIT_MS, () -> listed(callers, "127.0.0.1:" + consumerPort));
        });
        checks.check("registrations_have_weight_and_metadata", () -> {
            JsonNode host = greeters.ask().byAddress().get(addressOne);
            that(host.path("weight").asDouble() == 2.0, host.toString());
            that(host.path("metadata").path("text").asText().equals(METADATA), host.toString());
            that(host.path("metadata").path("preserved.register.source").asText().equals("SPRING_CLOUD"),
                    host.toString());
        });
        greeters.startPolling(Arrays.asList(addressOne, addressTwo));
        callers.startPolling(Collections.singleton("127.0.0.1:" + consumerPort));
        watchedFromMs = Clock.nowMs();
    }

    private void find() throws Exception {
        checks.check("discovery_client_finds_the_providers",
                () -> eventually(TOLD_LIMIT_MS, () -> asked("/providers", bothSorted())));
        checks.check("discovery_client_finds_metadata_and_weight", () -> {
            String metadata = Web.get(consumerPort, "/metadata");
            that(metadata.contains("nacos.weight=2.0") && metadata.contains(METADATA), metadata);
            that(metadata.contains("nacos.healthy=true"), metadata);
        });
        checks.check("discovery_client_finds_the_services",
                () -> eventually(TOLD_LIMIT_MS, () -> asked("/services", "caller,greeter")));
        checks.check("load_balanced_calls_reach_both_providers", () -> {
            eventually(TOLD_LIMIT_MS, () -> asked("/call", "one"));
            eventually(TOLD_LIMIT_MS, () -> asked("/call", "two"));
        });
        Tap.daemon("calls", this::callForEver);
        checks.check("health_is_up", () -> eventually(TOLD_LIMIT_MS, this::healthy));
        // A beat of each instance, before the server is killed.
        Thread.sleep(6_000);
        long now = Clock.nowMs();
        checks.check("every_beat_is_answered_10200", () -> areBeatsGood(watchedFromMs, now, 1));
        checks.check("no_call_failed", () -> calls.wentWell(0, now, 30));
    }

    private void callForEver() {
        try {
            while (true) {
                long nextMs = Clock.nowMs() + CALL_PERIOD_MS;
                try {
                    calls.add(Web.get(consumerPort, "/call").replaceFirst("^200 ", "called "));
                } catch (IOException e) {
                    calls.add(e.toString());
                }
                Clock.sleepUntil(nextMs);
            }
        } catch (InterruptedException e) {
            // The story has ended.
        }
    }

    private void goOn() throws Exception {
        checks.check("health_is_up_again", () -> eventually(TOLD_LIMIT_MS, this::healthy));
        Clock.sleepUntil(restart.startedAtMs + WATCH_AFTER_MS);
        long now = Clock.nowMs();
        restart.judge(now);
        checks.check("no_beat_is_answered_20404_after_restart", () -> areBeatsGood(restart.startedAtMs, now, 2));
        checks.check("no_call_failed_while_the_registry_was_away",
                () -> calls.wentWell(restart.killedAtMs, restart.servedAtMs(), 10));
        checks.check("no_call_failed_after_restart", () -> calls.wentWell(restart.servedAtMs(), now, 60));
        checks.check("both_providers_are_called_after_restart", () -> that(
                calls.called(restart.servedAtMs(), now).equals(new TreeSet<>(Arrays.asList("one", "two"))),
                "called were " + calls.called(restart.servedAtMs(), now)));
        checks.check("discovery_client_finds_the_providers_after_restart",
                () -> eventually(TOLD_LIMIT_MS, () -> asked("/providers", bothSorted())));
    }

    private void leave() throws Exception {
        tap.awaitBeat(addressTwo);
        two.terminate();
        checks.check("ending_provider_is_deregistered",
                () -> eventually(TOLD_LIMIT_MS, () -> listed(greeters, addressOne)));
        long goneMs = Clock.nowMs();
        checks.check("consumer_learns_of_it", () -> {
            eventually(TOLD_LIMIT_MS, () -> asked("/providers", addressOne));
            System.out.println("   told within " + (Clock.nowMs() - goneMs) + " ms");
        });
        // Spring goes on serving for a while after that, so that nobody is turned away.
        checks.check("only_the_other_is_called", () -> eventually(TOLD_LIMIT_MS, () -> {
            long now = Clock.nowMs();
            TreeSet<String> called = calls.called(now - 1_500, now);
            return called.equals(Collections.singleton("one")) ? null : "called were " + called;
        }));
        tap.awaitBeat("127.0.0.1:" + consumerPort);
        consumer.terminate();
        tap.awaitBeat(addressOne);
        one.terminate();
        checks.check("ending_applications_are_deregistered", () -> {
            eventually(TOLD_LIMIT_MS, () -> listed(callers));
            eventually(TOLD_LIMIT_MS, () -> listed(greeters));
        });
    }

    private void areBeatsGood(long fromMs, long toMs, int least) {
        for (String address : Arrays.asList(addressOne, addressTwo, "127.0.0.1:" + consumerPort)) {
            Restart.areBeatsGood(tap, address, fromMs, toMs, least);
        }
    }

    private String bothSorted() {
        return String.join(",", new TreeSet<>(Arrays.asList(addressOne, addressTwo)));
    }

    /** Null when all applications say that they are, and that discovery is one of the reasons. */
    private String healthy() throws IOException {
        for (int port : new int[] {port(addressOne), port(addressTwo), consumerPort}) {
            String answer = Web.get(port, "/actuator/health");
            JsonNode health = new ObjectMapper().readTree(answer.substring(answer.indexOf(' ')));
            boolean up = answer.startsWith("200 ") && health.path("status").asText().equals("UP")
                    && health.path("components").path("nacosDiscovery").path("status").asText().equals("UP");
            if (!up) {
                return "health of port " + port + " is " + answer;
            }
        }
        return null;
    }

    private static int port(String address) {
        return Integer.parseInt(address.substring(address.indexOf(':') + 1));
    }

    /** Null when the consumer's answer is this. */
    private String asked(String path, String wanted) throws IOException {
        String answer = Web.get(consumerPort, path);
        return answer.equals("200 " + wanted) ? null : path + " is " + answer + ", not " + wanted;
    }

    /** Null when the list has exactly these. */
    private static String listed(Lists lists, String... addresses) {
        Lists.Answer answer = lists.ask();
        boolean same = answer.status == 200
                && answer.byAddress().keySet().equals(new TreeSet<>(Arrays.asList(addresses)));
        return same ? null : answer + ", not " + Arrays.toString(addresses);
    }
}
