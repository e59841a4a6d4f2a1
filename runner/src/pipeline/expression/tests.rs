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

/// What is said of each of `texts`, one after the other.
fn wrong_conditions(texts: &[&str]) -> String {
    let all: Vec<String> = texts
        .iter()
        .map(|text| match condition(text) {
            Ok(_) => panic!("`{text}` has no error"),
            Err(errors) => shown(text, &errors),
        })
        .collect();
    all.join("\n")
}

#[test]
fn what_is_right_is_accepted() {
    for text in [
        "success()",
        "always() && params.fast",
        "params.target == \"prod\" && !(params.count > 2)",
        "steps.build.outcome == 'success'",
        "steps[\"build-amd64\"].outcome != \"skip\"",
        "steps.many.conclusion == \"success\"",
        "has(steps.build.outputs.version)",
        "has(env.CI) && env.CI == \"true\"",
        "\"my-key\" in steps.build.outputs",
        "steps.build.outputs[\"my-key\"] == \"\"",
        "git.branch.matches(r\"^release/\\d+$\")",
        "git.branch == null || build.number != null",
        "params.ratio > 1 && params.ratio * 2.0 < 5.0",
        "[\"a\", \"b\"].exists(x, x == params.target)",
        "steps.build.outputs.list.split(\",\").all(name, name.startsWith(\"a\") || name == params.target)",
        "matrix.arch in [\"amd64\"]",
        "env.exists(name, name.startsWith(\"DCD_\"))",
        "params.count - 1 > 0",
        "params.count-1 > 0",
        "cancelled() || failure() // a comment",
        "${{ params.fast }}",
        " params.fast\n && params.fast ",
    ] {
        if let Err(errors) = condition(text) {
            panic!("{}", shown(text, &errors));
        }
    }
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
  help: 
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
  help: 
${{ [env.TOKEN].map(x, x < 1) }}
  `[env.TOKEN].map(x, x < 1)` cannot be worked out: `<` does not take a string and an integer
  help: 
${{ [[env.TOKEN]][0].x }}
  `[[env.TOKEN]][0].x` cannot be worked out: `.` does not take a list and a string
  help: 
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

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn what_is_wrong_is_told_with_its_place() {
    let texts = [
        "params.fast &&",
        "",
        "params.fast & params.fast",
        "params.count = 3",
        "(params.fast",
        "params.fast)",
        "params.target == \"prod",
        "params.fast and params.fast",
        "not params.fast",
        "params.fast ? true",
        "[1, 2",
        "params.count > 9999999999999999999999",
        "\"\\d\" == \"\"",
        "if == 1",
        "$params.fast",
        "prams.fast",
        "fast",
        "secrets.TOKEN == \"\"",
        "always",
        "params.targt == \"\"",
        "params.x",
        "params.target.x == 1",
        "matrix.os == \"\"",
        "git.sha == \"\"",
        "build.nubmer == 1",
        "image.digst == \"\"",
        "steps == null",
        "steps.bild.outcome == \"success\"",
        "steps.nothing.outcome == \"success\"",
        "steps.later.outcome == \"success\"",
        "steps.build.output.x == \"\"",
        "steps.build.outcom == \"success\"",
        "steps.many.outputs.x == \"\"",
        "steps.many == null",
        "steps.build-amd64.outcome == \"success\"",
        "steps.build-amd46.outcome == \"success\"",
        "steps[\"build-amd46\"].outcome == \"success\"",
        "steps.build-2.outcome == \"failure\"",
        "steps.build.outputs.my-key == \"\"",
        "steps[params.target].outcome == \"success\"",
        "steps.build.outcome == \"failed\"",
        "steps.build.outcome == success",
        "params.count == \"3\"",
        "params.fast == \"true\"",
        "\"x\" == params.count",
        "1 + \"a\" == 2",
        "\"v\" + params.count == \"\"",
        "params.ratio * 2 > 1.0",
        "!params.target",
        "params.target",
        "params.count",
        "params.count && params.fast",
        "params.fast || env.CI",
        "\"a\" in params.target",
        "-params.target == 1",
        "params.target[0] == \"p\"",
        "params.target > 1",
        "[1][\"a\"] == 1",
        "lenght(params.target) > 1",
        "params.target.len() > 1",
        "params.target.contains() ",
        "params.target.contains(1)",
        "contains(params.target, \"a\")",
        "size() == 1",
        "params.target.size(1) == 1",
        "success(\"build\")",
        "failure() == 1",
        "[1].exists(x)",
        "[1].exists(x > 1, x)",
        "[1].exists(params, true)",
        "has(params)",
        "has(params.fast, 1)",
        "has(params.fats)",
        "params.target.matches(\"(\")",
        "params.count.exists(x, true)",
        "[1].exists(x, y)",
        "Foo{a: 1} == null",
        "params.?x",
        "env.X == \"\" && git.x",
        "`a` == 1",
        "params.target == \"ä\" & ö",
        "github.sha == \"\"",
        "needs.build.result == \"\"",
        "params.fast && ${{ params.fast }}",
    ];
    insta::assert_snapshot!(wrong_conditions(&texts), @r###"
params.fast &&
             ^ the expression ends too early
               help: write the rest after `&&`


^ the expression is empty
  help: write what it should be, such as `params.target`

params.fast & params.fast
            ^ `&` is not expected here
              help: write && for "and"

params.count = 3
             ^ `=` is not expected here
               help: write == to compare

(params.fast
           ^ the expression ends before its `)`
             help: write the rest after `(params.fast`

params.fast)
           ^ `)` is not expected here

params.target == "prod
                 ^^^^^ the string is not closed: its second " is missing

params.fast and params.fast
            ^^^ `and` is not expected here
              help: write && for "and"

not params.fast
^^^ `not` is not expected here
  help: write ! for "not"

params.fast ? true
                 ^ the expression ends before its `:`
                   help: write the rest after `true`

[1, 2
    ^ the expression ends before its `]`
      help: write the rest after `2`

params.count > 9999999999999999999999
               ^^^^^^^^^^^^^^^^^^^^^^ 9999999999999999999999 is not an integer of 64 bits

"\d" == ""
^^^^ "\d" has an escape that does not exist
  help: write \\ for a backslash, or put an r before the string: r"\d+"

if == 1
^^ `if` is a word that CEL keeps for itself
  help: use another name

$params.fast
^ `$` is not expected here
  help: in an expression names stand without $

prams.fast
^^^^^ there is no `prams`
  help: did you mean `params`?

fast
^^^^ there is no `fast`
  help: did you mean `params.fast`?

secrets.TOKEN == ""
^^^^^^^ there is no `secrets`
  help: a secret reaches the steps that name it in `secrets`, as a variable

always
^^^^^^ there is no `always`
  help: write it with brackets: always()

params.targt == ""
       ^^^^^ the file declares no param `targt`
         help: did you mean `params.target`?

params.x
       ^ the file declares no param `x`
         help: there is `target`, `count`, `ratio` and `fast`

params.target.x == 1
              ^ `params.target` is a string: it has no `x`

matrix.os == ""
       ^^ the step's matrix has no `os`
         help: there is `arch` and `bits`

git.sha == ""
    ^^^ `git` has no `sha`
      help: there is `commit`, `tree`, `branch`, `dirty` and `remote`

build.nubmer == 1
      ^^^^^^ `build` has no `nubmer`
        help: did you mean `build.number`?

image.digst == ""
      ^^^^^ `image` has no `digst`
        help: did you mean `image.digest`?

steps == null
^^^^^ `steps` is no value: which step is it about?
  help: name the step: steps.NAME.outcome

steps.bild.outcome == "success"
      ^^^^ there is no step `bild`
        help: did you mean `steps.build`?

steps.nothing.outcome == "success"
      ^^^^^^^ there is no step `nothing`

steps.later.outcome == "success"
      ^^^^^ the step `later` need not be over yet when this is read
        help: add "later" to the `needs` of the step

steps.build.output.x == ""
            ^^^^^^ a step has no `output`
              help: did you mean `steps.build.outputs`?

steps.build.outcom == "success"
            ^^^^^^ a step has no `outcom`
              help: did you mean `steps.build.outcome`?

steps.many.outputs.x == ""
           ^^^^^^^ the step `many` has a matrix: all its combinations together have an outcome and a conclusion only
             help: name one of them: steps["many (amd64)"].outputs

steps.many == null
      ^^^^ the step `many` has a matrix: it is several steps
        help: ask for its `outcome` or `conclusion`

steps.build-amd64.outcome == "success"
      ^^^^^^^^^^^ the `-` in `build-amd64` is a minus here
        help: write steps["build-amd64"]

steps.build-amd46.outcome == "success"
      ^^^^^^^^^^^ the `-` in `build-amd46` is a minus here
        help: write steps["build-amd46"]

steps["build-amd46"].outcome == "success"
      ^^^^^^^^^^^^^ there is no step `build-amd46`
        help: did you mean `steps["build-amd64"]`?

steps.build-2.outcome == "failure"
      ^^^^^^^ the `-` in `build-2` is a minus here
        help: write steps["build-2"]

steps.build.outputs.my-key == ""
                    ^^^^^^ the `-` in `my-key` is a minus here
                      help: write steps.build.outputs["my-key"]

steps[params.target].outcome == "success"
      ^^^^^^^^^^^^^ a step's name must stand there as it is
        help: write steps["NAME"]; which steps are read must be known before they run

steps.build.outcome == "failed"
                       ^^^^^^^^ no step ever has the outcome "failed"
                         help: it is one of `success`, `failure`, `error`, `timeout`, `cancellation` and `skip`

steps.build.outcome == success
                       ^^^^^^^ there is no `success`
                         help: write it with brackets: success()

params.count == "3"
^^^^^^^^^^^^^^^^^^^ `params.count` is an integer and `"3"` is a string: they are never equal
  help: write 3 without quotes

params.fast == "true"
^^^^^^^^^^^^^^^^^^^^^ `params.fast` is a boolean and `"true"` is a string: they are never equal
  help: write true without quotes

"x" == params.count
^^^^^^^^^^^^^^^^^^^ `"x"` is a string and `params.count` is an integer: they are never equal
  help: write string(params.count)

1 + "a" == 2
^^^^^^^ `+` cannot take these together: `1` is an integer, `"a"` is a string
  help: write string(1)

"v" + params.count == ""
^^^^^^^^^^^^^^^^^^ `+` cannot take these together: `"v"` is a string, `params.count` is an integer
  help: write string(params.count)

params.ratio * 2 > 1.0
^^^^^^^^^^^^^^^^ `*` cannot take these together: `params.ratio` is a number with a fraction, `2` is an integer
  help: write 2.0

!params.target
 ^^^^^^^^^^^^^ `!` needs true or false, and `params.target` is a string
   help: compare it: params.target != ""

params.target
^^^^^^^^^^^^^ `if` needs true or false, and `params.target` is a string
  help: compare it: params.target != ""

params.count
^^^^^^^^^^^^ `if` needs true or false, and `params.count` is an integer
  help: compare it: params.count != 0

params.count && params.fast
^^^^^^^^^^^^^^^^^^^^^^^^^^^ `&&` needs true or false on both sides: `params.count` is an integer, `params.fast` is a boolean
  help: compare it: params.count != 0

params.fast || env.CI
^^^^^^^^^^^^^^^^^^^^^ `||` needs true or false on both sides: `params.fast` is a boolean, `env.CI` is a string
  help: compare it: env.CI != ""

"a" in params.target
^^^^^^^^^^^^^^^^^^^^ `in` needs a list or a map of strings after it: `"a"` is a string, `params.target` is a string
  help: to look into a string, write params.target.contains("a")

-params.target == 1
^^^^^^^^^^^^^^ `-` needs a number, and `params.target` is a string

params.target[0] == "p"
^^^^^^^^^^^^^^^^ `params.target` is a string: it has no elements

params.target > 1
^^^^^^^^^^^^^^^^^ `>` cannot take these together: `params.target` is a string, `1` is an integer
  help: write int(params.target)

[1]["a"] == 1
    ^^^ a list's elements are counted from 0; the index is a string

lenght(params.target) > 1
^^^^^^^^^^^^^^^^^^^^^ there is no function lenght()
  help: docs/expressions.md lists the functions

params.target.len() > 1
^^^^^^^^^^^^^^^^^^^ there is no function len()
  help: did you mean size()?

params.target.contains() 
^^^^^^^^^^^^^^^^^^^^^^^^ contains() takes 1 argument, not 0
  help: such as x.contains("…")

params.target.contains(1)
                       ^ contains() works with a string, and `1` is an integer
                         help: write string(1)

contains(params.target, "a")
^^^^^^^^^^^^^^^^^^^^^^^^^^^^ contains() stands after what it is about
  help: write x.contains("…")

size() == 1
^^^^^^ size() takes 1 argument, not 0
  help: such as size(x)

params.target.size(1) == 1
^^^^^^^^^^^^^^^^^^^^^ size() takes no arguments, not 1
  help: such as x.size()

success("build")
^^^^^^^^^^^^^^^^ success() takes no arguments
  help: it is about all that the step needs; for one: steps.NAME.outcome == "success"

failure() == 1
^^^^^^^^^^^^^^ `failure()` is a boolean and `1` is an integer: they are never equal

[1].exists(x)
^^^^^^^^^^^^^ exists() goes through a list, with a name for each element
  help: write list.exists(x, CONDITION)

[1].exists(x > 1, x)
^^^^^^^^^^^^^^^^^^^^ a loop's first argument is a new name
  help: such as list.exists(x, x > 1)

[1].exists(params, true)
^^^^^^^^^^^^^^^^^^^^^^^^ `params` has a meaning of its own here
  help: use another name, such as x

has(params)
^^^^^^^^^^^ has() takes a name and a field
  help: write has(steps.build.outputs.version), or "my-key" in steps.build.outputs

has(params.fast, 1)
^^^^^^^^^^^^^^^^^^^ has() takes one name with a field
  help: write has(steps.build.outputs.version)

has(params.fats)
           ^^^^ the file declares no param `fats`
             help: did you mean `params.fast`?

params.target.matches("(")
                      ^^^ the pattern is not a regular expression: unclosed group
                        help: the syntax is that of RE2; write it as r"…" to need no double backslashes

params.count.exists(x, true)
^^^^^^^^^^^^ `params.count` is an integer, not a list

[1].exists(x, y)
              ^ there is no `y`
                help: names start with `params`, `env`, `steps`, `build`, `git`, `image` and `matrix`

Foo{a: 1} == null
^^^ `Foo{ … }` is not supported
  help: a map is written {"key": value}

params.?x
      ^ `?` has no meaning here
        help: ask with has(), or write CONDITION ? A : B

env.X == "" && git.x
                   ^ `git` has no `x`
                     help: there is `commit`, `tree`, `branch`, `dirty` and `remote`

`a` == 1
^^^ ``a`` is not expected here

params.target == "ä" & ö
                     ^ `&` is not expected here
                       help: write && for "and"

github.sha == ""
^^^^^^ there is no `github`
  help: in dcd it is git.commit or git.branch

needs.build.result == ""
^^^^^ there is no `needs`
  help: in dcd it is steps.NAME.outcome

params.fast && ${{ params.fast }}
               ^ `$` is not expected here
                 help: in an expression names stand without $
"###);
}

#[test]
fn templates_say_what_is_wrong() {
    let mut all = String::new();
    for text in [
        "a ${{ params.target",
        "a ${{ \"}} \" b",
        "${{ }}",
        "${{ params.targt }} and ${{ git.brnch }}",
        "${{ success() }}",
        "${{ null }}",
        "${{ steps.later.outputs.x }}",
    ] {
        all += &shown(text, &template(text).unwrap_err());
    }
    with_names(&[Root::Params, Root::Git], |names| {
        let names = Names { place: "`lock`", ..*names };
        let text = "${{ env.X + git.branch }}";
        all += &shown(text, &Template::parse(text, &names).unwrap_err());
    });
    insta::assert_snapshot!(all, @r###"
a ${{ params.target
  ^^^ this `${{` has no `}}`
    help: close it, or write $${{ for the characters themselves
a ${{ "}} " b
  ^^^ this `${{` has no `}}`
    help: close it, or write $${{ for the characters themselves
${{ }}
   ^ the expression is empty
     help: write what it should be, such as `params.target`
${{ params.targt }} and ${{ git.brnch }}
           ^^^^^ the file declares no param `targt`
             help: did you mean `params.target`?
                                ^^^^^ `git` has no `brnch`
                                  help: did you mean `git.branch`?
${{ success() }}
    ^^^^^^^^^ success() can be asked in `if` only
      help: read steps.NAME.outcome
${{ null }}
    ^^^^ null has no text
${{ steps.later.outputs.x }}
          ^^^^^ the step `later` need not be over yet when this is read
            help: add "later" to the `needs` of the step
${{ env.X + git.branch }}
    ^^^ `env` cannot be used in `lock`
      help: there is `params` and `git` here
"###);
}
