use std::borrow::Cow;
use std::time::Instant;

use super::*;

const FORM: &str = "application/x-www-form-urlencoded";

fn query(text: &str) -> Params<'_> {
    Params::of_query(Some(text))
}

fn read<'a>(method: &str, query: &'a str, content_type: &str, body: &'a [u8]) -> Params<'a> {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    Params::read(&method, Some(query), Some(&HeaderValue::from_str(content_type).unwrap()), body).unwrap()
}

fn pairs<'s>(params: &'s Params<'_>) -> Vec<(&'s str, &'s str)> {
    params.iter().collect()
}

#[test]
fn queries() {
    type Expected = &'static [(&'static str, &'static str)];
    let cases: [(&str, Expected); 18] = [
        ("", &[]),
        ("a=1", &[("a", "1")]),
        ("?", &[("?", "")]),
        ("&namespaceId=x", &[("namespaceId", "x")]),
        ("a=1&", &[("a", "1")]),
        ("&&a=1&&b=2&&", &[("a", "1"), ("b", "2")]),
        ("clusters=&weight=", &[("clusters", ""), ("weight", "")]),
        ("a", &[("a", "")]),
        ("a&b=2", &[("a", ""), ("b", "2")]),
        ("=1&a=2", &[("a", "2")]),
        ("a=b=c", &[("a", "b=c")]),
        ("serviceName=G@@s:1.0:", &[("serviceName", "G@@s:1.0:")]),
        ("serviceName=G%40%40s", &[("serviceName", "G@@s")]),
        ("a=x+y%20z%2Bw", &[("a", "x y z+w")]),
        ("a=%zz&b=1&c=%4&d=%", &[("b", "1")]),
        ("%61+b=1&%6=2", &[("a b", "1")]),
        ("a=%E4%BD%A0&b=\u{4f60}&c=%FF", &[("a", "\u{4f60}"), ("b", "\u{4f60}"), ("c", "\u{fffd}")]),
        ("beat={\"ip\":\"1\"}", &[("beat", "{\"ip\":\"1\"}")]),
    ];
    for (text, expected) in cases {
        assert_eq!(pairs(&query(text)), expected, "{text}");
    }
    assert_eq!(pairs(&Params::of_query(None)), []);
}

#[test]
fn the_first_counts_and_case_counts() {
    let params = query("a=1&A=2&a=3");
    assert_eq!((params.get("a"), params.get("A"), params.get("b")), (Some("1"), Some("2"), None));
    // A value that was dropped is as if it had not been sent.
    assert_eq!(query("a=%&a=3").get("a"), Some("3"));
    assert_eq!(read("PUT", "a=1", FORM, b"a=2&b=3").get("a"), Some("1"));
    assert_eq!(read("PUT", "a=", FORM, b"a=2").get("a"), Some(""));
}

#[test]
fn where_parameters_come_from() {
    let form: &[u8] = b"b=2";
    let json = "application/json";
    let multi = "multipart/form-data; boundary=XX";
    let parts: &[u8] = b"--XX\r\nContent-Disposition: form-data; name=\"b\"\r\n\r\n2\r\n--XX--\r\n";
    let cases = [
        ("GET", FORM, form, None),
        ("HEAD", FORM, form, None),
        ("PUT", FORM, form, Some("2")),
        ("PATCH", FORM, form, Some("2")),
        ("DELETE", FORM, form, Some("2")),
        ("POST", FORM, form, Some("2")),
        ("POST", "application/x-www-form-urlencoded;charset=UTF-8", form, Some("2")),
        ("POST", "Application/X-WWW-form-urlencoded ; charset=\"utf-8\"", form, Some("2")),
        ("POST", "application/x-www-form-urlencodedx", form, None),
        ("POST", "text/plain", form, None),
        ("POST", json, b"{\"b\":2}", None),
        ("PUT", json, form, None),
        ("POST", multi, parts, Some("2")),
        ("PUT", multi, parts, None),
    ];
    for (method, content_type, body, expected) in cases {
        let params = read(method, "a=1", content_type, body);
        assert_eq!((params.get("a"), params.get("b")), (Some("1"), expected), "{method} {content_type}");
    }
    assert_eq!(Params::read(&Method::POST, None, None, form).unwrap().get("b"), None);
    assert_eq!(read("DELETE", "", FORM, b"").get("b"), None);
}

#[test]
fn forms_of_clients() {
    // The Go client's PUT bodies are not encoded at all.
    let beat = "{\"ip\":\"127.0.0.1\",\"port\":7001,\"cluster\":\"c 1\",\"metadata\":{\"k\":\"\u{e9}\"}}";
    let go = format!("serviceName=G@@s&beat={beat}");
    let params = read("PUT", "", FORM, go.as_bytes());
    assert_eq!(pairs(&params), [("serviceName", "G@@s"), ("beat", beat)]);
    // What breaks there breaks with the reference too: `%` drops the value, `+` is a blank, `&` ends it.
    let params = read("PUT", "", FORM, b"serviceName=s&beat={\"m\":\"50%\"}&metadata=a+b&c");
    assert_eq!(pairs(&params), [("serviceName", "s"), ("metadata", "a b"), ("c", "")]);
    // The Java client's beat ends in `&`.
    assert_eq!(pairs(&read("PUT", "", FORM, b"beat=%7B%7D&")), [("beat", "{}")]);
    assert_eq!(read("PUT", "", FORM, b"a=x\xffy").get("a"), Some("x\u{fffd}y"));
}

#[test]
fn charsets_of_forms() {
    let gbk = "application/x-www-form-urlencoded; charset=GBK";
    assert_eq!(read("PUT", "q=%E4%BD%A0", gbk, b"a=%C4%E3&b=\xc4\xe3").get("a"), Some("\u{4f60}"));
    assert_eq!(read("PUT", "q=%E4%BD%A0", gbk, b"a=%C4%E3&b=\xc4\xe3").get("b"), Some("\u{4f60}"));
    assert_eq!(read("PUT", "q=%E4%BD%A0", gbk, b"a=1").get("q"), Some("\u{4f60}"));
    let latin = "application/x-www-form-urlencoded;charset=ISO-8859-1";
    assert_eq!(read("PUT", "", latin, b"a=%E9%80").get("a"), Some("\u{e9}\u{80}"));
    let unknown = "application/x-www-form-urlencoded;charset=nonsense";
    assert_eq!(read("PUT", "", unknown, "a=\u{e9}".as_bytes()).get("a"), Some("\u{e9}"));
}

#[test]
fn encoding_reads_values_again() {
    assert_eq!(query("a=%C3%A9&encoding=ISO-8859-1").get("a"), Some("\u{c3}\u{a9}"));
    assert_eq!(query("a=%C3%A9&encoding=UTF-8").get("a"), Some("\u{e9}"));
    assert_eq!(query("a=%C3%A9&encoding=nonsense").get("a"), Some("\u{e9}"));
    assert_eq!(query("a=%C3%A9&encoding=").get("a"), Some("\u{e9}"));
    assert_eq!(query("a=x&encoding=GBK").get("a"), Some("x"));
}

#[test]
fn accessors() {
    let params = query("empty=&blank=+%09&text=+a+b%0A&wide=%E3%80%80x");
    let missing = |name: &str| Err(Error::Input(format!("Param '{name}' is required.")));
    assert_eq!(params.required("text"), Ok("a b"));
    assert_eq!(params.required("blank"), Ok(""));
    assert_eq!(params.required("empty"), missing("empty"));
    assert_eq!(params.required("none"), missing("none"));
    for name in ["empty", "blank", "none"] {
        assert_eq!(params.optional(name, "other"), "other", "{name}");
        assert_eq!(params.given(name), None, "{name}");
    }
    assert_eq!((params.get("empty"), params.get("blank"), params.get("none")), (Some(""), Some(""), None));
    // Only characters up to U+0020 are trimmed.
    assert_eq!(params.optional("wide", ""), "\u{3000}x");
}

#[test]
fn multipart_bodies() {
    let multi = "multipart/form-data; boundary=XX";
    let part = |head: &str, text: &str| format!("--XX\r\nContent-Disposition: form-data; {head}\r\n\r\n{text}\r\n");
    let body = [
        part("name=\"a\"", "x+%20 y"),
        part("name=\"f\"; filename=\"f.txt\"", "file"),
        part("name=\"a\"", "2"),
        part("name=\"\u{e9}\"", "\u{e9}"),
        "--XX--\r\n".to_owned(),
    ]
    .concat();
    let params = read("POST", "", multi, body.as_bytes());
    assert_eq!(pairs(&params), [("a", "x+%20 y"), ("a", "2"), ("\u{e9}", "\u{e9}")]);
    let cut = body.split_at(body.len() - 12).0;
    for (content_type, body) in [(multi, cut), ("multipart/form-data", &body), (multi, "nothing of the kind")] {
        let content_type = HeaderValue::from_str(content_type).unwrap();
        let fault = Params::read(&Method::POST, None, Some(&content_type), body.as_bytes()).unwrap_err();
        assert!(matches!(fault, Error::Input(_)), "{fault}");
    }
    let many = [part("name=\"a\"", "1").repeat(MAX_PARAMS + 5), "--XX--\r\n".to_owned()].concat();
    assert_eq!(read("POST", "q=1", multi, many.as_bytes()).iter().len(), MAX_PARAMS);
}

#[test]
fn ten_thousand_parameters_at_most() {
    let many: String = (0..MAX_PARAMS + 5).map(|n| format!("p{n}={n}&")).collect();
    let params = read("PUT", &many, FORM, b"late=1");
    assert_eq!(params.iter().len(), MAX_PARAMS);
    assert_eq!((params.get("p9999"), params.get("p10000"), params.get("late")), (Some("9999"), None, None));
}

const BEAT: &str = "namespaceId=public&serviceName=DEFAULT_GROUP%40%40svc&ip=10.0.0.1&port=8080&clusterName=DEFAULT";

#[test]
fn borrows_what_is_not_encoded() {
    let params = query(BEAT);
    let owned: Vec<_> = params.pairs.iter().filter(|(_, value)| matches!(value, Cow::Owned(_))).collect();
    assert_eq!(owned.len(), 1);
    assert_eq!(owned[0].1, "DEFAULT_GROUP@@svc");
    assert!(params.pairs.iter().all(|(name, _)| matches!(name, Cow::Borrowed(_))));
}

/// Not a benchmark, only a guard against a slip into quadratic or allocating code; prints the figure.
#[test]
fn a_beat_is_read_quickly() {
    const ROUNDS: u32 = 1_000;
    let turn = |_| {
        let begin = Instant::now();
        for _ in 0..ROUNDS {
            let params = query(std::hint::black_box(BEAT));
            std::hint::black_box(params.required("serviceName").unwrap().len());
            std::hint::black_box(params.get("clusterName"));
        }
        begin.elapsed() / ROUNDS
    };
    // What the machine does besides slows down some turns, not all.
    let each = (0..20).map(turn).min().unwrap();
    println!("a beat's parameters: {each:?}");
    assert!(each.as_micros() < 50, "{each:?}");
}

proptest::proptest! {
    #[test]
    fn never_panics(query in "[a-c=&%+0-9a-fA-F\u{4f60}?; ]{0,40}", body: Vec<u8>, kind in 0..5usize) {
        let types = [
            FORM, "application/x-www-form-urlencoded;charset=GBK", "multipart/form-data; boundary=a",
            "multipart/form-data; boundary=", "application/x-www-form-urlencoded;charset=UTF-16",
        ];
        let content_type = HeaderValue::from_static(types[kind]);
        if let Ok(params) = Params::read(&Method::POST, Some(&query), Some(&content_type), &body) {
            for (name, _) in params.iter() {
                proptest::prop_assert!(params.get(name).is_some());
            }
        }
    }

    #[test]
    fn multipart_never_panics(body in "(--a|\r\n|Content-Disposition: form-data|; name=|\"|--|x){0,30}") {
        let content_type = HeaderValue::from_static("multipart/form-data; boundary=a");
        let _ = Params::read(&Method::POST, None, Some(&content_type), body.as_bytes());
    }

    #[test]
    fn what_is_encoded_comes_back(name in "\\PC{1,9}", value in "\\PC{0,9}") {
        let all = percent_encoding::NON_ALPHANUMERIC;
        let encode = |text| percent_encoding::utf8_percent_encode(text, all).to_string();
        let text = [encode(&name), encode(&value)].join("=");
        let params = query(&text);
        proptest::prop_assert_eq!(pairs(&params), [(name.as_str(), value.as_str())]);
    }
}
