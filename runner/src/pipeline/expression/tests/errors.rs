//! What is said of an expression before anything runs.

use super::{
    super::{Names, Root, Template},
    condition, shown, template, with_names,
};

/// What is said of each of `texts`, one after the other.
pub(super) fn wrong_conditions(texts: &[&str]) -> String {
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
fn a_text_that_is_no_expression() {
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
"###);
}

#[test]
fn names_that_are_not_there() {
    let texts = [
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
    ];
    insta::assert_snapshot!(wrong_conditions(&texts), @r###"
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
  help: write the function with brackets: always()

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
"###);
}

#[test]
fn steps_that_cannot_be_read() {
    let texts = [
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
    ];
    insta::assert_snapshot!(wrong_conditions(&texts), @r###"
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
                         help: write the function with brackets: success(), or the string in quotes: "success"
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
