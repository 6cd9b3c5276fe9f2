//! Families of generic netlink (`linux/genetlink.h`).

use super::netlink::{Message, NETLINK_GENERIC, Request, Socket};
use super::reads::CONTROLLER;
use super::{Error, Result};
use netlink_packet_core::{Emitable, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader};
use netlink_packet_generic::GenlMessage;
use netlink_packet_generic::ctrl::nlas::{GenlCtrlAttrs, McastGrpAttrs};
use netlink_packet_generic::ctrl::{GenlCtrl, GenlCtrlCmd};

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
    let mut socket = Socket::open(NETLINK_GENERIC)?;
    let ask = GenlMessage::from_payload(GenlCtrl { cmd: GenlCtrlCmd::GetFamily, nlas: vec![] });
    let mut payload = vec![0; ask.buffer_len()];
    ask.emit(&mut payload);
    let (mut found, mut wrong) = (None, None);
    let request = Request::new(CONTROLLER, NLM_F_REQUEST).raw(&payload);
    socket.dump(what, request, &mut |m: Message<'_>| {
        let mut header = NetlinkHeader::default();
        header.message_type = m.kind;
        let family = match GenlMessage::<GenlCtrl>::deserialize(&header, m.payload) {
            Ok(answer) => family(answer.payload.nlas),
            Err(e) => return wrong = Some(e.to_string()),
        };
        if let Some((family, _)) = family.filter(|(_, n)| n == name) {
            super::reads::learn(family.id, name);
            found = Some(family);
        }
    })?;
    match (found, wrong) {
        (None, Some(why)) => Err(Error::protocol(what, why)),
        (found, _) => Ok(found),
    }
}

/// A family and its name.
fn family(attributes: Vec<GenlCtrlAttrs>) -> Option<(Family, String)> {
    let (mut family, mut name) = (Family::default(), None);
    for a in attributes {
        match a {
            GenlCtrlAttrs::FamilyId(i) => family.id = i,
            GenlCtrlAttrs::FamilyName(n) => name = Some(n),
            GenlCtrlAttrs::McastGroups(groups) => {
                family.groups = groups.iter().filter_map(|g| group(g)).collect();
            }
            _ => {}
        }
    }
    Some((family, name?))
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
