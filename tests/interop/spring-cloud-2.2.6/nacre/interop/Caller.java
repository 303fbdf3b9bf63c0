package nacre.interop;

import static nacre.interop.Checks.that;

import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;

/** Has the consumer call a provider all the time. */
final class Caller {
    private static final int PERIOD_MS = 100;

    private final List<Call> calls = new ArrayList<>();

    private static final class Call {
        private final long atMs = Clock.nowMs();
        private String answer;
    }

    Caller(int consumerPort) {
        Tap.daemon("caller", () -> {
            while (true) {
                Call call = new Call();
                try {
                    call.answer = Web.get(consumerPort, "/call");
                } catch (Exception e) {
                    call.answer = e.toString();
                }
                synchronized (calls) {
                    calls.add(call);
                }
                try {
                    Clock.sleepUntil(call.atMs + PERIOD_MS);
                } catch (InterruptedException e) {
                    return;
                }
            }
        });
    }

    /** The calls that began in the span went well, and there are at least {@code least}. */
    void wentWell(long fromMs, long toMs, int least) {
        List<Call> seen = between(fromMs, toMs);
        for (Call call : seen) {
            that(call.answer.startsWith("200 "), "at " + call.atMs + " ms: " + call.answer);
        }
        that(seen.size() >= least, "only " + seen.size() + " calls, not " + least);
    }

    /** Who was called in the span. */
    TreeSet<String> called(long fromMs, long toMs) {
        TreeSet<String> found = new TreeSet<>();
        for (Call call : between(fromMs, toMs)) {
            found.add(call.answer.replaceFirst("^200 ", ""));
        }
        return found;
    }

    private List<Call> between(long fromMs, long toMs) {
        List<Call> found = new ArrayList<>();
        synchronized (calls) {
            for (Call call : calls) {
                if (call.atMs >= fromMs && call.atMs < toMs) {
                    found.add(call);
                }
            }
        }
        return found;
    }
}
