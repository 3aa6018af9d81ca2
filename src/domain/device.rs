//! The machines of a user, as their clients say.

/// What kind of program a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Runtime {
    /// An app on a machine, which can execute tools.
    Desktop,
    /// A page in a browser, which cannot.
    Web,
}
