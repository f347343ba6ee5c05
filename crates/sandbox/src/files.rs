//! Landlock: which files, and on newer kernels which ports, signals and sockets.

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, LandlockStatus, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope, make_bitflags, path_beneath_rules,
};

use crate::Policy;

/// The newest version whose rights are handled; older kernels enforce what they know of them.
const HANDLED: ABI = ABI::V10;

/// Confines this thread and what it becomes. Returns the version of Landlock that enforces it; 0: none.
pub(crate) fn confine(policy: &Policy) -> Result<u32, RulesetError> {
    let read = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    let write: BitFlags<AccessFs> = read
        | make_bitflags!(AccessFs::{WriteFile | Truncate | Refer | RemoveDir | RemoveFile | MakeDir | MakeReg | MakeSym});
    let mut ruleset = Ruleset::default().handle_access(AccessFs::from_all(HANDLED))?.scope(Scope::from_all(HANDLED))?;
    if !policy.network {
        ruleset = ruleset.handle_access(AccessNet::from_all(HANDLED))?;
    }
    let status = ruleset
        .create()?
        .add_rules(path_beneath_rules(&policy.read, read))?
        .add_rules(path_beneath_rules(&policy.write, write))?
        .add_rules(path_beneath_rules(&policy.execute, read | AccessFs::Execute))?
        .restrict_self()?;
    Ok(match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, _) => 0,
        (_, LandlockStatus::Available { effective_abi, .. }) => effective_abi as u32,
        _ => 0,
    })
}
