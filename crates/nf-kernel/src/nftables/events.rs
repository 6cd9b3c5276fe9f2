//! Notices of nf_tables: that something changed. What did is found by reading again (`nf_tables_api.c`, `nfnetlink.h`).

use crate::netlink::{NETLINK_NETFILTER, attrs, text};
use crate::notices::Listener;
use crate::steps::step;
use crate::{Error, Result, module};
use serde::{Deserialize, Serialize};
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

/// `NFT_MSG_NEWGEN` of `NFNL_SUBSYS_NFTABLES` (`linux/netfilter/nf_tables.h`, `nfnetlink.h`).
const NEW_GENERATION: u16 = 10 << 8 | 15;
// enum nft_gen_attributes
const GEN_ID: u16 = 1;
const GEN_PROC_PID: u16 = 2;
const GEN_PROC_NAME: u16 = 3;
/// `struct nfgenmsg`
const NFGENMSG: usize = 4;

/// Who made a generation of nf_tables.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writer {
    /// The generation.
    pub generation: u32,
    /// Process id, as the first namespace of processes has it.
    pub pid: u32,
    /// The process's name: its first 15 bytes.
    pub name: String,
}

/// Listens for who changes nf_tables in one network namespace. Only the notice that ends a change passes: of 10,000 new
/// rules nothing else is taken.
#[derive(Debug)]
pub struct Writers {
    listener: Listener,
}

impl Writers {
    /// Begins to listen, in the calling thread's namespace. Fails where nf_tables is not loaded.
    pub fn open() -> Result<Writers> {
        if !module::is_there("nf_tables") {
            return Err(Error::missing("listening to nf_tables", "module nf_tables is not loaded", None));
        }
        // The type is in host order, and a program loads in network order.
        let kind = u32::from(u16::from_be_bytes(NEW_GENERATION.to_ne_bytes()));
        const LOAD_HALF: u16 = 0x28; // BPF_LD | BPF_H | BPF_ABS
        const JUMP_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
        const RETURN: u16 = 0x06; // BPF_RET | BPF_K
        const TYPE_AT: u32 = 4; // struct nlmsghdr
        let program = [
            step(LOAD_HALF, 0, 0, TYPE_AT),
            step(JUMP_EQUAL, 0, 1, kind),
            step(RETURN, 0, 0, u32::MAX),
            step(RETURN, 0, 0, 0),
        ];
        Ok(Writers { listener: Listener::join_filtered(NETLINK_NETFILTER, &[GROUP], 64 * 1024, &program)? })
    }

    /// Takes what came since the last time; never waits.
    pub fn receive(&mut self, each: &mut dyn FnMut(Writer)) -> Result<()> {
        self.listener.receive(&mut |m| {
            if m.kind == NEW_GENERATION {
                parse(m.payload).into_iter().for_each(&mut *each);
            }
        })
    }
}

fn parse(payload: &[u8]) -> Option<Writer> {
    let mut writer = Writer::default();
    for (kind, value) in attrs(payload.get(NFGENMSG..)?) {
        let number = || value.first_chunk().map(|b| u32::from_be_bytes(*b));
        match kind {
            GEN_ID => writer.generation = number()?,
            GEN_PROC_PID => writer.pid = number()?,
            GEN_PROC_NAME => writer.name = text(value),
            _ => {}
        }
    }
    (writer.pid != 0).then_some(writer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_notice_of_a_generation_names_who_made_it() {
        let mut payload = vec![0, 0, 0, 0];
        for (kind, value) in
            [(1u16, 7u32.to_be_bytes().to_vec()), (2, 4711u32.to_be_bytes().to_vec()), (3, b"nft\0".to_vec())]
        {
            payload.extend(((value.len() + 4) as u16).to_ne_bytes());
            payload.extend(kind.to_ne_bytes());
            payload.extend(&value);
        }
        assert_eq!(parse(&payload), Some(Writer { generation: 7, pid: 4711, name: "nft".into() }));
        // Older kernels do not say who.
        assert_eq!(parse(&payload[..12]), None);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80)) {
            let _ = parse(&bytes);
        }
    }
}
