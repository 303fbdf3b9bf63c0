//! Numbers and truth values as Java reads and prints them (1.2).

/// Prints as `Double.toString`: shortest digits that read back as the same number, always a decimal point, scientific
/// outside 1e-3..1e7 (`1.0`, `0.01`, `1.0E10`, `1.0E-5`). Java before 19 prints a digit too many for a few of these;
/// this is the form of later ones. Not finite: `NaN`, `Infinity`, `-Infinity`; no JSON, [`super::json::double`] quotes
/// them.
pub fn java_double(value: f64, out: &mut Vec<u8>) {
    if value == 0.0 || (1e-3..1e7).contains(&value.abs()) {
        out.extend_from_slice(ryu::Buffer::new().format_finite(value).as_bytes());
    } else if value.is_finite() {
        scientific(format!("{value:e}"), || format!("{value:.1e}"), out);
    } else {
        not_finite(value, out);
    }
}

/// Prints as `Float.toString`: like [`java_double`], with the shortest digits in single precision (`0.35`).
pub fn java_float(value: f32, out: &mut Vec<u8>) {
    if value == 0.0 || (1e-3..1e7).contains(&value.abs()) {
        out.extend_from_slice(ryu::Buffer::new().format_finite(value).as_bytes());
    } else if value.is_finite() {
        scientific(format!("{value:e}"), || format!("{value:.1e}"), out);
    } else {
        not_finite(f64::from(value), out);
    }
}

/// Java prints at least two digits and chooses the nearest such number, so the smallest double is `4.9E-324`.
fn scientific(shortest: String, two_digits: impl FnOnce() -> String, out: &mut Vec<u8>) {
    let text = if shortest.contains('.') { shortest } else { two_digits() };
    out.extend(text.bytes().map(|b| if b == b'e' { b'E' } else { b }));
}

fn not_finite(value: f64, out: &mut Vec<u8>) {
    let text = match value {
        v if v.is_nan() => "NaN",
        v if v > 0.0 => "Infinity",
        _ => "-Infinity",
    };
    out.extend_from_slice(text.as_bytes());
}

/// An *integer* of 1.2: optional sign, ASCII digits, 32 bits. Nothing is trimmed.
pub fn integer(text: &str) -> Option<i32> {
    text.parse().ok()
}

/// A *decimal* of 1.2: what `Double.parseDouble` takes (`1`, `.5`, `5.`, `+2`, `1e3`, `2d`, `0x1p3`), white space
/// around it ignored. `Infinity` and what is too large are infinite; `NaN` is refused (a fix of the reference).
pub fn decimal(text: &str) -> Option<f64> {
    match literal(text)? {
        Literal::Decimal(digits) => digits.parse().ok(),
        Literal::Hex { negative, digits } => signed(negative, hex(digits, &DOUBLE)?),
        Literal::Infinity { negative } => signed(negative, f64::INFINITY),
    }
}

/// As [`decimal`], in single precision (`Float.parseFloat`): the protect threshold of `spec/service-api.md` 1.5.
pub fn float(text: &str) -> Option<f32> {
    match literal(text)? {
        Literal::Decimal(digits) => digits.parse().ok(),
        // Already rounded to single precision, so the conversion is exact.
        Literal::Hex { negative, digits } => signed(negative, hex(digits, &SINGLE)?).map(|v| v as f32),
        Literal::Infinity { negative } => signed(negative, f64::INFINITY).map(|v| v as f32),
    }
}

/// A *word* of 1.2: true for `true`, `on`, `yes`, `y`, `t` in any case; anything else, `1` too, is false.
pub fn word(text: &str) -> bool {
    ["true", "on", "yes", "y", "t"].iter().any(|yes| text.eq_ignore_ascii_case(yes))
}

/// A *strict boolean* of 1.2: true for `true` in any case; anything else is false.
pub fn strict_bool(text: &str) -> bool {
    text.eq_ignore_ascii_case("true")
}

/// A truth value in one of the eight words of `spec/operator-api.md`, in any case.
pub fn switch_word(text: &str) -> Option<bool> {
    let is_one_of = |words: [&str; 4]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    match (is_one_of(["true", "on", "yes", "1"]), is_one_of(["false", "off", "no", "0"])) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    }
}

/// Trims as Java's `String.trim`: characters up to and including U+0020 (1.2).
pub fn java_trim(text: &str) -> &str {
    text.trim_matches(|c| c <= ' ')
}

enum Literal<'a> {
    /// Sign, digits, point and exponent in the form Rust reads, suffix taken off.
    Decimal(&'a str),
    /// What follows `0x`, suffix taken off.
    Hex {
        negative: bool,
        digits: &'a str,
    },
    Infinity {
        negative: bool,
    },
}

fn signed(negative: bool, size: f64) -> Option<f64> {
    Some(if negative { -size } else { size })
}

fn literal(text: &str) -> Option<Literal<'_>> {
    let text = java_trim(text);
    let negative = text.starts_with('-');
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned == "Infinity" {
        return Some(Literal::Infinity { negative });
    }
    let suffix = ['d', 'D', 'f', 'F'];
    if let Some(hex) = unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X")) {
        return Some(Literal::Hex { negative, digits: hex.strip_suffix(suffix).unwrap_or(hex) });
    }
    let digits = text.strip_suffix(suffix).unwrap_or(text);
    // Rust reads `inf` and `nan` as well, Java does not.
    let numeric = digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    numeric.then_some(Literal::Decimal(digits))
}

/// What a binary floating-point format can hold.
struct Format {
    /// Bits of the significand, the hidden one included.
    precision: i64,
    /// Smallest exponent of a normal number.
    least: i64,
    /// Largest exponent.
    most: i64,
}

const DOUBLE: Format = Format { precision: 53, least: -1022, most: 1023 };
const SINGLE: Format = Format { precision: 24, least: -126, most: 127 };

/// The number `DIGITS[.DIGITS]pEXPONENT`, rounded half to even.
fn hex(text: &str, format: &Format) -> Option<f64> {
    let (significand, exponent) = text.split_once(['p', 'P'])?;
    let (whole, part) = significand.split_once('.').unwrap_or((significand, ""));
    let mut exponent = decimal_exponent(exponent)?;
    let mut value: u64 = 0;
    let mut seen = false;
    for (digit, fractional) in whole.chars().map(|c| (c, false)).chain(part.chars().map(|c| (c, true))) {
        let digit = u64::from(digit.to_digit(16)?);
        seen = true;
        let room = value >> 58 == 0;
        if room {
            value = (value << 4) | digit;
        } else {
            // Far below the last bit kept; only whether it is zero matters for rounding.
            value |= u64::from(digit != 0);
        }
        exponent = exponent.saturating_add(i64::from(!room) * 4 - i64::from(fractional) * 4);
    }
    seen.then(|| round(value, exponent, format))
}

/// Optional sign and digits; what is beyond any format is cut off at a billion.
fn decimal_exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let size = digits.parse::<i64>().unwrap_or(i64::MAX).min(1_000_000_000);
    Some(if text.starts_with('-') { -size } else { size })
}

/// `value * 2^exponent` in `format`, rounded half to even, as a double.
fn round(value: u64, exponent: i64, format: &Format) -> f64 {
    if value == 0 {
        return 0.0;
    }
    let bits = 64 - i64::from(value.leading_zeros());
    let top = exponent.saturating_add(bits - 1);
    if top > format.most {
        return f64::INFINITY;
    }
    let kept = format.precision - (format.least - top).max(0);
    if kept < 0 {
        return 0.0;
    }
    let (rounded, exponent) = match u32::try_from(bits - kept) {
        Ok(0) | Err(_) => (u128::from(value), exponent),
        Ok(shift) => {
            let value = u128::from(value);
            let (quotient, rest, half) = (value >> shift, value & ((1 << shift) - 1), 1u128 << (shift - 1));
            let up = rest > half || (rest == half && quotient & 1 == 1);
            (quotient + u128::from(up), exponent + i64::from(shift))
        }
    };
    let result = rounded as f64 * power_of_two(exponent);
    if result >= power_of_two(format.most) * 2.0 { f64::INFINITY } else { result }
}

/// `2^exponent` for -1074..=1023.
fn power_of_two(exponent: i64) -> f64 {
    match u64::try_from(exponent + 1023) {
        Ok(biased @ 1..) => f64::from_bits(biased << 52),
        _ => f64::from_bits(1 << (exponent + 1074).max(0)),
    }
}

#[cfg(test)]
mod tests;
