//! `GET /api/docs`: the OpenAPI document as a page to read. Written here, from the document; no script.

use std::fmt::Write as _;

use axum::response::Html;
use serde_json::Value;

use super::openapi::document;

pub(super) async fn page() -> Html<String> {
    let document = document();
    let mut page = String::from(HEAD);
    for tag in document["tags"].as_array().into_iter().flatten() {
        let name = text(&tag["name"]);
        put(
            &mut page,
            format_args!(
                "<section class=\"card\"><h2>{}</h2><p>{}</p>",
                escape(name),
                escape(text(&tag["description"]))
            ),
        );
        for (method, path, operation) in
            operations(document).filter(|(.., operation)| operation["tags"][0] == name)
        {
            one(&mut page, method, path, operation);
        }
        page.push_str("</section>");
    }
    page.push_str("<section class=\"card\"><h2>Documents</h2>");
    for (name, schema) in document["components"]["schemas"]
        .as_object()
        .into_iter()
        .flatten()
    {
        put(
            &mut page,
            format_args!(
                "<details id=\"{0}\"><summary><code>{0}</code> {1}</summary>",
                escape(name),
                escape(text(&schema["description"]))
            ),
        );
        fields(&mut page, schema);
        page.push_str("</details>");
    }
    page.push_str("</section></main></body></html>");
    Html(page)
}

const HEAD: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
    <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>API - Surefoot</title>\
    <link rel=\"icon\" href=\"/assets/icon.svg\"><link rel=\"stylesheet\" href=\"/assets/surefoot.css\"></head>\
    <body><main id=\"main\"><h1>API</h1><p>The same as a document for programs: <a href=\"/api/openapi.json\">OpenAPI 3.1</a>. \
    Send a token as <code>Authorization: Bearer sf_...</code>. <a href=\"/\">Back to the dashboard</a>.</p>";

fn operations(document: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    let paths = document["paths"].as_object().into_iter().flatten();
    paths.flat_map(|(path, methods)| {
        let methods = methods.as_object().into_iter().flatten();
        methods.map(move |(method, operation)| (method.as_str(), path.as_str(), operation))
    })
}

fn one(page: &mut String, method: &str, path: &str, operation: &Value) {
    let (method, path) = (method.to_uppercase(), escape(path));
    put(
        page,
        format_args!(
            "<details><summary><code>{method} {path}</code> {}</summary>",
            escape(text(&operation["summary"]))
        ),
    );
    if let Some(role) = operation["x-required-role"].as_str() {
        put(
            page,
            format_args!("<p>Needs the role <strong>{}</strong>.</p>", escape(role)),
        );
    }
    if let Some(description) = operation["description"].as_str() {
        put(page, format_args!("<p>{}</p>", escape(description)));
    }
    let parameters = operation["parameters"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    if !parameters.is_empty() {
        page.push_str("<div class=\"scroll\"><table><thead><tr><th>Parameter</th><th>In</th><th>Type</th><th></th></tr></thead><tbody>");
        for parameter in parameters {
            let required = if parameter["required"] == true {
                " *"
            } else {
                ""
            };
            put(
                page,
                format_args!(
                    "<tr><td><code>{}</code>{required}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                    escape(text(&parameter["name"])),
                    escape(text(&parameter["in"])),
                    kind(&parameter["schema"]),
                    escape(text(&parameter["description"])),
                ),
            );
        }
        page.push_str("</tbody></table></div>");
    }
    for (media, content) in operation["requestBody"]["content"]
        .as_object()
        .into_iter()
        .flatten()
    {
        put(
            page,
            format_args!(
                "<p>Body, {}: {}</p>",
                escape(media),
                kind(&content["schema"])
            ),
        );
    }
    for (status, response) in operation["responses"].as_object().into_iter().flatten() {
        let contents = response["content"].as_object().into_iter().flatten();
        let bodies: Vec<_> = contents
            .map(|(media, content)| format!("{} ({})", kind(&content["schema"]), escape(media)))
            .collect();
        put(
            page,
            format_args!(
                "<p>{}: {} {}</p>",
                escape(status),
                bodies.join(", "),
                escape(text(&response["description"]))
            ),
        );
    }
    page.push_str("</details>");
}

fn fields(page: &mut String, schema: &Value) {
    let parts = schema["allOf"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    for part in parts {
        if part.get("properties").is_some() {
            fields(page, part);
        } else {
            put(page, format_args!("<p>All of {}</p>", kind(part)));
        }
    }
    let required = |name: &str| {
        schema["required"]
            .as_array()
            .is_some_and(|names| names.iter().any(|known| known == name))
    };
    let Some(properties) = schema["properties"].as_object() else {
        if parts.is_empty() {
            put(page, format_args!("<p>{}</p>", kind(schema)));
        }
        return;
    };
    page.push_str("<div class=\"scroll\"><table><thead><tr><th>Field</th><th>Type</th><th></th></tr></thead><tbody>");
    for (name, field) in properties {
        let star = if required(name) { " *" } else { "" };
        put(
            page,
            format_args!(
                "<tr><td><code>{}</code>{star}</td><td>{}</td><td>{}</td></tr>",
                escape(name),
                kind(field),
                escape(text(&field["description"])),
            ),
        );
    }
    page.push_str("</tbody></table></div>");
}

/// A type in a few words; one that has a name is a link to it.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"]
        .as_str()
        .and_then(|place| place.rsplit('/').next())
    {
        return format!("<a href=\"#{0}\">{0}</a>", escape(name));
    }
    if let Some(words) = schema["enum"].as_array() {
        return words
            .iter()
            .map(|word| format!("<code>{}</code>", escape(text(word))))
            .collect::<Vec<_>>()
            .join(" ");
    }
    if let Some(kinds) = schema["oneOf"]
        .as_array()
        .or_else(|| schema["anyOf"].as_array())
    {
        return kinds.iter().map(kind).collect::<Vec<_>>().join(" or ");
    }
    let name = match &schema["type"] {
        Value::String(name) => name.clone(),
        Value::Array(names) => names.iter().map(text).collect::<Vec<_>>().join(" or "),
        _ => "any".to_owned(),
    };
    if name.starts_with("array") {
        return format!("list of {}", kind(&schema["items"]));
    }
    match schema["format"].as_str() {
        Some(format) => format!("{} ({})", escape(&name), escape(format)),
        None => escape(&name),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn put(page: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = page.write_fmt(text);
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
