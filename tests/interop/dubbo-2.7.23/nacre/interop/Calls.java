package nacre.interop;

import static nacre.interop.Checks.that;

import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;

/** What came of the consumer's calls. */
final class Calls {
    private final List<Call> calls = new ArrayList<>();

    static final class Call {
        final long atMs = Clock.nowMs();
        final String line;

        Call(String line) {
            this.line = line;
        }
    }

    Calls(Child consumer) {
        Tap.daemon("calls", () -> {
            try {
                while (true) {
                    String line = consumer.await("", Long.MAX_VALUE / 2);
                    synchronized (calls) {
                        calls.add(new Call(line));
                    }
                }
            } catch (InterruptedException | Checks.Failure e) {
                // The consumer has ended.
            }
        });
    }

    /** The calls in the span went well, and there are at least {@code least}. */
    void wentWell(long fromMs, long toMs, int least) {
        List<Call> seen = between(fromMs, toMs);
        for (Call call : seen) {
            that(call.line.startsWith("called "), "at " + call.atMs + " ms: " + call.line);
        }
        that(seen.size() >= least, "only " + seen.size() + " calls, not " + least);
    }

    /** Who has been called in the span. */
    TreeSet<String> called(long fromMs, long toMs) {
        TreeSet<String> found = new TreeSet<>();
        for (Call call : between(fromMs, toMs)) {
            found.add(call.line.replace("called ", ""));
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
