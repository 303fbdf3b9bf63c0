//! JSON texts into a growing buffer, byte for byte as the reference's writer (Jackson) prints them.

use super::number;

/// `value` in quotes.
pub fn string(value: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    escaped(value, out);
    out.push(b'"');
}

/// `value` without the quotes, so that a text can be put together from parts. Quote, backslash and control characters
/// are escaped, nothing else; the rest stays UTF-8.
pub fn escaped(value: &str, out: &mut Vec<u8>) {
    let mut rest = value.as_bytes();
    while let Some(at) = rest.iter().position(|&b| b < b' ' || b == b'"' || b == b'\\') {
        let (plain, special) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((&byte, after)) = special.split_first() else { break };
        escape(byte, out);
        rest = after;
    }
    out.extend_from_slice(rest);
}

fn escape(byte: u8, out: &mut Vec<u8>) {
    let short = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        b'\t' => b't',
        b'\n' => b'n',
        0x0c => b'f',
        b'\r' => b'r',
        _ => {
            let low = byte & 0xf;
            let digit = if low < 10 { b'0' + low } else { b'A' + low - 10 };
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', b'0' + (byte >> 4), digit]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// A whole number.
pub fn integer(value: i64, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    unsigned(value.unsigned_abs(), out);
}

/// A whole number without sign.
pub fn unsigned(value: u64, out: &mut Vec<u8>) {
    let mut digits = [0u8; 20];
    let mut left = value;
    let mut used = 0;
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + (left % 10) as u8;
        left /= 10;
        used += 1;
        if left == 0 {
            break;
        }
    }
    out.extend(digits.iter().skip(digits.len() - used));
}

/// `true` or `false`.
pub fn boolean(value: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

/// [`number::java_double`]; what is not finite becomes a JSON text (`"NaN"`), so the whole stays JSON.
pub fn double(value: f64, out: &mut Vec<u8>) {
    if value.is_finite() {
        number::java_double(value, out);
    } else {
        out.push(b'"');
        number::java_double(value, out);
        out.push(b'"');
    }
}

/// [`number::java_float`], otherwise as [`double`].
pub fn float(value: f32, out: &mut Vec<u8>) {
    if value.is_finite() { number::java_float(value, out) } else { double(f64::from(value), out) }
}

/// Elements of an array or object, with a comma before all but the first.
pub fn separated<T>(items: impl IntoIterator<Item = T>, out: &mut Vec<u8>, mut write: impl FnMut(T, &mut Vec<u8>)) {
    for (at, item) in items.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(item, out);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn strings() {
        for (value, expected) in [
            ("", r#""""#),
            ("a/b<b>&amp;</b>'", r#""a/b<b>&amp;</b>'""#),
            (r#"a"b\c"#, r#""a\"b\\c""#),
            ("x\ny\tz\r\u{8}\u{c}", r#""x\ny\tz\r\b\f""#),
            ("\0\u{1}\u{1f}\u{7f}", "\"\\u0000\\u0001\\u001F\u{7f}\""),
            ("\u{4f4d}\u{1f600}", "\"\u{4f4d}\u{1f600}\""),
        ] {
            assert_eq!(text(|out| string(value, out)), expected);
        }
    }

    #[test]
    fn numbers() {
        for value in [0, 7, 10, -1, 99, 100, 1_700_000_000_000, i64::MIN, i64::MAX] {
            assert_eq!(text(|out| integer(value, out)), value.to_string());
        }
        assert_eq!(text(|out| unsigned(u64::MAX, out)), u64::MAX.to_string());
        assert_eq!(text(|out| double(1.0, out)), "1.0");
        assert_eq!(text(|out| double(f64::NAN, out)), "\"NaN\"");
        assert_eq!(text(|out| float(0.35, out)), "0.35");
        assert_eq!(text(|out| float(f32::NEG_INFINITY, out)), "\"-Infinity\"");
    }

    proptest! {
        #[test]
        fn strings_read_back(value in any::<String>()) {
            let json = text(|out| string(&value, out));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), value);
        }
    }
}
