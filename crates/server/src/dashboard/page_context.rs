//! Per-request page context: actor, language, time zone, theme, and the flash message.

use axum::extract::FromRequestParts;
use axum::http::header::{ACCEPT_LANGUAGE, CACHE_CONTROL, COOKIE, LOCATION, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use minijinja::Value;
use serde::Serialize;
use surefoot::{ListOwner, NotPermitted, Refused, Timestamp};

use super::i18n::Lang;
use super::render::{render, safe};
use super::text::{Moment, Zone, url};
use crate::auth::{Actor, CSRF_FIELD, Refusal, Role};
use crate::http::Problem;
use crate::state::App;

/// The reader's preferences, from cookies or else from the browser's headers.
#[derive(Clone, Debug)]
pub(crate) struct Preferences {
    pub(crate) lang: Lang,
    zone: Zone,
    theme: Option<&'static str>,
}

/// The context of a page request.
#[derive(Clone, Debug)]
pub(crate) struct PageContext {
    pub(crate) actor: Actor,
    pub(crate) preferences: Preferences,
    pub(crate) now: Timestamp,
    app: App,
    /// The page's own path and query.
    here: String,
    flash: Option<(String, String)>,
}

pub(crate) const LANG: &str = "surefoot_lang";
pub(crate) const THEME: &str = "surefoot_theme";
const ZONE: &str = "surefoot_zone";
const FLASH: &str = "surefoot_flash";
const YEAR: u32 = 365 * 86_400;

/// The pages in the navigation, with the lowest role that sees each.
const NAV: &[(&str, &str, Role)] = &[
    ("overview", "/", Role::Viewer),
    ("runs", "/runs", Role::Viewer),
    ("projects", "/projects", Role::Viewer),
    ("queues", "/queues", Role::Viewer),
    ("workers", "/workers", Role::Viewer),
    ("alerts", "/alerts", Role::Viewer),
    ("audit", "/audit", Role::Admin),
    ("settings", "/settings", Role::Viewer),
];

/// The layout around every page.
#[derive(Serialize)]
struct Layout {
    lang: &'static str,
    theme: Option<&'static str>,
    zone: i32,
    zone_name: String,
    clock: String,
    now: i64,
    here: String,
    hidden: Value,
    nav: Vec<NavItem>,
    themes: Vec<Switch>,
    languages: Vec<Switch>,
    user: String,
    role: &'static str,
    can_sign_out: bool,
    may_operate: bool,
    may_administer: bool,
    flash: Option<Flash>,
    live: Option<String>,
    without_script: Option<u32>,
}

#[derive(Serialize)]
struct NavItem {
    href: &'static str,
    icon: &'static str,
    title: String,
    here: bool,
    count: usize,
}

#[derive(Serialize)]
struct Switch {
    value: &'static str,
    title: String,
    on: bool,
}

#[derive(Serialize)]
struct Flash {
    tone: String,
    icon: String,
    text: String,
}

#[derive(Serialize)]
struct FullPage<V> {
    #[serde(flatten)]
    layout: Layout,
    #[serde(flatten)]
    view: V,
}

/// The ways a page is kept up to date.
#[derive(Clone, Debug, Default)]
pub(crate) struct Live {
    /// The event stream that signals when to refresh.
    pub(crate) events: Option<String>,
    /// Reload interval without scripts, in seconds.
    pub(crate) without_script: Option<u32>,
}

impl Live {
    /// Refresh on any change.
    pub(crate) fn any() -> Self {
        Self {
            events: Some("/live".to_owned()),
            without_script: None,
        }
    }
}

impl Preferences {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let header = || {
            headers
                .get(ACCEPT_LANGUAGE)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
        };
        Self {
            lang: cookie(headers, LANG)
                .and_then(Lang::of_tag)
                .unwrap_or_else(|| Lang::of_header(header())),
            zone: cookie(headers, ZONE)
                .and_then(Zone::parse)
                .unwrap_or_default(),
            theme: cookie(headers, THEME)
                .and_then(|theme| ["light", "dark"].into_iter().find(|known| *known == theme)),
        }
    }

    pub(crate) fn theme(&self) -> Option<&'static str> {
        self.theme
    }
}

impl FromRequestParts<App> for PageContext {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        let actor = Actor::from_request_parts(parts, app).await?;
        let here = parts
            .uri
            .path_and_query()
            .map_or("/", |path| path.as_str())
            .to_owned();
        let flash = cookie(&parts.headers, FLASH).and_then(|text| {
            let (tone, text) = text.split_once('.')?;
            Some((tone.to_owned(), unescape(text)?))
        });
        Ok(Self {
            actor,
            preferences: Preferences::of(&parts.headers),
            now: app.store().now(),
            app: app.clone(),
            here,
            flash,
        })
    }
}

impl PageContext {
    /// A text in the reader's language.
    pub(crate) fn t(&self, key: &str, values: &[(&str, &str)]) -> String {
        self.preferences.lang.text(key, values)
    }

    /// The refusal of an allow-list, in the reader's language.
    pub(crate) fn not_permitted(&self, refusal: &NotPermitted) -> String {
        let (owner, name) = match &refusal.owner {
            ListOwner::Worker => ("worker", ""),
            ListOwner::Queue(name) => ("queue", name.as_str()),
            ListOwner::Role(name) => ("role", name.as_str()),
            ListOwner::Token(name) => ("token", name.as_str()),
        };
        let owner = self.t(&format!("allow.owner.{owner}"), &[("name", name)]);
        let permitted = match refusal.permitted.as_slice() {
            [] => self.t("allow.none", &[]),
            entries => entries.join(", "),
        };
        let (key, names) = match &refusal.refused {
            Refused::Workflow(name) => ("allow.refused.workflow", name.clone()),
            Refused::Actions(names) => ("allow.refused.actions", names.join(", ")),
        };
        let values: &[(&str, &str)] = &[
            ("owner", &owner),
            ("names", &names),
            ("permitted", &permitted),
        ];
        self.t(key, values)
    }

    pub(crate) fn lang(&self) -> Lang {
        self.preferences.lang
    }

    pub(crate) fn zone(&self) -> Zone {
        self.preferences.zone
    }

    pub(crate) fn moment(&self, at: Timestamp) -> Moment {
        self.zone().moment(at, self.now)
    }

    pub(crate) fn may(&self, role: Role) -> bool {
        self.actor.may(role)
    }

    /// Renders a page.
    pub(crate) async fn page(
        &self,
        template: &str,
        live: Live,
        view: impl Serialize,
    ) -> Result<Response, Problem> {
        self.page_with(StatusCode::OK, template, live, view).await
    }

    /// Renders a page with the given status.
    pub(crate) async fn page_with(
        &self,
        status: StatusCode,
        template: &str,
        live: Live,
        view: impl Serialize,
    ) -> Result<Response, Problem> {
        let alerts = super::pages::open_alerts(&self.app).await?;
        let full_page = FullPage {
            layout: self.layout(live, alerts),
            view,
        };
        let html = render(self.lang(), template, full_page).map_err(super::template_fault)?;
        let mut response = (status, Html(html)).into_response();
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.flash.is_some() {
            headers.append(SET_COOKIE, set_cookie(FLASH, "", 0));
        }
        Ok(response)
    }

    fn layout(&self, live: Live, alerts: usize) -> Layout {
        let token = self.app.auth().form_token(&self.actor);
        Layout {
            lang: self.lang().code(),
            theme: self.preferences.theme,
            zone: self.zone().0,
            zone_name: self.zone().name(),
            clock: self.zone().second(self.now),
            now: self.now.as_micros() / 1000,
            here: self.here.clone(),
            hidden: safe(format!(
                r#"<input type="hidden" name="{CSRF_FIELD}" value="{token}">"#
            )),
            nav: self.nav(alerts),
            themes: self.themes(),
            languages: self.languages(),
            user: self.actor.name.clone(),
            role: self.actor.role.as_str(),
            can_sign_out: matches!(self.actor.via, crate::auth::Via::Session(_)),
            may_operate: self.may(Role::Operator),
            may_administer: self.may(Role::Admin),
            flash: self.flash.as_ref().map(|(tone, text)| Flash {
                tone: tone.clone(),
                icon: if tone == "failed" {
                    "failed"
                } else {
                    "completed"
                }
                .to_owned(),
                text: text.clone(),
            }),
            live: live.events,
            without_script: live.without_script,
        }
    }

    fn nav(&self, alerts: usize) -> Vec<NavItem> {
        let path = self.here.split('?').next().unwrap_or("/");
        let is_here = |href: &str| match href {
            "/" => path == "/",
            "/runs" => path.starts_with("/runs") || path.starts_with("/new"),
            href => path.starts_with(href),
        };
        let visible = NAV.iter().filter(|(_, _, role)| self.may(*role));
        visible
            .map(|&(name, href, _)| NavItem {
                href,
                icon: name,
                title: format!("nav.{name}"),
                here: is_here(href),
                count: if name == "alerts" { alerts } else { 0 },
            })
            .collect()
    }

    fn themes(&self) -> Vec<Switch> {
        ["auto", "light", "dark"]
            .into_iter()
            .map(|value| Switch {
                value,
                title: format!("theme.{value}"),
                on: self.preferences.theme.unwrap_or("auto") == value,
            })
            .collect()
    }

    fn languages(&self) -> Vec<Switch> {
        let switch = |lang: Lang| Switch {
            value: lang.code(),
            title: lang.name().to_owned(),
            on: lang == self.lang(),
        };
        Lang::ALL.into_iter().map(switch).collect()
    }

    /// Redirects to a page that shows a success message.
    pub(crate) fn done(&self, to: &str, key: &str, values: &[(&str, &str)]) -> Response {
        redirect(to, Some(("completed", &self.t(key, values))))
    }

    /// Redirects to a page that shows why an action was refused.
    pub(crate) fn refused(&self, to: &str, reason: &str) -> Response {
        redirect(
            to,
            Some(("failed", &self.t("done.refused", &[("reason", reason)]))),
        )
    }
}

/// Redirects to a page that shows `flash`, a tone and a text.
pub(crate) fn redirect(to: &str, flash: Option<(&str, &str)>) -> Response {
    let place = HeaderValue::from_str(to).unwrap_or_else(|_| HeaderValue::from_static("/"));
    let mut response = (StatusCode::SEE_OTHER, [(LOCATION, place)]).into_response();
    if let Some((tone, text)) = flash {
        // A cookie holds about 4 KiB.
        let text: String = text.chars().take(400).collect();
        response.headers_mut().append(
            SET_COOKIE,
            set_cookie(FLASH, &format!("{tone}.{}", url(&text)), 60),
        );
    }
    response
}

/// The `Set-Cookie` header that stores a preference.
pub(crate) fn store_preference(name: &str, value: &str) -> HeaderValue {
    set_cookie(name, value, YEAR)
}

fn set_cookie(name: &str, value: &str, seconds: u32) -> HeaderValue {
    let text = format!("{name}={value}; Path=/; Max-Age={seconds}; SameSite=Lax");
    HeaderValue::from_str(&text).expect("names are ours, and values are plain or percent-encoded")
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let texts = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut pairs = texts
        .flat_map(|text| text.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    pairs
        .find(|(found, value)| *found == name && !value.is_empty())
        .map(|(_, value)| value)
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first == b'%' {
            let (digits, tail) = tail.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = tail;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flash_message_survives_its_cookie() {
        for text in ["plain", "100 % done; a=b", "\u{5df2}\u{63d0}\u{4ea4}"] {
            assert_eq!(unescape(&url(text)).as_deref(), Some(text));
        }
        assert_eq!(
            (unescape("%"), unescape("%zz"), unescape("%ff")),
            (None, None, None)
        );
    }

    #[test]
    fn preferences_are_read_from_cookies_and_headers() {
        let headers = |cookies: &str, language: &str| {
            HeaderMap::from_iter([
                (COOKIE, cookies.parse().unwrap()),
                (ACCEPT_LANGUAGE, language.parse().unwrap()),
            ])
        };
        let preferences =
            Preferences::of(&headers("surefoot_zone=480; surefoot_theme=dark", "zh-CN"));
        assert_eq!(
            (preferences.lang, preferences.zone, preferences.theme),
            (Lang::Zh, Zone(480), Some("dark"))
        );
        let preferences =
            Preferences::of(&headers("surefoot_lang=en; surefoot_theme=<b>", "zh-CN"));
        assert_eq!(
            (preferences.lang, preferences.zone, preferences.theme),
            (Lang::En, Zone(0), None)
        );
    }
}
