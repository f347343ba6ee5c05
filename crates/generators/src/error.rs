//! What can go wrong, and what to do about it.

use resources::Invalid;

/// Why an ApplicationSet could not be expanded. Never stands for "no Applications": whoever gets it changes and deletes nothing.
#[derive(Debug, thiserror::Error)]
pub enum ExpandError {
    /// The set itself is wrong.
    #[error("the ApplicationSet is not valid: {0}")]
    InvalidSet(#[source] Invalid),
    /// The set uses something that Lockstep does not have.
    #[error("{field}: {what} is not supported yet; remove it or use another generator")]
    Unsupported {
        /// The field.
        field: String,
        /// What it is.
        what: String,
    },
    /// Something outside could not be read.
    #[error("{field}: {source}")]
    Lookup {
        /// The generator.
        field: String,
        /// What happened.
        source: LookupError,
    },
    /// Parameters could not be made from what was read.
    #[error("{field}: {message}")]
    Parameters {
        /// The generator.
        field: String,
        /// What is wrong and where.
        message: String,
    },
    /// A template could not be filled in.
    #[error("{field}: {source}")]
    Template {
        /// The field with the template.
        field: String,
        /// What is wrong.
        source: TemplateError,
    },
    /// What the template gave is no Application.
    #[error("the Application {name:?} made by {generator} is not valid: {source}")]
    InvalidApplication {
        /// Its name, as far as it has one.
        name: String,
        /// The generator.
        generator: String,
        /// What is wrong.
        source: Invalid,
    },
    /// Two sets of parameters gave the same name.
    #[error(
        "two Applications are named {name:?}: one from {first}, one from {second}; put a parameter that differs into the name"
    )]
    Duplicate {
        /// The name.
        name: String,
        /// Generator and parameters of one.
        first: String,
        /// Generator and parameters of the other.
        second: String,
    },
}

impl ExpandError {
    /// Whether trying again can help without anybody changing the set.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Lookup { source: LookupError::Unavailable(_), .. })
    }

    pub(crate) fn parameters(field: &str, message: impl Into<String>) -> Self {
        Self::Parameters { field: field.into(), message: message.into() }
    }
}

/// Why something outside could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// It does not exist, or these credentials do not show it.
    #[error("{0} was not found; check the name and the credentials")]
    NotFound(String),
    /// It could not be reached now.
    #[error("{0}")]
    Unavailable(String),
    /// It was refused for good.
    #[error("{0}")]
    Refused(String),
}

/// Why a template could not be filled in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot fill in {template:?}: {reason}")]
pub struct TemplateError {
    /// The template, shortened.
    pub template: String,
    /// What is wrong.
    pub reason: String,
}

impl TemplateError {
    pub(crate) fn new(template: &str, reason: impl Into<String>) -> Self {
        let short = if template.chars().count() > 200 {
            template.chars().take(200).chain(['…']).collect()
        } else {
            template.into()
        };
        Self { template: short, reason: reason.into() }
    }
}
