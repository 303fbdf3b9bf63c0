//! Requests by route and status. A request costs two relaxed additions and, when it is the longest of its minute, a
//! third. What a client sends never becomes a name: whatever is no route counts for one path, [`UNMATCHED`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::Method;
use parking_lot::Mutex;

use super::reply::STATUSES;
use crate::telemetry::page::Page;

/// The path of all requests that no route answers.
pub const UNMATCHED: &str = "/**";
/// The paths of beats.
pub(in crate::http) const BEATS: [&str; 3] = ["/v1/ns/instance/beat", "/v1/ns/api/beat", "/v1/ns/api/clientBeat"];
/// Methods that are told apart where there is no route.
const METHODS: [&str; 8] = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "OTHER"];
/// Each status that is picked here, and one for each class of the others.
const CELLS: usize = STATUSES.len() + CLASSES.len();
/// Statuses that an operator has chosen, by class.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// The longest request is forgotten after one to two of these.
const WINDOW_MS: u64 = 60_000;

/// Counts of all routes.
pub struct Traffic {
    rows: Box<[Row]>,
    /// How many of the rows are routes; those of [`METHODS`] follow.
    routes: usize,
    unknown_beats: AtomicU64,
    known_beats_shown: AtomicU64,
    window_began_ms: Mutex<u64>,
}

struct Row {
    method: &'static str,
    path: &'static str,
    cells: [Cell; CELLS],
}

#[derive(Default)]
struct Cell {
    count: AtomicU64,
    sum_ns: AtomicU64,
    max_ns: AtomicU64,
    max_before_ns: AtomicU64,
}

impl Row {
    fn new(method: &'static str, path: &'static str) -> Self {
        Self { method, path, cells: Default::default() }
    }
}

/// The number of the cell of a status.
fn cell_of(status: u16) -> usize {
    let class = usize::from(status / 100).clamp(1, CLASSES.len()) - 1;
    STATUSES.iter().position(|known| *known == status).unwrap_or(STATUSES.len() + class)
}

/// Status and outcome as labels, given the number of a cell.
fn labels_of(cell: usize) -> (String, &'static str) {
    let outcome = |first: u8| match first {
        b'1' => "INFORMATIONAL",
        b'2' => "SUCCESS",
        b'3' => "REDIRECTION",
        b'4' => "CLIENT_ERROR",
        _ => "SERVER_ERROR",
    };
    let class = || CLASSES.get(cell.saturating_sub(STATUSES.len())).map(|class| (*class).to_owned());
    let status = STATUSES.get(cell).map(u16::to_string).or_else(class).unwrap_or_default();
    let outcome = outcome(status.bytes().next().unwrap_or(b'5'));
    (status, outcome)
}

impl Traffic {
    /// Nothing yet. `routes`: method and path of each, in the order of their numbers.
    pub fn new(routes: impl Iterator<Item = (&'static str, &'static str)>) -> Self {
        let mut rows: Vec<Row> = routes.map(|(method, path)| Row::new(method, path)).collect();
        let routes = rows.len();
        rows.extend(METHODS.map(|method| Row::new(method, UNMATCHED)));
        Self {
            rows: rows.into(),
            routes,
            unknown_beats: AtomicU64::new(0),
            known_beats_shown: AtomicU64::new(0),
            window_began_ms: Mutex::new(0),
        }
    }

    /// The number for a request that no route answers.
    pub fn unmatched(&self, method: &Method) -> usize {
        let known = METHODS.iter().position(|known| *known == method.as_str());
        self.routes + known.unwrap_or(METHODS.len() - 1)
    }

    /// Counts a request to the route of that number, which took so long.
    pub fn note(&self, number: usize, status: u16, took: Duration) {
        let Some(cell) = self.rows.get(number).and_then(|row| row.cells.get(cell_of(status))) else { return };
        let took_ns = took.as_nanos() as u64;
        cell.count.fetch_add(1, Ordering::Relaxed);
        cell.sum_ns.fetch_add(took_ns, Ordering::Relaxed);
        if took_ns > cell.max_ns.load(Ordering::Relaxed) {
            cell.max_ns.fetch_max(took_ns, Ordering::Relaxed);
        }
    }

    /// Counts a light beat of an instance that is not there.
    pub fn note_unknown_beat(&self) {
        self.unknown_beats.fetch_add(1, Ordering::Relaxed);
    }

    /// Beats that were answered by codes 10200 and 20404. Both only grow.
    pub fn beats(&self) -> (u64, u64) {
        let good = |row: &Row| row.cells.first().map_or(0, |cell| cell.count.load(Ordering::Relaxed));
        let unknown = self.unknown_beats.load(Ordering::Relaxed);
        let all: u64 = self.rows.iter().filter(|row| BEATS.contains(&row.path)).map(good).sum();
        let known = all.saturating_sub(unknown);
        // An unknown beat is counted before its request is: for that moment there would be one less.
        (self.known_beats_shown.fetch_max(known, Ordering::Relaxed).max(known), unknown)
    }

    /// Writes `http_server_requests_seconds` as Nacos' framework does, at `now_ms` of any clock that only goes forward.
    pub fn show(&self, page: &mut Page, now_ms: u64) {
        self.move_window(now_ms);
        let seconds = |ns: u64| ns as f64 / 1e9;
        let mut times =
            page.summary("http_server_requests_seconds", "Requests answered, and seconds until the answer.");
        self.each(|labels, cell, count| {
            times.sum(labels, count, seconds(cell.sum_ns.load(Ordering::Relaxed)));
        });
        drop(times);
        let mut longest =
            page.gauge("http_server_requests_seconds_max", "Longest request of the last minute or two, in seconds.");
        self.each(|labels, cell, _| {
            let max_ns = cell.max_ns.load(Ordering::Relaxed).max(cell.max_before_ns.load(Ordering::Relaxed));
            longest.put(labels, seconds(max_ns));
        });
    }

    /// Every cell that has counted something, with its labels.
    fn each(&self, mut show: impl FnMut(&[(&str, &str)], &Cell, u64)) {
        for row in &self.rows {
            for (number, cell) in row.cells.iter().enumerate() {
                let count = cell.count.load(Ordering::Relaxed);
                if count > 0 {
                    let (status, outcome) = labels_of(number);
                    // Nothing is thrown here.
                    let labels = [
                        ("exception", "None"),
                        ("method", row.method),
                        ("outcome", outcome),
                        ("status", &status),
                        ("uri", row.path),
                    ];
                    show(&labels, cell, count);
                }
            }
        }
    }

    fn move_window(&self, now_ms: u64) {
        let mut began_ms = self.window_began_ms.lock();
        let passed_ms = now_ms.saturating_sub(*began_ms);
        if passed_ms < WINDOW_MS {
            return;
        }
        *began_ms = now_ms;
        for cell in self.rows.iter().flat_map(|row| &row.cells) {
            let max_ns = cell.max_ns.swap(0, Ordering::Relaxed);
            cell.max_before_ns.store(max_ns, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic() -> Traffic {
        Traffic::new([("GET", "/v1/ns/instance/list"), ("PUT", "/v1/ns/instance/beat")].into_iter())
    }

    fn shown(traffic: &Traffic, now_ms: u64) -> String {
        let mut page = Page::default();
        traffic.show(&mut page, now_ms);
        page.text().unwrap()
    }

    #[test]
    fn requests_are_shown_by_route_and_status() {
        let traffic = traffic();
        assert_eq!(shown(&traffic, 0), "");
        traffic.note(0, 200, Duration::from_millis(250));
        traffic.note(0, 200, Duration::from_millis(500));
        traffic.note(1, 400, Duration::from_millis(1));
        let text = shown(&traffic, 0);
        let labels =
            "{exception=\"None\",method=\"GET\",outcome=\"SUCCESS\",status=\"200\",uri=\"/v1/ns/instance/list\"}";
        for (name, value) in [("_sum", "0.75"), ("_count", "2"), ("_max", "0.5")] {
            let line = format!("http_server_requests_seconds{name}{labels} {value}\n");
            assert!(text.contains(&line), "{line}{text}");
        }
        assert!(text.contains("outcome=\"CLIENT_ERROR\",status=\"400\",uri=\"/v1/ns/instance/beat\"} 1\n"), "{text}");
    }

    #[test]
    fn every_status_has_a_cell_and_the_labels_are_bounded() {
        let traffic = traffic();
        let mut labels = std::collections::BTreeSet::new();
        for status in 0..=u16::MAX {
            assert!(cell_of(status) < CELLS, "{status}");
            labels.insert(labels_of(cell_of(status)));
            traffic.note(1, status, Duration::ZERO);
        }
        assert_eq!(labels.len(), CELLS);
        assert_eq!(labels_of(cell_of(299)), ("2xx".to_owned(), "SUCCESS"));
        for method in ["GET", "OPTIONS", "BREW", "get"] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            traffic.note(traffic.unmatched(&method), 200, Duration::ZERO);
        }
        let text = shown(&traffic, 0);
        assert_eq!(text.matches("seconds_count{").count(), CELLS + 3, "{text}");
        assert!(text.contains("method=\"OTHER\",outcome=\"SUCCESS\",status=\"200\",uri=\"/**\"} 2\n"), "{text}");
    }

    #[test]
    fn the_longest_request_is_forgotten_after_two_windows() {
        let traffic = traffic();
        let longest = |now_ms| shown(&traffic, now_ms).rsplit(' ').next().map(|value| value.trim().to_owned());
        traffic.note(0, 200, Duration::from_secs(3));
        assert_eq!(longest(0).as_deref(), Some("3"));
        assert_eq!(longest(WINDOW_MS).as_deref(), Some("3"));
        traffic.note(0, 200, Duration::from_secs(1));
        assert_eq!(longest(2 * WINDOW_MS - 1).as_deref(), Some("3"));
        assert_eq!(longest(2 * WINDOW_MS).as_deref(), Some("1"));
        assert_eq!(longest(3 * WINDOW_MS).as_deref(), Some("0"));
    }

    #[test]
    fn beats_never_go_back() {
        let traffic = traffic();
        (0..3).for_each(|_| traffic.note(1, 200, Duration::ZERO));
        assert_eq!(traffic.beats(), (3, 0));
        traffic.note_unknown_beat();
        assert_eq!(traffic.beats(), (3, 1));
        traffic.note(1, 200, Duration::ZERO);
        assert_eq!(traffic.beats(), (3, 1));
        traffic.note(1, 200, Duration::ZERO);
        assert_eq!(traffic.beats(), (4, 1));
    }
}
