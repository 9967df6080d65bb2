//! Packets for tests, and a slow checksum that shares nothing with the fast one.

/// RFC 1071 by the book: 16-bit words in network byte order, carry brought round.
pub(super) fn slow_sum(parts: &[&[u8]]) -> u16 {
    let bytes: Vec<u8> = parts.concat();
    let mut sum: u64 = 0;
    for pair in bytes.chunks(2) {
        sum += u64::from(pair[0]) * 256 + pair.get(1).map_or(0, |low| u64::from(*low));
    }
    while sum > 0xffff {
        sum = sum / 0x1_0000 + sum % 0x1_0000;
    }
    sum as u16
}

/// A TCP segment or UDP datagram to be made.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    pub v6: bool,
    pub udp: bool,
    pub host: u8,
    pub port: u16,
    pub tos: u8,
    pub ttl: u8,
    pub df: bool,
    pub id: u16,
    pub flow_label: u32,
    pub sequence: u32,
    pub acknowledgment: u32,
    pub flags: u8,
    pub window: u16,
    pub urgent: u16,
    pub options: Vec<u8>,
    pub payload: Vec<u8>,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            v6: false,
            udp: false,
            host: 1,
            port: 1000,
            tos: 0,
            ttl: 64,
            df: true,
            id: 1,
            flow_label: 7,
            sequence: 1,
            acknowledgment: 2,
            flags: 0x10,
            window: 500,
            urgent: 0,
            options: Vec::new(),
            payload: Vec::new(),
        }
    }
}

impl Spec {
    fn addresses(&self) -> Vec<u8> {
        if self.v6 {
            let mut both = vec![
                0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, self.host,
            ];
            both.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 1]);
            both
        } else {
            vec![192, 0, 2, self.host, 198, 51, 100, 1]
        }
    }

    fn transport_header(&self, len: usize) -> Vec<u8> {
        let mut header = Vec::new();
        header.extend(self.port.to_be_bytes());
        header.extend(5001u16.to_be_bytes());
        if self.udp {
            header.extend((len as u16).to_be_bytes());
            header.extend([0, 0]);
            return header;
        }
        assert_eq!(self.options.len() % 4, 0, "TCP options are padded");
        header.extend(self.sequence.to_be_bytes());
        header.extend(self.acknowledgment.to_be_bytes());
        header.push((((20 + self.options.len()) / 4) << 4) as u8);
        header.push(self.flags);
        header.extend(self.window.to_be_bytes());
        header.extend([0, 0]);
        header.extend(self.urgent.to_be_bytes());
        header.extend(&self.options);
        header
    }

    fn ip_header(&self, transport_len: usize) -> Vec<u8> {
        let protocol = if self.udp { 17 } else { 6 };
        let mut header = Vec::new();
        if self.v6 {
            let word = 6 << 28 | u32::from(self.tos) << 20 | self.flow_label & 0xf_ffff;
            header.extend(word.to_be_bytes());
            header.extend((transport_len as u16).to_be_bytes());
            header.extend([protocol, self.ttl]);
            header.extend(self.addresses());
        } else {
            header.extend([0x45, self.tos]);
            header.extend(((20 + transport_len) as u16).to_be_bytes());
            header.extend(self.id.to_be_bytes());
            header.extend(if self.df { [0x40, 0] } else { [0, 0] });
            header.extend([self.ttl, protocol, 0, 0]);
            header.extend(self.addresses());
            let sum = !slow_sum(&[&header]);
            header[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        header
    }

    fn pseudo(&self, transport_len: usize) -> Vec<u8> {
        let mut pseudo = self.addresses();
        pseudo.extend((transport_len as u32).to_be_bytes());
        pseudo.extend([0, 0, 0, if self.udp { 17 } else { 6 }]);
        pseudo
    }

    fn assemble(&self, finish: impl FnOnce(&[u8], &[u8]) -> u16) -> Vec<u8> {
        let mut transport = self.transport_header(8 + self.payload.len());
        transport.extend(&self.payload);
        let sum = finish(&self.pseudo(transport.len()), &transport);
        let field = if self.udp { 6 } else { 16 };
        transport[field..field + 2].copy_from_slice(&sum.to_be_bytes());
        let mut packet = self.ip_header(transport.len());
        packet.extend(transport);
        packet
    }

    /// The packet with every checksum right.
    pub fn build(&self) -> Vec<u8> {
        self.assemble(|pseudo, transport| match !slow_sum(&[pseudo, transport]) {
            0 if self.udp => 0xffff,
            sum => sum,
        })
    }

    /// The packet with a partial transport checksum: the pseudo header's sum.
    pub fn build_partial(&self) -> Vec<u8> {
        self.assemble(|pseudo, _| slow_sum(&[pseudo]))
    }

    pub fn transport_offset(&self) -> usize {
        if self.v6 { 40 } else { 20 }
    }

    pub fn header_len(&self) -> usize {
        self.transport_offset() + if self.udp { 8 } else { 20 + self.options.len() }
    }
}

/// Whether lengths and every checksum of a TCP or UDP packet are right.
pub(super) fn is_intact(packet: &[u8]) -> bool {
    let (addresses, transport_at, len_is_right) = match packet[0] >> 4 {
        4 => {
            let at = usize::from(packet[0] & 0xf) * 4;
            let total = usize::from(packet[2]) * 256 + usize::from(packet[3]);
            let ip_ok = slow_sum(&[&packet[..at]]) == 0xffff;
            (&packet[12..20], at, ip_ok && total == packet.len())
        }
        _ => {
            let len = usize::from(packet[4]) * 256 + usize::from(packet[5]);
            (&packet[8..40], 40, 40 + len == packet.len())
        }
    };
    let transport = &packet[transport_at..];
    let protocol = if packet[0] >> 4 == 4 {
        packet[9]
    } else {
        packet[6]
    };
    let udp_len_is_right = protocol != 17
        || usize::from(transport[4]) * 256 + usize::from(transport[5]) == transport.len();
    let tail = [0, 0, 0, protocol];
    let len = (transport.len() as u32).to_be_bytes();
    len_is_right && udp_len_is_right && slow_sum(&[addresses, &len, &tail, transport]) == 0xffff
}
