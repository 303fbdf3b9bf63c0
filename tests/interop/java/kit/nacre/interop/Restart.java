package nacre.interop;

import static nacre.interop.Checks.eventually;
import static nacre.interop.Checks.that;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;

/** SIGKILL and a new start of the server in the middle of a story, and what nobody may notice of it. */
final class Restart {
    private static final long DOWN_MS = 2_000;
    /** The goal is "well under 1 s"; this only tells a slow machine from a server that doesn't come. */
    static final long START_LIMIT_MS = 10_000;

    private final Checks checks;
    private final ServerProcess server;
    private final Tap tap;
    private final Lists[] watched;
    private final Predicate<Exchange> mayRegister;

    long killedAtMs;
    long startedAtMs;

    /**
     * @param watched lists that are being polled, and have been for a while
     * @param mayRegister registrations that belong to the story, after the kill too
     */
    Restart(Checks checks, ServerProcess server, Tap tap, Predicate<Exchange> mayRegister, Lists... watched) {
        this.checks = checks;
        this.server = server;
        this.tap = tap;
        this.mayRegister = mayRegister;
        this.watched = watched;
    }

    void perform() throws Exception {
        server.kill();
        killedAtMs = Clock.nowMs();
        Thread.sleep(DOWN_MS);
        startedAtMs = Clock.nowMs();
        checks.check("nothing_answers_after_kill", () -> {
            for (Lists lists : watched) {
                List<Lists.Answer> seen = lists.between(killedAtMs, startedAtMs - 200);
                that(!seen.isEmpty(), "the poller saw nothing");
                for (Lists.Answer answer : seen) {
                    that(answer.status == 0, answer.toString());
                }
            }
        });
        server.start();
        checks.check("serves_again", () -> {
            for (Lists lists : watched) {
                eventually(START_LIMIT_MS, () -> firstAfterStart(lists) == null ? "no answer of status 200" : null);
            }
            System.out.println("   first list " + (servedAtMs() - startedAtMs) + " ms after the start");
        });
        checks.check("first_list_is_as_before_the_kill", () -> {
            for (Lists lists : watched) {
                isAsBefore(lists);
            }
        });
    }

    /** When the first list was served after the start; now if none was. */
    long servedAtMs() {
        Lists.Answer first = firstAfterStart(watched[0]);
        return first == null ? Clock.nowMs() : first.atMs;
    }

    /** What has been seen until {@code toMs}; the clients should have had time for a beat of each instance. */
    void judge(long toMs) {
        checks.check("no_short_list_after_restart", () -> {
            for (Lists lists : watched) {
                lists.areWhole(servedAtMs(), toMs);
            }
        });
        checks.check("nobody_registers_again", () -> {
            Predicate<Exchange> again = e -> e.isRegistration() && !mayRegister.test(e);
            List<Exchange> found = tap.between(killedAtMs, toMs, again);
            that(found.isEmpty(), found.size() + " registrations, the first " + (found.isEmpty() ? "" : found.get(0)));
            List<Exchange> first = tap.between(0, killedAtMs, Exchange::isRegistration);
            that(!first.isEmpty(), "none was seen before the kill either: the tap is not in between");
        });
        checks.check("last_ref_time_never_goes_back", () -> {
            for (Lists lists : watched) {
                long highest = 0;
                for (Lists.Answer answer : lists.between(0, toMs)) {
                    long time = answer.status == 200 ? answer.list.path("lastRefTime").asLong() : highest;
                    that(time >= highest, "after " + highest + ": " + answer);
                    highest = time;
                }
            }
        });
    }

    /** Instance {@code address} has at least {@code least} answered beats from {@code fromMs} on, all with 10200. */
    static void areBeatsGood(Tap tap, String address, long fromMs, long toMs, int least) {
        List<Exchange> beats = tap.between(fromMs, toMs, e -> e.isBeat() && e.isOf(address) && e.status != 0);
        for (Exchange beat : beats) {
            that(beat.status == 200 && beat.answer.contains("\"code\":10200"), beat.toString());
        }
        that(beats.size() >= least, "only " + beats.size() + " answered beats of " + address);
    }

    private void isAsBefore(Lists lists) {
        Lists.Answer before = lastBeforeKill(lists);
        Lists.Answer after = firstAfterStart(lists);
        that(after != null, "no list was served");
        that(after.byAddress().keySet().equals(before.byAddress().keySet()),
                "before " + before.byAddress().keySet() + ", after " + after.byAddress().keySet());
        for (Map.Entry<String, JsonNode> host : before.byAddress().entrySet()) {
            JsonNode again = after.byAddress().get(host.getKey());
            that(again.equals(host.getValue()), "before " + host.getValue() + ", after " + again);
        }
        // Some clients compare lists in order: each difference is a change to their application.
        that(after.hosts().equals(before.hosts()), "the order of hosts has changed");
    }

    private Lists.Answer firstAfterStart(Lists lists) {
        for (Lists.Answer answer : lists.between(startedAtMs, Long.MAX_VALUE)) {
            if (answer.status == 200) {
                return answer;
            }
        }
        return null;
    }

    private Lists.Answer lastBeforeKill(Lists lists) {
        Lists.Answer last = null;
        for (Lists.Answer answer : lists.between(0, killedAtMs)) {
            last = answer.status == 200 ? answer : last;
        }
        that(last != null, "no list was served before the kill");
        return last;
    }
}
