//! The words of which places on servers consist: what is accepted stays one component of a path.

/// Longest word, in characters.
const CAP: usize = 128;

/// A word of letters, digits, `.`, `_` and `-` that begins with a letter or digit and has no two
/// dots in a row.
pub(super) fn word(text: &str) -> Option<&str> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let fine = (1..=CAP).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(allowed)
        && !text.contains("..");
    fine.then_some(text)
}

/// A relative path whose components are visible names: none empty, `.` or `..`, no separator of
/// another system, no control character.
pub(super) fn plain_path(text: &str) -> Option<&str> {
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && !part.contains(['\\', ':'])
            && !part.chars().any(char::is_control)
    };
    (text.len() <= 4 * CAP && text.split('/').all(plain)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hostile_words_are_refused() {
        for text in ["", ".", "..", "a/b", "a..b", "-rf", "a b", "a\0", "a\\b", "é", ".a", "%2e"] {
            assert_eq!(word(text), None, "{text:?}");
        }
        for text in ["", "/a", "a//b", "a/../b", "a/./b", "..", "a\\..\\b", "C:/x", "a/\n", "a/.b"]
        {
            assert_eq!(plain_path(text), None, "{text:?}");
        }
        assert!(word("Llama-3.2_1B").is_some() && plain_path("UD-Q4/a b.gguf").is_some());
    }

    proptest! {
        #[test]
        fn a_plain_path_stays_below(text in r"[a./\\:\x00-\x20]{0,12}") {
            if let Some(path) = plain_path(&text) {
                let mut parts = std::path::Path::new(path).components();
                let stays = parts.all(|part| matches!(part, std::path::Component::Normal(_)));
                prop_assert!(stays, "{:?}", path);
            }
        }
    }
}
