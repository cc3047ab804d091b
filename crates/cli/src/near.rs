//! Near misses: the known word that a person most likely meant.

/// The least likeness, of 1, at which a suggestion helps more than it confuses.
const ALIKE: f64 = 0.75;

/// Returns up to three known words that are similar to `word`, the most similar first.
pub(crate) fn matches<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut similar = known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .collect::<Vec<_>>();
    similar.sort_by(|a, b| b.0.total_cmp(&a.0));
    similar
        .into_iter()
        .take(3)
        .map(|(_, candidate)| candidate)
        .collect()
}

/// `; did you mean `x` or `y`?`, or nothing.
pub(crate) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    match matches(word, known).as_slice() {
        [] => String::new(),
        near => format!("; did you mean {}?", quoted(near).join(" or ")),
    }
}

/// Each word in backticks.
pub(crate) fn quoted(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| format!("`{word}`")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_what_is_alike_and_nothing_else() {
        let known = ["git.clone", "git.commit", "http.request", "sleep"];
        let check =
            |word: &str, expect: &[&str]| assert_eq!(matches(word, known), expect, "{word}");
        check("git.comit", &["git.commit", "git.clone"]);
        check("slep", &["sleep"]);
        check("kubernetes.apply", &[]);
    }
}
