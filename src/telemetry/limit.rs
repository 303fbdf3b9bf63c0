//! Repeated lines: of each place in the code only so many a minute are logged, then one that says how many more there
//! were. What somebody turned on to look for something (`debug`, `trace`) is not limited.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tracing::field::{Field, Value, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::category;

/// Lines of one place in the code within [`WINDOW_MS`].
const LINES: u32 = 60;
/// The same where each line tells of another change.
const CHANGE_LINES: u32 = 300;
/// A place begins to count anew after this.
const WINDOW_MS: u64 = 60_000;
/// How much of a line is repeated when it is said how many like it there were.
const SAMPLE_CHARS: usize = 200;

/// What one place in the code has logged lately.
#[derive(Debug, Default)]
struct Window {
    start_ms: u64,
    lines: u32,
    more: u64,
    /// Of the last line that was logged.
    sample: String,
    /// Of windows that are over, to be told of.
    due: u64,
}

/// Whether a line is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Log,
    /// It is the last of its window: it stands for those that follow.
    LogLast,
    Drop,
}

impl Window {
    fn admit(&mut self, now_ms: u64, most: u32) -> Verdict {
        self.roll(now_ms);
        if self.lines >= most {
            self.more += 1;
            return Verdict::Drop;
        }
        if self.lines == 0 {
            self.start_ms = now_ms;
        }
        self.lines += 1;
        if self.lines == most { Verdict::LogLast } else { Verdict::Log }
    }

    fn roll(&mut self, now_ms: u64) {
        if now_ms.saturating_sub(self.start_ms) >= WINDOW_MS {
            self.due += std::mem::take(&mut self.more);
            self.lines = 0;
        }
    }

    /// How many lines are to be told of now; with `all` those of the current window too.
    fn take_due(&mut self, now_ms: u64, all: bool) -> u64 {
        self.roll(now_ms);
        if all {
            self.due += std::mem::take(&mut self.more);
        }
        std::mem::take(&mut self.due)
    }
}

/// A place in the code.
struct Site {
    metadata: &'static Metadata<'static>,
    most: u32,
    window: Mutex<Window>,
}

/// Milliseconds since some start.
pub(super) type Clock = Box<dyn Fn() -> u64 + Send + Sync>;

/// Counts lines by place. As many places are known as the program has.
pub(super) struct Limiter {
    clock: Clock,
    sites: RwLock<HashMap<tracing::callsite::Identifier, Arc<Site>, foldhash::fast::RandomState>>,
}

thread_local! {
    /// Whether this thread is telling how many lines were dropped, which is not to be counted itself.
    static TELLING: Cell<bool> = const { Cell::new(false) };
}

impl Limiter {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, sites: RwLock::default() }
    }

    fn site(&self, metadata: &'static Metadata<'static>) -> Arc<Site> {
        let id = metadata.callsite();
        if let Some(site) = self.sites.read().get(&id) {
            return site.clone();
        }
        let most = if category::is_change(metadata.target()) { CHANGE_LINES } else { LINES };
        let site = || Arc::new(Site { metadata, most, window: Mutex::default() });
        self.sites.write().entry(id).or_insert_with(site).clone()
    }

    fn admit(&self, event: &Event<'_>) -> bool {
        if *event.metadata().level() > Level::INFO || TELLING.get() {
            return true;
        }
        let site = self.site(event.metadata());
        let verdict = site.window.lock().admit((self.clock)(), site.most);
        if verdict == Verdict::LogLast {
            // Outside of the lock: showing a value may take a while.
            let mut sample = Sample::default();
            event.record(&mut sample);
            site.window.lock().sample = sample.0;
        }
        verdict != Verdict::Drop
    }

    /// Logs how many lines were dropped in windows that are over, or in all. Not to be called while logging.
    pub(super) fn tell(&self, all: bool) {
        let now_ms = (self.clock)();
        let sites: Vec<Arc<Site>> = self.sites.read().values().cloned().collect();
        for site in sites {
            let (more, sample) = {
                let mut window = site.window.lock();
                (window.take_due(now_ms, all), window.sample.clone())
            };
            if more > 0 {
                TELLING.set(true);
                tell(site.metadata, &format!("... and {more} more like: {sample}"));
                TELLING.set(false);
            }
        }
    }
}

/// Logs `text` as if it came from the place of `metadata`.
fn tell(metadata: &'static Metadata<'static>, text: &str) {
    let fields = metadata.fields();
    if let Some(message) = fields.field("message") {
        let shown = format_args!("{text}");
        let values = [(&message, Some(&shown as &dyn Value))];
        tracing::dispatcher::get_default(|takes| {
            // To ask is what makes filters look at the target.
            if takes.enabled(metadata) {
                takes.event(&Event::new(metadata, &fields.value_set(&values)));
            }
        });
    }
}

/// The message of an event, cut.
#[derive(Default)]
struct Sample(String);

impl Visit for Sample {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}").chars().take(SAMPLE_CHARS).collect();
        }
    }
}

/// Drops what is too much, for all layers.
pub(super) struct LimitLayer(pub(super) Arc<Limiter>);

impl<S: Subscriber> Layer<S> for LimitLayer {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        self.0.admit(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_lets_so_many_through_and_counts_the_rest() {
        let mut window = Window::default();
        let verdicts: Vec<Verdict> = (0..5).map(|ms| window.admit(1_000 + ms, 3)).collect();
        assert_eq!(verdicts, [Verdict::Log, Verdict::Log, Verdict::LogLast, Verdict::Drop, Verdict::Drop]);
        assert_eq!(window.take_due(60_999, false), 0, "the window began at 1000");
        assert_eq!(window.take_due(61_000, false), 2);
        assert_eq!(window.take_due(61_001, false), 0, "told once");
        assert_eq!(window.admit(61_002, 3), Verdict::Log);
    }

    #[test]
    fn what_a_new_window_finds_is_kept_until_it_is_told() {
        let mut window = Window::default();
        for _ in 0..10 {
            window.admit(0, 1);
        }
        assert_eq!(window.admit(WINDOW_MS, 1), Verdict::LogLast);
        assert_eq!(window.admit(WINDOW_MS, 1), Verdict::Drop);
        assert_eq!(window.take_due(WINDOW_MS, false), 9);
        assert_eq!(window.take_due(WINDOW_MS, true), 1);
    }

    #[test]
    fn a_quiet_place_starts_a_full_window_with_its_next_line() {
        let mut window = Window::default();
        assert_eq!(window.admit(WINDOW_MS * 5 + 59_999, 2), Verdict::Log);
        assert_eq!(window.admit(WINDOW_MS * 6, 2), Verdict::LogLast);
        assert_eq!(window.admit(WINDOW_MS * 6 + 1, 2), Verdict::Drop);
    }
}
