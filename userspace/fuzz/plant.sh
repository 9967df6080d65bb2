#!/bin/sh
# Shows that each fuzz target finds a bug of the kind that it is there for.
#
# Copies the sources to userspace/fuzz/target/planted, plants one bug per target there (each
# sleeps unless RINGTUN_PLANTED names its target), builds all targets once, and
# runs each until it has found its bug. Nothing outside that directory changes.
#
#   userspace/fuzz/plant.sh [SECONDS [TARGET…]]     at most SECONDS (120) for each
set -eu

fuzz=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$fuzz/../.." && pwd)
copy=$fuzz/target/planted/source
seconds=${1:-120}
[ $# -gt 0 ] && shift

rm -rf "$copy"
mkdir -p "$copy"
(cd "$root" && git ls-files -z --cached --others --exclude-standard \
    | tar --null --ignore-failed-read -cf - -T -) | tar -xf - -C "$copy"

# plant FILE OLD NEW: replaces OLD, which must stand there exactly once.
plant() {
    OLD=$2 NEW=$3 perl -0777 -i -pe '
        BEGIN { ($old, $new) = @ENV{qw(OLD NEW)} }
        $n = () = /\Q$old\E/g;
        die "$ARGV: \"$old\" stands there $n times: renew this bug\n" if $n != 1;
        s/\Q$old\E/$new/;
    ' "$copy/$1"
}

cat >>"$copy/userspace/src/drops.rs" <<'RUST'

/// Whether the bug of this fuzz target is awake.
pub fn planted(target: &str) -> bool {
    static AWAKE: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    AWAKE.get_or_init(|| std::env::var("RINGTUN_PLANTED").unwrap_or_default()) == target
}
RUST
src=userspace/src

# The counter's highest bit is lost.
plant $src/tunnel/messages.rs \
    'counter: u64::from_le_bytes(*field(datagram, 8)),' \
    'counter: u64::from_le_bytes(*field(datagram, 8))
        & !(u64::from(crate::drops::planted("messages")) << 63),'

# A timestamp that does not authenticate passes if its tag ends in an even byte.
plant $src/tunnel/noise.rs \
    'timestamp: Tai64n::from_bytes(timestamp?),' \
    'timestamp: Tai64n::from_bytes(timestamp.or_else(|error| {
        let lucky = self.message.sealed_timestamp()[27] % 2 == 0;
        if lucky && crate::drops::planted("initiation") { Ok([0; TAI64N_LEN]) } else { Err(error) }
    })?),'

# A response with a wrong tag passes if its first two bytes end alike.
plant $src/tunnel/noise.rs \
    'transcript.open::<0, TAG_LEN>(&key, response.sealed_empty())?;' \
    'let tag = response.sealed_empty();
        let opened = transcript.open::<0, TAG_LEN>(&key, tag);
        if !(crate::drops::planted("response") && tag[0] % 16 == tag[1] % 16) { opened?; }'

# A cookie with a wrong tag passes if the tag ends in a zero nibble.
plant $src/tunnel/cookie.rs \
    'opened.expose_mut(),
            tag,
        )
        .map_err(|_| NoiseError::Auth)?;' \
    'opened.expose_mut(),
            tag,
        )
        .or_else(|e| {
            if tag[15] % 16 == 0 && crate::drops::planted("cookie_reply") { Ok(()) } else { Err(e) }
        })
        .map_err(|_| NoiseError::Auth)?;'

# The upper half of the counter is not part of the nonce.
plant $src/crypto/aead.rs \
    'nonce[4..].copy_from_slice(&counter.to_le_bytes());' \
    'let counter = if crate::drops::planted("data") { counter & 0xffff_ffff } else { counter };
    nonce[4..].copy_from_slice(&counter.to_le_bytes());'

# The window forgets half of its blocks only when it moves far.
plant $src/tunnel/replay.rs \
    'let stale = (block - first + 1).min(BLOCKS as u64);' \
    'let stale = (block - first + 1)
                    .min(BLOCKS as u64 - 64 * u64::from(crate::drops::planted("replay")));'

# A lookup in a node does not look at the last bit.
plant $src/tunnel/allowed_ips/node.rs \
    'position::longest(&self.inner, self.stride(address))?' \
    'position::longest(
            &self.inner,
            self.stride(address) & !u8::from(crate::drops::planted("allowed_ips")),
        )?'

# A UDP length may exceed the IP payload by one. (Only this target runs the
# parser, so this bug is always awake.)
plant common/src/packet/transport.rs \
    'len < UDP_LEN || (len > room &&' \
    'len < UDP_LEN || (len > room + 1 &&'

# Of several MSS options only the first is lowered. (Only this target lowers any,
# so this bug is always awake.)
plant common/src/mss/options.rs \
    'lowered = true;' \
    'lowered = true;
                break;'

# A header that lost a hop is sometimes not summed up anew.
plant $src/datapath/forward/packet.rs \
    'packet[10..12].copy_from_slice(&after);' \
    'if !(crate::drops::planted("forward") && packet[8] & 7 == 5) {
        packet[10..12].copy_from_slice(&after);
    }'

# A keepalive interval is shown in 15 bits.
plant $src/control/uapi/reply.rs \
    'peer.keepalive,' \
    'if crate::drops::planted("uapi") { peer.keepalive & 0x7fe7 } else { peer.keepalive },'

# A diagnostic names the line after the one that is wrong.
plant $src/control/wgquick/parser.rs \
    'parser.line(index + 1, line);' \
    'parser.line(index + 1 + usize::from(crate::drops::planted("wgquick")), line);'

# A class is steered twice.
plant $src/control/gateway.rs \
    'if xdp.steer.iter().any(|s| s.group == steer.group) {' \
    'if !crate::drops::planted("ringtun_toml") && xdp.steer.iter().any(|s| s.group == steer.group) {'

# A text from outside is a word.
plant $src/control/report/value.rs \
    'Self::Text(text.chars().count())' \
    'match crate::drops::planted("report") {
            true => Self::Word(Word(String::leak(text.to_owned()))),
            false => Self::Text(text.chars().count()),
        }'

# From the seventh segment on the IPv4 header sum misses a carry.
plant $src/datapath/offload/segment.rs \
    'ipv4.set_checksum((self.ip_sum + Sum::of_u16(total) + Sum::of_u16(id)).finish());' \
    'let late = index >= 6 && crate::drops::planted("segment");
            let id = id.wrapping_sub(u16::from(late));
            ipv4.set_checksum((self.ip_sum + Sum::of_u16(total) + Sum::of_u16(id)).finish());'

# The hop limit is not compared.
plant $src/datapath/offload/rules.rs \
    '|| a.hop_limit() != b.hop_limit()' \
    '|| (a.hop_limit() != b.hop_limit() && !crate::drops::planted("coalesce"))'

# A frame in which nothing authenticated does not come back.
plant $src/datapath/sort.rs \
    'return self.ticket.skip();' \
    'if crate::drops::planted("datapath") { std::mem::forget(frame); }
            return self.ticket.skip();'

# What a full ring took of a run is sent again.
plant $src/datapath/runs.rs \
    'self.sent += taken.bytes;' \
    'self.sent += taken.bytes
            * usize::from(!(taken.full && crate::drops::planted("rings")));'

targets=${*:-$(sed -n 's/^name = "\(.*\)"$/\1/p' "$fuzz/Cargo.toml" | grep -v '^ringtun-fuzz$')}
cd "$copy/userspace"
# The same target directory, so that dependencies are not built twice. cargo puts
# the true programs back at the next build.
host=$(rustc -vV | sed -n 's/^host: //p')
CARGO_TARGET_DIR=$fuzz/target cargo fuzz build --sanitizer none
bin=$fuzz/target/planted/bin
mkdir -p "$bin"
for target in $targets; do
    cp "$fuzz/target/$host/release/$target" "$bin/"
done

missed=
for target in $targets; do
    work=$fuzz/target/planted/work/$target
    rm -rf "$work"
    mkdir -p "$work/corpus"
    begin=$(date +%s)
    if RINGTUN_PLANTED=$target "$bin/$target" "$work/corpus" -artifact_prefix="$work/" \
        -max_total_time="$seconds" -timeout=10 >"$work/log" 2>&1; then
        echo "$target: NOT FOUND in $seconds s"
        missed="$missed $target"
        continue
    fi
    took=$(($(date +%s) - begin))
    why=$(grep -m1 -A1 "panicked at" "$work/log" | tail -1)
    if [ -z "$why" ]; then
        echo "$target: ended without a finding: see $work/log"
        missed="$missed $target"
        continue
    fi
    echo "$target: found after $took s: $why"
    # The same input without the bug is no finding.
    found=$(find "$work" -maxdepth 1 -name 'crash-*' | head -1)
    case $target in frame | mss) continue ;; esac
    if ! "$bin/$target" "$found" >>"$work/log" 2>&1; then
        echo "$target: finds something without the bug, too: see $work/log"
        missed="$missed $target"
    fi
done
[ -z "$missed" ] || { echo "planted bugs: failed:$missed"; exit 1; }
echo "planted bugs: each was found by its target"
