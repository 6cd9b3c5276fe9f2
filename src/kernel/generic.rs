//! Families of generic netlink (`linux/genetlink.h`).

use super::{Error, Result};
use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_generic::GenlMessage;
use netlink_packet_generic::ctrl::nlas::{GenlCtrlAttrs, McastGrpAttrs};
use netlink_packet_generic::ctrl::{GenlCtrl, GenlCtrlCmd};
use netlink_sys::{Socket as RawSocket, SocketAddr, protocols::NETLINK_GENERIC};

/// A family that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Family {
    /// Its number, which it was given when its module was loaded.
    pub id: u16,
    /// Its multicast groups, by name.
    pub groups: Vec<(String, u32)>,
}

/// Looks for a family in the list of all: asking for it by name would make the kernel load its module.
pub fn find_family(what: &str, name: &str) -> Result<Option<Family>> {
    let mut socket = RawSocket::new(NETLINK_GENERIC).map_err(|e| Error::io(what, e))?;
    socket.bind_auto().map_err(|e| Error::io(what, e))?;
    socket.connect(&SocketAddr::new(0, 0)).map_err(|e| Error::io(what, e))?;
    let mut message = NetlinkMessage::from(GenlMessage::from_payload(GenlCtrl {
        cmd: GenlCtrlCmd::GetFamily,
        nlas: vec![],
    }));
    message.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    message.header.sequence_number = 1;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0).map_err(|e| Error::io(what, e))?;
    let mut buffer = Vec::with_capacity(64 * 1024);
    let mut found = None;
    loop {
        buffer.clear();
        socket.recv(&mut buffer, 0).map_err(|e| Error::io(what, e))?;
        let mut at = 0;
        while at < buffer.len() {
            let message = NetlinkMessage::<GenlMessage<GenlCtrl>>::deserialize(&buffer[at..])
                .map_err(|e| Error::protocol(what, e.to_string()))?;
            at += (message.header.length as usize).next_multiple_of(4);
            match message.payload {
                NetlinkPayload::Done(_) => return Ok(found),
                NetlinkPayload::Error(e) => return Err(Error::io(what, e.to_io())),
                NetlinkPayload::InnerMessage(m) => {
                    let (mut family, mut here) = (Family::default(), false);
                    for attr in &m.payload.nlas {
                        match attr {
                            GenlCtrlAttrs::FamilyId(i) => family.id = *i,
                            GenlCtrlAttrs::FamilyName(n) => here = n == name,
                            GenlCtrlAttrs::McastGroups(groups) => {
                                family.groups = groups.iter().filter_map(|g| group(g)).collect();
                            }
                            _ => {}
                        }
                    }
                    if here {
                        super::reads::learn(family.id, name);
                        found = Some(family);
                    }
                }
                _ => {}
            }
            if message.header.length == 0 {
                break;
            }
        }
    }
}

fn group(attributes: &[McastGrpAttrs]) -> Option<(String, u32)> {
    let (mut name, mut id) = (None, None);
    for a in attributes {
        match a {
            McastGrpAttrs::Name(n) => name = Some(n.clone()),
            McastGrpAttrs::Id(i) => id = Some(*i),
        }
    }
    Some((name?, id?))
}
