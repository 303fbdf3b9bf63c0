use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

use tracing_subscriber::filter::LevelFilter;

#[derive(Clone, Default)]
struct Console(Arc<Mutex<Vec<u8>>>);

impl io::Write for Console {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Every line is the first of its minute.
fn unlimited() -> Arc<Limiter> {
    let now = AtomicU64::new(0);
    Arc::new(Limiter::new(Box::new(move || now.fetch_add(60_000, Ordering::Relaxed))))
}

/// What `log` leaves on the console and in the queue of the files.
fn filed(style: Style, limiter: &Arc<Limiter>, log: impl FnOnce(&Queue)) -> (String, Arc<Queue>) {
    let (console, queue) = (Console::default(), writer::queue());
    let into = console.clone();
    let made = subscriber(&directives("info"), style, move || into.clone(), Some(queue.clone()), limiter);
    let (subscriber, _levels) = made.unwrap();
    tracing::subscriber::with_default(subscriber, || log(&queue));
    let bytes = console.0.lock().unwrap().clone();
    (String::from_utf8(bytes).unwrap(), queue)
}

pub(super) fn logged(directives: &str, style: Style, log: impl FnOnce()) -> String {
    let lines = Console::default();
    let into = lines.clone();
    let (subscriber, _levels) = subscriber(directives, style, move || into.clone(), None, &unlimited()).unwrap();
    tracing::subscriber::with_default(subscriber, log);
    let bytes = lines.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

pub(super) const TEXT: Style = Style::Text { colours: false };

#[test]
fn text_lines_stay_one_line_each() {
    let bad = "a\nERROR forged\r\u{1b}[31m\u{85}é";
    let lines = logged("info", TEXT, || tracing::warn!(service = %bad, count = 3, quoted = bad, "from {bad}"));
    assert_eq!(lines.lines().count(), 1, "{lines}");
    let shown = r"a\nERROR forged\r\u{1b}[31m\u{85}é";
    assert!(lines.ends_with('\n') && !lines.contains('\u{1b}'), "{lines:?}");
    assert!(lines.contains(&format!("from {shown} service={shown} count=3 quoted=\"")), "{lines}");
    assert!(lines.contains(" WARN nacre::telemetry"), "{lines}");
}

#[test]
fn colours_only_when_wanted() {
    let log = || tracing::info!("hello");
    assert!(logged("info", Style::Text { colours: true }, log).contains('\u{1b}'));
    assert!(!logged("info", TEXT, log).contains('\u{1b}'));
}

#[test]
fn json_lines_are_json() {
    let lines = logged("info", Style::Json, || tracing::info!(rows = 2, name = "a\nb", "restored"));
    let line: serde_json::Value = serde_json::from_str(&lines).unwrap();
    assert_eq!((&line["message"], &line["rows"], &line["name"]), (&"restored".into(), &2.into(), &"a\nb".into()));
    assert_eq!(line["level"], "INFO");
}

#[test]
fn the_level_counts_for_us_and_libraries_are_quieter() {
    let log = || {
        tracing::debug!("ours");
        tracing::info!(target: "sled", "theirs");
        tracing::error!(target: "sled", "serious");
    };
    let lines = logged(&directives("debug"), TEXT, log);
    assert!(lines.contains("ours") && lines.contains("serious") && !lines.contains("theirs"), "{lines}");
    assert!(!logged(&directives("info"), TEXT, log).contains("ours"));
    assert_eq!(logged(&directives("off"), TEXT, log), "");
}

#[test]
fn levels_change_while_logging_and_the_longest_target_counts() {
    let lines = Console::default();
    let into = lines.clone();
    let made = subscriber(&directives("info"), TEXT, move || into.clone(), None, &unlimited());
    let (subscriber, levels) = made.unwrap();
    let logged = || {
        tracing::debug!(target: "nacre::push::udp", "pushed");
        tracing::info!(target: "nacre::http", "served");
        tracing::debug!(target: "nacre::http", "detail");
        let bytes = std::mem::take(&mut *lines.0.lock().unwrap());
        let text = String::from_utf8(bytes).unwrap();
        ["pushed", "served", "detail"].map(|word| text.contains(word))
    };
    tracing::subscriber::with_default(subscriber, || {
        assert_eq!(logged(), [false, true, false]);
        levels.set(&["nacre::push"], LevelFilter::DEBUG).unwrap();
        assert_eq!(logged(), [true, true, false]);
        levels.set(&["nacre"], LevelFilter::OFF).unwrap();
        assert_eq!(logged(), [true, false, false]);
        levels.set(&["nacre"], LevelFilter::TRACE).unwrap();
        levels.set(&["nacre::push"], LevelFilter::OFF).unwrap();
        assert_eq!(logged(), [false, true, true]);
        levels.set_directives("off").unwrap();
        assert_eq!(logged(), [false, true, true], "what was set for a target stays");
    });
    let (subscriber, levels) = self::subscriber(&directives("info"), TEXT, io::sink, None, &unlimited()).unwrap();
    tracing::subscriber::with_default(subscriber, || {
        let shown = || tracing::enabled!(target: "nacre::push", tracing::Level::DEBUG);
        assert!(!shown());
        levels.set_directives(&directives("debug")).unwrap();
        assert!(shown());
        assert!(levels.set_directives("nacre=loud").is_err() && shown(), "what is wrong changes nothing");
    });
}

#[test]
fn bad_directives_are_one_line() {
    let error = subscriber("info,nacre=\nloud", TEXT, io::sink, None, &unlimited()).err().unwrap();
    assert!(error.message().starts_with(r"RUST_LOG=info,nacre=\nloud: must be"), "{error}");
    assert!(!error.message().contains('\n'), "{error}");
}

#[test]
fn files_have_the_lines_of_their_category_in_the_form_of_the_reference() {
    let (console, queue) = filed(TEXT, &unlimited(), |_| {
        tracing::info!("started");
        tracing::warn!(target: "nacre::event", service = "a\nb", "{{IP-DISABLED}} \u{1b}[31m");
        tracing::info!(target: "nacre::http::auth", "refused");
        tracing::debug!(target: "nacre::push", "pushed");
    });
    let form = regex::Regex::new(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO started\n\n$").unwrap();
    let (main, dropped) = queue.waiting("nacos");
    assert!(form.is_match(&main) && dropped == 0, "{main:?}");
    let (event, _) = queue.waiting("naming-event");
    assert!(event.ends_with(" WARN {IP-DISABLED} \\u{1b}[31m service=\"a\\nb\"\n\n"), "{event:?}");
    assert_eq!((event.lines().count(), event.contains('\u{1b}')), (2, false));
    assert!(queue.waiting("core-auth").0.ends_with(" INFO refused\n\n"));
    assert_eq!(queue.drain(), 0, "nothing else was filed: debug is off");
    assert!(console.contains("started") && console.contains("refused"), "{console}");
    assert!(!console.contains("IP-DISABLED"), "changes are for files alone: {console}");
}

#[test]
fn files_are_json_when_that_is_wanted() {
    let (_, queue) = filed(Style::Json, &unlimited(), |_| {
        tracing::info!(target: "nacre::event", ip = "1.1.1.1\n", "[IP-UPDATED]");
    });
    let line: serde_json::Value = serde_json::from_str(&queue.waiting("naming-event").0).unwrap();
    assert_eq!((&line["message"], &line["ip"]), (&"[IP-UPDATED]".into(), &"1.1.1.1\n".into()));
}

#[test]
fn without_files_the_console_has_it_all() {
    assert!(logged("info", TEXT, || tracing::info!(target: "nacre::event", "[IP-UPDATED]")).contains("[IP-UPDATED]"));
}

#[test]
fn a_repeated_line_is_logged_so_often_and_then_counted() {
    let now = Arc::new(AtomicU64::new(5));
    let clock = now.clone();
    let limiter = Arc::new(Limiter::new(Box::new(move || clock.load(Ordering::Relaxed))));
    let (console, queue) = filed(TEXT, &limiter, |_| {
        for number in 0..100 {
            tracing::error!("number {number}");
            tracing::info!("of another place {number}");
        }
        for number in 0..400 {
            tracing::info!(target: "nacre::event", "[IP-UPDATED] {number}");
        }
        limiter.tell(false);
        now.fetch_add(60_000, Ordering::Relaxed);
        limiter.tell(false);
        tracing::info!("of a third place");
    });
    let events = queue.waiting("naming-event").0;
    assert_eq!(events.matches("[IP-UPDATED]").count(), 301, "{events}");
    assert!(events.ends_with(" INFO ... and 100 more like: [IP-UPDATED] 299\n\n"), "{events}");
    assert!(!console.contains("[IP-UPDATED]"), "that is for files alone: {console}");
    for text in [console, queue.waiting("nacos").0] {
        let of = |what: &str| text.lines().filter(|line| line.contains(what)).count();
        assert_eq!((of(" number "), of("of another place "), of("of a third place")), (61, 61, 1), "{text}");
        let told: Vec<&str> = text.lines().filter(|line| line.contains("... and 40 more like: number 59")).collect();
        assert!(told.len() == 1 && told[0].contains("ERROR"), "{told:?}");
    }
}

#[test]
fn ten_minutes_of_errors_are_at_most_5_mb() {
    let now = Arc::new(AtomicU64::new(0));
    let clock = now.clone();
    let limiter = Arc::new(Limiter::new(Box::new(move || clock.load(Ordering::Relaxed))));
    let long = "x".repeat(10_000);
    let mut filed_bytes = 0;
    let (console, _) = filed(TEXT, &limiter, |queue| {
        for _ in 0..600 {
            for _ in 0..100 {
                tracing::error!(reason = "no space left on device", "the store takes no writes");
                tracing::warn!(target: "nacre::refused", "POST /nacos/v1/ns/instance?serviceName=orders: 500");
                tracing::info!(target: "nacre::event", "[IP-UPDATED] {{IP-DISABLED}} service: public G@@orders");
                tracing::info!(target: "nacre::service", "[NEW-SERVICE] service: public G@@orders");
            }
            tracing::warn!(long, "as long as lines get");
            now.fetch_add(1_000, Ordering::Relaxed);
            limiter.tell(false);
            filed_bytes += queue.drain();
        }
    });
    println!("{filed_bytes} bytes in files, {} on the console", console.len());
    assert!(filed_bytes < 5_000_000, "{filed_bytes}");
    assert!(filed_bytes > 500_000, "{filed_bytes}");
}

#[test]
fn what_was_turned_on_to_look_for_something_is_not_limited() {
    let limiter = Arc::new(Limiter::new(Box::new(|| 0)));
    let console = Console::default();
    let into = console.clone();
    let made = subscriber(&directives("debug"), TEXT, move || into.clone(), None, &limiter);
    let (subscriber, _levels) = made.unwrap();
    tracing::subscriber::with_default(subscriber, || (0..1_000).for_each(|number| tracing::debug!(number)));
    assert_eq!(console.0.lock().unwrap().iter().filter(|byte| **byte == b'\n').count(), 1_000);
}
