package nacre.interop;

import static nacre.interop.Checks.that;

import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;

/** What came of the calls that a consumer makes of its providers all the time. */
final class Calls {
    private static final String CALLED = "called ";

    private final List<Call> calls = new ArrayList<>();

    private static final class Call {
        private final long atMs = Clock.nowMs();
        private final String result;

        private Call(String result) {
            this.result = result;
        }
    }

    /** {@code result} is {@code called NAME}, where NAME is the provider's, or says what went wrong. */
    void add(String result) {
        synchronized (calls) {
            calls.add(new Call(result));
        }
    }

    /** The calls of the span went well, and there are at least {@code least}. */
    void wentWell(long fromMs, long toMs, int least) {
        List<Call> seen = between(fromMs, toMs);
        for (Call call : seen) {
            that(call.result.startsWith(CALLED), "at " + call.atMs + " ms: " + call.result);
        }
        that(seen.size() >= least, "only " + seen.size() + " calls, not " + least);
    }

    /** Who was called in the span, and what went wrong. */
    TreeSet<String> called(long fromMs, long toMs) {
        TreeSet<String> found = new TreeSet<>();
        for (Call call : between(fromMs, toMs)) {
            found.add(call.result.startsWith(CALLED) ? call.result.substring(CALLED.length()) : call.result);
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
