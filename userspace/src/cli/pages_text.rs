//! What manual pages say beyond `--help`: files, related pages, the long description.

/// Sections of one page.
#[derive(Clone, Copy, Default)]
pub struct Extra {
    /// Paragraphs, before those of `--help`.
    pub description: &'static [&'static str],
    pub environment: &'static [(&'static str, &'static str)],
    pub files: &'static [(&'static str, &'static str)],
    /// Page and section.
    pub see_also: &'static [(&'static str, &'static str)],
}

/// Bold words and what follows them, a line each.
pub const SYNOPSIS: [(&str, &str); 4] = [
    ("ringtun", " COMMAND [OPTIONS] ..."),
    ("ringtun", " [OPTIONS] NAME ..."),
    ("ringtun --help", " | COMMAND --help"),
    ("ringtun --version", ""),
];

pub const EXIT_STATUS: &str = "0 on success; 1 if it failed, with the reason and what to do \
    about it on standard error; 2 for a mistake on the command line.";
pub const EXIT_STATUS_USAGE: &str = "2 for a mistake on the command line.";

const CONFIGURATION: (&str, &str) = (
    "/etc/wireguard/NAME.conf",
    "The tunnel, as wg-quick(8) and wg(8) describe it. It holds a private key: mode 0600.",
);
const GATEWAY: (&str, &str) = (
    "/etc/ringtun/ringtun.toml",
    "The gateway. Nobody but root may write to it; an example is in /usr/share/doc/ringtun/examples.",
);
const GATEWAY_UNIT: (&str, &str) = (
    "/usr/lib/systemd/system/ringtun-gateway.service",
    "The gateway as a service: `systemctl enable --now ringtun-gateway`.",
);
const JOURNAL: (&str, &str) = (
    "/run/ringtun/NAME.json",
    "What `ringtun up` changed, for `ringtun down` to take back, also after a crash.",
);
const SOCKET: (&str, &str) = (
    "/var/run/wireguard/NAME.sock",
    "The socket over which wg(8) and ringtun talk to the process of the device. Removing it ends the process.",
);
const UNIT: (&str, &str) = (
    "/usr/lib/systemd/system/ringtun@.service",
    "A tunnel as a service: `systemctl enable --now ringtun@wg0`.",
);
const DEFAULTS: (&str, &str) = (
    "/etc/default/ringtun, /etc/default/ringtun-NAME",
    "Environment of all services, and of the one for the tunnel NAME.",
);

/// The sections of the page of that name.
pub fn of(page: &str) -> Extra {
    match page {
        "ringtun" => ROOT,
        "ringtun-gateway" => Extra {
            files: &[
                GATEWAY,
                CONFIGURATION,
                JOURNAL,
                SOCKET,
                GATEWAY_UNIT,
                DEFAULTS,
            ],
            see_also: &[
                ("ringtun-down", "8"),
                ("ringtun-reload", "8"),
                ("ringtun-up", "8"),
                ("systemctl", "1"),
            ],
            ..Extra::default()
        },
        "ringtun-up" => Extra {
            files: &[CONFIGURATION, JOURNAL, SOCKET, UNIT, DEFAULTS],
            see_also: &[
                ("ringtun-check", "8"),
                ("ringtun-down", "8"),
                ("ringtun-reload", "8"),
                ("ringtun-run", "8"),
                ("systemctl", "1"),
                ("wg-quick", "8"),
            ],
            ..Extra::default()
        },
        "ringtun-down" => Extra {
            files: &[CONFIGURATION, JOURNAL],
            see_also: &[("ringtun-up", "8"), ("wg-quick", "8")],
            ..Extra::default()
        },
        "ringtun-reload" => Extra {
            files: &[CONFIGURATION, SOCKET],
            see_also: &[("ringtun-up", "8"), ("ringtun-peer", "8"), ("wg", "8")],
            ..Extra::default()
        },
        "ringtun-peer" | "ringtun-peer-add" | "ringtun-peer-remove" => Extra {
            files: &[
                CONFIGURATION,
                (
                    "./FRIENDLY.conf",
                    "The client's file, with its private key, mode 0600.",
                ),
            ],
            see_also: &[("ringtun-peer", "8"), ("ringtun-reload", "8"), ("wg", "8")],
            ..Extra::default()
        },
        "ringtun-run" => Extra {
            files: &[SOCKET],
            see_also: &[
                ("ip", "8"),
                ("ringtun-io", "8"),
                ("ringtun-up", "8"),
                ("wg", "8"),
            ],
            ..Extra::default()
        },
        "ringtun-show" => Extra {
            files: &[SOCKET],
            see_also: &[("ringtun-doctor", "8"), ("wg", "8")],
            ..Extra::default()
        },
        "ringtun-io" => Extra {
            files: &[SOCKET],
            see_also: &[
                ("ringtun-capture", "8"),
                ("ringtun-run", "8"),
                ("ethtool", "8"),
            ],
            ..Extra::default()
        },
        "ringtun-log" => Extra {
            files: &[SOCKET],
            see_also: &[("ringtun-run", "8"), ("journalctl", "1")],
            ..Extra::default()
        },
        "ringtun-capture" => Extra {
            see_also: &[("ringtun-io", "8"), ("tcpdump", "8")],
            ..Extra::default()
        },
        "ringtun-check" => Extra {
            description: &[
                "Reads a wg-quick file as `ringtun up` would, and says of each mistake \
                the file, the line, the key, the value and what to write instead. Changes nothing \
                and needs no rights but to read the file. No secret is printed.",
            ],
            files: &[CONFIGURATION],
            see_also: &[
                ("ringtun-doctor", "8"),
                ("ringtun-up", "8"),
                ("wg-quick", "8"),
            ],
            ..Extra::default()
        },
        "ringtun-doctor" => Extra {
            files: &[CONFIGURATION, JOURNAL],
            see_also: &[
                ("ringtun-check", "8"),
                ("ringtun-report", "8"),
                ("ringtun-show", "8"),
            ],
            ..Extra::default()
        },
        "ringtun-report" => Extra {
            files: &[
                CONFIGURATION,
                (
                    "./ringtun-report-NAME-DATE.txt",
                    "The report, mode 0600. DATE is of UTC.",
                ),
            ],
            see_also: &[("ringtun-doctor", "8"), ("ringtun-show", "8")],
            ..Extra::default()
        },
        "ringtun-genkey" => Extra {
            description: &[
                "A Curve25519 key from the kernel's random numbers, in base64, as \
                `wg genkey` prints it. Written to a file that others can read, it warns: use \
                `umask 077`.",
            ],
            see_also: KEYS,
            ..Extra::default()
        },
        "ringtun-genpsk" => Extra {
            description: &[
                "32 random bytes in base64, as `wg genpsk` prints them, for \
                PresharedKey at both ends.",
            ],
            see_also: KEYS,
            ..Extra::default()
        },
        "ringtun-pubkey" => Extra {
            description: &[
                "Reads one private key in base64 from standard input, as `wg pubkey` \
                does. What it read is never repeated in an error.",
            ],
            see_also: KEYS,
            ..Extra::default()
        },
        "ringtun-completions" => Extra {
            see_also: &[("bash", "1"), ("fish", "1"), ("zsh", "1")],
            ..Extra::default()
        },
        "ringtun-man-pages" => Extra {
            see_also: &[("man", "1"), ("mandb", "8")],
            ..Extra::default()
        },
        _ => Extra::default(),
    }
}

const KEYS: &[(&str, &str)] = &[
    ("ringtun-genkey", "8"),
    ("ringtun-genpsk", "8"),
    ("ringtun-pubkey", "8"),
    ("wg", "8"),
];

const ROOT: Extra = Extra {
    description: &[
        "ringtun is a WireGuard implementation in user space that turns a Linux host into a \
         tunnel gateway. It needs no kernel module, talks to any other WireGuard, and is set up \
         with the tools and files of wg(8) and wg-quick(8).",
        "Encrypted packets travel through XDP and AF_XDP rings of the network card, or through an \
         ordinary UDP socket, whichever is faster there; ringtun-io(8) switches while the tunnel \
         runs. What travels through AF_XDP is not seen by nft(8), tc(8) and tcpdump(8) on that \
         card; ringtun-capture(8) shows it.",
        "Called with the name of a device in place of a command, it is `ringtun run NAME`, as \
         wireguard-go is called; its options are those of ringtun-run(8). A name one typing error \
         away from a command is refused.",
        "Metrics for Prometheus are at http://127.0.0.1:9586/metrics or the next free port; \
         `ringtun show NAME --json` says which.",
    ],
    environment: &[
        (
            "LOG_LEVEL",
            "What is logged, where no --log is given: silent, error, info or debug.",
        ),
        (
            "RINGTUN_IO, RINGTUN_METRICS, ...",
            "Options where wg-quick or a service gives none; each option of ringtun-run(8) names its own.",
        ),
    ],
    files: &[CONFIGURATION, JOURNAL, SOCKET, UNIT, DEFAULTS],
    see_also: &[
        ("ip", "8"),
        ("nft", "8"),
        ("systemctl", "1"),
        ("wg", "8"),
        ("wg-quick", "8"),
    ],
};
