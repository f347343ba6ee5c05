//! A plan as text: the same in a check, in the console and on a terminal.

use std::fmt;

use super::{Action, Counts, DeletePolicy, HOOK_DEADLINE, Plan, Step};
use crate::compare::Short;

/// How many fields of one object are named.
const FIELDS: usize = 12;

impl fmt::Display for Counts {
    /// `2 to create, 1 to update, 1 to prune, 1 hook`, or `nothing to do`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hooks = if self.hooks == 1 { "hook" } else { "hooks" };
        let mut first = true;
        for (count, what) in
            [(self.create, "to create"), (self.update, "to update"), (self.prune, "to prune"), (self.hooks, hooks)]
        {
            if count > 0 {
                write!(f, "{}{count} {what}", if first { "" } else { ", " })?;
                first = false;
            }
        }
        if first { f.write_str("nothing to do") } else { Ok(()) }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Replace => "replace",
            Self::Recreate => "recreate",
            Self::Hook => "run",
            Self::Prune => "prune",
        })
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dry_run = if self.dry_run { " (dry run)" } else { "" };
        writeln!(f, "{}: {}{dry_run}", self.application, self.counts())?;
        for wave in &self.waves {
            if wave.prune.is_empty() && wave.apply.is_empty() {
                continue;
            }
            writeln!(f, "{}, wave {}", wave.phase, wave.number)?;
            for step in wave.prune.iter().chain(&wave.apply) {
                write_step(f, step)?;
            }
        }
        if !self.skipped.is_empty() {
            writeln!(f, "Left alone")?;
            for skipped in &self.skipped {
                writeln!(f, "  {}: {}", skipped.key, skipped.reason)?;
            }
        }
        if let Some(brake) = self.brake {
            writeln!(f, "Waits for confirmation: {}", brake.sentence(&self.application))?;
        }
        for warning in &self.warnings {
            writeln!(f, "Warning: {warning}")?;
        }
        Ok(())
    }
}

/// Seconds as people write them: `1h30m`.
struct Span(u64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (count, unit) in [(self.0 / 3600, "h"), (self.0 / 60 % 60, "m"), (self.0 % 60, "s")] {
            if count > 0 {
                write!(f, "{count}{unit}")?;
            }
        }
        Ok(())
    }
}

fn write_step(f: &mut fmt::Formatter<'_>, step: &Step) -> fmt::Result {
    write!(f, "  {:<8} {}", step.action, step.key)?;
    let mut notes = Vec::new();
    if step.options.confirm {
        notes.push("waits for confirmation".to_owned());
    }
    if let Some(hook) = &step.hook {
        let when: Vec<&str> = hook
            .delete
            .iter()
            .map(|policy| match policy {
                DeletePolicy::BeforeHookCreation => "before it runs again",
                DeletePolicy::HookSucceeded => "when it succeeded",
                DeletePolicy::HookFailed => "when it failed",
            })
            .collect();
        notes.push(format!("deleted {}", when.join(" or ")));
        if hook.deadline_seconds != HOOK_DEADLINE {
            notes.push(format!("may take {}", Span(hook.deadline_seconds)));
        }
    }
    if !notes.is_empty() {
        write!(f, " ({})", notes.join("; "))?;
    }
    writeln!(f)?;
    let fields = step.difference.as_ref().map_or(&[][..], |difference| &difference.fields);
    for field in fields.iter().take(FIELDS) {
        write!(f, "           {}: ", field.path)?;
        match (&field.live, &field.desired) {
            (Some(live), Some(desired)) => writeln!(f, "{} -> {}", Short(live), Short(desired))?,
            (None, Some(desired)) => writeln!(f, "+ {}", Short(desired))?,
            (Some(live), None) => writeln!(f, "- {}", Short(live))?,
            (None, None) => writeln!(f)?,
        }
    }
    if fields.len() > FIELDS {
        writeln!(f, "           and {} more", fields.len() - FIELDS)?;
    }
    Ok(())
}
