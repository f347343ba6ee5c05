//! Sync options, as the resource and the application give them; the resource's win.

use resources::{Application, Object, annotations, option};
use serde::Serialize;

/// How deleting an object treats its dependants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Propagation {
    /// Dependants first, then the object.
    #[default]
    Foreground,
    /// The object at once, dependants later.
    Background,
    /// Dependants stay.
    Orphan,
}

impl Propagation {
    /// Reads the option's value; one that is not known means foreground.
    pub fn parse(text: &str) -> Self {
        match text {
            "background" => Self::Background,
            "orphan" => Self::Orphan,
            _ => Self::Foreground,
        }
    }
}

/// How a step is carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepOptions {
    /// `Replace=true`: replace the object instead of applying to it.
    pub replace: bool,
    /// `Force=true`: delete and create what cannot be updated.
    pub force: bool,
    /// `Validate=false` clears it: unknown and duplicate fields are let through.
    pub validate: bool,
    /// `ServerSideApply=false` clears it.
    pub server_side: bool,
    /// `SkipDryRunOnMissingResource=true`: the kind may appear during the sync.
    pub skip_dry_run_on_missing: bool,
    /// `RespectIgnoreDifferences=true`: ignored fields are not written either.
    pub respect_ignore_differences: bool,
    /// The manager whose fields are taken over when server-side apply begins; none with `ClientSideApplyMigration=false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub migrate_from: Option<String>,
    /// How a deletion treats dependants.
    pub propagation: Propagation,
    /// The deletion waits until a person has confirmed it.
    pub confirm: bool,
}

/// The options of one operation.
pub(super) struct Options<'a> {
    application: &'a Application,
    list: Vec<&'a str>,
    force: bool,
}

impl<'a> Options<'a> {
    /// The operation's options replace those of the application.
    pub(super) fn new(application: &'a Application, operation: &'a [String], force: bool) -> Self {
        let list = if operation.is_empty() { application.spec.sync_options() } else { operation };
        Self { application, list: list.iter().map(String::as_str).collect(), force }
    }

    pub(super) fn of_application(&self, name: &str) -> Option<&'a str> {
        option(self.list.iter().copied(), name)
    }

    pub(super) fn is_set(&self, name: &str) -> bool {
        self.of_application(name) == Some("true")
    }

    /// The value for one object: its own, else the application's.
    pub(super) fn value<'o>(&'o self, object: &'o Object, name: &str) -> Option<&'o str> {
        of_object(object, name).or_else(|| self.of_application(name))
    }

    pub(super) fn for_step(&self, desired: &Object, live: Option<&Object>) -> StepOptions {
        let is = |name: &str, value: &str| self.value(desired, name) == Some(value);
        // An object that is there may carry the option although Git has dropped it, and the other way round.
        let live_is = |name: &str| live.and_then(|live| of_object(live, name)) == Some("true");
        let manager =
            self.application.annotation(annotations::MIGRATION_MANAGER).unwrap_or("kubectl-client-side-apply");
        StepOptions {
            replace: is("Replace", "true") || live_is("Replace"),
            force: self.force || is("Force", "true") || live_is("Force"),
            validate: !is("Validate", "false"),
            server_side: !is("ServerSideApply", "false"),
            skip_dry_run_on_missing: is("SkipDryRunOnMissingResource", "true"),
            respect_ignore_differences: self.is_set("RespectIgnoreDifferences"),
            migrate_from: (self.of_application("ClientSideApplyMigration") != Some("false")).then(|| manager.into()),
            propagation: self.propagation(),
            confirm: false,
        }
    }

    pub(super) fn for_deletion(&self, confirm: bool) -> StepOptions {
        StepOptions {
            propagation: self.propagation(),
            confirm,
            validate: true,
            server_side: true,
            ..StepOptions::default()
        }
    }

    pub(super) fn propagation(&self) -> Propagation {
        self.of_application("PrunePropagationPolicy").map(Propagation::parse).unwrap_or_default()
    }
}

/// An option in an object's own annotation.
pub(super) fn of_object<'o>(object: &'o Object, name: &str) -> Option<&'o str> {
    option(object.annotation(annotations::SYNC_OPTIONS)?.split(','), name)
}
