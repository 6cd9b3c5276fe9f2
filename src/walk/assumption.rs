//! What the snapshot leaves open, and what a path takes for granted.

use std::fmt;
use std::net::IpAddr;

/// A question that the snapshot does not answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Question {
    /// Whether the packet comes in by this interface; `eth+` stands for all that begin so.
    Arrives(String),
    /// Whether a packet to this address leaves by this interface; `early` before its destination was translated.
    Leaves {
        /// The interface.
        interface: String,
        /// Where to.
        to: IpAddr,
        /// True at OUTPUT, where the route is that of the first destination.
        early: bool,
    },
    /// Whether this is an address of the node.
    Local(IpAddr),
    /// Any other, in words.
    Other(String),
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Question::Arrives(name) => write!(f, "it comes in by {name}"),
            Question::Leaves { interface, early: false, .. } => write!(f, "it leaves by {interface}"),
            Question::Leaves { interface, early: true, .. } => {
                write!(f, "it leaves by {interface}, as routed before any translation")
            }
            Question::Local(address) => write!(f, "{address} is an address of this node"),
            Question::Other(text) => f.write_str(text),
        }
    }
}

/// An answer to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Answer {
    /// It is so.
    Yes,
    /// It is not so.
    No,
    /// What is not understood ends the packet.
    Decides,
    /// What is not understood does not match.
    Misses,
    /// What is not understood lets the packet go on.
    Passes,
}

/// What a path takes for granted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Assumption {
    /// What is open.
    pub question: Question,
    /// How it is answered on this path; `None` where no other answer was followed.
    pub answer: Option<Answer>,
}

impl fmt::Display for Assumption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let q = &self.question;
        match self.answer {
            None | Some(Answer::Yes) => write!(f, "{q}"),
            Some(Answer::No) => write!(f, "not: {q}"),
            Some(Answer::Decides) => write!(f, "{q} decides"),
            Some(Answer::Misses) => write!(f, "{q} does not match"),
            Some(Answer::Passes) => write!(f, "{q} lets it go on"),
        }
    }
}
