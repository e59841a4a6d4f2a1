"""A step type that fails when a coverage report says too little.

    { "uses": "coverage-gate", "with": { "report": "coverage.xml", "min_lines": 80 } }

The report is Cobertura's XML, which coverage.py, pytest-cov, cargo-llvm-cov, gocover-cobertura and others write.
"""

import json
import xml.etree.ElementTree as ElementTree

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.step import StepError_Broken, StepError_Failed, StepOutput
from wit_world.imports.types import Diagnostic, Error_NotFound, Error_Other, Fault, PluginInfo

NAME, VERSION, SUMMARY = "coverage-gate", "0.1.0", "Fail when a coverage report says too little"

# dcd checks each step's `with` against this before anything runs.
SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "additionalProperties": False,
    "required": ["report", "min_lines"],
    "properties": {
        "report": {"type": "string", "description": "The report: a path relative to the workspace."},
        "min_lines": {"type": "number", "minimum": 0, "maximum": 100, "description": "Of all lines, in percent."},
        "worst": {"type": "integer", "minimum": 0, "default": 5, "description": "How many files to name."},
    },
}


def fault(message, help=None):
    return Fault(message=message, code=None, help=help, retry_after_ms=None)


def percent(element):
    return 100 * float(element.get("line-rate", "0"))


class Step(exports.Step):
    def describe(self):
        return PluginInfo(NAME, VERSION, SUMMARY, json.dumps(SCHEMA), [])

    def validate(self, config):
        # What a schema cannot say; shown with its place in the pipeline file.
        if json.loads(config)["report"].startswith("/"):
            return [Diagnostic("/report", "write a path relative to the workspace", None)]
        return []

    def run(self, config, context):
        config = json.loads(config)
        try:
            report = ElementTree.parse(f"{context.workspace}/{config['report']}").getroot()
        except FileNotFoundError:
            raise Err(StepError_Broken(Error_NotFound(fault(f"there is no {config['report']} that the plugin can see"))))
        except ElementTree.ParseError as error:
            raise Err(StepError_Broken(Error_Other(fault(f"{config['report']} is no XML: {error}"))))
        lines = percent(report)
        print(f"{lines:.1f} % of all lines are covered", flush=True)
        if lines < config["min_lines"]:
            files = sorted(report.iter("class"), key=percent)
            for file in files[: config.get("worst", 5)]:
                print(f"  {percent(file):5.1f} %  {file.get('filename')}", flush=True)
            message = f"{lines:.1f} % of all lines are covered, and {config['min_lines']} % must be"
            raise Err(StepError_Failed(fault(message, "write tests for the files above")))
        return StepOutput([("lines", json.dumps(round(lines, 1)))], f"{lines:.1f} % of lines covered")
