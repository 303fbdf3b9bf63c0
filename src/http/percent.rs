//! Percent escapes, as paths, queries and forms have them.

/// The bytes that `raw` stands for: `%XX` is the byte XX, with `plus_is_blank` a `+` is a blank.
/// `None` when an escape is broken (`%`, `%4`, `%zz`).
pub(super) fn unescape(raw: &[u8], plus_is_blank: bool) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.iter();
    while let Some(&byte) = rest.next() {
        bytes.push(match byte {
            b'%' => hex(*rest.next()?)? << 4 | hex(*rest.next()?)?,
            b'+' if plus_is_blank => b' ',
            other => other,
        });
    }
    Some(bytes)
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::unescape;

    #[test]
    fn escapes() {
        let cases: [(&str, bool, Option<&str>); 11] = [
            ("", true, Some("")),
            ("a%40%40b", true, Some("a@@b")),
            ("a+b%2Bc%2bd", true, Some("a b+c+d")),
            ("a+b", false, Some("a+b")),
            ("%25%32%35", true, Some("%25")),
            ("%E4%bd%A0", true, Some("\u{4f60}")),
            ("%", true, None),
            ("%4", true, None),
            ("%4g", true, None),
            ("a%zzb", true, None),
            ("%+1", true, None),
        ];
        for (raw, plus, expected) in cases {
            let found = unescape(raw.as_bytes(), plus);
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{raw}");
        }
    }
}
