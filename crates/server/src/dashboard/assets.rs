//! The stylesheet, scripts and icon. Their addresses carry a digest of the content, so browsers may
//! cache them indefinitely.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use surefoot::Digest;

struct Asset {
    name: &'static str,
    kind: &'static str,
    content: &'static str,
    digest: String,
}

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let asset = |name, kind, content: &'static str| Asset {
        name,
        kind,
        content,
        digest: Digest::of(content.as_bytes()).to_string()[..12].to_owned(),
    };
    vec![
        asset(
            "surefoot.css",
            "text/css; charset=utf-8",
            include_str!("../../assets/surefoot.css"),
        ),
        asset(
            "surefoot.js",
            "text/javascript; charset=utf-8",
            include_str!("../../assets/surefoot.js"),
        ),
        asset(
            "widget.js",
            "text/javascript; charset=utf-8",
            include_str!("../../assets/widget.js"),
        ),
        asset(
            "icon.svg",
            "image/svg+xml",
            include_str!("../../assets/icon.svg"),
        ),
    ]
});

/// The address of an asset.
pub(crate) fn address(name: &str) -> String {
    let digest = ASSETS
        .iter()
        .find(|asset| asset.name == name)
        .map(|asset| asset.digest.as_str());
    format!("/assets/{name}?v={}", digest.unwrap_or_default())
}

/// `GET /assets/{name}`
pub(crate) async fn get(Path(name): Path<String>) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    // Other sites load the widget's module by its plain address.
    let allow_origin = (name == "widget.js").then_some((
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        HeaderValue::from_static("*"),
    ));
    let cache_control = if name == "widget.js" {
        "public, max-age=3600"
    } else {
        "public, max-age=31536000, immutable"
    };
    let headers: [(HeaderName, HeaderValue); 3] = [
        (header::CONTENT_TYPE, HeaderValue::from_static(asset.kind)),
        (
            header::CACHE_CONTROL,
            HeaderValue::from_static(cache_control),
        ),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
    ];
    let mut response = (headers, asset.content).into_response();
    response.headers_mut().extend(allow_origin);
    response
}
