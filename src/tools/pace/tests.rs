use super::*;
use crate::tools::record::Latencies;

const MS: Duration = Duration::from_millis(1);

#[test]
fn threads_share_a_schedule_without_gaps() {
    let of = |thread| Schedule { rate: 1_000.0, threads: 3, thread, total: 10 };
    assert_eq!([0, 1, 2].map(|thread| of(thread).share()), [4, 3, 3]);
    let mut due: Vec<_> =
        (0..3).flat_map(|thread| (0..of(thread).share()).map(move |nth| of(thread).due(nth))).collect();
    due.sort_unstable();
    assert_eq!(due, (0..10).map(|nth| nth * MS).collect::<Vec<_>>());
    assert_eq!([0, 1, 2].map(|thread| of(thread).due_by(Duration::ZERO)), [1, 0, 0]);
    assert_eq!([0, 1, 2].map(|thread| of(thread).due_by(MS * 7 / 2)), [2, 1, 1]);
    assert_eq!([0, 1, 2].map(|thread| of(thread).due_by(MS * 100)), [4, 3, 3]);
}

/// One connection at 1,000 requests a second. Each answer takes 0.1 ms, but one takes a second: the thousand requests
/// that were due meanwhile waited for half a second on average.
#[tokio::test]
async fn a_stall_shows_in_all_requests_that_were_due_in_it() {
    let start = Instant::now();
    let schedule = Schedule { rate: 1_000.0, threads: 1, thread: 0, total: 10_000 };
    let pace = Pace::open(start, Duration::ZERO, schedule, Duration::from_secs(60), Arc::default());
    let (mut open, mut closed) = (Latencies::new(), Latencies::new());
    let mut now = start;
    for nth in 0..10_000 {
        // The clock of the test: nobody is served before a turn is due.
        now = now.max(start + schedule.due(nth));
        pace.release(now);
        let turn = pace.turn().await.expect("10,000 turns");
        let sent = now;
        now += if nth == 2_000 { Duration::from_secs(1) } else { MS / 10 };
        open.add(now - turn.due);
        closed.add(now - sent);
    }
    assert_eq!(pace.turn().await, None);
    // What a load generator tells that waits for each answer: as if nothing had been.
    assert!(closed.at(0.99) < MS, "{:?}", closed.at(0.99));
    // A tenth of the time no answer came, so a tenth of the requests was slow.
    assert!(open.at(0.50) < MS, "{:?}", open.at(0.50));
    assert!(open.at(0.90) < 120 * MS && open.at(0.95) > 400 * MS, "{:?} {:?}", open.at(0.90), open.at(0.95));
    assert!(open.at(0.99) > 880 * MS && open.max() >= 1_000 * MS, "{:?} {:?}", open.at(0.99), open.max());
}

#[tokio::test]
async fn requests_that_nobody_took_are_not_forgotten() {
    let start = Instant::now();
    let schedule = Schedule { rate: 1_000.0, threads: 1, thread: 0, total: 100 };
    let pace = Pace::open(start, MS * 10, schedule, Duration::from_secs(60), Arc::default());
    assert_eq!(pace.release(start + MS * 20), Some(start + schedule.due(21)));
    let first = pace.turn().await.expect("a turn");
    assert_eq!((first.due, first.counts), (start, false));
    assert_eq!(pace.release(start + MS * 1_000), None);
    let left: Vec<_> = pace.left().collect();
    assert_eq!((left.len(), left[98].due, left[98].counts), (99, start + schedule.due(99), true));
    assert_eq!(left.iter().filter(|turn| turn.counts).count(), 90);
}

#[tokio::test]
async fn a_closed_loop_ends_by_count_or_time_and_on_a_stop() {
    let (stop, start) = (Arc::new(AtomicBool::new(false)), Instant::now());
    let counted = Pace::closed(start, Duration::ZERO, Until::Count(2), Arc::default(), Arc::clone(&stop));
    assert!(counted.turn().await.is_some_and(|turn| turn.counts));
    assert!(counted.turn().await.is_some());
    assert_eq!(counted.turn().await, None);

    let timed = Pace::closed(start, MS * 5, Until::After(MS * 10), Arc::default(), Arc::clone(&stop));
    assert_eq!(timed.at_once(start).map(|turn| turn.counts), Some(false));
    assert_eq!(timed.at_once(start + MS * 5).map(|turn| turn.counts), Some(true));
    assert_eq!(timed.at_once(start + MS * 15), None);
    stop.store(true, Ordering::Relaxed);
    assert_eq!(timed.at_once(start + MS * 6), None);
}
