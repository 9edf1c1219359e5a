//! "Did you mean": the nearest word of a list.

/// The candidate nearest to `word`, if one is near enough to be a slip of the hand: at most a third
/// of its letters differ (insert, delete, replace), or one begins with the other.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let distance = distance(&word, &candidate.to_lowercase());
            let prefix = word.len() >= 3 && candidate.to_lowercase().starts_with(&word);
            let near = distance <= word.chars().count().max(candidate.chars().count()) / 3;
            (near || prefix).then_some((distance, candidate))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edit distance of two words by characters; words are cut at 64 to bound the work.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().take(64).enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replace = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_slips_and_nothing_else() {
        let names = ["smollm2:135m", "gemma3:270m"];
        assert_eq!(nearest("smolm2:135m", names), Some("smollm2:135m"));
        assert_eq!(nearest("gemma", names), Some("gemma3:270m"));
        assert_eq!(nearest("mistral:7b", names), None);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }
}
