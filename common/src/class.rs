//! What a packet is, whoever it is for.

use crate::labelled::labelled;

labelled! {
    /// What a packet is.
    ///
    /// Each value indexes a per-CPU counter and is a Prometheus label. What
    /// becomes of the packet is a [`Verdict`](crate::verdict::Verdict).
    Class {
        /// WireGuard handshake initiation.
        WireGuardInitiation = "wireguard-initiation",
        /// WireGuard handshake response.
        WireGuardResponse = "wireguard-response",
        /// WireGuard cookie reply.
        WireGuardCookieReply = "wireguard-cookie-reply",
        /// WireGuard data or keepalive.
        WireGuardData = "wireguard-data",
        /// `P_CONTROL_SOFT_RESET_V1`: OpenVPN renews its keys.
        OpenVpnSoftReset = "openvpn-soft-reset",
        /// `P_CONTROL_V1`: OpenVPN's TLS.
        OpenVpnControl = "openvpn-control",
        /// `P_ACK_V1`.
        OpenVpnAck = "openvpn-ack",
        /// `P_DATA_V1`.
        OpenVpnDataV1 = "openvpn-data-v1",
        /// `P_CONTROL_HARD_RESET_CLIENT_V2`: an OpenVPN client begins.
        OpenVpnHardResetClientV2 = "openvpn-hard-reset-client-v2",
        /// `P_CONTROL_HARD_RESET_SERVER_V2`: its server answers.
        OpenVpnHardResetServerV2 = "openvpn-hard-reset-server-v2",
        /// `P_DATA_V2`, with the peer's id.
        OpenVpnDataV2 = "openvpn-data-v2",
        /// `P_CONTROL_HARD_RESET_CLIENT_V3`: begins with a wrapped client key.
        OpenVpnHardResetClientV3 = "openvpn-hard-reset-client-v3",
        /// `P_CONTROL_WKC_V1`: TLS with a wrapped client key.
        OpenVpnControlWkc = "openvpn-control-wkc",
        /// IKEv1 main mode (identity protection).
        IkeMain = "ikev1-main",
        /// IKEv1 aggressive mode.
        IkeAggressive = "ikev1-aggressive",
        /// IKEv1 quick mode: makes a child SA.
        IkeQuick = "ikev1-quick",
        /// IKEv1 informational.
        IkeNotify = "ikev1-informational",
        /// `IKE_SA_INIT`.
        IkeSaInit = "ikev2-sa-init",
        /// `IKE_AUTH`: makes a child SA.
        IkeAuth = "ikev2-auth",
        /// `CREATE_CHILD_SA`.
        IkeCreateChildSa = "ikev2-create-child-sa",
        /// IKEv2 `INFORMATIONAL`.
        IkeInformational = "ikev2-informational",
        /// Another exchange of IKE.
        IkeOther = "ike-other",
        /// IKE on the NAT traversal port, behind four zero bytes.
        NatTIke = "natt-ike",
        /// ESP in UDP.
        NatTEsp = "natt-esp",
        /// The single byte that keeps a NAT binding.
        NatTKeepalive = "natt-keepalive",
        /// ESP.
        Esp = "esp",
        /// AH, which cannot cross a NAT.
        Ah = "ah",
        /// GRE version 0.
        GreV0 = "gre-v0",
        /// GRE version 1, the data of PPTP.
        GreV1 = "gre-v1",
        /// GRE of a version that does not exist.
        GreOther = "gre-other",
        /// TCP of PPTP's control connection.
        PptpControl = "pptp-control",
        /// Other TCP.
        Tcp = "tcp",
        /// Other UDP.
        Udp = "udp",
        /// ICMP and ICMPv6.
        Icmp = "icmp",
        /// Another protocol over IP.
        IpOther = "ip-other",
        /// A later fragment: what it belongs to is in the first one.
        LaterFragment = "later-fragment",
        /// ARP.
        Arp = "arp",
        /// Another protocol over Ethernet.
        EthernetOther = "ethernet-other",
        /// The headers cannot be read; the verdict says why.
        Unreadable = "unreadable",
    }
}

impl Class {
    /// Whether this is WireGuard, ours or not.
    #[must_use]
    #[inline]
    pub const fn is_wireguard(self) -> bool {
        (self as u8) <= (Self::WireGuardData as u8)
    }

    /// Whether this is OpenVPN over UDP.
    #[must_use]
    #[inline]
    pub const fn is_openvpn(self) -> bool {
        (self as u8) >= (Self::OpenVpnSoftReset as u8)
            && (self as u8) <= (Self::OpenVpnControlWkc as u8)
    }

    /// Whether this belongs to a tunnel of any kind.
    #[must_use]
    #[inline]
    pub const fn is_tunnel(self) -> bool {
        (self as u8) <= (Self::PptpControl as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tunnels_come_first_and_wireguard_before_them() {
        let tunnels = Class::ALL.iter().filter(|class| class.is_tunnel()).count();
        assert!(Class::ALL[..tunnels].iter().all(|class| class.is_tunnel()));
        assert!(!Class::Tcp.is_tunnel() && !Class::Udp.is_tunnel());
        for class in Class::ALL {
            let named = class.label().starts_with("wireguard-");
            assert_eq!(class.is_wireguard(), named, "{class:?}");
            let named = class.label().starts_with("openvpn-");
            assert_eq!(class.is_openvpn(), named, "{class:?}");
        }
    }
}
