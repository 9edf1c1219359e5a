"""Renders chat templates with Python jinja2 the way Hugging Face's `apply_chat_template` does.

Writes testdata/templates/field.json.xz: the templates, the conversations and what jinja2 made of
each pair (text, or null where jinja2 refuses), and the same for the small templates of
template_snippets.txt. The tests of the engine's `template` must reproduce every one.

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
                    "properties": {
                        "wind": {"type": "boolean"},
                        "note": {"type": ["string", "null"]},
                    },
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


ARGS = {
    "location": "Zürich",
    "days": 2,
    "factors": [0.5, 1e-7, 3.0],
    "detail": {"wind": True, "note": None},
}


def tool_chat(calls, content):
    results = [
        {
            "role": "tool",
            "tool_call_id": c["id"],
            "name": c["function"]["name"],
            "content": '{"temp": 21.5}',
        }
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
    parts = [{"type": "text", "text": "Hi "}, {"type": "text", "text": "you"}]
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
        "parts": ([{"role": "user", "content": parts}], None, True),
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


# What the small templates of template_snippets.txt are rendered with, one a line.
FIXTURE = {
    "none": None, "yes": True, "zero": 0, "five": 5, "half": 0.5, "text": "Hello World",
    "nums": [3, 1, 2], "words": ["b", "A", "c", "a"], "empty": [],
    "map": {"b": 1, "a": [1, 2], "items": 9},
    "people": [
        {"n": "Bo", "age": 7, "in": {"x": 1}},
        {"n": "al", "age": 3, "in": {"x": 2}},
        {"n": "Cy", "age": 7},
    ],
    "big": 18446744073709551615, "lines": "one\ntwo\n\n three\n",
    "odd": "it's \"q\"\t\\ é\u200b\U0001f642",
}
SNIPPETS = pathlib.Path(__file__).with_name("template_snippets.txt")


def snippets(env):
    for source in SNIPPETS.read_text(encoding="utf-8").strip("\n").split("\n"):
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
    count = len(record["templates"])
    print(f"{count} templates, {total} renders, {refused} refused, {len(packed)} bytes")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
