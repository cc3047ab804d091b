//! Icons: strokes on a grid of 16, drawn inline so that they take the colour of the text. They are
//! hidden from screen readers, since a word always accompanies them.

/// The strokes of an icon.
fn strokes(name: &str) -> &'static str {
    match name {
        "brand" => "M2 13h3.5V9.5H9V6h3.5V2.5",
        "overview" => "M2 9h5V2H2zM9 14h5V7H9zM2 14h5v-2.5H2zM9 4.5h5V2H9z",
        "runs" => "M5.5 4H14M5.5 8H14M5.5 12H14M2 4h.5M2 8h.5M2 12h.5",
        "projects" => "M2 4.5V13h12V5.5H8L6.5 3.5H2z",
        "queues" => "M2 3.5h12v3H2zM2 9.5h12v3H2z",
        "workers" => {
            "M4 4h8v8H4zM6.5 1.5V4M9.5 1.5V4M6.5 12v2.5M9.5 12v2.5M1.5 6.5H4M1.5 9.5H4M12 6.5h2.5M12 9.5h2.5"
        }
        "alerts" => "M4 11V7a4 4 0 0 1 8 0v4l1.2 1.5H2.8zM6.7 14.5h2.6",
        "audit" => "M4 1.8h6l2.5 2.5v10H4zM6 7.5h4.5M6 10.5h4.5",
        "settings" => "M2 4.5h6M12 4.5h2M2 11.5h2M8 11.5h6M10 2.8v3.4M6 9.8v3.4",
        "plus" => "M8 3v10M3 8h10",
        "play" => "M5 3l8 5-8 5z",
        "pause" => "M5.5 3.5v9M10.5 3.5v9",
        "retry" => "M13 8a5 5 0 1 1-1.5-3.6M13 2v3h-3",
        "cancel" => "M8 1.8a6.2 6.2 0 1 1 0 12.4A6.2 6.2 0 0 1 8 1.8M5 8h6",
        "undo" => "M3 6.5h6.5a3.5 3.5 0 0 1 0 7H6M5.8 3.5L3 6.5l2.8 3",
        "copy" => "M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3",
        "share" => {
            "M6.7 9.3l2.6-2.6M7 4.5L8.8 2.7a3.2 3.2 0 0 1 4.5 4.5L11.5 9M9 11.5l-1.8 1.8a3.2 3.2 0 0 1-4.5-4.5L4.5 7"
        }
        "more" => "M6 3.5L10.5 8 6 12.5",
        "alert" => "M8 2L14.5 13.5h-13zM8 6.5v3.2M8 11.6v.1",
        "ask" => {
            "M6 6a2 2 0 1 1 2.7 1.9c-.5.2-.7.5-.7 1.1v.5M8 11.9v.1M8 1.8a6.2 6.2 0 1 1 0 12.4A6.2 6.2 0 0 1 8 1.8"
        }
        "recovered" => "M2 8h3l1.8-4.5L9.5 12.5 11 8h3",
        "queued" => "M8 1.8a6.2 6.2 0 1 1 0 12.4A6.2 6.2 0 0 1 8 1.8M5 8h.1M8 8h.1M11 8h.1",
        "pending" => "M8 2.8a5.2 5.2 0 1 1 0 10.4A5.2 5.2 0 0 1 8 2.8",
        "running" => "M14.2 8A6.2 6.2 0 1 1 8 1.8",
        "waiting" => "M8 1.8a6.2 6.2 0 1 1 0 12.4A6.2 6.2 0 0 1 8 1.8M8 4.5V8l2.5 1.5",
        "completed" => "M8 1.8a6.2 6.2 0 1 1 0 12.4A6.2 6.2 0 0 1 8 1.8M5.2 8.2l2 2 3.7-4.2",
        "failed" => {
            "M8 1.8a6.2 6.2 0 1 1 0 12.4A6.2 6.2 0 0 1 8 1.8M5.8 5.8l4.4 4.4M10.2 5.8l-4.4 4.4"
        }
        "cancelled" => "M8 1.8a6.2 6.2 0 1 1 0 12.4A6.2 6.2 0 0 1 8 1.8M3.8 12.2l8.4-8.4",
        "skipped" => "M3 4l5 4-5 4zM12.5 4v8",
        _ => "",
    }
}

/// The icon as SVG. The `running` icon spins, unless the reader prefers reduced motion.
pub(crate) fn svg(name: &str) -> String {
    let class = if name == "running" {
        "icon spin"
    } else {
        "icon"
    };
    format!(
        r#"<svg class="{class}" viewBox="0 0 16 16" aria-hidden="true"><path d="{}"/></svg>"#,
        strokes(name)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_icon_that_a_template_names_exists() {
        for (name, template) in crate::dashboard::render::TEMPLATES {
            for part in template.split("icon(\"").skip(1) {
                let icon = part.split('"').next().unwrap();
                assert!(!strokes(icon).is_empty(), "{name} names the icon {icon}");
            }
        }
    }
}
