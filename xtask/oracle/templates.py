"""Renders chat templates with Python jinja2 the way Hugging Face's `apply_chat_template` does.

Writes testdata/templates/field.json.xz: the templates, the conversations and what jinja2 made of each
pair (text, or null where jinja2 refuses). The Rust test `template_field` must reproduce every one.

    python xtask/oracle/templates.py DIR_WITH_JINJA_FILES testdata/templates/field.json.xz

Needs jinja2 only. The environment below repeats the settings documented for apply_chat_template:
the immutable sandbox, trim_blocks, lstrip_blocks, loop controls, the `generation` tag, a `tojson`
that is plain json.dumps, `raise_exception` and `strftime_now`.
"""

import copy
import datetime
import json
import lzma
import pathlib
import sys

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.sandbox

DATE = datetime.datetime(2026, 7, 26)


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        call = self.call_method("_body")
        return jinja2.nodes.CallBlock(call, [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


def environment():
    env = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(
            x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
        )

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = DATE.strftime
    return env


WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Current weather of a place. Ünïcode & <tags> 'quoted' \"twice\".",
        "parameters": {
            "type": "object",
            "properties": {
                "location": {"type": "string", "description": "City, e.g. Zürich"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
                "days": {"type": "integer", "minimum": 1, "default": 3},
                "factors": {"type": "array", "items": {"type": "number"}, "description": "Weights"},
                "detail": {
                    "type": "object",
                    "properties": {"wind": {"type": "boolean"}, "note": {"type": ["string", "null"]}},
                    "required": ["wind"],
                },
            },
            "required": ["location"],
        },
    },
}
CLOCK = {
    "type": "function",
    "function": {
        "name": "clock",
        "description": "Time of day.",
        "parameters": {"type": "object", "properties": {}},
    },
}
SYSTEM = {"role": "system", "content": "Be brief.\nAnswer in German."}
USER = {"role": "user", "content": "What is 2 < 3 & 'why'?"}
CHAT = [
    USER,
    {"role": "assistant", "content": "Because \"two\" comes first.\n"},
    {"role": "user", "content": "  Danke schön 🙂\n\nNoch etwas?  "},
]


def call(arguments, id="call12345", name="get_weather"):
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


ARGS = {"location": "Zürich", "days": 2, "factors": [0.5, 1e-7, 3.0], "detail": {"wind": True, "note": None}}


def tool_chat(calls, content):
    results = [
        {"role": "tool", "tool_call_id": c["id"], "name": c["function"]["name"], "content": '{"temp": 21.5}'}
        for c in calls
    ]
    return [
        USER,
        {"role": "assistant", "content": content, "tool_calls": calls},
        *results,
        {"role": "assistant", "content": "It is 21.5 °C."},
        {"role": "user", "content": "Thanks"},
    ]


def cases():
    both = [call(ARGS), call({}, "call67890", "clock")]
    tools = [WEATHER, CLOCK]
    thinking = [USER, {"role": "assistant", "content": "<think>\nhm\n</think>\n\nYes.",
                       "reasoning_content": "hm"}, USER]
    table = {
        "chat": (CHAT, None, True),
        "chat_open": (CHAT, None, False),
        "system": ([SYSTEM, *CHAT], None, True),
        "system_open": ([SYSTEM, *CHAT[:2]], None, False),
        "single": ([USER], None, True),
        "thinking": (thinking, None, True),
        "tools": ([SYSTEM, USER], tools, True),
        "tools_nosystem": ([USER], tools, True),
        "tools_empty": ([USER], [], True),
        "call": (tool_chat([call(ARGS)], ""), tools, True),
        "call_open": (tool_chat([call(ARGS)], "")[:3], tools, False),
        "call_null": (tool_chat([call(ARGS)], None), tools, True),
        "call_text": (tool_chat([call(json.dumps(ARGS))], "Let me look."), tools, True),
        "call_two": ([SYSTEM, *tool_chat(both, "")], tools, True),
        "call_without_tools": (tool_chat([call(ARGS)], ""), None, True),
        "parts": ([{"role": "user", "content": [{"type": "text", "text": "Hi "}, {"type": "text", "text": "you"}]}],
                  None, True),
        "empty": ([], None, True),
        "unknown_role": ([{"role": "critic", "content": "x"}], None, True),
    }
    for name, (messages, tools, open_answer) in table.items():
        yield name, {
            "messages": messages,
            "tools": tools,
            "documents": None,
            "add_generation_prompt": open_answer,
            "bos_token": "<s>",
            "eos_token": "</s>",
        }


# Small templates for what the field's templates do not reach. Rendered with `FIXTURE`.
FIXTURE = {
    "none": None, "yes": True, "zero": 0, "five": 5, "half": 0.5, "text": "Hello World",
    "nums": [3, 1, 2], "words": ["b", "A", "c", "a"], "empty": [], "map": {"b": 1, "a": [1, 2], "items": 9},
    "people": [{"n": "Bo", "age": 7, "in": {"x": 1}}, {"n": "al", "age": 3, "in": {"x": 2}}, {"n": "Cy", "age": 7}],
    "big": 18446744073709551615, "lines": "one\ntwo\n\n three\n", "odd": "it's \"q\"\t\\ é\u200b\U0001f642",
}
SNIPPETS = r"""
{{ none }}|{{ yes }}|{{ missing }}|{{ five }}|{{ half }}|{{ nums }}|{{ map }}|{{ [none, yes, half, 'x', "it's"] }}
{{ odd }}|{{ [odd] }}|{{ odd | tojson }}|{{ odd | tojson(ensure_ascii=true) }}
{{ [1.0, 1e16, 1e-5, 0.0001, 123456789.125, 1e22, -0.0, 1.5e300, 100000.0] }}
{{ (1,) }}|{{ (1, 2) }}|{{ () }}|{{ {} }}|{{ {1: 2, 'a': none} }}|{{ map.keys() }}|{{ map.values() }}|{{ range(3) }}
{{ 7 // 2 }}|{{ -7 // 2 }}|{{ 7 % -3 }}|{{ -7 % 3 }}|{{ 7 / 2 }}|{{ 4 / 2 }}|{{ 2 ** 10 }}|{{ 2 ** -1 }}|{{ 7.5 // 2 }}|{{ -7.5 % 2 }}
{{ 1 + true }}|{{ 'a' * 3 }}|{{ 3 * [1] }}|{{ (1,) + (2,) }}|{{ [1] + [2] }}|{{ 'a' ~ 1 ~ none ~ true ~ 1.0 ~ missing }}
{{ 'a' + 1 }}
{{ 1 + none }}
{{ missing + 'a' }}
{{ missing.x }}
{{ missing['x'] }}
{{ none.x is defined }}|{{ none['x'] is defined }}|{{ five.x is defined }}|{{ text.x is defined }}|{{ nums.x is defined }}
{{ five[1:] }}
{{ missing[1:] }}
{{ map[1:] }}
{{ text[0] }}{{ text[-1] }}{{ text[99] }}|{{ nums[0] }}{{ nums[-1] }}{{ nums[9] }}|{{ text[1:4] }}|{{ text[::-1] }}|{{ nums[::-1] }}|{{ nums[5:] }}|{{ nums[:-1] }}|{{ text[-3:] }}|{{ text[::2] }}|{{ nums[2:0:-1] }}
{{ map.items is callable }}|{{ map['items'] }}|{{ map.get('a') }}|{{ map.get('z') }}|{{ map.get('z', 4) }}|{{ map.b }}|{{ map['get'] is callable }}
{{ none == missing }}|{{ missing == other }}|{{ 1 == 1.0 }}|{{ true == 1 }}|{{ 'a' == 1 }}|{{ [1, 2] == [1.0, 2] }}|{{ (1,) == [1] }}|{{ {'a': 1} == {'a': 1.0} }}
{{ 'a' < 'b' }}|{{ [1, 2] < [1, 3] }}|{{ 1 < 1.5 }}|{{ 1 < 2 < 3 }}|{{ 3 > 2 > 2 }}
{{ 'a' < 1 }}
{{ none < 1 }}
{{ missing < 1 }}
{{ 'ell' in text }}|{{ 1 in nums }}|{{ 'a' in map }}|{{ 'a' not in map }}|{{ 'x' in missing }}|{{ missing in nums }}|{{ 9 in range(9) }}
{{ 1 in text }}
{{ 'a' in none }}
{{ 'a' in five }}
{{ [1] in map }}
{{ none is none }}|{{ missing is none }}|{{ yes is boolean }}|{{ yes is integer }}|{{ yes is number }}|{{ half is float }}|{{ five is integer }}|{{ text is string }}
{{ text is iterable }}|{{ map is iterable }}|{{ five is iterable }}|{{ missing is iterable }}|{{ none is iterable }}|{{ nums is sequence }}|{{ map is sequence }}|{{ text is sequence }}|{{ missing is sequence }}|{{ none is sequence }}|{{ map.items() is sequence }}
{{ map is mapping }}|{{ nums is mapping }}|{{ 4 is even }}|{{ 3 is odd }}|{{ 9 is divisibleby(3) }}|{{ 9 is divisibleby 3 }}|{{ 'abc' is lower }}|{{ 'ABc' is upper }}|{{ 1 is true }}|{{ true is true }}|{{ 0 is false }}
{{ 1 is eq 1 }}|{{ 1 is ne 1 }}|{{ 2 is gt 1 }}|{{ 'a' is in ['a'] }}|{{ none is sameas none }}|{{ 'tojson' is filter }}|{{ 1 is not defined }}|{{ 5 is not none and yes }}
{{ missing | length }}|{{ text | length }}|{{ nums | count }}|{{ map | length }}
{{ none | length }}
{{ five | length }}
{{ missing | default('d') }}|{{ none | default('d') }}|{{ none | default('d', true) }}|{{ '' | d('e', boolean=true) }}|{{ missing | default }}
{{ nums | first }}|{{ nums | last }}|{{ empty | first }}|{{ text | first }}|{{ text | list }}|{{ map | list }}
{{ words | join }}|{{ words | join(', ') }}|{{ people | join('-', attribute='n') }}|{{ [1, none, 2.0] | join('+') }}|{{ 'abc' | join('.') }}
{{ none | join }}
{{ '  x ' | trim }}|{{ 'xxaxx' | trim('x') }}|{{ text | upper }}|{{ text | lower }}|{{ 'hELLO wORLD' | capitalize }}|{{ "it's a-b (c) d" | title }}|{{ five | upper }}
{{ text | replace('l', 'L') }}|{{ text | replace('l', 'L', 1) }}|{{ 'aaa' | replace('', '-') }}|{{ 12 | replace(1, 3) }}
{{ five | string }}|{{ none | string }}|{{ nums | string }}|{{ half | string | length }}
{{ nums | tojson }}|{{ map | tojson(indent=2) }}|{{ map | tojson(sort_keys=true) }}|{{ map | tojson(separators=(',', ':')) }}|{{ [] | tojson(indent=2) }}|{{ {} | tojson }}|{{ {'a': []} | tojson(indent=4) }}
{{ (1, 2) | tojson }}|{{ half | tojson }}|{{ none | tojson }}|{{ yes | tojson }}|{{ '</a>&' | tojson }}|{{ {1: 2, none: 3, true: 4, 1.5: 5} | tojson }}|{{ big | tojson }}
{{ map | tojson(2) }}
{{ [1, [2, {'a': 3}]] | tojson(indent=0) }}|{{ [1] | tojson(indent='--') }}
{{ missing | tojson }}
{{ range(2) | tojson }}
{{ nums | map('string') | tojson }}
{{ map | items | list }}|{{ missing | items | list }}
{{ none | items | list }}
{{ map | dictsort }}|{{ {'B': 2, 'a': 1, 'C': 0} | dictsort }}|{{ {'B': 2, 'a': 1, 'C': 0} | dictsort(true) }}|{{ {'B': 2, 'a': 1, 'C': 0} | dictsort(by='value', reverse=true) }}
{{ people | map(attribute='n') | list }}|{{ people | map(attribute='in.x', default=0) | list }}|{{ words | map('upper') | list }}|{{ nums | map('string') | join }}|{{ [[1, 2], [3]] | map('join', '-') | list }}|{{ none | map('upper') | list }}
{{ people | selectattr('age', 'equalto', 7) | map(attribute='n') | list }}|{{ people | rejectattr('in') | map(attribute='n') | list }}|{{ [0, 1, '', 'a', none] | select | list }}|{{ nums | reject('odd') | list }}|{{ nums | select('gt', 1) | list }}
{{ people | selectattr('age', '==', 7) | list | length }}|{{ none | selectattr('x') | list }}|{{ people | selectattr('in', 'defined') | list | length }}
{{ words | sort }}|{{ words | sort(case_sensitive=true) }}|{{ nums | sort(reverse=true) }}|{{ people | sort(attribute='age') | map(attribute='n') | list }}|{{ words | unique | list }}|{{ nums | min }}|{{ nums | max }}|{{ words | max }}|{{ nums | sum }}|{{ people | sum(attribute='age') }}|{{ empty | max }}
{{ [1, 'a'] | sort }}
{{ nums | reverse | list }}|{{ text | reverse }}|{{ nums | batch(2) | list }}|{{ nums | batch(2, 0) | list }}|{{ range(7) | slice(3) | list }}|{{ range(7) | slice(3, 'x') | list }}
{{ lines | indent }}|{{ lines | indent(2, true) }}|{{ lines | indent(2, blank=true) }}|{{ lines | indent('> ') }}|{{ '' | indent(3, true) }}
{{ '42' | int }}|{{ '4.7' | int }}|{{ 'x' | int }}|{{ 'x' | int(-1) }}|{{ 'ff' | int(base=16) }}|{{ 4.9 | int }}|{{ none | int }}|{{ '1.5' | float }}|{{ 'x' | float }}|{{ 3 | float }}
{{ 2.5 | round }}|{{ 3.5 | round }}|{{ 2.675 | round(2) }}|{{ 2.1 | round(method='ceil') }}|{{ 2.19 | round(1, 'floor') }}|{{ 5 | round }}|{{ -3 | abs }}|{{ -2.5 | abs }}
{{ '<a href="x">&\'' | e }}|{{ '<b>' | safe }}|{{ '<b>' | safe + '<c>' }}|{{ '<c>' + '<b>' | safe }}|{{ '<b>' | safe ~ '<c>' }}
{% set s = '<b>' | safe %}{{ s + '&' }}|{{ s ~ '&' }}|{{ s.strip() + '&' if false else 'k' }}
{{ 'a b c d e f g' | truncate(9) }}|{{ 'a b c d e f g' | truncate(8, true) }}|{{ 'abcdefghijkl' | truncate(6, leeway=0) }}|{{ 'one two, three' | wordcount }}|{{ 'ab' | center(6) }}|
{{ '%s=%d (%5.2f) %r %%' | format('a', 3, 1.5, 'q') }}|{{ '%s' % 'x' }}|{{ '%s %s' % (1, none) }}|{{ '%(a)s' % {'a': 1} }}|{{ '%05d|%-5s|%+d|%x' % (42, 'ab', 7, 255) }}
{{ '%s %s' % 'x' }}
{{ '%s' % (1, 2) }}
{{ '%d' % 'x' }}
{{ '{} {}'.format(1, 'a') }}|{{ '{1}{0}'.format('a', 'b') }}|{{ '{x:>5}|{x:<5}|{x:^5}|{x:*^7}'.format(x='ab') }}|{{ '{:.2f} {:5d} {:05d} {:,} {:x}'.format(1.005, 42, 42, 1234567, 255) }}|{{ '{{}}'.format() }}|{{ '{!r}'.format('a') }}
{{ '{}'.format() }}
{{ 'a,b,,c'.split(',') }}|{{ ' a  b '.split() }}|{{ 'a b c'.split(' ', 1) }}|{{ 'a b c'.rsplit(' ', 1) }}|{{ ' a b  c '.split(none, 1) }}|{{ ' a b  c '.rsplit(none, 1) }}|{{ ''.split() }}|{{ ''.split(',') }}|{{ 'a<t>b'.split('<t>')[-1] }}
{{ 'a'.split('') }}
{{ lines.splitlines() }}|{{ lines.splitlines(true) }}|{{ ' x '.strip() }}|{{ 'xyax'.strip('xy') }}|{{ 'xxa'.lstrip('x') }}|{{ 'axx'.rstrip('x') }}|{{ '\n\n a'.lstrip('\n') }}|
{{ text.startswith('He') }}|{{ text.endswith(('x', 'ld')) }}|{{ text.find('o') }}|{{ text.rfind('o') }}|{{ text.find('z') }}|{{ text.index('W') }}|{{ text.count('l') }}|{{ text.replace('o', '0', 1) }}|{{ text.partition(' ') }}|{{ text.rpartition('z') }}|{{ text.removeprefix('He') }}|{{ text.removesuffix('x') }}
{{ text.index('z') }}
{{ 'hello wORLD'.title() }}|{{ 'hELLO'.capitalize() }}|{{ 'aB'.swapcase() }}|{{ 'ab'.center(5, '*') }}|{{ 'ab'.center(6, '*') }}|{{ 'abc'.center(6, '*') }}|{{ 'ab'.ljust(4, '.') }}|{{ 'ab'.rjust(4) }}|{{ '-5'.zfill(4) }}|{{ ','.join(['a', 'b']) }}|{{ '12'.isdigit() }}|{{ 'ab1'.isalnum() }}|{{ ''.isalpha() }}|{{ ' '.isspace() }}|{{ 'AB'.isupper() }}|{{ 'ß'.upper() }}
{{ ','.join([1]) }}
{{ nums.index(2) }}|{{ nums.count(1) }}|{{ map.copy() == map }}
{{ nums.append(4) }}
{{ map.update({'z': 1}) }}
{{ map.pop('b') }}
{{ text.nope() }}
{{ nope() }}
{{ five() }}
{{ text | nope }}
{{ text is nope }}
{% for x in nums %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.cycle('a', 'b') }};{% endfor %}
{% for x in [1, 1, 2, 2] %}{{ loop.changed(x) }}{% endfor %}|{% for x in empty %}x{% else %}none{% endfor %}|{% for x in missing %}x{% else %}none{% endfor %}|{% for k, v in map.items() %}{{ k }}={{ v }},{% endfor %}|{% for k in map %}{{ k }}{% endfor %}|{% for c in 'abc' %}{{ c }}.{% endfor %}
{% for x in none %}{% endfor %}
{% for a, b in [[1, 2, 3]] %}{% endfor %}
{% for x in range(10) if x is even %}{{ loop.length }}{{ x }}{% endfor %}|{% for x in range(10) %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 5 %}{% break %}{% endif %}{{ x }}{% endfor %}|{% for (a, b), c in [((1, 2), 3)] %}{{ a }}{{ b }}{{ c }}{% endfor %}
{% for x in [[1, [2]], [3]] recursive %}{{ loop.depth }}{% if x is iterable %}[{{ loop(x) }}]{% else %}{{ x }}{% endif %}{% endfor %}
{% set x = 1 %}{% for i in nums %}{{ x }}{% set x = x + 1 %}{{ x }};{% endfor %}{{ x }}|{% if true %}{% set x = 9 %}{% endif %}{{ x }}|{% with x = 5, y = 2 %}{{ x }}{{ y }}{% set x = 6 %}{% endwith %}{{ x }}{{ y }}
{% set ns = namespace(a=1, b=[]) %}{% for i in nums %}{% set ns.a = ns.a + i %}{% set ns.b = ns.b + [i] %}{% endfor %}{{ ns.a }}{{ ns.b }}{{ ns.c is defined }}{{ ns['a'] }}|{% set ns.z = 'new' %}{{ ns.z }}
{% set map.x = 1 %}
{% set a, b = 1, 2 %}{{ a }}{{ b }}|{% set (c, d) = [3, 4] %}{{ c }}{{ d }}|{% set e %}in{{ five }}{% endset %}{{ e }}{{ e is string }}|{% set f | upper %}abc{% endset %}{{ f }}|{% filter upper %}x{{ text }}{% endfilter %}
{% macro m(a, b=2, c=none) %}<{{ a }},{{ b }},{{ c }}>{% endmacro %}{{ m(1) }}{{ m(1, 3) }}{{ m(c=4, a=0) }}{{ m() }}|{% set r = m(5) %}{{ r | length }}{{ r is string }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(z=2) }}
{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, z=2) }}
{% macro m(x) %}[{{ x }}{{ caller() }}]{% endmacro %}{% call m(1) %}body{% endcall %}|{% macro n() %}{{ caller(7) }}{% endmacro %}{% call(v) n() %}v={{ v }}{% endcall %}
{% set g = 'out' %}{% macro m() %}{{ g }}{% endmacro %}{% set g = 'late' %}{{ m() }}|{% for g in [1] %}{{ m() }}{% endfor %}|{% macro f(n) %}{% if n > 0 %}{{ n }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}
{% macro m(x) %}{% set x = x + 1 %}{{ x }}{% endmacro %}{{ m(1) }}{{ x is defined }}|{{ m(*[2]) }}|{{ m(**{'x': 3}) }}
{{ 'a' if yes }}|{{ 'a' if zero }}|{{ 'a' if zero else 'b' if none else 'c' }}|{{ yes and 'x' }}|{{ none or 'y' }}|{{ zero and missing.x }}|{{ not none }}|{{ not 1 == 2 }}|{{ (missing or '') ~ 'z' }}|{{ empty or {} }}
{{ -five }}|{{ -five | abs }}|{{ 2 ~ 3 * 4 ~ 1 }}|{{ (2 + 3) * 4 }}|{{ 2 ** 3 ** 2 }}|{{ -2 ** 2 }}|{{ 10 - 4 - 3 }}|{{ 'a' 'b' }}|{{ 1_000 }}|{{ 0x1f }}|{{ 1.5e3 }}
{{ range(5) | list }}|{{ range(2, 8, 3) | list }}|{{ range(5, 0, -2) | list }}|{{ range(5)[1:3] | list }}|{{ range(3)[-1] }}|{{ dict(a=1, b=2) }}|{{ dict({'a': 1}, b=3) }}
{{ range(1000000) }}
{{ strftime_now('%Y-%m-%d %d %b %Y %B %A %a %y %j %H:%M:%S %p %I %%') }}|{{ strftime_now('%d/%m/%y %e %u %w') }}
{{ raise_exception('stop') }}
{% generation %}a{% set q = 1 %}{% endgeneration %}{{ q is defined }}
{#- comment -#} a {%- if true -%} b {%- endif +%} c
{% raw %}{{ x }}{% endraw %}|{{ '{{' }}|{{ "a\n\t\\b\"c\x41\u00e9" }}|{{ 'it\'s' }}
{% if nums %}y{% else %}n{% endif %}{% if map.zz is defined and map.zz %}z{% elif five > 3 %}e{% endif %}|{% if empty %}1{% elif {} %}2{% elif '' %}3{% elif 0.0 %}4{% else %}5{% endif %}
{% set t = nums | map('string') %}{% for x in t %}{{ x }}{% endfor %}{% for x in t %}{{ x }}{% endfor %}|{% set u = nums | select %}{{ u | first }}{{ u | list }}
{{ nums | map('string') | length }}
{{ nums | select | last }}
{% do nums %}
{% include 'x' %}
{% if true %}open
{% for x in nums %}{% endif %}
{{ text | default(none) | default('q') }}|{{ people[0].n }}{{ people[0]['in']['x'] }}{{ people.0.n }}|{{ people[2].nope is defined }}{{ people[2]['in'] is defined }}
{{ map['a'][0] }}|{{ map.a.0 }}|{{ 'x' ~ map.zz }}|{{ [missing] }}|{{ {'k': missing} }}
{{ nums | attr('x') is defined }}|{{ text | attr('upper') is callable }}|{{ ('a', 'b') | list }}|{{ 'abc'[1:] | upper | lower }}|{{ nums is not mapping and text is string }}
{{ big + 1 }}|{{ 10000000000 * 10000000000 }}|{{ 1 / 3 }}|{{ 0.1 + 0.2 }}|{{ 1e3 }}|{{ 3.0 == 3 }}|{{ 5 // 0.3 }}|{{ 1e308 * 10 }}
{{ 1 / 0 }}
{{ 1 % 0 }}
"""


def snippets(env):
    # Every line is one template.
    for source in SNIPPETS.strip("\n").split("\n"):
        try:
            yield source, env.from_string(source).render(**copy.deepcopy(FIXTURE))
        except Exception:
            yield source, None


def main(source, target):
    env = environment()
    inputs = dict(cases())
    record = {"date": DATE.strftime("%Y-%m-%d"), "inputs": inputs, "templates": {}}
    refused = 0
    for path in sorted(pathlib.Path(source).glob("*.jinja")):
        text = path.read_text(encoding="utf-8")
        expected = {}
        for name, variables in inputs.items():
            try:
                expected[name] = env.from_string(text).render(**copy.deepcopy(variables))
            except Exception as error:  # jinja2 and plain Python errors alike refuse the render
                expected[name] = None
                refused += 1
                if not isinstance(error, jinja2.exceptions.TemplateError):
                    print(f"{path.name} {name}: {type(error).__name__}: {error}", file=sys.stderr)
        record["templates"][path.stem] = {"source": text, "expected": expected}
    record["fixture"] = FIXTURE
    record["snippets"] = list(snippets(env))
    packed = lzma.compress(json.dumps(record, ensure_ascii=False).encode(), preset=9)
    pathlib.Path(target).write_bytes(packed)
    total = len(record["templates"]) * len(inputs)
    print(f"{len(record['templates'])} templates, {total} renders, {refused} refused, {len(packed)} bytes")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
