//! The errors of this crate.

/// The result of a function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of a training.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No parameter is trained.
    #[error(
        "found no parameter to train, expected at least one: no module is a target of LoRA or trained as a whole"
    )]
    NothingToTrain,
    /// Names that no module has.
    #[error("modules_to_save: found {}, expected the end of the name of a linear layer, a layer norm or `lm_head`", .unknown.join(", "))]
    Modules {
        /// The names.
        unknown: Vec<String>,
    },
    /// Stored values do not fit the trained parameters.
    #[error("found {problems}, expected the values of the trained parameters", problems = .problems.join("; "))]
    Parameters {
        /// Every key that is missing, unknown or of another size.
        problems: Vec<String>,
    },
    /// The loss or the gradients of a step are not finite.
    #[error("found a loss of {loss} and gradients of norm {grad_norm}, expected finite numbers")]
    NotFinite {
        /// The loss of the step.
        loss: f64,
        /// The norm of the gradients.
        grad_norm: f64,
    },
    /// An error of the model.
    #[error(transparent)]
    Model(#[from] florence2_core::Error),
}
