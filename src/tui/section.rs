//! Parts of a pane of which one is shown at a time.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tui) enum Section {
    Picture,
    Backends,
    Flows,
    Rules,
    Clients,
    Path,
    Modes,
    Summary,
    Cpus,
    Sources,
    Services,
    Matrix,
}

impl Section {
    pub(in crate::tui) const OF_SERVICE: [Section; 7] = [
        Section::Picture,
        Section::Backends,
        Section::Flows,
        Section::Rules,
        Section::Clients,
        Section::Path,
        Section::Modes,
    ];
    pub(in crate::tui) const OF_CONNTRACK: [Section; 5] =
        [Section::Summary, Section::Cpus, Section::Sources, Section::Services, Section::Matrix];

    pub(in crate::tui) fn title(self) -> &'static str {
        match self {
            Section::Picture => "Picture",
            Section::Backends => "Backends",
            Section::Flows => "Flows",
            Section::Rules => "Rules",
            Section::Clients => "Affinity",
            Section::Path => "Path",
            Section::Modes => "Modes",
            Section::Summary => "Summary",
            Section::Cpus => "CPUs",
            Section::Sources => "Sources",
            Section::Services => "Services",
            Section::Matrix => "Matrix",
        }
    }
}
