//! The configuration as it came to be, for people to read: names and values, without secrets.

use surefoot::{AllowList, format_duration};
use surefoot_server::alerts::{Notifier, NotifierKind, Rules, Source};

use super::Settings;

/// Names and values of what holds.
pub(crate) fn view(settings: &Settings) -> Vec<(String, String)> {
    let mut view = Vec::new();
    let mut add = |name: &str, value: Option<String>| {
        view.extend(value.map(|value| (name.to_owned(), value)))
    };
    add("store", Some(settings.store.to_string()));
    add(
        "data directory",
        Some(settings.data_dir.display().to_string()),
    );
    add("server.listen", Some(settings.server.listen().to_string()));
    add("server.public_url", settings.server.public_url.clone());
    for proxy in &settings.server.trusted_proxies {
        add("server.trusted_proxies", Some(proxy.0.to_string()));
    }
    add(
        "server.workflows",
        settings
            .server
            .workflows
            .as_ref()
            .map(|folder| folder.display().to_string()),
    );
    add(
        "worker.concurrency",
        settings.concurrency.map(|runs| runs.to_string()),
    );
    add(
        "worker.snapshot_memory_mib",
        settings.snapshot_memory_mib.map(|mib| mib.to_string()),
    );
    for name in &settings.pass_environment {
        add("worker.pass_environment", Some(name.clone()));
    }
    let entries = |list: &AllowList| list.entries().map(|_| list.to_string());
    let roles = settings.auth.lists();
    for (name, lists) in [
        ("worker", &settings.allow),
        ("auth.roles.operator", &roles.operator),
        ("auth.roles.admin", &roles.admin),
    ] {
        add(&format!("{name}.workflows"), entries(&lists.workflows));
        add(&format!("{name}.actions"), entries(&lists.actions));
    }
    add("worker.grace", settings.grace.map(format_duration));
    for name in settings.queues.keys() {
        add("queues", Some(name.clone()));
    }
    add(
        "credentials.dir",
        Some(settings.credentials.display().to_string()),
    );
    for (name, hosts) in &settings.credential_hosts {
        add(&format!("credentials.hosts.{name}"), Some(hosts.join(", ")));
    }
    for (name, ranges) in [
        ("network.allow", &settings.addresses.allow),
        ("network.deny", &settings.addresses.deny),
    ] {
        for range in ranges {
            add(name, Some(range.to_string()));
        }
    }
    add("fleet", settings.fleet.as_deref().map(without_userinfo));
    add("forge.credential", settings.forge.credential.clone());
    add(
        "forge.repositories_url",
        settings
            .forge
            .repositories_url
            .as_deref()
            .map(without_userinfo),
    );
    add(
        "forge.repositories",
        settings
            .forge
            .repositories
            .as_ref()
            .map(|folder| folder.display().to_string()),
    );
    for folder in &settings.template_folders {
        add("templates.folders", Some(folder.display().to_string()));
    }
    let oidc = settings.auth.oidc.as_ref();
    add(
        "auth.oidc.issuer",
        oidc.map(|oidc| without_userinfo(&oidc.issuer)),
    );
    add(
        "auth.oidc.client_id",
        oidc.map(|oidc| oidc.client_id.clone()),
    );
    add("alerts.every", Some(format_duration(settings.alerts.every)));
    for (name, value) in rules(&settings.alerts.rules) {
        add(&format!("alerts.rules.{name}"), Some(value));
    }
    for notifier in &settings.alerts.notifiers {
        add(
            &format!("alerts.notifiers.{}", notifier.name),
            Some(told(notifier)),
        );
    }
    add(
        "telemetry.endpoint",
        settings.telemetry.endpoint.as_deref().map(without_userinfo),
    );
    view
}

fn rules(rules: &Rules) -> Vec<(&'static str, String)> {
    let time = |time| Option::map_or(time, "off".to_owned(), format_duration);
    let switch = |on: bool| if on { "on" } else { "off" }.to_owned();
    let rate = rules.failures.as_ref().map_or_else(
        || "off".to_owned(),
        |rate| {
            format!(
                "more than {} % of {} or more in {}",
                rate.percent,
                rate.at_least,
                format_duration(rate.over)
            )
        },
    );
    vec![
        ("long_run", time(rules.long_run)),
        ("failures", rate),
        ("waiting", time(rules.waiting)),
        ("no_worker", time(rules.no_worker)),
        ("interruptions", switch(rules.interruptions)),
        ("answer", switch(rules.answer)),
        ("slow_store", time(rules.slow_store)),
    ]
}

/// The address of a webhook may be a secret.
fn told(notifier: &Notifier) -> String {
    let at = |source: &Source| match source {
        Source::Plain(_) => "at the address of the configuration".to_owned(),
        Source::Credential(name) => format!("at the address in the credential {name}"),
    };
    match &notifier.kind {
        NotifierKind::Webhook { url, secret } => {
            format!(
                "webhook {}{}",
                at(url),
                if secret.is_some() { ", signed" } else { "" }
            )
        }
        NotifierKind::Slack { url } => format!("Slack {}", at(url)),
        NotifierKind::Email(email) => {
            format!("e-mail to {} by {}", email.to.join(", "), email.host)
        }
        NotifierKind::Command(command) => format!(
            "command {}",
            command.command.first().map_or("", String::as_str)
        ),
    }
}

/// An address without what stands before its host: a token may, in place of a user's name as well
/// as of a password.
fn without_userinfo(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else {
        return address.to_owned();
    };
    let (authority, path) = rest
        .split_once('/')
        .map_or((rest, None), |(authority, path)| (authority, Some(path)));
    let Some((_, host)) = authority.rsplit_once('@') else {
        return address.to_owned();
    };
    let path = path.map(|path| format!("/{path}")).unwrap_or_default();
    format!("{scheme}://***@{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_who_uses_it() {
        let check = |address: &str, expect: &str| assert_eq!(without_userinfo(address), expect);
        check(
            "https://token@forge.example/fleet.git",
            "https://***@forge.example/fleet.git",
        );
        check(
            "https://ann:pass@word@forge.example:8443",
            "https://***@forge.example:8443",
        );
        check("https://forge.example/a@b", "https://forge.example/a@b");
        check("git@forge.example:fleet.git", "git@forge.example:fleet.git");
        check("/srv/fleet.git", "/srv/fleet.git");
    }
}
