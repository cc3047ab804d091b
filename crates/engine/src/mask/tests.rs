use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::json;

use super::*;

const KEY: &str = "-----BEGIN KEY-----\n  MIIEvQIBADANBg\nshort\n-----END KEY-----\n";

fn mask(secrets: &[&str]) -> Mask {
    let mask = Mask::default();
    for secret in secrets {
        mask.add(&Secret::new(*secret)).unwrap();
    }
    mask
}

fn check(secrets: &[&str], text: &str, expect: &str) {
    assert_eq!(mask(secrets).message(text.to_owned()), expect, "{text}");
}

fn is_in(mask: &Mask, bytes: &[u8]) -> bool {
    mask.file_search().finds_in(bytes)
}

#[test]
fn every_secret_is_masked_at_any_depth_and_overlapping_ones_as_a_whole() {
    assert_eq!(
        mask(&["hunter2", "hunter2-long", "48213377"])
            .value(json!({ "a": ["x hunter2 y", 1], "hunter2-long": { "b": "hunter2-long" }, "pin": 48_213_377 })),
        json!({ "a": ["x *** y", 1], "***": { "b": "***" }, "pin": "***" })
    );
    check(&["abcdef", "defghi"], "xabcdefghiy", "x***y");
    check(&["abc"], "abc", "abc");
}

#[test]
fn a_secret_of_the_process_and_one_of_the_run_that_overlap_leave_nothing() {
    let process = Mask::of(&[Secret::new("hunter2")]);
    let run = process.for_run();
    run.add(&Secret::new("hunter2-long")).unwrap();
    assert_eq!(
        run.message("a hunter2-long b hunter2".to_owned()),
        "a *** b ***"
    );
    assert_eq!(
        process.for_run().message("hunter2-long".to_owned()),
        "***-long",
        "another run has its own"
    );
}

#[test]
fn the_forms_that_tools_write_by_themselves_are_masked() {
    let secret = "pa\"ss\\w\u{f6}rd & <more>'s";
    let json = json!({ "key": secret }).to_string();
    check(&[secret], &json, r#"{"key":"***"}"#);
    check(
        &[secret],
        &json!({ "inner": json }).to_string(),
        r#"{"inner":"{\"key\":\"***\"}"}"#,
    );
    check(
        &[secret],
        r#"{"k": "pa\"ss\\w\u00f6rd \u0026 \u003cmore\u003e's"}"#,
        r#"{"k": "***"}"#,
    );
    check(
        &[secret],
        "https://x/?k=pa%22ss%5Cw%C3%B6rd%20%26%20%3Cmore%3E%27s&b=1",
        "https://x/?k=***&b=1",
    );
    check(
        &[secret],
        "https://x/?k=pa%22ss%5cw%c3%b6rd+%26+%3cmore%3e's",
        "https://x/?k=***",
    );
    check(
        &[secret],
        "<p>pa&quot;ss\\w\u{f6}rd &amp; &lt;more&gt;&#39;s</p>",
        "<p>***</p>",
    );
    check(
        &[secret],
        r#"+ login 'pa"ss\wörd & <more>'\''s'"#,
        "+ login '***'",
    );
    check(
        &["s3cr3t-token"],
        "x7333637233742d746f6b656ey 7333637233742D746F6B656E",
        "x***y ***",
    );
    let basic = STANDARD.encode("x-access-token:s3cr3t-token");
    let masked = mask(&["s3cr3t-token"]).message(format!("Authorization: Basic {basic}"));
    assert_eq!(masked, "Authorization: Basic eC1hY2Nlc3MtdG9rZW46***");
    let wrapped = STANDARD.encode("0123456789".repeat(12));
    let (first, second) = wrapped.split_at(76);
    check(
        &[&"0123456789".repeat(12)],
        &format!("a: {first}\n{second} z"),
        "a: *** z",
    );
}

#[test]
fn a_secret_of_many_lines_is_masked_line_by_line_and_as_a_whole() {
    check(&[KEY], "line MIIEvQIBADANBg of it", "line *** of it");
    check(&[KEY], "short is no secret", "short is no secret");
    check(&[KEY], &format!("all: {}", KEY.trim()), "all: ***");
    check(
        &[KEY],
        &format!("all: {}", KEY.trim().replace('\n', "\r\n")),
        "all: ***",
    );
    check(
        &[KEY],
        &json!({ "key": KEY }).to_string(),
        r#"{"key":"***\n"}"#,
    );
}

#[test]
fn a_secret_over_several_lines_of_a_log_is_masked_in_each() {
    let check = |lines: &[&str], expect: &[&str]| {
        let mut log = Lines::new(mask(&["s3cr3t-token-of-45-characters", "abcd"]));
        let masked: Vec<_> = lines
            .iter()
            .map(|line| log.mask((*line).to_owned()))
            .collect();
        assert_eq!(masked, expect);
    };
    check(
        &["a s3cr3t-token-of-", "45-characters b"],
        &["a ***", "*** b"],
    );
    check(
        &["a s3cr3t-to", "ken-of-45-ch", "aracters b"],
        &["a ***", "***", "*** b"],
    );
    check(
        &["a s3c", "r3t-token-of-45-characters b"],
        &["a s3c", "*** b"],
    );
    // A short one over a line break is chance.
    check(&["ab", "cd"], &["ab", "cd"]);
    check(
        &["a s3cr3t-token-of-45-char [cut]", "next"],
        &["a *** [cut]", "next"],
    );
    check(&["a s3cr [cut]"], &["a *** [cut]"]);
}

#[test]
fn an_address_in_a_message_loses_its_user_and_password() {
    let mask = mask(&["s3cr3t-token"]);
    let text = "GET https://bob:hunter2@h/x?t=s3cr3t-token got no answer";
    assert_eq!(
        mask.message(text.to_owned()),
        "GET https://***@h/x?t=*** got no answer"
    );
    assert_eq!(
        Lines::new(mask.clone()).mask(text.to_owned()),
        "GET https://***@h/x?t=*** got no answer"
    );
    assert_eq!(
        Mask::default().message("http://bob:hunter2@h".to_owned()),
        "http://***@h"
    );
    let used = json!("https://bob:hunter2@h/x");
    assert_eq!(
        mask.value(used.clone()),
        used,
        "a value that is used stays what it is"
    );
}

#[test]
fn a_value_that_is_used_keeps_what_only_begins_like_a_secret() {
    let mask = mask(&["https://hooks.example/services/T000"]);
    let address = "https://hooks.example".to_owned();
    assert_eq!(mask.value(json!(address)), json!(address));
    assert_eq!(mask.message(format!("sent to {address}")), "sent to ***");
}

#[test]
fn a_secret_is_found_in_a_file_whatever_stands_around_it() {
    let mask = Mask::default();
    assert!(!is_in(&mask, b"hunter2-token"), "nothing was handed out");
    mask.add(&Secret::new("hunter2-token\n")).unwrap();
    mask.add(&Secret::new("short")).unwrap();
    mask.add(&Secret::new(KEY)).unwrap();
    let cases: [(&[u8], bool); 7] = [
        (b"https://x:hunter2-token@forge/x.git", true),
        (b"\xff\xc3hunter2-token\xe2\x82", true),
        (b"a short file", false),
        (
            b"-----BEGIN KEY-----\nanother's\n-----END KEY-----\n",
            false,
        ),
        (
            br#"{"key":"-----BEGIN KEY-----\n  MIIEvQIBADANBg\nshort\n-----END KEY-----\n"}"#,
            true,
        ),
        (
            STANDARD.encode("user:hunter2-token").leak().as_bytes(),
            true,
        ),
        (b"url = https://x:hunter2%2dtoken@forge", true),
    ];
    for (bytes, found) in cases {
        assert_eq!(is_in(&mask, bytes), found, "{}", bytes.escape_ascii());
    }
}

/// Files are read in parts, and searched in pieces: no end of either may hide a secret.
#[test]
fn a_secret_is_found_over_the_end_of_a_part_and_of_a_piece() {
    let mask = mask(&["hunter2-töken", &"k".repeat(3_000)]);
    let written = [
        "hunter2-töken".to_owned(),
        "hunter2%2dt%c3%b6ken".to_owned(),
        json!(json!("hunter2-töken\n").to_string()).to_string(),
        STANDARD.encode("user:hunter2-töken"),
        "k".repeat(3_000),
    ];
    for text in written {
        for before in [100_000, (64 << 10) - 4, (128 << 10) - text.len() / 2] {
            let file = format!("{}{text}{}", "é".repeat(before / 2), "-".repeat(70_000));
            let split = 2 * (before / 2) + text.len() / 2;
            let (first, second) = file.as_bytes().split_at(split);
            let mut search = mask.file_search();
            assert!(
                !search.finds_in(first),
                "{text} at {before}: only its beginning"
            );
            assert!(search.finds_in(second), "{text} at {before}");
        }
    }
    let mut search = mask.file_search();
    assert!(!search.finds_in("hunter2-tö-".repeat(100_000).as_bytes()));
}

#[test]
fn what_is_too_long_is_refused_and_old_credentials_are_forgotten() {
    let mask = Mask::default();
    assert_eq!(
        mask.add(&Secret::new("x".repeat(LARGEST_SECRET + 1))),
        Err(TooLong::Secret)
    );
    mask.add(&Secret::new("x".repeat(LARGEST_SECRET))).unwrap();
    assert_eq!(mask.add(&Secret::new("one-more")), Err(TooLong::Run));
    for number in 0..20 {
        mask.add_credential(&Secret::new(format!("{number:08}{}", "-".repeat(16 << 10))))
            .unwrap();
    }
    let process = mask.for_run();
    assert!(is_in(
        &process,
        format!("{:08}{}", 19, "-".repeat(16 << 10)).as_bytes()
    ));
    assert!(process.process.0.read().unwrap().size <= LARGEST_OF_PROCESS);
}

proptest! {
    #[test]
    fn no_form_of_a_secret_is_left_in_a_text(
        secret in "[ -~\u{e9}\u{4e16}]{8,40}",
        before in "[a-m ]{0,9}",
        after in "[n-z ]{0,9}",
        form in 0..7_usize,
    ) {
        prop_assume!(secret.trim().len() >= 8);
        let mask = mask(&[&secret]);
        let secret = secret.trim();
        let percent = secret.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
        let hexadecimal = secret.bytes().map(|byte| format!("{byte:02X}")).collect::<String>();
        let written = [
            secret.to_owned(),
            json!(secret).to_string(),
            json!(json!(secret).to_string()).to_string(),
            percent,
            hexadecimal,
            secret.replace('&', "&amp;").replace('<', "&lt;"),
            format!("'{}'", secret.replace('\'', r"'\''")),
        ][form].clone();
        let inside = written.trim_matches(['"', '\'']);
        let masked = mask.message(format!("{before}{written}{after}"));
        prop_assert!(!masked.contains(inside) && masked.contains("***"), "{written} -> {masked}");
    }

    #[test]
    fn any_text_can_be_masked(secrets in prop::collection::vec("[ab%\\\\&;\u{e9}\n]{4,9}", 1..4), text in "[ab%\\\\&;x0-9\u{e9}\n]{0,80}") {
        let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
        let masked = mask(&secrets).message(text.clone());
        prop_assert!(masked.len() <= text.len() * 3);
    }
}

/// Secrets of any letters in texts of any letters, in the forms that tools write.
#[test]
fn fuzzed_texts_show_no_secret() {
    surefoot_fuzz::fuzz("masks", 1500, |random| {
        let words = [
            "hunter2",
            "pass\nword",
            "\u{e9}t\u{e9}",
            "a\"b\\c",
            "0123456789abcdef",
        ];
        let word = words[random.below(5)];
        let mut secret = surefoot_fuzz::mutate_text(random, word, &words);
        if random.chance(10) && secret.len() < 100 {
            secret = secret.repeat(1 + random.length(2000));
        }
        let mask = Mask::default();
        let is_added = mask.add(&Secret::new(secret.as_str())).is_ok();
        let around = surefoot_fuzz::mutate_text(random, "some text around it", &words);
        let form = match random.below(4) {
            0 => secret.clone(),
            1 => json!(secret).to_string(),
            2 => STANDARD.encode(&secret),
            _ => json!(json!({ "k": secret }).to_string()).to_string(),
        };
        let text = format!("{around}{form}{around}");
        let masked = mask.message(text.clone());
        let is_long = secret
            .chars()
            .filter(|letter| letter.is_alphanumeric())
            .count()
            >= 8;
        if is_added && is_long && form == secret {
            assert!(!masked.contains(&secret), "{secret:?} in {masked:?}");
        }
        let value = surefoot_fuzz::Grammar { random }.value(3);
        let masked = mask.value(json!({ "value": value, "text": text }));
        assert!(masked.is_object());
        let mut lines = scan::Lines::new(mask);
        for line in text.split('\n') {
            let _ = lines.mask(line.to_owned());
        }
    });
}
