//! A search through the lines of a pane: every word must be in a line.

use super::pane::Search;

/// What is searched for.
#[derive(Clone, Debug, Default)]
pub(super) struct TextFilter {
    text: String,
    words: Vec<String>,
}

impl TextFilter {
    pub(super) fn set(&mut self, text: String) {
        self.words = text.split_whitespace().map(str::to_lowercase).collect();
        self.text = text;
    }

    /// Takes the search away; false where there was none.
    pub(super) fn clear(&mut self) -> bool {
        let was = !self.words.is_empty();
        self.set(String::new());
        was
    }

    /// Whether a line passes; it is not put together where nothing is searched for.
    pub(super) fn passes(&self, line: impl FnOnce() -> String) -> bool {
        if self.words.is_empty() {
            return true;
        }
        let line = line().to_lowercase();
        self.words.iter().all(|w| line.contains(w))
    }

    /// What the title says of it: `, only "cart" (Esc clears)`.
    pub(super) fn note(&self) -> String {
        match self.words.is_empty() {
            true => String::new(),
            false => format!(" · only \"{}\" (Esc clears)", self.text.trim()),
        }
    }

    pub(super) fn search(&self, found: usize) -> Search {
        Search { text: self.text.clone(), found, ..Search::default() }
    }
}
