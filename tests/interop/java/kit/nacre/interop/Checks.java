package nacre.interop;

import java.util.concurrent.Callable;

/** Runs named checks, prints one line for each and counts them. A failed check never stops the ones after it. */
final class Checks {
    private int passed;
    private int failed;

    /** What a check does; it fails by throwing. */
    interface Body {
        void run() throws Exception;
    }

    void check(String name, Body body) {
        String reason = null;
        try {
            body.run();
        } catch (Failure e) {
            reason = e.getMessage();
        } catch (Throwable e) {
            reason = e.toString();
        }
        if (reason == null) {
            passed++;
            System.out.println("PASS " + name);
        } else {
            failed++;
            System.out.println("FAIL " + name + ": " + reason.replace('\n', ' '));
        }
        System.out.flush();
    }

    /** Prints the totals and returns the exit code. */
    int finish() {
        System.out.println(passed + " passed, " + failed + " failed");
        System.out.flush();
        return failed == 0 && passed > 0 ? 0 : 1;
    }

    static void that(boolean holds, String reason) {
        if (!holds) {
            throw new Failure(reason);
        }
    }

    /** Waits until {@code problem} returns null; its last text is the reason when it never does. */
    static void eventually(long limitMs, Callable<String> problem) throws Exception {
        long end = Clock.nowMs() + limitMs;
        String reason = problem.call();
        while (reason != null) {
            that(Clock.nowMs() < end, reason + " (waited " + limitMs + " ms)");
            Thread.sleep(50);
            reason = problem.call();
        }
    }

    static final class Failure extends RuntimeException {
        private static final long serialVersionUID = 1L;

        Failure(String reason) {
            super(reason);
        }
    }
}
