//! The field's templates against Python jinja2, and hostile templates against the limits.

use std::time::Instant;

use serde_json::{Map, Value as Json};

use super::{ChatTemplate, TemplateError};

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

/// Every template of the field renders every conversation as jinja2 does: the same text, or an error
/// where jinja2 errs too.
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
                Ok(checked) => checked.render_variables(variables(&record["inputs"][case]), date).map_err(|e| e.to_string()),
                Err(e) => Err(e.to_string()),
            };
            match (expected.as_str(), ours) {
                (Some(expected), Ok(ours)) if expected == ours => {}
                (None, Err(_)) => {}
                (Some(_), Err(e)) => differences.push(format!("{name} {case}: error: {e}")),
                (Some(expected), Ok(ours)) => {
                    let at = expected.bytes().zip(ours.bytes()).take_while(|(a, b)| a == b).count();
                    let from = |s: &str| s.bytes().skip(at.saturating_sub(30)).take(90).collect::<Vec<_>>();
                    let show = |s: &str| String::from_utf8_lossy(&from(s)).into_owned();
                    differences.push(format!("{name} {case}: {:?} instead of {:?}", show(&ours), show(expected)));
                }
                (None, Ok(_)) => differences.push(format!("{name} {case}: text where jinja2 errs")),
            }
        }
    }
    assert!(renders >= 1260, "only {renders} renders");
    assert!(differences.is_empty(), "{} of {renders} differ:\n{}", differences.len(), differences.join("\n"));
}

/// What the field's templates do not reach of the language: operators, filters, methods, scopes.
#[test]
fn snippets_equal_jinja2() {
    let record = record();
    let snippets = record["snippets"].as_array().unwrap();
    let mut differences = Vec::new();
    for snippet in snippets {
        let source = snippet[0].as_str().unwrap();
        let ours = ChatTemplate::new(source, "", "")
            .and_then(|template| template.render_variables(variables(&record["fixture"]), "2026-07-26"));
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
fn nesting_is_bounded() {
    let deep = |open: &str, close: &str, n: usize| format!("{{{{ {}1{} }}}}", open.repeat(n), close.repeat(n));
    for (open, close) in [("(", ")"), ("[", "]"), ("{1:", "}"), ("not ", ""), ("-", ""), ("a[", "]"), ("f(", ")")] {
        for n in [900, 6_000] {
            let error = stops(&deep(open, close, n));
            assert!(matches!(error, TemplateError::Syntax { .. } | TemplateError::Limit { .. }), "{open}: {error}");
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
    stops(&["{% for x in [1] %}".repeat(60), "{{ 1/0 }}".into(), "{% endfor %}".repeat(60)].concat());
    stops(&["{% if 0 %}", &"{% elif 0 %}".repeat(6_000), "{% endif %}"].concat());
    stops("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}");
    stops("{% macro m(n) %}{% if n %}{% for i in [1] %}{{ m(n) ~ '' }}{% endfor %}{% endif %}{% endmacro %}{{ m(1) }}");
    stops("{% for x in [[1]] recursive %}{{ loop([x]) }}{% endfor %}");
    stops("{% set n = namespace(x=[]) %}{% for i in range(100000) %}{% set n.x = [n.x] %}{% endfor %}");
    stops("{% set n = namespace(x={}) %}{% for i in range(100000) %}{% set n.x = {'a': n.x} %}{% endfor %}");
}

#[test]
fn time_and_memory_are_bounded() {
    const LOOP: &str = "{% for i in range(100000) %}{% for j in range(100000) %}";
    const END: &str = "{% endfor %}{% endfor %}";
    let looped = |body: &str| format!("{{% set n = namespace(x='ab', l=[1], d={{}}) %}}{LOOP}{body}{END}");
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
        "{% macro a() %}{{ b() }}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}",
    ] {
        stops(single);
    }
    assert!(matches!(ChatTemplate::new(&"x".repeat(1 << 20), "", ""), Err(TemplateError::TooLong { .. })));
    assert!(matches!(stops(&looped("x")), TemplateError::Limit { .. }));
    assert!(matches!(render("{{ raise_exception('no') }}"), Err(TemplateError::Refused(m)) if m == "no"));
}
