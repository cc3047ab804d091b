//! Languages of the dashboard: selection, and texts from one embedded file of `key = text` lines
//! each.

use std::collections::HashMap;
use std::sync::LazyLock;

/// A language of the dashboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lang {
    En,
    Zh,
}

type Messages = HashMap<&'static str, &'static str>;

static ENGLISH: LazyLock<Messages> = LazyLock::new(|| parse(include_str!("../../messages/en.txt")));
static CHINESE: LazyLock<Messages> = LazyLock::new(|| parse(include_str!("../../messages/zh.txt")));

impl Lang {
    pub(crate) const ALL: [Self; 2] = [Self::En, Self::Zh];

    /// The value of the `lang` attribute.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Zh => "zh-CN",
        }
    }

    /// The language's name in itself.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::En => "English",
            Self::Zh => "\u{4e2d}\u{6587}",
        }
    }

    /// The language of a tag such as `zh-Hans-CN`.
    pub(crate) fn of_tag(tag: &str) -> Option<Self> {
        match tag.split('-').next()?.trim().to_ascii_lowercase().as_str() {
            "en" => Some(Self::En),
            "zh" => Some(Self::Zh),
            _ => None,
        }
    }

    /// The preferred language of an `Accept-Language` header; English if it names none of ours.
    pub(crate) fn of_header(header: &str) -> Self {
        let weighted = header.split(',').filter_map(|part| {
            let (tag, weight) = part.split_once(";q=").unwrap_or((part, "1"));
            Some((
                Self::of_tag(tag.trim())?,
                weight.trim().parse::<f32>().unwrap_or(0.0),
            ))
        });
        // The first of equal weight; `max_by` would return the last.
        let best = weighted.fold(None, |best: Option<(Self, f32)>, next| match best {
            Some(best) if best.1 >= next.1 => Some(best),
            _ => Some(next),
        });
        best.map_or(Self::En, |(lang, _)| lang)
    }

    fn messages(self) -> &'static Messages {
        match self {
            Self::En => &ENGLISH,
            Self::Zh => &CHINESE,
        }
    }

    /// The text of `key` with its `{name}` placeholders filled. If `count` is 1, the variant
    /// `key.one` is used if there is one.
    pub(crate) fn text(self, key: &str, values: &[(&str, &str)]) -> String {
        let single = values
            .contains(&("count", "1"))
            .then(|| self.messages().get(format!("{key}.one").as_str()));
        let found = single.flatten().or_else(|| self.messages().get(key));
        // A test checks every key against the files. A missing text shows as its key.
        let Some(text) = found else {
            return key.to_owned();
        };
        fill(text, values)
    }

    /// The text of `key`, if there is one.
    pub(crate) fn try_text(self, key: &str, values: &[(&str, &str)]) -> Option<String> {
        self.messages()
            .contains_key(key)
            .then(|| self.text(key, values))
    }

    #[cfg(test)]
    pub(crate) fn has_prefix(self, beginning: &str) -> bool {
        self.messages().keys().any(|key| key.starts_with(beginning))
    }
}

fn fill(text: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let Some((name, after)) = after.split_once('}') else {
            break;
        };
        filled.push_str(
            values
                .iter()
                .find(|(key, _)| *key == name)
                .map_or("", |(_, value)| value),
        );
        rest = after;
    }
    filled.push_str(rest);
    filled
}

fn parse(file: &'static str) -> Messages {
    let lines = file.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once('='))
        .map(|(key, text)| (key.trim(), text.trim()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_browsers_preferred_language_is_used() {
        let check =
            |header: &str, expect: Lang| assert_eq!(Lang::of_header(header), expect, "{header}");
        check("zh-CN,zh;q=0.9,en;q=0.8", Lang::Zh);
        check("en-GB,en;q=0.9,zh;q=0.8", Lang::En);
        check("de, zh-TW;q=0.5, en;q=0.4", Lang::Zh);
        check("de", Lang::En);
        check("", Lang::En);
        check("zh;q=0.3,en;q=0.3", Lang::Zh);
    }

    #[test]
    fn both_languages_have_the_same_keys_and_placeholders() {
        let keys = |lang: Lang| {
            lang.messages()
                .keys()
                .copied()
                .collect::<std::collections::BTreeSet<_>>()
        };
        let en = keys(Lang::En);
        let zh = keys(Lang::Zh);
        assert_eq!(
            en.difference(&zh).collect::<Vec<_>>(),
            Vec::<&&str>::new(),
            "missing in zh.txt"
        );
        assert_eq!(
            zh.difference(&en).collect::<Vec<_>>(),
            Vec::<&&str>::new(),
            "missing in en.txt"
        );
        let placeholders = |text: &str| {
            let mut found = text
                .split('{')
                .skip(1)
                .filter_map(|part| part.split('}').next())
                .collect::<Vec<_>>();
            found.sort_unstable();
            found.join(" ")
        };
        for (key, text) in ENGLISH.iter().filter(|(key, _)| !key.ends_with(".one")) {
            assert_eq!(
                placeholders(text),
                placeholders(CHINESE[key]),
                "the placeholders of {key}"
            );
        }
    }

    #[test]
    fn no_key_is_defined_twice() {
        for file in [
            include_str!("../../messages/en.txt"),
            include_str!("../../messages/zh.txt"),
        ] {
            let mut seen = std::collections::BTreeSet::new();
            for key in file
                .lines()
                .filter(|line| !line.starts_with('#'))
                .filter_map(|line| line.split_once('='))
            {
                assert!(seen.insert(key.0.trim()), "{} is defined twice", key.0);
            }
        }
    }

    #[test]
    fn placeholders_are_filled_and_singulars_are_chosen() {
        assert_eq!(
            fill("a {b} c {d}", &[("b", "1"), ("d", "{e}")]),
            "a 1 c {e}"
        );
        assert_eq!(Lang::En.text("new.steps", &[("count", "1")]), "1 step");
        assert_eq!(Lang::En.text("new.steps", &[("count", "7")]), "7 steps");
    }
}
