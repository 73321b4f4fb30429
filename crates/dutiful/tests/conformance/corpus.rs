//! Texts that JSON readers, databases and scripts are known to stumble over, each with the verdict
//! that every store and every way in must give.

/// What has to become of a text that somebody enqueues as a payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// It is stored, and comes back byte for byte.
    Kept,
    /// Refused: no JSON, or a number that no reader can hold.
    NotJson,
    /// Refused: a NUL in a text.
    Nul,
    /// Refused: deeper than 64 levels.
    TooDeep,
    /// Refused: larger than 256 KiB.
    TooLarge,
}

/// Returns all texts with their verdicts.
pub(crate) fn corpus() -> Vec<(Vec<u8>, Verdict)> {
    let mut all = Vec::new();
    let mut add = |verdict, texts: Vec<Vec<u8>>| {
        all.extend(texts.into_iter().map(|text| (text, verdict)));
    };
    let bytes = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    add(Verdict::Kept, bytes(&VALUES));
    add(Verdict::Kept, bytes(&NUMBERS));
    add(Verdict::Kept, bytes(&STRINGS));
    add(Verdict::Kept, wide());
    add(Verdict::NotJson, bytes(&NO_VALUES));
    add(Verdict::NotJson, bytes(&NO_NUMBERS));
    add(Verdict::NotJson, bytes(&NO_STRINGS));
    add(Verdict::NotJson, BROKEN_UTF8.iter().map(|text| text.to_vec()).collect());
    add(Verdict::NotJson, cut_short());
    add(Verdict::NotJson, bad_escapes());
    add(Verdict::Nul, bytes(&NULS));
    add(Verdict::TooDeep, deep());
    add(Verdict::TooLarge, large());
    all
}

const VALUES: [&str; 44] = [
    "null",
    "true",
    "false",
    "[]",
    "{}",
    "\"\"",
    "[null]",
    "[[]]",
    "[{}]",
    "{\"a\":[]}",
    "[[],[]]",
    "[1,2]",
    "[1,null,2]",
    "[null,true,\"a\",1,{},[]]",
    "{\"a\":1}",
    "{\"\":0}",
    "{\"a\":{}}",
    "{\"a\":1,\"b\":2}",
    "{\"b\":1,\"a\":2}",
    "{\"a\":1,\"a\":2}",
    "{\"a\":1,\"a\":1}",
    "{\"a\":null,\"a\":{}}",
    "{\"id\":1,\"ID\":2,\"Id\":3}",
    "{\"1\":1,\"01\":2}",
    "{\"__proto__\":{\"x\":1}}",
    "{\"constructor\":0}",
    "{\"$type\":\"System.Object\"}",
    "{\"@class\":\"java.lang.Runtime\"}",
    "{\"$ne\":null}",
    "{\"a.b\":1,\"a\":{\"b\":2}}",
    "{\"\u{e9}\":1,\"e\u{301}\":2}",
    "{\"\\u0061\":1}",
    "{\"true\":true}",
    "{\"a\":\"\\\"}\"}",
    " 1",
    "1 ",
    "\n1\n",
    "\t[ ]\t",
    "\r\n{ }\r\n",
    " { \"a\" : [ 1 , 2 ] } ",
    "[\n1\n,\n2\n]",
    "                                1",
    "[                ]",
    "\n\n\n\n\n\n\n\nnull\n\n\n\n\n\n",
];

const NUMBERS: [&str; 37] = [
    "0",
    "-0",
    "0.0",
    "-0.0",
    "1",
    "-1",
    "10",
    "0.1",
    "0.10",
    "1.0",
    "1.10",
    "1e1",
    "1E1",
    "1e+1",
    "1e-1",
    "1E-01",
    "0e0",
    "0e+0",
    "-1.5e-3",
    "1e308",
    "-1e308",
    "1e-400",
    "5e-324",
    "2e-324",
    "1.7976931348623157e308",
    "2147483648",
    "4294967296",
    "9007199254740991",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "18446744073709551616",
    "123456789012345678901234567890",
    "0.1000000000000000055511151231257827021181583404541015625",
];

const STRINGS: [&str; 57] = [
    "\"a\"",
    "\" \"",
    "\"\\\"\"",
    "\"\\\\\"",
    "\"\\/\"",
    "\"/\"",
    "\"\\b\\f\\n\\r\\t\"",
    "\"'\"",
    "\"\\u0001\"",
    "\"\\u001f\"",
    "\"\\u0020\"",
    "\"\\u007f\"",
    "\"\\u00e9\"",
    "\"\\u00E9\"",
    "\"\\u2028\\u2029\"",
    "\"\\ufeff\"",
    "\"\\ufffd\"",
    "\"\\uffff\"",
    "\"\\ufdd0\"",
    "\"\\ue000\"",
    "\"\\ud83d\\ude00\"",
    "\"\\uD83D\\uDE00\"",
    "\"\\ud800\\udc00\"",
    "\"\\udbff\\udfff\"",
    "\"\\\\ud800\"",
    "\"\\\\u0000\"",
    "\"a\\\\\\\\u0000\"",
    "\"\u{7f}\"",
    "\"\u{80}\"",
    "\"\u{9f}\"",
    "\"\u{a0}\"",
    "\"\u{e9}\"",
    "\"e\u{301}\"",
    "\"\u{2028}\u{2029}\"",
    "\"\u{feff}\"",
    "\"\u{fffd}\"",
    "\"\u{ffff}\"",
    "\"\u{fdd0}\"",
    "\"\u{e000}\"",
    "\"\u{10ffff}\"",
    "\"\u{1f600}\"",
    "\"\u{202e}txt.exe\"",
    "\"\u{200b}\"",
    "\"\u{1f468}\u{200d}\u{1f469}\"",
    "\"NaN\"",
    "\"Infinity\"",
    "\"null\"",
    "\"'; DROP TABLE dutiful_job; --\"",
    "\"${jndi:ldap://x}\"",
    "\"<script>alert(1)</script>\"",
    "\"%s%n%00\"",
    "\"{{7*7}}\"",
    "\"$(reboot)\"",
    "\"`id`\"",
    "\"\\u001b[31m\"",
    "\"../../../../etc/passwd\"",
    "\"=1+1\"",
];

const NO_VALUES: [&str; 66] = [
    "",
    " ",
    "\n",
    "nul",
    "nulll",
    "Null",
    "NULL",
    "tru",
    "True",
    "TRUE",
    "fals",
    "undefined",
    "None",
    "nil",
    "yes",
    "[",
    "]",
    "{",
    "}",
    "[]]",
    "[[]",
    "{}}",
    "{{}",
    "[}",
    "{]",
    "[1",
    "[1,",
    "[,",
    "[,1]",
    "[1,]",
    "[1,,2]",
    "[1 2]",
    "[1;2]",
    "[1:2]",
    "(1)",
    "{\"a\"}",
    "{\"a\":}",
    "{\"a\":1,}",
    "{,\"a\":1}",
    "{\"a\" 1}",
    "{\"a\"=1}",
    "{\"a\"::1}",
    "{\"a\":1 \"b\":2}",
    "{\"a\":1;\"b\":2}",
    "{a:1}",
    "{'a':1}",
    "{1:1}",
    "{null:1}",
    "{[]:1}",
    "{\"a\":1,\"b\"}",
    "1 2",
    "{}{}",
    "[][]",
    "null null",
    "1,2",
    "//x\n1",
    "/**/1",
    "1//x",
    "1#x",
    "# x",
    "<a/>",
    "\u{feff}1",
    "\u{a0}1",
    "1\u{b}",
    "1\u{c}",
    "1\u{2028}",
];

const NO_NUMBERS: [&str; 52] = [
    "+1",
    "-",
    "--1",
    "+-1",
    "- 1",
    "01",
    "00",
    "-01",
    "-00",
    "0123",
    "1.",
    "1.e1",
    ".1",
    "-.1",
    ".",
    "0.",
    "1..2",
    "1.2.3",
    "1e",
    "1e+",
    "1e-",
    "1E",
    "1e1.5",
    "1ee1",
    "1e++1",
    "1 e1",
    "e1",
    "0x1",
    "0b1",
    "0o7",
    "1_000",
    "1,000",
    "1f",
    "1n",
    "1L",
    "NaN",
    "-NaN",
    "nan",
    "Infinity",
    "-Infinity",
    "inf",
    "-inf",
    "1#INF",
    "\u{ff11}",
    "\u{661}",
    "1\u{661}",
    "1e309",
    "-1e309",
    "1e400",
    "[1e400]",
    "{\"a\":-1e999}",
    "1e99999999999999999999",
];

const NO_STRINGS: [&str; 30] = [
    "\"",
    "\"a",
    "a\"",
    "'a'",
    "\u{201c}a\u{201d}",
    "\"\"\"",
    "\"a\"b\"",
    "\"\\\"",
    "\"\\u\"",
    "\"\\u0\"",
    "\"\\u00\"",
    "\"\\u000\"",
    "\"\\u00g0\"",
    "\"\\u 000\"",
    "\"\\u{e9}\"",
    "\"\\ud800\"",
    "\"\\udbff\"",
    "\"\\udc00\"",
    "\"\\udfff\"",
    "\"\\ud800\\ud800\"",
    "\"\\udc00\\ud800\"",
    "\"\\ud800x\"",
    "\"\\ud800\\n\"",
    "\"\\ud800\\u0041\"",
    "\"\\ud83d\\ude\"",
    "{\"\\ud800\":1}",
    "[\"\\udead\"]",
    "\"\n\"",
    "\"\t\"",
    "\"\0\"",
];

const BROKEN_UTF8: [&[u8]; 20] = [
    b"\"\x80\"",
    b"\"\xbf\"",
    b"\"\xc0\x80\"",
    b"\"\xc1\xbf\"",
    b"\"\xc3\"",
    b"\"\xc3\x28\"",
    b"\"\xe0\x80\x80\"",
    b"\"\xe2\x82\"",
    b"\"\xed\xa0\x80\"",
    b"\"\xed\xbf\xbf\"",
    b"\"\xed\xa0\xbd\xed\xb8\x80\"",
    b"\"\xf0\x80\x80\x80\"",
    b"\"\xf0\x9f\x98\"",
    b"\"\xf4\x90\x80\x80\"",
    b"\"\xf5\x80\x80\x80\"",
    b"\"\xfe\"",
    b"\"\xff\"",
    b"\xff\xfe1\0",
    b"\xfe\xff\x001",
    b"{\"\xff\":1}",
];

const NULS: [&str; 9] = [
    "\"\\u0000\"",
    "\"a\\u0000b\"",
    "[\"\\u0000\"]",
    "{\"\\u0000\":1}",
    "{\"a\":\"\\u0000\"}",
    "{\"a\\u0000\":\"b\"}",
    "[[[[\"x\\u0000\"]]]]",
    "\"\\\\\\u0000\"",
    "\"\\u0000\\u0000\"",
];

/// Every way to be large, deep or long that is still within the limits.
fn wide() -> Vec<Vec<u8>> {
    let deep = |open: &str, close: &str| open.repeat(64) + "1" + &close.repeat(64);
    let mut all = vec![
        deep("[", "]"),
        deep("{\"a\":", "}"),
        "[{\"a\":".repeat(32) + "1" + &"}]".repeat(32),
        format!("\"{}\"", "x".repeat(256 * 1024 - 2)),
        format!("\"{}\"", "\u{e9}".repeat(128 * 1024 - 1)),
        format!("[{}1]", "1,".repeat(100_000)),
        format!("[{}0]", "[],".repeat(50_000)),
        format!("{{{}\"z\":0}}", "\"a\":0,".repeat(10_000)),
        format!("{{\"{}\":1}}", "k".repeat(100_000)),
        format!("{}1", " ".repeat(200_000)),
        format!("0.{}1", "0".repeat(10_000)),
        format!("\"{}\"", "[".repeat(1000)),
        format!("\"{}\"", "\\\\".repeat(1000)),
    ];
    for c in (1..0x20_u32).chain([0x85, 0xA0, 0xD7FF, 0xE000, 0xFFFE]) {
        all.push(format!("\"\\u{c:04x}\""));
    }
    all.into_iter().map(String::into_bytes).collect()
}

/// Every beginning of a document.
fn cut_short() -> Vec<Vec<u8>> {
    let whole = br#"{"a":[1,true,null,"x\u00e9\n"],"b":{"c":-1.5e3,"d":false}}"#;
    (1..whole.len()).map(|len| whole[..len].to_vec()).collect()
}

/// Every letter and digit behind a backslash that is no escape, and every raw control character.
fn bad_escapes() -> Vec<Vec<u8>> {
    let letters = (b'0'..=b'9').chain(b'A'..=b'Z').chain(b'a'..=b'z');
    let wrong = letters.filter(|c| !b"bfnrtu".contains(c));
    let escapes = wrong.map(|c| vec![b'"', b'\\', c, b'"']);
    escapes.chain((0..0x20).map(|c| vec![b'"', c, b'"'])).collect()
}

fn deep() -> Vec<Vec<u8>> {
    let all = [
        "[".repeat(65) + &"]".repeat(65),
        "{\"a\":".repeat(65) + "1" + &"}".repeat(65),
        "[{\"a\":".repeat(33) + "1" + &"}]".repeat(33),
        "[".repeat(1000) + &"]".repeat(1000),
        "[".repeat(100_000),
        "{\"a\":".repeat(40_000),
        "[1,".repeat(65),
    ];
    all.into_iter().map(String::into_bytes).collect()
}

fn large() -> Vec<Vec<u8>> {
    let all = [
        format!("\"{}\"", "x".repeat(256 * 1024 - 1)),
        format!("\"{}\"", "\u{e9}".repeat(128 * 1024)),
        " ".repeat(256 * 1024) + "1",
        "[".repeat(300_000),
        format!("[{}1]", "1,".repeat(2_000_000)),
    ];
    all.into_iter().map(String::into_bytes).collect()
}
