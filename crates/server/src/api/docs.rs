//! `GET /api/docs`: the OpenAPI document as a readable page without scripts.

use std::fmt::Write as _;

use axum::response::Html;
use serde_json::Value;

use super::openapi::document;

pub(super) async fn page() -> Html<String> {
    let document = document();
    let mut page = String::from(HEAD);
    for tag in document["tags"].as_array().into_iter().flatten() {
        let name = text(&tag["name"]);
        write(
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
            write_operation(&mut page, method, path, operation);
        }
        page.push_str("</section>");
    }
    page.push_str("<section class=\"card\"><h2>Documents</h2>");
    for (name, schema) in document["components"]["schemas"]
        .as_object()
        .into_iter()
        .flatten()
    {
        write(
            &mut page,
            format_args!(
                "<details id=\"{0}\"><summary><code>{0}</code> {1}</summary>",
                escape(name),
                escape(text(&schema["description"]))
            ),
        );
        write_fields(&mut page, schema);
        page.push_str("</details>");
    }
    page.push_str("</section></main></body></html>");
    Html(page)
}

const HEAD: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
    <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>API - Surefoot</title>\
    <link rel=\"icon\" href=\"/assets/icon.svg\"><link rel=\"stylesheet\" href=\"/assets/surefoot.css\"></head>\
    <body><main id=\"main\"><h1>API</h1><p>The same as a machine-readable document: <a href=\"/api/openapi.json\">OpenAPI 3.1</a>. \
    Send a token as <code>Authorization: Bearer sf_...</code>. <a href=\"/\">Back to the dashboard</a>.</p>";

fn operations(document: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    let paths = document["paths"].as_object().into_iter().flatten();
    paths.flat_map(|(path, methods)| {
        let methods = methods.as_object().into_iter().flatten();
        methods.map(move |(method, operation)| (method.as_str(), path.as_str(), operation))
    })
}

fn write_operation(page: &mut String, method: &str, path: &str, operation: &Value) {
    let method = method.to_uppercase();
    let path = escape(path);
    write(
        page,
        format_args!(
            "<details><summary><code>{method} {path}</code> {}</summary>",
            escape(text(&operation["summary"]))
        ),
    );
    if let Some(role) = operation["x-required-role"].as_str() {
        write(
            page,
            format_args!("<p>Needs the role <strong>{}</strong>.</p>", escape(role)),
        );
    }
    if let Some(description) = operation["description"].as_str() {
        write(page, format_args!("<p>{}</p>", escape(description)));
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
            write(
                page,
                format_args!(
                    "<tr><td><code>{}</code>{required}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                    escape(text(&parameter["name"])),
                    escape(text(&parameter["in"])),
                    type_html(&parameter["schema"]),
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
        write(
            page,
            format_args!(
                "<p>Body, {}: {}</p>",
                escape(media),
                type_html(&content["schema"])
            ),
        );
    }
    for (status, response) in operation["responses"].as_object().into_iter().flatten() {
        let contents = response["content"].as_object().into_iter().flatten();
        let bodies: Vec<_> = contents
            .map(|(media, content)| {
                format!("{} ({})", type_html(&content["schema"]), escape(media))
            })
            .collect();
        write(
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

fn write_fields(page: &mut String, schema: &Value) {
    let parts = schema["allOf"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    for part in parts {
        if part.get("properties").is_some() {
            write_fields(page, part);
        } else {
            write(page, format_args!("<p>All of {}</p>", type_html(part)));
        }
    }
    let required = |name: &str| {
        schema["required"]
            .as_array()
            .is_some_and(|names| names.iter().any(|required| required == name))
    };
    let Some(properties) = schema["properties"].as_object() else {
        if parts.is_empty() {
            write(page, format_args!("<p>{}</p>", type_html(schema)));
        }
        return;
    };
    page.push_str("<div class=\"scroll\"><table><thead><tr><th>Field</th><th>Type</th><th></th></tr></thead><tbody>");
    for (name, field) in properties {
        let star = if required(name) { " *" } else { "" };
        write(
            page,
            format_args!(
                "<tr><td><code>{}</code>{star}</td><td>{}</td><td>{}</td></tr>",
                escape(name),
                type_html(field),
                escape(text(&field["description"])),
            ),
        );
    }
    page.push_str("</tbody></table></div>");
}

/// The HTML of a type, in a few words; a named type becomes a link to it.
fn type_html(schema: &Value) -> String {
    if let Some(name) = schema["$ref"]
        .as_str()
        .and_then(|path| path.rsplit('/').next())
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
        return kinds.iter().map(type_html).collect::<Vec<_>>().join(" or ");
    }
    let name = match &schema["type"] {
        Value::String(name) => name.clone(),
        Value::Array(names) => names.iter().map(text).collect::<Vec<_>>().join(" or "),
        _ => "any".to_owned(),
    };
    if name.starts_with("array") {
        return format!("list of {}", type_html(&schema["items"]));
    }
    match schema["format"].as_str() {
        Some(format) => format!("{} ({})", escape(&name), escape(format)),
        None => escape(&name),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn write(page: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = page.write_fmt(text);
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
