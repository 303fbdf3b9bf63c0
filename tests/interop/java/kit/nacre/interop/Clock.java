package nacre.interop;

/** Milliseconds since the program's start, on the monotonic clock: the one time used in all records and reasons. */
final class Clock {
    private static final long START_NS = System.nanoTime();

    private Clock() {
    }

    static long nowMs() {
        return (System.nanoTime() - START_NS) / 1_000_000;
    }

    static void sleepUntil(long atMs) throws InterruptedException {
        long left = atMs - nowMs();
        if (left > 0) {
            Thread.sleep(left);
        }
    }
}
