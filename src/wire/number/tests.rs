use proptest::prelude::*;

use super::*;

fn double(value: f64) -> String {
    let mut out = Vec::new();
    java_double(value, &mut out);
    String::from_utf8(out).unwrap()
}

fn single(value: f32) -> String {
    let mut out = Vec::new();
    java_float(value, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn doubles_print_as_in_java() {
    for (value, text) in [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1.0, "1.0"),
        (-1.0, "-1.0"),
        (100.0, "100.0"),
        (10000.0, "10000.0"),
        (0.01, "0.01"),
        (0.001, "0.001"),
        (0.0001, "1.0E-4"),
        (0.00099999, "9.9999E-4"),
        (1e-5, "1.0E-5"),
        (1.25e-7, "1.25E-7"),
        (9_999_999.0, "9999999.0"),
        (9_999_999.999, "9999999.999"),
        (1e7, "1.0E7"),
        (12_345_678.9, "1.23456789E7"),
        (1e10, "1.0E10"),
        (1e23, "1.0E23"),
        (2e23, "2.0E23"),
        (0.1 + 0.2, "0.30000000000000004"),
        (f64::MAX, "1.7976931348623157E308"),
        (f64::MIN_POSITIVE, "2.2250738585072014E-308"),
        (5e-324, "4.9E-324"),
        (1e-323, "9.9E-324"),
        (f64::INFINITY, "Infinity"),
        (f64::NEG_INFINITY, "-Infinity"),
        (f64::NAN, "NaN"),
    ] {
        assert_eq!(double(value), text);
    }
}

#[test]
fn floats_print_in_single_precision() {
    for (value, text) in [
        (0.0, "0.0"),
        (0.35, "0.35"),
        (2.0, "2.0"),
        (-1.0, "-1.0"),
        (0.6, "0.6"),
        (1e7, "1.0E7"),
        (1e-4, "1.0E-4"),
        (f32::MAX, "3.4028235E38"),
        (1e-45, "1.4E-45"),
        (f32::INFINITY, "Infinity"),
        (f32::NAN, "NaN"),
    ] {
        assert_eq!(single(value), text);
    }
}

#[test]
fn integers() {
    for (text, value) in [
        ("0", Some(0)),
        ("80", Some(80)),
        ("+80", Some(80)),
        ("-80", Some(-80)),
        ("007", Some(7)),
        ("2147483647", Some(i32::MAX)),
        ("-2147483648", Some(i32::MIN)),
        ("2147483648", None),
        ("", None),
        ("+", None),
        ("-", None),
        ("x", None),
        ("8 0", None),
        (" 80", None),
        ("80.0", None),
        ("0x10", None),
        ("1_0", None),
    ] {
        assert_eq!(integer(text), value, "{text:?}");
    }
}

#[test]
fn decimals() {
    for (text, value) in [
        ("1", 1.0),
        ("1.5", 1.5),
        (".5", 0.5),
        ("5.", 5.0),
        ("+2", 2.0),
        ("-2", -2.0),
        ("1e3", 1000.0),
        ("1E-3", 0.001),
        ("1.e+2", 100.0),
        ("2d", 2.0),
        ("2D", 2.0),
        ("2f", 2.0),
        ("2.5F", 2.5),
        ("1e3d", 1000.0),
        ("0x1p3", 8.0),
        ("0X1P3", 8.0),
        ("-0x1p3", -8.0),
        ("0x.8p1", 1.0),
        ("0x1.8p0", 1.5),
        ("0x1.8p0f", 1.5),
        ("0xap-1", 5.0),
        ("0x0p9", 0.0),
        ("0x1p-1074", 5e-324),
        ("0x1p-1075", 0.0),
        ("0x1.8p-1075", 5e-324),
        ("0x1.fffffffffffffp1023", f64::MAX),
        ("0x1.fffffffffffff8p1023", f64::INFINITY),
        ("0x1.00000000000008p0", 1.0),
        ("0x1.000000000000080000000000000001p0", 1.0 + f64::EPSILON),
        ("0x10000000000000000000000p-88", 1.0),
        ("0x1p99999999999999999999", f64::INFINITY),
        ("0x1p-99999999999999999999", 0.0),
        ("1e999", f64::INFINITY),
        ("Infinity", f64::INFINITY),
        ("+Infinity", f64::INFINITY),
        ("-Infinity", f64::NEG_INFINITY),
        (" 1 ", 1.0),
        ("\t1\r\n\u{1}", 1.0),
    ] {
        assert_eq!(decimal(text), Some(value), "{text:?}");
    }
}

#[test]
fn decimals_refused() {
    for text in [
        "",
        " ",
        ".",
        "+",
        "-",
        "e",
        "1e",
        "1e+",
        "e3",
        "d",
        "f",
        "1dd",
        "1x",
        "x",
        "1,5",
        "1 5",
        "--1",
        "+-1",
        "1_0",
        "NaN",
        "+NaN",
        "-NaN",
        "nan",
        "inf",
        "infinity",
        "INFINITY",
        "Infinityd",
        "0x",
        "0x1",
        "0x.p1",
        "0xp1",
        "0x1p",
        "0x1p+",
        "0x1p1.0",
        "0xgp1",
        "0x-1p1",
        "0x1pd",
        "\u{a0}1",
        "\u{661}",
    ] {
        assert_eq!(decimal(text), None, "{text:?}");
        assert_eq!(float(text), None, "{text:?}");
    }
}

#[test]
fn floats_round_once() {
    assert_eq!(float("0.35"), Some(0.35));
    assert_eq!(float("1e39"), Some(f32::INFINITY));
    assert_eq!(float("0x1.fffffep127"), Some(f32::MAX));
    assert_eq!(float("0x1.ffffffp127"), Some(f32::INFINITY));
    assert_eq!(float("0x1p-149"), Some(1e-45));
    // Half a unit and a bit more than a double can hold: by way of a double this would be rounded down.
    assert_eq!(float("0x1.0000010000000001p0"), Some(1.0 + f32::EPSILON));
    assert_eq!(float("-Infinity"), Some(f32::NEG_INFINITY));
}

#[test]
fn words() {
    for yes in ["true", "TRUE", "on", "On", "yes", "y", "Y", "t", "T"] {
        assert!(word(yes), "{yes:?}");
    }
    for no in ["", "1", "0", "false", "off", "no", "n", "tr", "enabled", " true"] {
        assert!(!word(no), "{no:?}");
    }
    assert!(strict_bool("true") && strict_bool("TRUE") && strict_bool("True"));
    assert!(!strict_bool("yes") && !strict_bool("1") && !strict_bool("") && !strict_bool(" true"));
}

proptest! {
    #[test]
    fn doubles_read_back(value in any::<f64>()) {
        let text = double(value);
        prop_assert_eq!(decimal(&text).map(f64::to_bits), Some(value.to_bits()));
        prop_assert!(text.contains('.') || value.is_infinite());
    }

    #[test]
    fn floats_read_back(value in any::<f32>()) {
        prop_assert_eq!(float(&single(value)).map(f32::to_bits), Some(value.to_bits()));
    }

    #[test]
    fn hex_of_a_double_reads_back(bits in any::<u64>()) {
        let value = f64::from_bits(bits & !(1 << 63));
        prop_assume!(value.is_normal());
        let text = format!("0x1.{:013x}p{}", bits & ((1 << 52) - 1), (bits >> 52 & 0x7ff) as i64 - 1023);
        prop_assert_eq!(decimal(&text), Some(value));
    }

    #[test]
    fn reading_never_panics(text in "\\PC*", near in "[-+ ]?(0x)?[0-9a-fA-F.]{0,40}[pPeE]?[-+]?[0-9]{0,25}[dDfF]?") {
        for text in [text, near] {
            let _ = (decimal(&text), float(&text), integer(&text), word(&text), strict_bool(&text));
        }
    }
}
