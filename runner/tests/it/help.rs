//! The command line, and what commands say of themselves.

use crate::support::Project;

#[test]
fn without_arguments_it_says_how_it_is_used() {
    let run = Project::new().run(&[]);
    insta::assert_snapshot!(run.expect(2).err, @r#"
    Run your team's pipeline here and now, in your own image, and keep the history of it

    Usage: dcd <COMMAND>

    Commands:
      run          Run a pipeline
      retry        Run again what did not succeed in a build, as a new build
      plan         Show what would run, in which order, and why
      shell        Open a shell where a step of a build ran: its directory, its environment
      validate     Check a pipeline file, and the plugins that it uses, without running anything
      schema       Print the JSON Schema of pipeline files, for editors
      init         Write a first pipeline, an image for it and the script `dcd` that runs it
      history      Look at builds
      lock         Look at the locks that builds hold and wait for
      plugin       Look at plugins, and write them
      doctor       Check that dcd can do its work here, and say what to do where it cannot
      completions  Print a script that completes dcd's commands and options in a shell
      help         Print this message or the help of the given subcommand(s)

    Options:
      -h, --help     Print help
      -V, --version  Print version

    First steps:
      1. Write dcd.json:   dcd init, or: {"steps": [{"name": "test", "run": "make test"}]}
      2. Run it:           dcd run
      3. See it again:     dcd history show latest
    "#);
    assert_eq!(run.out, "");
}

#[test]
fn help_and_version_are_no_failure() {
    let project = Project::new();
    let help = project.run(&["--help"]);
    assert_eq!(help.expect(0).out, project.run(&[]).err);
    assert!(
        help.out.contains("1. Write dcd.json")
            && help.out.contains("2. Run it")
            && help.out.contains("3. See it again")
    );
    insta::assert_snapshot!(project.run(&["--version"]).expect(0).out, @"dcd [VERSION]");
}

/// The help of each command.
fn help(commands: &[&str]) -> String {
    let project = Project::new();
    let page = |command: &&str| {
        let args: Vec<_> = command.split(' ').chain(["--help"]).collect();
        format!("$ dcd {command} --help\n{}\n", project.run(&args).expect(0).out)
    };
    commands.iter().map(page).collect()
}

#[test]
fn commands_that_read_a_pipeline_say_what_they_take() {
    insta::assert_snapshot!(help(&["run", "validate"]), @r#"
    $ dcd run --help
    Run a pipeline

    Usage: dcd run [OPTIONS] [FILE]

    Arguments:
      [FILE]  The pipeline file [default: dcd.json]

    Options:
      -p, --param <NAME=VALUE>  Give a param a value; may be repeated
          --only <STEP>         Run only this step, without those that it needs; may be repeated
          --skip <STEP>         Leave this step out; may be repeated
          --from <STEP>         Run this step and all that need it, directly or through others
      -j, --jobs <N>            How many steps may run at the same time [default: the number of CPUs]
          --fail-fast           Stop everything at the first failure that counts
          --keep-going          After a failure go on with the steps that do not need what failed (the
                                default)
          --on-fail <ACTION>    When a step fails: `shell` opens a shell where it failed; in a terminal
                                only
          --output <MODE>       Show the build live, plain or as json; without it: live on a terminal,
                                else plain
          --report <KIND=FILE>  Write a report, however the build ends: junit=FILE or json=FILE; may be
                                repeated
      -h, --help                Print help

    $ dcd validate --help
    Check a pipeline file, and the plugins that it uses, without running anything

    Usage: dcd validate [OPTIONS] [FILE]

    Arguments:
      [FILE]  The pipeline file [default: dcd.json]

    Options:
          --json  Print the result as JSON
      -h, --help  Print help
    "#);
}

#[test]
fn commands_that_show_builds_say_what_they_take() {
    insta::assert_snapshot!(help(&["history", "history list", "history show", "history logs"]), @r#"
    $ dcd history --help
    Look at builds

    Usage: dcd history <COMMAND>

    Commands:
      list    List builds, newest first
      show    Show one build: its steps, and what was recorded of where it ran
      logs    Print what a build's steps printed, byte for byte; with --follow while they print it
      diff    Say what differs between two builds
      stats   Count builds: how many pass, how long they take, which steps and tests are slow, flaky or
              failing
      prune   Drop what old builds printed, and keep everything else of them
      export  Write builds into a file, for another workspace
      import  Take builds from such a file into this workspace
      verify  Check that a build's events are those that happened: whole, unchanged and in their order
      sync    Send the builds that the history backend was to have and lacks
      help    Print this message or the help of the given subcommand(s)

    Options:
      -h, --help  Print help

    $ dcd history list --help
    List builds, newest first

    Usage: dcd history list [OPTIONS]

    Options:
      -n, --limit <N>          How many builds to list [default: 20]
          --before <BUILD>     Go on after this build, the last of the list before
          --json               Print a JSON array
          --outcome <OUTCOME>  Only builds that ended so: success, failure, error, timeout,
                               cancellation; or running. May be repeated
          --branch <NAME>      Only builds of this branch
          --commit <SHA>       Only builds of the commit that begins so
          --author <USER>      Only builds that this user asked for
          --since <TIME>       Only builds that started since: a date, a time (RFC 3339), or so long
                               ago, as 7d or 12h
          --until <TIME>       Only builds that started until then; a date counts to its end
          --grep <TEXT>        Only builds with this text in pipeline, component, branch, commit, user,
                               reason or a step's name
          --file <FILE>        The pipeline file whose history backend is asked, too [default: dcd.json]
          --local              Look only at the builds that are in this workspace
          --component <NAME>   Only builds of this component
      -h, --help               Print help

    $ dcd history show --help
    Show one build: its steps, and what was recorded of where it ran

    Usage: dcd history show [OPTIONS] [BUILD]

    Arguments:
      [BUILD]  A number, an id, a unique prefix of an id, or `latest` [default: latest]

    Options:
          --json              Print a JSON object
          --file <FILE>       The pipeline file whose history backend is asked, too [default: dcd.json]
          --local             Look only at the builds that are in this workspace
          --component <NAME>  Only builds of this component
      -h, --help              Print help

    $ dcd history logs --help
    Print what a build's steps printed, byte for byte; with --follow while they print it

    Usage: dcd history logs [OPTIONS] <BUILD> [STEP]

    Arguments:
      <BUILD>  A number, an id, a unique prefix of an id, or `latest`
      [STEP]   Only this step's output

    Options:
          --attempt <N>       Only this try of the step; without it, all of them one after the other
      -f, --follow            Go on while the build runs, until it ends
          --since <TIME>      Only what was printed since: a date, a time (RFC 3339), or so long ago, as
                              10m or 2h
          --tail <N>          Only the last N lines of what there is; with --follow, and all that comes
          --json              Print the output as events, one JSON object a line
          --file <FILE>       The pipeline file whose history backend is asked, too [default: dcd.json]
          --local             Look only at the builds that are in this workspace
          --component <NAME>  Only builds of this component
      -h, --help              Print help
    "#);
}

#[test]
fn commands_about_locks_say_what_they_take() {
    insta::assert_snapshot!(help(&["lock", "lock list", "lock break"]), @r#"
    $ dcd lock --help
    Look at the locks that builds hold and wait for

    Usage: dcd lock <COMMAND>

    Commands:
      list   List the locks that are held, and who waits for them
      break  Take a lock of the history backend from the build that holds it, which is then stopped
      help   Print this message or the help of the given subcommand(s)

    Options:
      -h, --help  Print help

    $ dcd lock list --help
    List the locks that are held, and who waits for them

    Usage: dcd lock list [OPTIONS]

    Options:
          --file <FILE>  The pipeline file whose history backend is asked, too [default: dcd.json]
          --local        List only the locks of this machine
          --json         Print a JSON array
      -h, --help         Print help

    $ dcd lock break --help
    Take a lock of the history backend from the build that holds it, which is then stopped

    Usage: dcd lock break [OPTIONS] <NAME>

    Arguments:
      <NAME>  The lock's name

    Options:
          --ticket <ID>  Whose place in the queue to take instead of the holder's: the build's id, or a
                         unique prefix of it
          --file <FILE>  The pipeline file whose history backend keeps the lock [default: dcd.json]
      -h, --help         Print help
    "#);
}

#[test]
fn commands_that_show_plugins_say_what_they_take() {
    insta::assert_snapshot!(help(&["plugin", "plugin list", "plugin inspect"]), @r#"
    $ dcd plugin --help
    Look at plugins, and write them

    Usage: dcd plugin <COMMAND>

    Commands:
      list      List the plugins that can be used here
      inspect   Show what a plugin is, what it asks for and what it is granted, without running it
      install   Put plugins into the plugin directory: checked, granted what they may touch, and
                compiled ahead of time
      allow     Add to what the image grants a plugin that is in the plugin directory
      new       Begin a plugin: make a project in Rust that builds and passes its tests
      test      Test a plugin through the real host: a step type with cases, a history backend with all
                that is expected of one
      manifest  Add the manifest to a component that was built without the SDK
      help      Print this message or the help of the given subcommand(s)

    Options:
      -h, --help  Print help

    $ dcd plugin list --help
    List the plugins that can be used here

    Usage: dcd plugin list [OPTIONS]

    Options:
          --file <FILE>  The pipeline file whose plugins are listed, too [default: dcd.json]
          --json         Print a JSON array
      -h, --help         Print help

    $ dcd plugin inspect --help
    Show what a plugin is, what it asks for and what it is granted, without running it

    Usage: dcd plugin inspect [OPTIONS] <PLUGIN>

    Arguments:
      <PLUGIN>  A plugin's name, or a `.wasm` file

    Options:
          --file <FILE>  The pipeline file that may name the plugin's path and grants [default:
                         dcd.json]
          --describe     Run the plugin to ask it for its config, when it is not installed; it may touch
                         nothing meanwhile
          --json         Print a JSON object
      -h, --help         Print help
    "#);
}

#[test]
fn commands_that_install_plugins_say_what_they_take() {
    insta::assert_snapshot!(help(&["plugin install", "plugin allow"]), @"
    $ dcd plugin install --help
    Put plugins into the plugin directory: checked, granted what they may touch, and compiled ahead of
    time

    Usage: dcd plugin install [OPTIONS] [FILE]...

    Arguments:
      [FILE]...  The plugins' `.wasm` files; those that are elsewhere are copied into the plugin
                 directory

    Options:
          --all                 Install every `.wasm` file of the plugin directory
          --allow <KIND=VALUE>  Grant a plugin something that it asks for: http=https://HOST,
                                tcp=HOST:PORT, env=NAME, fs=DIR:rw, exec=PROGRAM or secrets=NAME; with
                                several plugins PLUGIN:KIND=VALUE. May be repeated
          --locked              Let no pipeline grant the plugins more than the image does
          --update              Accept a file with another digest than the one that the image's grants
                                were written for
          --target <TRIPLE>     Compile for an image of another architecture: a triple, or amd64 or
                                arm64
          --dir <DIR>           The plugin directory [default: /dcd-plugins]
          --json                Print a JSON array
      -h, --help                Print help

    $ dcd plugin allow --help
    Add to what the image grants a plugin that is in the plugin directory

    Usage: dcd plugin allow [OPTIONS] <PLUGIN> <KIND=VALUE>...

    Arguments:
      <PLUGIN>         The plugin's name
      <KIND=VALUE>...  http=https://HOST, tcp=HOST:PORT, env=NAME, fs=DIR:rw, exec=PROGRAM or
                       secrets=NAME

    Options:
          --dir <DIR>  The plugin directory [default: /dcd-plugins]
      -h, --help       Print help
    ");
}

#[test]
fn a_wrong_command_line() {
    let project = Project::new();
    insta::assert_snapshot!(project.run(&["rnu"]).expect(2).err, @r#"
    error: unrecognized subcommand 'rnu'

    Usage: dcd <COMMAND>

    For more information, try '--help'.
    "#);
    insta::assert_snapshot!(project.run(&["run", "--steps", "3"]).expect(2).err, @r#"
    error: unexpected argument '--steps' found

      tip: to pass '--steps' as a value, use '-- --steps'

    Usage: dcd run [OPTIONS] [FILE]

    For more information, try '--help'.
    "#);
    insta::assert_snapshot!(project.run(&["run", "--jobs", "0"]).expect(2).err, @r#"
    error: invalid value '0' for '--jobs <N>': 0 is not in 1..=65535

    For more information, try '--help'.
    "#);
    insta::assert_snapshot!(project.run(&["history", "list", "-n", "many"]).expect(2).err, @r#"
    error: invalid value 'many' for '--limit <N>': invalid digit found in string

    For more information, try '--help'.
    "#);
    project.run(&["history"]).expect(2);
    project.run(&["history", "logs"]).expect(2);
    project.run(&["plugin"]).expect(2);
}
