//! What is said of types, and of calls.

use super::errors::wrong_conditions;

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn types_that_do_not_fit() {
    let texts = [
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
        "[1].exists(x, \"a\")",
        "[1].filter(x, 1)",
        "[1].map(x, \"a\", x)",
        "[1].exists_one(x, params.count)",
        "steps.build.outputs",
    ];
    insta::assert_snapshot!(wrong_conditions(&texts), @r###"
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

[1].exists(x, "a")
              ^^^ a loop's condition is true or false, and `"a"` is a string
                help: compare it: "a" != ""

[1].filter(x, 1)
              ^ a loop's condition is true or false, and `1` is an integer
                help: compare it: 1 != 0

[1].map(x, "a", x)
           ^^^ a loop's condition is true or false, and `"a"` is a string
             help: compare it: "a" != ""

[1].exists_one(x, params.count)
                  ^^^^^^^^^^^^ a loop's condition is true or false, and `params.count` is an integer
                    help: compare it: params.count != 0

steps.build.outputs
^^^^^^^^^^^^^^^^^^^ `if` needs true or false, and `steps.build.outputs` is a map
"###);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn functions_that_are_called_wrongly() {
    let texts = [
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
