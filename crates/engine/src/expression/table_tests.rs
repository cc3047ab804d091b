//! Results of expressions, row by row.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;

fn scope() -> Scope {
    let step = |output| StepScope {
        status: "completed",
        output,
    };
    let output = json!({
        "count": 3, "content-type": "text/html", "max": 10, "max-age": 60, "none": null, "list": ["A", "b"], "deep": { "x": [1, 2] },
    });
    Scope {
        parameters: json!({
            "name": "Shop", "on": true, "off": false, "empty": "", "nothing": null, "zero": 0, "one": 1, "half": 0.5,
            "version": "1.10", "port-1": 9, "a": 7, "a-b": 5, "ports": [80, 443], "none": [], "object": {}, "two": "2",
            "mixed": [true, null, 1.5, "x"], "big": 12_345_678_901_234_567_i64,
        }),
        steps: BTreeMap::from([
            ("get-it".to_owned(), step(output.clone())),
            ("build".to_owned(), step(output)),
            ("1st".to_owned(), step(json!("first"))),
        ]),
        run: json!({ "id": "r", "key": null }),
    }
}

/// Expressions and the values that they give.
fn values() -> Vec<(&'static str, Value)> {
    let mut rows = literals_and_paths();
    rows.extend(logic());
    rows.extend(equality());
    rows.extend(order());
    rows.extend(calls());
    rows.extend(engine_forms());
    rows
}

fn literals_and_paths() -> Vec<(&'static str, Value)> {
    vec![
        ("null", json!(null)),
        ("true", json!(true)),
        ("711", json!(711)),
        ("-9.2", json!(-9.2)),
        ("0xff", json!(255)),
        ("-2.99e-2", json!(-0.0299)),
        ("'It''s open source!'", json!("It's open source!")),
        ("''''", json!("'")),
        ("''", json!("")),
        ("'}}'", json!("}}")),
        ("\"a\"", json!("a")),
        ("'a\\nb'", json!("a\nb")),
        ("{'a': {'b': 1}}", json!({ "a": { "b": 1 } })),
        (
            "{'a': [1, {'b': '}}'}]}",
            json!({ "a": [1, { "b": "}}" }] }),
        ),
        ("[1, 'x', null]", json!([1, "x", null])),
        ("[]", json!([])),
        ("{}", json!({})),
        ("(1)", json!(1)),
        ("parameters.name", json!("Shop")),
        ("parameters['name']", json!("Shop")),
        ("parameters.ports", json!([80, 443])),
        ("parameters.ports[1]", json!(443)),
        ("parameters.ports[0:1]", json!([80])),
        ("parameters.nothing", json!(null)),
        ("parameters.port-1", json!(9)),
        ("parameters['port-1']", json!(9)),
        ("parameters.a - 1", json!(6)),
        ("parameters.a-1", json!(6)),
        ("parameters.one-1", json!(0)),
        ("parameters['a-b']", json!(5)),
        ("steps.get-it.output.count", json!(3)),
        ("steps.get-it.status", json!("completed")),
        ("steps.get-it.output.content-type", json!("text/html")),
        ("steps.get-it.output.count-1", json!(2)),
        ("steps.get-it.output.count - 1", json!(2)),
        ("steps.1st.output", json!("first")),
        ("steps.build.output.deep.x[1]", json!(2)),
        ("steps.build.output.none", json!(null)),
        ("steps['get-it'].output.count", json!(3)),
        ("run.id", json!("r")),
    ]
}

fn logic() -> Vec<(&'static str, Value)> {
    vec![
        ("true && false", json!(false)),
        ("true && 'x'", json!("x")),
        ("0 && 'x'", json!(0)),
        ("'' && 'x'", json!("")),
        ("null && 'x'", json!(null)),
        ("false || 'x'", json!("x")),
        ("'' || 'x'", json!("x")),
        ("0 || null", json!(null)),
        ("'a' || 'b'", json!("a")),
        ("'false' && 1", json!(1)),
        ("[] || 'x'", json!([])),
        ("{} || 'x'", json!({})),
        ("[] && 'x'", json!("x")),
        ("parameters.none || 'x'", json!([])),
        ("parameters.missing || 'x'", json!("x")),
        ("parameters.on && 'yes' || 'no'", json!("yes")),
        ("parameters.off && 'yes' || 'no'", json!("no")),
        ("true || false && false", json!(true)),
        ("(true || false) && false", json!(false)),
        ("false && parameters.nothing.at.all", json!(false)),
        ("true || parameters.nothing.at.all", json!(true)),
        ("!true", json!(false)),
        ("!0", json!(true)),
        ("!''", json!(true)),
        ("!null", json!(true)),
        ("!'x'", json!(false)),
        ("![]", json!(false)),
        ("!!1", json!(true)),
        ("!true == false", json!(true)),
        ("!parameters.off && parameters.on", json!(true)),
        ("!(true && false)", json!(true)),
    ]
}

fn equality() -> Vec<(&'static str, Value)> {
    vec![
        ("1 == 1", json!(true)),
        ("1 == 1.0", json!(true)),
        ("1 == 2", json!(false)),
        ("1 != 2", json!(true)),
        ("'a' == 'A'", json!(true)),
        ("'a' != 'A'", json!(false)),
        ("'a' == 'b'", json!(false)),
        ("parameters.name == 'shop'", json!(true)),
        ("'1' == 1", json!(true)),
        ("' 1.0 ' == 1", json!(true)),
        ("'1e2' == 100", json!(true)),
        ("'0x10' == 16", json!(true)),
        ("'0o10' == 8", json!(true)),
        ("'' == 0", json!(true)),
        ("'x' == 0", json!(false)),
        ("'x' != 0", json!(true)),
        ("true == 1", json!(true)),
        ("true == '1'", json!(true)),
        ("true == 'true'", json!(false)),
        ("false == ''", json!(true)),
        ("null == 0", json!(true)),
        ("null == ''", json!(true)),
        ("null == false", json!(true)),
        ("null == null", json!(true)),
        ("null == 'null'", json!(false)),
        ("parameters.nothing == null", json!(true)),
        ("[] == 0", json!(false)),
        ("[] != 0", json!(true)),
        ("parameters.ports == [80, 443]", json!(true)),
        ("parameters.version == '1.1'", json!(false)),
        ("parameters.version == 1.1", json!(true)),
        ("1 == 1 == true", json!(true)),
        ("1 < 2 == true", json!(true)),
        ("parameters.big == 12345678901234567", json!(true)),
        ("parameters.big == 12345678901234568", json!(false)),
    ]
}

fn order() -> Vec<(&'static str, Value)> {
    vec![
        ("1 < 2", json!(true)),
        ("2 <= 2", json!(true)),
        ("3 > 2", json!(true)),
        ("2 >= 3", json!(false)),
        ("'a' < 'B'", json!(true)),
        ("'b' > 'A'", json!(true)),
        ("'10' < 9", json!(false)),
        ("'10' < '9'", json!(true)),
        ("'x' < 1", json!(false)),
        ("'x' > 1", json!(false)),
        ("null < 1", json!(true)),
        ("true > 0", json!(true)),
        ("parameters.two >= 2", json!(true)),
        ("[] < 1", json!(false)),
    ]
}

fn calls() -> Vec<(&'static str, Value)> {
    vec![
        ("contains('Hello world', 'WORLD')", json!(true)),
        ("contains('Hello', 'x')", json!(false)),
        ("contains(steps.build.output.list, 'B')", json!(true)),
        ("contains(parameters.ports, '80')", json!(true)),
        ("contains(parameters.ports, 8)", json!(false)),
        ("contains(123, 2)", json!(true)),
        ("startsWith('Hello world', 'he')", json!(true)),
        ("STARTSWITH('Hello', 'lo')", json!(false)),
        ("endsWith('Hello world', 'LD')", json!(true)),
        ("format('{0}-{1}-{0}', 'a', 2)", json!("a-2-a")),
        ("format('{{{0}}}', true)", json!("{true}")),
        ("join(parameters.ports)", json!("80,443")),
        ("join(parameters.ports, ', ')", json!("80, 443")),
        ("join('x', ', ')", json!("x")),
        ("toJSON(parameters.ports)", json!("[\n  80,\n  443\n]")),
        ("tojson(null)", json!("null")),
        ("fromJSON('{\"a\": [1, true]}').a[1]", json!(true)),
        ("fromJSON('1.5') + 1", json!(2.5)),
        ("fromJson(toJson(parameters.object))", json!({})),
    ]
}

fn engine_forms() -> Vec<(&'static str, Value)> {
    vec![
        ("parameters.on and parameters.name", json!("Shop")),
        ("parameters.off or 'x'", json!("x")),
        ("parameters.none or 'x'", json!("x")),
        ("not parameters.off", json!(true)),
        ("not parameters.off and parameters.on", json!(true)),
        ("not 1 == 2", json!(true)),
        ("parameters.name | upper", json!("SHOP")),
        ("parameters.name|lower|replace('s', 'c')", json!("chop")),
        ("parameters.missing | default('d')", json!("d")),
        ("parameters.missing is defined", json!(false)),
        ("parameters.name is not defined", json!(false)),
        ("4 is divisibleby 2", json!(true)),
        ("4 is divisibleby(3)", json!(false)),
        ("'s' in 'shop'", json!(true)),
        ("80 not in parameters.ports", json!(false)),
        ("1 + 2 * 3", json!(7)),
        ("7 // 2", json!(3)),
        ("7 % 4 - 1", json!(2)),
        ("2 ** 3", json!(8)),
        ("2 * 3 ** 2 % 5", json!(3)),
        ("'ab' * 2", json!("abab")),
        ("-parameters.a + 1", json!(-6)),
        ("'v' ~ 1 ~ true ~ null", json!("v1truenull")),
        ("'a' ~ parameters.ports", json!("a[80,443]")),
        ("'yes' if parameters.on else 'no'", json!("yes")),
        ("'yes' if parameters.one == 2 else 'no'", json!("no")),
        ("parameters.ports | join('-')", json!("80-443")),
        ("parameters.mixed | join(',')", json!("true,null,1.5,x")),
        ("parameters.on | string", json!("true")),
        ("parameters.ports | first", json!(80)),
        ("parameters.ports | length", json!(2)),
        ("{'a': 1} | tojson", json!("{\"a\": 1}")),
        ("(1 == 1 && 'x') | upper", json!("X")),
        ("[1 == 1, !true]", json!([true, false])),
        ("range(3)", json!([0, 1, 2])),
    ]
}

#[test]
fn an_expression_gives_a_value() {
    let rows = values();
    assert!(rows.len() >= 150, "{}", rows.len());
    let scope = scope();
    for (expression, expect) in rows {
        let text = format!("${{{{ {expression} }}}}");
        let found = render_value(&json!(text), &scope);
        assert_eq!(
            found.as_ref().ok(),
            Some(&expect),
            "{expression}: {found:?}"
        );
    }
}

#[test]
fn a_text_has_json_notation() {
    let rows = [
        ("is ${{ parameters.on }}.", "is true."),
        (
            "${{ parameters.off }}${{ parameters.nothing }}",
            "falsenull",
        ),
        ("${{ parameters.ports }} ", "[80,443] "),
        ("x${{ parameters.mixed }}", "x[true,null,1.5,\"x\"]"),
        ("x${{ {'a': {'b': 'c'}} }}", "x{\"a\":{\"b\":\"c\"}}"),
        ("v${{ parameters.version }}", "v1.10"),
        (
            "n${{ parameters.half }} ${{ parameters.big }}",
            "n0.5 12345678901234567",
        ),
        ("${{ parameters.name }}: ${{ '${{ }}' }}", "Shop: ${{ }}"),
        (
            "$HOME ${NAME} {{ x }} ${#a} ${{ 1 }}",
            "$HOME ${NAME} {{ x }} ${#a} 1",
        ),
        (" ${{ parameters.one }}", " 1"),
    ];
    for (text, expect) in rows {
        assert_eq!(render(text, &scope()).unwrap(), expect, "{text}");
        assert_eq!(
            render_value(&json!(text), &scope()).unwrap(),
            json!(expect),
            "{text}"
        );
    }
}

#[test]
fn a_condition_is_true_or_false() {
    let rows = [
        ("parameters.on", true),
        ("${{ parameters.none }}", true),
        ("parameters.object", true),
        ("parameters.empty", false),
        ("parameters.zero", false),
        ("parameters.nothing", false),
        ("'false'", true),
        ("${{ !parameters.on }}", false),
        ("parameters.on && steps.get-it.output.count > 2", true),
        (
            "${{ steps.get-it.output.content-type == 'TEXT/HTML' }}",
            true,
        ),
        ("parameters.ports[0] == '80' && !parameters.off", true),
    ];
    for (condition, expect) in rows {
        assert_eq!(truthy(condition, &scope()).unwrap(), expect, "{condition}");
    }
}

#[test]
fn a_mistake_is_an_error_that_says_what_is_wrong() {
    let deep = format!("{}1{}", "(".repeat(40), ")".repeat(40));
    let rows = [
        (
            "parameters.a-b",
            "may be a name or a subtraction, for there are `a` and `a-b`: write parameters[\"a-b\"]",
        ),
        (
            "steps.build.output.max-age",
            "there are `max` and `max-age`",
        ),
        ("parameters.gone", "undefined"),
        ("parameters.name + 'x' &", "unexpected `&` at character 23"),
        ("a = b", "unexpected `=`"),
        ("1 ==", "the expression ends too early"),
        (
            "[[1] * 1000] * 1000 == parameters.ports",
            "a list or an object has no product",
        ),
        (
            "1000 * parameters.ports",
            "a list or an object has no product",
        ),
        ("(1", "ends too early"),
        ("'a", "has no end"),
        ("", "ends too early"),
        ("format('{0} {1}', 1)", "has no value for `{1}`"),
        ("fromJSON('{')", "the text is not JSON"),
        ("__eq(1, 1)", "is no function"),
        ("gone(1)", "gone"),
        (
            "1 == 1 == 1 == 1 == 1 == 1 == 1 == 1 == 1 == 1",
            "too many comparisons",
        ),
        (deep.as_str(), "nested too deep"),
    ];
    for (expression, expect) in rows {
        let error = truthy(expression, &scope()).unwrap_err().to_string();
        assert!(error.contains(expect), "{expression}: {error}");
    }
}
