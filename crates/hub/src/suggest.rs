//! "Did you mean": the nearest word of a list.

/// The candidate nearest to `word`, if one is near enough to be a slip of the hand: at most a third
/// of its letters differ, or it is the beginning of the candidate.
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

/// Edit distance of two words by characters, where swapping two neighbours counts once; words are
/// cut at 64 to bound the work.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(64).collect();
    let b: Vec<char> = b.chars().take(64).collect();
    // table[i][j]: distance of the first i characters of `a` from the first j of `b`.
    let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            table[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replace = table[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                let swap = if swapped { table[i - 2][j - 2] + 1 } else { usize::MAX };
                replace.min(swap).min(table[i - 1][j] + 1).min(table[i][j - 1] + 1)
            };
        }
    }
    table[a.len()][b.len()]
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
        assert_eq!(distance("stroe", "store"), 1);
    }
}
