//! kube-proxy's process.

use serde::{Deserialize, Serialize};

/// Programs that are kube-proxy, or have it in them: k3s and MicroK8s run it inside of their own.
const PROGRAMS: [&str; 6] = ["kube-proxy", "k3s", "k3s-server", "k3s-agent", "kubelite", "hyperkube"];

/// What is known of its process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Process {
    /// Not looked for: it answers.
    #[default]
    NotLookedFor,
    /// It runs.
    Runs {
        /// Its number.
        pid: i32,
        /// Its name.
        name: String,
    },
    /// It was stopped, by a signal or a debugger.
    Stopped {
        /// Its number.
        pid: i32,
        /// Its name.
        name: String,
    },
    /// There is none.
    Gone,
    /// The processes of the node are not visible here: kptop is in another PID namespace.
    Hidden,
}

/// Looks for it among the processes that are visible.
pub(super) fn look() -> Process {
    let Ok(all) = procfs::process::all_processes() else { return Process::Hidden };
    let mut sees_kernel = false;
    for stat in all.flatten().filter_map(|p| p.stat().ok()) {
        // The kernel's threads are in the node's own PID namespace alone.
        sees_kernel |= stat.comm == "kthreadd";
        if PROGRAMS.contains(&stat.comm.as_str()) {
            let (pid, name) = (stat.pid, stat.comm);
            return match stat.state {
                'T' | 't' => Process::Stopped { pid, name },
                _ => Process::Runs { pid, name },
            };
        }
    }
    if sees_kernel { Process::Gone } else { Process::Hidden }
}

/// True where the calling thread's network namespace is the one of the node's first process.
pub(super) fn in_nodes_netns() -> bool {
    let of = |who: &str| std::fs::read_link(format!("/proc/{who}/ns/net")).ok();
    of("1").is_some_and(|first| of("thread-self") == Some(first))
}
