//! The field's templates against Python jinja2, and hostile templates against the limits.

use std::time::Instant;

use serde_json::{Map, Value as Json};

use super::{ChatTemplate, TemplateError};
use crate::gguf::write::Writer;
use crate::gguf::{Gguf, Value};
use crate::protocol::Message;

/// `testdata/templates/field.json.xz`, written by `xtask/oracle/templates.py`.
fn record() -> Json {
    let packed = include_bytes!("../../../../testdata/templates/field.json.xz");
    let mut plain = Vec::new();
    lzma_rs::xz_decompress(&mut &packed[..], &mut plain).unwrap();
    serde_json::from_slice(&plain).unwrap()
}

fn variables(json: &Json) -> &Map<String, Json> {
    json.as_object().unwrap()
}

fn render(source: &str) -> Result<String, TemplateError> {
    ChatTemplate::new(source, "<s>", "</s>")?.render_variables(&Map::new(), "2026-07-26")
}

/// Every template of the field renders every conversation as jinja2 does: the same text, or an
/// error where jinja2 errs too.
#[test]
fn field_templates_equal_jinja2() {
    let record = record();
    let date = record["date"].as_str().unwrap();
    let (mut renders, mut differences) = (0, Vec::new());
    for (name, template) in variables(&record["templates"]) {
        let checked = ChatTemplate::new(template["source"].as_str().unwrap(), "<s>", "</s>");
        for (case, expected) in variables(&template["expected"]) {
            renders += 1;
            let ours = match &checked {
                Ok(checked) => checked
                    .render_variables(variables(&record["inputs"][case]), date)
                    .map_err(|e| e.to_string()),
                Err(e) => Err(e.to_string()),
            };
            match (expected.as_str(), ours) {
                (Some(expected), Ok(ours)) if expected == ours => {}
                (None, Err(_)) => {}
                (Some(_), Err(e)) => differences.push(format!("{name} {case}: error: {e}")),
                (Some(expected), Ok(ours)) => {
                    let at = expected.bytes().zip(ours.bytes()).take_while(|(a, b)| a == b).count();
                    let from = |s: &str| {
                        s.bytes().skip(at.saturating_sub(30)).take(90).collect::<Vec<_>>()
                    };
                    let show = |s: &str| String::from_utf8_lossy(&from(s)).into_owned();
                    differences.push(format!(
                        "{name} {case}: {:?} instead of {:?}",
                        show(&ours),
                        show(expected)
                    ));
                }
                (None, Ok(_)) => differences.push(format!("{name} {case}: text where jinja2 errs")),
            }
        }
    }
    assert!(renders >= 1260, "only {renders} renders");
    assert!(
        differences.is_empty(),
        "{} of {renders} differ:\n{}",
        differences.len(),
        differences.join("\n")
    );
}

/// What the field's templates do not reach of the language: operators, filters, methods, scopes.
#[test]
fn snippets_equal_jinja2() {
    let record = record();
    let snippets = record["snippets"].as_array().unwrap();
    let mut differences = Vec::new();
    for snippet in snippets {
        let source = snippet[0].as_str().unwrap();
        let ours = ChatTemplate::new(source, "", "").and_then(|template| {
            template.render_variables(variables(&record["fixture"]), "2026-07-26")
        });
        match (snippet[1].as_str(), ours) {
            (Some(expected), Ok(ours)) if expected == ours => {}
            (None, Err(_)) => {}
            (expected, ours) => {
                let ours = ours.unwrap_or_else(|e| format!("ERROR {e}"));
                differences.push(format!("{source}\n  {ours:?}\n  {expected:?}"));
            }
        }
    }
    assert!(snippets.len() > 100);
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}

/// A hostile template ends with an error, soon.
#[track_caller]
fn stops(source: &str) -> TemplateError {
    let start = Instant::now();
    let error = render(source).map(|text| text.len()).unwrap_err();
    let seconds = start.elapsed().as_secs_f64();
    assert!(seconds < 3.0, "{seconds:.1} s: {error}");
    error
}

#[test]
fn t8_nesting_is_bounded() {
    let deep = |open: &str, close: &str, n: usize| {
        format!("{{{{ {}1{} }}}}", open.repeat(n), close.repeat(n))
    };
    for (open, close) in
        [("(", ")"), ("[", "]"), ("{1:", "}"), ("not ", ""), ("-", ""), ("a[", "]"), ("f(", ")")]
    {
        for n in [900, 6_000] {
            let error = stops(&deep(open, close, n));
            assert!(
                matches!(error, TemplateError::Syntax { .. } | TemplateError::Limit { .. }),
                "{open}: {error}"
            );
        }
    }
    for link in ["~1", "+1", " and 1", "|d", ".a", "[0]", " is defined", " if 1 else 1", "()"] {
        let error = stops(&format!("{{{{ 1{} }}}}", link.repeat(6_000)));
        assert!(matches!(error, TemplateError::Syntax { .. }), "{link}: {error}");
        let chain = format!("{{{{ 1{} }}}}", link.repeat(250));
        let _ = render(&chain);
    }
    stops(&format!("{{% set {}x = 1 %}}", "(".repeat(6_000)));
    stops(&["{% if 1 %}".repeat(6_000), "{% endif %}".repeat(6_000)].concat());
    stops(
        &["{% for x in [1] %}".repeat(60), "{{ 1/0 }}".into(), "{% endfor %}".repeat(60)].concat(),
    );
    stops(&["{% if 0 %}", &"{% elif 0 %}".repeat(6_000), "{% endif %}"].concat());
    stops("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}");
    stops("{% macro m(n) %}{% if n %}{{ m(n) ~ '' }}{% endif %}{% endmacro %}{{ m(1) }}");
    stops("{% for x in [[1]] recursive %}{{ loop([x]) }}{% endfor %}");
    stops(
        "{% set n = namespace(x=[]) %}{% for i in range(90000) %}{% set n.x = [n.x] %}{% endfor %}",
    );
    stops(
        "{% set n = namespace(x=0) %}{% for i in range(999) %}{% set n.x = {1: n.x} %}{% endfor %}",
    );
}

#[test]
fn t8_time_and_memory_are_bounded() {
    const LOOP: &str = "{% for i in range(100000) %}{% for j in range(100000) %}";
    const END: &str = "{% endfor %}{% endfor %}";
    let looped =
        |body: &str| format!("{{% set n = namespace(x='ab', l=[1], d={{}}) %}}{LOOP}{body}{END}");
    let endless = [
        "",
        "x",
        "{% set n.x = n.x ~ n.x %}",
        "{% set n.x = n.x + n.x %}",
        "{% set n.x = n.x * 2 %}",
        "{% set n.l = n.l + n.l %}",
        "{% set n.l = n.l * 2 %}",
        "{% set n.l = [n.l, n.l] %}{% if i > 60 %}{{ n.l }}{% endif %}",
        "{% set n.l = [n.l, n.l] %}{% if j > 60 %}{{ n.l }}{% endif %}",
        "{% set n.l = [n.l, n.l] %}{% if j > 60 %}{{ n.l|tojson }}{% endif %}",
        "{% set n.l = [n.l, n.l] %}{% if j > 60 %}{{ n.l == n.l + [] }}{% endif %}",
        "{% set n.x %}{{ n.x }}{{ n.x }}{% endset %}",
        "{% set n.x = n.x|replace('a', n.x) %}",
        "{% set n.x = n.x.replace('', n.x) %}",
        "{% set n.x = n.x.join([n.x, n.x, n.x]) %}",
        "{% set n.x = [n.x, n.x, n.x]|join(n.x) %}",
        "{% set n.x = '%s%s' % (n.x, n.x) %}",
        "{% set n.x = '{0}{0}'.format(n.x) %}",
        "{% set n.x = n.x|tojson|tojson %}",
        "{% set n.x = n.x|e|indent(1000, true, true) %}",
        "{% set n.x = n.x.center(90000) %}{% set n.l = n.l + [n.x] %}",
        "{% set n.l = n.x|list %}{% set n.x = n.x ~ n.l %}",
        "{% set t = 'abcdefgh' * 100000 %}{% set u = t[::-1] %}",
        "{% set t = ('a' * 1000000)[5] %}",
        "{% set t = 'zz' in 'a' * 1000000 %}",
        "{{ range(100000)|sort|length }}",
        "{{ range(100000)|list|unique|list|length }}",
        "{% set m %}{{ n }}{% endset %}",
    ];
    for body in endless {
        stops(&looped(body));
    }
    for single in [
        "{{ 'a' * 1000000000000 }}",
        "{{ 1000000000000 * [1] }}",
        "{{ range(1000000000000) }}",
        "{{ 'x'.ljust(100000000000) }}",
        "{{ '{:100000000000}'.format(1) }}",
        "{{ '%100000000000d' % 1 }}",
        "{{ 'x'|indent(width=100000000000) ~ (2 ** 1000) }}",
        "{{ range(100000)|join('x' * 100000) }}",
        "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}",
    ] {
        stops(single);
    }
    assert!(matches!(
        ChatTemplate::new(&"x".repeat(1 << 20), "", ""),
        Err(TemplateError::TooLong { .. })
    ));
    assert!(matches!(stops(&looped("x")), TemplateError::Limit { .. }));
    assert!(
        matches!(render("{{ raise_exception('no') }}"), Err(TemplateError::Refused(m)) if m == "no")
    );
}

/// A file of metadata alone.
fn file(keys: &[(&str, &str)], tokens: &[&str]) -> Gguf {
    let mut writer = Writer::new();
    writer.set("general.architecture", "llama");
    writer.set("tokenizer.ggml.tokens", Value::strings(tokens));
    writer.set("tokenizer.ggml.bos_token_id", 0u32);
    writer.set("tokenizer.ggml.eos_token_id", 1u32);
    for (key, text) in keys {
        writer.set(key, *text);
    }
    Gguf::from_vec(writer.to_vec(&[]).unwrap()).unwrap()
}

fn ask(template: &ChatTemplate, tools: &str) -> Result<String, TemplateError> {
    let messages = [Message::new("system", "Be brief."), Message::new("user", "Hi ")];
    template.render(&messages, tools, "2026-07-26", true)
}

#[test]
fn templates_come_from_the_file() {
    let keys = [
        ("tokenizer.chat_template", "{{ bos_token }}{{ messages[-1].content }}{{ eos_token }}"),
        ("tokenizer.chat_template.tool_use", "{{ tools[0].name }}"),
    ];
    let template = ChatTemplate::from_gguf(&file(&keys, &["<s>", "</s>"])).unwrap().unwrap();
    assert_eq!(ask(&template, "").unwrap(), "<s>Hi </s>");
    assert_eq!(ask(&template, "[]").unwrap(), "<s>Hi </s>");
    assert_eq!(ask(&template, r#"[{"name": "clock"}]"#).unwrap(), "clock");
    assert!(matches!(ask(&template, "[{"), Err(TemplateError::Input { .. })));
    assert_eq!(template.family(), None);
    let plain = ChatTemplate::new("abc", "", "").unwrap();
    assert_eq!(plain.sha256(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

#[test]
fn a_message_carries_its_tool_calls() {
    let source = "{% for m in messages %}{{ m.role }}:\
        {{ m.tool_calls | default([]) | map(attribute='id') | join }}\
        {{ m.tool_call_id }}{{ m.name }};{% endfor %}";
    let template = ChatTemplate::new(source, "", "").unwrap();
    let call = Message {
        tool_calls_json: Some(r#"[{"id": "c1"}]"#.into()),
        ..Message::new("assistant", "")
    };
    let result = Message {
        tool_call_id: Some("c1".into()),
        name: Some("clock".into()),
        ..Message::new("tool", "12:00")
    };
    let text = template.render(&[call, result], "", "2026-07-26", false).unwrap();
    assert_eq!(text, "assistant:c1;tool:c1clock;");
}

/// A fallback needs the word in the name and the turn tokens in the vocabulary.
#[test]
fn fallbacks_need_an_instruct_marker() {
    let chatml = ["<s>", "</s>", "<|im_start|>", "<|im_end|>"];
    let named = |name: &str, tokens: &[&str]| {
        ChatTemplate::from_gguf(&file(&[("general.name", name)], tokens)).unwrap()
    };
    assert!(named("Some Model 7B", &chatml).is_none());
    assert!(named("Some Model 7B Base It", &chatml).is_none());
    assert!(named("Some Model 7B Instruct", &["<s>", "</s>"]).is_none());
    let expected = [
        (
            &chatml[..],
            "chatml",
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi <|im_end|>\n\
             <|im_start|>assistant\n",
        ),
        (
            &["<s>", "</s>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
            "llama3",
            "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>\
             <|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>\
             <|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
        (
            &["<s>", "</s>", "<start_of_turn>", "<end_of_turn>"],
            "gemma",
            "<s><start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n<start_of_turn>model\n",
        ),
        (
            &["<s>", "</s>", "<|user|>", "<|assistant|>", "<|end|>"],
            "phi3",
            "<|system|>\nBe brief.<|end|>\n<|user|>\nHi <|end|>\n<|assistant|>\n",
        ),
        (&["<s>", "</s>", "[INST]", "[/INST]"], "mistral", "<s>[INST] Be brief.\n\nHi [/INST]"),
    ];
    for (tokens, family, text) in expected {
        let template = named("Model-It", tokens).unwrap();
        assert_eq!(template.family(), Some(family));
        assert_eq!(ask(&template, "").unwrap(), text);
        assert!(matches!(ask(&template, "[{}]"), Err(TemplateError::Refused(_))));
    }
}
