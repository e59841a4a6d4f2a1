// A step type that computes the next version of a release.
//
//     { "uses": "semver", "with": { "current": "1.4.2", "bump": "minor" } }

import { emit } from "dcd:plugin/log@0.1.0";

const NAME = "semver";
const VERSION = "0.1.0";
const SUMMARY = "Compute the next version of a release";

// dcd checks each step's `with` against this before anything runs.
const SCHEMA = {
  $schema: "https://json-schema.org/draft/2020-12/schema",
  type: "object",
  additionalProperties: false,
  required: ["current", "bump"],
  properties: {
    current: { type: "string", description: "The version so far, such as `1.4.2` or `v1.4.2`." },
    bump: { enum: ["major", "minor", "patch"], description: "Which part rises." },
    pre: { type: "string", description: "A pre-release to add, such as `rc.1`." },
  },
};

const PARTS = ["major", "minor", "patch"];

// A fault has these four fields; those that have nothing to say are undefined.
const fault = (message, help) => ({ message, code: undefined, help, retryAfterMs: undefined });

// `step-error` is a variant: its case is `tag`, what it carries is `val`.
const failed = (message, help) => ({ tag: "failed", val: fault(message, help) });

function next({ current, bump, pre }) {
  const match = /^v?(\d+)\.(\d+)\.(\d+)$/.exec(current);
  if (!match) throw failed(`${JSON.stringify(current)} is no version`, "write it like 1.4.2");
  const numbers = match.slice(1).map(Number);
  const at = PARTS.indexOf(bump);
  const bumped = numbers.map((number, index) => (index < at ? number : index === at ? number + 1 : 0));
  return bumped.join(".") + (pre ? `-${pre}` : "");
}

export const step = {
  describe() {
    return { name: NAME, version: VERSION, summary: SUMMARY, configSchema: JSON.stringify(SCHEMA), features: [] };
  },

  // What a schema cannot say; shown with its place in the pipeline file.
  validate(config) {
    const { pre } = JSON.parse(config);
    if (pre === undefined || /^[0-9A-Za-z.-]+$/.test(pre)) return [];
    return [{ pointer: "/pre", message: "letters, digits, `.` and `-` only", help: undefined }];
  },

  run(config, context) {
    const with_ = JSON.parse(config);
    const version = next(with_);
    // There is no console; what is logged is shown and kept with the step's output.
    emit("info", `${context.component}: ${with_.current} -> ${version}`, [["bump", with_.bump]]);
    return {
      outputs: [
        ["version", JSON.stringify(version)],
        ["tag", JSON.stringify(`v${version}`)],
      ],
      summary: version,
    };
  },
};
