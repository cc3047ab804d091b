//! Generators by grammar: expressions, JSON, workflow files and templates that are mostly right.

use serde_json::{Map, Value, json};

use crate::Random;

/// Words of workflow files.
pub const WORKFLOW_WORDS: &[&str] = &[
    "workflow: ",
    "queue: ",
    "title: ",
    "parameters: ",
    "unique: ",
    "requires: ",
    "output: ",
    "steps: ",
    "- id: ",
    "action: ",
    "with: ",
    "if: ",
    "weight: ",
    "retry: ",
    "attempts: ",
    "backoff: ",
    "exponential: ",
    "fixed: ",
    "max: ",
    "jitter: ",
    "timeout: ",
    "on_interrupt: ",
    "max_interruptions: ",
    "default: ",
    "writeOnly: true",
    "${{ parameters.a }}",
    "${{ steps.s0.output }}",
    "$ref: '#/properties/a'",
    "'#'",
];

/// Words of templates.
pub const TEMPLATE_WORDS: &[&str] = &[
    "${{ name }}",
    "${% if name %}",
    "${% elif name %}",
    "${% else %}",
    "${% endif %}",
    "${% for x in values.list %}",
    "${% endfor %}",
    "${% set x = [name] %}",
    "${% raw %}",
    "${% endraw %}",
    "${% macro m(x) %}",
    "${% endmacro %}",
    "${% filter upper %}",
    "${% endfilter %}",
    "${% include 'x' %}",
    "${% with x = 1 %}",
    "${% endwith %}",
    "$<# comment #>$",
    "${{ environment.name }}",
    "loop.index",
    "recursive",
    "${{ range(100000) | list }}",
    "${{ 'x' * 1000000 }}",
];

const NAMES: &[&str] = &[
    "parameters.a",
    "parameters.b",
    "parameters['a b']",
    "parameters.missing",
    "steps.s0.output",
    "steps.s0.output.list[0]",
    "steps.s-1.output.x-y",
    "steps.s0.status",
    "run.id",
    "run.key",
    "name",
    "values.list",
    "environment.name",
    "loop",
];

const FUNCTIONS: &[&str] = &[
    "contains",
    "startsWith",
    "endsWith",
    "format",
    "join",
    "toJSON",
    "fromJSON",
    "range",
    "dict",
    "namespace",
    "debug",
    "lipsum",
    "cycler",
    "joiner",
    "success",
    "hashFiles",
];

const FILTERS: &[&str] = &[
    "upper",
    "lower",
    "trim",
    "length",
    "first",
    "last",
    "reverse",
    "sort",
    "join(',')",
    "tojson",
    "tojson(indent=9999999)",
    "string",
    "list",
    "items",
    "dictsort",
    "batch(2)",
    "slice(3)",
    "replace('a', 'bb')",
    "default('x')",
    "default(parameters)",
    "round",
    "abs",
    "int",
    "float",
    "urlencode",
    "escape",
    "title",
    "capitalize",
    "unique",
    "map('upper')",
    "select",
    "reject",
    "groupby('a')",
    "chain(parameters)",
    "zip(parameters)",
    "pprint",
    "indent(200000)",
    "split('')",
    "lines",
    "sum",
    "min",
    "max",
    "attr('a')",
    "bool",
    "center(99999999)",
    "wordwrap(1)",
    "format(1)",
    "truncate(3)",
];

const OPERATORS: &[&str] = &[
    "&&", "||", "==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "//", "%", "**", "~", "in",
    "not in", "and", "or", "is", "|", ".",
];

const LITERALS: &[&str] = &[
    "1",
    "0",
    "-1",
    "2.5",
    "-0.0",
    "1e3",
    "0xff",
    "0o7",
    "9007199254740993",
    "18446744073709551615",
    "18446744073709551616",
    "340282366920938463463374607431768211456",
    "1e308",
    "'a'",
    "'it''s'",
    "\"t\\n\"",
    "'\u{e9}'",
    "''",
    "true",
    "false",
    "null",
    "none",
    "True",
    "[]",
    "{}",
    "[1, 'a', null]",
    "{'a': 1}",
    "'${{ 1 }}'",
    "'}}'",
];

/// Generates texts of one case.
#[derive(Debug)]
pub struct Grammar<'a> {
    /// The choices.
    pub random: &'a mut Random,
}

impl Grammar<'_> {
    /// An expression, without braces around it.
    pub fn expression(&mut self, depth: usize) -> String {
        if depth == 0 {
            let words = if self.random.chance(50) {
                NAMES
            } else {
                LITERALS
            };
            return (*self.random.pick(words)).to_owned();
        }
        let operand = |grammar: &mut Self| {
            let deeper = grammar.random.below(depth);
            grammar.expression(deeper)
        };
        match self.random.below(12) {
            0 | 1 => {
                let left = operand(self);
                let operator = *self.random.pick(OPERATORS);
                let right = operand(self);
                format!("{left} {operator} {right}")
            }
            2 => format!("({})", operand(self)),
            3 => format!("!{}", operand(self)),
            4 => format!("not {}", operand(self)),
            5 => {
                let function = *self.random.pick(FUNCTIONS);
                let arguments: Vec<String> =
                    (0..self.random.length(5)).map(|_| operand(self)).collect();
                format!("{function}({})", arguments.join(", "))
            }
            6 => {
                let value = operand(self);
                format!("{value} | {}", self.random.pick(FILTERS))
            }
            7 => format!("{}[{}]", operand(self), operand(self)),
            8 => format!("[{}, {}]", operand(self), operand(self)),
            9 => format!("{{'k': {}, {}: 1}}", operand(self), operand(self)),
            10 => format!(
                "{} if {} else {}",
                operand(self),
                operand(self),
                operand(self)
            ),
            _ => {
                let link =
                    *self
                        .random
                        .pick(&["-", "not ", "!", "(", "[", "1 ~ ", "a.", "1 if 1 else "]);
                let times = self.random.length(400);
                format!("{}{}", link.repeat(times), operand(self))
            }
        }
    }

    /// A text with expressions in it.
    pub fn text(&mut self) -> String {
        let mut text = String::new();
        for _ in 0..=self.random.length(4) {
            if self.random.chance(40) {
                text.push_str("some text: ");
            }
            let depth = self.random.below(5);
            let expression = self.expression(depth);
            text.push_str(&format!("${{{{ {expression} }}}}"));
        }
        text
    }

    /// A value of JSON. Some are larger or deeper than is allowed.
    pub fn value(&mut self, depth: usize) -> Value {
        match self.random.below(if depth == 0 { 6 } else { 10 }) {
            0 => Value::Null,
            1 => Value::Bool(self.random.chance(50)),
            2 => json!(self.random.bits()),
            3 => json!(-i64::try_from(self.random.bits() >> 1).unwrap_or(0)),
            // Few enough digits for every reader.
            4 => json!(f64::from(u32::try_from(self.random.bits() >> 34).unwrap_or(0)) / 100.0),
            5 => Value::String(self.word()),
            6 | 7 => {
                let items = self.random.length(8);
                (0..items).map(|_| self.value(depth - 1)).collect()
            }
            8 => nested_json(self.random.below(80)),
            _ => {
                let fields = self.random.length(8);
                let fields = (0..fields).map(|_| (self.word(), self.value(depth - 1)));
                Value::Object(fields.collect::<Map<_, _>>())
            }
        }
    }

    /// JSON as a program might write it: with numbers of any length, and not always right.
    pub fn json_text(&mut self) -> String {
        let mut text = self.value(3).to_string();
        if self.random.chance(40) {
            let whole = self.random.length(40);
            let digits: String = (0..=whole)
                .map(|_| char::from(b'0' + u8::try_from(self.random.below(10)).unwrap_or(0)))
                .collect();
            let fraction = *self
                .random
                .pick(&["", ".5", ".10", "e5", "E-7", "e400", ".", "e"]);
            text = format!("[{digits}{fraction}, {text}, {{\"n\": -{digits}{fraction}}}]");
        }
        if self.random.chance(30) {
            text = crate::mutate_text(self.random, &text, &["{", "[", "\"", ":", ","]);
        }
        text
    }

    fn word(&mut self) -> String {
        const WORDS: &[&str] = &[
            "a",
            "b",
            "list",
            "x-y",
            "name",
            "a b",
            "\u{e9}",
            "$ref",
            "${{ 1 }}",
            "007",
            "1.10",
            "",
            "__proto__",
            "\u{1f600}",
            "a\"b\\c",
            "line\nbreak",
            "\u{7f}",
            "true",
        ];
        (*self.random.pick(WORDS)).to_owned()
    }

    /// A workflow file as JSON, which YAML can read.
    pub fn workflow(&mut self) -> Value {
        let steps = 1 + self.random.length(6);
        let steps: Vec<Value> = (0..steps).map(|at| self.step(at)).collect();
        let mut workflow = json!({ "workflow": "fuzzed", "steps": steps });
        if self.random.chance(60) {
            workflow["parameters"] = self.schema();
        }
        if self.random.chance(20) {
            workflow["queue"] = json!(self.word());
        }
        if self.random.chance(20) {
            workflow["title"] = json!(self.word());
        }
        if self.random.chance(20) {
            workflow["unique"] = json!(self.text());
        }
        if self.random.chance(10) {
            workflow["requires"] = json!([self.text(), self.word()]);
        }
        if self.random.chance(30) {
            workflow["output"] = self.with();
        }
        workflow
    }

    /// A workflow file that is mostly accepted: with odd values, and expressions without mistakes.
    pub fn mild_workflow(&mut self) -> Value {
        const TEXTS: &[&str] = &[
            "text",
            "${{ run.id }}",
            "${{ parameters.given }} and ${{ 1 == 1 && 'x' }}",
            "${{ steps.s0.status }}",
        ];
        let steps = 1 + self.random.length(6);
        let steps: Vec<Value> = (0..steps)
            .map(|at| {
                let texts = if at == 0 { &TEXTS[..3] } else { TEXTS };
                let text = *self.random.pick(texts);
                let with = json!({ "value": self.value(3), "text": text });
                json!({ "id": format!("s{at}"), "action": "test.work", "with": with })
            })
            .collect();
        let properties = json!({ "given": { "default": self.value(2) }, "number": {} });
        json!({
            "workflow": "fuzzed",
            "parameters": { "type": "object", "properties": properties },
            "steps": steps,
        })
    }

    fn step(&mut self, at: usize) -> Value {
        let id = if self.random.chance(90) {
            format!("s{at}")
        } else {
            self.word()
        };
        let mut step = json!({ "id": id, "action": "test.work" });
        if self.random.chance(50) {
            step["with"] = self.with();
        }
        if self.random.chance(40) {
            let depth = self.random.below(4);
            step["if"] = json!(self.expression(depth));
        }
        if self.random.chance(20) {
            step["weight"] = json!(self.random.below(2000));
        }
        if self.random.chance(20) {
            let backoff = json!({ "exponential": self.duration(), "max": self.duration() });
            step["retry"] = json!({ "attempts": self.random.below(20), "backoff": backoff });
        }
        if self.random.chance(20) {
            step["timeout"] = json!(self.duration());
        }
        if self.random.chance(10) {
            step["on_interrupt"] = json!(self.random.pick(&["rerun", "ask", "fail", "no"]));
        }
        step
    }

    fn with(&mut self) -> Value {
        let value = self.value(3);
        let text = self.text();
        json!({ "value": value, "text": text })
    }

    /// A JSON Schema, mostly.
    pub fn schema(&mut self) -> Value {
        let mut properties = Map::new();
        for _ in 0..self.random.length(6) {
            let name = self.word();
            properties.insert(name, self.property());
        }
        json!({ "type": "object", "properties": properties })
    }

    fn property(&mut self) -> Value {
        match self.random.below(9) {
            0 => json!({ "type": "string", "default": self.word() }),
            1 => json!({ "type": "integer", "default": self.random.below(100) }),
            2 => json!({ "type": "string", "writeOnly": true }),
            3 => json!({ "enum": [self.value(1), self.value(1)] }),
            4 => json!({ "type": "array", "items": { "type": "string" }, "default": ["a"] }),
            5 => json!({ "default": self.value(2) }),
            6 => {
                json!({ "type": "string", "pattern": self.random.pick(&["^a+$", "(a+)+$", "(", "a{1,100000}"]) })
            }
            7 => {
                json!({ "$ref": self.random.pick(&["#", "#/properties/a", "#/nowhere", "http://localhost/x"]) })
            }
            _ => {
                json!({ "type": self.random.pick(&["string", "number", "boolean", "object", "null", "odd"]) })
            }
        }
    }

    /// A duration as people write it, or nearly.
    pub fn duration(&mut self) -> String {
        let number = *self.random.pick(&[
            "0",
            "1",
            "30",
            "500",
            "1.5",
            "-1",
            "99999999999",
            "18446744073709551616",
            "",
        ]);
        let unit = *self.random.pick(&[
            "ms", "s", "m", "h", "d", "w", "us", "ns", "y", "mo", "", " s", "h 30m", "s1ms", "P1D",
        ]);
        format!("{number}{unit}")
    }

    /// A template file, mostly.
    pub fn template(&mut self) -> String {
        let mut text = String::new();
        for _ in 0..=self.random.length(20) {
            match self.random.below(4) {
                0 => text.push_str("plain text\n"),
                1 => text.push_str(self.random.pick::<&str>(TEMPLATE_WORDS)),
                2 => {
                    let depth = self.random.below(3);
                    let inside = self.expression(depth);
                    text.push_str(&format!("${{% if {inside} %}}x${{% endif %}}"));
                }
                _ => {
                    let depth = self.random.below(4);
                    let inside = self.expression(depth);
                    text.push_str(&format!("${{{{ {inside} }}}}"));
                }
            }
        }
        text
    }
}

/// Lists within each other.
pub fn nested_json(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inside, level| {
        if level % 2 == 0 {
            json!([inside])
        } else {
            json!({ "a": inside })
        }
    })
}
