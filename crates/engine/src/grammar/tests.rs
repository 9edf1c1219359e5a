//! Constraints walked token by token over a small vocabulary of bytes, words and control tokens.

use std::time::Instant;

use super::vocabulary::marked;
use super::{GrammarEnv, GrammarError, Matcher};
use crate::protocol::Constraint;

/// Every byte, some longer tokens, a control token and two that end a text.
fn words() -> Vec<Vec<u8>> {
    let mut words: Vec<Vec<u8>> = (0..=255u8).map(|byte| vec![byte]).collect();
    for word in [
        "true", "fals", "null", "\":", "\", \"", "  ", "{\"", "\"}", "12", "34", "é", "ab", "b\"",
        "\\u00", "]}",
    ] {
        words.push(word.into());
    }
    words.push(marked(b"<|im_start|>"));
    words.push(marked(b"<|im_end|>"));
    words.push(marked(b"<|endoftext|>"));
    words
}

fn env() -> GrammarEnv {
    let words = words();
    let end = words.len() as u32;
    GrammarEnv::from_words(words, &[end - 2, end - 1]).unwrap()
}

/// Walks `text` by the longest or the shortest tokens; true if every token was allowed and the
/// output may end there. The mask and `accept` must agree at every step, on all tokens tried.
fn walk(env: &GrammarEnv, constraint: &Constraint, text: &str, longest: bool) -> bool {
    let words = words();
    let mut matcher = Matcher::new(constraint, env).unwrap();
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        let fits = |word: &Vec<u8>| !word.is_empty() && rest.starts_with(word);
        let candidates = words.iter().enumerate().filter(|(_, word)| fits(word));
        let (token, word) = match longest {
            true => candidates.max_by_key(|(_, word)| word.len()).unwrap(),
            false => candidates.min_by_key(|(_, word)| word.len()).unwrap(),
        };
        let mut logits = vec![0.0; words.len() + 3];
        if matcher.mask(&mut logits).is_err() {
            return false;
        }
        assert!(
            logits[words.len()..].iter().all(|l| *l == f32::NEG_INFINITY),
            "padding is never allowed"
        );
        assert_eq!(logits[words.len() - 3], f32::NEG_INFINITY, "a control token is no text");
        let allowed = logits[token] == 0.0;
        assert_eq!(
            matcher.accept(token as u32).is_ok(),
            allowed,
            "{text:?} at {:?}",
            String::from_utf8_lossy(rest)
        );
        if !allowed {
            return false;
        }
        rest = &rest[word.len()..];
    }
    let ends = matcher.may_end().unwrap();
    let mut logits = vec![0.0; words.len()];
    matcher.mask(&mut logits).unwrap();
    let end_allowed = logits[words.len() - 2..].iter().all(|l| *l == 0.0);
    assert_eq!(
        ends, end_allowed,
        "{text:?}: both ends are allowed exactly where the output may end"
    );
    if matcher.is_complete() {
        assert!(logits[..words.len() - 2].iter().all(|l| *l == f32::NEG_INFINITY));
    }
    ends
}

fn check(env: &GrammarEnv, constraint: &Constraint, valid: &[&str], invalid: &[&str]) {
    for longest in [true, false] {
        for text in valid {
            assert!(walk(env, constraint, text, longest), "{constraint:?} must accept {text}");
        }
        for text in invalid {
            assert!(!walk(env, constraint, text, longest), "{constraint:?} must refuse {text}");
        }
    }
}

#[test]
fn schemas_accept_and_refuse() {
    let env = env();
    let cases: &[(&str, &[&str], &[&str])] = &[
        (
            r#"{"type":"integer","minimum":-5,"maximum":300}"#,
            &["0", "-5", "12", "123", "300"],
            &["-6", "301", "1234", "1.5", "01", "\"1\"", "", "-", "1e2"],
        ),
        (r#"{"type":"integer","multipleOf":3}"#, &["0", "12", "123"], &["34", "1"]),
        (
            r#"{"type":"number","exclusiveMinimum":0,"maximum":1.5}"#,
            &["0.5", "1", "1.5", "0.001"],
            &["0", "-1", "1.51", "2", ".5", "NaN"],
        ),
        (r#"{"type":"boolean"}"#, &["true", "false"], &["True", "tru", "truefalse", "null"]),
        (r#"{"type":["string","null"]}"#, &["null", "\"\"", "\"ab\""], &["12", "nul"]),
        (
            r#"{"enum":["red","green",3,null]}"#,
            &["\"red\"", "3", "null"],
            &["\"blue\"", "\"re\"", "4", "red"],
        ),
        (
            r#"{"const":{"a":[1,true]}}"#,
            &[r#"{"a":[1,true]}"#, r#"{"a": [1, true]}"#],
            &[r#"{"a":[1]}"#],
        ),
        (
            r#"{"type":"string","minLength":2,"maxLength":3}"#,
            &["\"ab\"", "\"abc\"", "\"éé\"", r#""\n\"""#],
            &["\"a\"", "\"abcd\"", "\"é\"", "\"ab", "ab", "\"a\nb\""],
        ),
        (
            r#"{"type":"string","pattern":"^[a-c]+[0-9]{2}$"}"#,
            &["\"ab12\"", "\"c34\""],
            &["\"ab1\"", "\"12\"", "\"ab123\"", "\"d12\""],
        ),
        (r#"{"type":"string","pattern":"b"}"#, &["\"abc\"", "\"b\""], &["\"ac\"", "\"\""]),
        (
            r#"{"type":"string","format":"date"}"#,
            &["\"2026-07-26\"", "\"1234-12-12\""],
            &["\"2026-13-01\"", "\"12\"", "\"2026-07-26T\""],
        ),
        (
            r#"{"type":"array","items":{"type":"integer"},"minItems":1,"maxItems":3}"#,
            &["[1]", "[12,34, 5]", "[ 1 ]"],
            &["[]", "[1,2,3,4]", "[1,]", "[\"a\"]", "[1"],
        ),
        (
            r#"{"type":"array","prefixItems":[{"type":"boolean"},{"type":"null"}],"items":false}"#,
            &["[]", "[true]", "[true,null]"],
            &["[null]", "[true,null,1]"],
        ),
        (
            r#"{"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"string"},
                "c":{"type":"object","properties":{"d":{"type":"array","items":
                {"type":"boolean"}}},"required":["d"],
                "additionalProperties":false}},"required":["a","c"],"additionalProperties":false}"#,
            &[
                r#"{"a":1,"c":{"d":[]}}"#,
                r#"{"a": 12, "b": "ab", "c": {"d": [true, false]}}"#,
                "{\n  \"a\": 1,\n  \"c\": {\"d\": [true]}\n}",
            ],
            &[
                r#"{"a":1}"#,
                r#"{"a":1,"c":{}}"#,
                r#"{"a":1,"c":{"d":[]},"z":1}"#,
                r#"{"c":{"d":[]},"a":1}"#,
                r#"{"a":1,"a":1,"c":{"d":[]}}"#,
                r#"{"a":1,"c":{"d":[]}}}"#,
            ],
        ),
        (
            r#"{"type":"object","additionalProperties":{"type":"integer"}}"#,
            &["{}", r#"{"x":1,"y":2}"#],
            &[r#"{"x":"1"}"#],
        ),
        (
            r##"{"$ref":"#/$defs/tree","$defs":{"tree":{"type":"object",
                "properties":{"kids":{"type":"array","items":{"$ref":"#/$defs/tree"}}},
                "required":["kids"],"additionalProperties":false}}}"##,
            &[r#"{"kids":[]}"#, r#"{"kids":[{"kids":[{"kids":[]}]}]}"#],
            &[r#"{"kids":[1]}"#, r#"{"kids":[{"kids":[}]}"#],
        ),
        (r#"{"anyOf":[{"type":"integer"},{"const":"ab"}]}"#, &["12", "\"ab\""], &["\"a\"", "1.0"]),
        (
            r#"{"allOf":[{"type":"integer","minimum":10},{"maximum":20}]}"#,
            &["10", "12", "20"],
            &["9", "21"],
        ),
        (
            r#"{"type":"string"}"#,
            &[r#""\u0001\t\\""#, "\"é🙂\""],
            &[r#""\x""#, r#""\u12""#, "\"\u{1}\""],
        ),
        (r#"{"title":"anything","x-order":1}"#, &["1", "{}", "[null]", "\"é\""], &["{", "x"]),
    ];
    for (schema, valid, invalid) in cases {
        check(&env, &Constraint::JsonSchema((*schema).to_owned()), valid, invalid);
    }
}

#[test]
fn regexes_and_grammars_accept_and_refuse() {
    let env = env();
    let regex = |text: &str| Constraint::Regex(text.to_owned());
    check(&env, &regex("[0-9]{2,4}"), &["12", "1234"], &["1", "12345", "a"]);
    check(&env, &regex("^(yes|no)$"), &["yes", "no"], &["yesno", "maybe", ""]);
    check(&env, &regex("a/b\\d*"), &["a/b", "a/b12"], &["a/", "ab"]);
    check(&env, &regex("[é-ü]+"), &["é", "éé"], &["e"]);
    check(&env, &regex("price: \\$12\\$"), &["price: $12$"], &["price: $12"]);
    let sum = Constraint::Lark(
        "start: item (\"+\" item)*\nitem: /[0-9]+/ | \"(\" start \")\"\n".to_owned(),
    );
    check(&env, &sum, &["1", "1+2", "(12+34)+5"], &["+", "1+", "(1", "1)"]);
}

#[test]
fn a_complete_constraint_leaves_the_end_alone() {
    let env = env();
    let mut matcher = Matcher::new(&Constraint::Regex("ab".into()), &env).unwrap();
    assert!(!matcher.is_complete() && !matcher.may_end().unwrap());
    assert!(matches!(matcher.accept(b'x'.into()), Err(GrammarError::NotAllowed { token: 120 })));
    assert!(matches!(matcher.accept(9_999), Err(GrammarError::NotAllowed { .. })));
    matcher.accept(b'a'.into()).unwrap();
    matcher.accept(b'b'.into()).unwrap();
    assert!(matcher.is_complete());
    assert!(matcher.accept(b'b'.into()).is_err());
    matcher.accept(words().len() as u32 - 1).unwrap();
}

#[test]
fn white_space_of_json_is_bounded() {
    let env = env();
    let schema = r#"{"properties":{"a":{"type":"array","items":{"type":"integer"}},
        "b":{}},"required":["a"],"additionalProperties":false}"#;
    check(
        &env,
        &Constraint::JsonSchema(schema.into()),
        &[
            r#"{"a":[1,12],"b":{"c":null}}"#,
            r#"{"a": [1, 12], "b": {"c": null}}"#,
            "{\n  \"a\": [\n    1,\n    12\n  ],\n  \"b\": {\n\t\"c\": null\n  }\n}",
            "{ \"a\" : [ ] }",
        ],
        &[
            "{\"a\":  [1]}",
            "{\"a\":[1 , \n 2]}",
            "{\n\n\"a\":[1]}",
            "{\"a\":\n \n[1]}",
            "{\"a\":\r[1]}",
            &format!("{{\n{}\"a\":[1]}}", " ".repeat(33)),
            "  {\"a\":[1]}",
            "{\"a\":[1]}  ",
        ],
    );
    for any in ["true", "{}"] {
        let any = Constraint::JsonSchema(any.into());
        check(&env, &any, &["[1, {\"a\": \"  \"}]", "12"], &["[1,  2]", "[\n\n1]"]);
    }
}

#[test]
fn keywords_that_cannot_be_honoured_are_named() {
    let env = env();
    for (keyword, value) in [
        ("not", "{}"),
        ("if", "{}"),
        ("uniqueItems", "true"),
        ("contains", "{}"),
        ("propertyNames", "{}"),
        ("dependentRequired", "{}"),
        ("unevaluatedProperties", "false"),
        ("$dynamicRef", "\"#a\""),
        ("nullable", "true"),
        ("discriminator", "{}"),
        ("x-guidance", "{\"lenient\":true}"),
        ("typ", "\"string\""),
    ] {
        for (schema, place) in [
            (format!(r#"{{"{keyword}":{value}}}"#), "the top"),
            (format!(r#"{{"properties":{{"p":{{"{keyword}":{value}}}}}}}"#), "/properties/p"),
            (format!(r#"{{"anyOf":[{{"items":{{"{keyword}":{value}}}}}]}}"#), "/anyOf/0/items"),
            (format!(r#"{{"$defs":{{"d":{{"{keyword}":{value}}}}}}}"#), "/$defs/d"),
        ] {
            match Matcher::new(&Constraint::JsonSchema(schema), &env) {
                Err(GrammarError::Keyword { keyword: named, place: at }) => {
                    assert_eq!((named.as_str(), at.as_str()), (keyword, place));
                }
                other => panic!("{keyword} at {place}: {other:?}"),
            }
        }
    }
    let named = |schema: &str| {
        Matcher::new(&Constraint::JsonSchema(schema.into()), &env).unwrap_err().to_string()
    };
    assert!(named(r#"{"type":"string","format":"password"}"#).contains("format: \"password\""));
    assert!(named(r#"{"type":"string","format":"unknown"}"#).contains("format"));
    assert!(named(r#"{"oneOf":[{"type":"string"},{"minLength":2}]}"#).contains("oneOf"));
    assert!(named(r#"{"type":"string","pattern":"(?=a)b"}"#).contains("cannot be used"));
    assert!(named(r#"{"$ref":"https://example.org/a.json"}"#).contains("cannot be used"));
    assert!(named(r#"{"type":"integer","minimum":1e30}"#).contains("minimum: 1e+30"));
    assert!(named(r#"{"type":"integer","minimum":3,"maximum":2}"#).contains("cannot be used"));
    assert!(matches!(
        Matcher::new(&Constraint::JsonSchema("{".into()), &env),
        Err(GrammarError::Json { .. })
    ));
    let inline = "start: %json {\"type\": \"array\", \"uniqueItems\": true}\n";
    match Matcher::new(&Constraint::Lark(inline.into()), &env) {
        Err(GrammarError::Keyword { keyword, .. }) => assert_eq!(keyword, "uniqueItems"),
        other => panic!("{other:?}"),
    }
    let inline = Constraint::Lark("start: \"a\" %json {\"type\": \"null\"}\n".into());
    check(&env, &inline, &["anull"], &["a", "null"]);
    // A property may have the name of a keyword.
    let property = r#"{"properties":{"not":{"type":"integer"}},"required":["not"],
        "additionalProperties":false}"#;
    check(&env, &Constraint::JsonSchema(property.into()), &[r#"{"not":1}"#], &["{}"]);
}

/// Follows a constraint by its own mask for some steps; it must answer or give up, soon.
fn run(env: &GrammarEnv, constraint: &Constraint) -> Result<(), GrammarError> {
    let start = Instant::now();
    let outcome = (|| {
        let mut matcher = Matcher::new(constraint, env)?;
        let mut random = 7u64;
        for _ in 0..300 {
            let mut logits = vec![0.0; env.vocab_size()];
            matcher.mask(&mut logits)?;
            let open: Vec<usize> = (0..logits.len()).filter(|&i| logits[i] == 0.0).collect();
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            matcher.accept(open[(random >> 33) as usize % open.len()] as u32)?;
            if matcher.is_complete() {
                break;
            }
        }
        Ok(())
    })();
    let seconds = start.elapsed().as_secs_f64();
    assert!(seconds < 20.0, "{seconds:.1} s for {constraint:?}");
    outcome
}

#[test]
fn hostile_constraints_end_soon() {
    let env = env();
    let regex = |text: &str| Constraint::Regex(text.to_owned());
    for text in [
        "(".repeat(6_000),
        ["(".repeat(6_000), "a".into(), ")".repeat(6_000)].concat(),
        "a\\".to_owned(),
        "[".repeat(6_000),
        "x".repeat(1 << 20),
        "(?P<n>a)\\1".to_owned(),
        "a(?=b)".to_owned(),
        "^a|b$x".to_owned(),
    ] {
        let error = run(&env, &regex(&text)).unwrap_err().to_string();
        assert!(error.len() < 600, "{error}");
    }
    for text in [
        "(a{0,3000}){0,3000}",
        "((((a{0,100}){0,100}){0,100}){0,100}){0,100}",
        "a{100000000}",
        "(a|a)*(a|aa)+b",
        "([ab]*a[ab]{400}|[ab]*b[ab]{399})c",
        "(.*.*.*.*.*.*.*.*)*=",
        "(x+x+)+y",
    ] {
        let _ = run(&env, &regex(text));
    }
    for text in [
        "start: start start | \"a\" |\n".to_owned(),
        "start: a\na: b\nb: a\n".to_owned(),
        "start: a\n".to_owned(),
        ["start: ", &"(".repeat(6_000), "\"a\"", &")".repeat(6_000)].concat(),
        ["start: ", &"[".repeat(50_000)].concat(),
        "start: \"a\"{1000000000}".to_owned(),
        "start: %json {\"not\": {}}".to_owned(),
        "x".repeat(1 << 20),
        String::new(),
    ] {
        let _ = run(&env, &Constraint::Lark(text.clone()));
    }
    let nested =
        |open: &str, close: &str, n: usize| [open.repeat(n), "{}".into(), close.repeat(n)].concat();
    for text in [
        nested("{\"items\":", "}", 100),
        nested("{\"items\":", "}", 6_000),
        nested("{\"anyOf\":[", "]}", 60),
        nested("{\"properties\":{\"a\":", "}}", 60),
        r##"{"$ref":"#"}"##.to_owned(),
        r##"{"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}},"$ref":"#/$defs/a"}"##
            .to_owned(),
        r##"{"allOf":[{"$ref":"#"},{"$ref":"#"}]}"##.to_owned(),
        r#"{"type":"string","minLength":1000000000}"#.to_owned(),
        r#"{"type":"string","maxLength":1000000000}"#.to_owned(),
        r#"{"type":"array","minItems":1000000000}"#.to_owned(),
        r#"{"type":"array","maxItems":1000000000,"items":{"type":"integer"}}"#.to_owned(),
        r#"{"type":"integer","multipleOf":1000000007}"#.to_owned(),
        r#"{"type":"number","minimum":1e300,"maximum":1e301}"#.to_owned(),
        format!(
            r#"{{"enum":[{}]}}"#,
            (0..50_000).map(|i| i.to_string()).collect::<Vec<_>>().join(",")
        ),
    ] {
        let _ = run(&env, &Constraint::JsonSchema(text.clone()));
    }
}

#[test]
fn hostile_vocabularies_are_handled() {
    let end = marked(b"<|end|>");
    let mut words = vec![b"a".to_vec(); 100_000];
    words.push(vec![b'b'; 100_000]);
    words.push(end.clone());
    let last = words.len() as u32 - 1;
    let env = GrammarEnv::from_words(words, &[last]).unwrap();
    let mut matcher = Matcher::new(&Constraint::Regex("a+".into()), &env).unwrap();
    let mut logits = vec![0.0; env.vocab_size()];
    matcher.mask(&mut logits).unwrap();
    assert!(logits[0] == 0.0 && logits[1] == 0.0, "equal tokens are equally allowed");
    assert!(logits[100_000] < 0.0 && logits[last as usize] < 0.0);
    assert!(matches!(GrammarEnv::from_words(vec![b"a".to_vec()], &[]), Err(GrammarError::NoEnd)));
    let wide = (0..60_000u32).map(|i| [&i.to_le_bytes()[..], &[b'x'; 90]].concat()).collect();
    assert!(matches!(GrammarEnv::from_words(wide, &[0]), Err(GrammarError::Vocabulary { .. })));
    // Letters alone cannot continue a number.
    let letters = GrammarEnv::from_words(vec![b"a".to_vec(), end], &[1]).unwrap();
    let mut matcher = Matcher::new(&Constraint::Regex("[0-9]".into()), &letters).unwrap();
    assert!(matches!(matcher.mask(&mut [0.0; 2]), Err(GrammarError::Stuck)));
}
