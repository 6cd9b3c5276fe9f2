//! Virtual and real servers of IPVS.

use super::{
    ATTR_DEST, Client, Forwarding, RealServer, VirtualServer, address_bytes, address_family, service_attr,
};
use crate::Result;
use nf_ruleset::IpFamily;

const CMD_NEW_SERVICE: u8 = 1;
const CMD_NEW_DEST: u8 = 5;
const CMD_SET_DEST: u8 = 6;
const CMD_FLUSH: u8 = 17;

impl Client {
    /// Adds a virtual server with its real servers. For tests and demos in namespaces of their own (feature `write`).
    pub fn add(&mut self, server: &VirtualServer) -> Result<()> {
        let request = service_attr(self.generic(CMD_NEW_SERVICE), server, true);
        self.socket.request("adding an IPVS service", request, &mut |_| {})?;
        for real in &server.real_servers {
            self.put_real(CMD_NEW_DEST, server, real)?;
        }
        Ok(())
    }

    /// Changes weight, limits and forwarding of a real server. For tests and demos in namespaces of their own (feature `write`).
    pub fn set_real_server(&mut self, server: &VirtualServer, real: &RealServer) -> Result<()> {
        self.put_real(CMD_SET_DEST, server, real)
    }

    fn put_real(&mut self, command: u8, server: &VirtualServer, real: &RealServer) -> Result<()> {
        let request = service_attr(self.generic(command), server, false);
        let request = request.nest(ATTR_DEST, |r| {
            r.attr(1, &address_bytes(real.address))
                .attr(2, &real.port.to_be_bytes())
                .attr_u32(3, real.forwarding.bits())
                .attr_u32(4, real.weight)
                .attr_u32(5, real.upper_threshold)
                .attr_u32(6, real.lower_threshold)
                .attr_u16(11, address_family(IpFamily::of(real.address)))
        });
        self.socket.request("writing an IPVS real server", request, &mut |_| {})
    }

    /// Removes everything. For tests and demos in namespaces of their own (feature `write`).
    pub fn flush(&mut self) -> Result<()> {
        let request = self.generic(CMD_FLUSH);
        self.socket.request("flushing IPVS", request, &mut |_| {})
    }
}

impl Forwarding {
    fn bits(self) -> u32 {
        match self {
            Forwarding::Masquerade => 0,
            Forwarding::Local => 1,
            Forwarding::Tunnel => 2,
            Forwarding::DirectRoute => 3,
            Forwarding::Bypass => 4,
            Forwarding::Other(n) => n,
        }
    }
}
