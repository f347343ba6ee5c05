//! Confines the programs that `lockstep` starts. `lockstep` could do so itself, and does where this program is not beside it:
//! but each program that renders begins as the one that confines it, and a large one takes milliseconds to be loaded.

fn main() -> std::process::ExitCode {
    sandbox::enter_if_asked();
    eprintln!("lockstep-sandbox: this program is started by lockstep, to confine the programs that lockstep starts");
    std::process::ExitCode::from(2)
}
