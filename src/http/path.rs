//! From the path of a request target to the path that the routes know.

use std::borrow::Cow;

use super::percent::unescape;

/// What a request path comes to.
#[derive(Debug, PartialEq, Eq)]
pub enum Path<'a> {
    /// Below the context path: decoded, without the context path and without one trailing slash. Begins with `/`
    /// (the context path itself gives `/`). Borrowed when nothing was encoded.
    Inside(Cow<'a, str>),
    /// Well-formed, but not below the context path.
    Outside,
    /// Not to be served at all, because two readers could take it for different paths: an empty segment (`//`), `;`,
    /// a backslash, a dot segment, a control character (each also when encoded), an encoded slash or percent sign, a
    /// broken escape or one that is not UTF-8. The text names the fault; any 4xx or 5xx status will do
    /// (`spec/instance-api.md` 1).
    Refused(&'static str),
}

/// Reads the path `raw` (the request target without its query). `context` is the configured context path, such as
/// `/nacos`; empty or `/` means that there is none. Case counts in both.
pub fn resolve<'a>(raw: &'a str, context: &str) -> Path<'a> {
    let decoded = match decode(raw) {
        Ok(decoded) => decoded,
        Err(fault) => return Path::Refused(fault),
    };
    let context = context.strip_suffix('/').unwrap_or(context);
    match decoded {
        Cow::Borrowed(path) => below(path, context).map_or(Path::Outside, |path| Path::Inside(Cow::Borrowed(path))),
        Cow::Owned(path) => {
            below(&path, context).map_or(Path::Outside, |path| Path::Inside(Cow::Owned(path.to_owned())))
        }
    }
}

fn decode(raw: &str) -> Result<Cow<'_, str>, &'static str> {
    if !raw.contains('%') {
        check(raw)?;
        return Ok(Cow::Borrowed(raw));
    }
    let bytes = unescape(raw.as_bytes(), false).ok_or("broken percent escape in the path")?;
    let decoded = String::from_utf8(bytes).map_err(|_| "the path is not UTF-8")?;
    if decoded.contains('%') {
        return Err("encoded percent sign in the path");
    }
    let slashes = |text: &str| text.bytes().filter(|byte| *byte == b'/').count();
    if slashes(&decoded) != slashes(raw) {
        return Err("encoded slash in the path");
    }
    check(&decoded)?;
    Ok(Cow::Owned(decoded))
}

fn check(path: &str) -> Result<(), &'static str> {
    let mut segment_begins_with_dot = false;
    let mut before = 0;
    for byte in path.bytes() {
        match byte {
            b'/' if before == b'/' => return Err("empty segment in the path"),
            b';' => return Err("semicolon in the path"),
            b'\\' => return Err("backslash in the path"),
            0..0x20 | 0x7f => return Err("control character in the path"),
            b'.' if before == b'/' => segment_begins_with_dot = true,
            _ => {}
        }
        before = byte;
    }
    if segment_begins_with_dot && path.split('/').any(|segment| segment == "." || segment == "..") {
        return Err("dot segment in the path");
    }
    Ok(())
}

fn below<'a>(path: &'a str, context: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(context)?;
    match rest.strip_suffix('/').unwrap_or(rest) {
        "" if path.starts_with('/') => Some("/"),
        inside if inside.starts_with('/') => Some(inside),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inside(path: &str) -> Path<'_> {
        Path::Inside(Cow::Borrowed(path))
    }

    #[test]
    fn with_a_context_path() {
        let cases = [
            ("/nacos/v1/ns/instance/list", inside("/v1/ns/instance/list")),
            ("/nacos/v1/ns/instance/%6Cist", inside("/v1/ns/instance/list")),
            ("/%6eacos/v1/ns/instance/list/", inside("/v1/ns/instance/list")),
            ("/nacos/v1/ns/instance/", inside("/v1/ns/instance")),
            ("/nacos", inside("/")),
            ("/nacos/", inside("/")),
            ("/nacos/..a/.b", inside("/..a/.b")),
            ("/nacos/%E4%BD%A0", inside("/\u{4f60}")),
            ("/", Path::Outside),
            ("/nacosx/v1", Path::Outside),
            ("/Nacos/v1", Path::Outside),
            ("*", Path::Outside),
            ("", Path::Outside),
        ];
        for (raw, expected) in cases {
            assert_eq!(resolve(raw, "/nacos"), expected, "{raw}");
            assert_eq!(resolve(raw, "/nacos/"), expected, "{raw}");
        }
    }

    #[test]
    fn without_a_context_path() {
        for context in ["", "/"] {
            assert_eq!(resolve("/v1/ns/instance/", context), inside("/v1/ns/instance"));
            assert_eq!(resolve("/", context), inside("/"));
            assert_eq!(resolve("*", context), Path::Outside);
        }
    }

    #[test]
    fn borrows_when_nothing_is_encoded() {
        assert!(matches!(resolve("/nacos/v1/ns/instance/", "/nacos"), Path::Inside(Cow::Borrowed(_))));
    }

    #[test]
    fn refused() {
        let faults = [
            "/nacos//v1",
            "//nacos/v1",
            "/nacos/v1//",
            "/nacos/v1;a=b",
            "/nacos/v1%3Ba",
            "/nacos/v1%2Fns",
            "/nacos/v1%2fns",
            "/nacos/%25",
            "/nacos/%256C",
            "/nacos/a\\b",
            "/nacos/a%5Cb",
            "/nacos/../v1",
            "/nacos/v1/..",
            "/nacos/%2e%2E/v1",
            "/nacos/./v1",
            "/nacos/%00",
            "/nacos/a%0Ab",
            "/nacos/%",
            "/nacos/%4",
            "/nacos/%zz",
            "/nacos/%FF",
            "/%2Fnacos/v1",
        ];
        for raw in faults {
            assert!(matches!(resolve(raw, "/nacos"), Path::Refused(_)), "{raw}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics_and_leaves_nothing_to_decode(raw in "[/a.%2fF5cC;\\\\\u{4f60}]{0,12}", context in "(/n)?/?") {
            if let Path::Inside(path) = resolve(&raw, &context) {
                proptest::prop_assert!(path.starts_with('/'));
                proptest::prop_assert!(!path.contains(['%', ';', '\\']) && !path.contains("//"));
            }
        }
    }
}
