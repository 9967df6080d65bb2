//! What is said when something is in the way, and that nothing is left behind.

use std::process::Stdio;

use ringtun_lab::{tools, wait};

use crate::machine::{BINARY, Machine, SOON, terminate, text};

#[test]
fn a_name_in_use_is_said_and_nothing_is_changed() {
    let machine = Machine::new(2);
    let [taken, free] = [0, 1].map(|n| machine.names[n].as_str());
    // By an interface of another kind.
    machine
        .ns
        .ip(&format!("link add {taken} type veth peer name other\n"))
        .unwrap();
    let output = machine.run(&["run", free, taken]);
    let said = text(&output.stderr);
    assert_eq!(
        (output.status.code(), text(&output.stdout)),
        (Some(1), String::new())
    );
    assert!(
        said.starts_with("ringtun: ") && said.contains(taken),
        "{said}"
    );
    assert!(
        !machine.has_link(free) && !wait::uapi_path(free).exists(),
        "{said}"
    );
    assert!(machine.has_link("other") && !wait::uapi_path(taken).exists());
    machine.ns.ip("link del other\n").unwrap();

    // By a ringtun.
    let pid = machine.run(&["run", taken]);
    assert!(pid.status.success(), "{}", text(&pid.stderr));
    let output = machine.run(&["run", free, taken]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("in use") && said.contains(taken), "{said}");
    assert!(!machine.has_link(free));
    assert!(
        machine.ns.run("wg", ["show", taken]).is_ok(),
        "the first is unharmed"
    );
    machine.ns.ip(&format!("link del {taken}\n")).unwrap();
    machine.gone(taken);
}

#[test]
fn without_the_capability_it_says_so_and_leaves_nothing() {
    let machine = Machine::new(1);
    let name = machine.names[0].as_str();
    tools::need(&[("setpriv", "util-linux")]).unwrap();
    let mut command = machine.ns.command("setpriv");
    command.args([
        "--bounding-set",
        "-net_admin",
        "--inh-caps",
        "-net_admin",
        BINARY,
        "run",
        name,
    ]);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("CAP_NET_ADMIN"), "{said}");
    assert!(!machine.has_link(name) && !wait::uapi_path(name).exists());
}

#[test]
fn a_port_that_was_taken_when_the_device_came_up_can_be_set_again() {
    let machine = Machine::new(1);
    let name = machine.names[0].as_str();
    let pid = machine.start(&["run", name]);
    let taken = machine.ns.udp("0.0.0.0:40010".parse().unwrap()).unwrap();
    let set = || machine.ns.run("wg", ["set", name, "listen-port", "40010"]);
    set().unwrap();
    machine.ns.ip(&format!("link set {name} up\n")).unwrap();
    // Up, and without sockets: asking again is refused as long as it cannot work.
    wait::until("the device to be up", SOON, || {
        Ok(set().is_err().then_some(()))
    })
    .unwrap();
    drop(taken);
    // A process that another test starts at this moment has the socket too, until
    // it executes its program.
    wait::until("the port to be free", SOON, || Ok(set().ok())).unwrap();
    let sockets = machine.ns.run("ss", ["-Huan", "sport = :40010"]).unwrap();
    assert!(!sockets.is_empty(), "the port is bound");
    terminate(pid);
    machine.gone(name);
}
