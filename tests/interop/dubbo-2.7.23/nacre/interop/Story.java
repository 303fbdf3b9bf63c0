package nacre.interop;

import static nacre.interop.Checks.eventually;
import static nacre.interop.Checks.that;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.File;
import java.io.IOException;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.TreeSet;
import java.util.function.Predicate;

/**
 * Two providers, one of which comes and goes, and a consumer that calls them all the time; the registry is killed and
 * comes back, and no call fails.
 */
final class Story {
    private static final String NAMESPACE = "interop";
    private static final String GROUP = "INTEROP_GROUP";
    private static final String INTERFACE = Greeter.class.getName() + ":" + DubboApplication.VERSION + ":";
    private static final int PORT_A = 20881;
    private static final int PORT_B = 20882;

    private static final long BOOT_LIMIT_MS = 60_000;
    /** Usually by push within a second; else the consumer polls every 10 s, more rarely after failed polls. */
    private static final long TOLD_LIMIT_MS = 20_000;
    /** From a change to the consumer's next call, where nothing stands between; it is told by push. */
    private static final long NOTICED_LIMIT_MS = 5_000;
    private static final long WATCH_AFTER_MS = 17_000;
    /** The consumer's calls come every 50 ms. */
    private static final long CALLS_MS = 1_000;

    private final Checks checks;
    private final File work;
    private final String host;
    private final Tap tap;
    private final Lists providers;
    private final Lists consumers;
    private final Restart restart;
    private final Calls calls = new Calls();
    private Child providerA;
    private Child providerB;
    private Child consumer;

    private Story(Checks checks, int port, File work, String host) throws IOException {
        this.checks = checks;
        this.work = work;
        this.host = host;
        tap = new Tap(port);
        providers = new Lists(port, NAMESPACE, GROUP + "@@providers:" + INTERFACE);
        consumers = new Lists(port, NAMESPACE, GROUP + "@@consumers:" + INTERFACE);
        restart = new Restart(checks, new ServerProcess(), tap, e -> e.isOf(PORT_B), providers, consumers);
    }

    /** Arguments: the port of the running server, a folder, the address of this host that is no loopback address. */
    public static void main(String[] args) {
        Checks checks = new Checks();
        checks.check("story_reaches_its_end",
                () -> new Story(checks, Integer.parseInt(args[0]), new File(args[1]), args[2]).tell());
        System.exit(checks.finish());
    }

    private void tell() throws Exception {
        start();
        call();
        restart.perform();
        goOn();
        beGentle();
        leave();
    }

    private Child child(String name, Class<?> main, String... arguments) throws IOException {
        return new Child(work, name, main, Arrays.asList("-Ddubbo.application.logger=slf4j"), arguments);
    }

    private void order(Child child, String what) throws InterruptedException {
        child.say(what);
        child.await("done " + what, BOOT_LIMIT_MS);
    }

    private void start() throws Exception {
        String registry = "nacos://127.0.0.1:" + tap.port() + "?namespace=" + NAMESPACE + "&group=" + GROUP;
        providerA = child("a", DubboProvider.class, "a", registry, host, Integer.toString(PORT_A));
        providerB = child("b", DubboProvider.class, "b", registry, host, Integer.toString(PORT_B));
        consumer = child("consumer", DubboConsumer.class, registry);
        order(providerA, "export");
        checks.check("provider_is_listed", () -> {
            eventually(TOLD_LIMIT_MS, () -> listed(providers, PORT_A));
            JsonNode metadata = providers.ask().byAddress().get(address(PORT_A)).path("metadata");
            that(metadata.path("side").asText().equals("provider"), "its metadata are " + metadata);
            that(metadata.path("interface").asText().equals(Greeter.class.getName()), "its metadata are " + metadata);
            that(metadata.path("application").asText().equals("greeters"), "its metadata are " + metadata);
        });
        order(consumer, "refer");
        Tap.daemon("calls", this::followCalls);
        checks.check("consumer_is_listed_with_port_0",
                () -> eventually(TOLD_LIMIT_MS, () -> listed(consumers, 0)));
        checks.check("provider_is_called", () -> eventually(NOTICED_LIMIT_MS, () -> recentlyCalled("a")));
    }

    private void followCalls() {
        try {
            while (true) {
                calls.add(consumer.await("", Long.MAX_VALUE / 2));
            }
        } catch (InterruptedException | Checks.Failure e) {
            // The consumer has ended.
        }
    }

    private void call() throws Exception {
        providers.startPolling(Collections.singleton(address(PORT_A)));
        consumers.startPolling(Collections.singleton(address(0)));
        providerComes("");
        providerGoes("");
        // Beats of all that stay, before the server is killed.
        Thread.sleep(6_000);
        checks.check("no_call_failed", () -> calls.wentWell(0, Clock.nowMs(), 100));
    }

    private void providerComes(String when) throws Exception {
        order(providerB, "export");
        checks.check("new_provider_is_called" + when, () -> eventually(TOLD_LIMIT_MS, () -> recentlyCalled("a", "b")));
    }

    private void providerGoes(String when) throws Exception {
        tap.awaitBeat(address(PORT_B));
        long fromMs = Clock.nowMs();
        order(providerB, "unexport");
        checks.check("unexported_provider_is_no_longer_called" + when, () -> {
            eventually(TOLD_LIMIT_MS, () -> listed(providers, PORT_A));
            eventually(TOLD_LIMIT_MS, () -> recentlyCalled("a"));
            System.out.println("   noticed within " + Math.max(0, Clock.nowMs() - CALLS_MS - fromMs) + " ms");
        });
    }

    private void goOn() throws Exception {
        providerComes("_after_restart");
        providerGoes("_after_restart");
        Clock.sleepUntil(restart.startedAtMs + WATCH_AFTER_MS);
        long now = Clock.nowMs();
        restart.judge(now);
        checks.check("no_beat_is_answered_20404_after_restart", () -> {
            Restart.areBeatsGood(tap, address(PORT_A), restart.startedAtMs, now, 2);
            Restart.areBeatsGood(tap, address(0), restart.startedAtMs, now, 2);
        });
        checks.check("no_call_failed_while_the_registry_was_away",
                () -> calls.wentWell(restart.killedAtMs, restart.servedAtMs(), 20));
        checks.check("no_call_failed_after_restart", () -> calls.wentWell(restart.servedAtMs(), now, 150));
    }

    /** A server without configurations is not asked for them all the time. */
    private void beGentle() throws Exception {
        long now = Clock.nowMs();
        Predicate<Exchange> listens = e -> e.path.equals("/nacos/v1/cs/configs/listener");
        checks.check("configuration_is_found_to_be_absent", () -> {
            List<Exchange> asked = tap.between(0, now,
                    e -> e.method.equals("GET") && e.path.equals("/nacos/v1/cs/configs") && e.status != 0);
            that(!asked.isEmpty(), "nobody asked");
            for (Exchange one : asked) {
                that(one.status == 404 && one.answer.equals("config data not exist"), one.toString());
            }
        });
        checks.check("metadata_are_published_once", () -> {
            List<Exchange> published = tap.between(0, now,
                    e -> e.method.equals("POST") && e.path.equals("/nacos/v1/cs/configs"));
            for (Exchange one : published) {
                that(one.status == 200 && one.answer.equals("false"), one.toString());
            }
            // By the consumer, by A, and by each of the two lives of B; not again and again because none was stored.
            that(published.size() >= 2 && published.size() <= 5, "published " + published.size() + " times");
        });
        checks.check("listeners_are_held", () -> {
            // Three processes; not while the server was away and they tried again.
            List<Exchange> before = tap.between(0, restart.killedAtMs, listens);
            List<Exchange> after = tap.between(restart.servedAtMs() + 5_000, now, listens);
            long beforeMs = restart.killedAtMs;
            long afterMs = now - restart.servedAtMs() - 5_000;
            System.out.println("   listener asked " + before.size() + " times in " + beforeMs + " ms, " + after.size()
                    + " times in " + afterMs + " ms after the restart");
            that(!before.isEmpty(), "nobody asked");
            that(before.size() <= 30, before.size() + " requests in " + beforeMs + " ms before the kill");
            that(after.size() <= 6, after.size() + " requests in " + afterMs + " ms after the restart");
            for (Exchange one : after) {
                that(one.status == 0 || one.status == 200 && one.answer.isEmpty(), one.toString());
            }
        });
    }

    private void leave() throws Exception {
        tap.awaitBeat(address(0));
        consumer.terminate();
        checks.check("ending_consumer_is_deregistered", () -> eventually(TOLD_LIMIT_MS, () -> listed(consumers)));
        tap.awaitBeat(address(PORT_A));
        providerA.terminate();
        providerB.terminate();
        checks.check("ending_provider_is_deregistered", () -> eventually(TOLD_LIMIT_MS, () -> listed(providers)));
    }

    private String address(int port) {
        return host + ":" + port;
    }

    /** Null when the list has exactly the instances with these ports. */
    private String listed(Lists lists, int... ports) {
        TreeSet<String> wanted = new TreeSet<>();
        for (int port : ports) {
            wanted.add(address(port));
        }
        Lists.Answer answer = lists.ask();
        return answer.status == 200 && answer.byAddress().keySet().equals(wanted) ? null : answer + ", not " + wanted;
    }

    /** Null when exactly these were called in the last second. */
    private String recentlyCalled(String... names) {
        long now = Clock.nowMs();
        TreeSet<String> called = calls.called(now - CALLS_MS, now);
        return called.equals(new TreeSet<>(Arrays.asList(names))) ? null : "called were " + called;
    }
}
