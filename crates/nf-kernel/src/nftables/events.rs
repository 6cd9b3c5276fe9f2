//! Notices of nf_tables: that something changed. What did is found by reading again (`nf_tables_api.c`, `nfnetlink.h`).

use crate::netlink::NETLINK_NETFILTER;
use crate::notices::Listener;
use crate::{Error, Result, module};
use std::time::Duration;

/// `NFNLGRP_NFTABLES` (`linux/netfilter/nfnetlink.h`)
const GROUP: u32 = 7;

/// Listens to changes of nf_tables in one network namespace.
#[derive(Debug)]
pub struct Events {
    listener: Listener,
}

impl Events {
    /// Begins to listen, in the calling thread's namespace. Joining would load nf_tables where it is not: then it fails.
    pub fn open() -> Result<Events> {
        if !module::is_there("nf_tables") {
            return Err(Error::missing("listening to nf_tables", "module nf_tables is not loaded", None));
        }
        // A few notices say as much as all of them.
        Ok(Events { listener: Listener::join(NETLINK_NETFILTER, &[GROUP], 256 * 1024)? })
    }

    /// Waits until something changes; `false` where nothing did in that time.
    pub fn wait(&mut self, time: Duration) -> Result<bool> {
        let came = self.listener.wait(time)?;
        if came {
            self.listener.receive(&mut |_| {})?;
        }
        Ok(came)
    }
}
