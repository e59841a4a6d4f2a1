mod errors;
mod types;

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Expression, ExpressionError, Names, Root, Status, StepName, Template, Variables};
use crate::pipeline::{Param, ParamType, Spanned};

fn params() -> Vec<Param> {
    let param = |name: &str, kind| Param {
        name: Spanned { value: name.to_owned(), span: 0..0 },
        kind,
        required: false,
        default: None,
        choices: Vec::new(),
        description: None,
    };
    vec![
        param("target", ParamType::String),
        param("count", ParamType::Integer),
        param("ratio", ParamType::Number),
        param("fast", ParamType::Boolean),
    ]
}

fn step(name: &str) -> StepName {
    match name {
        "build" | "build-amd64" | "build (amd64)" => StepName::Known,
        "later" => StepName::NotNeeded,
        "many" => StepName::ManyCombinations("many (amd64)".to_owned()),
        "bild" => StepName::Unknown(Some("build".to_owned())),
        "build-amd46" => StepName::Unknown(Some("build-amd64".to_owned())),
        _ => StepName::Unknown(None),
    }
}

/// With the names that most tests use.
fn with_names<T>(roots: &[Root], use_them: impl FnOnce(&Names<'_>) -> T) -> T {
    let matrix = BTreeMap::from([("arch".to_owned(), json!("amd64")), ("bits".to_owned(), json!(64))]);
    use_them(&Names { params: &params(), matrix: &matrix, steps: &step, roots, place: "`if`" })
}

fn condition(text: &str) -> Result<Expression, Vec<ExpressionError>> {
    with_names(&Root::ALL, |names| Expression::parse(text, names))
}

fn template(text: &str) -> Result<Template, Vec<ExpressionError>> {
    with_names(&Root::ALL, |names| Template::parse(text, names))
}

fn variables() -> Variables {
    let roots = json!({
        "params": { "target": "prod", "count": 3, "ratio": 2, "fast": true },
        "env": { "HOME": "/root", "TOKEN": "s3cr3t", "EMPTY": "" },
        "steps": {
            "build": { "outcome": "success", "conclusion": "success", "attempt": 2,
                       "outputs": { "version": "1.2", "my-key": "v", "list": "a,b" } },
            "build-amd64": { "outcome": "failure", "conclusion": "success", "attempt": 1, "outputs": {} },
        },
        "build": { "id": "01", "number": null, "component": "shop", "pipeline": "release" },
        "git": { "commit": "c0ffee", "branch": "feature/Ä", "dirty": false, "tree": "t", "remote": null },
        "image": { "digest": "sha256:1", "id": null },
        "matrix": { "arch": "amd64", "bits": 64 },
    });
    let Value::Object(roots) = roots else { unreachable!() };
    let name = |name: &str| Root::ALL.into_iter().find(|root| root.name() == name).unwrap().name();
    Variables {
        roots: roots.into_iter().map(|(key, value)| (name(&key), value)).collect(),
        status: Status::default(),
    }
}

fn render(text: &str) -> Result<String, String> {
    let template = template(text).map_err(|errors| shown(text, &errors))?;
    template
        .render(&variables())
        .map_err(|error| format!("{}\n  help: {}", error, error.help.as_deref().unwrap_or_default()))
}

fn shown(text: &str, errors: &[ExpressionError]) -> String {
    let mut lines = format!("{text}\n");
    for error in errors {
        let before = text[..error.range.start].chars().count();
        let marked = text[error.range.clone()].chars().count().max(1);
        lines += &format!("{}{} {}\n", " ".repeat(before), "^".repeat(marked), error.message);
        if let Some(help) = &error.help {
            lines += &format!("{}  help: {help}\n", " ".repeat(before));
        }
    }
    lines
}

#[test]
fn values_stand_in_their_place() {
    for (text, value) in [
        ("deploy-${{ params.target }}", "deploy-prod"),
        ("${{ params.count }}/${{ params.ratio }}/${{ params.fast }}", "3/2.0/true"),
        ("a ${{ {\"a\": {\"b\": \"}}\"}}.a.b }} z", "a }} z"),
        ("${{ '}}' }}${{ \"${{\" }}", "}}${{"),
        ("$${{ params.target }} ${{ 1 }}", "${{ params.target }} 1"),
        ("$ {{ }} $${ ${ a", "$ {{ }} $${ ${ a"),
        ("${{ [1, 2].map(x, x * 2) }}", "[2,4]"),
        ("${{ {'a': 1} }}", "{\"a\":1}"),
        ("${{ git.branch.replace('/', '-') }}", "feature-Ä"),
        ("${{ has(steps.build.outputs.none) ? steps.build.outputs.none : 'x' }}", "x"),
        ("${{ steps.build.outputs['my-key'] + string(steps.build.attempt) }}", "v2"),
        ("${{ steps['build-amd64'].outcome }}${{ matrix.arch }}${{ matrix.bits + 1 }}", "failureamd6465"),
        ("${{ steps.build.outputs.list.split(',').filter(x, x != 'a').join(' ') }}", "b"),
        ("${{ params.ratio / 4.0 }}", "0.5"),
        ("${{ env.filter(n, n.startsWith('E'))[0] }}${{ env.EMPTY }}", "EMPTY"),
        ("${{ git.remote == null ? 'none' : git.remote }} // ${{ 1 // }}", "none // 1"),
        ("", ""),
        ("ä${{ 'ö' }}", "äö"),
    ] {
        assert_eq!(render(text).as_deref(), Ok(value), "{text}");
    }
}

#[test]
fn a_single_expression_keeps_its_type() {
    let value = |text: &str| template(text).unwrap().render_value(&variables()).unwrap();
    assert_eq!(value("${{ params.count }}"), json!(3));
    assert_eq!(value("${{ params.fast }}"), json!(true));
    assert_eq!(value("${{ [1, 'a'] }}"), json!([1, "a"]));
    assert_eq!(value(" ${{ params.count }}"), json!(" 3"));
    assert_eq!(value("$${{ params.count }}"), json!("${{ params.count }}"));
    assert_eq!(value("text"), json!("text"));
    assert_eq!(Template::plain("${{ no }}").render(&variables()).unwrap(), "${{ no }}");
}

#[test]
fn conditions_hold_or_do_not() {
    let holds = |text: &str, status: Status| {
        let variables = Variables { status, ..variables() };
        condition(text).unwrap().holds(&variables).unwrap()
    };
    let failed = Status { success: false, failure: true, cancelled: false };
    assert!(holds("success() && params.count == 3 && params.count < 3.5", Status::default()));
    assert!(!holds("success()", failed));
    assert!(holds("failure() && !cancelled()", failed));
    assert!(holds("always()", failed));
    assert!(holds("git.branch.matches(r'^feature/')", failed));
    assert!(holds(
        "has(steps.build.outputs.version) && !has(steps.build.outputs.none) && !has(env.NONE)",
        failed
    ));
    assert!(holds("'my-key' in steps.build.outputs && build.number == null", failed));
}

#[test]
fn what_an_expression_reads_is_known() {
    let expression =
        condition("  steps.build.outcome == env.X || steps['build (amd64)'].attempt > 1 || has(params.fast)")
            .unwrap();
    let steps: Vec<_> =
        expression.steps().iter().map(|read| (read.name.as_str(), read.range.clone())).collect();
    assert_eq!(steps, [("build", 8..13), ("build (amd64)", 40..55)]);
    assert_eq!(expression.roots().collect::<Vec<_>>(), [Root::Params, Root::Env, Root::Steps]);
    assert!(!expression.asks_status());
    assert!(condition("!failure()").unwrap().asks_status());
    let template = template("ä ${{ steps.build.outcome }}").unwrap();
    assert_eq!(template.steps().next().map(|read| read.range.clone()), Some(13..18));
    assert_eq!(template.as_plain(), None);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn values_that_are_missing_are_named_and_never_shown() {
    let texts = [
        "${{ steps.build.outputs.none }}",
        "${{ steps['build-amd64'].outputs['my-key'] }}",
        "${{ steps.build.outputs.version == '' ? '' : env.NOT_SET + 'x' }}",
        "${{ git.remote }}",
        "${{ {env.TOKEN: 1}['x'] }}",
        "${{ int(env.TOKEN) }}",
        "${{ [1][params.count] }}",
        "${{ params.count / (params.count - 3) }}",
        "${{ 9223372036854775807 + params.count }}",
        "${{ build.number + 1 }}",
        "${{ 1.0 / 0.0 }}",
        "${{ [env.TOKEN][0] - 1 }}",
        "${{ [env.TOKEN].map(x, x < 1) }}",
        "${{ [[env.TOKEN]][0].x }}",
        "${{ env[params.target] }}",
        "${{ env.map(a, env.map(b, env.map(c, env.map(d, env.map(e, env.map(f, env.map(g,
            env.map(h, env.map(i, env.map(j, env.map(k, env.map(l, env.map(m, env.map(n, env))))))))))))))[0] }}",
        "${{ env.map(a, 'xxxxxxxxxxxxxxxxxxxxxx'.replace('', env.HOME).replace('', env.HOME).replace('', env.HOME)) }}",
    ];
    let all: Vec<String> = texts
        .iter()
        .map(|text| match render(text) {
            Ok(value) => panic!("{text} is {} bytes", value.len()),
            Err(error) => format!("{text}\n  {error}"),
        })
        .collect();
    let all = all.join("\n");
    assert!(!all.contains("s3cr3t"), "{all}");
    insta::assert_snapshot!(all, @r###"
${{ steps.build.outputs.none }}
  `steps.build.outputs.none`: the step `build` has no output `none`; it has `list`, `my-key` and `version`
  help: write `has(steps.build.outputs.none) ? steps.build.outputs.none : "…"` to do without
${{ steps['build-amd64'].outputs['my-key'] }}
  `steps["build-amd64"].outputs["my-key"]`: the step `build-amd64` has no output `my-key`; it has none
  help: ask before, with `in`: "KEY" in MAP ? MAP["KEY"] : …
${{ steps.build.outputs.version == '' ? '' : env.NOT_SET + 'x' }}
  `env.NOT_SET`: the variable `NOT_SET` is not set
  help: write `has(env.NOT_SET) ? env.NOT_SET : "…"` to do without
${{ git.remote }}
  `git.remote` has no value in this build
  help: write `git.remote != null ? git.remote : …` to do without
${{ {env.TOKEN: 1}['x'] }}
  `{env.TOKEN: 1}['x']` asks for a key that is not there
  help: ask before, with `in`: KEY in MAP ? MAP[KEY] : …
${{ int(env.TOKEN) }}
  `int(env.TOKEN)` cannot be worked out: int() cannot take this value
  help: outputs of scripts are strings; int(…), double(…) and string(…) convert
${{ [1][params.count] }}
  `[1][params.count]` asks for an element that its list does not have
  help: 
${{ params.count / (params.count - 3) }}
  `params.count / (params.count - 3)` divides by zero
  help: 
${{ 9223372036854775807 + params.count }}
  `9223372036854775807 + params.count` has a result that is too large for a number of 64 bits
  help: 
${{ build.number + 1 }}
  `build.number` has no value in this build
  help: ask before: build.number != null
${{ 1.0 / 0.0 }}
  `1.0 / 0.0` is not a number
  help: 
${{ [env.TOKEN][0] - 1 }}
  `[env.TOKEN][0] - 1` cannot be worked out: an operator does not take the types of these values
  help: outputs of scripts are strings; int(…), double(…) and string(…) convert
${{ [env.TOKEN].map(x, x < 1) }}
  `[env.TOKEN].map(x, x < 1)` cannot be worked out: `<` does not take a string and an integer
  help: outputs of scripts are strings; int(…), double(…) and string(…) convert
${{ [[env.TOKEN]][0].x }}
  `[[env.TOKEN]][0].x` cannot be worked out: `.` does not take a list and a string
  help: outputs of scripts are strings; int(…), double(…) and string(…) convert
${{ env[params.target] }}
  `env[params.target]` asks for a key that is not there
  help: ask before, with `in`: KEY in MAP ? MAP[KEY] : …
${{ env.map(a, env.map(b, env.map(c, env.map(d, env.map(e, env.map(f, env.map(g,
            env.map(h, env.map(i, env.map(j, env.map(k, env.map(l, env.map(m, env.map(n, env))))))))))))))[0] }}
  ${{ env.map(a, env.map(b, env.map(c, env.map(d, env.map(e, env.map(f, env.map(g,
            env.map(h, env.map(i, env.map(j, env.map(k, env.map(l, env.map(m, env.map(n, env))))))))))))))[0] }}
    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ the expression has too many parts in one row
      help: split it, or work the value out in a step's script

${{ env.map(a, 'xxxxxxxxxxxxxxxxxxxxxx'.replace('', env.HOME).replace('', env.HOME).replace('', env.HOME)) }}
  `env.map(a, 'xxxxxxxxxxxxxxxxxxxxxx'.replace('', env.HOME).re...` is too much work
  help: loop over less, or work the value out in a step's script
"###);
}

#[test]
fn what_is_too_large_is_refused_on_a_small_stack() {
    let nested = |open: &str, middle: &str, close: &str, count: usize| {
        format!("{}{middle}{}", open.repeat(count), close.repeat(count))
    };
    let texts = [
        nested("(", "1", ")", 20),
        nested("(", "1", ")", 1000),
        nested("(1 + ", "1", ")", 20),
        nested("[", "1", "]", 2000),
        nested("{1:", "1", "}", 1000),
        nested("[1].map(x, ", "1", ")", 20),
        nested("[1].map(x, ", "1", ")", 300),
        nested("true ? 1 : ", "1", "", 20),
        nested("[1].map(x, ", "1", ")[0]", 9),
        nested("true ? ", "1", ": 1", 400),
        nested("!-", "1", "", 2000),
        nested("1+", "1", "", 39),
        nested("1+", "1", "", 2000),
        nested("true && ", "true", "", 500),
        nested("", "params", ".a", 2000),
        nested("", "[1]", "[0]", 1300),
        nested("", "[1]", ".map(x,x)", 400),
        nested("size(", "1", ")", 800),
        "(".repeat(4000),
        "x".repeat(100_000),
        format!("\"{}\"", "x".repeat(5000)),
    ];
    let small = std::thread::Builder::new().stack_size(2 << 20);
    let thread = small.spawn(move || {
        for text in texts {
            let _ = condition(&text).map(|expression| expression.holds(&variables()));
            let _ = render(&format!("${{{{ {text} }}}}"));
        }
    });
    thread.unwrap().join().unwrap();
}

/// The examples in the docs have the values that stand beside them: `EXPRESSION  =>  VALUE`.
#[test]
fn the_docs_are_right() {
    let page = include_str!("../../../../../docs/expressions.md");
    let mut count = 0;
    for (expression, value) in page.lines().filter_map(|line| line.split_once("  => ")) {
        let (text, value) = (expression.trim(), value.trim());
        let wrapped = format!("${{{{ {text} }}}}");
        let shown = render(if text.contains("${{") { text } else { &wrapped }).unwrap();
        assert_eq!(shown, value, "{text}");
        count += 1;
    }
    assert!(count > 20);
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".*", inside in "[-a-z0-9.()\\[\\]{}\"'!&|=+?:, $\\\\rä]{0,60}") {
        for text in [&text, &inside, &format!("{text}${{{{ {inside} }}}}"), &format!("params.{inside}")] {
            for errors in [condition(text).err(), template(text).err()].into_iter().flatten() {
                for error in errors {
                    prop_assert!(text.get(error.range).is_some(), "{text:?}");
                }
            }
            let _ = render(text);
        }
    }
}
