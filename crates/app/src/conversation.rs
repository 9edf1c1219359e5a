//! What has been said, as the next prompt needs it: turns that alternate, and their summary when
//! they fill the context.

use hearth_engine::protocol::{Message, Prompt};

use crate::generation::SUMMARY_TOKENS;

const SUMMARISE: &str = "Summarise our conversation so far in a few sentences. Keep names, \
    numbers, decisions and open questions.";

/// What has been said, as the next prompt needs it.
pub(crate) struct Conversation {
    system: Option<Message>,
    messages: Vec<Message>,
    raw: bool,
    /// Tokens in the context after the last answer, and its limit.
    context: (u64, u64),
    changed: bool,
}

impl Conversation {
    /// An empty conversation; `raw` sends each text alone and without a template.
    pub(crate) fn new(system: Option<String>, raw: bool) -> Self {
        Self {
            system: system.map(|text| Message::new("system", &text)),
            messages: Vec::new(),
            raw,
            context: (0, 0),
            changed: false,
        }
    }

    /// Whether nothing was said yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Forgets what was said.
    pub(crate) fn clear(&mut self) {
        self.messages.clear();
        self.changed = true;
    }

    /// Whether something was said or forgotten since this was last asked.
    pub(crate) fn take_change(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Goes on from what was said in an earlier run, its system message first if it had one. That
    /// of this run takes its place; tells whether it is another.
    pub(crate) fn resume(&mut self, mut messages: Vec<Message>) -> bool {
        let has_system = messages.first().is_some_and(|message| message.role == "system");
        let kept = has_system.then(|| messages.remove(0));
        self.messages = messages;
        let another = self.system.is_some() && self.system != kept;
        self.system = self.system.take().or(kept);
        another
    }

    /// Questions of the user, with their answers.
    pub(crate) fn turns(&self) -> usize {
        self.messages.iter().filter(|message| message.role == "user").count()
    }

    /// Everything that was said, the system message first.
    pub(crate) fn messages(&self) -> impl Iterator<Item = &Message> {
        self.system.iter().chain(&self.messages)
    }

    /// What the prompt to come begins with.
    pub(crate) fn prompt_so_far(&self) -> Prompt {
        let messages = self.messages().cloned().collect();
        Prompt::Chat { messages, tools_json: String::new() }
    }

    /// The prompt that ends with this text of the user.
    pub(crate) fn prompt(&self, text: &str) -> Prompt {
        if self.raw {
            return Prompt::Raw(text.to_owned());
        }
        self.chat(&self.messages, text)
    }

    fn chat(&self, before: &[Message], text: &str) -> Prompt {
        let mut messages: Vec<Message> = self.system.iter().chain(before).cloned().collect();
        messages.push(Message::new("user", text));
        Prompt::Chat { messages, tools_json: String::new() }
    }

    /// The prompt that asks for a summary, and whether all of the conversation is in it. Where
    /// it would leave too little room for the summary, its newest part is.
    pub(crate) fn summary_prompt(&self) -> (Prompt, bool) {
        let size =
            |turns: &[Message]| turns.iter().map(|turn| turn.content.len() as u64).sum::<u64>();
        let (used, limit) = self.context;
        // A token has at least one byte, so the question has at most this many.
        let needed = (SUMMARY_TOKENS + SUMMARISE.len()) as u64;
        let room = limit.saturating_sub(needed.min(limit / 2));
        if used <= room {
            return (self.prompt(SUMMARISE), true);
        }
        // Bytes stand for tokens here, at the rate of the whole conversation.
        let most = size(&self.messages).saturating_mul(room) / used;
        let mut turns = &self.messages[..];
        // A question leaves with its answer: roles still alternate.
        while let Some(rest) = turns.get(2..).filter(|rest| !rest.is_empty() && size(turns) > most)
        {
            turns = rest;
        }
        let mut turns = turns.to_vec();
        let share = usize::try_from(most / 2).unwrap_or(usize::MAX);
        if size(&turns) > most {
            for turn in &mut turns {
                turn.content = ending(&turn.content, share).to_owned();
            }
        }
        (self.chat(&turns, SUMMARISE), false)
    }

    /// Takes up what was said, which left the context so full.
    pub(crate) fn add(&mut self, text: String, answer: String, context: (u64, u64)) {
        (self.context, self.changed) = (context, true);
        if !self.raw {
            let turns = [Message::new("user", &text), Message::new("assistant", &answer)];
            self.messages.extend(turns);
        }
    }

    /// The summary takes the place of everything before it; roles still alternate, as many
    /// templates demand.
    pub(crate) fn replace_by(&mut self, summary: String, tokens: u64) {
        self.messages.clear();
        let context = (tokens, self.context.1);
        self.add("What have we talked about so far?".to_owned(), summary, context);
    }
}

/// The end of a text, of at most so many bytes.
fn ending(text: &str, most: usize) -> &str {
    let from = text.len().saturating_sub(most);
    let whole = (from..text.len()).find_map(|start| text.get(start..));
    whole.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_alternates_also_after_a_summary() {
        let mut conversation = Conversation::new(Some("be brief".into()), false);
        conversation.add("hi".into(), "hello".into(), (9, 99));
        conversation.replace_by("they greeted".into(), 3);
        let Prompt::Chat { messages, .. } = conversation.prompt("and now?") else { panic!("chat") };
        let roles: Vec<&str> = messages.iter().map(|m| m.role.as_str()).collect();
        assert_eq!(roles, ["system", "user", "assistant", "user"]);
        assert_eq!(messages[2].content, "they greeted");
        assert_eq!(messages[3].content, "and now?");
    }

    #[test]
    fn a_full_conversation_leaves_room_for_its_summary() {
        let sent = |used| {
            let mut conversation = Conversation::new(Some("be brief".into()), false);
            for turn in 1..=4 {
                let text = turn.to_string().repeat(100);
                conversation.add(text.clone(), text, (used, 1000));
            }
            let (prompt, whole) = conversation.summary_prompt();
            let Prompt::Chat { messages, .. } = prompt else { panic!("chat") };
            let sizes: Vec<usize> = messages.iter().map(|m| m.content.len()).collect();
            assert_eq!((sizes[0], messages[1].role.as_str()), (8, "user"));
            (whole, sizes[1..sizes.len() - 1].to_vec())
        };
        assert_eq!(sent(500), (true, vec![100; 8]));
        assert_eq!(sent(1000), (false, vec![100; 4]));
        assert_eq!(sent(8000), (false, vec![25; 2]));
        assert_eq!(ending("aéb", 2), "b");
        assert_eq!(ending("aéb", 9), "aéb");
    }

    #[test]
    fn what_was_kept_goes_on_under_the_system_message_of_the_day() {
        let kept = |system: &str| {
            let mut conversation = Conversation::new(None, false);
            if !system.is_empty() {
                conversation.system = Some(Message::new("system", system));
            }
            conversation.add("hi".into(), "hello".into(), (9, 99));
            conversation.messages().cloned().collect::<Vec<_>>()
        };
        for (old, new, another, stays) in [
            ("", "", false, ""),
            ("be brief", "", false, "be brief"),
            ("be brief", "be brief", false, "be brief"),
            ("be brief", "be kind", true, "be kind"),
            ("", "be kind", true, "be kind"),
        ] {
            let new = (!new.is_empty()).then(|| new.to_owned());
            let mut conversation = Conversation::new(new, false);
            assert_eq!(conversation.resume(kept(old)), another, "{old}");
            assert_eq!(conversation.messages().cloned().collect::<Vec<_>>(), kept(stays));
            assert_eq!(conversation.turns(), 1);
        }
    }

    #[test]
    fn raw_lines_stand_alone() {
        let mut conversation = Conversation::new(None, true);
        conversation.add("a".into(), "b".into(), (9, 99));
        assert!(matches!(conversation.prompt("c"), Prompt::Raw(text) if text == "c"));
    }
}
