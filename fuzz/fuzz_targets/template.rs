//! Any text as a chat template, over any messages: an answer or an error, within the limits of time
//! and memory that the runner sets.
//!
//! The input is fields separated by byte 0x1e: the template, the tools, then role and content of
//! each message. Content that begins with `[` is a list of tool calls too.
#![no_main]

use hearth_engine::protocol::Message;
use hearth_engine::template::ChatTemplate;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let mut fields = text.split('\x1e');
    let source = fields.next().unwrap_or_default();
    let tools = fields.next().unwrap_or_default();
    let mut messages = Vec::new();
    while let Some(role) = fields.next() {
        let content = fields.next().unwrap_or_default();
        let calls = content.starts_with('[').then(|| content.to_owned());
        messages.push(Message { tool_calls_json: calls, ..Message::new(role, content) });
    }
    let Ok(template) = ChatTemplate::new(source, "<s>", "</s>") else { return };
    assert_eq!(template.source(), source);
    let first = template.render(&messages, tools, "2026-11-21", true).ok();
    assert_eq!(first, template.render(&messages, tools, "2026-11-21", true).ok());
});
