//! `dcd plan`

use crate::{
    cli::{GraphFormat, PlanArgs},
    commands::{
        load,
        output::{print, print_json},
        prepare,
    },
    error::{CommandError, Exit},
    report::{Plan, Style},
};

pub(super) fn plan(args: &PlanArgs) -> Result<Exit, CommandError> {
    let workspace = load::workspace()?;
    let bound = prepare::bound(&workspace, &args.file, args.params.values())?;
    let pipeline = &bound.loaded.pipeline;
    let left_out = prepare::select(pipeline, &args.select)?;
    let plan = Plan { pipeline, left_out: &left_out };
    match args.graph {
        Some(GraphFormat::Mermaid) => print(&plan.mermaid())?,
        Some(GraphFormat::Dot) => print(&plan.dot())?,
        None if args.json => print_json(&plan.document())?,
        None => print(&plan.text(Style::of(&std::io::stdout())))?,
    }
    Ok(Exit::Success)
}
