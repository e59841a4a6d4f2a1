//! How the build goes so far.

use dcd_plugin_sdk::{Error, StepContext};
use serde_json::{Value, json};
use shared::facts;

use crate::config::To;

/// How the build goes so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct News {
    component: String,
    number: Option<u64>,
    build_id: String,
    /// The steps that count as failed.
    failed: Vec<String>,
    /// `success`, or the worst that happened.
    outcome: String,
    commit: Option<String>,
    branch: Option<String>,
    user: Option<String>,
}

impl News {
    pub(crate) fn of(cx: &StepContext) -> Result<Self, Error> {
        let steps = facts::steps(cx)?;
        let bad = || steps.iter().filter(|(_, step)| step.is_bad());
        let rank = ["failure", "timeout", "error", "cancellation"];
        let worst = bad().max_by_key(|(_, step)| rank.iter().position(|word| *word == step.conclusion));
        let text = |path: &[&str]| facts::text(cx, path).map(str::to_owned);
        Ok(Self {
            component: cx.component.clone(),
            number: cx.build_number,
            build_id: cx.build_id.clone(),
            failed: bad().map(|(name, _)| name.clone()).collect(),
            outcome: worst.map_or_else(|| "success".to_owned(), |(_, step)| step.conclusion.clone()),
            commit: text(&["git", "commit"]),
            branch: text(&["git", "branch"]),
            user: text(&["user", "name"]),
        })
    }

    fn is_good(&self) -> bool {
        self.failed.is_empty()
    }

    /// `shop #12`
    fn build(&self) -> String {
        let number = self.number.map_or_else(|| self.build_id.chars().take(8).collect(), |n| format!("#{n}"));
        format!("{} {number}", self.component)
    }

    /// What is said unless the pipeline says something else.
    fn text(&self) -> String {
        let outcome = if self.is_good() {
            "success so far".to_owned()
        } else {
            format!("{}: {}", self.outcome, self.failed.join(", "))
        };
        let place = self.place();
        let place = if place.is_empty() { String::new() } else { format!(" ({place})") };
        format!("{}: {outcome}{place}", self.build())
    }

    /// `main at 1a2b3c4, by ada@example.com`, as far as it is known.
    fn place(&self) -> String {
        let at = match (&self.branch, self.short_commit()) {
            (Some(branch), Some(commit)) => Some(format!("{branch} at {commit}")),
            (Some(one), None) => Some(one.clone()),
            (None, commit) => commit,
        };
        let by = self.user.as_ref().map(|user| format!("by {user}"));
        at.into_iter().chain(by).collect::<Vec<_>>().join(", ")
    }

    fn short_commit(&self) -> Option<String> {
        self.commit.as_ref().map(|commit| commit.chars().take(7).collect())
    }

    /// What is sent.
    pub(crate) fn message(&self, to: To, text: Option<&str>) -> Value {
        match to {
            To::Slack => json!({ "text": text.map_or_else(|| self.for_slack(), str::to_owned) }),
            To::Teams => self.card(text),
            To::Webhook => json!({
                "text": text.map_or_else(|| self.text(), str::to_owned),
                "component": self.component,
                "number": self.number,
                "build_id": self.build_id,
                "outcome": self.outcome,
                "failed": self.failed,
                "commit": self.commit,
                "branch": self.branch,
                "user": self.user,
            }),
        }
    }

    /// Slack's three special characters are escaped
    /// (<https://docs.slack.dev/messaging/formatting-message-text>).
    fn for_slack(&self) -> String {
        let sign = if self.is_good() { ":white_check_mark:" } else { ":x:" };
        let text = self.text().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        format!("{sign} {text}")
    }

    /// An Adaptive Card, as a workflow's trigger "When a Teams webhook request is received" takes it.
    fn card(&self, text: Option<&str>) -> Value {
        let mut facts = vec![("Build", self.build()), ("Outcome so far", self.outcome.clone())];
        if !self.failed.is_empty() {
            facts.push(("Failed", self.failed.join(", ")));
        }
        let rest = [("Branch", &self.branch), ("Commit", &self.short_commit()), ("By", &self.user)];
        facts.extend(rest.into_iter().filter_map(|(title, value)| Some((title, value.clone()?))));
        let facts: Vec<Value> =
            facts.into_iter().map(|(title, value)| json!({ "title": title, "value": value })).collect();
        let color = if self.is_good() { "good" } else { "attention" };
        let text = text.map_or_else(|| self.text(), str::to_owned);
        json!({
            "type": "message",
            "attachments": [{
                "contentType": "application/vnd.microsoft.card.adaptive",
                "contentUrl": null,
                "content": {
                    "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                    "type": "AdaptiveCard",
                    "version": "1.4",
                    "body": [
                        { "type": "TextBlock", "text": text, "wrap": true, "weight": "bolder", "color": color },
                        { "type": "FactSet", "facts": facts },
                    ],
                },
            }],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(steps: &Value) -> News {
        let mut cx = StepContext::default();
        cx.component = "shop".into();
        cx.build_number = Some(12);
        cx.build_id = "0198aaaa-bbbb".into();
        cx.facts = json!({
            "steps": steps,
            "git": { "commit": "1a2b3c4d5e6f", "branch": { "absent": "HEAD is detached" } },
            "user": { "name": "ada <a@example.com>" },
        });
        News::of(&cx).unwrap_or_default()
    }

    #[test]
    fn the_worst_of_what_counts_is_said() {
        let steps = json!({
            "a": { "conclusion": "success" }, "b": { "conclusion": "error" }, "c": { "conclusion": "failure" },
            "d": { "outcome": "failure", "conclusion": "success" }, "e": { "conclusion": "skip" },
        });
        assert_eq!(news(&steps).text(), "shop #12: error: b, c (1a2b3c4, by ada <a@example.com>)");
        let good = news(&json!({}));
        assert_eq!(good.text(), "shop #12: success so far (1a2b3c4, by ada <a@example.com>)");
        let wanted = json!({ "text": ":white_check_mark: shop #12: success so far (1a2b3c4, by ada &lt;a@example.com&gt;)" });
        assert_eq!(good.message(To::Slack, None), wanted);
    }

    #[test]
    fn a_card_has_the_facts_that_are_known() {
        let card = news(&json!({ "t": { "conclusion": "failure" } })).message(To::Teams, Some("oh *no*"));
        let body = &card["attachments"][0]["content"]["body"];
        assert_eq!((&body[0]["text"], &body[0]["color"]), (&json!("oh *no*"), &json!("attention")));
        let titles: Vec<_> =
            body[1]["facts"].as_array().into_iter().flatten().map(|f| f["title"].clone()).collect();
        assert_eq!(titles, ["Build", "Outcome so far", "Failed", "Commit", "By"]);
    }
}
