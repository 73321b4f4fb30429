//! Hostile payloads and texts: whatever is accepted comes back byte for byte.

use crate::harness::*;

promises![
    every_accepted_payload_comes_back_byte_for_byte,
    every_accepted_text_comes_back_as_it_was,
    errors_with_any_text_are_kept,
    stores_do_not_look_into_payloads,
];

/// JSON that stores have been known to change, refuse or crash on.
fn corpus() -> Vec<Vec<u8>> {
    let texts = [
        "null",
        "true",
        "0",
        "-0",
        "-0.0",
        "1e300",
        "1e-400",
        "9007199254740993",
        "18446744073709551615",
        "-9223372036854775808",
        "1.0",
        "1.10",
        "3.141592653589793238462643383279",
        "[]",
        "{}",
        "[[]]",
        "[{}]",
        "{\"a\":[]}",
        "\"\"",
        "{\"b\":1,\"a\":2}",
        "{\"a\":1,\"a\":2}",
        "{\"\":1}",
        " { \"a\" : 1 } ",
        "\n[1,\t2]\r\n",
        "\"\\u00e9\"",
        "\"\u{e9}\"",
        "\"e\u{301}\"",
        "\"\\ud83d\\ude00\"",
        "\"\u{1f600}\"",
        "\"\\/\"",
        "\"/\"",
        "\"\\\"\\\\\\b\\f\\n\\r\\t\"",
        "\"\u{7f}\u{80}\u{ffff}\u{10ffff}\"",
        "\"\u{feff}\"",
        "\"\u{202e}txt.exe\"",
        "\"\u{2028}\u{2029}\"",
        "\"'; DROP TABLE x; --\"",
        "\"${jndi:ldap://x}\"",
        "\"<script>alert(1)</script>\"",
        "\"%s%n%00\"",
        "\"{{7*7}}\"",
        "{\"__proto__\":{\"a\":1}}",
        "{\"$type\":\"System.Object\"}",
        "\"NaN\"",
        "\"Infinity\"",
        "[1e1,1E1,1e+1,10]",
        "[0.1,0.10,1e-1]",
        "{\"id\":1,\"ID\":2,\"Id\":3}",
    ];
    let mut all: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    all.push(("[".repeat(64) + &"]".repeat(64)).into_bytes());
    all.push(format!("\"{}\"", "x".repeat(256 * 1024 - 2)).into_bytes());
    all.push(format!("[{}1]", "1,".repeat(100_000)).into_bytes());
    all.push(format!("{{{}\"z\":0}}", "\"a\":0,".repeat(10_000)).into_bytes());
    for c in (0x20..0x7F).filter(|c| !b"\"\\".contains(c)) {
        all.push(vec![b'"', c, b'"']);
    }
    for c in (1..0x20_u32).chain([0x85, 0xA0, 0xD7FF, 0xE000, 0xFFFD, 0xFFFE]) {
        all.push(format!("\"\\u{c:04x}\"").into_bytes());
    }
    let mut luck = fastrand::Rng::with_seed(11);
    for _ in 0..200 {
        let text: String = (0..luck.usize(..40)).map(|_| luck.char(' '..)).collect();
        all.push(serde_json::to_vec(&text).expect("a text is JSON"));
        all.push(format!("{}{}e{}", luck.i64(..), luck.u8(..), luck.i8(-100..100)).into_bytes());
    }
    all
}

async fn every_accepted_payload_comes_back_byte_for_byte(lab: Lab) -> Kept {
    let corpus = corpus();
    assert!(corpus.len() > 500);
    for payload in &corpus {
        let text = String::from_utf8_lossy(&payload[..payload.len().min(80)]).into_owned();
        let id = lab.client.enqueue_raw("task", payload.clone()).await?.id;
        let seen = lab.show(id).await;
        assert_eq!(seen.payload_bytes, payload.len(), "{text}");
        let shown = seen.payload.expect("a payload is shown");
        // What is shown is one JSON value: blanks around it are not part of it.
        assert_eq!(shown.get().as_bytes(), payload.trim_ascii(), "{text}");
        let claimed = lab.claim_one().await;
        assert_eq!(claimed.fence.id, id);
        assert!(claimed.payload == *payload, "{text} was changed");
        assert_eq!(lab.end(&claimed, End::Completed(Some(payload.clone()))).await, Held::Yes);
        let result = lab.show(id).await.result.expect("a result is shown");
        assert_eq!(result.get().as_bytes(), payload.trim_ascii(), "{text}");
    }
    Ok(())
}

async fn every_accepted_text_comes_back_as_it_was(lab: Lab) -> Kept {
    let texts = [
        "a",
        " ",
        "\n",
        "\u{1}",
        "\u{7f}",
        "\u{feff}",
        "\u{1f600}",
        "e\u{301}",
        "\u{10ffff}",
        "{}",
        "[\"x\"]",
        "'",
        "\"",
        "\\",
        ",",
        ";",
        "%",
        "NULL",
        "-- x",
        "\u{202e}",
        "a\u{2028}b",
    ];
    let long = "\u{e9}".repeat(127);
    for text in texts.into_iter().chain([long.as_str()]) {
        let enqueue = lab.client.enqueue_raw("task", "{}");
        let enqueue = enqueue.correlation_id(text).group(text).unique(text).tag(text).tag("t");
        let id = enqueue.await?.id;
        let seen = lab.show(id).await;
        assert_eq!(seen.correlation_id, text);
        assert_eq!(seen.group.as_deref(), Some(text));
        assert_eq!(seen.unique_key.as_deref(), Some(text));
        assert_eq!(seen.tags, [text, "t"]);
        let claimed = lab.claim_one().await;
        assert_eq!(claimed.correlation_id.as_deref(), Some(text));
        assert_eq!(claimed.group.as_deref(), Some(text));
        lab.end(&claimed, End::Completed(None)).await;
    }
    Ok(())
}

async fn errors_with_any_text_are_kept(lab: Lab) -> Kept {
    let long = "x".repeat(16 * 1024);
    for text in ["", "\u{1f600}", "'; --", "line\nline", "\u{fffd}", &long] {
        let failure = Failure { class: "exit 3".into(), message: text.into() };
        let active = lab.active().await;
        lab.end(&active, End::Failed(failure.clone(), std::time::Duration::ZERO)).await;
        assert_eq!(lab.show(active.fence.id).await.last_error, Some(failure.clone()));
        let active = lab.active().await;
        lab.end(&active, End::Dead(failure.clone(), DeadReason::Discarded)).await;
        assert_eq!(lab.show(active.fence.id).await.last_error, Some(failure));
    }
    Ok(())
}

async fn stores_do_not_look_into_payloads(lab: Lab) -> Kept {
    let every_byte: Vec<u8> = (0..=255).collect();
    for payload in [Vec::new(), every_byte, vec![0; 100], b"{not json".to_vec()] {
        lab.put_one(Record { payload: payload.clone(), ..job() }).await;
        let claimed = lab.claim_one().await;
        assert_eq!(claimed.payload, payload);
        lab.end(&claimed, End::Completed(None)).await;
    }
    Ok(())
}
