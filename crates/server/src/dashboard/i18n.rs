//! The dashboard's languages: one file of `key = text` lines each, embedded. Which one a reader gets, and the texts.

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

    /// As in `lang="..."`.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Zh => "zh-CN",
        }
    }

    /// Its own name for itself.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::En => "English",
            Self::Zh => "\u{4e2d}\u{6587}",
        }
    }

    /// From a language tag such as `zh-Hans-CN`.
    pub(crate) fn of_tag(tag: &str) -> Option<Self> {
        match tag.split('-').next()?.trim().to_ascii_lowercase().as_str() {
            "en" => Some(Self::En),
            "zh" => Some(Self::Zh),
            _ => None,
        }
    }

    /// The one that an `Accept-Language` header likes best; English when it names none of ours.
    pub(crate) fn of_header(header: &str) -> Self {
        let weighted = header.split(',').filter_map(|part| {
            let (tag, weight) = part.split_once(";q=").unwrap_or((part, "1"));
            Some((
                Self::of_tag(tag.trim())?,
                weight.trim().parse::<f32>().unwrap_or(0.0),
            ))
        });
        // The first of equal weight: `max_by` would give the last.
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

    /// The text of `key`, its `{name}` places filled. A text for one thing (`key.one`) is taken when `count` is 1.
    pub(crate) fn text(self, key: &str, values: &[(&str, &str)]) -> String {
        let single = values
            .contains(&("count", "1"))
            .then(|| self.messages().get(format!("{key}.one").as_str()));
        let found = single.flatten().or_else(|| self.messages().get(key));
        // A test holds every key against the files; what slips through is seen by its name.
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
    fn a_reader_gets_the_language_that_its_browser_likes_best() {
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
    fn both_languages_say_the_same_things() {
        let keys = |lang: Lang| {
            lang.messages()
                .keys()
                .copied()
                .collect::<std::collections::BTreeSet<_>>()
        };
        let (en, zh) = (keys(Lang::En), keys(Lang::Zh));
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
        let places = |text: &str| {
            let mut found = text
                .split('{')
                .skip(1)
                .filter_map(|part| part.split('}').next())
                .collect::<Vec<_>>();
            found.sort_unstable();
            found.join(" ")
        };
        for (key, text) in ENGLISH.iter().filter(|(key, _)| !key.ends_with(".one")) {
            assert_eq!(places(text), places(CHINESE[key]), "the places of {key}");
        }
    }

    #[test]
    fn no_key_is_there_twice() {
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
                assert!(seen.insert(key.0.trim()), "{} is there twice", key.0);
            }
        }
    }

    #[test]
    fn places_are_filled_and_one_is_told_from_many() {
        assert_eq!(
            fill("a {b} c {d}", &[("b", "1"), ("d", "{e}")]),
            "a 1 c {e}"
        );
        assert_eq!(Lang::En.text("new.steps", &[("count", "1")]), "1 step");
        assert_eq!(Lang::En.text("new.steps", &[("count", "7")]), "7 steps");
    }
}
